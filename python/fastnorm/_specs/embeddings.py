"""embedding. A problem is the shape of its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .bounds import summed
from .spec import EXACT, GRADIENT, Arguments, Array, Bounds, Draw, Shape, Spec, Variant, Workload, wide

ROWS = 29  # of a table in the tests: few, so that many places share one
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
