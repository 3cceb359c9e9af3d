"""What is special to the losses of each element: golden values, both tails, reductions, kinds of targets."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import ulp
from fastnorm._specs.elementwise_losses import CROSS_ENTROPY, focal_contract
from layouts import LAYOUTS
from numpy.typing import NDArray
from tolerances import assert_same_bits

Array = NDArray[Any]

LOSSES: tuple[Any, ...] = (
    fastnorm.mse_loss,
    fastnorm.l1_loss,
    fastnorm.huber_loss,
    fastnorm.smooth_l1_loss,
    fastnorm.bce_with_logits,
    fastnorm.sigmoid_focal_loss,
    fastnorm.poly_focal_loss,
)

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
    for function in LOSSES:
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
    for function in LOSSES:
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
    for function in (fastnorm.mse_loss, fastnorm.huber_loss, fastnorm.bce_with_logits):
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


# ---- absolute errors, rounded off -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_a_square_ends(dtype: Any, implementation: str) -> None:
    """At the limit both halves agree; half of it, it, and twice it, of either sign."""
    for limit in (1.0, 0.25, 48.0):
        d = np.array([0.5, 1, 2, -0.5, -1, -2, 0], dtype) * dtype(limit)
        zero, half = np.zeros_like(d), limit * limit / 2
        loss, gradient = fastnorm.huber_loss(d, zero, delta=limit, reduction="none", return_grad=True)
        np.testing.assert_array_equal(loss, [half / 4, half, 3 * half, half / 4, half, 3 * half, 0])
        np.testing.assert_array_equal(gradient, np.clip(d, -limit, limit))
        smooth, slope = fastnorm.smooth_l1_loss(d, zero, beta=limit, reduction="none", return_grad=True)
        np.testing.assert_array_equal(smooth, loss / dtype(limit))
        np.testing.assert_array_equal(slope, gradient / dtype(limit))
        absolute, sign = fastnorm.l1_loss(d, zero, reduction="none", return_grad=True)
        np.testing.assert_array_equal(absolute, np.abs(d))
        np.testing.assert_array_equal(sign, np.sign(d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_at_the_ends_of_a_type(dtype: Any, implementation: str) -> None:
    """1/beta lies beyond the type, or between its smallest numbers, where (x - t)/beta does not."""
    info = np.finfo(dtype)
    for beta in (info.smallest_subnormal * 8, info.tiny * 4, info.max / 8, info.max):
        most = 4 if beta < info.max / 4 else 1
        d = np.array([0.25, 1, most, -0.5]).astype(dtype) * dtype(beta)
        zero, share = np.zeros_like(d), d / dtype(beta)
        loss, gradient = fastnorm.smooth_l1_loss(
            d, zero, beta=float(beta), reduction="none", return_grad=True
        )
        np.testing.assert_allclose(gradient, np.clip(share, -1, 1), rtol=4 * info.eps)
        exact = np.where(np.abs(share) <= 1, share * share / 2, np.abs(share) - 0.5).astype(dtype)
        np.testing.assert_allclose(loss, exact * dtype(beta), rtol=4 * info.eps, atol=info.smallest_subnormal)
    smallest = np.array([info.smallest_subnormal, -info.smallest_subnormal, info.max, 0], dtype)
    loss, gradient = fastnorm.l1_loss(smallest, np.zeros_like(smallest), reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, np.abs(smallest))
    np.testing.assert_array_equal(gradient, [1, -1, 1, 0])


def test_a_huber_loss_beyond_float32_does_not_spoil_the_mean(implementation: str) -> None:
    prediction = np.zeros(1 << 10, np.float32)
    prediction[5] = 1e20
    delta = np.float32(4e18)
    exact = float(delta) * (float(prediction[5]) - float(delta) / 2) / 1024
    loss = fastnorm.huber_loss(prediction, np.zeros_like(prediction), delta=float(delta))
    np.testing.assert_allclose(loss, exact, rtol=1e-6)


def test_no_limit_is_the_absolute_error(native: ModuleType, rng: np.random.Generator) -> None:
    x, target = rng.standard_normal((2, 1000)).astype(np.float32)
    for one, other in zip(
        fastnorm.smooth_l1_loss(x, target, beta=0.0, return_grad=True),
        fastnorm.l1_loss(x, target, return_grad=True),
        strict=True,
    ):
        assert_same_bits(np.asarray(one), np.asarray(other))


def test_nan_and_infinite_differences(implementation: str) -> None:
    x = np.array([math.nan, math.inf, -math.inf, 1.0])
    for function in (fastnorm.l1_loss, fastnorm.huber_loss, fastnorm.smooth_l1_loss):
        loss, gradient = function(x, np.zeros(4), reduction="none", return_grad=True)
        np.testing.assert_array_equal(loss[:3], [math.nan, math.inf, math.inf])
        np.testing.assert_array_equal(gradient, [math.nan, 1, -1, 1])


# ---- the cross entropy of a sigmoid -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_digits_of_a_cross_entropy(dtype: Any, native: ModuleType, rng: np.random.Generator) -> None:
    """Within the contract of exact values wherever results are normal numbers."""
    mp = pytest.importorskip("mpmath")
    z = np.concatenate([rng.uniform(-1, 1, 100), rng.uniform(-30, 30, 200), rng.uniform(-80, 80, 60)])
    z = z.astype(dtype)
    for y in (0, 1):
        target = np.full_like(z, y)
        loss, gradient = fastnorm.bce_with_logits(z, target, reduction="none", return_grad=True)
        for index, value in enumerate(z):
            with mp.workprec(300):
                q = 1 / (1 + mp.exp(mp.mpf(float(value)) * (1 if y else -1)))  # of the other class
                exact = -mp.log1p(-q), -q if y else q
                for got, wanted in zip((loss, gradient), exact, strict=True):
                    allowed = CROSS_ENTROPY.bound * ulp(np.float64(wanted), np.dtype(dtype))
                    assert abs(float(wanted - float(got[index]))) <= allowed, (value, y)


def test_infinite_logits_of_a_cross_entropy(implementation: str) -> None:
    z, y = np.array([math.inf, -math.inf, math.inf, -math.inf, math.nan]), np.array([1, 0, 0, 1, 1])
    loss, gradient = fastnorm.bce_with_logits(z, y, reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, [0, 0, math.inf, math.inf, math.nan])
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1, math.nan])


def broadcast_weights(shape: tuple[int, ...], rng: np.random.Generator) -> list[Any]:
    found: list[Any] = [None, 1.5, rng.random(shape), np.asfortranarray(rng.random(shape))]
    return [*found, rng.random(shape[-1:]), rng.random((*shape[:-1], 1))]


@pytest.mark.parametrize("shape", [(9, 5), (40, 64), (3, 4, 33), (70, 3, 16), (2, 17_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_weights_broadcast(
    dtype: Any, shape: tuple[int, ...], implementation: str, rng: np.random.Generator
) -> None:
    """Of any layout: each loss and gradient is that without weights, times weights."""
    z, y = rng.standard_normal(shape).astype(dtype), rng.integers(0, 2, shape)
    wide = z.astype(np.float64)
    losses, slopes = fastnorm.bce_with_logits(wide, y, reduction="none", return_grad=True)
    unit = 2.0 ** -(np.finfo(dtype).nmant + 1)
    compute = np.float64 if dtype == np.float64 else np.float32
    choices = broadcast_weights(shape, rng)
    for weight, pos_weight in [*zip(choices, choices[1:] + choices[:1], strict=True), (None, choices[4])]:
        given = {
            name: value if value is None or isinstance(value, float) else value.astype(compute)
            for name, value in (("weight", weight), ("pos_weight", pos_weight))
        }
        one, positive = (1.0 if value is None else value for value in given.values())
        factor = one * np.where(y == 1, positive, 1.0)
        loss, gradient = fastnorm.bce_with_logits(z, y, reduction="none", return_grad=True, **given)
        assert loss.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(loss.astype(float), losses * factor, rtol=30 * unit, atol=1e-7)
        np.testing.assert_allclose(gradient.astype(float), slopes * factor, rtol=30 * unit, atol=1e-7)
        mean, share = fastnorm.bce_with_logits(z, y, return_grad=True, **given)
        assert abs(float(mean) - np.mean(losses * factor)) <= 30 * unit * np.mean(losses * factor)
        for relay in LAYOUTS.values():
            again, dz = fastnorm.bce_with_logits(relay(z), relay(y), return_grad=True, **given)
            np.testing.assert_allclose(again, mean, rtol=8 * unit if implementation == "reference" else 0)
            np.testing.assert_array_equal(dz, share)
        assert_same_bits(fastnorm.bce_with_logits_backward(1.0, z, y, **given), share)


def test_losses_of_pytorch(implementation: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, target, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 6)), rng.random((40, 6))
    weights = {"weight": rng.random((40, 1)), "pos_weight": rng.random(6)}
    calls = [
        ("l1_loss", "l1_loss", target, {}),
        ("huber_loss", "huber_loss", target, {"delta": 0.7}),
        ("smooth_l1_loss", "smooth_l1_loss", target, {"beta": 0.7}),
        ("bce_with_logits", "binary_cross_entropy_with_logits", y, {}),
        ("bce_with_logits", "binary_cross_entropy_with_logits", y, weights),
    ]
    for name, other, goal, keywords in calls:
        for reduction in ("mean", "sum", "none"):
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            options = {
                k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in keywords.items()
            }
            expected = getattr(functional, other)(
                tensor, torch.from_numpy(goal), reduction=reduction, **options
            )
            expected.sum().backward()
            loss, gradient = getattr(fastnorm, name)(
                x, goal, reduction=reduction, return_grad=True, **keywords
            )
            np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-13)
            np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-13, atol=1e-16)
