"""The argument rules of the norms."""

from __future__ import annotations

from .._typing import Array
from .rules import Axes, Rules


def layer_norm(
    rules: Rules,
    x: object,
    weight: object,
    bias: object,
    axis: object,
    eps: object,
    return_stats: object,
    out: object,
) -> tuple[Array, Array | None, Array | None, Axes, float, bool, Array | None]:
    """Return the canonical arguments of `layer_norm`."""
    x = rules.array("x", x)
    axes = rules.axes(axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    return_stats = rules.flag("return_stats", return_stats)
    return x, weight, bias, axes, eps, return_stats, rules.out(out, x, x, weight, bias)


def layer_norm_backward(
    rules: Rules,
    dy: object,
    x: object,
    weight: object,
    bias: object,
    axis: object,
    eps: object,
    stats: object,
) -> tuple[Array, Array, Array | None, Array | None, Axes, float, tuple[Array, Array] | None]:
    """Return the canonical arguments of `layer_norm_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    axes = rules.axes(axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    return dy, x, weight, bias, axes, eps, mean_and_rstd(rules, stats, x, axes)


def rms_norm(
    rules: Rules,
    x: object,
    weight: object,
    bias: object,
    axis: object,
    eps: object,
    weight_offset: object,
    fraction: object,
    return_stats: object,
    out: object,
) -> tuple[Array, Array | None, Array | None, Axes, float, float, float | None, bool, Array | None]:
    """Return the canonical arguments of `rms_norm`."""
    x = rules.array("x", x)
    axes = rules.axes(axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    weight_offset = rules.number("weight_offset", weight_offset, like=x)
    fraction = rules.fraction("fraction", fraction)
    return_stats = rules.flag("return_stats", return_stats)
    out = rules.out(out, x, x, weight, bias)
    return x, weight, bias, axes, eps, weight_offset, fraction, return_stats, out


def rms_norm_backward(
    rules: Rules,
    dy: object,
    x: object,
    weight: object,
    bias: object,
    axis: object,
    eps: object,
    weight_offset: object,
    fraction: object,
    stats: object,
) -> tuple[Array, Array, Array | None, Array | None, Axes, float, float, float | None, Array | None]:
    """Return the canonical arguments of `rms_norm_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    axes = rules.axes(axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    weight_offset = rules.number("weight_offset", weight_offset, like=x)
    fraction = rules.fraction("fraction", fraction)
    stats = None if stats is None else rules.statistics("stats", stats, x, axes)
    return dy, x, weight, bias, axes, eps, weight_offset, fraction, stats


def normalize(
    rules: Rules, x: object, axis: object, eps: object, out: object
) -> tuple[Array, Axes, float, Array | None]:
    """Return the canonical arguments of `normalize`."""
    x = rules.array("x", x)
    return x, rules.axes(axis, x), rules.number("eps", eps, minimum=0), rules.out(out, x, x)


def normalize_backward(
    rules: Rules, dy: object, x: object, axis: object, eps: object
) -> tuple[Array, Array, Axes, float]:
    """Return the canonical arguments of `normalize_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, rules.axes(axis, x), rules.number("eps", eps, minimum=0)


def mean_and_rstd(rules: Rules, stats: object, x: Array, axes: Axes) -> tuple[Array, Array] | None:
    """Return the statistics of a norm that subtracts the mean: None or a pair of arrays."""
    if stats is None:
        return None
    if not isinstance(stats, (tuple, list)):
        raise rules.type_error("stats", f"has type {type(stats).__name__}", "a tuple (mean, rstd)")
    if len(stats) != 2:
        raise rules.value_error("stats", f"has {len(stats)} entries", "two, (mean, rstd)")
    return rules.statistics("mean in stats", stats[0], x, axes), rules.statistics(
        "rstd in stats", stats[1], x, axes
    )
