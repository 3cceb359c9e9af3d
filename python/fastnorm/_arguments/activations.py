"""The argument rules of the activations."""

from __future__ import annotations

from functools import partial
from typing import cast, get_args

from .._typing import Approximation, Array
from .rules import Rules

APPROXIMATIONS: tuple[str, ...] = get_args(Approximation)


def gelu(x: object, approximate: object, out: object) -> tuple[Array, Approximation, Array | None]:
    """Return the canonical arguments of `gelu`."""
    rules = Rules("gelu")
    x = rules.array("x", x)
    return x, approximation(rules, approximate), rules.out(out, x, x)


def gelu_backward(dy: object, x: object, approximate: object) -> tuple[Array, Array, Approximation]:
    """Return the canonical arguments of `gelu_backward`."""
    rules = Rules("gelu_backward")
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, approximation(rules, approximate)


def unary(op: str, x: object, out: object) -> tuple[Array, Array | None]:
    """Return the canonical arguments of an op of x alone."""
    rules = Rules(op)
    x = rules.array("x", x)
    return x, rules.out(out, x, x)


def unary_backward(op: str, dy: object, x: object) -> tuple[Array, Array]:
    """Return the canonical arguments of the backward of an op of x alone."""
    rules = Rules(op)
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x


relu, relu_backward = partial(unary, "relu"), partial(unary_backward, "relu_backward")
sigmoid, sigmoid_backward = partial(unary, "sigmoid"), partial(unary_backward, "sigmoid_backward")
silu, silu_backward = partial(unary, "silu"), partial(unary_backward, "silu_backward")
tanh, tanh_backward = partial(unary, "tanh"), partial(unary_backward, "tanh_backward")


def approximation(rules: Rules, value: object) -> Approximation:
    """Return the form of gelu."""
    return cast(Approximation, rules.choice("approximate", value, APPROXIMATIONS))
