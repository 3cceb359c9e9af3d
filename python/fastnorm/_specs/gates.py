"""Gated units, of two arrays and packed. A problem is the shape of the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import reference
from .activations import (
    DERIVATIVE,
    FORMS,
    VALUE,
    gelu_twin_error,
    numpy_gelu,
    numpy_gelu_backward,
    slopes_within,
    twin_error,
    values_within,
    within,
)
from .bounds import UNIT_ROUNDOFF, last_rounding, roundoff
from .spec import ROUNDED, Arguments, Array, Bounds, Contract, Draw, Pair, Shape, Spec, Variant, Workload

GATE = Contract("ULP", 2.5)
GATE_GRADIENT = Contract("ULP", 5.5)
Act = Callable[[Array, Mapping[str, Any]], Pair]  # values of an activation, and bounds on their errors
PACKED = Variant("packed")


def exact_act(values: Callable[[Array], Array]) -> Act:
    """An activation that is not rounded."""
    return lambda x, keywords: (values(x.astype(np.float64)), np.zeros(x.shape))


def swish_values(x: Array, keywords: Mapping[str, Any]) -> Pair:
    """Swish and its bound: the rounding of beta x in the twin counts as often as beta x is large."""
    z = keywords.get("beta", 1.0) * x.astype(np.float64)
    y = x * reference.sigmoid(z)
    return y, within(y, VALUE, x.dtype) + twin_error(y) + UNIT_ROUNDOFF["float64"] * np.abs(y * z)


def swish_slopes(x: Array, keywords: Mapping[str, Any]) -> Pair:
    """The derivative of swish and its bound, likewise; its terms have the size of s and z s (1 - s)."""
    z = keywords.get("beta", 1.0) * x.astype(np.float64)
    derivative, _ = reference.swish_backward(np.ones(x.shape), z, np.ones(1))
    size = reference.sigmoid(z) * (1 + np.abs(z) * reference.sigmoid(-z))
    error = within(derivative, DERIVATIVE, x.dtype) + twin_error(derivative)
    return derivative, error + 2 * UNIT_ROUNDOFF["float64"] * np.abs(z) * size


def gate_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """gate, up; or both in one array, whose last axis is then twice as long."""
    gate, up = draw.x(shape, deviation=3.0), draw.normal(shape)
    return (np.concatenate([gate, up], axis=-1), None) if variant.label == "packed" else (gate, up)


def glu_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Both in one array, the gate behind."""
    gate, up = gate_inputs(draw, shape, Variant("two"))
    return (np.concatenate([up, gate], axis=-1),)


def parts(inputs: Arguments) -> tuple[Array, Array]:
    """Gate and up; the only argument of glu has the gate behind."""
    if len(inputs) == 1:
        up, gate = np.split(inputs[0], 2, axis=-1)
        return gate, up
    return tuple(np.split(inputs[0], 2, axis=-1)) if inputs[1] is None else inputs  # type: ignore[return-value]


def forward_bounds(act: Act) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    """The error of the activation times up, and a rounded product."""

    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        gate, up = parts(inputs)
        with np.errstate(all="ignore"):
            values, error = act(computed(gate), keywords)
            return (product_bound(up.astype(np.float64), values, error, gate.dtype),)

    return bounds


def backward_bounds(act: Act, derivative: Act) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    """The errors of the derivative times dy * up, a rounded product, and of the activation times dy."""

    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        gate, up = parts(inputs)
        dtype, dy64, up64 = gate.dtype, dys[0].astype(np.float64), up.astype(np.float64)
        with np.errstate(all="ignore"):
            values, error = act(computed(gate), keywords)
            slopes, slope_error = derivative(computed(gate), keywords)
            first = roundoff(dtype) * np.abs(dy64 * up64 * slopes)
            dgate = first + product_bound(dy64 * up64, slopes, slope_error, dtype)
            dup = product_bound(dy64, values, error, dtype)
        if len(inputs) == 1:
            return (np.concatenate([dup, dgate], axis=-1),)
        return (np.concatenate([dgate, dup], axis=-1),) if inputs[1] is None else (dgate, dup)

    return bounds


def computed(x: Array) -> Array:
    """The array in the type that an op computes in."""
    return x.astype(np.float64 if x.dtype == np.float64 else np.float32)


def product_bound(factor: Array, values: Array, error: Array, dtype: np.dtype[Any]) -> Array:
    """Bound on the error of a rounded product with values of this error; the twin rounds it too."""
    product = np.abs(factor * values)
    rounding = (roundoff(dtype) + 2 * UNIT_ROUNDOFF["float64"]) * product
    return np.asarray(np.abs(factor) * error + rounding + last_rounding(product, dtype))


def halves(gate: Array, up: Array | None) -> Pair:
    """Return gate and up, which are the halves of a packed array where there is no up."""
    if up is not None:
        return gate, up
    first, second = np.split(gate, 2, axis=-1)
    return first, second


def like_inputs(dgate: Array, dup: Array, up: Array | None) -> Array | Pair:
    """Return the gradients of a gated unit, packed where its inputs are."""
    return (dgate, dup) if up is not None else np.concatenate([dgate, dup], axis=-1)


def numpy_glu(x: Array) -> Array:
    """First half of x times the sigmoid of the second."""
    up, gate = halves(x, None)
    y: Array = up / (1.0 + np.exp(-gate))
    return y


def numpy_glu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `glu`."""
    up, gate = halves(x, None)
    s = 1.0 / (1.0 + np.exp(-gate))
    return np.concatenate([dy * s, dy * up * s * (1.0 - s)], axis=-1)


def numpy_swiglu(gate: Array, up: Array | None = None) -> Array:
    """Silu of the gate times up."""
    first, second = halves(gate, up)
    y: Array = first / (1.0 + np.exp(-first)) * second
    return y


def numpy_swiglu_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `swiglu`."""
    first, second = halves(gate, up)
    s = 1.0 / (1.0 + np.exp(-first))
    return like_inputs(dy * second * (s + first * s * (1.0 - s)), dy * first * s, up)


def numpy_geglu(gate: Array, up: Array | None = None, *, approximate: str = "none") -> Array:
    """Gelu of the gate times up."""
    first, second = halves(gate, up)
    return numpy_gelu(first, approximate=approximate) * second


def numpy_geglu_backward(
    dy: Array, gate: Array, up: Array | None = None, *, approximate: str = "none"
) -> Array | Pair:
    """Gradients of `geglu`."""
    first, second = halves(gate, up)
    dgate = numpy_gelu_backward(dy * second, first, approximate=approximate)
    return like_inputs(dgate, dy * numpy_gelu(first, approximate=approximate), up)


def numpy_reglu(gate: Array, up: Array | None = None) -> Array:
    """Positive part of the gate times up."""
    first, second = halves(gate, up)
    y: Array = np.maximum(first, 0) * second
    return y


def numpy_reglu_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `reglu`."""
    first, second = halves(gate, up)
    return like_inputs(dy * second * (first > 0), dy * np.maximum(first, 0), up)


def numpy_bilinear(gate: Array, up: Array | None = None) -> Array:
    """Product of gate and up."""
    first, second = halves(gate, up)
    return first * second


def numpy_bilinear_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `bilinear`."""
    first, second = halves(gate, up)
    return like_inputs(dy * second, dy * first, up)


def gate_op(
    name: str,
    acts: tuple[Act, Act],
    formulas: tuple[Callable[..., Any], Callable[..., Any]],
    variants: tuple[Variant, ...] = (),
    contracts: tuple[Contract, Contract] = (GATE, GATE_GRADIENT),
    **more: Any,
) -> Spec:
    """A gated unit of two arrays or a packed one, from its activation and the derivative."""
    return Spec(
        name,
        gate_inputs,
        (TWO, PACKED, *variants),
        ("gate", "up"),
        *contracts,
        forward_bounds(acts[0]),
        backward_bounds(*acts),
        *formulas,
        bad=(
            ("axis", 1.0, TypeError),
            ("axis", None, TypeError),
            ("up", np.ones((3, 8), np.float32), ValueError),
            ("up", np.ones((3, 7)), TypeError),
        ),
        **more,
    )


TWO = Variant("two")
TWO_AND_PACKED = (Workload(TWO), Workload(PACKED, "packed"))
GLU_ACTS = partial(values_within, "sigmoid"), partial(slopes_within, "sigmoid")

glu = Spec(
    "glu",
    glu_inputs,
    (PACKED,),
    ("x",),
    GATE,
    GATE_GRADIENT,
    forward_bounds(GLU_ACTS[0]),
    backward_bounds(*GLU_ACTS),
    numpy_glu,
    numpy_glu_backward,
    bad=(("axis", 1.0, TypeError), ("axis", 2, ValueError), ("x", np.ones((3, 7), np.float32), ValueError)),
)
swiglu = gate_op(
    "swiglu",
    (swish_values, swish_slopes),
    (numpy_swiglu, numpy_swiglu_backward),
    tuple(Variant(f"beta={beta}", keywords={"beta": beta}) for beta in (1.5, -0.75, 0.0)),
    workloads=TWO_AND_PACKED,
)
geglu = gate_op(
    "geglu",
    (
        partial(values_within, "gelu", errors=gelu_twin_error),
        partial(slopes_within, "gelu", errors=gelu_twin_error),
    ),
    (numpy_geglu, numpy_geglu_backward),
    FORMS[1:],
    workloads=TWO_AND_PACKED,
)
reglu = gate_op(
    "reglu",
    (exact_act(lambda x: np.maximum(x, 0)), exact_act(lambda x: (x > 0).astype(float))),
    (numpy_reglu, numpy_reglu_backward),
    contracts=(ROUNDED, ROUNDED),
)
bilinear = gate_op(
    "bilinear",
    (exact_act(lambda x: x), exact_act(np.ones_like)),
    (numpy_bilinear, numpy_bilinear_backward),
    contracts=(ROUNDED, ROUNDED),
)
