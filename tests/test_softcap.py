"""attention with a cap on its scores."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]
SHAPES = [  # heads of query, heads of keys, queries, slots, dim, width
    (2, 2, 1, 70, 8, 8),
    (4, 2, 1, 17, 5, 3),
    (3, 3, 40, 130, 20, 33),
    (4, 2, 33, 65, 16, 16),
    (2, 2, 5, 3, 4, 4),
]
CAP = 1.5


def heads(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> tuple[Array, ...]:
    many, few, queries, slots, dim, width = shape
    shapes = ((many, queries, dim), (few, slots, dim), (few, slots, width))
    return tuple((2 * rng.standard_normal(one)).astype(dtype) for one in shapes)


def masks(rng: np.random.Generator, shape: tuple[int, ...]) -> list[Array | None]:
    slots = shape[3]
    boolean = rng.random((shape[2], slots)) < 0.7
    additive = np.where(boolean, rng.standard_normal((shape[2], slots)), -np.inf)
    return [None, boolean, additive]


def expected(query: Array, keys: Array, values: Array, mask: Array | None, cap: float) -> Array:
    keys, values = (np.repeat(array, len(query) // len(array), axis=0) for array in (keys, values))
    scores = query @ keys.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    scores = cap * np.tanh(scores / cap)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask
    weights = np.exp(scores - np.maximum(scores.max(axis=-1, keepdims=True), -1e300))
    total = weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights / np.where(total == 0, 1, total) @ values)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_formula(shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    inputs = heads(rng, shape)
    for mask in masks(rng, shape):
        y = fastnorm.attention(*inputs, mask=mask, softcap=CAP, enable_gqa=True)
        np.testing.assert_allclose(y, expected(*inputs, mask, CAP), rtol=0, atol=1e-13)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients(shape: tuple[int, ...], linear: bool, backend: str, rng: np.random.Generator) -> None:
    """Central differences along a direction of each argument."""
    inputs = heads(rng, shape)
    for mask in masks(rng, shape):
        keywords: dict[str, Any] = {"mask": mask, "softcap": CAP, "enable_gqa": True, "linear": linear}
        dy = rng.standard_normal(fastnorm.attention(*inputs, **keywords).shape)
        grads = fastnorm.attention_backward(dy, *inputs, **keywords)
        for place, grad in enumerate(grads):
            step = rng.standard_normal(grad.shape)

            moved = [[*inputs[:place], inputs[place] + h * step, *inputs[place + 1 :]] for h in (1e-5, -1e-5)]
            above, below = (np.vdot(dy, fastnorm.attention(*given, **keywords)) for given in moved)
            slope = (above - below) / 2e-5
            scale = float(np.abs(dy).sum()) * float(np.abs(step).max())
            assert abs(slope - np.vdot(grad, step)) < 1e-8 * scale


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_a_query_by_itself_has_the_bits_it_has_among_others(
    dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    """Where a single one has the slots in the lanes, several stand there themselves."""
    for shape in SHAPES[2:]:
        inputs = heads(rng, shape, dtype)
        computed = np.float64 if dtype == np.float64 else np.float32
        for given in masks(rng, shape):
            mask = given if given is None or given.dtype == np.bool_ else given.astype(computed)
            together = fastnorm.attention(*inputs, mask=mask, softcap=CAP, enable_gqa=True)
            for i in (0, shape[2] - 1):
                alone = fastnorm.attention(
                    inputs[0][:, i : i + 1],
                    *inputs[1:],
                    mask=None if mask is None else mask[i : i + 1],
                    softcap=CAP,
                    enable_gqa=True,
                )
                assert_same_bits(alone, together[:, i : i + 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_and_ways(dtype: Any, native: ModuleType, rng: np.random.Generator) -> None:
    """By head on one thread, by tile on several."""
    inputs = heads(rng, (1, 1, 200, 300, 16, 16), dtype)
    dy = rng.standard_normal((1, 200, 16)).astype(dtype)
    results = []
    for threads in (1, 2, 5):
        with fastnorm.threads(threads):
            results.append(fastnorm.attention_backward(dy, *inputs, is_causal=True, softcap=CAP))
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            assert_same_bits(one, same)


def test_a_large_cap_is_none_and_a_small_one_means_equal_weights(
    backend: str, rng: np.random.Generator
) -> None:
    inputs = heads(rng, SHAPES[2])
    np.testing.assert_allclose(
        fastnorm.attention(*inputs, softcap=1e12), fastnorm.attention(*inputs), rtol=0, atol=1e-12
    )
    mean = np.broadcast_to(inputs[2].mean(axis=-2, keepdims=True), (3, 40, 33))
    np.testing.assert_allclose(fastnorm.attention(*inputs, softcap=1e-14), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize("softcap", [1e-40, 1e-30, 50.0])
def test_scores_beyond_any_cap(softcap: float, queries: int, backend: str) -> None:
    """Products that overflow are capped as infinities; flat gradients are 0, not NaN."""
    query, keys = np.full((queries, 4), 1e30, np.float32), np.full((3, 4), -1e30, np.float32)
    keys[1] = 0
    values = np.eye(3, dtype=np.float32)
    y, weights = fastnorm.attention(query, keys, values, softcap=softcap, return_weights=True)
    low = math.exp(-min(softcap, 50.0))
    np.testing.assert_allclose(y[0], np.array([low, 1, low]) / (1 + 2 * low), rtol=1e-5)
    assert_same_bits(weights, y)
    keys[1] = 1e30
    dy = np.ones_like(y)
    dy[:, 0] = 3
    dquery, dkeys, _ = fastnorm.attention_backward(dy, query, keys, values, softcap=softcap)
    assert not dquery.any()
    assert not dkeys.any()
