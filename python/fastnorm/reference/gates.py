"""NumPy twins of the gated units: y = act(gate) * up, dgate = dy * up * act'(gate), dup = dy * act(gate)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._arguments.gates import halves
from .._typing import Approximation, Array
from . import activations
from ._results import result

Function = Callable[[Array], Array]  # of float64 arrays


def glu(x: Array, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.glu`."""
    up, gate = halves(x, None, axis)
    return forward(activations.logistic, gate, up, out)


def glu_backward(dy: Array, x: Array, axis: int) -> Array:
    """Twin of `fastnorm.glu_backward`."""

    def gradients(dy: Array, gate: Array, up: Array) -> tuple[Array, Array]:
        return dy * up * activations.logistic_derivative(gate), dy * activations.logistic(gate)

    packed = backward(gradients, dy, x, None, axis, gate_half=1)
    assert isinstance(packed, np.ndarray)
    return packed


def swiglu(gate: Array, up: Array | None, beta: float, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.swiglu`."""
    beta = in_compute_type(beta, gate)
    return forward(lambda x: swish(x, beta), *halves(gate, up, axis), out)


def swiglu_backward(
    dy: Array, gate: Array, up: Array | None, beta: float, axis: int
) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.swiglu_backward`."""
    beta = in_compute_type(beta, gate)

    def gradients(dy: Array, gate: Array, up: Array) -> tuple[Array, Array]:
        return dy * up * swish_derivative(gate, beta), dy * swish(gate, beta)

    return backward(gradients, dy, gate, up, axis)


def geglu(
    gate: Array, up: Array | None, approximate: Approximation, axis: int, out: Array | None = None
) -> Array:
    """Twin of `fastnorm.geglu`."""
    return forward(lambda x: activations.gelu(x, approximate=approximate), *halves(gate, up, axis), out)


def geglu_backward(
    dy: Array, gate: Array, up: Array | None, approximate: Approximation, axis: int
) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.geglu_backward`."""

    def gradients(dy: Array, gate: Array, up: Array) -> tuple[Array, Array]:
        act = activations.gelu(gate, approximate=approximate)
        return activations.gelu_backward(dy * up, gate, approximate=approximate), dy * act

    return backward(gradients, dy, gate, up, axis)


def reglu(gate: Array, up: Array | None, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.reglu`."""
    return forward(lambda x: np.maximum(x, 0.0), *halves(gate, up, axis), out)


def reglu_backward(dy: Array, gate: Array, up: Array | None, axis: int) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.reglu_backward`."""

    def gradients(dy: Array, gate: Array, up: Array) -> tuple[Array, Array]:
        act = np.maximum(gate, 0.0)
        return np.where(gate > 0.0, dy * up, act), dy * act

    return backward(gradients, dy, gate, up, axis)


def bilinear(gate: Array, up: Array | None, axis: int, out: Array | None = None) -> Array:
    """Twin of `fastnorm.bilinear`."""
    return forward(lambda x: x, *halves(gate, up, axis), out)


def bilinear_backward(dy: Array, gate: Array, up: Array | None, axis: int) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.bilinear_backward`."""
    return backward(lambda dy, gate, up: (dy * up, dy * gate), dy, gate, up, axis)


def in_compute_type(beta: float, gate: Array) -> float:
    """Return beta as the op has it, rounded to float32 but for float64 arrays."""
    with np.errstate(over="ignore"):
        return beta if gate.dtype == np.float64 else float(np.float32(beta))


def swish(x: Array, beta: float) -> Array:
    """Return x * sigmoid(beta x), 0 times infinity being 0 here and in beta x."""
    z = scaled(x, beta)
    return np.asarray(np.where(z == -np.inf, -0.0, x * activations.logistic(z)))


def swish_derivative(x: Array, beta: float) -> Array:
    """Return the derivative of swish with respect to x."""
    return activations.swish_derivative(scaled(x, beta))


def scaled(x: Array, beta: float) -> Array:
    """Return beta x, 0 where either is."""
    return np.asarray(np.where(np.isnan(x), x, np.where((x == 0) | (beta == 0), 0.0, beta * x)))


def forward(act: Function, gate: Array, up: Array, out: Array | None = None) -> Array:
    """Return act(gate) * up."""
    with np.errstate(all="ignore"):
        return result(act(gate.astype(np.float64)) * up.astype(np.float64), gate, out)


def backward(
    gradients: Callable[[Array, Array, Array], tuple[Array, Array]],
    dy: Array,
    gate: Array,
    up: Array | None,
    axis: int,
    gate_half: int = 0,
) -> Array | tuple[Array, Array]:
    """Return dgate and dup, in one array where gate and up are; gate is its half of the number given."""
    order = slice(None, None, -1 if up is None and gate_half else 1)
    inputs = halves(gate, up, axis)[order]
    with np.errstate(all="ignore"):
        values = gradients(*(array.astype(np.float64) for array in (dy, *inputs)))
    if up is not None:
        return result(values[0], gate), result(values[1], up)
    packed = np.empty_like(gate)
    for half, value in zip(halves(packed, None, axis)[order], values, strict=True):
        result(value, half, half)
    return packed
