"""NumPy twins of softmax and log_softmax, in float64.

With m the maximum and e = exp(x - m), sum e = 1 + rest, where the rest leaves out one maximum: log1p(rest)
keeps its relative accuracy where that element holds nearly everything.
"""

from __future__ import annotations

import numpy as np

from .._arguments.rules import Axes
from .._typing import Array
from ._results import result
from .norms import from_rows, to_rows


def softmax(x: Array, axes: Axes, out: Array | None = None) -> Array:
    """Twin of `fastnorm.softmax`."""
    with np.errstate(all="ignore"):
        return result(from_rows(probabilities(to_rows(x, axes)), x.shape, axes), x, out)


def softmax_backward(dy: Array, x: Array, axes: Axes, y: Array | None = None) -> Array:
    """Twin of `fastnorm.softmax_backward`."""
    with np.errstate(all="ignore"):
        p = probabilities(to_rows(x, axes)) if y is None else to_rows(y, axes)
        slopes = to_rows(dy, axes)
        dx = p * (slopes - np.sum(slopes * p, axis=1, keepdims=True))
        return result(from_rows(dx, x.shape, axes), x)


def log_softmax(x: Array, axes: Axes, out: Array | None = None) -> Array:
    """Twin of `fastnorm.log_softmax`."""
    with np.errstate(all="ignore"):
        shifted, lift = log_sum(to_rows(x, axes), 1)
        return result(from_rows(shifted - lift, x.shape, axes), x, out)


def log_softmax_backward(dy: Array, x: Array, axes: Axes, y: Array | None = None) -> Array:
    """Twin of `fastnorm.log_softmax_backward`."""
    with np.errstate(all="ignore"):
        p = probabilities(to_rows(x, axes)) if y is None else np.exp(to_rows(y, axes))
        slopes = to_rows(dy, axes)
        dx = slopes - p * np.sum(slopes, axis=1, keepdims=True)
        return result(from_rows(dx, x.shape, axes), x)


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


def probabilities(x: Array, axis: int = 1) -> Array:
    """Return the softmax of x."""
    _, e, rest = exponentials(x, axis)
    y: Array = e / (1.0 + rest)
    return y


def log_sum(x: Array, axis: int) -> tuple[Array, Array]:
    """Return x less its maximum, and the logarithm of the sum of the exponentials of that."""
    shifted, _, rest = exponentials(x, axis)
    return shifted, np.log1p(rest)
