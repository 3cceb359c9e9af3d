"""rotary_embedding: both kinds of pairs, tables that broadcast, and the tables themselves."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]


def as_complex(x: Array, cos: Array, sin: Array, *, interleaved: bool) -> Array:
    """The rotation as products of complex numbers."""
    pairs = cos.shape[-1]
    turned = x[..., : 2 * pairs]
    if interleaved:
        points = turned[..., ::2] + 1j * turned[..., 1::2]
    else:
        points = turned[..., :pairs] + 1j * turned[..., pairs:]
    points = points * (cos + 1j * sin)
    y = x.copy()
    if interleaved:
        y[..., 0 : 2 * pairs : 2], y[..., 1 : 2 * pairs : 2] = points.real, points.imag
    else:
        y[..., :pairs], y[..., pairs : 2 * pairs] = points.real, points.imag
    return y


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("lead", [(), (2, 3), (1, 3), (2, 1), (3,)])
@pytest.mark.parametrize("dim", [2, 6, 64, 130, 131])
def test_tables_broadcast(
    lead: tuple[int, ...], dim: int, interleaved: bool, backend: str, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 3, 5, dim))
    for pairs in {1, dim // 4, dim // 2}:
        angles = rng.uniform(-4, 4, (*lead, 5, pairs))
        cos, sin = np.cos(angles), np.sin(angles)
        y = fastnorm.rotary_embedding(x, cos, sin, interleaved=interleaved)
        exact = as_complex(x, cos, sin, interleaved=interleaved)
        np.testing.assert_allclose(y, exact, rtol=0, atol=1e-14)
        back = fastnorm.rotary_embedding_backward(y, x, cos, sin, interleaved=interleaved)
        np.testing.assert_allclose(back, x, rtol=0, atol=1e-14)
        whole = np.broadcast_to(cos, (2, 3, 5, pairs)), np.broadcast_to(sin, (2, 3, 5, pairs))
        assert_same_bits(fastnorm.rotary_embedding(x, *whole, interleaved=interleaved), y)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_neighbours_have_the_bits_of_halves(
    dtype: np.dtype[Any], backend: str, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((7, 5, 90)).astype(dtype)
    cos, sin = fastnorm.rotary_frequencies(5, 70, dtype=dtype)
    order = np.concatenate([np.arange(70).reshape(2, 35).T.ravel(), np.arange(70, 90)])
    halves = fastnorm.rotary_embedding(x, cos, sin)
    assert_same_bits(fastnorm.rotary_embedding(x[..., order], cos, sin, interleaved=True), halves[..., order])
    assert_same_bits(halves[..., 70:], x[..., 70:])


def test_results_past_the_cache(native: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 300, 130, 64), np.float32)
    cos, sin = fastnorm.rotary_frequencies(130, 64)
    for interleaved in (False, True):
        y = fastnorm.rotary_embedding(x, cos, sin, interleaved=interleaved, out=np.empty_like(x))
        part = fastnorm.rotary_embedding(x[1, 3:5], cos, sin, interleaved=interleaved)
        assert_same_bits(y[1, 3:5], part)


def test_products_depend_on_distance(backend: str, rng: np.random.Generator) -> None:
    query, key = rng.standard_normal((2, 1, 64))
    cos, sin = fastnorm.rotary_frequencies(50, 64, dtype=np.float64)
    queries = fastnorm.rotary_embedding(np.repeat(query, 50, 0), cos, sin)
    keys = fastnorm.rotary_embedding(np.repeat(key, 50, 0), cos, sin)
    scores = queries @ keys.T
    np.testing.assert_allclose(scores[7:, 7:], scores[:-7, :-7], rtol=0, atol=1e-12)


def test_frequencies() -> None:
    cos, sin = fastnorm.rotary_frequencies(4, 6)
    angles = np.arange(4)[:, None] * 10000.0 ** (-np.arange(0, 6, 2) / 6)
    assert cos.dtype == sin.dtype == np.float32
    np.testing.assert_array_equal(cos, np.cos(angles).astype(np.float32))
    np.testing.assert_array_equal(sin, np.sin(angles).astype(np.float32))
    for positions in ([2, 3], np.array([2, 3], np.uint8), np.array([2.0, 3.0])):
        np.testing.assert_array_equal(fastnorm.rotary_frequencies(positions, 6)[0], cos[2:])
    assert fastnorm.rotary_frequencies(np.zeros((2, 3), int), 6)[1].shape == (2, 3, 3)
    assert fastnorm.rotary_frequencies(0, 6)[0].shape == (0, 3)
    assert fastnorm.rotary_frequencies(4, 6, base=500.0, dtype="float64")[0][3, 2] == np.cos(
        3 * 500 ** (-4 / 6)
    )


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((4, 5), {}, ValueError, "dim is 5, needs an even number"),
        ((-1, 4), {}, ValueError, "positions is -1"),
        (("a", 4), {}, TypeError, "positions has dtype"),
        ((2, 4.0), {}, TypeError, "dim has type float"),
        ((2, 4), {"base": 0.0}, ValueError, "base is 0.0, needs more than 0"),
        ((2, 4), {"base": -1.0}, ValueError, "base is -1.0"),
        ((2, 4), {"dtype": int}, TypeError, "dtype is int64"),
    ],
)
def test_bad_frequencies(arguments: Any, keywords: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^rotary_frequencies: {message}"):
        fastnorm.rotary_frequencies(*arguments, **keywords)


def test_too_many_features(backend: str) -> None:
    with pytest.raises(
        ValueError, match=r"cos has shape \(3, 4\), needs \(..., 3, pairs\) with at most 3 pairs"
    ):
        fastnorm.rotary_embedding(np.ones((3, 7)), np.ones((3, 4)), np.ones((3, 4)))
