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
    """Bound of the accuracy contract on a normalised result: four roundings of each of its parts."""
    return np.asarray(4 * roundoff(dtype) * (np.abs(product) + np.abs(weight) + np.abs(bias)))


def ulp(exact: Array, dtype: np.dtype[Any]) -> Array:
    """Distance between neighbouring numbers of the type at each exact value, as float64."""
    magnitude = np.maximum(np.abs(np.asarray(exact, np.float64)), SMALLEST[dtype.name])
    exponent = np.frexp(magnitude)[1] - 1
    return np.asarray(
        np.maximum(2.0 * UNIT_ROUNDOFF[dtype.name] * np.ldexp(1.0, exponent), SMALLEST[dtype.name])
    )


def relative_error(got: Array, exact: Array) -> float:
    """Norm of the difference over the norm of the exact array, both taken in float64."""
    got = got.astype(np.float64)
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))


def assert_within(got: Array, exact: Array, bound: Array) -> None:
    """Assert that each element is within its bound of the exact value, NaN and infinity exactly where they
    belong.

    Infinity belongs also where the bound reaches beyond the largest number of the type of `got`.
    """
    largest = LARGEST[np.asarray(got).dtype.name]
    got = np.asarray(got).astype(np.float64)
    assert got.shape == exact.shape
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(got[~finite], exact[~finite])
    overflown = (got == np.copysign(np.inf, exact)) & (np.abs(exact) + bound > largest)
    error = np.abs(got - exact)
    bad = finite & ~overflown & ~(error <= bound)
    if bad.any():
        bound = np.broadcast_to(bound, exact.shape)
        worst = np.unravel_index(np.argmax(np.where(bad, error / bound, 0)), exact.shape)
        where = tuple(int(index) for index in worst)
        text = f"{got[worst]!r} instead of {exact[worst]!r}"
        text += f", off by {error[worst]:.3g}, allowed {bound[worst]:.3g}"
        raise AssertionError(
            f"{np.count_nonzero(bad)} of {exact.size} out of bounds, the worst at {where}: {text}"
        )


def assert_same_bits(got: Array, expected: Array) -> None:
    """Assert equal dtype, shape and bits, those of NaN and of the sign of zero included."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    got_bits = np.ascontiguousarray(got).view(unsigned)
    expected_bits = np.ascontiguousarray(expected).view(unsigned)
    different = np.count_nonzero(got_bits != expected_bits)
    assert not different, f"{different} of {got.size} elements differ"
