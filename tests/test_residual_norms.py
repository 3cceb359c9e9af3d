"""What is special about the norms of a sum: one gradient for two arguments, pairs as `out`, means far
away.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import UNIT_ROUNDOFF, norm_bound
from fastnorm._specs.spec import GRADIENT, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits, assert_within, relative_error

Array = NDArray[Any]
F32 = np.float32


def arrays(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: Any = F32) -> list[Array]:
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("op", ["layer_norm", "rms_norm"])
def test_y_is_the_norm_of_the_returned_sum(
    op: str, name: str, native: ModuleType, rng: np.random.Generator
) -> None:
    """To the bit, in the types that the sum is not rounded from, while the mean is near."""
    for shape in ((3, 64), (37, 130), (2, 3, 1029)):
        x, residual = arrays(rng, shape, 2, name)
        weight = rng.standard_normal(shape[-1]).astype(name)
        y, summed = getattr(fastnorm, f"add_{op}")(x, residual, weight, alpha=2.0)
        assert_same_bits(summed, x + 2 * residual)
        assert_same_bits(y, getattr(fastnorm, op)(summed, weight))


@pytest.mark.parametrize("distance", [1.0, 2.5, 1e2, 1e4, 1e6])
def test_far_mean(distance: float, implementation: str, rng: np.random.Generator) -> None:
    """The bound of layer_norm holds for the exact sum, which float32 cannot hold, and so does that of the
    backward.
    """
    for shape in ((7, 64), (5, 770), (4, 4099)):
        x, residual, dy, dsummed = arrays(rng, shape, 4)
        x = (x + distance).astype(F32)
        weight, bias = arrays(rng, shape[-1:], 2)
        y, summed = fastnorm.add_layer_norm(x, residual, weight, bias, alpha=0.5)
        exact_sum = x.astype(np.float64) + 0.5 * residual.astype(np.float64)
        assert_within(
            summed, exact_sum, 0.5 * np.spacing(np.abs(exact_sum).astype(F32)).astype(np.float64) * 1.0001
        )
        xhat = (exact_sum - exact_sum.mean(axis=1, keepdims=True)) / np.sqrt(
            exact_sum.var(axis=1, keepdims=True) + 1e-5
        )
        product = xhat * weight
        assert_within(y, product + bias, norm_bound(product, weight, bias, x.dtype))
        wide = [a.astype(np.float64) for a in (dy, dsummed, x, residual, weight, bias)]
        got = fastnorm.add_layer_norm_backward(dy, dsummed, x, residual, weight, bias, alpha=0.5)
        with fastnorm.backend("reference"):
            exact = fastnorm.add_layer_norm_backward(*wide, alpha=0.5)
        for gradient, expected in zip(got, exact, strict=True):
            assert gradient is not None
            assert expected is not None
            assert relative_error(gradient, expected) <= GRADIENT.bound


def test_sums_that_overflow(backend: str) -> None:
    """y of a sum beyond the largest float, which `summed` cannot hold."""
    x = np.array([[3e38, -3e38, 1e38, 0.0]], F32)
    y, summed = fastnorm.add_layer_norm(x, x)
    np.testing.assert_array_equal(np.isinf(summed), [[True, True, False, False]])
    np.testing.assert_allclose(y, fastnorm.layer_norm(x.astype(np.float64)), rtol=1e-6)
    assert np.isnan(fastnorm.add_layer_norm(x, np.full_like(x, np.nan))[0]).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("op", ["add_layer_norm", "add_rms_norm"])
def test_either_gradient_may_be_absent(
    op: str, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """None is zeros; without dy nothing but the sum matters, whatever x holds."""
    x, residual, dy, dsummed = arrays(rng, (37, 70), 4, dtype)
    weight = np.ones(70, dtype)
    backward = getattr(fastnorm, f"{op}_backward")
    both = backward(dy, dsummed, x, residual, weight, alpha=2.5)
    first = backward(dy, None, x, residual, weight, alpha=2.5)
    for got, expected in zip(
        first[:2], backward(dy, np.zeros_like(dy), x, residual, weight, alpha=2.5), strict=False
    ):
        np.testing.assert_array_equal(got, expected)
    assert_same_bits(first[2], both[2])
    x[3] = np.nan
    dx, dresidual, dweight, *_ = backward(None, dsummed, x, residual, weight, alpha=2.5)
    assert_same_bits(dx, dsummed)
    assert_same_bits(dresidual, (2.5 * dsummed.astype(np.float64)).astype(dtype))
    np.testing.assert_array_equal(dweight, np.zeros(70))
    with pytest.raises(TypeError, match="dy is None and so is dsummed"):
        backward(None, None, x, residual, weight)


def test_deep_norm_is_add_layer_norm(backend: str, rng: np.random.Generator) -> None:
    x, residual, dy = arrays(rng, (9, 64), 3)
    weight = rng.standard_normal(64).astype(F32)
    assert_same_bits(
        fastnorm.deep_norm(x, residual, weight, alpha=3.7),
        fastnorm.add_layer_norm(x, residual, weight, alpha=3.7)[0],
    )
    got = fastnorm.deep_norm_backward(dy, x, residual, weight, alpha=3.7)
    for one, other in zip(
        got, fastnorm.add_layer_norm_backward(dy, None, x, residual, weight, alpha=3.7), strict=True
    ):
        if one is None or other is None:
            assert one is other
        else:
            assert_same_bits(one, other)
    with pytest.raises(TypeError, match="alpha"):
        fastnorm.deep_norm(x, residual)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="dy"):
        fastnorm.deep_norm_backward(None, x, residual, alpha=1.0)  # type: ignore[arg-type]


def test_alpha_is_rounded_as_numpy_does(backend: str, rng: np.random.Generator) -> None:
    x, residual = np.zeros((3, 50), F32), arrays(rng, (3, 50), 1)[0]
    alpha = 3.7606030930863934
    summed = fastnorm.add_layer_norm(x, residual, alpha=alpha)[1]
    assert_same_bits(summed, alpha * residual)


@pytest.mark.parametrize("op", ["add_layer_norm", "add_rms_norm"])
def test_axes(op: str, implementation: str, rng: np.random.Generator) -> None:
    """Over any axes, as the norm does; parameters in the order of `axis`."""
    norm = getattr(fastnorm, op.removeprefix("add_"))
    x, residual, dy = arrays(rng, (3, 17, 20), 3)
    for axis in (0, 1, (0, 2), (2, 0), (0, 1, 2)):
        axes = axis if isinstance(axis, tuple) else (axis,)
        weight = np.asarray(1 + rng.standard_normal([x.shape[a] for a in axes])).astype(F32)
        y, summed = getattr(fastnorm, op)(x, residual, weight, axis=axis)
        bound = 8 * UNIT_ROUNDOFF["float32"] * (np.abs(y) + np.abs(weight).max())
        assert_within(y, norm(summed, weight, axis=axis).astype(np.float64), bound)
        got = getattr(fastnorm, f"{op}_backward")(dy, None, x, residual, weight, axis=axis)
        backward = getattr(fastnorm, f"{op.removeprefix('add_')}_backward")
        expected = backward(dy, summed, weight, axis=axis)
        for one, other in zip((got[0], got[2]), expected[:2], strict=True):
            assert one.shape == other.shape
            assert relative_error(one, other.astype(np.float64)) <= 2e-6


@pytest.mark.parametrize("shape", [(5, 33), (70, 16), (3, 9000)], ids=label)
def test_out_in_place(shape: tuple[int, ...], implementation: str, rng: np.random.Generator) -> None:
    """The results may take the places of x and residual, either way round, far rows too."""
    for distance in (0.0, 50.0):
        x, residual = arrays(rng, shape, 2)
        x = (x + distance).astype(F32)
        expected = fastnorm.add_layer_norm(x, residual)
        for order in ((0, 1), (1, 0)):
            inputs = x.copy(), residual.copy()
            out = inputs[order[0]], inputs[order[1]]
            got = fastnorm.add_layer_norm(*inputs, out=out)
            for one, target, y in zip(got, out, expected, strict=True):
                assert one is target
                assert_same_bits(one, y)
        for place in (0, 1):
            inputs = x.copy(), residual.copy()
            y = np.empty_like(x)
            got = fastnorm.add_layer_norm(*inputs, out=(y, inputs[place]))
            assert_same_bits(got[0], expected[0])
            assert_same_bits(got[1], expected[1])


def test_bad_pairs(backend: str) -> None:
    """Two results in one place, or a sum in the place of what is read after it is written."""
    x, residual, weight = np.ones(12, F32), np.ones(12, F32), np.ones(12, F32)
    y = np.full(12, np.nan, F32)
    longer = np.full(20, np.nan, F32)
    for out in ((y, y), (x, x), (longer[:12], longer[6:18]), (y, weight)):
        with pytest.raises(ValueError, match="out"):
            fastnorm.add_layer_norm(x, residual, weight, out=out)
    with pytest.raises(TypeError, match=r"out has type list, needs a tuple \(y, summed\)"):
        fastnorm.add_layer_norm(x, residual, weight, out=[y, y.copy()])  # type: ignore[arg-type]
    assert np.isnan(y).all()
    assert np.isnan(longer).all()
    assert (weight == 1).all()
    assert fastnorm.add_layer_norm(x, residual, weight, out=(weight, y))[0] is weight


def test_vjp(backend: str, rng: np.random.Generator) -> None:
    """The pullback of a pair takes two gradients, either of which may be None."""
    x, residual, dy = arrays(rng, (4, 9), 3)
    results, pullback = fastnorm.vjp(fastnorm.add_rms_norm, x, residual, alpha=2.0)
    assert len(as_tuple(results)) == 2
    for one, other in zip(
        pullback(None, dy), fastnorm.add_rms_norm_backward(None, dy, x, residual, alpha=2.0), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    out = (np.empty_like(x), np.empty_like(x))
    fastnorm.vjp(fastnorm.add_rms_norm, x, residual, out=out)
    with pytest.raises(ValueError, match="overlaps residual"):
        fastnorm.vjp(fastnorm.add_rms_norm, x, residual, out=(out[0], residual))
