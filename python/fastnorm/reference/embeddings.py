"""NumPy twins of embeddings."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ._results import result, statistic


def embedding(ids: Array, table: Array, padding_id: int | None, out: Array | None = None) -> Array:
    """Return ``table[ids]``."""
    y = np.take(table, ids, axis=0)
    if out is None:
        return y
    np.copyto(np.ndarray.view(out, np.ndarray), y)
    return out


def embedding_backward(dy: Array, ids: Array, table: Array, padding_id: int | None) -> Array:
    """Return the gradient of the table: each row of dy added to the row of its id."""
    sums = np.zeros(table.shape)
    kept = ids.ravel() != (-1 if padding_id is None else padding_id)
    with np.errstate(all="ignore"):
        rows = dy.reshape(ids.size, table.shape[1]).astype(np.float64)
        np.add.at(sums, ids.ravel()[kept], rows[kept])
    return statistic(sums, table)


def rotary_embedding(x: Array, cos: Array, sin: Array, interleaved: bool, out: Array | None = None) -> Array:
    """Return pairs of features turned by their angles."""
    return result(_turned(x, cos, sin, interleaved), x, out)


def rotary_embedding_backward(dy: Array, x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    """Return dy turned back."""
    return result(_turned(dy, cos, -sin, interleaved), x)


def _turned(x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    pairs = cos.shape[-1]
    first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    if interleaved:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    with np.errstate(all="ignore"):
        y, wide_cos, wide_sin = x.astype(np.float64), cos.astype(np.float64), sin.astype(np.float64)
        a, b = y[..., first].copy(), y[..., second].copy()
        y[..., first] = a * wide_cos - b * wide_sin
        y[..., second] = a * wide_sin + b * wide_cos
    return y
