"""NumPy twins of attention and memory_read.

All work on heads: query (heads, queries, dim), keys (heads, slots, dim), values (heads, slots, width), the
leading axes flattened. With ``scores = scale * query @ keys.T + mask`` and ``weights = softmax(scores)``:

    y       = weights @ values
    dvalues = weights.T @ dy
    dscores = weights * (dweights - sum(weights * dweights))    with dweights = dy @ values.T
    dquery  = scale * dscores @ keys,  dkeys = scale * dscores.T @ query

Without softmax the weights are the scores and dscores is dweights. Slots that take no part weigh 0. A cap
bends scaled products to ``softcap * tanh(product / softcap)`` before the mask is added; dscores is multiplied
by its slope. Dropout multiplies weights after the softmax, and dweights, by a mask and ``1 / (1 - dropout)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import Array
from .regularisers import LEVELS, SQUARE, numbers


def attention(
    query: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    is_causal: bool | str,
    scale: float,
    softcap: float | None,
    enable_gqa: bool,
    dropout: float,
    seed: int | None,
    linear: bool,
    return_weights: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.attention`."""
    keys, values = _shared(keys, query, enable_gqa), _shared(values, query, enable_gqa)
    with np.errstate(all="ignore"):
        weights = _weights(query, keys, mask, is_causal, scale, softcap, linear)
        weights = _dropped(weights, dropout, seed)
        y = weights @ _wide(values)
    y = _result(y, query, out)
    return (y, _result(weights, query)) if return_weights else y


def attention_backward(
    dy: Array,
    query: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    is_causal: bool | str,
    scale: float,
    softcap: float | None,
    enable_gqa: bool,
    dropout: float,
    seed: int | None,
    linear: bool,
) -> tuple[Array, Array, Array]:
    """Twin of `fastnorm.attention_backward`."""
    own_keys, own_values = keys, values
    keys, values = _shared(keys, query, enable_gqa), _shared(values, query, enable_gqa)
    seen = _seen(query.shape[-2], keys.shape[-2], is_causal)
    with np.errstate(all="ignore"):
        weights = _weights(query, keys, mask, is_causal, scale, softcap, linear)
        dweights = _dropped(np.where(seen, _wide(dy) @ _transposed(values), 0.0), dropout, seed)
        if linear:
            dscores = np.where(_takes_part(mask), dweights, 0.0)
        else:
            dscores = weights * (dweights - np.sum(weights * dweights, axis=-1, keepdims=True))
            dscores = np.where(seen, dscores, 0.0)
        if softcap is not None:
            slope = np.cosh(scale * (_wide(query) @ _transposed(keys)) / softcap) ** -2.0
            dscores = np.where(dscores == 0, 0.0, dscores * slope)
        dquery = scale * (dscores @ _wide(keys))
        dkeys = scale * (_transposed(dscores) @ _wide(query))
        dvalues = _transposed(_dropped(weights, dropout, seed)) @ _wide(dy)
        dkeys, dvalues = _summed(dkeys, own_keys), _summed(dvalues, own_values)
    return _result(dquery, query), _result(dkeys, own_keys), _result(dvalues, own_values)


def memory_read(
    query: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    linear: bool,
    return_weights: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.memory_read`."""
    with np.errstate(all="ignore"):
        weights = _weights(query[..., None, :], keys, _one_query(mask), False, 1.0, None, linear)
        y = (weights @ _wide(values))[..., 0, :]
    y = _result(y, query, out)
    return (y, _result(weights[..., 0, :], query)) if return_weights else y


def memory_read_backward(
    dy: Array, query: Array, keys: Array, values: Array, mask: Array | None, linear: bool
) -> tuple[Array, Array, Array]:
    """Twin of `fastnorm.memory_read_backward`."""
    dquery, dkeys, dvalues = attention_backward(
        dy[..., None, :],
        query[..., None, :],
        keys,
        values,
        _one_query(mask),
        False,
        1.0,
        None,
        False,
        0.0,
        None,
        linear,
    )
    return dquery[..., 0, :], dkeys, dvalues


def _weights(
    query: Array,
    keys: Array,
    mask: Array | None,
    is_causal: bool | str,
    scale: float,
    softcap: float | None,
    linear: bool,
) -> Array:
    """Return the weight of each slot for each query, in float64: 0 for slots that it does not see, even
    where all others are NaN.
    """
    seen = _seen(query.shape[-2], keys.shape[-2], is_causal)
    scores = scale * (_wide(query) @ _transposed(keys))
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    takes_part = _takes_part(mask) & seen
    if mask is not None and mask.dtype != np.bool_:
        scores = scores + _wide(mask)
    if linear:
        return np.where(takes_part, scores, 0.0)
    scores = np.where(takes_part, scores, -np.inf)
    peak = np.max(scores, axis=-1, keepdims=True, initial=np.finfo(np.float64).min)
    weights = np.exp(scores - peak)
    total = np.sum(weights, axis=-1, keepdims=True)
    share: Array = np.where(seen, weights / np.where(total == 0, 1.0, total), 0.0)
    return share


def _dropped(weights: Array, dropout: float, seed: int | None) -> Array:
    """Return weights, or their gradients, scaled, with 0 in place of those that are dropped: the mask of
    `dropout` for squares of SQUARE slots and queries.
    """
    dropped = round(dropout * LEVELS)
    if not dropped or seed is None:
        return weights
    *lead, queries, slots = weights.shape
    heads, squares = math.prod(lead), (-(-queries // SQUARE), -(-slots // SQUARE))
    drawn = numbers(heads * squares[0] * squares[1] * SQUARE**2, seed)
    by_slot = drawn.reshape(heads, *squares, SQUARE, SQUARE)
    whole = by_slot.transpose(0, 1, 4, 2, 3).reshape(heads, squares[0] * SQUARE, squares[1] * SQUARE)
    kept = whole[:, :queries, :slots].reshape(weights.shape) >= dropped
    return weights * np.where(kept, LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0, 0.0)


def _shared(array: Array, query: Array, enable_gqa: bool) -> Array:
    """Return keys or values, a head for each of query's."""
    if not enable_gqa or array.shape[:-2] == query.shape[:-2]:
        return array
    return np.repeat(array, query.shape[-3] // array.shape[-3], axis=-3)


def _summed(gradient: Array, like: Array) -> Array:
    """Return the gradient of keys or values from that for each head of query."""
    if gradient.shape == like.shape:
        return gradient
    group = gradient.shape[-3] // like.shape[-3]
    grouped = gradient.reshape(*like.shape[:-2], group, *like.shape[-2:])
    total: Array = grouped.sum(axis=-3)
    return total


def _seen(queries: int, slots: int, is_causal: bool | str) -> Any:
    """Return which slots each query sees by its place."""
    if is_causal is False:
        return np.True_
    return np.tri(queries, slots, slots - queries if is_causal == "lower_right" else 0, dtype=bool)


def _takes_part(mask: Array | None) -> Any:
    """Return where the mask lets a slot take part."""
    if mask is None:
        return np.True_
    return mask if mask.dtype == np.bool_ else mask != -np.inf


def _one_query(mask: Array | None) -> Array | None:
    """Return the mask of a memory read with an axis for the query."""
    return mask if mask is None or mask.ndim == 0 else mask[..., None, :]


def _wide(array: Array) -> Array:
    return array.astype(np.float64)


def _transposed(array: Array) -> Array:
    return np.swapaxes(_wide(array), -1, -2)


def _result(values: Array, like: Array, out: Array | None = None) -> Array:
    """Return the values rounded to the dtype of `like`, in `out` or in a new array whose axes lie in its
    order.
    """
    target = np.empty_like(like, shape=values.shape) if out is None else out
    with np.errstate(all="ignore"):
        np.copyto(target, values, casting="unsafe")
    return target
