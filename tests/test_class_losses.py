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
from fastnorm import reference
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


@pytest.mark.parametrize("label", [2**64 - 100, 2**64 - 1, 2**63])
@pytest.mark.parametrize("op", ["cross_entropy", "poly_loss", "focal_loss"])
def test_unsigned_labels_beyond_int64_are_classes_out_of_range(op: str, label: int, backend: str) -> None:
    # As int64 the first is ignore_index.
    labels = np.array([label, 1], np.uint64)
    with pytest.raises(ValueError, match=f"target has the class {label}"):
        getattr(fastnorm, op)(np.zeros((2, 3)), labels)
    with pytest.raises(ValueError, match=f"target has the class {label}"):
        getattr(fastnorm, f"{op}_backward")(1.0, np.zeros((2, 3)), labels)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "u8", "q", "Q", ">i8", ">u2"])
def test_labels_of_any_integer_type(dtype: str, backend: str) -> None:
    logits = np.arange(6.0).reshape(2, 3)
    expected = fastnorm.cross_entropy(logits, np.array([2, 1]), ignore_index=1)
    given = np.array([2, 1]).astype(dtype)
    assert fastnorm.cross_entropy(logits, given, ignore_index=1) == expected


# linear_cross_entropy


def classifier(rng: np.random.Generator, rows: int, size: int, classes: int, dtype: Any = np.float32) -> Any:
    """x, a weight of variance 1/in, classes of which some are ignored, and a bias."""
    x, bias = rng.standard_normal((rows, size)), rng.standard_normal(classes)
    weight = rng.standard_normal((size, classes)) / math.sqrt(size)
    target = rng.integers(0, classes, rows)
    target[3::5] = -100
    return x.astype(dtype), weight.astype(dtype), target, bias.astype(dtype)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_loss_of_given_logits(
    name: str, label_smoothing: float, implementation: str, rng: np.random.Generator
) -> None:
    """As good as that of cross_entropy where maxima grow from block to block, where rows are far from 0, and
    where nearly all lies on one class, the target's or another.
    """
    steps = np.arange(1300.0)
    rows = [
        *(steps / 10, -steps / 10, 3 * steps, steps - 5000, steps + 5000, -3 * steps - 700),
        *(np.where(steps == column, peak, 0) for column, peak in ((700, 40.0), (3, 90.0), (1299, 1e4))),
        *(np.where(steps < 600, -np.inf, 1.0), np.where(steps < 1200, -1e36, 1e36), np.full(1300, -1e30)),
        rng.standard_normal(1300),
    ]
    for row in rows:
        logits = row.astype(name)[None]
        # The twin in float64 rounds each distance, and adds them in another order.
        spread = np.ptp(row[np.isfinite(row)])
        unit = 2.0**-24 if name == "float32" else 2.0**-53 * (row.size + spread)
        smallest = np.finfo(name).tiny  # a gradient that is subnormal is 0
        for target in (700, 3, 1299, 0, 650):
            exact, dexact = reference.cross_entropy(
                logits.astype(np.float64), [target], label_smoothing=label_smoothing, return_grad=True
            )
            loss, _, dweight, _ = fastnorm.linear_cross_entropy(
                np.ones((1, 1), name), logits, [target], label_smoothing=label_smoothing, return_grad=True
            )
            assert loss == exact or abs(loss - exact) <= 16 * unit * abs(exact)
            if np.isfinite(exact):
                share = label_smoothing / row.size
                assert np.all(np.abs(dweight - dexact) <= 16 * unit * (np.abs(dexact) + share) + smallest)


def test_special_logits(implementation: str) -> None:
    """NaN and infinity make a row's loss NaN, as in cross_entropy, and leave the other rows alone."""
    logits = np.zeros((5, 700), np.float32)
    logits[0, 650], logits[1, 3], logits[2] = np.nan, np.inf, -np.inf
    target = np.array([1, 3, 0, 5, -100])
    expected = fastnorm.cross_entropy(logits, target, reduction="none")
    losses = [
        fastnorm.linear_cross_entropy(np.ones((1, 1), np.float32), row[None], [t], reduction="none")[0]
        for row, t in zip(logits, target, strict=True)
    ]
    np.testing.assert_array_equal(np.isnan(losses), [True, True, True, False, False])
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


@pytest.mark.parametrize(("rows", "size", "classes"), [(300, 20, 1100), (100, 40, 33_000), (70, 20, 33_000)])
def test_layer_and_loss_in_one(
    rows: int, size: int, classes: int, native: ModuleType, rng: np.random.Generator
) -> None:
    """With the logits in one block, in dweight and in several: near linear and cross_entropy, with and
    without gradients, and equal bits for any number of threads, layout, and batch.
    """
    x, weight, target, bias = classifier(rng, rows, size, classes)
    logits = fastnorm.linear(x, weight, bias)
    loss, dlogits = fastnorm.cross_entropy(logits, target, return_grad=True)
    expected = fastnorm.linear_backward(dlogits, x, weight, bias)
    with fastnorm.threads(1):
        got, *gradients = fastnorm.linear_cross_entropy(x, weight, target, bias, return_grad=True)
    np.testing.assert_allclose(got, loss, rtol=1e-6)
    for one, other in zip(gradients, expected, strict=True):
        assert np.linalg.norm(one - other) <= 1e-6 * np.linalg.norm(other)
    np.testing.assert_array_equal(gradients[0][3::5], 0)
    layouts = (x, weight), (np.asfortranarray(x), np.asfortranarray(weight)), (x[::-1].copy()[::-1], weight)
    for threads in (1, 2, 3):
        with fastnorm.threads(threads):
            assert fastnorm.linear_cross_entropy(x, weight, target, bias) == got
            for one, other in layouts:
                again = fastnorm.linear_cross_entropy(one, other, target, bias, return_grad=True)
                assert again[0] == got
                for a, b in zip(again[1:], gradients, strict=True):
                    assert_same_bits(a, b)
    dx, dweight, dbias = fastnorm.linear_cross_entropy_backward(1.0, x, weight, target, bias)
    for a, b in zip((dx, dweight, dbias), gradients, strict=True):
        assert_same_bits(a, b)
    losses = fastnorm.linear_cross_entropy(x, weight, target, bias, reduction="none")
    for chosen in (slice(0, 1), slice(7, 20), slice(60, 61)):
        some, dsome, *_ = fastnorm.linear_cross_entropy(
            x[chosen], weight, target[chosen], bias, reduction="none", return_grad=True
        )
        assert_same_bits(some, losses[chosen])
        _, dall, *_ = fastnorm.linear_cross_entropy(
            x, weight, target, bias, reduction="sum", return_grad=True
        )
        assert_same_bits(dsome, dall[chosen])


def test_axes_of_rows(backend: str, rng: np.random.Generator) -> None:
    """Leading axes are rows, in any order of memory; one row alone gives a scalar."""
    x, weight, target, bias = classifier(rng, 24, 6, 7)
    losses, dx, dweight, dbias = fastnorm.linear_cross_entropy(
        x, weight, target, bias, reduction="none", return_grad=True
    )
    moved = np.moveaxis(x.reshape(2, 3, 4, 6), 2, 0).copy()
    of_axes = fastnorm.linear_cross_entropy(
        np.moveaxis(moved, 0, 2), weight, target.reshape(2, 3, 4), bias, reduction="none", return_grad=True
    )
    for got, expected in zip(of_axes, (losses, dx, dweight, dbias), strict=True):
        assert got.shape == (expected.shape if got.ndim == 2 and got.shape[0] == 6 else got.shape)
        assert_same_bits(got.reshape(expected.shape), expected)
    one = fastnorm.linear_cross_entropy(x[0], weight, target[0], bias, reduction="none")
    assert isinstance(one, np.float32)
    assert one == losses[0]


def test_no_features(backend: str) -> None:
    """The logits are the bias."""
    bias = np.array([0.0, 1.0, 2.0])
    loss, dx, dweight, dbias = fastnorm.linear_cross_entropy(
        np.empty((2, 0)), np.empty((0, 3)), [0, 2], bias, return_grad=True
    )
    expected, dlogits = fastnorm.cross_entropy(np.tile(bias, (2, 1)), [0, 2], return_grad=True)
    np.testing.assert_allclose(loss, expected, rtol=1e-15)
    assert dx.shape == (2, 0)
    assert dweight.shape == (0, 3)
    np.testing.assert_allclose(dbias, dlogits.sum(0), rtol=1e-14)


def test_nothing_to_average_over_a_layer(implementation: str) -> None:
    for rows, target in ((2, [-100, -100]), (0, np.empty(0, int))):
        x, weight = np.ones((rows, 3)), np.ones((3, 4))
        loss, *gradients = fastnorm.linear_cross_entropy(x, weight, target, np.ones(4), return_grad=True)
        assert np.isnan(loss)
        for gradient, shape in zip(gradients, ((rows, 3), (3, 4), (4,)), strict=True):
            np.testing.assert_array_equal(gradient, np.zeros(shape))
        assert fastnorm.linear_cross_entropy(x, weight, target, reduction="sum") == 0


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"weight": np.ones((4, 5))}, ValueError, r"weight has shape \(4, 5\), needs \(3, out\)"),
        ({"weight": np.ones((3, 0))}, ValueError, r"weight has shape \(3, 0\), needs at least one class"),
        ({"target": [0, 4]}, ValueError, "target has the class 4, needs 0 to 3, or ignore_index -100"),
        ({"target": [0, 1, 2]}, ValueError, r"target has shape \(3,\), needs \(2,\)"),
        ({"target": np.ones((2, 4))}, TypeError, "target has dtype float64, needs integer classes"),
        ({"bias": np.ones(3)}, ValueError, r"bias has shape \(3,\), needs \(4,\)"),
        ({"x": np.float64(1)}, ValueError, "x has no axes"),
        ({"label_smoothing": 2.0}, ValueError, "label_smoothing is 2.0, needs at most 1"),
    ],
)
def test_bad_arguments_of_a_classifier(
    changed: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments: dict[str, Any] = {"x": np.ones((2, 3)), "weight": np.ones((3, 4)), "target": [0, 1]}
    with pytest.raises(error, match=f"linear_cross_entropy: {message}"):
        fastnorm.linear_cross_entropy(**{**arguments, **changed})
    with pytest.raises(error, match=f"linear_cross_entropy_backward: {message}"):
        fastnorm.linear_cross_entropy_backward(1.0, **{**arguments, **changed})
    with pytest.raises(TypeError, match="dloss has dtype float32, needs float64 as x"):
        fastnorm.linear_cross_entropy_backward(np.float32(1), **arguments)
