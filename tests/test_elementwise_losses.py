"""What is special to the losses of each element: golden values, both tails, reductions, kinds of targets."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import ulp
from fastnorm._specs.elementwise_losses import focal_contract
from layouts import LAYOUTS
from numpy.typing import NDArray
from tolerances import assert_same_bits

Array = NDArray[Any]

# logit, target, epsilon, alpha, gamma, loss, gradient
GOLDEN = (
    (2.0, 1, 0.0, None, 2.0, 0.00180356283524, -0.00487094019539),
    (2.0, 1, 1.0, None, 2.0, 0.00349735728017, -0.00934660778877),
    (2.0, 1, 1.0, 0.25, 2.0, 0.000874339320044, -0.00233665194719),
    (2.0, 0, 0.0, -1.0, 2.0, 1.65007817942, 1.07671373045),
    (2.0, 0, 1.0, 0.25, 2.0, 1.75005272157, 0.990807675908),
    (-1.0, 1, 1.0, None, 2.0, 1.09258010834, -1.08347048769),
    (2.0, 1, 0.0, None, 0.0, 0.126928011043, -0.119202922022),
)


@pytest.mark.parametrize(("z", "y", "epsilon", "alpha", "gamma", "loss", "gradient"), GOLDEN)
def test_golden_values(
    z: float,
    y: int,
    epsilon: float,
    alpha: float,
    gamma: float,
    loss: float,
    gradient: float,
    implementation: str,
) -> None:
    keywords: dict[str, Any] = {"alpha": alpha, "gamma": gamma, "return_grad": True}
    results = [fastnorm.poly_focal_loss(np.array([z]), [y], epsilon=epsilon, **keywords)]
    if epsilon == 0:
        results.append(fastnorm.sigmoid_focal_loss(np.array([z]), [y], **keywords))
    for got, dlogits in results:
        np.testing.assert_allclose((got[0], dlogits[0]), (loss, gradient), rtol=5e-12)


def exact_terms(z: float, y: int, epsilon: float, gamma: float) -> tuple[Any, Any]:
    """Loss and gradient without alpha, by mpmath from the formula."""
    mp = pytest.importorskip("mpmath")
    with mp.workprec(600):
        p, q = 1 / (1 + mp.exp(-mp.mpf(z))), 1 / (1 + mp.exp(mp.mpf(z)))
        right, u, sign = (p, q, 1) if y else (q, p, -1)
        loss = u**gamma * (-mp.log(right) + mp.mpf(epsilon) * u)
        slope = gamma * right * mp.log(right) - u - mp.mpf(epsilon) * (gamma + 1) * u * right
        return loss, sign * u**gamma * slope


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 5.0])
def test_digits_in_both_tails(
    gamma: float, epsilon: float, dtype: Any, native: ModuleType, rng: np.random.Generator
) -> None:
    """A relative error of a few roundings wherever results are normal numbers, also for epsilon = -1."""
    z = np.concatenate([rng.uniform(-1, 1, 20), rng.uniform(-30, 30, 60), rng.uniform(-90, 90, 20)]).astype(
        dtype
    )
    for y in (0, 1):
        loss, gradient = fastnorm.poly_focal_loss(
            z, np.full_like(z, y), epsilon=epsilon, alpha=None, gamma=gamma, return_grad=True
        )
        for index, value in enumerate(z):
            for got, exact in zip(
                (loss, gradient), exact_terms(float(value), y, epsilon, gamma), strict=True
            ):
                allowed = focal_contract(gamma).bound * ulp(np.float64(exact), np.dtype(dtype))
                if abs(exact) >= np.finfo(dtype).tiny:
                    assert abs(float(exact - float(got[index]))) <= allowed, (value, y)


def test_infinite_logits_and_nan(implementation: str) -> None:
    z, y = np.array([math.inf, -math.inf, math.inf, -math.inf, math.nan]), np.array([1, 0, 0, 1, 1])
    loss, gradient = fastnorm.sigmoid_focal_loss(z, y, alpha=None, return_grad=True)
    np.testing.assert_array_equal(loss, [0, 0, math.inf, math.inf, math.nan])
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1, math.nan])


def test_no_polynomial_is_the_focal_loss(native: ModuleType, rng: np.random.Generator) -> None:
    z, y = (5 * rng.standard_normal(1000)).astype(np.float32), rng.integers(0, 2, 1000)
    for reduction in ("none", "sum", "mean"):
        one = fastnorm.poly_focal_loss(z, y, epsilon=0.0, reduction=reduction, return_grad=True)
        other = fastnorm.sigmoid_focal_loss(z, y, reduction=reduction, return_grad=True)
        for got, expected in zip(one, other, strict=True):
            assert_same_bits(np.asarray(got), np.asarray(expected))


def test_kinds_of_targets(implementation: str, rng: np.random.Generator) -> None:
    """Bools and integers are the numbers 0 and 1."""
    z, y = rng.standard_normal((4, 5)).astype(np.float32), rng.integers(0, 2, (4, 5))
    expected = fastnorm.sigmoid_focal_loss(z, y.astype(np.float32))
    for kind in (bool, np.uint8, np.int64):
        assert_same_bits(fastnorm.sigmoid_focal_loss(z, y.astype(kind)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_reductions(dtype: Any, implementation: str, rng: np.random.Generator) -> None:
    """Sums are those of math.fsum, to the roundings of the losses and one of the result."""
    x = rng.standard_normal((70, 130)).astype(dtype)
    target = rng.integers(0, 2, x.shape).astype(dtype)
    unit = 2.0 ** -(np.finfo(dtype).nmant + 1)
    for function in (fastnorm.mse_loss, fastnorm.sigmoid_focal_loss, fastnorm.poly_focal_loss):
        exact = math.fsum(function(x.astype(np.float64), target.astype(np.float64), reduction="none").ravel())
        total, gradient = function(x, target, reduction="sum", return_grad=True)
        mean, share = function(x, target, reduction="mean", return_grad=True)
        assert total.dtype == mean.dtype == dtype
        assert abs(float(total) - exact) <= (2 * unit + 2.0**-23) * exact
        assert abs(float(mean) - exact / x.size) <= (2 * unit + 2.0**-23) * exact / x.size
        smallest = float(np.finfo(dtype).smallest_subnormal) * x.size
        np.testing.assert_allclose(share.astype(float) * x.size, gradient, rtol=8 * unit, atol=smallest)
        backward = getattr(fastnorm, f"{function.__name__}_backward")
        assert_same_bits(backward(1.0, x, target, reduction="mean"), share)
        _, each = function(x, target, reduction="none", return_grad=True)
        assert_same_bits(each, backward(np.ones_like(x), x, target, reduction="none"))


def test_a_square_beyond_float32_does_not_spoil_the_mean(implementation: str) -> None:
    prediction = np.zeros(1 << 10, np.float32)
    prediction[5] = 1e20
    assert fastnorm.mse_loss(prediction, np.zeros_like(prediction)) == np.float32(
        float(np.float32(1e20)) ** 2 / 1024
    )


def test_nothing_to_average(implementation: str) -> None:
    empty = np.empty((0, 3), np.float32)
    for function in (fastnorm.mse_loss, fastnorm.sigmoid_focal_loss, fastnorm.poly_focal_loss):
        loss, gradient = function(empty, empty, reduction="mean", return_grad=True)
        assert np.isnan(loss)
        assert gradient.shape == empty.shape
        assert function(empty, empty, reduction="sum") == 0


@pytest.mark.parametrize("shape", [(37, 41, 11), (150, 96), (131, 1100), (2, 17_000), (70, 3, 32), (90, 20)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_same_sum_in_any_layout_on_any_threads(
    dtype: Any, shape: tuple[int, ...], native: ModuleType, rng: np.random.Generator
) -> None:
    """Blocks along rows and along columns, packed or not, with a last one that is smaller."""
    x, target = rng.random((2, *shape)).astype(dtype)
    for function in (fastnorm.mse_loss, fastnorm.sigmoid_focal_loss):
        loss, gradient = function(x, target, reduction="mean", return_grad=True)
        for relay in LAYOUTS.values():
            for count in (1, 3):
                with fastnorm.threads(count):
                    again, dx = function(relay(x), relay(target), reduction="mean", return_grad=True)
                assert again == loss == function(x, relay(target), reduction="mean")
                assert_same_bits(dx, gradient)


def test_a_large_gradient_past_the_caches(native: ModuleType, rng: np.random.Generator) -> None:
    """From the second call on results lie in warm memory and are streamed, from any alignment."""
    x = rng.standard_normal(1_500_007).astype(np.float32)
    target = np.zeros_like(x)
    expected = 2 * x
    for shift in (0, 1, 3):
        for _ in range(2):
            _, gradient = fastnorm.mse_loss(x[shift:], target[shift:], reduction="sum", return_grad=True)
            assert_same_bits(gradient, expected[shift:])
            del gradient


def test_scalars_without_axes(implementation: str) -> None:
    loss, gradient = fastnorm.mse_loss(np.float64(3.0), 1.0, return_grad=True)
    assert (loss, gradient, gradient.shape) == (4.0, 4.0, ())
