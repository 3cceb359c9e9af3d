"""Losses of each element: mse_loss, sigmoid_focal_loss and poly_focal_loss, without a reduction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from fastnorm.reference.elementwise_losses import focal_terms
from tolerances import last_rounding, roundoff

from .case import Array, Variant
from .op import Arguments, Bounds, Op

SQUARE_ROUNDINGS = 3  # of the difference, which counts twice, and of the square
TWIN_ROUNDINGS = 8  # where the twin computes in the same type as the op
ROWS: dict[str, Any] = {"reduction": "none"}


def mse_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """Predictions and targets of one size."""
    prediction, target = rng.standard_normal((2, *shape))
    return prediction.astype(dtype), target.astype(dtype)


def mse_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of a square."""
    difference = inputs[0].astype(np.float64) - inputs[1].astype(np.float64)
    exact = difference**2
    return (SQUARE_ROUNDINGS * 2 * roundoff(inputs[0].dtype) * exact + last_rounding(exact, inputs[0].dtype),)


def mse_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of the difference and the product."""
    exact = 2 * dys[0].astype(np.float64) * (inputs[0].astype(np.float64) - inputs[1].astype(np.float64))
    bound = SQUARE_ROUNDINGS * roundoff(inputs[0].dtype) * np.abs(exact)
    return (bound + last_rounding(exact, inputs[0].dtype),)


def focal_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """Logits on both sides, and targets 0 and 1, or between where the variant says so."""
    logits = (4.0 * rng.standard_normal(shape)).astype(dtype)
    target = rng.random(shape) if variant.label == "between" else rng.integers(0, 2, shape)
    return logits, target.astype(dtype)


def magnitudes(inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """What loss and gradient are sums of, without regard to signs."""
    z, y = (value.astype(np.float64) for value in inputs)
    epsilon, gamma = abs(keywords.get("epsilon", 0.0)), keywords.get("gamma", 2.0)
    with np.errstate(all="ignore"):
        loss, _ = focal_terms(z, y, epsilon, keywords.get("alpha", 0.25), gamma)
        p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
        u = y * q + (1 - y) * p
        alpha = keywords.get("alpha", 0.25)
        weight = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        chain = np.abs(1 - 2 * y) * p * q / u
        slope = (1 - y) * p + y * q + chain * epsilon * (gamma + 1) * u
        return loss, gamma * chain * loss + weight * u**gamma * slope


def focal_roundings(dtype: np.dtype[Any], keywords: Mapping[str, Any]) -> float:
    """The contract in ULP, and what the twin adds where it computes in the same type."""
    gamma = keywords.get("gamma", 2.0)
    roundings = 2 * 4 * (2 + gamma)
    if dtype == np.float64:
        roundings += TWIN_ROUNDINGS * (1 + gamma) + (0 if gamma == int(gamma) else 100 * gamma)
    return float(roundings)


def focal_bound(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Roundings of the loss, whose parts have one sign unless epsilon is negative."""
    if op == "poly_focal_loss":
        keywords = {"epsilon": 1.0, **keywords}
    loss, _ = magnitudes(inputs, keywords)
    dtype = inputs[0].dtype
    return (focal_roundings(dtype, keywords) * roundoff(dtype) * loss + last_rounding(loss, dtype),)


def focal_backward_bound(op: str, dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The same for the gradient."""
    if op == "poly_focal_loss":
        keywords = {"epsilon": 1.0, **keywords}
    _, slope = magnitudes(inputs, keywords)
    terms = np.abs(dys[0].astype(np.float64)) * slope
    dtype = inputs[0].dtype
    return (focal_roundings(dtype, keywords) * roundoff(dtype) * terms + last_rounding(terms, dtype),)


def focal_op(
    name: str, variants: tuple[Variant, ...], bad: tuple[tuple[str, Any, type[Exception]], ...] = ()
) -> Op:
    """The case of a focal loss."""
    return Op(
        name,
        focal_inputs,
        variants,
        ("logits",),
        partial(focal_bound, name),
        partial(focal_backward_bound, name),
        bad=(
            *bad,
            *BAD,
            ("target", np.full((3, 7), 2), ValueError),
            ("target", np.zeros((3, 6), bool), ValueError),
            ("alpha", 1.5, ValueError),
            ("alpha", "a", TypeError),
            ("gamma", -1.0, ValueError),
            ("gamma", None, TypeError),
        ),
        integer_arrays=("target",),
    )


BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("target", np.zeros((3, 6), np.float32), ValueError),
    ("target", np.zeros((3, 7)), TypeError),
    ("reduction", "average", ValueError),
    ("reduction", None, TypeError),
    ("return_grad", 1, TypeError),
)

OPS = (
    Op(
        "mse_loss",
        mse_inputs,
        (Variant("plain", keywords=ROWS),),
        ("prediction",),
        mse_bound,
        mse_backward_bound,
        bad=BAD,
    ),
    focal_op(
        "sigmoid_focal_loss",
        (
            Variant("classes", keywords=ROWS),
            Variant("power", keywords={"gamma": 1.3, "alpha": None}),
            Variant("between", keywords=ROWS),
        ),
    ),
    focal_op(
        "poly_focal_loss",
        (Variant("classes", keywords=ROWS), Variant("negative", keywords={"epsilon": -1.0, "gamma": 3.0})),
        (("epsilon", "a", TypeError), ("epsilon", np.inf, ValueError)),
    ),
)
