"""NumPy twin of the statistics."""

from __future__ import annotations

import math

import numpy as np

from .. import _arguments
from .._typing import Array, ArrayLike, Axis


def moments(x: ArrayLike, axis: Axis | None = None) -> tuple[int, Array, Array]:
    """Twin of `fastnorm.moments`, whose result is a tuple: count, mean, m2."""
    x, axes = _arguments.moments(x, axis)
    count = math.prod(x.shape[number] for number in axes)
    if count == 0:
        shape = tuple(size for number, size in enumerate(x.shape) if number not in axes)
        return 0, np.zeros(shape), np.zeros(shape)
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        mean = np.mean(values, axis=axes, keepdims=True)
        # The second mean is what rounding the first has left.
        rest = np.mean(values - mean, axis=axes, keepdims=True)
        m2 = np.sum(np.square(values - mean - rest), axis=axes)
    return count, np.asarray(np.squeeze(mean + rest, axes)), np.asarray(m2)
