"""Exact results by other means than the twins: correctly rounded sums (`math.fsum`) and long numbers
(mpmath).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
from mpmath import mpf
from numpy.typing import NDArray

Array = NDArray[Any]

DIGITS = 60


def normalised_row(row: Array, eps: float, *, centre: bool) -> tuple[list[float], float, float]:
    """Return xhat, mean and rstd of a float32 row: sums are rounded once and float64 holds each square
    exactly.
    """
    values = [float(value) for value in row]
    count = len(values)
    mean = math.fsum(values) / count if centre else 0.0
    # The mean is rounded to float64; fsum takes the mean of what that leaves out of account again.
    deviations = [value - mean for value in values]
    residue = math.fsum(deviations) / count if centre else 0.0
    deviations = [deviation - residue for deviation in deviations]
    rstd = 1.0 / math.sqrt(math.fsum(d * d for d in deviations) / count + eps)
    return [d * rstd for d in deviations], mean + residue, rstd


def normalised(rows: Array, eps: float, *, centre: bool) -> Array:
    """Return xhat of float32 rows."""
    return np.array([normalised_row(row, eps, centre=centre)[0] for row in rows]).reshape(rows.shape)


def normalised_long(row: Array, eps: float, *, centre: bool) -> Array:
    """Return xhat of a row of any type, in long arithmetic and then rounded to float64."""
    with mpmath.workdps(DIGITS):
        values = [mpf(float(value)) for value in row]
        mean = mpmath.fsum(values) / len(values) if centre else mpf(0)
        deviations = [value - mean for value in values]
        rstd = 1 / mpmath.sqrt(mpmath.fsum(d * d for d in deviations) / len(values) + mpf(eps))
        return np.array([float(d * rstd) for d in deviations])


def normal_cdf(x: float, form: str = "none") -> Any:
    """Return the normal distribution function in long arithmetic."""
    return mpmath.erfc(-mpf(x) / mpmath.sqrt(2)) / 2


def gelu(x: float, form: str) -> Any:
    """Return gelu at a finite x in long arithmetic."""
    z = mpf(x)
    if form == "none":
        return z * normal_cdf(x)
    return z * sigmoid(gate(z, form)[0])


def gelu_derivative(x: float, form: str) -> Any:
    """Return the derivative of gelu at a finite x in long arithmetic."""
    z = mpf(x)
    if form == "none":
        return normal_cdf(x) + z * mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)
    value, slope = gate(z, form)
    s = sigmoid(value)
    return s + z * s * sigmoid(-value) * slope


@functools.cache
def zero_of_gelu_derivative(form: str) -> float:
    """Return where the derivative of gelu is zero."""
    with mpmath.workdps(DIGITS):
        return float(mpmath.findroot(lambda x: gelu_derivative(x, form), -0.75))


def sigmoid(z: Any) -> Any:
    """Return the logistic function in long arithmetic, without cancellation."""
    return 1 / (1 + mpmath.exp(-z))


def gate(x: Any, form: str) -> tuple[Any, Any]:
    """Return z and dz/dx of the form x * sigmoid(z), with the exact decimal constants."""
    if form == "sigmoid":
        constant = mpf("1.702")
        return constant * x, constant
    constant, cubic = 2 * mpmath.sqrt(2 / mpmath.pi), mpf("0.044715")
    return constant * (x + cubic * x**3), constant * (1 + 3 * cubic * x**2)


def rounded(function: Any, x: Array, form: str) -> Array:
    """Return the function at each x, rounded to float64."""
    with mpmath.workdps(DIGITS):
        return np.array([float(function(point, form)) for point in x.tolist()])


def ulp_error(
    got: Array, x: Array, function: Any, form: str, *, unit: float, smallest: float
) -> tuple[float, float]:
    """Return the largest error of `got` in ULP of the exact result, and where it is.

    `unit` is the distance from 1 to the next number of the type, `smallest` its smallest positive number.
    """
    worst, where = 0.0, math.nan
    with mpmath.workdps(DIGITS):
        for value, point in zip(got.tolist(), x.tolist(), strict=True):
            exact = function(point, form)
            spacing = (
                max(unit * mpf(2) ** (exponent(exact) if exact else 0), mpf(smallest))
                if exact
                else mpf(smallest)
            )
            error = float(abs(mpf(value) - exact) / spacing)
            if not error <= worst:
                worst, where = error, point
    return worst, where


def exponent(value: Any) -> int:
    """Return the exponent of the power of two at or below the magnitude of a long number."""
    return int(mpmath.mag(value)) - 1
