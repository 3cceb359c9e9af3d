"""The argument rules of the dense layers."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np

from .._typing import Array, DenseActivation, Gate
from .rules import Rules, without_leading_ones

ACTIVATIONS: tuple[str, ...] = get_args(DenseActivation)
GATES: tuple[str, ...] = get_args(Gate)

GatedLayer = tuple[Array, Array, Array, Array | None, Array | None, Gate | None, float]


def linear(
    rules: Rules, x: object, weight: object, bias: object, activation: object, out: object
) -> tuple[Array, Array, Array | None, DenseActivation | None, Array | None]:
    """Return the canonical arguments of `linear`."""
    x, weight, bias = layer(rules, x, weight, bias)
    activation = as_activation(rules, "activation", activation)
    return x, weight, bias, activation, rules.out(out, result_like(x, weight), x, weight, bias)


def linear_backward(
    rules: Rules, dy: object, x: object, weight: object, bias: object, activation: object
) -> tuple[Array, Array, Array, Array | None, DenseActivation | None]:
    """Return the canonical arguments of `linear_backward`."""
    x, weight, bias = layer(rules, x, weight, bias)
    dy = rules.gradient("dy", dy, result_like(x, weight), of="the result")
    return dy, x, weight, bias, as_activation(rules, "activation", activation)


def gated_linear(
    rules: Rules,
    x: object,
    w_gate: object,
    w_up: object,
    b_gate: object,
    b_up: object,
    gate: object,
    beta: object,
    out: object,
) -> tuple[Array, Array, Array, Array | None, Array | None, Gate | None, float, Array | None]:
    """Return the canonical arguments of `gated_linear`."""
    layers = gated_layer(rules, x, w_gate, w_up, b_gate, b_up, gate, beta)
    return *layers, rules.out(out, result_like(layers[0], layers[1]), *layers[:5])


def gated_linear_backward(
    rules: Rules,
    dy: object,
    x: object,
    w_gate: object,
    w_up: object,
    b_gate: object,
    b_up: object,
    gate: object,
    beta: object,
) -> tuple[Array, Array, Array, Array, Array | None, Array | None, Gate | None, float]:
    """Return the canonical arguments of `gated_linear_backward`."""
    layers = gated_layer(rules, x, w_gate, w_up, b_gate, b_up, gate, beta)
    dy = rules.gradient("dy", dy, result_like(layers[0], layers[1]), of="the result")
    return dy, *layers


def gated_layer(
    rules: Rules,
    x: object,
    w_gate: object,
    w_up: object,
    b_gate: object,
    b_up: object,
    gate: object,
    beta: object,
) -> GatedLayer:
    """Return x, the two layers, the name of the gate and the number of swish."""
    x, w_gate, b_gate = layer(rules, x, w_gate, b_gate, ("w_gate", "b_gate"))
    x, w_up, b_up = layer(rules, x, w_up, b_up, ("w_up", "b_up"))
    if w_up.shape != w_gate.shape:
        raise rules.value_error("w_up", f"has shape {w_up.shape}", f"{w_gate.shape} as w_gate")
    named = None if gate is None else cast(Gate, rules.choice("gate", gate, GATES))
    return x, w_gate, w_up, b_gate, b_up, named, rules.number("beta", beta)


def layer(
    rules: Rules, x: object, weight: object, bias: object, names: tuple[str, str] = ("weight", "bias")
) -> tuple[Array, Array, Array | None]:
    """Return x (..., in), the weight (in, out) and the bias (out,) of a layer."""
    weight_name, bias_name = names
    x = rules.array("x", x)
    if x.ndim == 0:
        raise rules.value_error("x", "has no axes", "at least one, of the weight's rows")
    weight = rules.parameter(weight_name, weight, x)
    if weight.ndim != 2 or weight.shape[0] != x.shape[-1]:
        needed = f"({x.shape[-1]}, out) for x of shape {x.shape}"
        raise rules.value_error(weight_name, f"has shape {weight.shape}", needed)
    if bias is None:
        return x, weight, None
    given = rules.parameter(bias_name, bias, x)
    bias = without_leading_ones(given, 1)
    if bias.shape != weight.shape[1:]:
        needed = f"{weight.shape[1:]} for {weight_name} of shape {weight.shape}"
        raise rules.value_error(bias_name, f"has shape {given.shape}", needed)
    return x, weight, bias


def packable(rules: Rules, weight: object) -> Array:
    """Return the weight (in, out) of a layer that is not known yet."""
    array = rules.array("weight", weight)
    if array.ndim != 2:
        raise rules.value_error("weight", f"has shape {array.shape}", "two axes, (in, out)")
    return array


def result_like(x: Array, weight: Array) -> Array:
    """Return an array of the result's shape and dtype, which takes no memory."""
    return np.broadcast_to(np.empty((), x.dtype), x.shape[:-1] + weight.shape[1:])


def as_activation(rules: Rules, name: str, value: object) -> DenseActivation | None:
    """Return the name of an activation, None for none."""
    return None if value is None else cast(DenseActivation, rules.choice(name, value, ACTIVATIONS))
