"""The argument rules of the gated units.

`up` is None where gate and up are the halves of one packed array along `axis`, which is then non-negative;
for two arrays `axis` is any int and is not used.
"""

from __future__ import annotations

import numpy as np

from .._typing import Approximation, Array
from .activations import approximation
from .rules import Rules, as_index, shown

Inputs = tuple[Array, Array | None, int]


def glu(rules: Rules, x: object, axis: object, out: object) -> tuple[Array, int, Array | None]:
    """Return the canonical arguments of `glu`."""
    x, _, axis = inputs(rules, x, None, axis, "x")
    return x, axis, result(rules, out, x, None, axis)


def glu_backward(rules: Rules, dy: object, x: object, axis: object) -> tuple[Array, Array, int]:
    """Return the canonical arguments of `glu_backward`."""
    x, _, axis = inputs(rules, x, None, axis, "x")
    return gradient(rules, dy, x, None, axis, "x"), x, axis


def swiglu(
    rules: Rules, gate: object, up: object, beta: object, axis: object, out: object
) -> tuple[Array, Array | None, float, int, Array | None]:
    """Return the canonical arguments of `swiglu`."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gate, up, rules.number("beta", beta), axis, result(rules, out, gate, up, axis)


def swiglu_backward(
    rules: Rules, dy: object, gate: object, up: object, beta: object, axis: object
) -> tuple[Array, Array, Array | None, float, int]:
    """Return the canonical arguments of `swiglu_backward`."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gradient(rules, dy, gate, up, axis), gate, up, rules.number("beta", beta), axis


def geglu(
    rules: Rules, gate: object, up: object, approximate: object, axis: object, out: object
) -> tuple[Array, Array | None, Approximation, int, Array | None]:
    """Return the canonical arguments of `geglu`."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gate, up, approximation(rules, approximate), axis, result(rules, out, gate, up, axis)


def geglu_backward(
    rules: Rules, dy: object, gate: object, up: object, approximate: object, axis: object
) -> tuple[Array, Array, Array | None, Approximation, int]:
    """Return the canonical arguments of `geglu_backward`."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gradient(rules, dy, gate, up, axis), gate, up, approximation(rules, approximate), axis


def plain(
    rules: Rules, gate: object, up: object, axis: object, out: object
) -> tuple[Array, Array | None, int, Array | None]:
    """Return the canonical arguments of a gated unit without keywords of its own."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gate, up, axis, result(rules, out, gate, up, axis)


def plain_backward(
    rules: Rules, dy: object, gate: object, up: object, axis: object
) -> tuple[Array, Array, Array | None, int]:
    """Return the canonical arguments of the backward of a gated unit without keywords of its own."""
    gate, up, axis = inputs(rules, gate, up, axis)
    return gradient(rules, dy, gate, up, axis), gate, up, axis


reglu = bilinear = plain
reglu_backward = bilinear_backward = plain_backward


def inputs(rules: Rules, gate: object, up: object, axis: object, name: str = "gate") -> Inputs:
    """Return gate, up and the axis; `name` is what the op calls its first argument."""
    gate = rules.array(name, gate)
    if up is not None:
        number = as_index(axis)
        if number is None:
            raise rules.type_error("axis", f"is {shown(axis)}", "an int")
        return gate, rules.second("up", up, gate, of=name), number
    axis = rules.axis(axis, gate, name)
    if gate.shape[axis] % 2:
        found = f"has shape {gate.shape}, of odd length along axis {axis}"
        raise rules.value_error(name, found, "an even length to be split in two")
    return gate, None, axis


def halves(gate: Array, up: Array | None, axis: int) -> tuple[Array, Array]:
    """Return gate and up, both halves of `gate` along the axis where up is None."""
    if up is not None:
        return gate, up
    first, second = np.split(gate, 2, axis)
    return first, second


def result(rules: Rules, out: object, gate: Array, up: Array | None, axis: int) -> Array | None:
    """Return the array for a result of the shape of the halves."""
    return rules.out(out, halves(gate, up, axis)[0], gate, up)


def gradient(rules: Rules, dy: object, gate: Array, up: Array | None, axis: int, name: str = "gate") -> Array:
    """Return dy, of the shape of the halves."""
    return rules.gradient(
        "dy", dy, halves(gate, up, axis)[0], of=name if up is not None else f"a half of {name}"
    )
