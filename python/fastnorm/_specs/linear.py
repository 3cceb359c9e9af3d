"""Dense layers. A problem is the shape of x, (..., in), followed by the number of outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from .. import reference
from .._typing import DenseActivation, Gate
from ..reference.linear import before_activation, gate_of
from .activations import GATE_SPECS
from .bounds import last_rounding, roundoff
from .spec import GRADIENT, Arguments, Array, Bounds, Draw, Shape, Spec, Variant, Workload

DEPTH_BLOCK = 256  # terms that are added in one chain
STEEPEST = 1.2  # no activation, nor any derivative of one, is steeper
ELEMENTWISE = 4  # roundings of an activation, of its derivative, and of a product with it

# Around tiles of 6 x 64 and 6 x 16, blocks of 256 terms, one row, one column, and as many outputs as inputs.
SHAPES = ((1, 1, 1), (3, 7, 4), (2, 64, 64), (15, 33, 33), (40, 130, 1), (3, 1029, 70), (2, 3, 18, 20))
LARGE = ((513, 300, 260), (5, 2000, 900), (20_011, 13, 5))
EMPTY = ((0, 5, 3),)


def square(shape: Shape) -> Shape:
    """As many outputs as inputs."""
    return (*shape, shape[-1])


def layer(draw: Draw, depth: int, cols: int, *, kinks: bool) -> tuple[Array, Array]:
    """A weight of variance 1/in and a bias, which with `kinks` keeps sums away from 0, where relu bends."""
    weight = draw.normal((depth, cols), deviation=1 / math.sqrt(max(depth, 1)))
    bias = draw.normal((cols,))
    return weight, np.where(bias < 0, bias - 20, bias + 20).astype(draw.dtype) if kinks else bias


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


def linear_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, weight and bias."""
    x = draw.x(shape[:-1])
    weight, bias = layer(draw, shape[-2], shape[-1], kinks=variant.keywords.get("activation") == "relu")
    return x, weight, bias if "bias" in variant.given else None


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


def gated_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x and two layers."""
    x = draw.x(shape[:-1])
    w_gate, b_gate = layer(draw, shape[-2], shape[-1], kinks=variant.keywords.get("gate") == "relu")
    w_up, b_up = layer(draw, shape[-2], shape[-1], kinks=False)
    return x, w_gate, w_up, *((b_gate, b_up) if "b_gate" in variant.given else (None, None))


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


def activated(name: str, z: Array) -> Array:
    """An activation by its NumPy formula."""
    y: Array = GATE_SPECS[name].formula(z)  # type: ignore[misc]
    return y


def pulled_back(name: str, dy: Array, z: Array) -> Array:
    """Its gradient by the NumPy formula."""
    dz: Array = GATE_SPECS[name].backward_formula(dy, z)  # type: ignore[misc]
    return dz


def numpy_linear(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None
) -> Array:
    """Dense layer by BLAS, then bias and activation."""
    z: Array = x @ weight if bias is None else x @ weight + bias
    return z if activation is None else activated(activation, z)


def numpy_linear_backward(
    dy: Array, x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None
) -> tuple[Array | None, ...]:
    """Gradients of `linear` by BLAS."""
    if activation is not None:
        dy = pulled_back(activation, dy, x @ weight if bias is None else x @ weight + bias)
    rows, rows_of_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, rows.T @ rows_of_dy, None if bias is None else rows_of_dy.sum(axis=0)


def numpy_gated_linear(
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None = None,
    b_up: Array | None = None,
    *,
    gate: str = "swish",
) -> Array:
    """Gated layer by BLAS."""
    return np.multiply(activated(gate, numpy_linear(x, w_gate, b_gate)), numpy_linear(x, w_up, b_up))


def numpy_gated_linear_backward(
    dy: Array,
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None = None,
    b_up: Array | None = None,
    *,
    gate: str = "swish",
) -> tuple[Array | None, ...]:
    """Gradients of `gated_linear` by BLAS."""
    z, up = numpy_linear(x, w_gate, b_gate), numpy_linear(x, w_up, b_up)
    dx_of_gate, dw_gate, db_gate = numpy_linear_backward(pulled_back(gate, dy * up, z), x, w_gate, b_gate)
    dx_of_up, dw_up, db_up = numpy_linear_backward(dy * activated(gate, z), x, w_up, b_up)
    assert dx_of_gate is not None
    assert dx_of_up is not None
    return dx_of_gate + dx_of_up, dw_gate, dw_up, db_gate, db_up


ACTIVATIONS = get_args(DenseActivation)
GATES = (*get_args(Gate), None)
WRONG = np.ones((3, 4), np.float32)


PLAIN, NO_BIAS = Variant("plain", ("bias",)), Variant("no_bias")
RELU, GELU = (Variant(name, ("bias",), {"activation": name}) for name in ("relu", "gelu"))
BIASES, NO_BIASES = Variant("biases", ("b_gate",)), Variant("no_bias")

linear = Spec(
    "linear",
    linear_inputs,
    (
        PLAIN,
        NO_BIAS,
        *(Variant(name, ("bias",), {"activation": name}) for name in ACTIVATIONS),
    ),
    ("x", "weight", "bias"),
    GRADIENT,
    GRADIENT,
    linear_bounds,
    linear_backward_bounds,
    numpy_linear,
    numpy_linear_backward,
    checked=(PLAIN, NO_BIAS, RELU, GELU),
    workloads=(Workload(PLAIN), Workload(RELU, "relu", backward=False)),
    problem=square,
    shapes=SHAPES,
    large=LARGE,
    empty=EMPTY,
    batches=(),  # in test_linear.py: x alone has the rows of the batch
    dense_results=False,
    bad=(
        ("weight", WRONG, ValueError),
        ("weight", WRONG[0], ValueError),
        ("weight", WRONG.astype(int), TypeError),
        ("bias", WRONG[0, :1], ValueError),
        *(("activation", name, ValueError) for name in GATES if name not in (*ACTIVATIONS, None)),
        ("activation", 1, TypeError),
    ),
)
gated_linear = Spec(
    "gated_linear",
    gated_inputs,
    (
        NO_BIASES,
        Variant("scaled", keywords={"beta": -0.7}),
        *(Variant(str(name), ("b_gate",), {"gate": name}) for name in GATES),
    ),
    ("x", "w_gate", "w_up", "b_gate", "b_up"),
    GRADIENT,
    GRADIENT,
    gated_bounds,
    gated_backward_bounds,
    numpy_gated_linear,
    numpy_gated_linear_backward,
    checked=(NO_BIASES, BIASES, Variant("gelu", ("b_gate",), {"gate": "gelu"})),
    problem=square,
    shapes=SHAPES,
    large=LARGE,
    empty=EMPTY,
    batches=(),  # in test_linear.py: x alone has the rows of the batch
    dense_results=False,
    bad=(
        ("w_gate", WRONG, ValueError),
        ("w_up", WRONG, ValueError),
        ("b_up", WRONG[0, :1], ValueError),
        *(("gate", name, ValueError) for name in ACTIVATIONS if name not in GATES),
        ("gate", 1, TypeError),
        ("beta", np.nan, ValueError),
        ("beta", "1", TypeError),
    ),
)
