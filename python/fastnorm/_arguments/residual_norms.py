"""The argument rules of the norms of a sum."""

from __future__ import annotations

from .._typing import Array
from .rules import Axes, Rules, shares_memory

Pair = tuple[Array, Array]


def add_layer_norm(
    rules: Rules,
    x: object,
    residual: object,
    weight: object,
    bias: object,
    alpha: object,
    axis: object,
    eps: object,
    out: object,
) -> tuple[Array, Array, Array | None, Array | None, float, Axes, float, Pair | None]:
    """Return the canonical arguments of `add_layer_norm`."""
    x, residual, axes, weight, bias = inputs(rules, x, residual, weight, bias, axis)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    return (
        x,
        residual,
        weight,
        bias,
        alpha,
        axes,
        eps,
        results(rules, out, x, residual, weight, bias),
    )


def add_layer_norm_backward(
    rules: Rules,
    dy: object,
    dsummed: object,
    x: object,
    residual: object,
    weight: object,
    bias: object,
    alpha: object,
    axis: object,
    eps: object,
) -> tuple[Array | None, Array | None, Array, Array, Array | None, Array | None, float, Axes, float]:
    """Return the canonical arguments of `add_layer_norm_backward`."""
    x, residual, axes, weight, bias = inputs(rules, x, residual, weight, bias, axis)
    dy, dsummed = gradients(rules, dy, dsummed, x)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    return dy, dsummed, x, residual, weight, bias, alpha, axes, eps


def add_rms_norm(
    rules: Rules,
    x: object,
    residual: object,
    weight: object,
    alpha: object,
    axis: object,
    eps: object,
    weight_offset: object,
    out: object,
) -> tuple[Array, Array, Array | None, float, Axes, float, float, Pair | None]:
    """Return the canonical arguments of `add_rms_norm`."""
    x, residual, axes, weight, _ = inputs(rules, x, residual, weight, None, axis)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    offset = rules.number("weight_offset", weight_offset, like=x)
    return x, residual, weight, alpha, axes, eps, offset, results(rules, out, x, residual, weight)


def add_rms_norm_backward(
    rules: Rules,
    dy: object,
    dsummed: object,
    x: object,
    residual: object,
    weight: object,
    alpha: object,
    axis: object,
    eps: object,
    weight_offset: object,
) -> tuple[Array | None, Array | None, Array, Array, Array | None, float, Axes, float, float]:
    """Return the canonical arguments of `add_rms_norm_backward`."""
    x, residual, axes, weight, _ = inputs(rules, x, residual, weight, None, axis)
    dy, dsummed = gradients(rules, dy, dsummed, x)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    offset = rules.number("weight_offset", weight_offset, like=x)
    return dy, dsummed, x, residual, weight, alpha, axes, eps, offset


def deep_norm(
    rules: Rules,
    x: object,
    residual: object,
    weight: object,
    bias: object,
    alpha: object,
    axis: object,
    eps: object,
    out: object,
) -> tuple[Array, Array, Array | None, Array | None, float, Axes, float, Array | None]:
    """Return the canonical arguments of `deep_norm`."""
    x, residual, axes, weight, bias = inputs(rules, x, residual, weight, bias, axis)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    out = rules.out(out, x, x, residual, weight, bias)
    return x, residual, weight, bias, alpha, axes, eps, out


def deep_norm_backward(
    rules: Rules,
    dy: object,
    x: object,
    residual: object,
    weight: object,
    bias: object,
    alpha: object,
    axis: object,
    eps: object,
) -> tuple[Array, Array, Array, Array | None, Array | None, float, Axes, float]:
    """Return the canonical arguments of `deep_norm_backward`."""
    x, residual, axes, weight, bias = inputs(rules, x, residual, weight, bias, axis)
    dy = rules.gradient("dy", dy, x)
    alpha, eps = rules.number("alpha", alpha, like=x), rules.number("eps", eps, minimum=0)
    return dy, x, residual, weight, bias, alpha, axes, eps


def inputs(
    rules: Rules, x: object, residual: object, weight: object, bias: object, axis: object
) -> tuple[Array, Array, Axes, Array | None, Array | None]:
    """Return the arrays that a norm of a sum reads, and its axes."""
    x = rules.array("x", x)
    residual = rules.second("residual", residual, x)
    axes = rules.axes(axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    return x, residual, axes, weight, bias


def gradients(rules: Rules, dy: object, dsummed: object, x: Array) -> tuple[Array | None, Array | None]:
    """Return the gradients of the two results, of which one may be None."""
    if dy is None and dsummed is None:
        raise rules.type_error("dy", "is None and so is dsummed", "an array for one of them")
    return (
        None if dy is None else rules.gradient("dy", dy, x),
        None if dsummed is None else rules.gradient("dsummed", dsummed, x),
    )


def results(rules: Rules, out: object, x: Array, residual: Array, *parameters: Array | None) -> Pair | None:
    """Return the arrays for y and the sum: the sum is written before the parameters are read, y after all
    else is.
    """
    if out is None:
        return None
    if not isinstance(out, tuple):
        raise rules.type_error("out", f"has type {type(out).__name__}", "a tuple (y, summed)")
    if len(out) != 2:
        raise rules.value_error("out", f"has {len(out)} entries", "two, (y, summed)")
    for array in out:
        if array is None:
            raise rules.type_error("out", "has an entry that is None", "two arrays, (y, summed)")
    y = rules.out(out[0], x, x, residual, *parameters)
    summed = rules.out(out[1], x, x, residual, *parameters)
    assert y is not None
    assert summed is not None
    if any(array is not None and shares_memory(summed, array) for array in (y, *parameters)):
        raise rules.value_error(
            "out", "has a sum that overlaps y or a parameter", "memory of its own for the sum"
        )
    return y, summed
