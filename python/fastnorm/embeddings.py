"""Rows of a table by their numbers, and positions as rotations: embedding and rotary_embedding."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np

from ._arguments import embeddings as _rules
from ._arguments.rules import Rules
from ._op import op
from ._typing import Array, ArrayLike

__all__ = [
    "embedding",
    "embedding_backward",
    "rotary_embedding",
    "rotary_embedding_backward",
    "rotary_frequencies",
]


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
    dy: ArrayLike,
    ids: ArrayLike,
    table: ArrayLike,
    *,
    padding_id: SupportsIndex | None = None,
    out: Array | None = None,
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
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

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


@op
def rotary_embedding(
    x: ArrayLike, cos: ArrayLike, sin: ArrayLike, *, interleaved: bool = False, out: Array | None = None
) -> Array:
    """Turn pairs of features by angles that say where a token stands (RoPE).

    A pair ``(a, b)`` becomes ``(a * cos - b * sin, a * sin + b * cos)``. Queries and keys are turned before
    their products, which then depend on how far apart two tokens are.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of shape (..., positions, dim), with any strides.
    cos, sin : array_like
        Of one shape (..., positions, pairs), where the leading axes broadcast against those of x; of x's
        dtype, or float32 where x is a half type. `rotary_frequencies` makes them. The first ``2 * pairs``
        features are turned, at most dim; others stay.
    interleaved : bool, default False
        The pairs are neighbours, features ``2 * i`` and ``2 * i + 1``, as in GPT-J, instead of the features i
        and ``i + pairs``, as in GPT-NeoX and Llama.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or overlapping no input.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    It is ONNX's RotaryEmbedding of version 23 with the tables looked up: ``cos_cache[position_ids]``.

    Accuracy: float32 within ``2 * 2^-24 * (|a * cos| + |b * sin|)``. Half types are computed in float32 and
    rounded once.

    Reproducibility: the same bits for any number of threads, any strides, any other positions, and any CPU
    with fused multiply-add; and for a pair wherever its two features stand.

    References
    ----------
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> cos, sin = fastnorm.rotary_frequencies(3, 4)
    >>> x = np.ones((3, 4), dtype=np.float32)
    >>> fastnorm.rotary_embedding(x, cos, sin).round(3)
    array([[ 1.   ,  1.   ,  1.   ,  1.   ],
           [-0.301,  0.99 ,  1.382,  1.01 ],
           [-1.325,  0.98 ,  0.493,  1.02 ]], dtype=float32)
    """


@op
def rotary_embedding_backward(
    dy: ArrayLike,
    x: ArrayLike,
    cos: ArrayLike,
    sin: ArrayLike,
    *,
    interleaved: bool = False,
    out: Array | None = None,
) -> Array:
    """Gradient of `rotary_embedding` with respect to x: dy turned back.

    The angles are no parameters: they have no gradients.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, cos, sin : array_like
        The arguments of the forward. The values of x are not read.
    interleaved : bool, default False
        As in the forward.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: as for the forward.

    Reproducibility: as for the forward.

    References
    ----------
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> cos, sin = fastnorm.rotary_frequencies(3, 4)
    >>> x = np.ones((3, 4), dtype=np.float32)
    >>> dy = fastnorm.rotary_embedding(x, cos, sin)
    >>> fastnorm.rotary_embedding_backward(dy, x, cos, sin).round(3)
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.],
           [1., 1., 1., 1.]], dtype=float32)
    """


def rotary_frequencies(
    positions: SupportsIndex | ArrayLike,
    dim: SupportsIndex,
    *,
    base: float = 10000.0,
    dtype: Any = np.float32,
) -> tuple[Array, Array]:
    """Cosines and sines of the angles by which `rotary_embedding` turns.

    Pair i at position p is turned by ``p * base ** (-2 * i / dim)``.

    Parameters
    ----------
    positions : int or array_like
        How many positions, from 0 on; or an array of them, as of a token that follows others in a cache.
    dim : int
        How many features are turned: even.
    base : float, default 10000.0
        More than 0: of the wavelengths, which grow from 2 pi to nearly 2 pi times it.
    dtype : dtype, default float32
        One of the four types that arrays may have. Angles, cosines and sines are computed in float64 and
        rounded once.

    Returns
    -------
    cos, sin : ndarray
        Of shape ``(positions, dim / 2)``, or ``(*positions.shape, dim / 2)``.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value.

    Examples
    --------
    >>> import fastnorm
    >>> cos, sin = fastnorm.rotary_frequencies(3, 4)
    >>> cos.round(4)
    array([[ 1.    ,  1.    ],
           [ 0.5403,  1.    ],
           [-0.4161,  0.9998]], dtype=float32)
    >>> fastnorm.rotary_frequencies([2], 4)[1].round(4)
    array([[0.9093, 0.02  ]], dtype=float32)
    """
    places, pairs, wavelength, kind = _rules.frequencies(
        Rules("rotary_frequencies"), positions, dim, base, dtype
    )
    with np.errstate(all="ignore"):
        angles = places[..., None] * wavelength ** (-np.arange(pairs) / max(pairs, 1))
        return np.cos(angles).astype(kind), np.sin(angles).astype(kind)
