"""embedding and rotary_embedding. A problem is the shape of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .bounds import last_rounding, roundoff, summed
from .spec import (
    EXACT,
    GRADIENT,
    Arguments,
    Array,
    Bounds,
    Contract,
    Draw,
    Shape,
    Spec,
    Variant,
    Workload,
    wide,
)

ROWS = 29  # of a table in the tests: few, so that many places share one
ROTATED = Contract("relative", 2.0**-22)
# Heads of queries: one token, and sequences in cache and in memory.
HEADS = ((12, 1, 64), (12, 128, 64), (32, 512, 128), (8, 32, 2048, 64))
TIMED_ROWS = 32_000  # from so many places on


def embedding_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Ids of any row and a table."""
    places, dim = shape[:-1], shape[-1]
    rows = TIMED_ROWS if np.prod(places) > 4 * ROWS**2 else ROWS
    return draw.rng.integers(0, rows, places), draw.x((rows, dim))


def exact(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The forward copies."""
    ids, table = inputs
    return (np.zeros((*ids.shape, table.shape[1])),)


def embedding_backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """A float64 sum of each row's places, rounded once."""
    ids, table = inputs
    terms = np.zeros(table.shape)
    np.add.at(terms, ids, np.abs(wide(dys[0])))
    return (summed(terms, ids.size, table.dtype),)


def numpy_embedding(ids: Array, table: Array) -> Array:
    """A gather."""
    return np.take(table, ids, axis=0)


def numpy_embedding_backward(dy: Array, ids: Array, table: Array) -> Array:
    """A scatter-add."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    return dtable


embedding = Spec(
    "embedding",
    embedding_inputs,
    (Variant("plain"), Variant("padding", keywords={"padding_id": 3})),
    ("table",),
    EXACT,
    GRADIENT,
    exact,
    embedding_backward_bounds,
    formula=numpy_embedding,
    backward_formula=numpy_embedding_backward,
    workloads=(Workload(Variant("plain")),),
    rowwise=False,
    batches=(),
    bad=(
        ("ids", np.array([[0, 29]]), ValueError),
        ("ids", np.array([-1]), ValueError),
        ("ids", np.array([2**64 - 1], np.uint64), ValueError),
        ("ids", np.array([1.0]), TypeError),
        ("ids", np.array([True]), TypeError),
        ("table", np.ones(3, np.float32), ValueError),
        ("padding_id", 29, ValueError),
        ("padding_id", 1.5, TypeError),
    ),
)


def rotary_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x and the cosines and sines of any angles, for half the features or fewer, of all heads or each."""
    *lead, positions, dim = shape
    pairs = dim // (6 if "part" in variant.label else 2)
    lead = lead if "heads" in variant.label else []
    angles = draw.rng.uniform(-np.pi, np.pi, (*lead, positions, pairs))
    return draw.x(shape), np.cos(angles).astype(draw.dtype), np.sin(angles).astype(draw.dtype)


def turned(x: Array, cos: Array, sin: Array, *, interleaved: bool = False) -> Array:
    """The rotation as NumPy users write it, in the type of x."""
    pairs = cos.shape[-1]
    if interleaved:
        a, b = x[..., 0 : 2 * pairs : 2], x[..., 1 : 2 * pairs : 2]
        both = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(*x.shape[:-1], 2 * pairs)
    else:
        a, b = x[..., :pairs], x[..., pairs : 2 * pairs]
        both = np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    return np.concatenate([both, x[..., 2 * pairs :]], axis=-1) if 2 * pairs < x.shape[-1] else both


def turned_back(dy: Array, x: Array, cos: Array, sin: Array, *, interleaved: bool = False) -> Array:
    """Its gradient."""
    return turned(dy, cos, -sin, interleaved=interleaved)


def rotary_bounds(x: Array, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Two roundings of the products that a result is made of."""
    _, cos, sin = (wide(array) for array in inputs)
    terms = turned(np.abs(wide(x)), np.abs(cos), np.abs(sin), **keywords)
    other = turned(np.abs(wide(x)), np.abs(cos), -np.abs(sin), **keywords)
    terms = np.maximum(np.abs(terms), np.abs(other))
    return (2 * (1 + (x.dtype == np.float64)) * roundoff(x.dtype) * terms + last_rounding(terms, x.dtype),)


rotary_embedding = Spec(
    "rotary_embedding",
    rotary_inputs,
    (
        Variant("halves"),
        Variant("neighbours", keywords={"interleaved": True}),
        Variant("part"),
        Variant("part of neighbours", keywords={"interleaved": True}),
        Variant("heads"),
    ),
    ("x",),
    ROTATED,
    ROTATED,
    lambda inputs, keywords: rotary_bounds(inputs[0], inputs, keywords),
    lambda dys, inputs, keywords: rotary_bounds(dys[0], inputs, keywords),
    formula=turned,
    backward_formula=turned_back,
    workloads=(
        Workload(Variant("halves"), shapes=HEADS),
        Workload(Variant("neighbours", keywords={"interleaved": True}), "neighbours", HEADS, backward=False),
    ),
    axes=2,
    rowwise=False,
    bad=(
        ("x", np.ones(7, np.float32), ValueError),
        ("cos", np.ones((3, 4), np.float32), ValueError),
        ("cos", np.ones((1, 3), np.float32), ValueError),
        ("cos", np.ones(3, np.float32), ValueError),
        ("sin", np.ones((3, 2), np.float32), ValueError),
        ("interleaved", 1, TypeError),
    ),
)
