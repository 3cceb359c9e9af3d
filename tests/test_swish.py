"""What is special about swish: its parameter beta, of every size, and the gradient for it."""

from __future__ import annotations

import fastnorm
import mpmath as mp
import numpy as np
import pytest
from fastnorm import reference, silu, swish, swish_backward
from fastnorm._specs.activations import DERIVATIVE, VALUE
from fastnorm._specs.activations import swish as spec
from tolerances import assert_same_bits, assert_within


def exact_beta_term(x: float, beta: float) -> mp.mpf:
    """x^2 s (1 - s) where s = sigmoid(beta x)."""
    e = mp.exp(-abs(mp.mpf(x) * mp.mpf(beta)))
    return mp.mpf(x) ** 2 * e / (1 + e) ** 2


@pytest.mark.parametrize("x", [1e100, 1e160, -1e200, 1e300, 1.7e308])
def test_gradient_for_beta_where_its_factors_overflow(implementation: str, x: float) -> None:
    """x^2 overflows, and exp(-z) vanishes, long before their product does either."""
    for z in (0.3, 500.0, 740.0, 800.0, 1000.0, 1300.0, 1400.0):
        for dy in (1.0, 1e-300):
            beta = z / x
            exact = exact_beta_term(x, beta) * dy
            _, dbeta = swish_backward(np.array([dy]), np.array([x]), beta)
            if exact > 1.7e308:
                assert np.isinf(dbeta)
            else:
                assert abs(dbeta - exact) <= max(1e-12 * exact, 1e-320)


def test_gradient_for_beta_far_out_in_float32(implementation: str) -> None:
    """sigmoid' is below the smallest float32 where x^2 times it is not."""
    x, beta = np.float32(1e30), np.float32(1.2e-28)
    _, dbeta = swish_backward(np.array([1e-5], np.float32), np.array([x]), float(beta))
    exact = exact_beta_term(float(x), float(beta)) * float(np.float32(1e-5))
    assert abs(dbeta - exact) < 1e-6 * exact


@pytest.mark.parametrize("beta", [0.7, -1.3, 25.0])
def test_errors_in_float32(implementation: str, beta: float) -> None:
    """Below 1 ULP, and below 2 for the derivative, around its zero too."""
    beta = float(np.float32(beta))
    z = np.linspace(-30, 30, 200_001)
    x = np.concatenate([z, z[np.abs(z) < 3] / 1.7]).astype(np.float64) / beta
    x = x.astype(np.float32)
    ones = np.ones_like(x)
    for result, exact, ulps in (
        (swish(x, beta), reference.swish(x.astype(np.float64), beta), VALUE.bound),
        (
            swish_backward(ones, x, beta)[0],
            reference.swish_backward(ones.astype(np.float64), x.astype(np.float64), beta)[0],
            DERIVATIVE.bound,
        ),
    ):
        assert np.all(
            np.abs(result - exact) < ulps * np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        )


def test_beta_of_one_is_silu_and_of_zero_half_of_x(implementation: str) -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    beta = np.where(np.arange(1000) % 3 == 0, 1, 0).astype(np.float32)
    y = swish(x, beta)
    np.testing.assert_array_equal(y[::3], silu(x)[::3])
    np.testing.assert_array_equal(y[1::3], x[1::3] / 2)


def test_a_number_is_an_array_of_it(implementation: str) -> None:
    """The same bits, over segments and in every layout of beta."""
    x = np.random.default_rng(1).standard_normal((3, 5000)).astype(np.float32)
    y = swish(x, 1.5)
    for beta in (
        np.full((3, 1), 1.5, np.float32),
        np.full(5000, 1.5, np.float32),
        np.full((3, 5000), 1.5, np.float32),
    ):
        np.testing.assert_array_equal(swish(x, beta), y)
    dy = np.random.default_rng(2).standard_normal((3, 5000)).astype(np.float32)
    dx, dbeta = swish_backward(dy, x, 1.5)
    rows_dx, rows_dbeta = swish_backward(dy, x, np.full((3, 1), 1.5, np.float32))
    np.testing.assert_array_equal(dx, rows_dx)
    assert abs(rows_dbeta.sum() - dbeta) < 1e-4


@pytest.mark.parametrize("beta", [0.3, 1.5, -1.5, 20.0])
@pytest.mark.parametrize("end_of_z", [12.5, 20.0])
def test_zeros_keep_their_sign_and_the_ends_of_the_polynomials_their_digits(
    implementation: str, beta: float, end_of_z: float
) -> None:
    """beta x may round to the last number that has a polynomial, -20 or -12.5, and lie beyond it."""
    beta = float(np.float32(beta))
    end = np.float32(end_of_z / beta)
    near = (end.view(np.int32) + np.arange(-40, 41, dtype=np.int32)).view(np.float32)
    x = np.concatenate([near, -near, np.zeros(1, np.float32), -np.zeros(1, np.float32)])
    wide = x.astype(np.float64)
    y, exact = swish(x, beta), reference.swish(wide, beta)
    dx, derivative = (
        swish_backward(np.ones_like(x), x, beta)[0],
        reference.swish_backward(np.ones_like(wide), wide, beta)[0],
    )
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    for result, value, ulps in ((y, exact, VALUE.bound), (dx, derivative, DERIVATIVE.bound)):
        spacing = np.spacing(np.abs(value).astype(np.float32)).astype(np.float64)
        assert np.all(np.abs(result - value) < ulps * spacing)


@pytest.mark.parametrize(
    ("shape", "beta_shape"),
    [
        ((3, 4, 5, 20), (4, 1, 1)),
        ((3, 20, 5, 7), (20, 1, 1)),
        ((70, 3, 5), (3, 1)),
        ((150, 6, 3), (3,)),
        ((150, 6, 40), (6, 40)),
        ((4, 150, 40), (4, 1, 40)),
        ((33, 1, 40), (33, 1, 40)),
        ((2, 9, 3000), (9, 1)),
        ((1, 5000), (5000,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_gradients_for_every_shape_of_beta(
    shape: tuple[int, ...], beta_shape: tuple[int, ...], dtype: type, implementation: str
) -> None:
    """Within the bounds of the specification; the same bits in any layout and for any number of threads."""
    rng = np.random.default_rng(3)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    beta = rng.standard_normal(beta_shape).astype(np.float64 if dtype == np.float64 else np.float32)
    beta.ravel()[::3] = 1
    results = swish_backward(dy, x, beta)
    exact = reference.swish_backward(dy.astype(float), x.astype(float), beta.astype(float))
    bounds = spec.backward_bounds((dy,), (x, beta), {})
    for result, wanted, bound in zip(results, exact, bounds, strict=True):
        assert_within(result, wanted, bound)
    if fastnorm.get_backend() == "native":
        for threads in (1, 2):
            with fastnorm.threads(threads):
                others = swish_backward(np.asfortranarray(dy), np.flip(np.flip(x).copy()), beta[...])
            for result, other in zip(results, others, strict=True):
                assert_same_bits(result, other)


@pytest.mark.parametrize("shape", [(40, 40), (1, 40), (40, 1)])
def test_gradient_for_beta_where_a_factor_vanishes_or_overflows(
    shape: tuple[int, int], implementation: str
) -> None:
    """In float32 dy x or x sigmoid' may vanish or overflow where their product does not; zeros stay zeros."""
    for size, upstream, factor in (
        (1e3, 1e-42, 1e-2),
        (1e15, 1e-30, 1e-30),
        (1e20, 1e25, 1e-19),
        (1.0, 0.0, 2.0),
    ):
        x = np.full((40, 40), size, np.float32)
        dy = np.full((40, 40), upstream, np.float32)
        beta = np.full(shape, factor, np.float32)
        dy[::2, ::3] = 0
        _, dbeta = swish_backward(dy, x, beta)
        _, exact = reference.swish_backward(dy.astype(float), x.astype(float), beta.astype(float))
        finite = np.abs(exact) < 3e38
        np.testing.assert_allclose(dbeta[finite], exact[finite], rtol=1e-6, atol=2e-45)
        assert np.all(np.isinf(dbeta[~finite]))


def test_gradient_for_a_beta_that_is_not_a_number(implementation: str) -> None:
    """It shows also where dy or x is 0."""
    zero, one = (np.full((3, 20), value, np.float32) for value in (0, 1))
    for dy, x in ((zero, one), (one, zero)):
        for shape in ((), (3, 1), (1, 20), (3, 20)):
            dbeta = fastnorm.swish_backward(dy, x, np.full(shape, np.nan, np.float32))[1]
            assert np.isnan(dbeta).all(), (float(dy[0, 0]), float(x[0, 0]), shape)
