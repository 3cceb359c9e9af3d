"""attention and memory_read. The last number of a problem's shape is its size, the others are the heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from fastnorm import reference
from tolerances import last_rounding, roundoff

from .case import Array, Variant, normal, wide
from .op import Arguments, Bounds, Op

BLOCK = 64  # terms that the kernels add up one after another; the sums of blocks follow each other
EXPONENTIAL = 8  # roundings of a weight beyond its score: the exponential, the total and its reciprocal


class Problem(NamedTuple):
    """Lengths of the axes."""

    lead: tuple[int, ...]
    queries: int
    slots: int
    dim: int
    width: int


def problem_of(shape: tuple[int, ...]) -> Problem:
    """Few queries and many, one tile, one block and more of either; as wide as the keys or not."""
    *lead, size = shape
    dim = size % 24 + 1
    return Problem(tuple(lead), size % 41 + 1, min(size, 150), dim, dim + size % 2)


def inputs_of(query_axis: bool) -> Callable[..., Arguments]:
    """Query, keys and values of the problem, normally distributed."""

    def make(
        rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
    ) -> Arguments:
        problem = problem_of(shape)
        query = (*problem.lead, *((problem.queries,) if query_axis else ()), problem.dim)
        slots = (*problem.lead, problem.slots)
        shapes = (query, (*slots, problem.dim), (*slots, problem.width))
        return tuple(normal(rng, each, dtype) for each in shapes)

    return make


class Errors(NamedTuple):
    """The values in float64 with an axis of queries, the weights, and bounds on the errors of scores and
    weights.
    """

    query: Array
    keys: Array
    values: Array
    weights: Array
    weight_error: Array
    unit: float
    scale: float
    linear: bool


def chain(length: int) -> int:
    """Roundings of a term in a sum of this many."""
    return min(length, BLOCK) + math.ceil(length / BLOCK) + 4


def errors_of(inputs: Arguments, keywords: Mapping[str, Any], query_axis: bool) -> Errors:
    """A score is one chain of roundings; a weight has the errors of its score and, from the total, of all
    others.
    """
    unit = 2 * roundoff(inputs[0].dtype)  # the twin's own errors count too in float64
    query, keys, values = (np.asarray(wide(array)) for array in inputs)
    if not query_axis:
        query = query[..., None, :]
    scale, linear = keywords.get("scale", 1.0), keywords.get("linear", False)
    _, weights = reference.attention(query, keys, values, scale=scale, linear=linear, return_weights=True)
    terms = abs(scale) * (np.abs(query) @ swapped(np.abs(keys)))
    score_error = (query.shape[-1] + 2) * unit * terms
    if linear:
        weight_error = score_error
    else:
        total = np.sum(weights * score_error, axis=-1, keepdims=True)
        weight_error = weights * (score_error + total + EXPONENTIAL * unit)
    return Errors(query, keys, values, weights, weight_error, unit, scale, linear)


def swapped(array: Array) -> Array:
    return np.swapaxes(array, -1, -2)


def forward_bounds(query_axis: bool) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        with np.errstate(all="ignore"):
            e = errors_of(inputs, keywords, query_axis)
            share = e.weight_error + chain(e.keys.shape[-2]) * e.unit * np.abs(e.weights)
            y = share @ np.abs(e.values) + last_rounding(e.weights @ e.values, inputs[0].dtype)
        return (y if query_axis else y[..., 0, :],)

    return bounds


def backward_bounds(query_axis: bool) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            e = errors_of(inputs, keywords, query_axis)
            dy = np.asarray(wide(dys[0]))
            dy = dy if query_axis else dy[..., None, :]
            dweights = dy @ swapped(e.values)
            error = (e.values.shape[-1] + 2) * e.unit * (np.abs(dy) @ swapped(np.abs(e.values)))
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

            def product(a: Array, a_error: Array, b: Array) -> Array:
                """Bound on the error of a @ b, where b is exact."""
                share = a_error + chain(b.shape[-2]) * e.unit * np.abs(a)
                return np.asarray(share @ np.abs(b) + last_rounding(a @ b, dtype))

            query = max(abs(e.scale), 1e-300) * product(dscores, error, e.keys)
            keys = max(abs(e.scale), 1e-300) * product(swapped(dscores), swapped(error), e.query)
            values = product(swapped(e.weights), swapped(e.weight_error), dy)
            floor = last_rounding(np.zeros(1), dtype)
        return (query if query_axis else query[..., 0, :]) + floor, keys + floor, values

    return bounds


def bending(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
    """Scores change by at most this much as an argument moves by 1."""
    query, keys, values = (
        np.max(np.linalg.norm(array.reshape(-1, array.shape[-1]), axis=1)) for array in inputs
    )
    return float(1 / (1 + max(query, keys) + values))


# Heads of one slot and several, of one tile and two, of several blocks.
SHAPES = ((1, 1), (3, 7), (2, 64), (9, 33), (4, 130), (2, 149), (2, 3, 18))
BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("keys", np.ones((3, 7), np.float32), ValueError),
    ("keys", np.ones((3, 7, 9), np.float32), ValueError),
    ("keys", np.ones((3, 7, 8)), TypeError),
    ("values", np.ones((3, 6, 8), np.float32), ValueError),
    ("values", np.ones((3, 7, 8), np.float16), TypeError),
    ("mask", np.ones(7, np.int64), TypeError),
    ("mask", np.ones(7), TypeError),
    ("mask", "text", TypeError),
    ("mask", np.ones(6, bool), ValueError),
    ("mask", np.ones((1, 1, 1, 1, 7), bool), ValueError),
    ("linear", 1, TypeError),
    ("return_weights", None, TypeError),
)

ATTENTION = Op(
    "attention",
    inputs_of(query_axis=True),
    (
        Variant("plain"),
        Variant("scale", keywords={"scale": 0.25}),
        Variant("linear", keywords={"linear": True}),
    ),
    ("query", "keys", "values"),
    forward_bounds(query_axis=True),
    backward_bounds(query_axis=True),
    shapes=SHAPES,
    large=((40, 149), (3, 700)),
    bending=bending,
    bad=(*BAD, ("scale", "text", TypeError), ("scale", math.inf, ValueError)),
)
MEMORY_READ = Op(
    "memory_read",
    inputs_of(query_axis=False),
    (Variant("plain"), Variant("linear", keywords={"linear": True})),
    ("query", "keys", "values"),
    forward_bounds(query_axis=False),
    backward_bounds(query_axis=False),
    shapes=SHAPES,
    large=((300, 149),),
    bending=bending,
    bad=BAD,
)
OPS = (ATTENTION, MEMORY_READ)
