"""Losses over classes: cross_entropy, focal_loss and poly_loss, with the losses of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from fastnorm import reference
from tolerances import SMALLEST, TERM, last_rounding, roundoff, summed

from .case import Array, Variant
from .op import Arguments, Bounds, Op

LOSS_ROUNDINGS = (
    16  # of a float32 loss: an exponential, a sum of 16 in each lane, a logarithm, and the polynomial
)
POWER_ROUNDINGS = 16  # more where a power of 1 - p enters


def loss_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """Rows of moderate spread; classes, or probabilities where the variant is of that name."""
    logits = (2.0 * rng.standard_normal(shape)).astype(dtype)
    if "probabilities" not in variant.label:
        return logits, rng.integers(0, shape[-1], shape[:-1])
    target = rng.random(shape)
    return logits, (target / target.sum(axis=-1, keepdims=True)).astype(dtype)


def magnitudes(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """What the rows' losses and gradients are sums of, without regard to signs."""
    z = inputs[0].astype(np.float64)
    p = reference.softmax(z)
    epsilon = np.abs(np.atleast_1d(keywords.get("epsilon", 0.0)))
    polynomial = float(np.sum(epsilon)), float(np.sum(epsilon * np.arange(1, epsilon.size + 1)))
    loss = np.max(-reference.log_softmax(z), axis=-1, initial=0.0) + polynomial[0]
    slope = (1 + polynomial[1]) * (1 + (keywords.get("gamma", 2.0) if op == "focal_loss" else 0.0))
    target = inputs[1].astype(np.float64) if inputs[1].shape == z.shape else one_hot(inputs[1], z.shape[-1])
    share = keywords.get("label_smoothing", 0.0)
    return loss, slope * (p + target + share / z.shape[-1])


def one_hot(target: Array, classes: int) -> Array:
    """Classes as rows of 0 and 1."""
    return np.asarray(target[..., None] == np.arange(classes), np.float64)


def forward_bound(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Roundings of the loss itself: its parts have one sign, unless a coefficient is negative."""
    dtype, cols = inputs[0].dtype, inputs[0].shape[-1]
    wide = tuple(value.astype(np.float64) if value.dtype.kind != "i" else value for value in inputs)
    exact = np.abs(getattr(reference, op)(*wide, **keywords))
    whole, _ = magnitudes(op, inputs, keywords)
    scale = whole if "epsilon" in keywords else exact
    roundings = LOSS_ROUNDINGS + (POWER_ROUNDINGS if op == "focal_loss" else 0)
    if dtype == np.float64:
        # The twin's m - z is rounded, and its sum has other orders.
        roundings += cols + TERM + 2 * float(np.max(np.abs(wide[0]), initial=0.0))
    return (roundings * roundoff(dtype) * scale + last_rounding(exact, dtype),)


def backward_bound(op: str, dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """A chain of roundings of p and of the target in each gradient."""
    dtype = inputs[0].dtype
    _, terms = magnitudes(op, inputs, keywords)
    terms = np.abs(dys[0].astype(np.float64))[..., None] * terms
    error = (
        2 * summed(terms, inputs[0].shape[-1] + 16, dtype)
        + SMALLEST["float32" if dtype != np.float64 else "float64"]
    )
    return (error + last_rounding(terms, dtype),)


def loss_op(
    name: str, variants: tuple[Variant, ...], bad: tuple[tuple[str, Any, type[Exception]], ...]
) -> Op:
    """The case of one loss."""
    return Op(
        name,
        loss_inputs,
        variants,
        ("logits",),
        partial(forward_bound, name),
        partial(backward_bound, name),
        bad=(*bad, *BAD),
        dense_results=False,
    )


BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("target", np.array([0, 1, 7]), ValueError),
    ("target", np.array([0, -1, 2]), ValueError),
    ("target", np.zeros((3, 7, 1), np.int64), ValueError),
    ("target", np.zeros(3, complex), TypeError),
    ("target", np.zeros(3, bool), TypeError),
    ("target", "text", TypeError),
    ("reduction", "average", ValueError),
    ("reduction", None, TypeError),
    ("axis", 2, ValueError),
    ("axis", (1,), TypeError),
    ("return_grad", 1, TypeError),
)
SOFT_BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("target", np.zeros((3, 6), np.float32), ValueError),
    ("target", np.zeros((3, 7)), TypeError),
    ("label_smoothing", 1.5, ValueError),
    ("label_smoothing", -0.1, ValueError),
    ("label_smoothing", "a", TypeError),
    ("ignore_index", 1.0, TypeError),
    ("ignore_index", 2**63, ValueError),
)

ROWS: dict[str, Any] = {"reduction": "none"}

OPS = (
    loss_op(
        "cross_entropy",
        (
            Variant("classes", keywords=ROWS),
            Variant("smoothed", keywords={**ROWS, "label_smoothing": 0.1}),
            Variant("probabilities", keywords=ROWS),
        ),
        (*SOFT_BAD, ("weight", np.ones(3, np.float32), ValueError)),
    ),
    loss_op(
        "focal_loss",
        (Variant("classes", keywords=ROWS), Variant("power", keywords={**ROWS, "gamma": 1.3})),
        (
            ("gamma", -1.0, ValueError),
            ("gamma", None, TypeError),
            ("target", np.zeros((3, 7), np.float32), TypeError),
        ),
    ),
    loss_op(
        "poly_loss",
        (
            Variant("classes", keywords={**ROWS, "epsilon": 2.0}),
            Variant("series", keywords={**ROWS, "epsilon": (1.0, -0.5, 0.25), "label_smoothing": 0.1}),
            Variant("probabilities", keywords={**ROWS, "epsilon": 1.0}),
        ),
        (*SOFT_BAD, ("epsilon", "a", TypeError), ("epsilon", (1.0, np.inf), ValueError)),
    ),
)
