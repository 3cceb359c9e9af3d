"""NumPy twins of the activations, element by element in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import Approximation, Array
from . import _erf
from ._exponential import exact_product, times_exponential
from ._results import result, statistic

LIMIT = 500.0  # beyond it the sigmoids of both approximate forms have reached their limits in float64
DOUBLE_LIMIT = 760.0  # where exp(-x) has vanished, times x too
SILU_ZERO, SILU_ZERO_REST = (
    1.2784645427610737,
    1.0946994183093437e-16,
)  # t0 = 1 + exp(-t0) as the nearest float64 and the rest
# x0, where mish's derivative vanishes, as the nearest float64 and the rest, and the terms of N:
# tools/mish_coefficients.py twin
MISH_ZERO = -1.1924312145154952
MISH_ZERO_REST = -4.8484829848031044e-17
MISH_LINEAR = 1.194033938963939
MISH_QUADRATIC = 0.4522603229111282
MISH_CUBIC = 0.027951242009170138
SOFTPLUS_LOWEST = -2000.0  # where exp(beta x) has vanished
LARGEST = float(np.finfo(np.float64).max)
SOFTPLUS_FAR = -40.0  # where log(1 + e) and e/(1 + e) are e
SQRT_8_OVER_PI = math.sqrt(8 / math.pi)  # twice the sqrt(2/pi) of the tanh form


def gelu(x: Array, approximate: Approximation, out: Array | None = None) -> Array:
    """Twin of `fastnorm.gelu`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        if approximate == "none":
            y = _erf.gelu(values)
        else:
            # -LIMIT times the sigmoid's 0 is the limit -0.0, where -inf times 0 would be NaN.
            y = np.maximum(values, -LIMIT) * logistic(gate(values, approximate)[0])
    return result(y, x, out)


def gelu_backward(dy: Array, x: Array, approximate: Approximation) -> Array:
    """Twin of `fastnorm.gelu_backward`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        if approximate == "none":
            derivative = _erf.gelu_derivative(values)
        else:
            values = np.clip(values, -LIMIT, LIMIT)
            z, slope = gate(values, approximate)
            derivative = logistic(z) + values * logistic(z) * logistic(-z) * slope
        dx = dy.astype(np.float64) * derivative
    return result(dx, x)


def relu(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.relu`."""
    with np.errstate(all="ignore"):  # signalling NaN
        values = x.astype(np.float64)
    return result(np.where(values < 0, 0.0, values), x, out)


def relu_backward(dy: Array, x: Array) -> Array:
    """Twin of `fastnorm.relu_backward`."""
    with np.errstate(all="ignore"):
        values, dy64 = x.astype(np.float64), dy.astype(np.float64)
    return result(np.where(values > 0, dy64, np.where(values <= 0, 0.0, values)), x)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.sigmoid`."""
    with np.errstate(all="ignore"):
        y = logistic(x.astype(np.float64))
    return result(y, x, out)


def sigmoid_backward(dy: Array, x: Array, y: Array | None = None) -> Array:
    """Twin of `fastnorm.sigmoid_backward`."""
    with np.errstate(all="ignore"):
        if y is None:
            slope = logistic_derivative(x.astype(np.float64))
        else:
            slope = y.astype(np.float64) * (1.0 - y.astype(np.float64))
        return result(dy.astype(np.float64) * slope, x)


def silu(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.silu`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        y = np.maximum(values, -DOUBLE_LIMIT) * logistic(values)
    return result(y, x, out)


def silu_backward(dy: Array, x: Array) -> Array:
    """Twin of `fastnorm.silu_backward`."""
    with np.errstate(all="ignore"):
        dx = dy.astype(np.float64) * swish_derivative(x.astype(np.float64))
    return result(dx, x)


def leaky_relu(x: Array, negative_slope: float, out: Array | None = None) -> Array:
    """Twin of `fastnorm.leaky_relu`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        return result(np.where(values > 0, values, values * rounded(negative_slope, x)), x, out)


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float) -> Array:
    """Twin of `fastnorm.leaky_relu_backward`."""
    with np.errstate(all="ignore"):
        values, dy64 = x.astype(np.float64), dy.astype(np.float64)
        below = np.where(values <= 0, dy64 * rounded(negative_slope, x), values)
        return result(np.where(values > 0, dy64, below), x)


def elu(x: Array, alpha: float, out: Array | None = None) -> Array:
    """Twin of `fastnorm.elu`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        below = rounded(alpha, x) * np.expm1(np.minimum(values, 0))
        return result(np.where(values >= 0, values, below), x, out)


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """Twin of `fastnorm.elu_backward`."""
    with np.errstate(all="ignore"):
        values, dy64 = x.astype(np.float64), dy.astype(np.float64)
        slope = np.where(values > 0, 1.0, rounded(alpha, x) * np.exp(np.minimum(values, 0)))
        return result(dy64 * slope, x)


def hardswish(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.hardswish`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        near = np.clip(values, -3.0, 3.0)
        return result(np.where(values >= 3.0, values, near * (near + 3.0) / 6.0), x, out)


def hardswish_backward(dy: Array, x: Array) -> Array:
    """Twin of `fastnorm.hardswish_backward`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        inner = (2.0 * values + 3.0) / 6.0
        slope = np.where(values >= 3.0, 1.0, np.where(values <= -3.0, 0.0, inner))
        return result(dy.astype(np.float64) * slope, x)


def logsigmoid(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.logsigmoid`."""
    with np.errstate(all="ignore"):
        return result(-softplus_value(-x.astype(np.float64), 1.0), x, out)


def logsigmoid_backward(dy: Array, x: Array) -> Array:
    """Twin of `fastnorm.logsigmoid_backward`."""
    with np.errstate(all="ignore"):
        return result(dy.astype(np.float64) * softplus_derivative(-x.astype(np.float64), 1.0), x)


def mish(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.mish`."""
    with np.errstate(all="ignore"):
        y = mish_value(x.astype(np.float64))
    return result(y, x, out)


def mish_backward(dy: Array, x: Array) -> Array:
    """Twin of `fastnorm.mish_backward`."""
    with np.errstate(all="ignore"):
        dx = dy.astype(np.float64) * mish_derivative(x.astype(np.float64))
    return result(dx, x)


def softplus(x: Array, beta: float, threshold: float, out: Array | None = None) -> Array:
    """Twin of `fastnorm.softplus`."""
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        beta, above = beyond(x, beta, threshold)
        y = np.where(above, values, softplus_value(values, beta))
    return result(y, x, out)


def softplus_backward(dy: Array, x: Array, beta: float, threshold: float) -> Array:
    """Twin of `fastnorm.softplus_backward`."""
    with np.errstate(all="ignore"):
        beta, above = beyond(x, beta, threshold)
        dx = dy.astype(np.float64) * np.where(above, 1.0, softplus_derivative(x.astype(np.float64), beta))
    return result(dx, x)


def beyond(x: Array, beta: float, threshold: float) -> tuple[float, Array]:
    """Return beta rounded to the type that the op computes in, and where beta x is above the threshold
    there.
    """
    compute: Any = np.float64 if x.dtype == np.float64 else np.float32
    return rounded(beta, x), x.astype(compute) * compute(beta) > compute(threshold)


def rounded(number: float, x: Array) -> float:
    """Return a number in the type that an op of x computes in."""
    return number if x.dtype == np.float64 else float(np.float32(number))


def swish(x: Array, beta: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.swish`."""
    with np.errstate(all="ignore"):
        y = swish_value(x.astype(np.float64), beta)
    return result(y, x, out)


def swish_backward(dy: Array, x: Array, beta: Array) -> tuple[Array, Array]:
    """Twin of `fastnorm.swish_backward`."""
    with np.errstate(all="ignore"):
        values, upstream = x.astype(np.float64), dy.astype(np.float64)
        z = scaled(values, beta)
        # x^2 s (1 - s) with exp(-abs(z)) in four parts, of which each x takes two: neither overflows or
        # vanishes alone.
        part = np.exp(-0.25 * np.abs(z))
        factor = np.where(part == 0, 0.0, values * part * part)
        terms = upstream / (1.0 + np.exp(-np.abs(z))) ** 2 * factor * factor
        missing = x.ndim - beta.ndim
        shared = tuple(i for i in range(x.ndim) if i < missing or beta.shape[i - missing] == 1)
        dbeta = terms.sum(axis=shared).reshape(beta.shape)
        return result(upstream * swish_derivative(z), x), statistic(dbeta, x)


def swish_value(x: Array, beta: Array) -> Array:
    """Return x sigmoid(beta x), 0 where the sigmoid vanishes."""
    s = logistic(scaled(x, beta))
    return np.where(s == 0, np.copysign(0.0, x), x * s)


def scaled(x: Array, beta: Array) -> Array:
    """Return z = beta x in float64, 0 where a zero meets an infinity."""
    z = x * beta.astype(np.float64)
    return np.where(np.isnan(z) & ~np.isnan(x) & ~np.isnan(beta), 0.0, z)


def tanh(x: Array, out: Array | None = None) -> Array:
    """Twin of `fastnorm.tanh`."""
    with np.errstate(all="ignore"):
        y = np.tanh(x.astype(np.float64))
    return result(y, x, out)


def tanh_backward(dy: Array, x: Array, y: Array | None = None) -> Array:
    """Twin of `fastnorm.tanh_backward`."""
    with np.errstate(all="ignore"):
        if y is None:
            slope = 4 * logistic_derivative(2 * x.astype(np.float64))
        else:
            slope = (1.0 - y.astype(np.float64)) * (1.0 + y.astype(np.float64))
        return result(dy.astype(np.float64) * slope, x)


def gate(x: Array, approximate: str) -> tuple[Array, Array]:
    """Return z and dz/dx of the approximate form x * sigmoid(z); 0.5 (1 + tanh u) is sigmoid(2u)."""
    if approximate == "sigmoid":
        return 1.702 * x, np.full_like(x, 1.702)
    return SQRT_8_OVER_PI * (x + 0.044715 * x**3), SQRT_8_OVER_PI * (1 + 3 * 0.044715 * x**2)


def logistic(z: Array) -> Array:
    """Return 1/(1 + exp(-z)) without overflow and with full relative accuracy on both sides."""
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e))


def logistic_derivative(z: Array) -> Array:
    """Return the derivative of `logistic`, s (1 - s)."""
    e = np.exp(-np.abs(z))
    return np.asarray(e / (1.0 + e) ** 2)


def swish_derivative(z: Array) -> Array:
    """Return the derivative of x sigmoid(beta x) with respect to x, a function of z = beta x: D(t) for z = -t
    and 1 - D(t) for z = t >= 0, where D(t) = e (1 + e - t) / (1 + e)^2 with e = exp(-t).

    D vanishes at t0, where 1 + e(t0) = t0. With d = t - t0 the difference 1 + e - t is e(t0) expm1(-d) - d,
    two terms of one sign.
    """
    t = np.minimum(np.abs(z), DOUBLE_LIMIT)
    e = np.exp(-t)
    d = (t - SILU_ZERO) - SILU_ZERO_REST
    slope = e * ((SILU_ZERO - 1.0) * np.expm1(-d) - d) / (1.0 + e) ** 2
    return np.asarray(np.where(z < 0, slope, 1.0 - slope))


def mish_value(x: Array) -> Array:
    """Return x tanh(log(1 + w)) with w = e^x, x q/(q + 2) with q = w (w + 2): an error below 3 ULP.

    For x >= 0 in e = e^-x, as x less what it misses.
    """
    near = np.clip(x, -DOUBLE_LIMIT, 40.0)
    e = np.exp(-np.abs(near))
    leading = times_exponential(near, np.minimum(near, 0.0))
    square = 2.0 * e * e
    below = leading - leading * (e * (1.0 + e) / (2.0 + e * (2.0 + e)))
    above = x - near * (square / (1.0 + (2.0 * e + square)))
    return np.asarray(np.copysign(np.where(x < 0.0, below, above), x))


def mish_derivative(x: Array) -> Array:
    """Return the derivative of mish, w N/(q + 2)^2, with an error below 5 ULP.

    As its zero x0 is one of N, with d = x - x0 and m = expm1(d) and all terms of one sign
    N = m (LINEAR + m (QUADRATIC + m CUBIC)) + 4 d (1 + w); for x >= 0 as 1 less what it misses.
    """
    near = np.clip(x, -DOUBLE_LIMIT, 40.0)
    e = np.exp(-np.abs(near))
    square = 2.0 * e * e
    whole = 1.0 + (2.0 * e + square)
    above = 1.0 + square * (2.0 * near * (1.0 + e) - whole) / (whole * whole)
    d = (near - MISH_ZERO) - MISH_ZERO_REST
    m = np.expm1(np.minimum(d, 2.0))
    numerator = m * (MISH_LINEAR + m * (MISH_QUADRATIC + m * MISH_CUBIC)) + 4.0 * d * (1.0 + e)
    whole = 2.0 + e * (2.0 + e)
    below = times_exponential(numerator / whole / whole, np.minimum(near, 0.0))
    return np.asarray(np.where(near < 0.0, below, above))


def softplus_value(x: Array, beta: float) -> Array:
    """Return log(1 + e^(beta x))/beta with an error below 3 ULP; beta x is a sum of two."""
    z, rest = exact_product(x, beta)
    rise = np.log1p(falling(z, rest)) / beta
    factor = np.clip((1.0 + rest) / beta, -LARGEST, LARGEST)
    far = times_exponential(factor, np.clip(z, SOFTPLUS_LOWEST, SOFTPLUS_FAR))
    return np.asarray(np.where(z < SOFTPLUS_FAR, far, np.where(z < 0.0, rise, x + rise)))


def softplus_derivative(x: Array, beta: float) -> Array:
    """Return sigmoid(beta x) with an error below 3 ULP."""
    z, rest = exact_product(x, beta)
    e = falling(z, rest)
    far = times_exponential(1.0 + rest, np.clip(z, SOFTPLUS_LOWEST, SOFTPLUS_FAR))
    return np.asarray(np.where(z < SOFTPLUS_FAR, far, np.where(z < 0.0, e, 1.0) / (1.0 + e)))


def falling(z: Array, rest: Array) -> Array:
    """Return exp(-abs(z + rest))."""
    e = np.exp(-np.abs(z))
    return np.asarray(e - e * np.where(z < 0.0, -rest, rest))
