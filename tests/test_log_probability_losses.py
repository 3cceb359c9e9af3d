"""nll_loss and kl_div, of log probabilities: values that have no logarithm, reductions, ignored rows."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]
INF = math.inf


def log_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int = -1) -> Array:
    return np.asarray(fastnorm.log_softmax(rng.standard_normal(shape), axis=axis))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_against_indexing(
    weighted: bool, axis: int, dtype: Any, implementation: str, rng: np.random.Generator
) -> None:
    """Loss and gradient of each reduction, with ignored rows and weights, the classes along any axis."""
    x = log_probabilities(rng, (6, 5, 7), axis).astype(dtype)
    rows = np.moveaxis(x, axis, -1)
    classes = rows.shape[-1]
    target = rng.integers(0, classes, rows.shape[:-1])
    target[0, :2] = -100
    weight = rng.random(classes).astype(np.float32 if dtype != np.float64 else dtype) if weighted else None
    counted = target != -100
    known = np.where(counted, target, 0)
    factors = counted * (np.ones(classes) if weight is None else weight.astype(np.float64))[known]
    chosen = np.take_along_axis(rows, known[..., None], -1)[..., 0]
    losses = np.where(counted, -factors * chosen.astype(np.float64), 0)
    hot = (target[..., None] == np.arange(classes)) * -factors[..., None]
    for reduction, divisor in (("none", 1), ("sum", 1), ("mean", factors.sum())):
        expected = losses if reduction == "none" else losses.sum() / divisor
        loss, grad = fastnorm.nll_loss(
            x, target, weight=weight, axis=axis, reduction=reduction, return_grad=True
        )
        eps = float(np.finfo(np.float32).eps) if x.dtype.itemsize == 2 else np.finfo(x.dtype).eps
        tolerance = {2: 2.0**-8, 4: 4 * eps, 8: 4 * eps}[x.dtype.itemsize]
        np.testing.assert_allclose(np.asarray(loss, np.float64), expected, rtol=tolerance)
        slopes = np.moveaxis(hot / divisor, -1, axis)
        np.testing.assert_allclose(grad.astype(np.float64), slopes, rtol=tolerance, atol=0)
        dloss = np.ones_like(loss) if reduction == "none" else 1.0
        again = fastnorm.nll_loss_backward(dloss, x, target, weight=weight, axis=axis, reduction=reduction)
        assert_same_bits(again, grad)
        alone = fastnorm.nll_loss(x, target, weight=weight, axis=axis, reduction=reduction)
        assert_same_bits(np.asarray(alone), np.asarray(loss))


def test_nll_of_nothing(backend: str) -> None:
    x = np.log(np.full((3, 2), 0.5))
    loss, grad = fastnorm.nll_loss(x, [-100] * 3, return_grad=True)
    assert math.isnan(loss)
    assert not grad.any()
    loss, grad = fastnorm.nll_loss(x, [0, 1, 1], weight=[0.0, 0.0], return_grad=True)
    assert math.isnan(loss)
    np.testing.assert_array_equal(np.isnan(grad), [[True, False], [False, True], [False, True]])
    assert math.isnan(fastnorm.nll_loss(x[:0], np.zeros(0, int)))
    assert fastnorm.nll_loss(x[:0], np.zeros(0, int), reduction="sum") == 0


def test_nll_reads_the_class_alone(backend: str) -> None:
    """Other log probabilities may be anything."""
    x = np.array([[math.nan, -0.25, -INF], [-INF, math.nan, math.nan]])
    np.testing.assert_array_equal(fastnorm.nll_loss(x, [1, 0], reduction="none"), [0.25, INF])
    assert math.isnan(fastnorm.nll_loss(x, [0, 0]))
    assert fastnorm.nll_loss(x, [1, -100]) == 0.25


def test_nll_is_what_cross_entropy_is(implementation: str, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((50, 9))
    target = rng.integers(0, 9, 50)
    np.testing.assert_allclose(
        fastnorm.nll_loss(fastnorm.log_softmax(logits), target),
        fastnorm.cross_entropy(logits, target),
        rtol=1e-14,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_of_single_numbers(
    log_target: bool, dtype: Any, implementation: str, rng: np.random.Generator
) -> None:
    """Targets of every size, subnormal ones among them, against exact values."""
    info = np.finfo(dtype)
    powers = rng.uniform(math.log2(float(info.tiny)) - 20, 1, 300)
    target = (powers * math.log(2) if log_target else np.exp2(powers)).astype(dtype)
    target[:4] = (
        [-INF, 0, -700, 1e-30] if log_target else [0, 1, info.smallest_subnormal, math.sqrt(info.max)]
    )
    x = (-rng.exponential(5, 300)).astype(dtype)
    got, slopes = fastnorm.kl_div(x, target, reduction="none", log_target=log_target, return_grad=True)
    with mpmath.workprec(200):
        for i in range(300):
            a, t = mpmath.mpf(float(x[i])), mpmath.mpf(float(target[i]))
            y = mpmath.exp(t) if log_target else t
            logarithm = t if log_target else mpmath.log(t) if t > 0 else mpmath.mpf(0)
            loss, scale = (y * (logarithm - a), y * (abs(logarithm) + abs(a))) if y > 0 else (0, 0)
            least = mpmath.mpf(float(info.smallest_subnormal))
            bound = 4 * float(info.eps) * scale + 4 * least * (1 + abs(a) + abs(logarithm))
            assert abs(mpmath.mpf(float(got[i])) - loss) <= bound
            assert abs(mpmath.mpf(float(slopes[i])) + y) <= 4 * float(info.eps) * y + 2 * least


def test_kl_special_values(backend: str) -> None:
    nan = math.nan
    x = np.array([-INF, -1.0, nan, -1.0, -INF, -1.0])
    y = np.array([0.0, 0.0, 0.0, -0.5, 0.5, nan])
    loss, grad = fastnorm.kl_div(x, y, reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, [0, 0, nan, nan, INF, nan])
    np.testing.assert_array_equal(grad, -y)
    logs = np.array([-INF, -INF, -INF, INF, 0.0, nan])
    loss, grad = fastnorm.kl_div(x, logs, reduction="none", log_target=True, return_grad=True)
    np.testing.assert_array_equal(loss, [0, 0, nan, INF, INF, nan])
    np.testing.assert_array_equal(grad, [0, 0, 0, -INF, -1, nan])


@pytest.mark.parametrize("shape", [(4, 6), (4,), (3, 2, 5), ()], ids=str)
def test_kl_reductions(shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    x, y = -np.asarray(rng.exponential(1, shape)), np.asarray(rng.random(shape))
    each = fastnorm.kl_div(x, y, reduction="none")
    np.testing.assert_allclose(each, y * (np.log(y) - x), rtol=1e-13, atol=1e-15)
    for reduction, divisor in (("sum", 1), ("mean", x.size), ("batchmean", shape[0] if shape else 1)):
        loss, grad = fastnorm.kl_div(x, y, reduction=reduction, return_grad=True)  # type: ignore[call-overload]
        np.testing.assert_allclose(loss, each.sum() / divisor, rtol=1e-13)
        np.testing.assert_allclose(grad, -y / divisor, rtol=1e-15)
        assert_same_bits(fastnorm.kl_div_backward(1.0, x, y, reduction=reduction), grad)  # type: ignore[arg-type]
    assert math.isnan(fastnorm.kl_div(x[..., None][..., :0], y[..., None][..., :0]))


def test_only_kl_has_batchmean(backend: str) -> None:
    with pytest.raises(ValueError, match="mse_loss: reduction is 'batchmean'"):
        fastnorm.mse_loss(np.ones(2), np.ones(2), reduction="batchmean")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"kl_div: reduction is 'median', needs .*batchmean"):
        fastnorm.kl_div(np.ones(2), np.ones(2), reduction="median")  # type: ignore[call-overload]


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # of kl_div's mean
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pytorch(dtype: Any, backend: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, y = log_probabilities(rng, (20, 11)).astype(dtype), rng.random((20, 11)).astype(dtype)
    target, weight = rng.integers(0, 11, 20), rng.random(11).astype(dtype)
    target[3] = -100
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    for reduction in ("mean", "sum", "none", "batchmean"):
        for logs in (False, True):
            expected = functional.kl_div(
                torch.tensor(x), torch.tensor(np.log(y) if logs else y), reduction=reduction, log_target=logs
            )
            got = fastnorm.kl_div(x, np.log(y) if logs else y, reduction=reduction, log_target=logs)  # type: ignore[call-overload]
            np.testing.assert_allclose(got, expected.numpy(), rtol=rtol, atol=rtol)
        if reduction != "batchmean":
            expected = functional.nll_loss(
                torch.tensor(x), torch.tensor(target), weight=torch.tensor(weight), reduction=reduction
            )
            got = fastnorm.nll_loss(x, target, weight=weight, reduction=reduction)  # type: ignore[call-overload]
            np.testing.assert_allclose(got, expected.numpy(), rtol=rtol)
