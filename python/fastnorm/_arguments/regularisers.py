"""The argument rules of regularisation."""

from __future__ import annotations

from .._typing import Array
from .rules import Rules, shown


def dropout(
    rules: Rules, x: object, p: object, seed: object, out: object
) -> tuple[Array, float, int, Array | None]:
    """Return the canonical arguments of `dropout`."""
    x = rules.array("x", x)
    return x, *chance(rules, p, seed), rules.out(out, x, x)


def dropout_backward(
    rules: Rules, dy: object, x: object, p: object, seed: object
) -> tuple[Array, Array, float, int]:
    """Return the canonical arguments of `dropout_backward`."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x, *chance(rules, p, seed)


def chance(rules: Rules, p: object, seed: object) -> tuple[float, int]:
    """Return a share that is dropped, and a seed of 64 bits."""
    share = rules.number("p", p, minimum=0)
    if share >= 1:
        raise rules.value_error("p", f"is {shown(p)}", "at least 0 and below 1")
    return share, rules.integer("seed", seed, minimum=0, maximum=2**64 - 1)
