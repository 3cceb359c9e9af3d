"""NumPy twins of the dense layers: products in float64, activations of `.activations`."""

from __future__ import annotations

import math

import numpy as np

from .._op import OPS
from .._typing import Array, DenseActivation, Gate
from . import activations
from ._results import result, statistic


def linear(
    x: Array, weight: Array, bias: Array | None, activation: DenseActivation | None, out: Array | None = None
) -> Array:
    """Twin of `fastnorm.linear`."""
    y = activate(before_activation(x, weight, bias), activation)
    return result(y, x, np.empty(y.shape, x.dtype) if out is None else out)


def linear_backward(
    dy: Array, x: Array, weight: Array, bias: Array | None, activation: DenseActivation | None
) -> tuple[Array, Array, Array | None]:
    """Twin of `fastnorm.linear_backward`."""
    with np.errstate(all="ignore"):
        dz = dy.astype(np.float64)
        if activation is not None:
            dz = activate_backward(dz, before_activation(x, weight, bias), activation)
        return layer_gradients(dz, x, weight, bias)


def gated_linear(
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None,
    b_up: Array | None,
    gate: Gate | None,
    beta: float,
    out: Array | None = None,
) -> Array:
    """Twin of `fastnorm.gated_linear`."""
    with np.errstate(all="ignore"):
        gates = gate_of(before_activation(x, w_gate, b_gate), gate, beta)
        y = gates * before_activation(x, w_up, b_up)
    return result(y, x, np.empty(y.shape, x.dtype) if out is None else out)


def gated_linear_backward(
    dy: Array,
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None,
    b_up: Array | None,
    gate: Gate | None,
    beta: float,
) -> tuple[Array, Array, Array, Array | None, Array | None]:
    """Twin of `fastnorm.gated_linear_backward`."""
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        z, up = before_activation(x, w_gate, b_gate), before_activation(x, w_up, b_up)
        dz = gate_of_backward(dy.astype(np.float64) * up, z, gate, beta)
        dup = dy.astype(np.float64) * gate_of(z, gate, beta)
        dx_of_gate, dw_gate, db_gate = layer_gradients(dz, wide, w_gate, b_gate)
        dx_of_up, dw_up, db_up = layer_gradients(dup, wide, w_up, b_up)
        dx = result(dx_of_gate + dx_of_up, x)
    return dx, statistic(dw_gate, x), statistic(dw_up, x), optional(db_gate, x), optional(db_up, x)


def gate_of(z: Array, gate: Gate | None, beta: float) -> Array:
    """Apply a gate by its name."""
    return activations.swish_value(z, np.array(beta)) if gate == "swish" else activate(z, gate)


def gate_of_backward(dy: Array, z: Array, gate: Gate | None, beta: float) -> Array:
    """Return dy times the derivative of a gate at z."""
    if gate == "swish":
        return dy * activations.swish_derivative(activations.scaled(z, np.array(beta)))
    return activate_backward(dy, z, gate)


def optional(gradient: Array | None, x: Array) -> Array | None:
    """Return the gradient of a parameter that may be absent."""
    return None if gradient is None else statistic(gradient, x)


def before_activation(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return x @ weight + bias in float64."""
    with np.errstate(all="ignore"):
        z: Array = np.matmul(x.astype(np.float64), weight.astype(np.float64))
        return z if bias is None else z + bias.astype(np.float64)


def layer_gradients(
    dz: Array, x: Array, weight: Array, bias: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return dx, dweight and dbias (None without a bias) from the gradient at x @ weight + bias."""
    count = math.prod(x.shape[:-1])
    with np.errstate(all="ignore"):
        rows, rows_of_dz = x.reshape(count, x.shape[-1]).astype(np.float64), dz.reshape(count, dz.shape[-1])
        dx = np.matmul(dz, weight.astype(np.float64).T)
        dweight = np.matmul(rows.T, rows_of_dz)
        dbias = None if bias is None else statistic(np.sum(rows_of_dz, axis=0), x)
    return result(dx, x), statistic(dweight, x), dbias


def activate(z: Array, activation: DenseActivation | None) -> Array:
    """Apply an activation by its name."""
    if activation is None:
        return z
    if activation == "gelu_tanh":
        return activations.gelu(z, "tanh")
    y: Array = OPS[activation].reference(z)
    return y


def derivative(z: Array, activation: DenseActivation | None) -> Array:
    """Return the derivative of an activation at z."""
    return activate_backward(np.ones_like(z), z, activation)


def activate_backward(dy: Array, z: Array, activation: DenseActivation | None) -> Array:
    """Return dy times the derivative of an activation at z."""
    if activation is None:
        return dy
    if activation == "gelu_tanh":
        return activations.gelu_backward(dy, z, "tanh")
    dx: Array = OPS[f"{activation}_backward"].reference(dy, z)
    return dx
