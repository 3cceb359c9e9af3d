"""softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import reference
from .bounds import SMALLEST, TERM, UNIT_ROUNDOFF, last_rounding, roundoff, summed, ulp
from .spec import GRADIENT, Arguments, Array, Bad, Bounds, Contract, Draw, Shape, Spec, Variant

SOFTMAX = Contract("ULP", 4.0)
LOG_SOFTMAX = Contract("ULP", 3.0)


def scores(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Rows of any spread: from all alike to one that holds everything."""
    spread = 10.0 ** draw.rng.uniform(-1, 1.5, (*shape[:-1], 1))
    return (draw.x(shape, deviation=spread),)


def twin_roundings(x: Array, axis: int) -> Array:
    """Roundings of the twin and of a float64 op: of each x - m, as often as it is large, and of the sum."""
    return np.asarray(x.shape[axis] + 2 * TERM + np.max(x, axis=axis, keepdims=True, initial=0) - x)


def bound(exact: Array, x: Array, dtype: np.dtype[Any], axis: int, contract: Contract) -> Array:
    """So many ULP in float32 and, where both compute in float64, the roundings of the twin."""
    if dtype == np.float64:
        return np.asarray(
            roundoff(dtype) * twin_roundings(x, axis) * np.abs(exact) + last_rounding(exact, dtype)
        )
    return np.asarray(contract.bound * ulp(exact, np.dtype(np.float32)) + last_rounding(exact, dtype))


def softmax_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract of softmax."""
    x, axis = inputs[0].astype(np.float64), keywords.get("axis", -1)
    return (bound(reference.softmax(x, axis=axis), x, inputs[0].dtype, axis, SOFTMAX),)


def log_softmax_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract of log_softmax."""
    x, axis = inputs[0].astype(np.float64), keywords.get("axis", -1)
    return (bound(reference.log_softmax(x, axis=axis), x, inputs[0].dtype, axis, LOG_SOFTMAX),)


def backward_bound(terms: Array, factor: Array, x: Array, dtype: np.dtype[Any], axis: int) -> Bounds:
    """A sum along the axis in the terms of dx, and the error of y in them: relative, and where y is
    subnormal.
    """
    error = (
        summed(terms, x.shape[axis], dtype)
        + SMALLEST["float64" if dtype == np.float64 else "float32"] * factor
    )
    error += (
        roundoff(dtype) * twin_roundings(x, axis)
        if dtype == np.float64
        else 2 * SOFTMAX.bound * UNIT_ROUNDOFF["float32"]
    ) * terms
    return (np.asarray(error + last_rounding(terms, dtype)),)


def softmax_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """dx = y * (dy - sum(dy * y))."""
    x, dy, axis = inputs[0].astype(np.float64), np.abs(dys[0].astype(np.float64)), keywords.get("axis", -1)
    y = reference.softmax(x, axis=axis)
    factor = dy + np.sum(dy * y, axis=axis, keepdims=True)
    return backward_bound(y * factor, factor, x, inputs[0].dtype, axis)


def log_softmax_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """dx = dy - y * sum(dy)."""
    x, dy, axis = inputs[0].astype(np.float64), np.abs(dys[0].astype(np.float64)), keywords.get("axis", -1)
    y = reference.softmax(x, axis=axis)
    factor = np.sum(dy, axis=axis, keepdims=True)
    return backward_bound(dy + y * factor, factor, x, inputs[0].dtype, axis)


def result_bound(terms: Array, dtype: np.dtype[Any], axis: int) -> Bounds:
    """The same from y: a sum along the axis, and the roundings of a term and of its exponential."""
    error = summed(terms, terms.shape[axis], dtype) + TERM * roundoff(dtype) * terms
    smallest = SMALLEST["float64" if dtype == np.float64 else "float32"]
    return (np.asarray(error + 2 * smallest + last_rounding(terms, dtype)),)


def softmax_bound_from_result(dys: Arguments, y: Array, keywords: Mapping[str, Any]) -> Bounds:
    """dx = y * (dy - sum(dy * y))."""
    y64, dy, axis = y.astype(np.float64), np.abs(dys[0].astype(np.float64)), keywords.get("axis", -1)
    return result_bound(y64 * (dy + np.sum(dy * y64, axis=axis, keepdims=True)), y.dtype, axis)


def log_softmax_bound_from_result(dys: Arguments, y: Array, keywords: Mapping[str, Any]) -> Bounds:
    """dx = dy - exp(y) * sum(dy)."""
    y64, dy, axis = y.astype(np.float64), np.abs(dys[0].astype(np.float64)), keywords.get("axis", -1)
    return result_bound(dy + np.exp(y64) * np.sum(dy, axis=axis, keepdims=True), y.dtype, axis)


def numpy_softmax(x: Array) -> Array:
    """Exponentials of what lies below the maximum, divided by their sum."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = e / e.sum(axis=-1, keepdims=True)
    return y


def numpy_softmax_backward(dy: Array, x: Array) -> Array:
    """Gradient of `softmax` from its argument."""
    y = numpy_softmax(x)
    dx: Array = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    return dx


def numpy_log_softmax(x: Array) -> Array:
    """What lies below the maximum less the logarithm of the sum of its exponentials."""
    shifted = x - x.max(axis=-1, keepdims=True)
    y: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y


def numpy_log_softmax_backward(dy: Array, x: Array) -> Array:
    """Gradient of `log_softmax` from its argument."""
    dx: Array = dy - numpy_softmax(x) * dy.sum(axis=-1, keepdims=True)
    return dx


BAD: tuple[Bad, ...] = (
    ("axis", 2, ValueError),
    ("axis", -3, ValueError),
    ("axis", (0, 0), ValueError),
    ("axis", (0, 2), ValueError),
    ("axis", (), ValueError),
    ("axis", 1.0, TypeError),
    ("axis", True, TypeError),
)


softmax = Spec(
    "softmax",
    scores,
    (Variant("last"),),
    ("x",),
    SOFTMAX,
    GRADIENT,
    softmax_bound,
    softmax_backward_bound,
    numpy_softmax,
    numpy_softmax_backward,
    bounds_from_result=softmax_bound_from_result,
    bad=BAD,
)
log_softmax = Spec(
    "log_softmax",
    scores,
    (Variant("last"),),
    ("x",),
    LOG_SOFTMAX,
    GRADIENT,
    log_softmax_bound,
    log_softmax_backward_bound,
    numpy_log_softmax,
    numpy_log_softmax_backward,
    bounds_from_result=log_softmax_bound_from_result,
    bad=BAD,
)
