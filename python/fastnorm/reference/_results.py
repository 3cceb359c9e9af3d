"""How the twins hand over what they computed in float64."""

from __future__ import annotations

import numpy as np

from .._typing import Array


def result(values: Array, x: Array, out: Array | None = None) -> Array:
    """Return the values rounded to x's dtype, in the caller's `out` or in a new array of x's layout."""
    target = np.empty_like(x) if out is None else out
    with np.errstate(all="ignore"):
        np.copyto(np.ndarray.view(target, np.ndarray), values, casting="unsafe")
    return target


def statistic(values: Array, x: Array) -> Array:
    """Return the values in the dtype of statistics and parameter gradients: float64 for float64, else
    float32.
    """
    with np.errstate(all="ignore"):
        return np.array(values, np.float64 if x.dtype == np.float64 else np.float32)
