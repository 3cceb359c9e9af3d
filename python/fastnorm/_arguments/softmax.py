"""The argument rules of softmax and log_softmax."""

from __future__ import annotations

from .._typing import Array
from .rules import Axes, Rules


def forward(rules: Rules, x: object, axis: object, out: object) -> tuple[Array, Axes, Array | None]:
    """Return the arguments of a forward along one axis or several."""
    x = rules.array("x", x)
    return x, rules.axes(axis, x), rules.out(out, x, x)


def backward(
    rules: Rules, dy: object, x: object, axis: object, y: object
) -> tuple[Array, Array, Axes, Array | None]:
    """Return the arguments of its backward."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, rules.axes(axis, x), rules.forward_result(y, x)


softmax = log_softmax = forward
softmax_backward = log_softmax_backward = backward
