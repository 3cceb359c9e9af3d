"""NumPy twins of softmax and log_softmax, in float64.

With m the maximum and e = exp(x - m), sum e = 1 + rest, where the rest leaves out one maximum: log1p(rest)
keeps its relative accuracy where that element holds nearly everything.
"""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ._results import result


def softmax(x: Array, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.softmax`."""
    with np.errstate(all="ignore"):
        return result(probabilities(x.astype(np.float64), axis), x, out)


def softmax_backward(dy: Array, x: Array, axis: int, y: Array | None = None) -> Array:
    """Twin of `fastnorm.softmax_backward`."""
    with np.errstate(all="ignore"):
        y = probabilities(x.astype(np.float64), axis) if y is None else y.astype(np.float64)
        dy64 = dy.astype(np.float64)
        return result(y * (dy64 - np.sum(dy64 * y, axis=axis, keepdims=True)), x)


def log_softmax(x: Array, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.log_softmax`."""
    with np.errstate(all="ignore"):
        shifted, lift = log_sum(x.astype(np.float64), axis)
        return result(shifted - lift, x, out)


def log_softmax_backward(dy: Array, x: Array, axis: int, y: Array | None = None) -> Array:
    """Twin of `fastnorm.log_softmax_backward`."""
    with np.errstate(all="ignore"):
        p = probabilities(x.astype(np.float64), axis) if y is None else np.exp(y.astype(np.float64))
        dy64 = dy.astype(np.float64)
        return result(dy64 - p * np.sum(dy64, axis=axis, keepdims=True), x)


def exponentials(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """Return x less its maximum, the exponentials of that, and their sum without one maximum.

    NaN where the maximum is not finite.
    """
    maximum = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isfinite(maximum), maximum, np.nan)
    e = np.exp(shifted)
    if not x.size:
        return shifted, e, np.sum(e, axis=axis, keepdims=True)
    # Not by put_along_axis, which takes one axis less than arrays may have.
    places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    rest = np.where(places == np.argmax(x, axis=axis, keepdims=True), 0.0, e)
    return shifted, e, np.sum(rest, axis=axis, keepdims=True)


def probabilities(x: Array, axis: int) -> Array:
    """Return the softmax of x."""
    _, e, rest = exponentials(x, axis)
    y: Array = e / (1.0 + rest)
    return y


def log_sum(x: Array, axis: int) -> tuple[Array, Array]:
    """Return x less its maximum, and the logarithm of the sum of the exponentials of that."""
    shifted, _, rest = exponentials(x, axis)
    return shifted, np.log1p(rest)
