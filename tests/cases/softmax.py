"""softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fastnorm import reference
from tolerances import SMALLEST, TERM, last_rounding, roundoff, summed, ulp

from .case import Array, Variant
from .op import Arguments, Bounds, Op

SOFTMAX_ULPS = 4.0  # of the contract, in float32
LOG_SOFTMAX_ULPS = 3.0


def scores(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """Rows of any spread: from all alike to one that holds everything."""
    spread = 10.0 ** rng.uniform(-1, 1.5, (*shape[:-1], 1))
    return ((spread * rng.standard_normal(shape)).astype(dtype),)


def twin_roundings(x: Array, axis: int) -> Array:
    """Roundings of the twin and of a float64 op: of each x - m, as often as it is large, and of the sum."""
    return np.asarray(x.shape[axis] + 2 * TERM + np.max(x, axis=axis, keepdims=True, initial=0) - x)


def bound(exact: Array, x: Array, dtype: np.dtype[Any], axis: int, ulps: float) -> Array:
    """So many ULP in float32 and, where both compute in float64, the roundings of the twin."""
    if dtype == np.float64:
        return np.asarray(
            roundoff(dtype) * twin_roundings(x, axis) * np.abs(exact) + last_rounding(exact, dtype)
        )
    return np.asarray(ulps * ulp(exact, np.dtype(np.float32)) + last_rounding(exact, dtype))


def softmax_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract of softmax."""
    x, axis = inputs[0].astype(np.float64), keywords.get("axis", -1)
    return (bound(reference.softmax(x, axis=axis), x, inputs[0].dtype, axis, SOFTMAX_ULPS),)


def log_softmax_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract of log_softmax."""
    x, axis = inputs[0].astype(np.float64), keywords.get("axis", -1)
    return (bound(reference.log_softmax(x, axis=axis), x, inputs[0].dtype, axis, LOG_SOFTMAX_ULPS),)


def backward_bound(terms: Array, factor: Array, x: Array, dtype: np.dtype[Any], axis: int) -> Bounds:
    """A sum along the axis in the terms of dx, and the error of y in them: relative, and where y is
    subnormal.
    """
    error = (
        summed(terms, x.shape[axis], dtype)
        + SMALLEST["float64" if dtype == np.float64 else "float32"] * factor
    )
    error += (
        roundoff(dtype) * twin_roundings(x, axis) if dtype == np.float64 else SOFTMAX_ULPS * 2**-23
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


BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("axis", 2, ValueError),
    ("axis", -3, ValueError),
    ("axis", (0,), TypeError),
    ("axis", None, TypeError),
    ("axis", 1.0, TypeError),
    ("axis", True, TypeError),
)

OPS = (
    Op("softmax", scores, (Variant("last"),), ("x",), softmax_bound, softmax_backward_bound, bad=BAD),
    Op(
        "log_softmax",
        scores,
        (Variant("last"),),
        ("x",),
        log_softmax_bound,
        log_softmax_backward_bound,
        bad=BAD,
    ),
)
