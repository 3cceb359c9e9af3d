"""Attention: attention and memory_read, forward and backward."""

from __future__ import annotations

from typing import Literal, overload

from ._op import op
from ._typing import Array, ArrayLike

__all__ = ["attention", "attention_backward", "memory_read", "memory_read_backward"]


@overload
def attention(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    is_causal: bool | Literal["lower_right"] = False,
    scale: float | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    dropout: float = 0.0,
    seed: int | None = None,
    linear: bool = False,
    return_weights: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def attention(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    is_causal: bool | Literal["lower_right"] = False,
    scale: float | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    dropout: float = 0.0,
    seed: int | None = None,
    linear: bool = False,
    return_weights: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Array]: ...
@overload
def attention(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    is_causal: bool | Literal["lower_right"] = False,
    scale: float | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    dropout: float = 0.0,
    seed: int | None = None,
    linear: bool = False,
    return_weights: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
@op
def attention(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    is_causal: bool | Literal["lower_right"] = False,
    scale: float | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    dropout: float = 0.0,
    seed: int | None = None,
    linear: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Read the values of the slots whose keys fit the queries.

    ``y = softmax(scale * query @ keys.T + mask) @ values``.

    Parameters
    ----------
    query : array_like
        float32, float64, float16 or bfloat16, of shape (..., queries, dim). Leading axes are batches and
        heads; any strides, so that heads can be views of one array.
    keys, values : array_like
        Of shapes (..., slots, dim) and (..., slots, width), with query's leading axes and dtype; fewer
        heads with `enable_gqa`.
    mask : array_like, optional
        Broadcasts to (..., queries, slots). Boolean: True takes part. Else it is added to the scores, and
        -inf takes no part; of query's dtype, or float32 where query is a half type. Values of slots that take
        no part must still be finite.
    is_causal : bool or 'lower_right', default False
        True: query i sees slots 0 to i. 'lower_right': the last query sees all slots, the one before it all
        but the last and so on, as queries at the end of a cache of keys have to. Blocks that are not seen
        are not computed. Where there is a mask too, both hold.
    scale : float, optional
        Factor of the scores, before the mask; ``dim ** -0.5`` where it is not given.
    softcap : float, optional
        Bends scaled scores, before the mask, to ``softcap * tanh(score / softcap)``, so that none is beyond
        it, as in Gemma 2 and ONNX.
    enable_gqa : bool, default False
        Grouped-query attention: query may have more heads (axis -3) than keys and values, a multiple; those
        that follow each other share a head, which is not copied.
    dropout : float, default 0.0
        Share of the weights that is set to 0 after the softmax, the others being divided by what is left of
        1; at least 0 and below 1, in steps of 1/65536, as `dropout` has it.
    seed : int, optional
        From 0 to 2**64 - 1; needed for a dropout above 0. What is dropped depends on it and on the place of
        head, query and slot alone, so that the backward makes the same mask again; other calls take others.
    linear : bool, default False
        Leave the softmax out: the weights are the scores, 0 for slots that take no part.
    return_weights : bool, default False
        Whether to return the weights too. Otherwise no array of queries by slots is made.
    out : ndarray, optional
        Takes y: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of shape (..., queries, width) and query's dtype and order of axes in memory; `out` where it was
        given. A query without slots that take part gives zeros.
    weights : ndarray
        Only with `return_weights`: of shape (..., queries, slots) and query's dtype; after dropout.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: finite for any finite scores and values below the largest number divided by the slots. In
    float32, with ``u = 2**-24``, a score is within ``(dim + 2) * u`` of the sum of the magnitudes it is added
    up from, which is the relative error of its weight; y adds ``(68 + slots / 64) * u`` of the weighted
    magnitudes of the values. Half types are computed in float32 and rounded once.

    Reproducibility: a query has the same bits for any number of threads, any other queries and heads in the
    batch, any strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762 (2017). Milakov and Gimelshein, "Online
    normalizer calculation for softmax", arXiv:1805.02867 (2018). Gemma Team, "Gemma 2: Improving Open
    Language Models at a Practical Size", arXiv:2408.00118 (2024), of `softcap`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> query = np.array([[4.0, 0.0], [0.0, 0.0]])
    >>> keys = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> values = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    >>> fastnorm.attention(query, keys, values, scale=1.0).round(3)
    array([[1.072, 2.072, 3.072],
           [3.   , 4.   , 5.   ]])
    >>> y, weights = fastnorm.attention(query, keys, values, mask=[True, False], return_weights=True)
    >>> weights
    array([[1., 0.],
           [1., 0.]])
    >>> fastnorm.attention(query, keys, values, is_causal=True).round(3)
    array([[1., 2., 3.],
           [3., 4., 5.]])
    """


@op
def attention_backward(
    dy: ArrayLike,
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    is_causal: bool | Literal["lower_right"] = False,
    scale: float | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    dropout: float = 0.0,
    seed: int | None = None,
    linear: bool = False,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `attention` with respect to query, keys and values.

    With the weights of the forward, computed again block by block, ``dweights = dy @ values.T`` and
    ``dscores = weights * (dweights - sum(weights * dweights))`` (``dscores = dweights`` where `linear`):
    ``dquery = scale * dscores @ keys``, ``dkeys = scale * dscores.T @ query``, ``dvalues = weights.T @ dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    query, keys, values : array_like
        The arguments of the forward.
    mask : array_like, optional
        As in the forward; it gets no gradient.
    is_causal : bool or 'lower_right', default False
        As in the forward.
    scale : float, optional
        As in the forward.
    softcap : float, optional
        As in the forward; dscores is multiplied by its slope.
    enable_gqa : bool, default False
        As in the forward; gradients of shared heads are added up in the order of query's heads.
    dropout : float, default 0.0
        As in the forward.
    seed : int, optional
        As in the forward: the same one.
    linear : bool, default False
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dquery, dkeys, dvalues : ndarray
        Of the shapes, dtype and order of axes in memory of query, keys and values.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is about 1e-6 where the
    scores are of moderate size, and at most 1e-5 up to a dim of 1000.

    Reproducibility: each row has the same bits for any number of threads, any other heads in the batch, any
    strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
    arXiv:2205.14135 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dy, query = np.ones((1, 1)), np.array([[1.0]])
    >>> keys, values = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    >>> dquery, dkeys, dvalues = fastnorm.attention_backward(dy, query, keys, values)
    >>> dquery.round(4)
    array([[0.1966]])
    """


@overload
def memory_read(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    return_weights: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def memory_read(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    return_weights: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Array]: ...
@overload
def memory_read(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    return_weights: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
@op
def memory_read(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Read a memory with one query: ``softmax(keys @ query + mask) @ values``.

    Parameters
    ----------
    query : array_like
        float32, float64, float16 or bfloat16, of shape (..., dim): (dim,) or (batch, dim), with any strides.
    keys, values : array_like
        Of shapes (..., slots, dim) and (..., slots, width), with query's leading axes and dtype.
    mask : array_like, optional
        Broadcasts to (..., slots). Boolean: True takes part. Else it is added to the scores, and -inf takes
        no part; of query's dtype, or float32 where query is a half type. Values of slots that take no part
        must still be finite.
    linear : bool, default False
        Leave the softmax out: the weights are the scores, 0 for slots that take no part.
    return_weights : bool, default False
        Whether to return the weights too.
    out : ndarray, optional
        Takes y: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of shape (..., width) and query's dtype and order of axes in memory; `out` where it was given. A query
        without slots that take part gives zeros.
    weights : ndarray
        Only with `return_weights`: of shape (..., slots) and query's dtype.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    It is `attention` with one query and scale 1, to the bit.

    Accuracy: as for `attention`.

    Reproducibility: as for `attention`.

    References
    ----------
    Sukhbaatar et al., "End-To-End Memory Networks", arXiv:1503.08895 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> keys = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> values = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    >>> fastnorm.memory_read(np.array([4.0, 0.0]), keys, values).round(3)
    array([1.072, 2.072, 3.072])
    >>> fastnorm.memory_read(np.array([4.0, 2.0]), keys, values, linear=True)
    array([14., 20., 26.])
    """


@op
def memory_read_backward(
    dy: ArrayLike,
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `memory_read` with respect to query, keys and values.

    With the weights of the forward, ``dweights = values @ dy`` and
    ``dscores = weights * (dweights - sum(weights * dweights))`` (``dscores = dweights`` where `linear`):
    ``dquery = dscores @ keys``, ``dkeys = outer(dscores, query)``, ``dvalues = outer(weights, dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    query, keys, values : array_like
        The arguments of the forward.
    mask : array_like, optional
        As in the forward; it gets no gradient.
    linear : bool, default False
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dquery, dkeys, dvalues : ndarray
        Of the shapes, dtype and order of axes in memory of query, keys and values.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: as for `attention_backward`.

    Reproducibility: as for `attention_backward`.

    References
    ----------
    Sukhbaatar et al., "End-To-End Memory Networks", arXiv:1503.08895 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> keys, values = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    >>> dquery, dkeys, dvalues = fastnorm.memory_read_backward(np.ones(1), np.array([1.0]), keys, values)
    >>> dvalues.round(4)
    array([[0.2689],
           [0.7311]])
    """
