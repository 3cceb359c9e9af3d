"""Dense layers. A shape is that of x, (..., in), followed by the number of outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from fastnorm import reference
from fastnorm._typing import DenseActivation, Gate
from fastnorm.reference.linear import before_activation, gate_of
from tolerances import last_rounding, roundoff

from .case import Array, Variant
from .op import Arguments, Bounds, Op

DEPTH_BLOCK = 256  # terms that are added in one chain
STEEPEST = 1.2  # no activation, nor any derivative of one, is steeper
ELEMENTWISE = 4  # roundings of an activation, of its derivative, and of a product with it

# Around tiles of 6 x 64 and 6 x 16, blocks of 256 terms, one row, one column, and as many outputs as inputs.
SHAPES = ((1, 1, 1), (3, 7, 4), (2, 64, 64), (15, 33, 33), (40, 130, 1), (3, 1029, 70), (2, 3, 18, 20))
LARGE = ((513, 300, 260), (5, 2000, 900), (20_011, 13, 5))
EMPTY = ((0, 5, 3),)


def normal(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], scale: float = 1.0
) -> Array:
    """Normally distributed numbers."""
    return np.asarray(scale * rng.standard_normal(shape)).astype(dtype)


def layer(
    rng: np.random.Generator, depth: int, cols: int, dtype: np.dtype[Any], *, kinks: bool
) -> tuple[Array, Array]:
    """A weight of variance 1/in and a bias, which with `kinks` keeps sums away from 0, where relu bends."""
    weight = normal(rng, (depth, cols), dtype, 1 / math.sqrt(max(depth, 1)))
    bias = normal(rng, (cols,), dtype)
    return weight, np.where(bias < 0, bias - 20, bias + 20).astype(dtype) if kinks else bias


def wide(array: Array | None) -> Array | float:
    """The same values in float64, 0 for none."""
    return 0.0 if array is None else array.astype(np.float64)


def product_bound(a: Array, b: Array, dtype: np.dtype[Any], bias: Array | None = None) -> Array:
    """Bound on the error of a @ b + bias: blocks of terms in one chain each, and their sums in another."""
    depth = a.shape[-1]
    roundings = min(depth, DEPTH_BLOCK) + math.ceil(depth / DEPTH_BLOCK) + 2
    return np.asarray(roundings * roundoff(dtype) * (np.abs(wide(a)) @ np.abs(wide(b)) + np.abs(wide(bias))))


def weight_bounds(x: Array, dz: Array, error: Array, dtype: np.dtype[Any], *, has_bias: bool) -> Bounds:
    """Bounds on dweight and dbias from those on the magnitude and the error of dz."""
    rows, dz, error = (
        np.abs(wide(a)).reshape(-1, a.shape[-1]) if a.size else np.zeros((0, a.shape[-1]))
        for a in (x, dz, error)
    )
    dweight = product_bound(rows.T, dz, dtype) + rows.T @ error
    dbias = product_bound(np.ones((1, len(dz))), dz, dtype)[0] + error.sum(axis=0)
    return (dweight, dbias) if has_bias else (dweight,)


def make_linear(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """x, weight and bias."""
    weight, bias = layer(rng, shape[-2], shape[-1], dtype, kinks=variant.keywords.get("activation") == "relu")
    return normal(rng, shape[:-1], dtype), weight, bias if "bias" in variant.given else None


def linear_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The error of the sum, through the activation, and those of the activation itself."""
    x, weight, bias = inputs
    with np.errstate(all="ignore"):
        exact = reference.linear(wide(x), wide(weight), None if bias is None else wide(bias), **keywords)
        error = STEEPEST * product_bound(x, weight, x.dtype, bias) + ELEMENTWISE * roundoff(x.dtype) * np.abs(
            exact
        )
    return (error + last_rounding(exact, x.dtype),)


def linear_backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The error of dz, from z through the second derivative, and those of the products with it."""
    (dy,), (x, weight, bias) = dys, inputs
    dtype = x.dtype
    with np.errstate(all="ignore"):
        has_activation = keywords.get("activation") is not None
        error = STEEPEST * product_bound(x, weight, dtype, bias) + ELEMENTWISE * roundoff(dtype)
        error = np.abs(wide(dy)) * (STEEPEST * error if has_activation else 0)
        dz = STEEPEST * np.abs(wide(dy))
        dx = product_bound(dz, weight.T, dtype) + error @ np.abs(wide(weight)).T
    return (
        dx + last_rounding(dx, dtype) + rounding_of(dz, weight, dtype),
        *weight_bounds(x, dz, error, dtype, has_bias=bias is not None),
    )


def rounding_of(dz: Array, weight: Array, dtype: np.dtype[Any]) -> Array:
    """Bound on the last rounding of dz @ weight.T."""
    return last_rounding(np.abs(wide(dz)) @ np.abs(wide(weight)).T, dtype)


def make_gated(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """x and two layers."""
    w_gate, b_gate = layer(rng, shape[-2], shape[-1], dtype, kinks=variant.keywords.get("gate") == "relu")
    w_up, b_up = layer(rng, shape[-2], shape[-1], dtype, kinks=False)
    biases = (b_gate, b_up) if "b_gate" in variant.given else (None, None)
    return normal(rng, shape[:-1], dtype), w_gate, w_up, *biases


def gated_parts(inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, Array, Array, Array]:
    """The gate's and the other factor's values, and bounds on their errors."""
    x, w_gate, w_up, b_gate, b_up = inputs
    z, up = before_activation(x, w_gate, b_gate), before_activation(x, w_up, b_up)
    gate = gate_of(z, keywords.get("gate", "swish"), keywords.get("beta", 1.0))
    gate_error = STEEPEST * product_bound(x, w_gate, x.dtype, b_gate) + ELEMENTWISE * roundoff(
        x.dtype
    ) * np.abs(gate)
    return gate, up, gate_error, product_bound(x, w_up, x.dtype, b_up)


def gated_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The error of each factor times the other, and a rounded product."""
    dtype = inputs[0].dtype
    with np.errstate(all="ignore"):
        gate, up, gate_error, up_error = gated_parts(inputs, keywords)
        error = np.abs(up) * gate_error + np.abs(gate) * up_error + gate_error * up_error
        return (error + roundoff(dtype) * np.abs(gate * up) + last_rounding(gate * up, dtype),)


def gated_backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The errors of both layers' dz, and those of the products with them."""
    x, w_gate, w_up, b_gate, _ = inputs
    dtype = x.dtype
    with np.errstate(all="ignore"):
        dy = np.abs(wide(dys[0]))
        gate, up, gate_error, up_error = gated_parts(inputs, keywords)
        rounding = ELEMENTWISE * roundoff(dtype)
        slope_error = STEEPEST * STEEPEST * product_bound(x, w_gate, dtype, b_gate) + rounding
        dz, dup = STEEPEST * dy * np.abs(up), dy * np.abs(gate)
        dz_error = dy * (STEEPEST * up_error + np.abs(up) * (slope_error + STEEPEST * rounding))
        dup_error = dy * (gate_error + rounding * np.abs(gate))
        terms = dz @ np.abs(wide(w_gate)).T + dup @ np.abs(wide(w_up)).T
        dx = (
            product_bound(dz, w_gate.T, dtype)
            + product_bound(dup, w_up.T, dtype)
            + 2 * roundoff(dtype) * terms
        )
        dx = (
            dx
            + dz_error @ np.abs(wide(w_gate)).T
            + dup_error @ np.abs(wide(w_up)).T
            + last_rounding(terms, dtype)
        )
        has_bias = b_gate is not None
        of_gate = weight_bounds(x, dz, dz_error, dtype, has_bias=has_bias)
        of_up = weight_bounds(x, dup, dup_error, dtype, has_bias=has_bias)
    return (dx, of_gate[0], of_up[0], *of_gate[1:], *of_up[1:])


ACTIVATIONS = get_args(DenseActivation)
GATES = (*get_args(Gate), None)
WRONG = np.ones((3, 4), np.float32)

OPS = (
    Op(
        "linear",
        make_linear,
        (
            Variant("plain", ("bias",)),
            Variant("no_bias"),
            *(Variant(name, ("bias",), {"activation": name}) for name in ACTIVATIONS),
        ),
        ("x", "weight", "bias"),
        linear_bounds,
        linear_backward_bounds,
        shapes=SHAPES,
        large=LARGE,
        empty=EMPTY,
        rows=False,  # tested by test_linear.py: x alone has the rows of the batch
        dense_results=False,
        bad=(
            ("weight", WRONG, ValueError),
            ("weight", WRONG[0], ValueError),
            ("weight", WRONG.astype(int), TypeError),
            ("bias", WRONG[0, :1], ValueError),
            ("activation", "softplus", ValueError),
            ("activation", 1, TypeError),
        ),
    ),
    Op(
        "gated_linear",
        make_gated,
        (
            Variant("no_bias"),
            Variant("scaled", keywords={"beta": -0.7}),
            *(Variant(str(name), ("b_gate",), {"gate": name}) for name in GATES),
        ),
        ("x", "w_gate", "w_up", "b_gate", "b_up"),
        gated_bounds,
        gated_backward_bounds,
        shapes=SHAPES,
        large=LARGE,
        empty=EMPTY,
        rows=False,  # tested by test_linear.py: x alone has the rows of the batch
        dense_results=False,
        bad=(
            ("w_gate", WRONG, ValueError),
            ("w_up", WRONG, ValueError),
            ("b_up", WRONG[0, :1], ValueError),
            ("gate", "silu", ValueError),
            ("gate", 1, TypeError),
            ("beta", np.nan, ValueError),
            ("beta", "1", TypeError),
        ),
    ),
)
