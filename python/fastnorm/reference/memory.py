"""NumPy twins of sums of embeddings, which `MemN2N` is made of."""

from __future__ import annotations

import numpy as np

from .._typing import Array


def embedding_sums(checked: tuple[Array, ...], ids: Array, factors: Array) -> tuple[Array, ...]:
    """Return ``y[s] = sum_j encoding[j] * table[words[s, j]]`` for each table: (..., words) -> (..., dim)."""
    wide = factors.astype(np.float64)
    with np.errstate(all="ignore"):
        return tuple(
            np.einsum("...jd,jd->...d", table.astype(np.float64)[ids], wide).astype(table.dtype)
            for table in checked
        )


def embedding_sums_backward(
    gradients: tuple[Array, ...], checked: tuple[Array, ...], ids: Array, factors: Array
) -> tuple[Array, ...]:
    """Return the gradients of the tables, where every word adds ``encoding[j] * dy[s]`` to its row."""
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
