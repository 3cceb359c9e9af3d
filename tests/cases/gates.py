"""Gated units, of two arrays and packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastnorm import reference
from tolerances import UNIT_ROUNDOFF, last_rounding, roundoff

from .activations import gelu_backward_bounds, gelu_forward_bound, within
from .case import Array, Variant
from .op import Arguments, Bounds, Op

Act = Callable[
    [Array, Mapping[str, Any]], tuple[Array, Array]
]  # an activation's values and bounds on their errors


def exact_act(values: Callable[[Array], Array]) -> Act:
    """An activation that is not rounded."""
    return lambda x, keywords: (values(x.astype(np.float64)), np.zeros(x.shape))


def gelu(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """Gelu and its bound."""
    return reference.gelu(x.astype(np.float64), **keywords), gelu_forward_bound((x,), keywords)


def gelu_derivative(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """The derivative of gelu and its bound."""
    ones = np.ones_like(x)
    values = reference.gelu_backward(ones.astype(np.float64), x.astype(np.float64), **keywords)
    return values, gelu_backward_bounds(ones, (x,), keywords)[0]


def contract(name: str) -> tuple[Act, Act]:
    """An activation and its derivative, with the bounds of their contracts."""
    forward, backward = getattr(reference, name), getattr(reference, f"{name}_backward")

    def values(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
        y = forward(x.astype(np.float64))
        return y, within(y, 1.0, x.dtype)

    def slopes(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
        derivative = backward(np.ones(x.shape), x.astype(np.float64))
        return derivative, within(derivative, 2.0, x.dtype)

    return values, slopes


def swish(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """Swish and its bound: the rounding of beta x in the twin counts as often as beta x is large."""
    z = keywords.get("beta", 1.0) * x.astype(np.float64)
    y = x * reference.sigmoid(z)
    return y, within(y, 1.0, x.dtype) + UNIT_ROUNDOFF["float64"] * np.abs(y * z)


def swish_derivative(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """The derivative of swish and its bound, likewise; its terms have the size of s and z s (1 - s)."""
    z = keywords.get("beta", 1.0) * x.astype(np.float64)
    derivative = reference.silu_backward(np.ones(x.shape), z)
    size = reference.sigmoid(z) * (1 + np.abs(z) * reference.sigmoid(-z))
    return derivative, within(derivative, 2.0, x.dtype) + 2 * UNIT_ROUNDOFF["float64"] * np.abs(z) * size


PACKED = Variant("packed")


def inputs_of(gate_scale: float, *, packed_only: bool = False) -> Callable[..., Arguments]:
    """gate, up; or both in one array, whose last axis is then twice as long."""

    def make(
        rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
    ) -> Arguments:
        gate, up = (
            (gate_scale * rng.standard_normal(shape)).astype(dtype),
            rng.standard_normal(shape).astype(dtype),
        )
        if packed_only:
            return (np.concatenate([up, gate], axis=-1),)
        return (np.concatenate([gate, up], axis=-1), None) if variant.label == "packed" else (gate, up)

    return make


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


def gate_op(name: str, act: Act, derivative: Act, variants: tuple[Variant, ...] = ()) -> Op:
    """A gated unit of two arrays or a packed one."""
    return Op(
        name,
        inputs_of(3.0),
        (Variant("two"), PACKED, *variants),
        ("gate", "up"),
        forward_bounds(act),
        backward_bounds(act, derivative),
        bad=(
            ("axis", 1.0, TypeError),
            ("axis", None, TypeError),
            ("up", np.ones((3, 8), np.float32), ValueError),
            ("up", np.ones((3, 7)), TypeError),
        ),
    )


GLU_VALUES, GLU_DERIVATIVE = contract("sigmoid")
GLU = Op(
    "glu",
    inputs_of(3.0, packed_only=True),
    (PACKED,),
    ("x",),
    forward_bounds(GLU_VALUES),
    backward_bounds(GLU_VALUES, GLU_DERIVATIVE),
    bad=(("axis", 1.0, TypeError), ("axis", 2, ValueError), ("x", np.ones((3, 7), np.float32), ValueError)),
)

OPS = (
    GLU,
    gate_op(
        "swiglu",
        swish,
        swish_derivative,
        tuple(Variant(f"beta={beta}", keywords={"beta": beta}) for beta in (1.5, -0.75, 0.0)),
    ),
    gate_op(
        "geglu",
        gelu,
        gelu_derivative,
        (
            Variant("tanh", keywords={"approximate": "tanh"}),
            Variant("sigmoid", keywords={"approximate": "sigmoid"}),
        ),
    ),
    gate_op("reglu", exact_act(lambda x: np.maximum(x, 0)), exact_act(lambda x: (x > 0).astype(float))),
    gate_op("bilinear", exact_act(lambda x: x), exact_act(np.ones_like)),
)
