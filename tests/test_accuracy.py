"""The accuracy contracts, against oracles that share nothing with the twins."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import fastnorm
import numpy as np
import oracles
import pytest
from fastnorm import reference
from fastnorm._specs.activations import DERIVATIVE, VALUE, allowed_ulps, gelu_twin_error
from fastnorm._specs.bounds import SMALLEST, UNIT_ROUNDOFF, last_rounding, norm_bound, roundoff, summed, ulp
from fastnorm._specs.norms import norm_parts
from fastnorm._specs.spec import Spec, Variant, wide
from fastnorm.reference import _erf
from numpy.typing import NDArray
from ops import IN_DEPTH, NORMS, label
from tolerances import assert_within, relative_error

Array = NDArray[Any]
F32 = np.float32
MAX = float(np.finfo(F32).max)

LENGTHS = (
    *range(1, 301),
    *(size + d for size in (512, 1024, 4096) for d in (-2, -1, 0, 1, 2, 7)),
    1536,
    3000,
    9001,
)


def hard_rows(rng: np.random.Generator, length: int) -> Iterator[tuple[str, Array]]:
    """Rows that break a norm computed carelessly."""
    noise = rng.standard_normal(length)
    yield "normal", noise
    yield "mean of a million deviations", 1e6 + noise
    yield "negative mean of a million deviations", -1e6 + noise
    yield "mean of a million small deviations", (1e6 + noise) * 1e-20
    yield "constant", np.full(length, 1 / 3)
    yield "large constant", np.full(length, 3e37)
    yield "zero", np.zeros(length)
    yield "negative zero", np.full(length, -0.0)
    yield "largest", np.full(length, MAX)
    yield "largest of both signs", np.where(np.arange(length) % 2, MAX, -MAX)
    yield "squares overflow", 1e30 * noise
    yield "squares vanish", 1e-30 * noise
    yield "subnormal", 1e-40 * noise
    yield "smallest", np.where(np.arange(length) % 3, SMALLEST["float32"], 0.0)
    yield "alternating", np.where(np.arange(length) % 2, 1e8, -1e8) + noise
    yield "one outlier", np.where(np.arange(length) == length // 2, 1e6, noise)
    yield "one outlier at the end", np.where(np.arange(length) == length - 1, -1e20, noise)
    yield "wide range", noise * 10.0 ** rng.uniform(-30, 30, length)
    yield "increasing", np.arange(length, dtype=np.float64)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_norm_contract(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """abs(y - exact) <= 4 * 2^-24 * (abs(xhat * weight) + abs(weight) + abs(bias)) for every length and kind
    of row.
    """
    for length in LENGTHS:
        labels, rows = zip(*hard_rows(rng, length), strict=True)
        x = np.array(rows).astype(F32)
        assert np.isfinite(x).all()
        weight, bias = rng.standard_normal((2, length)).astype(F32)
        eps = spec.keywords["eps"]
        xhat = oracles.normalised(x, eps, centre=spec.name == "layer_norm")
        for w, b in ((weight, bias), (None, None)):
            factor = np.ones(1) if w is None else w.astype(np.float64)
            shift = np.zeros(1) if b is None else b.astype(np.float64)
            y = spec.forward(x, w, b)
            for name, got, row in zip(labels, y, xhat, strict=True):
                try:
                    bound = norm_bound(row * factor, factor, shift, x.dtype)
                    assert_within(got, row * factor + shift, bound + SMALLEST["float32"])
                except AssertionError as error:
                    raise AssertionError(f"{name}, {length} elements: {error}") from None


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_norm_contract_without_eps(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """With eps = 0 rows of any magnitude have the same xhat, as long as rstd is a float32."""
    for length in (2, 5, 64, 100, 777, 1024, 5000):
        noise = rng.standard_normal(length)
        x = np.array([noise * 10.0**power for power in range(-36, 37, 4)]).astype(F32)
        xhat = oracles.normalised(x, 0.0, centre=spec.name == "layer_norm")
        assert_within(spec.forward(x, eps=0.0), xhat, norm_bound(xhat, np.ones(1), np.zeros(1), x.dtype))


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_norm_in_float64(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """The contract with the roundoff of float64, and what rounding the statistics adds."""
    for length in (1, 2, 3, 7, 64, 65, 300, 1000):
        noise = rng.standard_normal(length)
        largest = float(np.finfo(np.float64).max)
        rows = (
            noise,
            1e3 + noise,
            1e6 + noise,
            1e200 * noise,
            1e-200 * noise,
            np.full(length, 1 / 3),
            largest * (noise / 8),
        )
        for x in rows:
            exact = oracles.normalised_long(x, spec.keywords["eps"], centre=spec.name == "layer_norm")
            with np.errstate(all="ignore"):
                rstd = spec.forward(x, return_stats=True)[-1]
                scale = float(np.sum(np.abs(x) / length) * rstd)
            statistics = summed(scale + np.abs(exact), length, x.dtype)
            bound = norm_bound(exact, np.ones(1), np.zeros(1), x.dtype) + statistics
            assert_within(spec.forward(x), exact, bound + SMALLEST["float64"])


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_rows_of_a_few_spikes(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """Squares that are each lost beside that of a spike, in the lanes of one spike or of several."""
    for length in (64, 257, 1024, 1536):
        for spikes in (1, 2, 5, 8, 13):
            rows = np.where(np.arange(length) % 2, 1, -1) * np.full((40, 1), 0.98 * 2.0**-12)
            for row in rows:
                places = rng.permutation(length)[:spikes]
                row[places] = np.where(np.arange(spikes) % 2, 1, -1) * (1 + 1e-3 * rng.random(spikes))
            x = rows.astype(F32)
            weight = (1 + 0.05 * rng.random(length)).astype(F32)
            y = spec.forward(x, weight, None, eps=0.0)
            for got, row in zip(y, x, strict=True):
                exact = oracles.normalised_long(row, 0.0, centre=spec.name == "layer_norm")
                bound = norm_bound(exact, weight.astype(np.float64), np.zeros(1), x.dtype)
                assert_within(got, exact * weight, bound)


def test_constant_rows(implementation: str) -> None:
    """y is the bias, whatever the constant: within the contract, and exactly where the sum is exact."""
    for value in (0.0, 1.0, -3.5, 1 / 3, 1e-3, 1e10, 1e30, MAX):
        for length in (1, 3, 64, 100, 1000, 4097):
            x = np.full((2, length), value, F32)
            bias = np.linspace(-1, 1, length).astype(F32)
            y = fastnorm.layer_norm(x, None, bias)
            assert_within(
                y[0],
                bias.astype(np.float64),
                norm_bound(np.zeros(1), np.ones(1), bias.astype(np.float64), x.dtype),
            )
            assert np.isfinite(y).all()


@pytest.mark.parametrize("with_stats", [False, True], ids=["recomputed", "given"])
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_backward_contract(
    spec: Spec, with_stats: bool, implementation: str, rng: np.random.Generator
) -> None:
    """The norm of the error of each gradient is at most a share of the gradient's.

    The twin is the oracle: central differences confirm it. Statistics that are given have been rounded to
    float32, which for a mean far from zero is an error of the statistics and not of the backward.
    """
    for shape, mean in (
        ((64, 768), 0.0),
        ((512, 96), 0.3),
        ((7, 4099), 1.0),
        ((1000, 17), 0.0),
        ((3, 64), 0.0),
        ((1, 1000), 0.0),
    ):
        x, dy = rng.standard_normal((2, *shape)).astype(F32)
        x = (x + mean).astype(F32)
        weight, bias = (1 + 0.5 * rng.standard_normal((2, shape[-1]))).astype(F32)
        keywords: dict[str, Any] = {}
        if with_stats:
            _, *stats = spec.forward(x, weight, bias, return_stats=True)
            keywords["stats"] = tuple(stats) if len(stats) > 1 else stats[0]
        exact = spec.exact_gradients((dy,), (x, weight, bias), {})
        for got, expected in zip(spec.backward(dy, x, weight, bias, **keywords), exact, strict=True):
            assert relative_error(got, expected) <= spec.backward_contract.bound


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_backward_of_hard_rows(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """Means and magnitudes far from 1, with recomputed statistics; each gradient within the bounds of its
    terms.
    """
    variant = Variant("hard", ("weight", "bias"))
    for length in (3, 64, 100, 1000, 4097):
        for name, row in hard_rows(rng, length):
            x = np.array([row, row[::-1], rng.permutation(row)]).astype(F32)
            dy = rng.standard_normal(x.shape).astype(F32)
            weight, bias = rng.standard_normal((2, length)).astype(F32)
            inputs = (x, weight, bias)
            exact = spec.exact_gradients((dy,), inputs, variant.keywords)
            bounds = spec.backward_bounds((dy,), inputs, variant.keywords)
            if spec.name == "layer_norm":
                # Deviations of a row with a large mean are known as well as the float64 sums that they come
                # from.
                parts = norm_parts(spec.name, inputs, {})
                magnitude = np.mean(np.abs(parts.x), axis=1, keepdims=True) * parts.rstd
                cancelled = summed(magnitude, length, np.dtype(np.float64))
                bounds = tuple(bound * (1 + cancelled.max() / roundoff(x.dtype)) for bound in bounds)
            for got, expected, bound in zip(spec.backward(dy, *inputs), exact, bounds, strict=True):
                try:
                    assert_within(got, expected, bound)
                except AssertionError as error:
                    raise AssertionError(f"{name}, {length} elements: {error}") from None


FORMS = ("none", "tanh", "sigmoid")


def sample_points(rng: np.random.Generator, dtype: np.dtype[Any], count: int, form: str = "none") -> Array:
    """Finite numbers: over the line, over the exponents, in the tail, around the slope's zero, at ends of
    binades.
    """
    tail = 40.0 if dtype == np.float64 else 16.0
    zero = oracles.zero_of_gelu_derivative(form)
    exponents = np.arange(-20, 6)
    points: list[Any] = [
        rng.uniform(-tail, 8, count),
        rng.uniform(-6, 0, count),
        np.concatenate([s * 2.0 ** rng.uniform(-30, 5, count // 2) for s in (-1, 1)]),
        zero + np.concatenate([s * 2.0 ** rng.uniform(-52, -1, count // 4) for s in (-1, 1)]),
        *(s * 2.0**exponents * (1 + d * UNIT_ROUNDOFF[dtype.name]) for s in (-1, 1) for d in (-2, 0, 2)),
        [
            -0.0,
            0.0,
            SMALLEST[dtype.name],
            -SMALLEST[dtype.name],
            1e-30,
            -1e-30,
            1e-38,
            -3e-39,
            5.0,
            100.0,
            -100.0,
        ],
        [-13.1, -13.2, -14.3, -14.4, -14.5, -14.6, -37.6, -37.7, -38.5, -38.6, -38.7],
    ]
    return np.concatenate(points).astype(dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [F32, np.float64], ids=["float32", "float64"])
def test_gelu_in_ulps(form: Any, dtype: Any, implementation: str, rng: np.random.Generator) -> None:
    """Below 1 ULP in float32 and below 2 ULP in float64; the derivative below 2 ULP."""
    dtype = np.dtype(dtype)
    x = sample_points(rng, dtype, 400, form)
    y = fastnorm.gelu(x, approximate=form)
    slope = fastnorm.gelu_backward(np.ones_like(x), x, approximate=form)
    kind = {"unit": 2 * UNIT_ROUNDOFF[dtype.name], "smallest": SMALLEST[dtype.name]}
    if implementation == "reference":
        # The twin's roundings in float64 grow with the argument of the exponential and show where nothing
        # else does.
        assert_twin(x, y, slope, form)
        return
    error, where = oracles.ulp_error(y, x, oracles.gelu, form, **kind)
    assert error < allowed_ulps(VALUE, dtype), f"gelu at {where!r}"
    error, where = oracles.ulp_error(slope, x, oracles.gelu_derivative, form, **kind)
    assert error < allowed_ulps(DERIVATIVE, dtype), f"derivative at {where!r}"


def assert_twin(x: Array, y: Array, slope: Array, form: str) -> None:
    """The contract, with the bound on the twin's own error in float64."""
    twin_errors = gelu_twin_error(x.astype(np.float64), {"approximate": form})
    for got, error, function in zip(
        (y, slope), twin_errors, (oracles.gelu, oracles.gelu_derivative), strict=True
    ):
        exact = oracles.rounded(function, x, form)
        assert_within(got, exact, ulp(exact, x.dtype) + error)


@functools.cache
def many_floats() -> tuple[Array, dict[Any, tuple[Array, ...]]]:
    """Floats of every exponent and sign; for each form gelu, its derivative, and bounds on the errors of the
    two.
    """
    bits = np.arange(0, 0x7F80_0000, 8209, dtype=np.uint32)
    x = np.concatenate([bits, bits | np.uint32(0x8000_0000)]).view(F32)
    wide_x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        return x, {
            form: (
                reference.gelu(wide_x, approximate=form),  # type: ignore[arg-type]
                reference.gelu_backward(np.ones_like(wide_x), wide_x, approximate=form),  # type: ignore[arg-type]
                *gelu_twin_error(wide_x, {"approximate": form}),
            )
            for form in FORMS
        }


def test_gelu_of_many_floats(implementation: str) -> None:
    """A sweep over the bit patterns of all finite float32, against the twin in float64, itself checked with
    mpmath.
    """
    x, exact = many_floats()
    for form, (y, slope, error, slope_error) in exact.items():
        assert_within(
            fastnorm.gelu(x, approximate=form), y, np.nextafter(VALUE.bound * ulp(y, x.dtype), 0) + error
        )
        dx = fastnorm.gelu_backward(np.ones_like(x), x, approximate=form)
        assert_within(dx, slope, np.nextafter(DERIVATIVE.bound * ulp(slope, x.dtype), 0) + slope_error)


def test_gelu_backward_multiplies(implementation: str, rng: np.random.Generator) -> None:
    """dx is dy times the derivative, each with its own roundings."""
    x, dy = rng.standard_normal((2, 4000)).astype(F32)
    for form in FORMS:
        slope = fastnorm.gelu_backward(np.ones_like(x), x, approximate=form).astype(np.float64)  # type: ignore[arg-type]
        dx = fastnorm.gelu_backward(dy, x, approximate=form)  # type: ignore[arg-type]
        exact = slope * dy
        assert_within(dx, exact, (4 + 2) * UNIT_ROUNDOFF["float32"] * np.abs(exact) + SMALLEST["float32"])


TAIL = (
    (-5.5, -1.04442593562e-07, -5.73347239874e-07),
    (-6.0, -5.91952587023e-09, -3.54687094539e-08),
    (-8.0, -4.97676845942e-15, -3.97960726109e-14),
    (-12.0, -2.13177853449e-32, -2.55789566167e-31),
    (-13.0, -7.95231371941e-38, -1.03373044401e-36),
)
BODY = (
    (-3.0, -0.00404969409489029, -0.0119456472041839, -0.00363739208177299, -0.0115841666309695),
    (-2.0, -0.0455002638963584, -0.0852318010781969, -0.0454023059122249, -0.0860992566236183),
    (-1.0, -0.158655253931457, -0.0833154705876863, -0.158808009391723, -0.0829640838457825),
    (-0.5, -0.154268769362993, 0.132504875343837, -0.154285990174856, 0.132630096465358),
    (0.5, 0.345731230637007, 0.867495124656163, 0.345714009825144, 0.867369903534642),
    (1.0, 0.841344746068543, 1.08331547058769, 0.841191990608277, 1.08296408384578),
    (2.0, 1.95449973610364, 1.08523180107820, 1.95459769408777, 1.08609925662362),
    (3.0, 2.99595030590511, 1.01194564720418, 2.99636260791823, 1.01158416663097),
)
BODY_SIGMOID = (
    (-3.0, -0.0180713097077860, -0.0245483239056524),
    (-2.0, -0.0643413768557919, -0.0738153543085419),
    (-1.0, -0.154204234067179, -0.0677796065563341),
    (-0.5, -0.149611563393620, 0.120778088034586),
    (0.5, 0.350388436606380, 0.879221911965414),
    (1.0, 0.845795765932821, 1.06777960655633),
    (2.0, 1.93565862314421, 1.07381535430854),
    (3.0, 2.98192869029221, 1.02454832390565),
)


def test_gelu_golden(implementation: str) -> None:
    """Published or independently computed numbers, to all their digits, in float64; to 2 ULP in float32."""
    tables = [("none", np.array(TAIL), 5e-12)]
    tables += [("none", np.array(BODY)[:, [0, 1, 2]], 1e-13), ("tanh", np.array(BODY)[:, [0, 3, 4]], 1e-13)]
    tables += [("sigmoid", np.array(BODY_SIGMOID), 1e-13)]
    for form, table, digits in tables:
        x, y, slope = np.ascontiguousarray(table.T)
        for dtype in (np.float64, F32):
            tolerance = max(digits, 2 * UNIT_ROUNDOFF[np.dtype(dtype).name] * 2)
            at = x.astype(dtype)
            got = fastnorm.gelu(at, approximate=form)  # type: ignore[arg-type]
            np.testing.assert_allclose(got, y, rtol=tolerance)
            got = fastnorm.gelu_backward(np.ones_like(at), at, approximate=form)  # type: ignore[arg-type]
            np.testing.assert_allclose(got, slope, rtol=tolerance)
    minimum = fastnorm.gelu(np.array([-0.751791524694]))
    np.testing.assert_allclose(minimum, -0.169971207480, atol=5.1e-13)


def test_gelu_forms_differ_by_the_documented_gaps() -> None:
    x = np.linspace(-10, 10, 200_001)
    exact = fastnorm.gelu(x)
    assert 4.7e-4 < np.abs(fastnorm.gelu(x, approximate="tanh") - exact).max() < 4.8e-4
    assert 2.0e-2 < np.abs(fastnorm.gelu(x, approximate="sigmoid") - exact).max() < 2.1e-2


@pytest.mark.parametrize("name", ["normal_cdf", "gelu", "gelu_derivative"])
def test_twin_of_the_normal_distribution(name: str, rng: np.random.Generator) -> None:
    """The twin's functions have full relative accuracy in float64, so that they can judge float32."""
    x = sample_points(rng, np.dtype(np.float64), 300)
    kind = {"unit": 2 * UNIT_ROUNDOFF["float64"], "smallest": SMALLEST["float64"]}
    error, where = oracles.ulp_error(getattr(_erf, name)(x), x, getattr(oracles, name), "none", **kind)
    assert error < 8, f"{name} at {where!r}"


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_half_types_are_within_half_an_ulp(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """Rounded once from a result that is exact to float32."""
    x = rng.standard_normal((8, 600)).astype(np.float16)
    (exact,) = spec.exact((x,), {})
    (before,) = spec.forward_bounds((x.astype(F32), *[None] * (len(spec.positional) - 1)), {})
    assert_within(spec.forward(x), exact, before + last_rounding(exact, x.dtype))


def test_wide_is_exact() -> None:
    for name in ("float16", "float32"):
        x = np.array([1 / 3, 65504, 6e-8], name)
        widened = wide(x)
        assert (widened.astype(name) == x).all()
        assert math.isclose(float(widened[0]), 1 / 3, rel_tol=UNIT_ROUNDOFF[name])
