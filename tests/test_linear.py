"""What is special about dense layers, beside what test_ops.py tests: exact sums, leading axes, batches,
messages.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, get_args

import fastnorm
import numpy as np
import pytest
from fastnorm import reference
from fastnorm._specs.linear import product_bound
from fastnorm._typing import DenseActivation
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits

Array = NDArray[Any]


def layer(
    rng: np.random.Generator, rows: int, depth: int, cols: int, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """x, a weight of variance 1/in, and a bias."""
    x, bias = rng.standard_normal((rows, depth)), rng.standard_normal(cols)
    weight = rng.standard_normal((depth, cols)) / math.sqrt(max(depth, 1))
    return x.astype(dtype), weight.astype(dtype), bias.astype(dtype)


def test_forward_against_exact_sums(backend: str, rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 3, 700, 5, np.dtype(np.float64))
    exact = [
        [
            math.fsum([*(p * q for p, q in zip(row, column, strict=True)), b])
            for column, b in zip(weight.T, bias, strict=True)
        ]
        for row in x
    ]
    bound = product_bound(x, weight, x.dtype, bias)
    assert np.all(np.abs(fastnorm.linear(x, weight, bias) - exact) <= bound)


def test_no_features_and_no_outputs(backend: str, rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 3, 0, 4, np.dtype(np.float32))
    np.testing.assert_array_equal(
        fastnorm.linear(x, weight, bias, activation="relu"), [np.maximum(bias, 0)] * 3
    )
    x, weight, bias = layer(rng, 4, 5, 0, np.dtype(np.float32))
    assert fastnorm.linear(x, weight, bias).shape == (4, 0)
    dx, dweight, dbias = fastnorm.linear_backward(
        np.ones((4, 0), np.float32), x, weight, bias, activation="gelu"
    )
    np.testing.assert_array_equal(dx, np.zeros((4, 5)))
    assert dweight.shape == (5, 0)
    assert dbias is not None
    assert dbias.shape == (0,)


def test_leading_axes(backend: str, rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 24, 6, 7, np.dtype(np.float32))
    y = fastnorm.linear(x, weight, bias)
    assert_same_bits(fastnorm.linear(x.reshape(2, 3, 4, 6), weight, bias), y.reshape(2, 3, 4, 7))
    moved = np.moveaxis(x.reshape(2, 3, 4, 6), 2, 0)
    assert_same_bits(fastnorm.linear(moved, weight, bias), np.moveaxis(y.reshape(2, 3, 4, 7), 2, 0))
    assert_same_bits(fastnorm.linear(x[0], weight, bias), y[0])


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_a_row_does_not_depend_on_the_batch(
    dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    x, weight, bias = layer(rng, 61, 270, 40, dtype)
    for columns in (40, 33, 3, 1):
        y = fastnorm.linear(x, weight[:, :columns], bias[:columns], activation="relu")
        for rows in (slice(0, 1), slice(3, 5), slice(7, 20), slice(20, 61)):
            assert_same_bits(
                fastnorm.linear(x[rows], weight[:, :columns], bias[:columns], activation="relu"), y[rows]
            )
        assert_same_bits(y, fastnorm.linear(x, weight, bias, activation="relu")[:, :columns])


def test_out_is_an_input(backend: str, rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 20, 20, 20, np.dtype(np.float32))
    y = fastnorm.linear(x, weight, bias)
    for name in ("x", "weight"):
        arguments = {"x": x.copy(), "weight": weight.copy()}
        out = arguments[name]
        assert fastnorm.linear(arguments["x"], arguments["weight"], bias, out=out) is out
        assert_same_bits(out, y)


def test_float32_parameters_of_half_inputs(implementation: str, rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 9, 30, 11, np.dtype(np.float32))
    y = fastnorm.linear(x.astype(np.float16), weight, bias)
    exact = reference.linear(
        x.astype(np.float16).astype(np.float64), weight.astype(np.float64), bias.astype(np.float64)
    )
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.astype(np.float64), exact, rtol=2.0**-10, atol=1e-5)


def test_special_values(implementation: str) -> None:
    x = np.array([[np.nan, 1.0], [np.inf, 1.0], [1e-45, 1.0], [1.0, 2.0]], np.float32)
    weight = np.array([[1.0, -1.0], [0.0, 0.0]], np.float32)
    y = fastnorm.linear(x, weight, activation="relu")
    np.testing.assert_array_equal(y, [[np.nan, np.nan], [np.inf, 0], [np.float32(1e-45), 0], [1, 0]])


X, W, B = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32), np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((X, W.T), {}, ValueError, r"weight has shape \(4, 3\), needs \(3, out\)"),
        ((X, W[0]), {}, ValueError, "weight has shape"),
        ((X, W, B[:3]), {}, ValueError, r"bias has shape \(3,\), needs \(4,\)"),
        ((X, W.astype(np.float64)), {}, TypeError, "weight has dtype float64, needs float32"),
        ((X.astype(int), W), {}, TypeError, "x has dtype int64"),
        ((np.float32(1.0), W), {}, ValueError, "x has no axes"),
        ((X, W, B), {"activation": "cosine"}, ValueError, "activation is 'cosine', needs one of 'relu'"),
        ((X, W, B), {"activation": 1}, TypeError, "activation has type int"),
        (
            (X, W, B),
            {"out": np.empty((2, 3), np.float32)},
            ValueError,
            r"out has shape \(2, 3\), needs \(2, 4\)",
        ),
        ((X, W, B), {"out": np.broadcast_to(np.float32(0), (2, 4))}, ValueError, "out is read-only"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], keywords: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    with pytest.raises(error, match=f"linear: {message}"):
        fastnorm.linear(*arguments, **keywords)


def test_bad_gradient(backend: str) -> None:
    with pytest.raises(
        ValueError, match=r"linear_backward: dy has shape \(2, 3\), needs \(2, 4\) as the result"
    ):
        fastnorm.linear_backward(X, X, W, B)


LIMITS = np.array([-math.inf, -3e38, -5e4, math.nan, 5e4, 3e38, math.inf])


def limits_of(dtype: np.dtype[Any]) -> Array:
    """Far arguments of an activation, as sums of a product that may overflow."""
    with np.errstate(over="ignore"):
        return LIMITS.astype(dtype)


def assert_same_limits(got: Array, expected: Array) -> None:
    """Assert that they are equal but for the error of a slope that is nearly 0 or 1."""
    np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("activation", get_args(DenseActivation))
def test_limits_of_activations(activation: Any, dtype: np.dtype[Any], implementation: str) -> None:
    """Layers have the limits of the activations themselves, forward and backward."""
    z = limits_of(dtype)
    x, weight = np.zeros((1, 1), dtype), np.zeros((1, len(z)), dtype)
    dy = np.ones((1, len(z)), dtype)
    wide = z.astype(np.result_type(dtype, np.float32))  # the type of the gradients of parameters
    if activation == "gelu_tanh":
        y = fastnorm.gelu(z, approximate="tanh")
        slope = fastnorm.gelu_backward(np.ones_like(wide), wide, approximate="tanh")
    else:
        op = getattr(fastnorm, activation)
        y, slope = op(z), op.backward(np.ones_like(wide), wide)
    assert_same_limits(fastnorm.linear(x, weight, z, activation=activation)[0], y)
    dbias = fastnorm.linear_backward(dy, x, weight, z, activation=activation)[2]
    assert_same_limits(dbias, slope)
    got = fastnorm.mlp_forward(x, [weight], [z], output_activation=activation)
    assert_same_limits(got[0], y)
    gradients = fastnorm.mlp_backward(dy, x, [weight], [z], output_activation=activation)
    assert_same_limits(gradients[2][0], slope)


UNITS: dict[str | None, tuple[Any, dict[str, Any]]] = {
    "swish": (fastnorm.swiglu, {}),
    "sigmoid": (fastnorm.sigmoid, {}),
    "tanh": (fastnorm.tanh, {}),
    "gelu": (fastnorm.geglu, {}),
    "gelu_tanh": (fastnorm.geglu, {"approximate": "tanh"}),
    "relu": (fastnorm.reglu, {}),
    None: (fastnorm.bilinear, {}),
}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("gate", UNITS)
def test_limits_of_gates(gate: Any, dtype: np.dtype[Any], implementation: str) -> None:
    """Gated layers have the limits of the gated units, whatever the (finite) beta."""
    z = limits_of(dtype)
    x, weight = np.zeros((1, 1), dtype), np.zeros((1, len(z)), dtype)
    up, dy = np.full(len(z), 2, dtype), np.ones((1, len(z)), dtype)
    for beta in (1.0, -2.0, 0.0) if gate == "swish" else (1.0,):
        op, keywords = UNITS[gate]
        if gate == "swish":
            keywords = {"beta": beta}
        if op in (fastnorm.sigmoid, fastnorm.tanh):  # which have no unit of their own
            y, dgate, dup = op(z) * up, op.backward(dy[0] * up, z), op(z)
        else:
            y = op(z, up, **keywords)
            dgate, dup = op.backward(dy[0], z, up, **keywords)
        got = fastnorm.gated_linear(x, weight, weight, z, up, gate=gate, beta=beta)[0]
        assert_same_limits(got, y)
        gradients = fastnorm.gated_linear_backward(dy, x, weight, weight, z, up, gate=gate, beta=beta)
        assert_same_limits(gradients[3], dgate)
        assert_same_limits(gradients[4], dup)
