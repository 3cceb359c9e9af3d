"""Error bounds, computed from the unit roundoff of a type and the length of a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# By the name of the dtype: half the distance from 1 to the next number, the smallest positive number, the
# largest.
UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
LARGEST = {
    "float16": 65504.0,
    "bfloat16": (2.0 - 2.0**-7) * 2.0**127,
    "float32": (2.0 - 2.0**-23) * 2.0**127,
    "float64": (2.0 - 2.0**-52) * 2.0**1023,
}

NORM_ROUNDINGS = 4.0  # of each part of a normalised result, by the accuracy contract

# Additions to one float32 lane before it is folded into a float64, and roundings of a term before and after.
CHAIN = 16
TERM = 8


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether results of this type are computed in float32 and rounded at the end."""
    return dtype.name in ("float16", "bfloat16")


def roundoff(dtype: np.dtype[Any]) -> float:
    """Unit roundoff of the type in which an op computes."""
    return UNIT_ROUNDOFF["float64" if dtype == np.float64 else "float32"]


def last_rounding(exact: Array, dtype: np.dtype[Any]) -> Array:
    """Bound on what the rounding to the dtype of the result adds to a bound that holds before it.

    For float32 and float64 the bounds hold after the rounding already, but for the spacing of subnormal
    numbers.
    """
    relative = UNIT_ROUNDOFF[dtype.name] * np.abs(exact) if is_half(dtype) else 0.0
    return np.asarray(relative + SMALLEST[dtype.name])


def summed(terms: Array, length: int, dtype: np.dtype[Any]) -> Array:
    """Bound on the error of a sum of `length` terms, given the sum of their magnitudes.

    float64 sums may be added in any order, so the bound is that of the worst one. float32 sums are folded
    into float64.
    """
    additions = length if dtype == np.float64 else CHAIN
    return np.asarray((additions + TERM) * roundoff(dtype) * terms)


def norm_bound(product: Array, weight: Array, bias: Array, dtype: np.dtype[Any]) -> Array:
    """Bound of the accuracy contract on a normalised result: so many roundings of each of its parts."""
    return np.asarray(NORM_ROUNDINGS * roundoff(dtype) * (np.abs(product) + np.abs(weight) + np.abs(bias)))


def ulp(exact: Array, dtype: np.dtype[Any]) -> Array:
    """Distance between neighbouring numbers of the type at each exact value, as float64."""
    magnitude = np.maximum(np.abs(np.asarray(exact, np.float64)), SMALLEST[dtype.name])
    exponent = np.frexp(magnitude)[1] - 1
    return np.asarray(
        np.maximum(2.0 * UNIT_ROUNDOFF[dtype.name] * np.ldexp(1.0, exponent), SMALLEST[dtype.name])
    )
