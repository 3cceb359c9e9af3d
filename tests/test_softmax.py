"""What is special to softmax and log_softmax: the axis, the ends of the number range, results near 0 and
1.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import fastnorm
import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from fastnorm._specs.bounds import LARGEST, ulp
from fastnorm._specs.softmax import LOG_SOFTMAX, SOFTMAX
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits

Array = NDArray[Any]
FLOAT32 = np.dtype(np.float32)
both = pytest.mark.parametrize("function", [fastnorm.softmax, fastnorm.log_softmax], ids=lambda f: f.__name__)


def exact(row: Array) -> tuple[Array, Array]:
    """softmax and its logarithm in long arithmetic."""
    with mpmath.workdps(60):
        values = [mpmath.mpf(float(value)) for value in row]
        total = mpmath.fsum(map(mpmath.exp, values))
        chances = [mpmath.exp(value) / total for value in values]
        logs = [
            mpmath.log1p(-(total - mpmath.exp(value)) / total) if chance > 0.5 else mpmath.log(chance)
            for value, chance in zip(values, chances, strict=True)
        ]
        return np.array([float(p) for p in chances]), np.array([float(v) for v in logs])


ROWS = {
    "peaked": [40.0, 0.0, 3.0, -7.0],
    "certain": [200.0, 100.0, 150.0, 0.0],
    "tiny_rest": [0.0, -60.0, -87.5, -103.0],
    "below_zero": [-300.0, -301.5, -390.0, -320.0],
    "far": [60000.0, 59990.0, 59936.0, 60001.0],
    "far_below": [-60000.0, -59990.0, -59936.0, -60001.0],
    "alike": [81.0, 81.0, 81.0, 81.0],
    "one": [3.0],
    "wide": [1e30, 0.0, -1e30, 1e30],
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_extreme_rows_against_long_arithmetic(row: list[float], implementation: str) -> None:
    x = np.array(row, np.float32)
    chances, logs = exact(x)
    assert np.all(np.abs(fastnorm.softmax(x) - chances) <= SOFTMAX.bound * ulp(chances, FLOAT32))
    assert np.all(np.abs(fastnorm.log_softmax(x) - logs) <= LOG_SOFTMAX.bound * ulp(logs, FLOAT32))


@pytest.mark.parametrize("axis", [0, 1, 2, -2, np.int64(-3)])
@both
def test_axis(
    function: Callable[..., Array], axis: int, native: ModuleType, rng: np.random.Generator
) -> None:
    """Any axis gives the bits of the same rows laid out along the last one."""
    backward = getattr(fastnorm, f"{function.__name__}_backward")
    for dtype in DTYPES.values():
        x, dy = (rng.standard_normal((5, 18, 33)).astype(dtype) for _ in range(2))
        moved, dy_moved = (np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (x, dy))
        assert_same_bits(function(x, axis=axis), np.moveaxis(function(moved), -1, axis))
        assert_same_bits(backward(dy, x, axis=axis), np.moveaxis(backward(dy_moved, moved), -1, axis))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@both
def test_finite_rows_stay_finite(
    function: Callable[..., Array], dtype: np.dtype[Any], implementation: str
) -> None:
    largest = LARGEST[dtype.name]
    x = np.array([[largest, -largest, 0], [-largest, -largest, -largest], [largest, largest, 1]]).astype(
        dtype
    )
    y = function(x)
    assert not np.isnan(y.astype(np.float64)).any()
    if function is fastnorm.softmax:
        np.testing.assert_allclose(y.astype(np.float64), [[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]], rtol=1e-2)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@both
def test_rows_without_a_finite_maximum(
    function: Callable[..., Array], dtype: np.dtype[Any], implementation: str
) -> None:
    """All -inf, one inf, or a NaN anywhere make a row NaN; -inf beside finite elements is a probability of
    0.
    """
    inf, nan = np.inf, np.nan
    x = np.zeros((6, 40))
    x[0], x[1, 7], x[2, 39], x[3, 0] = -inf, inf, nan, nan
    x[3, 1:], x[4, 1:] = -inf, -inf
    with np.errstate(all="raise"):
        y = function(x.astype(dtype)).astype(np.float64)
    assert np.isnan(y[:4]).all()
    none, whole = (0.0, 1.0) if function is fastnorm.softmax else (-inf, 0.0)
    np.testing.assert_array_equal(y[4], [whole] + [none] * 39)
    assert np.isfinite(y[5]).all()


def test_softmax_adds_up_to_one(implementation: str, rng: np.random.Generator) -> None:
    y = fastnorm.softmax((3 * rng.standard_normal((50, 1000))).astype(np.float32))
    np.testing.assert_allclose(y.sum(axis=-1, dtype=np.float64), 1, atol=2e-7)


def test_rows_without_columns(backend: str) -> None:
    for function in (fastnorm.softmax, fastnorm.log_softmax):
        assert function(np.empty((3, 0), np.float32)).shape == (3, 0)


def test_a_lane_that_holds_most_of_a_row(rng: np.random.Generator) -> None:
    """Columns 0 and 16 have half of the sum each: no element has more, though their lane has."""
    x = np.zeros((3, 32), np.float32)
    x[1, 0] = 20
    x[2, 0] = x[2, 16] = 10
    y = fastnorm.log_softmax(x)
    np.testing.assert_allclose(y, fastnorm.reference.log_softmax(x), rtol=1e-6)
    assert_same_bits(fastnorm.log_softmax(x[2:]), y[2:])
    memory = np.full(112, 7, np.float32)
    fastnorm.log_softmax(x, out=memory[:96].reshape(3, 32))
    np.testing.assert_array_equal(memory[96:], 7)
    target = np.zeros_like(x)
    target[:, 0] = target[:, 16] = 0.5
    loss = fastnorm.cross_entropy(x, target, reduction="none")
    assert_same_bits(fastnorm.cross_entropy(np.asfortranarray(x), target, reduction="none"), loss)
    np.testing.assert_allclose(loss, fastnorm.reference.cross_entropy(x, target, reduction="none"), rtol=1e-6)


@pytest.mark.parametrize("height", [20.0, 40.0, 66.0, 69.0, 85.0])
def test_gradients_of_rows_that_are_high(height: float) -> None:
    """Small gradients keep their digits and large ones stay finite, whatever is added to a row."""
    x = np.array([[height, height - 9, height - 10, height - 11]], np.float32)
    for dy in ([[1e-15, 0, 0, 0]], [[1e11, 0, 0, -1e11]]):
        slope = np.array(dy, np.float32)
        for op in (fastnorm.softmax_backward, fastnorm.log_softmax_backward):
            low = op(slope, x - np.float32(height))
            np.testing.assert_allclose(op(slope, x), low, rtol=1e-5, atol=2**-22 * np.abs(slope).max())
    loss = fastnorm.focal_loss
    high, low = (loss(row, np.array([0]), gamma=4.0, return_grad=True)[1] for row in (x, x - x.max()))
    np.testing.assert_allclose(high, low, rtol=1e-5)
