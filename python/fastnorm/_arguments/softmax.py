"""The argument rules of softmax and log_softmax."""

from __future__ import annotations

from .._typing import Array
from .rules import Rules


def softmax(x: object, axis: object, out: object) -> tuple[Array, int, Array | None]:
    """Return the canonical arguments of `softmax`."""
    return forward(Rules("softmax"), x, axis, out)


def softmax_backward(dy: object, x: object, axis: object) -> tuple[Array, Array, int]:
    """Return the canonical arguments of `softmax_backward`."""
    return backward(Rules("softmax_backward"), dy, x, axis)


def log_softmax(x: object, axis: object, out: object) -> tuple[Array, int, Array | None]:
    """Return the canonical arguments of `log_softmax`."""
    return forward(Rules("log_softmax"), x, axis, out)


def log_softmax_backward(dy: object, x: object, axis: object) -> tuple[Array, Array, int]:
    """Return the canonical arguments of `log_softmax_backward`."""
    return backward(Rules("log_softmax_backward"), dy, x, axis)


def forward(rules: Rules, x: object, axis: object, out: object) -> tuple[Array, int, Array | None]:
    """Return the arguments of a forward along one axis."""
    x = rules.array("x", x)
    return x, rules.axis(axis, x), rules.out(out, x, x)


def backward(rules: Rules, dy: object, x: object, axis: object) -> tuple[Array, Array, int]:
    """Return the arguments of its backward."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, rules.axis(axis, x)
