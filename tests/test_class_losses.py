"""What is special to the losses over classes: golden values, reductions, ignored rows, digits near 0, equal
bits.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from tolerances import assert_same_bits

Array = NDArray[Any]

A = np.array([0.14, 1.456, 2.356, -0.124, -2.47]), np.array([0.1, 0.15, 0.2, 0.25, 0.3])
B = np.array([[4.0, 2.0, 1.0], [0.0, 5.0, 1.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 0.8, 0.2]])
# The tests of Optax give four digits of them.
GOLDEN = {
    2.0: (4.531657285679147, [0.4822565505936067, 1.2567036894796826]),
    1.0: (3.715330108436506, [0.3260512850749462, 1.0407242898092526]),
    0.0: (2.899002931193864, [0.1698460195562857, 0.8247448901388227]),
    -0.5: (2.4908393425725435, [0.0917433867969554, 0.7167551903036078]),
    -1.0: (2.0826757539512224, [0.0136407540376251, 0.6087654904683928]),
    1.15: (3.8377791850229017, [0.3494820749027453, 1.0731211997598171]),
    1.214: (3.890024124366431, [0.3594792118959396, 1.0869438813387244]),
    5.45: (7.347986047166261, [1.0211647166329856, 2.001832618342666]),
}


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_over_classes_without_weight(dtype: Any, label_smoothing: float, implementation: str) -> None:
    """There is nothing to take a mean of, as where all rows are ignored: NaN, as in PyTorch, and so is the
    gradient of the rows that are not ignored.
    """
    x = np.array([[0, 1, 2], [1, 0, 0], [3, 1, 0]], dtype)
    target, weight = np.array([0, 1, -100]), np.array([0, 0, 1], dtype)
    keywords: dict[str, Any] = {"weight": weight, "label_smoothing": label_smoothing}
    loss, dx = fastnorm.cross_entropy(x, target, **keywords, return_grad=True)
    assert math.isnan(loss)
    assert np.isnan(dx[:2]).all()
    assert not dx[2].any()
    np.testing.assert_array_equal(fastnorm.cross_entropy_backward(1.0, x, target, **keywords), dx)
    assert np.isfinite(fastnorm.cross_entropy(x, target, **keywords, reduction="sum"))
    ignored = np.full(3, -100)
    for op in (fastnorm.cross_entropy, fastnorm.poly_loss):
        loss, dx = op(x, ignored, label_smoothing=label_smoothing, return_grad=True)
        assert math.isnan(loss)
        assert not dx.any()


@pytest.mark.parametrize("epsilon", GOLDEN)
def test_golden_values(epsilon: float, implementation: str) -> None:
    one, rows = GOLDEN[epsilon]
    assert abs(fastnorm.poly_loss(*A, epsilon=epsilon, reduction="none") - one) < 1e-14
    np.testing.assert_allclose(
        fastnorm.poly_loss(*B, epsilon=epsilon, reduction="none"), rows, rtol=0, atol=1e-14
    )


def test_golden_gradients(implementation: str) -> None:
    _, gradient = fastnorm.poly_loss(*B, epsilon=2.0, reduction="none", return_grad=True)
    expected = [
        [-0.419815626604, 0.306909815272, 0.112905811332],
        [0.016880410683, 0.144381068450, -0.161261479133],
    ]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_no_polynomial_and_no_power_are_cross_entropy(
    dtype: Any, native: ModuleType, rng: np.random.Generator
) -> None:
    logits, target = (5 * rng.standard_normal((50, 70))).astype(dtype), rng.integers(0, 70, 50)
    for reduction in ("mean", "sum", "none"):
        expected = fastnorm.cross_entropy(logits, target, reduction=reduction, return_grad=True)
        poly = fastnorm.poly_loss(logits, target, epsilon=0.0, reduction=reduction, return_grad=True)
        focal = fastnorm.focal_loss(logits, target, gamma=0.0, reduction=reduction, return_grad=True)
        for got in (poly, focal):
            for one, other in zip(got, expected, strict=True):
                assert_same_bits(np.asarray(one), np.asarray(other))


def test_the_series_of_the_logarithm(implementation: str) -> None:
    """epsilon_j = -1/j cancels the terms of cross entropy one by one."""
    logits, target = np.array([[0.0, 2.0, 1.0]]), np.array([0])
    left = [
        fastnorm.poly_loss(logits, target, epsilon=tuple(-1 / j for j in range(1, n + 1)))
        for n in (5, 50, 400)
    ]
    assert left[0] > left[1] > abs(left[2])
    assert abs(left[2]) < 1e-14


@pytest.mark.parametrize("gap", [5.0, 20.0, 60.0, 95.0])
def test_digits_of_a_loss_near_zero(gap: float, implementation: str) -> None:
    """The loss is log1p(exp(-gap)); its gradient at the target is -exp(-gap) / (1 + exp(-gap))."""
    for dtype, digits in ((np.float32, 4e-7), (np.float64, 1e-15)):
        logits = np.array([[gap, 0.0]], dtype)
        loss, gradient = fastnorm.cross_entropy(logits, [0], return_grad=True)
        tiny = 1e-45 if dtype == np.float32 else 0.0
        assert abs(loss - math.log1p(math.exp(-gap))) <= digits * math.exp(-gap) + tiny
        assert abs(gradient[0, 0] + 1 / (1 + math.exp(gap))) <= digits * math.exp(-gap) + tiny


def test_finite_for_any_finite_logits(implementation: str) -> None:
    for dtype in (np.float32, np.float64):
        largest = 0.25 * float(np.finfo(dtype).max)
        logits = np.array([[largest, -largest, 0.0], [-largest] * 3, [1e4, -1e4, 3.0]], dtype)
        for function in (fastnorm.cross_entropy, fastnorm.focal_loss, fastnorm.poly_loss):
            for target in ([0, 0, 0], [1, 2, 1]):
                loss, gradient = function(logits, target, reduction="none", return_grad=True)
                assert np.isfinite(loss).all()
                assert np.isfinite(gradient).all()


def test_reductions(implementation: str, rng: np.random.Generator) -> None:
    """The mean divides by the weights of the rows that are not ignored, as in PyTorch."""
    logits, weight = rng.standard_normal((6, 5)), rng.random(5) + 0.5
    target = np.array([0, 4, -100, 2, 2, -100])
    losses = fastnorm.cross_entropy(logits, target, weight=weight, reduction="none")
    assert losses[2] == losses[5] == 0
    total = weight[[0, 4, 2, 2]].sum()
    mean, gradient = fastnorm.cross_entropy(logits, target, weight=weight, return_grad=True)
    assert isinstance(mean, np.float64)
    np.testing.assert_allclose(mean, losses.sum() / total, rtol=1e-14)
    np.testing.assert_allclose(
        fastnorm.cross_entropy(logits, target, weight=weight, reduction="sum"), losses.sum()
    )
    np.testing.assert_array_equal(gradient[[2, 5]], 0)
    every = fastnorm.cross_entropy_backward(
        np.full(6, 1 / total), logits, target, weight=weight, reduction="none"
    )
    np.testing.assert_allclose(gradient, every, rtol=1e-14, atol=1e-17)


def test_ignore_index_may_be_a_class(implementation: str, rng: np.random.Generator) -> None:
    logits, target = rng.standard_normal((4, 3)), np.array([0, 1, 2, 0])
    loss, gradient = fastnorm.cross_entropy(logits, target, ignore_index=0, return_grad=True)
    assert loss == fastnorm.cross_entropy(logits[1:3], target[1:3])
    np.testing.assert_array_equal(gradient[[0, 3]], 0)
    np.testing.assert_array_equal(target, [0, 1, 2, 0])


def test_nothing_to_average(implementation: str) -> None:
    """NaN for a mean over nothing, 0 for a sum, and gradients of 0 or none."""
    for logits, target in ((np.ones((2, 3)), [-100, -100]), (np.empty((0, 3)), np.empty(0, int))):
        for function in (fastnorm.cross_entropy, fastnorm.poly_loss):
            loss, gradient = function(logits, target, return_grad=True)
            assert np.isnan(loss)
            np.testing.assert_array_equal(gradient, np.zeros_like(logits))
            assert function(logits, target, reduction="sum") == 0


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "i4", "u4", "u8", ">i8"])
def test_classes_of_any_integer_type(kind: str, implementation: str, rng: np.random.Generator) -> None:
    logits, target = rng.standard_normal((9, 11)).astype(np.float32), rng.integers(0, 11, 9)
    assert fastnorm.cross_entropy(logits, target.astype(kind)) == fastnorm.cross_entropy(logits, target)


def test_class_axis(native: ModuleType, rng: np.random.Generator) -> None:
    """A class axis anywhere gives the bits of the same rows laid out along the last one."""
    logits, target = rng.standard_normal((4, 6, 5)).astype(np.float32), rng.integers(0, 6, (4, 5))
    loss, gradient = fastnorm.cross_entropy(logits, target, axis=1, return_grad=True)
    moved = np.ascontiguousarray(np.moveaxis(logits, 1, -1))
    same, dmoved = fastnorm.cross_entropy(moved, target, return_grad=True)
    assert loss == same
    assert_same_bits(gradient, np.moveaxis(dmoved, -1, 1))


def test_threads_and_return_grad(native: ModuleType, rng: np.random.Generator) -> None:
    """The mean and its gradient have the same bits for any number of threads, with and without the
    gradient.
    """
    logits, target = rng.standard_normal((700, 900)).astype(np.float32), rng.integers(0, 900, 700)
    for function in (fastnorm.cross_entropy, fastnorm.focal_loss, fastnorm.poly_loss):
        with fastnorm.threads(1):
            loss, gradient = function(logits, target, return_grad=True)
        for threads in (1, 2, 5):
            with fastnorm.threads(threads):
                again, dlogits = function(logits, target, return_grad=True)
                assert again == loss == function(logits, target)
                assert_same_bits(dlogits, gradient)


def test_a_probability_of_zero_adds_nothing(implementation: str) -> None:
    """Also where its logit is -inf: the exact loss is finite."""
    loss, gradient = fastnorm.cross_entropy(
        np.array([[0.0, -np.inf, 0.0]]), np.array([[1.0, 0.0, 0.0]]), return_grad=True
    )
    np.testing.assert_allclose(loss, math.log(2), rtol=1e-15)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0, 0.5]])
