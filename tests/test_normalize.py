"""What is special to normalize: lengths near the ends of the number range, and those that eps replaces."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from fastnorm._specs.bounds import LARGEST, NORM_ROUNDINGS, SMALLEST, UNIT_ROUNDOFF, is_half
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits

Array = NDArray[Any]
every_type = pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)


def exact(x: Array, dy: Array, eps: float) -> tuple[Array, Array]:
    """y and dx of one row in long arithmetic."""
    with mpmath.workdps(60):
        values, slopes = ([mpmath.mpf(float(value)) for value in row] for row in (x, dy))
        length = mpmath.sqrt(mpmath.fsum(value**2 for value in values))
        divisor = max(length, mpmath.mpf(eps))
        y = [value / divisor for value in values]
        along = 0 if length < eps else mpmath.fsum(a * b for a, b in zip(slopes, y, strict=True))
        dx = [(slope - value * along) / divisor for slope, value in zip(slopes, y, strict=True)]
        return np.array([float(v) for v in y]), np.array([float(v) for v in dx])


def assert_near(got: Array, expected: Array, scale: Array | float, roundings: float) -> None:
    """Within so many roundings of what is computed in, and the last to a half type."""
    name = "float64" if got.dtype == np.float64 else "float32"
    allowed = roundings * UNIT_ROUNDOFF[name] * scale + SMALLEST[got.dtype.name]
    if is_half(got.dtype):
        allowed = allowed + UNIT_ROUNDOFF[got.dtype.name] * np.abs(expected)
    found = got.astype(np.float64)
    overflows = np.abs(expected) > LARGEST[got.dtype.name]
    np.testing.assert_array_equal(np.isinf(found[overflows]), True)
    assert np.all(np.abs(found - expected)[~overflows] <= np.broadcast_to(allowed, got.shape)[~overflows])


@every_type
@pytest.mark.parametrize("eps", [1e-12, 0.0, 3.0, 1e30], ids=str)
@pytest.mark.parametrize("cols", [1, 3, 33, 200])
def test_against_long_arithmetic(
    cols: int, eps: float, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Rows from the smallest numbers to the largest, whose squares vanish or overflow."""
    smallest, largest = SMALLEST[dtype.name] * 2, LARGEST[dtype.name] / 64
    sizes = np.exp(np.linspace(math.log(smallest), math.log(largest), 12))
    x = (rng.uniform(0.5, 2, (12, cols)) * rng.choice([-1, 1], (12, cols)) * sizes[:, None]).astype(dtype)
    dy = rng.standard_normal((12, cols)).astype(dtype)
    y, dx = fastnorm.normalize(x, eps=eps), fastnorm.normalize_backward(dy, x, eps=eps)
    for row in range(12):
        expected_y, expected_dx = exact(x[row], dy[row], eps)
        more = cols + 4 if dtype == np.float64 else 0
        assert_near(y[row], expected_y, np.abs(expected_y), NORM_ROUNDINGS + more)
        length = max(float(np.hypot.reduce(x[row].astype(np.float64))), eps)
        if 1 / length > LARGEST[dtype.name] / 1e4:
            continue  # dx overflows, or its parts do
        scale = np.linalg.norm(dy[row].astype(np.float64)) / length
        assert_near(dx[row], expected_dx, scale, 24 + 3 * more)


@every_type
def test_rows_of_zeros(dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    for cols in (1, 3, 64, 1000):
        x = rng.standard_normal((5, cols)).astype(dtype)
        x[2] = 0
        y = fastnorm.normalize(x)
        assert not y[2].any()
        np.testing.assert_allclose(np.linalg.norm(y[[0, 1, 3, 4]].astype(float), axis=1), 1, rtol=5e-3)
        assert np.isnan(fastnorm.normalize(x, eps=0.0)[2].astype(float)).all()


@every_type
def test_bad_rows(dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """NaN spreads over its row; an infinity makes the finite elements 0 and itself NaN, as the formula has
    it.
    """
    for cols in (2, 5, 64, 1000):
        x = rng.standard_normal((3, cols)).astype(dtype)
        clean = fastnorm.normalize(x)
        for bad in (math.nan, math.inf, -math.inf):
            x[1, cols // 2] = bad
            y = fastnorm.normalize(x)
            assert_same_bits(y[[0, 2]], clean[[0, 2]])
            others = np.delete(y[1].astype(float), cols // 2)
            np.testing.assert_array_equal(others, math.nan if math.isnan(bad) else 0)
            assert np.isnan(y[1, cols // 2].astype(float))


def test_gradient_by_eps(implementation: str) -> None:
    """A length of eps follows x, a shorter one does not, as in PyTorch; infinite gradients stay apart."""
    x, dy = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    np.testing.assert_allclose(fastnorm.normalize_backward(dy, x, eps=5.0), [[0.128, -0.096]], rtol=1e-14)
    for dtype in (np.float32, np.float64):
        got = fastnorm.normalize_backward(dy.astype(dtype), x.astype(dtype), eps=5.5)
        np.testing.assert_allclose(got, dy / 5.5, rtol=1e-6)
        got = fastnorm.normalize_backward(np.array([[np.inf, 1]], dtype), x.astype(dtype), eps=8.0)
        np.testing.assert_array_equal(got, [[np.inf, 0.125]])


@every_type
@pytest.mark.parametrize("axis", [0, 1, (0, 2), (2, 1), None], ids=str)
def test_layouts(axis: Any, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """The bits of rows in their order, in any memory, and in place."""
    x, dy = rng.standard_normal((2, 4, 5, 70)).astype(dtype)
    axes = tuple(range(3)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    kept = [number for number in range(3) if number not in axes]
    order = [*kept, *sorted(axes)]

    def rows(array: Array) -> Array:
        moved = array.transpose(order)
        return np.ascontiguousarray(moved).reshape(math.prod(moved.shape[: len(kept)]), -1)

    y, dx = fastnorm.normalize(rows(x)), fastnorm.normalize_backward(rows(dy), rows(x))
    for relay in (np.ascontiguousarray, np.asfortranarray, lambda array: np.repeat(array, 2, 1)[:, ::2]):
        assert_same_bits(rows(fastnorm.normalize(relay(x), axis=axis)), y)
        assert_same_bits(rows(fastnorm.normalize_backward(relay(dy), relay(x), axis=axis)), dx)
    out = x.copy()
    assert fastnorm.normalize(out, axis=axis, out=out) is out
    assert_same_bits(rows(out), y)
    _, pullback = fastnorm.vjp(fastnorm.normalize, x, axis=axis)
    assert_same_bits(rows(pullback(dy)), dx)
