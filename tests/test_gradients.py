"""Every backward: the twin against central differences of the twin's forward, then each backend against the
twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import reference
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from fastnorm._specs.spec import GRADIENT, Arguments, Spec, Variant, as_tuple, present, wide
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label, with_variants
from tolerances import assert_within, relative_error

Array = NDArray[Any]

# Derivatives by five points, of functions that bend over a length of about 1: the step that balances the
# rounding of the function, u / step, with the error of the formula, step^4, and what is left of either, times
# 100 for its factors.
STEP = UNIT_ROUNDOFF["float64"] ** (1 / 5)
STEP_ERROR = 100 * UNIT_ROUNDOFF["float64"] ** (4 / 5)


def derivative(function: Callable[[float], Array], length: float) -> Array:
    """The derivative at 0, by five points, of a function that bends over this length."""
    step = STEP * length
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return np.asarray((8 * near - far) / (12 * step))


def with_stats(spec: Spec, inputs: Arguments, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of the backward, with the statistics that the forward returns."""
    _, *stats = spec.forward(*inputs, **keywords, return_stats=True)
    return {**keywords, "stats": tuple(stats) if len(stats) > 1 else stats[0]}


@pytest.mark.parametrize("shape", [(1, 4), (3, 7), (5, 16), (2, 2, 9)], ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(IN_DEPTH), ids=label)
def test_twin_against_differences(
    spec: Spec, variant: Variant, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """<dy, J v> of the forward, along random directions v of each argument, is <gradient, v>."""
    inputs = spec.make_inputs(rng, shape, DTYPES["float64"], variant)
    dy = rng.standard_normal(shape)
    length = spec.bending(inputs, variant.keywords)
    gradients = as_tuple(spec.twin_backward(dy, *inputs, **variant.keywords))
    assert len(gradients) == len(spec.differentiable)
    for name, gradient in zip(spec.differentiable, gradients, strict=True):
        index = spec.positional.index(name)
        value = inputs[index]
        if value is None:
            assert gradient is None
            continue
        assert gradient.shape == value.shape
        directions = [*np.eye(value.size).reshape(-1, *value.shape)[:8], rng.standard_normal(value.shape)]
        for v in directions:

            def along(t: float, v: Array = v, index: int = index, value: Array = value) -> Array:
                moved = (*inputs[:index], value + t * v, *inputs[index + 1 :])
                return np.asarray(spec.twin(*moved, **variant.keywords))

            left, right = np.vdot(dy, derivative(along, length)), np.vdot(gradient, v)
            scale = np.linalg.norm(dy) * np.linalg.norm(v) / length
            assert abs(left - right) <= STEP_ERROR * scale


@pytest.mark.parametrize("axis", [0, (0, 2), (2, 0), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_twin_against_differences_over_axes(spec: Spec, axis: Any, rng: np.random.Generator) -> None:
    variant = Variant("axes", ("weight", "bias"), {"axis": axis})
    test_twin_against_differences(spec, variant, (2, 3, 4), rng)


def check(
    spec: Spec, variant: Variant, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator
) -> None:
    inputs = spec.make_inputs(rng, shape, dtype, variant)
    dy = rng.standard_normal(shape).astype(dtype)
    for keywords in (
        [variant.keywords, with_stats(spec, inputs, variant.keywords)]
        if spec.has_stats
        else [variant.keywords]
    ):
        exact_keywords = dict(keywords)
        if "stats" in keywords:
            stats = keywords["stats"]
            exact_keywords["stats"] = tuple(map(wide, stats)) if isinstance(stats, tuple) else wide(stats)
        results = as_tuple(spec.backward(dy, *inputs, **keywords))
        assert [gradient is None for gradient in results] == [value is None for value in inputs]
        gradients = present(results)
        exact = spec.exact_gradients((dy,), inputs, exact_keywords)
        bounds = spec.backward_bounds((dy,), inputs, variant.keywords)
        assert len(gradients) == len(exact)
        for index, (got, expected, bound) in enumerate(zip(gradients, exact, bounds, strict=True)):
            assert got.dtype == (dtype if index == 0 else dtype_of_parameters(dtype))
            assert_within(got, expected, bound)


def dtype_of_parameters(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the gradients of weight and bias."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


LENGTHS = sorted({1, 2, 3, 5, 100, 1000, *(2**k + d for k in range(2, 13) for d in (-1, 0, 1))})
SHAPES = (
    (1, 64),
    (2, 17),
    (5, 100),
    (9, 33),
    (33, 8),
    (65, 48),
    (128, 5),
    (129, 65),
    (300, 16),
    (3, 1029),
    (2, 3, 65),
)


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


@pytest.mark.parametrize("shape", [(300, 700), (70000,), (20000, 12), (7, 40000)], ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_large(spec: Spec, shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    """Enough work for several threads, and many row chunks."""
    check(spec, spec.variants[0], shape, DTYPES["float32"], rng)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_given_statistics_are_used(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    """With another rstd than that of x the backward is that of a norm with this constant in its formula."""
    inputs = spec.make_inputs(rng, (4, 32), DTYPES["float64"], spec.variants[0])
    x, weight, _ = inputs
    assert x is not None
    assert weight is not None
    dy = rng.standard_normal(x.shape)
    _, *mean, rstd = spec.forward(*inputs, return_stats=True)
    rstd = 2 * rstd
    dx, dweight, dbias = spec.backward(dy, *inputs, stats=(*mean, rstd) if mean else rstd)
    centred = x - mean[0][:, None] if mean else x
    xhat = centred * rstd[:, None]
    np.testing.assert_allclose(dweight, np.sum(dy * xhat, axis=0), rtol=1e-10)
    np.testing.assert_allclose(dbias, np.sum(dy, axis=0), rtol=1e-10)
    h = dy * weight
    mean_h = np.mean(h, axis=1, keepdims=True) if mean else 0
    expected = rstd[:, None] * (h - mean_h - xhat * np.mean(h * xhat, axis=1, keepdims=True))
    np.testing.assert_allclose(dx, expected, rtol=1e-10, atol=1e-13)


def test_rounding_of_a_given_mean_is_made_good(implementation: str, rng: np.random.Generator) -> None:
    """A float32 mean of a million deviations is off by some percent of a deviation."""
    x, dy = rng.standard_normal((2, 20, 700)).astype(np.float32)
    x += np.float32(1e6)
    weight = rng.standard_normal(700).astype(np.float32)
    _, mean, rstd = fastnorm.layer_norm(x, return_stats=True)
    exact = reference.layer_norm_backward(
        dy.astype(float), x.astype(float), weight.astype(float), weight.astype(float)
    )
    given = fastnorm.layer_norm_backward(dy, x, weight, weight, stats=(mean, rstd))
    for got, expected in zip(given, exact, strict=True):
        assert got is not None
        assert expected is not None
        assert relative_error(got, expected) <= GRADIENT.bound


class TestGolden:
    """Independently computed numbers, checked there by differences, to all their digits."""

    x = np.array([1.0, 2.0, 3.0, 4.0])
    dy = np.array([1.0, 0.0, 0.0, 0.0])

    def compare(self, got: Array, expected: list[float]) -> None:
        np.testing.assert_allclose(got, expected, rtol=0, atol=0.51e-12)

    def test_layer_norm(self, backend: str) -> None:
        dx, dweight, dbias = fastnorm.layer_norm_backward(self.dy, self.x, np.ones(4), np.zeros(4))
        self.compare(dx, [0.268330303893, -0.357768372025, -0.089443434631, 0.178881502763])
        assert dweight is not None
        assert dbias is not None
        self.compare(dweight, [-1.341635419969, 0, 0, 0])
        self.compare(dbias, [1, 0, 0, 0])

    def test_rms_norm(self, backend: str) -> None:
        dx, *_ = fastnorm.rms_norm_backward(self.dy, self.x)
        self.compare(dx, [0.352976737372, -0.024343219909, -0.036514829864, -0.048686439819])

    def test_rms_norm_fraction(self, backend: str) -> None:
        dx, *_ = fastnorm.rms_norm_backward(self.dy, self.x, fraction=0.5)
        self.compare(dx, [0.505964375030, -0.252982061024, 0, 0])


def test_layer_norm_gradient_sums_to_zero(backend: str, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 50, 257))
    dx, *_ = fastnorm.layer_norm_backward(dy, x)
    assert np.abs(dx.sum(axis=1)).max() <= 257 * UNIT_ROUNDOFF["float64"] * np.abs(dx).sum(axis=1).max()
