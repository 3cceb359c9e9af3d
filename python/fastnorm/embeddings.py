"""Rows of a table by their numbers, and positions as rotations: embedding and rotary_embedding."""

from __future__ import annotations

from typing import SupportsIndex

from ._op import op
from ._typing import Array, ArrayLike

__all__ = ["embedding", "embedding_backward"]


@op
def embedding(
    ids: ArrayLike, table: ArrayLike, *, padding_id: SupportsIndex | None = None, out: Array | None = None
) -> Array:
    """Rows of a table by their numbers.

    ``y[i] = table[ids[i]]`` for ids of any shape.

    Parameters
    ----------
    ids : array_like
        Integers of any type from 0 to ``rows - 1``, of any shape.
    table : array_like
        float32, float64, float16 or bfloat16, of shape (rows, dim), with any strides. A transposed weight of
        `linear` is taken without a copy.
    padding_id : int, optional
        The row that has no gradient, in the backward; counted from the end where it is negative. The forward
        reads that row as any other.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly `table` or overlapping no input.

    Returns
    -------
    y : ndarray
        Of shape ``(*ids.shape, dim)`` and the table's dtype, to the bit; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape: an id that is no row, which
        the error shows with its place, too. `out` is then untouched.

    Notes
    -----
    Accuracy: rows are copied, bit by bit.

    Reproducibility: the same bits for anything.

    References
    ----------
    Bengio, Ducharme, Vincent and Jauvin, "A Neural Probabilistic Language Model", Journal of Machine Learning
    Research 3 (2003).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> table = np.array([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]], dtype=np.float32)
    >>> fastnorm.embedding(np.array([2, 0, 2]), table)
    array([[2. , 2.5],
           [0. , 0.5],
           [2. , 2.5]], dtype=float32)
    """


@op
def embedding_backward(
    dy: ArrayLike, ids: ArrayLike, table: ArrayLike, *, padding_id: SupportsIndex | None = None
) -> Array:
    """Gradient of `embedding` with respect to the table.

    Row r is the sum of ``dy[i]`` over the places i where ``ids[i]`` is r.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of shape ``(*ids.shape, dim)`` and the table's dtype.
    ids, table : array_like
        The arguments of the forward. The values of the table are not read.
    padding_id : int, optional
        The row whose gradient is 0 whatever dy.

    Returns
    -------
    dtable : ndarray
        Of the table's shape and dtype, in float32 where that is a half type.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: sums are float64 and rounded once.

    Reproducibility: rows are added in the order of their places, so that the bits of a row of `dtable` depend
    on neither the number of threads nor strides nor other rows, and are the same on any CPU with fused
    multiply-add.

    References
    ----------
    Bengio, Ducharme, Vincent and Jauvin, "A Neural Probabilistic Language Model", Journal of Machine Learning
    Research 3 (2003).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> table = np.zeros((3, 2), dtype=np.float32)
    >>> dy = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32)
    >>> fastnorm.embedding_backward(dy, np.array([2, 0, 2]), table)
    array([[3., 4.],
           [0., 0.],
           [6., 8.]], dtype=float32)
    """
