"""moments and their merging, and batch_norm over merged moments."""

from __future__ import annotations

import functools
import math
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import Moments, moments
from fastnorm._specs.bounds import UNIT_ROUNDOFF, norm_bound
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits, assert_within

Array = NDArray[Any]


def exact(values: Array) -> tuple[float, float]:
    """Mean and sum of squared deviations from sums that are rounded once."""
    numbers = [float(value) for value in values.ravel()]
    mean = math.fsum(numbers) / len(numbers)
    rest = math.fsum(number - mean for number in numbers) / len(numbers)
    return mean + rest, math.fsum((number - mean - rest) ** 2 for number in numbers)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_axis(dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    x = (3 + rng.standard_normal((4, 5, 3, 18))).astype(dtype)
    for axis in (None, 0, -1, 1, (0, 1), (1, 2), (2, 3), (0, 3), (0, 2, 3), (3, 1), (0, 1, 2, 3)):
        count, mean, m2 = moments(x, axis)
        axes = tuple(range(4)) if axis is None else tuple(np.atleast_1d(axis) % 4)
        rows = np.moveaxis(x, axes, range(len(axes))).reshape(math.prod(x.shape[k] for k in axes), -1)
        assert count == rows.shape[0]
        wide = x.astype(np.float64)
        assert mean.dtype == m2.dtype == np.float64
        np.testing.assert_allclose(mean, wide.mean(axis=axis), rtol=1e-13, strict=True)
        np.testing.assert_allclose(m2, wide.var(axis=axis) * count, rtol=1e-12, strict=True)


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_against_sums_rounded_once(mean: float, implementation: str, rng: np.random.Generator) -> None:
    for shape in ((3000, 2), (2, 40_000), (50, 2, 30)):
        x = (mean + rng.standard_normal(shape)).astype(np.float32)
        axis = int(np.argmin(shape))
        got = moments(x, tuple(k for k in range(x.ndim) if k != axis))
        for channel in range(2):
            expected = exact(np.take(x, channel, axis))
            np.testing.assert_allclose(
                (got.mean[channel], got.m2[channel]),
                expected,
                rtol=1e-13 + 4 * UNIT_ROUNDOFF["float64"] * mean,
                atol=1e-14,
            )


def test_golden() -> None:
    merged = Moments.merge(Moments(3, np.array(2.0), np.array(2.0)), Moments(4, np.array(5.5), np.array(5.0)))
    assert merged == (7, 4.0, 28.0)


def test_any_split_in_any_order_is_one_pass(backend: str, rng: np.random.Generator) -> None:
    x = 10 + rng.standard_normal((500, 3, 4))
    whole = moments(x, (0, 2))
    for cuts in ([0, 500], [250], [1, 2, 3], [100, 100, 499], sorted(rng.integers(0, 500, 20))):
        parts = [moments(part, (0, 2)) for part in np.split(x, cuts)]
        for order in (parts, parts[::-1], [parts[k] for k in rng.permutation(len(parts))]):
            merged = functools.reduce(Moments.merge, order)
            assert merged.count == whole.count
            np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
            np.testing.assert_allclose(merged.m2, whole.m2, rtol=1e-12)


def test_batch_norm_over_merged_moments_is_that_of_the_whole_batch(
    implementation: str, rng: np.random.Generator
) -> None:
    for mean in (0.0, 1e6):
        x = (mean + rng.standard_normal((60, 5, 6))).astype(np.float32)
        parts = np.split(x, [7, 7, 30])
        stats = functools.reduce(Moments.merge, [moments(part, (0, 2)) for part in parts]).stats()
        whole = fastnorm.batch_norm(x, training=True)
        spread = np.concatenate([fastnorm.batch_norm(part, stats=stats) for part in parts])
        one = np.ones(1)
        assert_within(spread, whole.astype(float), norm_bound(whole.astype(float), one, 0 * one, x.dtype))


def test_layouts_and_threads(native: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 70, 6)).astype(np.float32)
    for axis in ((0, 2), 0, 2, (0, 1), 1):
        with fastnorm.threads(1):
            expected = moments(x, axis)
        for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
            with fastnorm.threads(3):
                got = moments(other, axis)
            assert_same_bits(got.mean, expected.mean)
            assert_same_bits(got.m2, expected.m2)


def test_nothing_and_one(backend: str) -> None:
    count, mean, m2 = empty = moments(np.empty((0, 3)), 0)
    assert count == 0
    np.testing.assert_array_equal((mean, m2), np.zeros((2, 3)))
    some = moments(np.arange(6.0).reshape(2, 3), 0)
    assert Moments.merge(empty, some) is some
    assert Moments.merge(some, empty) is some
    assert moments(2.5) == (1, 2.5, 0.0)
    assert moments([1.0, 2.0]).m2 == 0.5
    mean, rstd = some.stats(eps=0.0)
    np.testing.assert_allclose(
        (mean, rstd), [[1.5, 2.5, 3.5], [1 / 1.5] * 3], rtol=4 * UNIT_ROUNDOFF["float64"]
    )


def test_bad_arguments(backend: str) -> None:
    x = np.ones((2, 3))
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (x.astype(int), 0, TypeError, "moments: x"),
        ("text", 0, TypeError, "moments: x"),
        (x, 2, ValueError, "moments: axis"),
        (x, (0, 0), ValueError, "moments: axis"),
        (x, (), ValueError, "moments: axis"),
        (x, 0.5, TypeError, "moments: axis"),
    ]
    for values, axis, error, message in bad:
        with pytest.raises(error, match=message):
            moments(values, axis)
    with pytest.raises(ValueError, match="merge: b"):
        Moments.merge(moments(x, 0), moments(x, 1))
