"""NumPy twins of sums of embeddings, which `MemN2N` is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _arguments
from .._typing import Array, ArrayLike


def embedding_sums(tables: Sequence[ArrayLike], words: ArrayLike, encoding: ArrayLike) -> tuple[Array, ...]:
    """Return ``y[s] = sum_j encoding[j] * table[words[s, j]]`` for each table: (..., words) -> (..., dim)."""
    checked, ids, factors = _arguments.embedding_sums(tables, words, encoding)
    wide = factors.astype(np.float64)
    with np.errstate(all="ignore"):
        return tuple(
            np.einsum("...jd,jd->...d", table.astype(np.float64)[ids], wide).astype(table.dtype)
            for table in checked
        )


def embedding_sums_backward(
    dys: Sequence[ArrayLike], tables: Sequence[ArrayLike], words: ArrayLike, encoding: ArrayLike
) -> tuple[Array, ...]:
    """Return the gradients of the tables, where every word adds ``encoding[j] * dy[s]`` to its row."""
    gradients, checked, ids, factors = _arguments.embedding_sums_backward(dys, tables, words, encoding)
    rows, dim = checked[0].shape
    wide = factors.astype(np.float64)
    places = (ids[..., None] * dim + np.arange(dim)).ravel()
    with np.errstate(all="ignore"):
        return tuple(
            np.bincount(places, (dy.astype(np.float64)[..., None, :] * wide).ravel(), rows * dim)
            .reshape(rows, dim)
            .astype(dy.dtype)
            for dy in gradients
        )
