"""NumPy twins of the activations, element by element in float64."""

from __future__ import annotations

import math

import numpy as np

from .. import _arguments
from .._typing import Approximation, Array, ArrayLike
from . import _erf
from ._results import result

LIMIT = 500.0  # beyond it the sigmoids of both approximate forms have reached their limits in float64
SQRT_8_OVER_PI = math.sqrt(8 / math.pi)  # twice the sqrt(2/pi) of the tanh form


def gelu(x: ArrayLike, *, approximate: Approximation = "none", out: Array | None = None) -> Array:
    """Twin of `fastnorm.gelu`."""
    x, approximate, _ = _arguments.gelu(x, approximate, out)
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        if approximate == "none":
            y = _erf.gelu(values)
        else:
            # -LIMIT times the sigmoid's 0 is the limit -0.0, where -inf times 0 would be NaN.
            y = np.maximum(values, -LIMIT) * sigmoid(gate(values, approximate)[0])
    return result(y, x, out)


def gelu_backward(dy: ArrayLike, x: ArrayLike, *, approximate: Approximation = "none") -> Array:
    """Twin of `fastnorm.gelu_backward`."""
    dy, x, approximate = _arguments.gelu_backward(dy, x, approximate)
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        if approximate == "none":
            derivative = _erf.gelu_derivative(values)
        else:
            values = np.clip(values, -LIMIT, LIMIT)
            z, slope = gate(values, approximate)
            derivative = sigmoid(z) + values * sigmoid(z) * sigmoid(-z) * slope
        dx = dy.astype(np.float64) * derivative
    return result(dx, x)


def gate(x: Array, approximate: str) -> tuple[Array, Array]:
    """Return z and dz/dx of the approximate form x * sigmoid(z); 0.5 (1 + tanh u) is sigmoid(2u)."""
    if approximate == "sigmoid":
        return 1.702 * x, np.full_like(x, 1.702)
    return SQRT_8_OVER_PI * (x + 0.044715 * x**3), SQRT_8_OVER_PI * (1 + 3 * 0.044715 * x**2)


def sigmoid(z: Array) -> Array:
    """Return 1/(1 + exp(-z)) without overflow and with full relative accuracy on both sides."""
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e))
