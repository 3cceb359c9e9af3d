"""attention, of problems (..., queries, slots, dim, width), and memory_read, of (..., slots, dim, width)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from .bounds import last_rounding, roundoff
from .spec import BATCH, Arguments, Array, Bad, Bounds, Contract, Draw, Shape, Spec, Variant, Workload, wide

BLOCK = 64  # terms that the kernels add up one after another; the sums of blocks follow each other
EXPONENTIAL = 8  # roundings of a weight beyond its score: the exponential, the total and its reciprocal


def problem_of(lead: Shape, size: int, *, query_axis: bool) -> Shape:
    """Few queries and many, one tile, one block and more of either; as wide as the keys or not."""
    dim = size % 24 + 1
    return (*lead, *((size % 41 + 1,) if query_axis else ()), min(size, 150), dim, dim + size % 2)


# With enable_gqa: heads of query, and of the keys and values that they share, for each of a problem.
QUERY_HEADS, SHARED_HEADS = 6, 2


def inputs_of(query_axis: bool) -> Callable[[Draw, Shape, Variant], Arguments]:
    """Query, keys and values, normally distributed."""

    def make(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
        *rows, slots, dim, width = shape
        lead = rows[:-1] if query_axis else rows
        if variant.keywords.get("enable_gqa"):
            rows, lead = [*lead, QUERY_HEADS, rows[-1]], [*lead, SHARED_HEADS]
        # Where the caller chooses the deviation of x, scores have deviation 1, which attention's scale gives.
        deviation = 1.0 if draw.deviation is None or query_axis else 1 / math.sqrt(dim)
        query = draw.normal((*rows, dim), deviation=deviation)
        return query, draw.normal((*lead, slots, dim)), draw.normal((*lead, slots, width))

    return make


class Errors(NamedTuple):
    """The values in float64 with an axis of queries, keys and values repeated where `group` heads share them;
    the weights, what dropout multiplies them by, the slope of the scores' cap (1 without one), and bounds on
    the errors of weights and slope.
    """

    query: Array
    keys: Array
    values: Array
    weights: Array
    weight_error: Array
    kept: Array
    slope: Array
    slope_error: Array
    unit: float
    scale: float
    linear: bool
    group: int


def chain(length: int, group: int = 1) -> int:
    """Roundings of a term in a sum of this many, or of this many for each head of a group."""
    return min(length, BLOCK) + group * math.ceil(length / BLOCK) + 4


def errors_of(inputs: Arguments, keywords: Mapping[str, Any], query_axis: bool) -> Errors:
    """A score is one chain of roundings; a weight has the errors of its score and, from the total, of all
    others.
    """
    unit = 2 * roundoff(inputs[0].dtype)  # the twin's own errors count too in float64
    query, keys, values = (wide(array) for array in inputs)
    if not query_axis:
        query = query[..., None, :]
    group = 1
    if keywords.get("enable_gqa") and query.shape[:-2] != keys.shape[:-2]:
        group = query.shape[-3] // keys.shape[-3]
        keys, values = (np.repeat(array, group, axis=-3) for array in (keys, values))
    default = query.shape[-1] ** -0.5 if query_axis else 1.0  # memory_read is not scaled
    scale, linear = keywords.get("scale", default), keywords.get("linear", False)
    causal, softcap = keywords.get("is_causal", False), keywords.get("softcap")

    def weights_with(**more: Any) -> Array:
        settings = {"is_causal": causal, "scale": scale, "softcap": softcap, "linear": linear, **more}
        return np.asarray(reference.attention(query, keys, values, return_weights=True, **settings)[1])

    weights = weights_with()
    kept = np.ones_like(weights)
    if keywords.get("dropout"):
        dropped = weights_with(dropout=keywords["dropout"], seed=keywords["seed"])
        kept = np.divide(dropped, weights, out=np.zeros_like(weights), where=weights != 0)
    terms = abs(scale) * (np.abs(query) @ swapped(np.abs(keys)))
    score_error = (query.shape[-1] + 2) * unit * terms
    slope, slope_error = np.ones_like(terms), np.zeros_like(terms)
    if softcap is not None:  # the tanh and what surrounds it; the slope changes by at most 0.77 its argument
        score_error += 5 * unit * terms
        slope = np.cosh(scale * (query @ swapped(keys)) / softcap) ** -2.0
        slope_error = 0.77 * score_error / softcap + 4 * unit * slope
    if linear:
        weight_error = score_error
    else:
        total = np.sum(weights * score_error, axis=-1, keepdims=True)
        weight_error = weights * (score_error + total + EXPONENTIAL * unit)
    return Errors(
        query, keys, values, weights, weight_error, kept, slope, slope_error, unit, scale, linear, group
    )


def shared(array: Array, group: int) -> Array:
    """The sums over heads that share one of keys and values."""
    if group == 1:
        return array
    *lead, heads, rows, cols = array.shape
    sums: Array = array.reshape(*lead, heads // group, group, rows, cols).sum(axis=-3)
    return sums


def swapped(array: Array) -> Array:
    """The last two axes exchanged."""
    return np.swapaxes(array, -1, -2)


def forward_bounds(query_axis: bool) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    """The errors of the weights times the values, and a chain of sums."""

    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        with np.errstate(all="ignore"):
            e = errors_of(inputs, keywords, query_axis)
            share = e.kept * (e.weight_error + (chain(e.keys.shape[-2]) + 2) * e.unit * np.abs(e.weights))
            y = share @ np.abs(e.values) + last_rounding((e.kept * e.weights) @ e.values, inputs[0].dtype)
        return (y if query_axis else y[..., 0, :],)

    return bounds


def backward_bounds(query_axis: bool) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    """The errors of the weights and of dscores, and those of the products with them."""

    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            e = errors_of(inputs, keywords, query_axis)
            dy = wide(dys[0])
            dy = dy if query_axis else dy[..., None, :]
            dweights = e.kept * (dy @ swapped(e.values))
            error = (e.values.shape[-1] + 4) * e.unit * e.kept * (np.abs(dy) @ swapped(np.abs(e.values)))
            if e.linear:
                dscores = dweights
            else:
                mean = np.sum(e.weights * dweights, axis=-1, keepdims=True)
                magnitude = e.weights * np.abs(dweights)
                rounding = (chain(e.keys.shape[-2]) + 2) * e.unit * np.sum(magnitude, axis=-1, keepdims=True)
                mean_error = rounding + np.sum(
                    e.weight_error * np.abs(dweights) + e.weights * error, axis=-1, keepdims=True
                )
                dscores = e.weights * (dweights - mean)
                error = e.weight_error * np.abs(dweights - mean) + e.weights * (error + mean_error)
                error += 4 * e.unit * (np.abs(dscores) + magnitude)
            error = error * (e.slope + e.slope_error) + np.abs(dscores) * e.slope_error
            dscores = dscores * e.slope

            def product(a: Array, a_error: Array, b: Array, group: int = 1) -> Array:
                """Bound on the error of a @ b, where b is exact, or of its sum over each group of heads."""
                share = a_error + chain(b.shape[-2], group) * e.unit * np.abs(a)
                return np.asarray(
                    shared(share @ np.abs(b), group) + last_rounding(shared(a @ b, group), dtype)
                )

            query = max(abs(e.scale), 1e-300) * product(dscores, error, e.keys)
            keys = max(abs(e.scale), 1e-300) * product(swapped(dscores), swapped(error), e.query, e.group)
            applied = e.kept * e.weights
            error = e.kept * (e.weight_error + 2 * e.unit * np.abs(e.weights))
            values = product(swapped(applied), swapped(error), dy, e.group)
            floor = last_rounding(np.zeros(1), dtype)
        return (query if query_axis else query[..., 0, :]) + floor, keys + floor, values

    return bounds


def bending(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
    """Scores change by at most this much as an argument moves by 1."""
    query, keys, values = (
        np.max(np.linalg.norm(array.reshape(-1, array.shape[-1]), axis=1)) for array in inputs
    )
    return float(1 / (1 + max(query, keys) + values))


def numpy_attention(query: Array, keys: Array, values: Array, *, scale: float | None = None) -> Array:
    """Softmax attention."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = scale * (query @ np.swapaxes(keys, -1, -2))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    y: Array = (weights / weights.sum(axis=-1, keepdims=True)) @ values
    return y


def numpy_attention_backward(
    dy: Array, query: Array, keys: Array, values: Array, *, scale: float | None = None
) -> tuple[Array, Array, Array]:
    """Gradients of `attention`."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = scale * (query @ np.swapaxes(keys, -1, -2))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    dweights = dy @ np.swapaxes(values, -1, -2)
    dscores = scale * weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    return dscores @ keys, np.swapaxes(dscores, -1, -2) @ query, np.swapaxes(weights, -1, -2) @ dy


def numpy_memory_read(query: Array, keys: Array, values: Array) -> Array:
    """Read a memory with one query."""
    y: Array = numpy_attention(query[..., None, :], keys, values, scale=1.0)[..., 0, :]
    return y


def numpy_memory_read_backward(
    dy: Array, query: Array, keys: Array, values: Array
) -> tuple[Array, Array, Array]:
    """Gradients of `memory_read`."""
    dquery, dkeys, dvalues = numpy_attention_backward(
        dy[..., None, :], query[..., None, :], keys, values, scale=1.0
    )
    return dquery[..., 0, :], dkeys, dvalues


# Heads of one slot and several, of one tile and two, of several blocks.
SIZES = (((1,), 1), ((3,), 7), ((2,), 64), ((9,), 33), ((4,), 130), ((2,), 149), ((2, 3), 18))
BAD: tuple[Bad, ...] = (
    ("keys", np.ones((3, 7), np.float32), ValueError),
    ("keys", np.ones((3, 7, 9), np.float32), ValueError),
    ("keys", np.ones((3, 7, 8)), TypeError),
    ("values", np.ones((3, 6, 8), np.float32), ValueError),
    ("values", np.ones((3, 7, 8)), TypeError),
    ("mask", np.ones(7, np.int64), TypeError),
    ("mask", np.ones(7), TypeError),
    ("mask", "text", TypeError),
    ("mask", np.ones(6, bool), ValueError),
    ("mask", np.ones((1, 1, 1, 1, 7), bool), ValueError),
    ("linear", 1, TypeError),
    ("return_weights", None, TypeError),
)


def read_op(
    name: str,
    variants: tuple[Variant, ...],
    formulas: tuple[Callable[..., Any], Callable[..., Any]],
    timed: tuple[Shape, ...],
    large: tuple[tuple[Shape, int], ...],
    bad: tuple[Bad, ...] = (),
) -> Spec:
    """One of the two."""
    query_axis = name == "attention"

    def problem(shape: Shape) -> Shape:
        """(heads, length, dim) as self-attention of this length, (batch, slots, dim) as a memory."""
        shape = shape if len(shape) > 1 else (1, *shape)
        return (*shape[:-1], *shape[-2:], shape[-1]) if query_axis else (*shape, shape[-1])

    def problems(sizes: tuple[tuple[Shape, int], ...]) -> tuple[Shape, ...]:
        return tuple(problem_of(lead, size, query_axis=query_axis) for lead, size in sizes)

    return Spec(
        name,
        inputs_of(query_axis),
        variants,
        ("query", "keys", "values"),
        Contract("relative", 5e-6),
        Contract("relative", 1e-5),
        forward_bounds(query_axis),
        backward_bounds(query_axis),
        *formulas,
        workloads=(Workload(variants[0], shapes=timed),),
        problem=problem,
        rowwise=False,
        shapes=problems(SIZES),
        large=problems(large),
        empty=problems((((0,), 5),)),
        batches=problems(tuple(((BATCH,), size) for size in (1, 5, 31, 64, 257, 1030))),
        bending=bending,
        bad=(*BAD, *bad),
    )


PLAIN, LINEAR = Variant("plain"), Variant("linear", keywords={"linear": True})
CAUSAL = Variant("causal", keywords={"is_causal": True})
LOWER_RIGHT = Variant("lower right", keywords={"is_causal": "lower_right"})
SHARED = Variant("shared", keywords={"enable_gqa": True})
SHARED_CAUSAL = Variant("shared causal", keywords={"enable_gqa": True, "is_causal": True})
CAPPED = Variant("capped", keywords={"softcap": 0.75})
CAPPED_CAUSAL = Variant("capped shared causal", keywords={"softcap": 2.0, **SHARED_CAUSAL.keywords})
CAPPED_LINEAR = Variant("capped linear", keywords={"softcap": 0.75, "linear": True})
attention = read_op(
    "attention",
    (
        PLAIN,
        Variant("scale", keywords={"scale": 0.25}),
        LINEAR,
        CAUSAL,
        LOWER_RIGHT,
        SHARED,
        SHARED_CAUSAL,
        CAPPED,
        CAPPED_CAUSAL,
        CAPPED_LINEAR,
        Variant("dropout", keywords={"dropout": 0.25, "seed": 7}),
        Variant("dropout shared causal", keywords={"dropout": 0.3, "seed": 2**63, **SHARED_CAUSAL.keywords}),
        Variant("dropout linear capped", keywords={"dropout": 0.5, "seed": 1, **CAPPED_LINEAR.keywords}),
    ),
    (numpy_attention, numpy_attention_backward),
    ((1, 16, 64), (8, 128, 64), (12, 512, 32), (8, 1024, 64)),
    (((40,), 149), ((3,), 700)),
    (
        ("scale", "text", TypeError),
        ("scale", math.inf, ValueError),
        ("softcap", "text", TypeError),
        ("dropout", "text", TypeError),
        ("dropout", -0.1, ValueError),
        ("dropout", 1.0, ValueError),
        ("dropout", 0.5, ValueError),
        ("seed", -1, ValueError),
        ("seed", 2**64, ValueError),
        ("seed", 0.5, TypeError),
        ("softcap", 0.0, ValueError),
        ("softcap", -1.0, ValueError),
        ("softcap", math.inf, ValueError),
        ("is_causal", "upper_left", ValueError),
        ("is_causal", 1, TypeError),
        ("is_causal", None, TypeError),
        ("enable_gqa", 1, TypeError),
        ("enable_gqa", None, TypeError),
    ),
)
memory_read = read_op(
    "memory_read",
    (PLAIN, LINEAR),
    (numpy_memory_read, numpy_memory_read_backward),
    ((1, 50, 20), (32, 50, 20), (256, 50, 50)),  # the last two as the memory networks of the paper make them
    (((300,), 149),),
)
