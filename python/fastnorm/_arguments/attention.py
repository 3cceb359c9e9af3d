"""The argument rules of attention and memory_read."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._typing import Array
from .mlp import dropout_share
from .rules import Rules, compute_dtype, is_bool, is_float, shown, widened


class Heads(NamedTuple):
    """query, keys and values of a call; a memory read has one query a head, which has no axis of its own."""

    query: Array
    keys: Array
    values: Array
    mask: Array | None


def attention(
    rules: Rules,
    query: object,
    keys: object,
    values: object,
    mask: object,
    is_causal: object,
    scale: object,
    softcap: object,
    enable_gqa: object,
    dropout: object,
    seed: object,
    linear: object,
    return_weights: object,
    out: object,
) -> tuple[object, ...]:
    """Return the canonical arguments of `attention`."""
    gqa = rules.flag("enable_gqa", enable_gqa)
    heads = _heads(rules, query, keys, values, mask, 2, gqa=gqa)
    causal, scale = _causality(rules, is_causal), _scale(rules, scale, heads)
    softcap, chance = _softcap(rules, softcap, heads), _chance(rules, dropout, seed)
    linear, return_weights = rules.flag("linear", linear), rules.flag("return_weights", return_weights)
    return *heads, causal, scale, softcap, gqa, *chance, linear, return_weights, _out(rules, out, heads)


def attention_backward(
    rules: Rules,
    dy: object,
    query: object,
    keys: object,
    values: object,
    mask: object,
    is_causal: object,
    scale: object,
    softcap: object,
    enable_gqa: object,
    dropout: object,
    seed: object,
    linear: object,
) -> tuple[object, ...]:
    """Return the canonical arguments of `attention_backward`."""
    gqa = rules.flag("enable_gqa", enable_gqa)
    heads = _heads(rules, query, keys, values, mask, 2, gqa=gqa)
    dy = _gradient(rules, dy, heads)
    causal, scale = _causality(rules, is_causal), _scale(rules, scale, heads)
    softcap, chance = _softcap(rules, softcap, heads), _chance(rules, dropout, seed)
    return dy, *heads, causal, scale, softcap, gqa, *chance, rules.flag("linear", linear)


def memory_read(
    rules: Rules,
    query: object,
    keys: object,
    values: object,
    mask: object,
    linear: object,
    return_weights: object,
    out: object,
) -> tuple[Array, Array, Array, Array | None, bool, bool, Array | None]:
    """Return the canonical arguments of `memory_read`."""
    heads = _heads(rules, query, keys, values, mask, 1)
    linear, return_weights = rules.flag("linear", linear), rules.flag("return_weights", return_weights)
    return *heads, linear, return_weights, _out(rules, out, heads)


def memory_read_backward(
    rules: Rules, dy: object, query: object, keys: object, values: object, mask: object, linear: object
) -> tuple[Array, Array, Array, Array, Array | None, bool]:
    """Return the canonical arguments of `memory_read_backward`."""
    heads = _heads(rules, query, keys, values, mask, 1)
    dy = _gradient(rules, dy, heads)
    return dy, *heads, rules.flag("linear", linear)


def _heads(
    rules: Rules,
    query: object,
    keys: object,
    values: object,
    mask: object,
    query_axes: int,
    *,
    gqa: bool = False,
) -> Heads:
    """Check dtypes and shapes; a query has `query_axes` axes after the leading ones."""
    query = rules.array("query", query)
    keys = rules.operand("keys", keys, query, "query")
    values = rules.operand("values", values, query, "query")
    if query.ndim < query_axes:
        axes = "(..., queries, dim)" if query_axes == 2 else "(..., dim)"
        raise rules.value_error("query", f"has shape {query.shape}", axes)
    lead = query.shape[: query.ndim - query_axes]
    if gqa:
        lead = _shared_lead(rules, query, keys, lead)
    if keys.ndim != len(lead) + 2 or keys.shape[:-2] != lead or keys.shape[-1] != query.shape[-1]:
        needed = f"{(*lead, 'slots', query.shape[-1])} to match query".replace("'", "")
        raise rules.value_error("keys", f"has shape {keys.shape}", needed)
    if values.ndim != keys.ndim or values.shape[:-1] != keys.shape[:-1]:
        needed = f"{(*keys.shape[:-1], 'width')} to match keys".replace("'", "")
        raise rules.value_error("values", f"has shape {values.shape}", needed)
    return Heads(query, keys, values, _mask(rules, mask, query, (*query.shape[:-1], keys.shape[-2])))


def _shared_lead(rules: Rules, query: Array, keys: Array, lead: tuple[int, ...]) -> tuple[int, ...]:
    """Return the leading axes that keys and values need: those of query, or fewer heads that divide its."""
    if not lead or keys.ndim != query.ndim or keys.shape[-3] == lead[-1]:
        return lead
    heads = keys.shape[-3]
    if heads == 0 or lead[-1] == 0 or lead[-1] % heads:
        found = f"has {heads} heads (shape {keys.shape})"
        raise rules.value_error("keys", found, f"a number that divides the {lead[-1]} of query")
    return (*lead[:-1], heads)


def _causality(rules: Rules, value: object) -> bool | str:
    """Return a bool or 'lower_right'."""
    if is_bool(value):
        return bool(value)
    if not isinstance(value, str):
        raise rules.type_error("is_causal", f"has type {type(value).__name__}", "a bool or 'lower_right'")
    if value != "lower_right":
        raise rules.value_error("is_causal", f"is {shown(value)}", "True, False or 'lower_right'")
    return "lower_right"


def _scale(rules: Rules, value: object, heads: Heads) -> float:
    """Return the factor of the scores: dim ** -0.5 for None."""
    if value is None:
        return math.pow(max(heads.query.shape[-1], 1), -0.5)
    return rules.number("scale", value, like=heads.query)


def _softcap(rules: Rules, value: object, heads: Heads) -> float | None:
    """Return what scores are bent to stay below, if anything."""
    if value is None:
        return None
    number = rules.number("softcap", value, minimum=0, like=heads.query)
    if number == 0:
        raise rules.value_error("softcap", f"is {shown(value)}", "a number above 0, or None")
    return number


def _chance(rules: Rules, dropout: object, seed: object) -> tuple[float, int | None]:
    """Return the share of the weights that is dropped, and the seed, which may be None where that is 0."""
    share = dropout_share(rules, dropout)
    if seed is not None:
        return share, rules.integer("seed", seed, minimum=0, maximum=2**64 - 1)
    if share > 0:
        raise rules.value_error("seed", "is None", "an int for a dropout above 0")
    return share, None


def _mask(rules: Rules, value: object, query: Array, shape: tuple[int, ...]) -> Array | None:
    """Return None, or a mask that broadcasts against `shape`: bool, or in the dtype that the scores are
    computed in.
    """
    if value is None:
        return None
    array = rules.ndarray("mask", value)
    if array.dtype != np.bool_:
        computed = compute_dtype(query.dtype)
        if is_float(array.dtype):
            array = rules.array("mask", value, like=query)
        if not is_float(array.dtype) or array.dtype.itemsize > computed.itemsize:
            needed = f"bool or {computed} (astype('{computed}') casts it)"
            raise rules.type_error("mask", f"has dtype {array.dtype}", needed)
        if array.dtype != computed:
            array = widened(array, computed)
    lengths = zip(reversed(array.shape), reversed(shape), strict=False)
    if array.ndim > len(shape) or any(length not in (1, full) for length, full in lengths):
        raise rules.value_error("mask", f"has shape {array.shape}", f"one that broadcasts to {shape}")
    return array


def _result(heads: Heads) -> Array:
    """Return an array that stands for a result: of its shape and dtype, without memory of its own."""
    shape = (*heads.query.shape[:-1], heads.values.shape[-1])
    return np.broadcast_to(np.zeros((), heads.query.dtype), shape)


def _gradient(rules: Rules, value: object, heads: Heads) -> Array:
    """Return the gradient of a loss with respect to the result."""
    array, result = rules.exactly("dy", value, heads.query, "query"), _result(heads)
    if array.shape != result.shape:
        raise rules.value_error("dy", f"has shape {array.shape}", f"{result.shape} of the result")
    return array


def _out(rules: Rules, out: object, heads: Heads) -> Array | None:
    return rules.out(out, _result(heads), *heads)
