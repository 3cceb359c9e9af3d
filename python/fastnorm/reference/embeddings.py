"""NumPy twins of embeddings."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ._results import statistic


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
    rows = dy.reshape(ids.size, table.shape[1]).astype(np.float64)
    with np.errstate(all="ignore"):
        np.add.at(sums, ids.ravel()[kept], rows[kept])
    return statistic(sums, table)
