"""Losses of each element, without a reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..reference.elementwise_losses import bce_terms, focal_terms, huber_terms
from .bounds import last_rounding, roundoff
from .class_losses import PLAIN, ROWS, WITH_GRADIENT, LossAndGradient, of_gradient, with_gradient
from .spec import (
    GRADIENT,
    Arguments,
    Array,
    Bad,
    Bounds,
    Contract,
    Draw,
    Pair,
    Shape,
    Spec,
    Variant,
    Workload,
)

NUMBERS = ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")  # losses of predictions
SQUARE = Contract("ULP", 3.0)  # of the difference, which counts twice, and of the square
CROSS_ENTROPY = Contract("ULP", 4.0)  # an exponential, a division and a series
GAMMA = 2.0  # the ops' default
TWIN_ROUNDINGS = 8  # where the twin computes in the same type as the op


def mse_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Predictions and targets of one size."""
    return draw.x(shape), draw.normal(shape)


def mse_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of a square."""
    difference = inputs[0].astype(np.float64) - inputs[1].astype(np.float64)
    exact = difference**2
    return (SQUARE.bound * 2 * roundoff(inputs[0].dtype) * exact + last_rounding(exact, inputs[0].dtype),)


def mse_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of the difference and the product."""
    exact = 2 * dys[0].astype(np.float64) * (inputs[0].astype(np.float64) - inputs[1].astype(np.float64))
    bound = SQUARE.bound * roundoff(inputs[0].dtype) * np.abs(exact)
    return (bound + last_rounding(exact, inputs[0].dtype),)


def huber_limits(op: str, keywords: Mapping[str, Any]) -> tuple[float, float]:
    """The difference up to which the slope rises, and to what."""
    if op == "huber_loss":
        return keywords.get("delta", 1.0), keywords.get("delta", 1.0)
    return keywords.get("beta", 1.0) if op == "smooth_l1_loss" else 0.0, 1.0


def huber_bound(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of the loss."""
    exact, _ = huber_terms(inputs[0], inputs[1], *huber_limits(op, keywords))
    return (roundings_of(SQUARE, inputs[0].dtype, exact),)


def huber_backward_bound(op: str, dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of the slope and the product."""
    _, slopes = huber_terms(inputs[0], inputs[1], *huber_limits(op, keywords))
    return (roundings_of(SQUARE, inputs[0].dtype, dys[0].astype(np.float64) * slopes),)


def roundings_of(contract: Contract, dtype: np.dtype[Any], exact: Array) -> Array:
    """What a contract allows, with the roundings of the twin where it computes in the same type."""
    roundings = 2 * contract.bound + (TWIN_ROUNDINGS if dtype == np.float64 else 0)
    return roundings * roundoff(dtype) * np.abs(exact) + last_rounding(exact, dtype)


def bce_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Relative roundings of a loss whose parts have one sign."""
    exact, _ = bce_terms(inputs[0], inputs[1], None, None)
    return (roundings_of(CROSS_ENTROPY, inputs[0].dtype, exact),)


def bce_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The same for the gradient, whose parts have two signs where the target lies between 0 and 1."""
    dy, z, y = (value.astype(np.float64) for value in (dys[0], *inputs))
    with np.errstate(over="ignore"):
        terms = (1 - y) / (1 + np.exp(-z)) + y / (1 + np.exp(z))
    return (roundings_of(CROSS_ENTROPY, inputs[0].dtype, dy * terms),)


def divergence_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Log probabilities; probabilities, some of them 0, or logarithms of such."""
    probability = draw.rng.random(shape) * (draw.rng.random(shape) > 0.1)
    with np.errstate(divide="ignore"):
        goal = np.log(probability) if variant.keywords.get("log_target") else probability
    return -np.abs(draw.x(shape)), goal.astype(draw.dtype)


def divergence_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Roundings of both parts of the difference."""
    x, y, logarithm = divergence_parts(inputs, keywords)
    terms = y * (np.abs(logarithm) + np.abs(x))
    return (roundings_of(CROSS_ENTROPY, inputs[0].dtype, terms),)


def divergence_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """Those of an exponential at most."""
    y = divergence_parts(inputs, keywords)[1]
    return (roundings_of(CROSS_ENTROPY, inputs[0].dtype, dys[0].astype(np.float64) * y),)


def divergence_parts(inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    """The log probabilities, the target and its logarithm, 0 where the target is."""
    x, goal = (value.astype(np.float64) for value in inputs)
    y = np.exp(goal) if keywords.get("log_target") else goal
    return x, y, np.log(np.where(y == 0, 1, y))


def focal_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Logits on both sides, and targets 0 and 1, or between where the variant says so."""
    logits = draw.x(shape, deviation=4.0)
    target = draw.rng.random(shape) if variant.label == "between" else draw.rng.integers(0, 2, shape)
    return logits, target.astype(draw.dtype)


def magnitudes(inputs: Arguments, keywords: Mapping[str, Any]) -> Pair:
    """What loss and gradient are sums of, without regard to signs."""
    z, y = (value.astype(np.float64) for value in inputs)
    epsilon, gamma = abs(keywords.get("epsilon", 0.0)), keywords.get("gamma", GAMMA)
    with np.errstate(all="ignore"):
        loss, _ = focal_terms(z, y, epsilon, keywords.get("alpha", 0.25), gamma)
        p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
        u = y * q + (1 - y) * p
        alpha = keywords.get("alpha", 0.25)
        weight = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        chain = np.abs(1 - 2 * y) * p * q / u
        slope = (1 - y) * p + y * q + chain * epsilon * (gamma + 1) * u
        return loss, gamma * chain * loss + weight * u**gamma * slope


def focal_contract(gamma: float) -> Contract:
    """Of loss and gradient: a power of 1 - p has as many roundings as its exponent."""
    return Contract("ULP", 4 * (2 + gamma))


def focal_roundings(dtype: np.dtype[Any], keywords: Mapping[str, Any]) -> float:
    """The contract in ULP, and what the twin adds where it computes in the same type."""
    gamma = keywords.get("gamma", GAMMA)
    roundings = 2 * focal_contract(gamma).bound
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


def numpy_mse_loss(prediction: Array, target: Array) -> Pair:
    """Squared differences."""
    difference = prediction - target
    return difference * difference, 2 * difference


def numpy_l1_loss(prediction: Array, target: Array) -> Pair:
    """Absolute differences."""
    difference = prediction - target
    return np.abs(difference), np.sign(difference)


def numpy_huber_loss(prediction: Array, target: Array) -> Pair:
    """Squares of small differences, and beyond 1 what goes on straight."""
    difference = prediction - target
    slope = np.clip(difference, -1, 1)
    return slope * (difference - slope / 2), slope


def numpy_bce_with_logits(logits: Array, target: Array) -> Pair:
    """The cross entropy of a sigmoid."""
    loss = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    return loss, 1 / (1 + np.exp(-logits)) - target


def numpy_kl_div(log_probabilities: Array, target: Array) -> Pair:
    """The divergence of targets above 0."""
    safe = np.where(target == 0, 1, target)
    return target * (np.log(safe) - log_probabilities), -target


def numpy_poly_focal_loss(
    logits: Array, target: Array, epsilon: float = 1.0, alpha: float = 0.25, gamma: float = 2.0
) -> Pair:
    """The focal loss of a sigmoid and its polynomial term."""
    sign = 2 * target - 1
    right = 1 / (1 + np.exp(-sign * logits))
    surprise, wrong = np.log1p(np.exp(-sign * logits)), 1 - right
    weight = (alpha * target + (1 - alpha) * (1 - target)) * wrong**gamma
    slope = gamma * right * surprise + wrong + epsilon * (gamma + 1) * wrong * right
    return weight * (surprise + epsilon * wrong), -weight * sign * slope


def loss_op(
    name: str,
    loss: LossAndGradient,
    inputs: Callable[[Draw, Shape, Variant], Arguments],
    variants: tuple[Variant, ...],
    contract: Contract,
    forward_bounds: Callable[[Arguments, Mapping[str, Any]], Bounds],
    backward_bounds: Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds],
    **more: Any,
) -> Spec:
    """One of them."""
    return Spec(
        name,
        inputs,
        variants,
        ("prediction" if name in NUMBERS else "log_probabilities" if name == "kl_div" else "logits",),
        contract,
        contract,
        forward_bounds,
        backward_bounds,
        with_gradient(loss),
        of_gradient(loss),
        checked=(PLAIN, WITH_GRADIENT),
        workloads=(Workload(WITH_GRADIENT, backward=False),),
        **more,
    )


def focal_op(
    name: str, loss: LossAndGradient, variants: tuple[Variant, ...], bad: tuple[Bad, ...] = ()
) -> Spec:
    """A focal loss."""
    return loss_op(
        name,
        loss,
        focal_inputs,
        variants,
        focal_contract(GAMMA),
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


BAD: tuple[Bad, ...] = (
    ("target", np.zeros((3, 6), np.float32), ValueError),
    ("target", np.zeros((3, 7)), TypeError),
    ("reduction", "average", ValueError),
    ("reduction", None, TypeError),
    ("return_grad", 1, TypeError),
)


mse_loss = loss_op(
    "mse_loss",
    numpy_mse_loss,
    mse_inputs,
    (Variant("plain", keywords=ROWS),),
    SQUARE,
    mse_bound,
    mse_backward_bound,
    bad=BAD,
)


def huber_op(
    name: str, loss: LossAndGradient, variants: tuple[Variant, ...] = (), bad: tuple[Bad, ...] = ()
) -> Spec:
    """An absolute error, rounded off or not."""
    return loss_op(
        name,
        loss,
        mse_inputs,
        (Variant("plain", keywords=ROWS), *variants),
        SQUARE,
        partial(huber_bound, name),
        partial(huber_backward_bound, name),
        bad=(*bad, *BAD),
    )


l1_loss = huber_op("l1_loss", numpy_l1_loss)
huber_loss = huber_op(
    "huber_loss",
    numpy_huber_loss,
    (
        Variant("narrow", keywords={**ROWS, "delta": 0.3}),
        Variant("wide", keywords={**ROWS, "delta": 1.7}),
    ),
    (
        ("delta", 0.0, ValueError),
        ("delta", -1.0, ValueError),
        ("delta", 1e-50, ValueError),
        ("delta", np.nan, ValueError),
        ("delta", None, TypeError),
    ),
)
smooth_l1_loss = huber_op(
    "smooth_l1_loss",
    numpy_huber_loss,
    (
        Variant("narrow", keywords={**ROWS, "beta": 0.3}),
        Variant("absolute", keywords={**ROWS, "beta": 0.0}),
    ),
    (("beta", -1.0, ValueError), ("beta", np.inf, ValueError), ("beta", "a", TypeError)),
)
bce_with_logits = loss_op(
    "bce_with_logits",
    numpy_bce_with_logits,
    focal_inputs,
    (Variant("classes", keywords=ROWS), Variant("between", keywords=ROWS)),
    CROSS_ENTROPY,
    bce_bound,
    bce_backward_bound,
    bad=(
        *BAD,
        ("target", np.full((3, 7), 2), ValueError),
        ("weight", np.ones(3, np.float32), ValueError),
        ("weight", np.ones(7), TypeError),
        ("weight", "a", TypeError),
        ("pos_weight", np.ones((1, 3, 7), np.float32), ValueError),
        ("pos_weight", np.ones(7, int), TypeError),
    ),
    integer_arrays=("target",),
)
kl_div = loss_op(
    "kl_div",
    numpy_kl_div,
    divergence_inputs,
    (Variant("plain", keywords=ROWS), Variant("logarithms", keywords={**ROWS, "log_target": True})),
    GRADIENT,  # a difference, which cancels where the probabilities are alike
    divergence_bound,
    divergence_backward_bound,
    bad=(*BAD, ("log_target", 1, TypeError)),
)
sigmoid_focal_loss = focal_op(
    "sigmoid_focal_loss",
    partial(numpy_poly_focal_loss, epsilon=0.0),
    (
        Variant("classes", keywords=ROWS),
        Variant("power", keywords={"gamma": 1.3, "alpha": None}),
        Variant("between", keywords=ROWS),
    ),
)
poly_focal_loss = focal_op(
    "poly_focal_loss",
    numpy_poly_focal_loss,
    (Variant("classes", keywords=ROWS), Variant("negative", keywords={"epsilon": -1.0, "gamma": 3.0})),
    (("epsilon", "a", TypeError), ("epsilon", np.inf, ValueError)),
)
