"""Where a backward is told to leave its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._typing import Array
from .rules import Rules, shares_memory


def ruled_names(op: Any) -> list[str]:
    """Return the arguments of an op that its rule, its twin and its native function take: all but the `out`
    of a backward.
    """
    names = list(inspect.signature(op).parameters)
    return [name for name in names if name != "out"] if op.__name__.endswith("_backward") else names


def into_out(op: str, out: object, gradients: Any, inputs: object) -> Any:
    """Return what a backward returns, in the arrays of `out`, which are written once all are known to fit.

    `out` is built as the gradients are, with None for what stays where it is. An array of it is exactly one
    of the inputs or apart from all, and apart from the others.
    """
    rules = Rules(op)
    # The first array that a native function makes is one of `out` where that may be written at once.
    gradients = _apart(gradients, out, [leaf for leaf in _leaves(out) if isinstance(leaf, np.ndarray)])
    taken: list[tuple[str, Array, Array]] = []
    result = _paired(rules, "out", out, gradients, taken)
    for leaf in _leaves(inputs):
        if hasattr(leaf, "__dlpack__") or hasattr(leaf, "__array__"):  # of other libraries too
            rules.ndarray("an input", leaf)
    for i, (name, array, _) in enumerate(taken):
        rules.apart(name, array)
        for other_name, other, _ in taken[:i]:
            if shares_memory(array, other):
                raise rules.value_error(name, f"overlaps {other_name}", "memory of its own")
    for _, array, gradient in taken:
        if array is not gradient:
            np.copyto(array, gradient)
    return result


def _apart(gradient: Any, out: Any, places: list[Array]) -> Any:
    """Return the gradients with a copy of each that lies in an array of `out` which is for another."""
    if isinstance(gradient, (tuple, list)):
        own = out if isinstance(out, (tuple, list)) and len(out) == len(gradient) else [None] * len(gradient)
        return type(gradient)(_apart(*pair, places) for pair in zip(gradient, own, strict=True))
    if gradient is None:
        return None
    astray = any(place is not out and np.may_share_memory(gradient, place) for place in places)
    return gradient.copy() if astray else gradient


def _paired(rules: Rules, name: str, out: Any, gradient: Any, taken: list[tuple[str, Array, Array]]) -> Any:
    """Return `gradient` with what `out` has in its place, and list the pairs of arrays."""
    if out is None:
        return gradient
    if gradient is None:
        raise rules.value_error(name, f"has type {type(out).__name__}", "None as that gradient is")
    if isinstance(gradient, (tuple, list)):
        if not isinstance(out, (tuple, list)):
            needed = f"a tuple of {len(gradient)}, an array or None for each gradient"
            raise rules.type_error(name, f"has type {type(out).__name__}", needed)
        if len(out) != len(gradient):
            raise rules.value_error(
                name, f"has {len(out)} entries", f"{len(gradient)}, one for each gradient"
            )
        parts = (
            _paired(rules, f"{name}[{i}]", *pair, taken)
            for i, pair in enumerate(zip(out, gradient, strict=True))
        )
        return type(gradient)(parts)
    array = rules.result_array(name, out, gradient)
    taken.append((name, array, gradient))
    return out


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, (tuple, list)):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value
