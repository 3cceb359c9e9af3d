"""Every op against its twin in float64, for every length around the blocks of a kernel."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import roundoff, summed
from fastnorm._specs.spec import Spec, Variant, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label, with_variants
from tolerances import assert_within

Array = NDArray[Any]

# Around the powers of two: vectors, registers and blocks end there.
LENGTHS = sorted({1, 2, 3, 5, 6, 100, 1000, *(2**k + d for k in range(2, 13) for d in (-1, 0, 1))})
SHAPES = (
    (1, 64),
    (2, 17),
    (4, 64),
    (5, 100),
    (9, 33),
    (33, 8),
    (130, 48),
    (3, 1029),
    (2, 3, 65),
    (2, 2, 2, 19),
)


def check(
    spec: Spec, variant: Variant, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator
) -> None:
    inputs = spec.make_inputs(rng, shape, dtype, variant)
    y = spec.forward(*inputs, **variant.keywords)
    assert y.dtype == dtype
    (exact,), (bound,) = spec.exact(inputs, variant.keywords), spec.forward_bounds(inputs, variant.keywords)
    assert_within(y, exact, bound)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_lengths(spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    for length in LENGTHS:
        check(spec, spec.variants[0], (3, length), dtype, rng)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(IN_DEPTH), ids=label)
def test_variants(
    spec: Spec, variant: Variant, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    for shape in SHAPES:
        check(spec, variant, shape, dtype, rng)


@pytest.mark.parametrize("shape", [(300, 700), (70000,), (4, 40000), (20000, 12)], ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_large(spec: Spec, shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    """Enough work for several threads."""
    check(spec, spec.variants[0], shape, DTYPES["float32"], rng)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (2, 0, 4), (0, 0)], ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_empty(spec: Spec, shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    for variant in spec.variants:
        inputs = spec.make_inputs(rng, shape, DTYPES["float32"], variant)
        y = spec.forward(*inputs, **variant.keywords)
        assert y.shape == shape
        if spec.has_stats:
            for statistic in spec.forward(*inputs, **variant.keywords, return_stats=True)[1:]:
                assert statistic.shape == shape[:-1]
                assert np.isnan(statistic).all()
        gradients = as_tuple(spec.backward(inputs[0], *inputs, **variant.keywords))
        assert gradients[0].shape == shape
        for gradient, parameter in zip(gradients[1:], inputs[1:], strict=True):
            if parameter is None:
                assert gradient is None
            else:
                np.testing.assert_array_equal(gradient, np.zeros(parameter.shape))


def test_scalars(backend: str) -> None:
    y = fastnorm.gelu(1.0)
    assert isinstance(y, np.ndarray)
    assert y.shape == ()
    np.testing.assert_allclose(y, 0.841344746068543)
    dx = fastnorm.gelu_backward(np.float32(2), np.float32(1))
    assert dx.dtype == np.float32
    np.testing.assert_allclose(dx, 2 * 1.08331547058769, rtol=4 * roundoff(dx.dtype))


AXES = (0, 1, -2, (0, 2), (2, 0), (-1, 0), (1, 2), (2, 1), (0, 1, 2), (2, 0, 1), (1, -1, 0))


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_axes(spec: Spec, axis: Any, implementation: str, rng: np.random.Generator) -> None:
    """Parameters and their gradients have their axes in the order of `axis`."""
    variant = Variant("axes", ("weight", "bias"), {"axis": axis})
    dtype = DTYPES["float32"]
    for shape in ((3, 4, 5), (2, 17, 33)):
        check(spec, variant, shape, dtype, rng)
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        dy = rng.standard_normal(shape).astype(dtype)
        gradients = spec.backward(dy, *inputs, axis=axis)
        exact = spec.exact_gradients((dy,), inputs, variant.keywords)
        bounds = spec.backward_bounds((dy,), inputs, variant.keywords)
        for got, expected, bound in zip(gradients, exact, bounds, strict=True):
            assert_within(got, expected, bound)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_axis_order_is_a_transposition(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    """Independent of the twin: another order of the axes means a transposed weight and a transposed
    gradient.
    """
    x, dy = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    weight = rng.standard_normal((3, 5)).astype(np.float32)
    dx, dweight, _ = spec.backward(dy, x, weight, axis=(0, 2))
    dx_t, dweight_t, _ = spec.backward(dy, x, weight.T, axis=(2, 0))
    np.testing.assert_array_equal(dx, dx_t)
    np.testing.assert_array_equal(dweight, dweight_t.T)
    moved = np.moveaxis(x, 1, 0).reshape(4, 15)
    y = spec.forward(moved, weight.ravel())
    expected = np.moveaxis(y.reshape(4, 3, 5), 0, 1)
    np.testing.assert_array_equal(spec.forward(x, weight, axis=(0, 2)), expected)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_statistics(spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """Each statistic is one rounding away from the exact one; returning it changes nothing in y."""
    for shape, axis in (((5, 64), -1), ((7, 1000), 1), ((3, 4, 33), (0, 2)), ((2, 9), (0, 1))):
        variant = Variant("statistics", ("weight", "bias"), {"axis": axis})
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        y, *statistics = spec.forward(*inputs, axis=axis, return_stats=True)
        np.testing.assert_array_equal(y, spec.forward(*inputs, axis=axis))
        exact = spec.exact(inputs, {"axis": axis, "return_stats": True})[1:]
        x = inputs[0]
        assert x is not None
        axes = axis if isinstance(axis, tuple) else (axis,)
        length = int(np.prod([shape[a] for a in axes]))
        magnitude = np.mean(np.abs(x.astype(np.float64)), axis=axis)
        kind = np.dtype(np.float64 if dtype == np.float64 else np.float32)
        for got, expected in zip(statistics, exact, strict=True):
            assert got.dtype == kind
            # A relative rounding of the result, and in float64 the roundings of the sum.
            sums = summed(magnitude + expected, length, kind) if kind == np.float64 else 0.0
            bound = (
                2 * roundoff(kind) * np.abs(expected) + sums + 4 * roundoff(np.dtype(np.float64)) * magnitude
            )
            assert_within(got, expected, bound)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_statistics_where_y_replaces_x(
    spec: Spec, dtype: type, implementation: str, rng: np.random.Generator
) -> None:
    for shape in ((1, 64), (6, 64), (20, 2000)):
        x = rng.standard_normal(shape).astype(dtype)
        expected = spec.forward(x, return_stats=True)
        for got, result in zip(spec.forward(x, return_stats=True, out=x), expected, strict=True):
            np.testing.assert_array_equal(got, result)


class TestGolden:
    """Published or independently computed numbers, to all their digits."""

    x = np.array([1.0, 2.0, 3.0, 4.0])

    def compare(self, got: Array, expected: list[float], digits: int = 12) -> None:
        np.testing.assert_allclose(got, expected, rtol=0, atol=0.51 * 10.0**-digits)

    def test_layer_norm(self, backend: str) -> None:
        y, mean, rstd = fastnorm.layer_norm(self.x, np.ones(4), np.zeros(4), return_stats=True)
        self.compare(y, [-1.341635419969, -0.447211806656, 0.447211806656, 1.341635419969])
        assert mean == 2.5
        np.testing.assert_allclose(rstd, 0.894423613312618, rtol=1e-15)

    def test_rms_norm(self, backend: str) -> None:
        expected = [0.365148347327, 0.730296694654, 1.095445041981, 1.460593389308]
        self.compare(fastnorm.rms_norm(self.x, eps=1e-6), expected)

    def test_rms_norm_fraction(self, backend: str) -> None:
        expected = [0.632455405543, 1.264910811085, 1.897366216628, 2.529821622170]
        self.compare(fastnorm.rms_norm(self.x, eps=1e-6, fraction=0.5), expected)

    def test_rms_norm_eps_is_inside_the_root(self, backend: str) -> None:
        y = fastnorm.rms_norm(np.full(8, 1e-3), eps=1e-6)
        self.compare(y, [0.707106781187] * 8)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 33, 100])
def test_fraction_counts_the_first_elements(size: int, backend: str, rng: np.random.Generator) -> None:
    """ceil(n * fraction) elements in C order enter the mean, in a row and over several axes."""
    x = rng.standard_normal((2, size, 3)) + 1
    for fraction in (1e-9, 0.07, 0.0625, 0.3, 0.5, 0.999, 1.0):
        for axis, rows in ((1, np.moveaxis(x, 1, 2).reshape(-1, size)), ((1, 2), x.reshape(2, -1))):
            counted = int(np.ceil(rows.shape[1] * fraction))
            rstd = 1 / np.sqrt(np.mean(rows[:, :counted] ** 2, axis=1) + 1e-6)
            got = fastnorm.rms_norm(x, axis=axis, fraction=fraction, return_stats=True)[1]
            np.testing.assert_allclose(got.ravel(), rstd, rtol=(rows.shape[1] + 4) * roundoff(got.dtype))


def test_metamorphic(implementation: str, rng: np.random.Generator) -> None:
    """Shifts and scales that a norm must not see, and the symmetry of gelu."""
    x = rng.integers(-1000, 1000, (20, 333)).astype(np.float32)
    assert np.array_equal(fastnorm.layer_norm(x, eps=0.0), fastnorm.layer_norm(16 * x, eps=0.0))
    assert np.array_equal(fastnorm.rms_norm(x, eps=0.0), fastnorm.rms_norm(x / 16, eps=0.0))
    y, shifted = fastnorm.layer_norm(x), fastnorm.layer_norm(x + 4096)
    assert_within(y, shifted.astype(np.float64), 16 * roundoff(x.dtype) * (np.abs(y) + 1))
    z = rng.standard_normal(5000).astype(np.float32)
    difference = fastnorm.gelu(z).astype(np.float64) - fastnorm.gelu(-z).astype(np.float64)
    assert_within(difference, z.astype(np.float64), 4 * roundoff(z.dtype) * np.abs(z))
