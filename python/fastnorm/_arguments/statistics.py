"""The argument rules of the statistics."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from .rules import Rules


def moments(x: object, axis: object) -> tuple[Array, tuple[int, ...]]:
    """Return the canonical arguments of `moments`: the axes that are kept are neighbours."""
    rules = Rules("moments")
    x = rules.array("x", x)
    if x.ndim == 0:
        x = x.reshape(1)
    axes = rules.axes(tuple(range(x.ndim)) if axis is None else axis, x).ascending
    kept = [number for number in range(x.ndim) if number not in axes]
    if kept and kept[-1] - kept[0] != len(kept) - 1:
        x, axes = np.moveaxis(x, axes, range(len(axes))), tuple(range(len(axes)))
    return x, axes
