"""How the twins hand over what they computed in float64."""

from __future__ import annotations

import numpy as np

from .._typing import Array


def rounded(values: Array, dtype: np.dtype[np.generic], out: Array | None = None) -> Array:
    """Return the values rounded to `dtype`, in the caller's `out` where there is one."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if out is None:
            return np.asarray(values).astype(dtype, order="C")
        np.copyto(out, values, casting="unsafe")
    return out


def statistics_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the dtype of statistics and of the gradients of parameters, for an `x` of this dtype."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)
