"""NaN, infinity, zeros and subnormal numbers."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import SMALLEST, ulp
from fastnorm._specs.spec import Spec, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label
from tolerances import assert_same_bits, assert_within

Array = NDArray[Any]
FORMS: tuple[Any, ...] = ("none", "tanh", "sigmoid")
LENGTHS = (1, 5, 64, 100, 1000)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_limits_of_gelu(dtype: np.dtype[Any], form: Any, implementation: str) -> None:
    """NaN in, NaN out; the limits at infinity; the sign of zero; large numbers as they are."""
    largest = 3e38 if dtype.name in ("float32", "bfloat16") else 6e4 if dtype.name == "float16" else 1.7e308
    x = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, largest, -largest, 600.0, -600.0]).astype(dtype)
    expected = np.array([math.nan, math.inf, -0.0, 0.0, -0.0, largest, -0.0, 600.0, -0.0]).astype(dtype)
    slopes = np.array([math.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0]).astype(dtype)
    for repeat in (1, 2, 5, 23):  # in a vector and in the tail after the last whole one
        y = fastnorm.gelu(np.tile(x, repeat), approximate=form)
        wanted = np.tile(expected, repeat)
        np.testing.assert_array_equal(np.isnan(y.astype(float)), np.isnan(wanted.astype(float)))
        known = ~np.isnan(wanted.astype(float))
        assert_same_bits(y[known], wanted[known])
        dx = fastnorm.gelu_backward(np.ones(x.size * repeat, dtype), np.tile(x, repeat), approximate=form)
        wanted = np.tile(slopes, repeat).astype(float)
        # The limits are exact; the derivative at zero has the accuracy of any other.
        assert_within(np.abs(dx), wanted, np.where(wanted == 0.5, 2 * ulp(wanted, dtype), 0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_subnormal_results_of_gelu(name: str, form: Any, implementation: str) -> None:
    """gelu(x) is x / 2 to the last bit for small x, and neither flushes to zero nor traps where it is
    subnormal.
    """
    smallest = SMALLEST[name]
    for sign in (1, -1):
        x = (sign * smallest * np.array([2.0, 4.0, 6.0, 1000.0, 2.0**20])).astype(name)
        np.testing.assert_array_equal(fastnorm.gelu(x, approximate=form), x / 2)
        slope = fastnorm.gelu_backward(np.ones_like(x), x, approximate=form)
        assert_within(slope, np.full(5, 0.5), 2 * ulp(np.full(5, 0.5), x.dtype))
    tail = np.array([-13.2, -13.7, -14.2]).astype(name)
    y = fastnorm.gelu(tail)
    assert (y < 0).all()
    assert (np.diff(y) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_nan_of_gelu_backward(dtype: np.dtype[Any], implementation: str) -> None:
    nan, one = np.array([math.nan], dtype), np.array([1.0], dtype)
    for form in FORMS:
        assert np.isnan(fastnorm.gelu_backward(nan, one, approximate=form).astype(float)).all()
        assert np.isnan(fastnorm.gelu_backward(one, nan, approximate=form).astype(float)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_bad_rows_of_layer_norm(
    dtype: np.dtype[Any], bad: float, implementation: str, rng: np.random.Generator
) -> None:
    """A NaN or an infinity makes its whole row NaN and leaves the other rows alone."""
    for length in LENGTHS:
        x = rng.standard_normal((5, length)).astype(dtype)
        clean = fastnorm.layer_norm(x)
        for column in {0, length // 2, length - 1}:
            spoiled = x.copy()
            spoiled[2, column] = bad
            y, _, rstd = fastnorm.layer_norm(spoiled, return_stats=True)
            assert np.isnan(y[2].astype(float)).all()
            assert np.isnan(rstd[2])
            rest = [0, 1, 3, 4]
            assert_same_bits(y[rest], clean[rest])


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_bad_rows_of_rms_norm(dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """NaN spreads over its row; an infinity makes the finite elements 0 and itself NaN, as the formula has
    it.
    """
    for length in (2, 5, 64, 100, 1000):
        x = rng.standard_normal((3, length)).astype(dtype)
        x[1, length // 2] = math.nan
        y = fastnorm.rms_norm(x)
        assert np.isnan(y[1].astype(float)).all()
        assert np.isfinite(y[[0, 2]].astype(float)).all()
        x[1, length // 2] = -math.inf
        y, rstd = fastnorm.rms_norm(x, return_stats=True)
        assert rstd[1] == 0
        assert np.isnan(y[1, length // 2])
        others = np.delete(y[1].astype(float), length // 2)
        np.testing.assert_array_equal(others, np.zeros(length - 1))


def test_elements_outside_the_fraction_stay_apart(implementation: str, rng: np.random.Generator) -> None:
    """What does not enter the mean square does not spread."""
    x = rng.standard_normal((2, 100)).astype(np.float32)
    clean = fastnorm.rms_norm(x, fraction=0.25)
    x[0, 25], x[1, 99] = math.nan, math.inf
    y = fastnorm.rms_norm(x, fraction=0.25)
    assert np.isnan(y[0, 25])
    assert y[1, 99] == math.inf
    y[0, 25], y[1, 99] = clean[0, 25], clean[1, 99]
    assert_same_bits(y, clean)


def test_gradients_outside_the_fraction_stay_apart(implementation: str) -> None:
    x = np.array([[1, 2, 3, 4, np.inf]], np.float32)
    dx = fastnorm.rms_norm_backward(np.ones_like(x), x, fraction=0.4, eps=0.0)[0]
    np.testing.assert_allclose(dx[0, 2:], np.sqrt(2 / 5), rtol=1e-6)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_bad_rows_of_the_backward(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """A NaN in dy or x makes dx of its row NaN, the parameters' gradients NaN where it enters, and nothing
    else.
    """
    for length in (5, 64, 1000):
        x, dy = rng.standard_normal((2, 4, length)).astype(np.float32)
        weight = np.ones(length, np.float32)
        clean, *_ = spec.backward(dy, x, weight, weight)
        spoiled = dy.copy()
        spoiled[1, 2] = math.nan
        dx, dweight, dbias = spec.backward(spoiled, x, weight, weight)
        assert np.isnan(dx[1]).all()
        assert_same_bits(dx[[0, 2, 3]], clean[[0, 2, 3]])
        assert np.flatnonzero(np.isnan(dweight)).tolist() == [2]
        assert np.flatnonzero(np.isnan(dbias)).tolist() == [2]
        spoiled = x.copy()
        spoiled[3, 0] = math.nan
        dx, dweight, dbias = spec.backward(dy, spoiled, weight, weight)
        assert np.isnan(dx[3]).all()
        assert np.isnan(dweight).all()
        assert np.isfinite(dbias).all()
        assert_same_bits(dx[:3], clean[:3])


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_no_variance_and_no_eps(spec: Spec, implementation: str) -> None:
    """0 / 0 is NaN and 1 / 0 is infinity, without a warning."""
    for length in LENGTHS:
        x = np.zeros((2, length), np.float32)
        y, *_, rstd = spec.forward(x, eps=0.0, return_stats=True)
        assert np.isnan(y).all()
        assert np.isinf(rstd).all()


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_special_parameters(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """NaN and infinity in weight and bias reach their columns only; a weight of 0 gives the bias."""
    x = rng.standard_normal((3, 70)).astype(np.float32)
    weight, bias = np.ones((2, 70), np.float32)
    weight[3], bias[5], weight[69], weight[11] = math.nan, math.nan, math.inf, 0
    y = spec.forward(x, weight, bias)
    assert np.flatnonzero(np.isnan(y).all(axis=0)).tolist() == [3, 5]
    assert np.isinf(y[:, 69]).all()
    np.testing.assert_array_equal(y[:, 11], np.ones(3))
    assert np.isfinite(np.delete(y, [3, 5, 69], axis=1)).all()


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_every_element_is_written(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """Finite inputs leave nothing of what was in `out`, nor of what was in the memory of a fresh result."""
    variant = spec.variants[0]
    for dtype in DTYPES.values():
        for shape in ((1, 1), (3, 7), (4, 64), (5, 129), (2, 4097), (2000, 3)):
            inputs = spec.make_inputs(rng, shape, dtype, variant)
            out = np.full(shape, math.nan, dtype)
            assert np.isfinite(spec.forward(*inputs, **variant.keywords, out=out).astype(float)).all()
            for gradient in as_tuple(spec.backward(inputs[0], *inputs, **variant.keywords)):
                assert np.isfinite(gradient.astype(float)).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_gradients_of_single_values(
    dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Less its mean a single value is 0, whatever it is: so is its gradient, exactly, or NaN where an
    argument is not finite. Of the norms of a sum the gradient of the sum is left.
    """
    x, residual, dy, dsummed = (rng.standard_normal((6, 1)).astype(dtype) for _ in range(4))
    x *= dtype.type(100)
    dy[1], x[2], dy[3] = math.inf, math.nan, 60000.0
    (weight,) = rng.standard_normal((1, 1)).astype(dtype)
    bad = np.array([0, 1, 1, 0, 0, 0], bool)
    for gradient in (
        fastnorm.layer_norm_backward(dy, x, weight, weight)[0],
        fastnorm.layer_norm_backward(dy, x)[0],
        fastnorm.layer_norm_backward(dy, x, stats=fastnorm.layer_norm(x, return_stats=True)[1:], eps=1e-12)[
            0
        ],
        fastnorm.group_norm_backward(dy, x, 1, weight)[0],
        fastnorm.group_norm_backward(dy.reshape(1, 6), x.reshape(1, 6), 6, np.repeat(weight, 6))[0],
        fastnorm.instance_norm_backward(dy[..., None], x[..., None], weight)[0],
        fastnorm.deep_norm_backward(dy, x, residual, weight, None, alpha=0.5)[0],
        fastnorm.add_layer_norm_backward(dy, None, x, residual, weight, weight)[1],
    ):
        flat = gradient.astype(np.float64).ravel()
        np.testing.assert_array_equal(flat, np.where(bad, math.nan, 0.0))
    dx, dresidual, dweight, dbias = fastnorm.add_layer_norm_backward(
        dy, dsummed, x, residual, weight, weight, alpha=0.5
    )
    left = np.where(bad, math.nan, dsummed.astype(np.float64).ravel())
    np.testing.assert_array_equal(dx.astype(np.float64).ravel(), left)
    np.testing.assert_array_equal(
        dresidual.astype(np.float64).ravel(), (0.5 * left).astype(dtype).astype(np.float64)
    )
    assert np.isnan(dweight).all()
    assert np.isinf(dbias).all()
    (_, dweight, dbias) = fastnorm.layer_norm_backward(dy[4:], x[4:], weight, weight)
    assert dweight == 0
    assert_within(dbias, dy[4:].astype(np.float64).sum(axis=0), np.full(1, 1e-6))
    poisoned = fastnorm.layer_norm_backward(dy[4:], x[4:], np.full(1, math.nan, dtype))[0]
    assert np.isnan(poisoned.astype(np.float64)).all()


def test_signalling_of_floating_point_errors(implementation: str) -> None:
    """Nothing is reported, even where NumPy is asked to raise."""
    with np.errstate(all="raise"):
        fastnorm.gelu(np.array([-1e30, 1e30, math.inf, math.nan, -14.2], np.float32))
        fastnorm.layer_norm(np.array([[3e38, -3e38], [1e-40, 0]], np.float32))
        fastnorm.rms_norm(np.zeros((2, 3), np.float32), eps=0.0)
        fastnorm.rms_norm(
            np.array([[6e4, 1.0]], np.float16), np.array([6e4, 6e4], np.float16), weight_offset=6e4
        )
