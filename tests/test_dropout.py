"""dropout: its generator against known answers, its shares, and that place and seed alone decide."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm.reference import regularisers as twins
from layouts import LAYOUTS
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

# Of the authors' distribution, Random123, kat_vectors: philox4x32, 10 rounds.
KNOWN = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0xA4093822 | 0x299F31D0 << 32,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(counter: tuple[int, ...], key: int, words: tuple[int, ...]) -> None:
    found = twins._rounds([np.array([word], np.uint64) for word in counter], key)
    assert tuple(int(word) for word in found[0]) == words


def kept(x: Array, p: float, seed: int) -> Array:
    return np.asarray(fastnorm.dropout(x, p=p, seed=seed) != 0)


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**64 - 1])
@pytest.mark.parametrize("p", [0.5, 0.1, 0.25, 1 / 3, 0.999])
def test_masks_are_those_of_the_generator(p: float, seed: int, implementation: str) -> None:
    for count in (1, 15, 256, 257, 100_003):
        wanted = twins.numbers(count, seed) >= round(p * 65536)
        np.testing.assert_array_equal(kept(np.ones(count, np.float32), p, seed), wanted)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_type_layout_and_threads_do_not_matter(dtype: np.dtype[Any], backend: str) -> None:
    x = np.arange(1, 60_001).reshape(30, 2000).astype(dtype)
    wanted = kept(np.ones(x.shape, np.float32), 0.3, 11)
    np.testing.assert_array_equal(kept(x, 0.3, 11), wanted)
    results = []
    for threads in (1, 3):
        with fastnorm.threads(threads):
            results += [fastnorm.dropout(relay(x), p=0.3, seed=11) for relay in LAYOUTS.values()]
    for y in results:
        assert_same_bits(np.ascontiguousarray(y), results[0])


def test_a_prefix_keeps_its_mask(backend: str) -> None:
    """A longer array begins with the mask of a shorter one."""
    whole = kept(np.ones(1000), 0.4, 3)
    for count in (1, 17, 300):
        np.testing.assert_array_equal(kept(np.ones(count), 0.4, 3), whole[:count])


@pytest.mark.parametrize("p", [0.5, 0.1, 0.9, 2.0**-16])
def test_shares(p: float, native: Any) -> None:
    """Of all elements, of every place in a group, and of pairs a few places apart."""
    count, deviations = 256 * 20_000, 5
    dropped = ~kept(np.ones(count, np.float32), p, 5)
    for part in (dropped, *dropped.reshape(-1, 256).T):
        assert abs(part.mean() - p) < deviations * np.sqrt(p * (1 - p) / part.size)
    for apart in (1, 2, 16, 32, 48, 64, 256, 512):
        both = (dropped[:-apart] & dropped[apart:]).mean()
        assert abs(both - p * p) < deviations * 2 * np.sqrt(p**2 * (1 - p**2) / count)


def test_seeds_are_independent(native: Any) -> None:
    x = np.ones(10**6, np.float32)
    first = kept(x, 0.5, 1)
    for seed in (2, 1 + 2**32, 3):
        assert abs((first == kept(x, 0.5, seed)).mean() - 0.5) < 0.003


def test_what_is_dropped_is_zero(backend: str) -> None:
    x = np.full(500, np.nan)
    y = fastnorm.dropout(x, seed=1)
    assert set(np.isnan(y)) == {True, False}
    assert not np.signbit(y[~np.isnan(y)]).any()
    np.testing.assert_array_equal(y[~np.isnan(y)], 0)


def test_ends(backend: str) -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    assert_same_bits(fastnorm.dropout(x, p=0.0, seed=1), x)
    np.testing.assert_array_equal(fastnorm.dropout(x, p=1 - 1e-9, seed=1), np.zeros(1000))
    assert fastnorm.dropout(np.ones(1 << 20), p=0.1, seed=1).mean() == pytest.approx(1, abs=2e-3)


def test_the_backward_makes_the_same_mask(backend: str) -> None:
    x, dy = np.ones((50, 70)), np.full((50, 70), 3.0)
    y, dx = fastnorm.dropout(x, p=0.2, seed=9), fastnorm.dropout_backward(dy, x, p=0.2, seed=9)
    np.testing.assert_allclose(dx, 3 * y, rtol=1e-15)


def test_in_place(backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((70, 33))
    wanted = fastnorm.dropout(x, p=0.2, seed=9)
    assert fastnorm.dropout(x, p=0.2, seed=9, out=x) is x
    assert_same_bits(x, wanted)


def test_a_seed_is_needed(backend: str) -> None:
    with pytest.raises(TypeError, match="seed"):
        fastnorm.dropout(np.ones(3))  # type: ignore[call-arg]
