"""Exponentials in float64 that keep their digits where results are subnormal or arguments are products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_FAR, _SHIFT, _EXP_OF_MINUS_SHIFT = -600.0, 300.0, 5.148200222412013e-131
_SPLITTER = 134217729.0  # 2^27 + 1


def times_exponential(factor: Array, x: Array) -> Array:
    """factor * exp(x), rounded once where the result is subnormal."""
    far = x < _FAR
    near = factor * np.exp(np.where(far, x + _SHIFT, x))
    return np.asarray(near * np.where(far, _EXP_OF_MINUS_SHIFT, 1.0))


def exact_product(x: Array, factor: float) -> tuple[Array, Array]:
    """factor * x and what its rounding took, 0 where an exponential of the product vanishes or overflows."""
    mantissa, exponent = np.frexp(x)
    factor_mantissa, factor_exponent = np.frexp(np.float64(factor))
    product = x * factor
    rounded = mantissa * factor_mantissa
    high, low = _halves(mantissa)
    factor_high, factor_low = _halves(factor_mantissa)
    rest = ((high * factor_high - rounded) + high * factor_low + low * factor_high) + low * factor_low
    rest = np.ldexp(rest, np.minimum(exponent + factor_exponent, 20))
    return product, np.where(np.abs(product) < 2000.0, rest, 0.0)


def _halves(a: Array) -> tuple[Array, Array]:
    """The upper and the lower half of the digits."""
    high = _SPLITTER * a - (_SPLITTER * a - a)
    return high, a - high
