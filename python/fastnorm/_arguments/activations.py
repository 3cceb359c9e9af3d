"""The argument rules of the activations."""

from __future__ import annotations

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


def approximation(rules: Rules, value: object) -> Approximation:
    """Return the form of gelu."""
    return cast(Approximation, rules.choice("approximate", value, APPROXIMATIONS))
