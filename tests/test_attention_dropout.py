"""attention with dropout of its weights."""

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
SQUARE = 16
SHAPES = [  # heads of query, heads of keys, queries, slots, dim, width
    (2, 2, 1, 70, 8, 8),
    (4, 2, 1, 17, 5, 3),
    (3, 3, 40, 130, 20, 33),
    (4, 2, 33, 65, 16, 16),
    (2, 1, 16, 16, 4, 4),
    (2, 2, 17, 3, 4, 4),
]


def heads(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> tuple[Array, ...]:
    many, few, queries, slots, dim, width = shape
    shapes = ((many, queries, dim), (few, slots, dim), (few, slots, width))
    return tuple(rng.standard_normal(one).astype(dtype) for one in shapes)


def mask_of(shape: tuple[int, ...], p: float, seed: int) -> Array:
    """The mask, scaled, that `dropout` gives ones in squares of slots by queries."""
    lead, queries, slots = shape[0], shape[2], shape[3]
    squares = -(-queries // SQUARE), -(-slots // SQUARE)
    ones = np.ones((lead, *squares, SQUARE, SQUARE))
    whole = fastnorm.dropout(ones, p=p, seed=seed).transpose(0, 1, 4, 2, 3)
    return np.asarray(whole.reshape(lead, squares[0] * SQUARE, squares[1] * SQUARE)[:, :queries, :slots])


@pytest.mark.parametrize("p", [0.25, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_formula(shape: tuple[int, ...], p: float, backend: str, rng: np.random.Generator) -> None:
    query, keys, values = heads(rng, shape)
    group = shape[0] // shape[1]
    mask = rng.random((shape[2], shape[3])) < 0.8
    scores = query @ np.repeat(keys, group, axis=0).swapaxes(-1, -2) / math.sqrt(shape[4])
    weights = np.where(mask, np.exp(scores), 0)
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total) * mask_of(shape, p, 99)
    y, applied = fastnorm.attention(
        query, keys, values, mask=mask, enable_gqa=True, dropout=p, seed=99, return_weights=True
    )
    np.testing.assert_allclose(applied, weights, rtol=0, atol=1e-14)
    np.testing.assert_allclose(y, weights @ np.repeat(values, group, axis=0), rtol=0, atol=1e-13)
    alone = fastnorm.attention(query, keys, values, mask=mask, enable_gqa=True, dropout=p, seed=99)
    assert_same_bits(alone, y)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("linear", [False, True])
def test_gradients(shape: tuple[int, ...], linear: bool, backend: str, rng: np.random.Generator) -> None:
    """Central differences along a direction of each argument: the mask of the backward is the forward's."""
    inputs = heads(rng, shape)
    keywords: dict[str, Any] = {
        "dropout": 0.4,
        "seed": 5,
        "enable_gqa": True,
        "linear": linear,
        "is_causal": "lower_right",
    }
    dy = rng.standard_normal(fastnorm.attention(*inputs, **keywords).shape)
    grads = fastnorm.attention_backward(dy, *inputs, **keywords)
    for place, grad in enumerate(grads):
        step = rng.standard_normal(grad.shape)
        moved = [[*inputs[:place], inputs[place] + h * step, *inputs[place + 1 :]] for h in (1e-5, -1e-5)]
        above, below = (np.vdot(dy, fastnorm.attention(*given, **keywords)) for given in moved)
        scale = float(np.abs(dy).sum()) * float(np.abs(step).max())
        assert abs((above - below) / 2e-5 - np.vdot(grad, step)) < 1e-8 * scale


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_threads_and_ways(dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator) -> None:
    """By head on one thread, by tile on several."""
    inputs = heads(rng, (1, 1, 200, 300, 16, 16), dtype)
    dy = rng.standard_normal((1, 200, 16)).astype(dtype)
    results = []
    for threads in (1, 2, 5):
        with fastnorm.threads(threads):
            forward = fastnorm.attention(*inputs, dropout=0.3, seed=3)
            results.append((forward, *fastnorm.attention_backward(dy, *inputs, dropout=0.3, seed=3)))
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            assert_same_bits(one, same)


def test_shares(backend: str) -> None:
    """Of 160,000 weights, as many are dropped as a coin would; other seeds drop others."""
    query, values = np.zeros((4, 200, 1)), np.zeros((4, 200, 1))
    found = []
    for seed in (0, 1, 2**64 - 1):
        _, weights = fastnorm.attention(query, query, values, dropout=0.1, seed=seed, return_weights=True)
        kept = weights != 0
        assert abs(kept.mean() - 0.9) < 5 * math.sqrt(0.09 / kept.size)
        np.testing.assert_allclose(weights[kept], 1 / 200 / 0.9, rtol=1e-5)  # 0.1 in steps of 2**-16
        found.append(kept)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.mean(found[one] == found[other]) - 0.82) < 0.01


def test_none(backend: str, rng: np.random.Generator) -> None:
    """Without a share, or with one below the steps, nothing is dropped, whatever the seed."""
    inputs = heads(rng, SHAPES[2], np.float32)
    expected = fastnorm.attention(*inputs)
    for keywords in ({"seed": 3}, {"dropout": 0.0}, {"dropout": 1e-9, "seed": 4}):
        assert_same_bits(fastnorm.attention(*inputs, **keywords), expected)
    with pytest.raises(ValueError, match="attention: seed is None, needs an int for a dropout above 0"):
        fastnorm.attention(*inputs, dropout=0.5)
