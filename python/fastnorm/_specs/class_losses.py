"""Losses over classes, with the losses of the rows. A problem of linear_cross_entropy is one of `linear`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import reference
from ..reference.linear import before_activation
from . import linear
from .bounds import SMALLEST, TERM, last_rounding, roundoff, summed
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
    wide,
)

LOSS_ROUNDINGS = (
    16  # of a float32 loss: an exponential, a sum of 16 in each lane, a logarithm, and the polynomial
)
POWER_ROUNDINGS = 16  # more where a power of 1 - p enters
ROWS: dict[str, Any] = {"reduction": "none"}
PLAIN = Variant("classes", keywords=ROWS)
WITH_GRADIENT = Variant("sum with gradient", keywords={"reduction": "sum", "return_grad": True})
# A small call, an image classifier, a batch and a page of tokens.
TIMED = ((1, 10), (512, 1000), (64, 128256), (4096, 32000))
LossAndGradient = Callable[..., Pair]  # of each row or element


def loss_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Rows of moderate spread; classes, or probabilities where the variant is of that name."""
    logits = draw.x(shape, deviation=2.0)
    if "probabilities" not in variant.label:
        return logits, draw.rng.integers(0, max(shape[-1], 1), shape[:-1])
    target = draw.rng.random(shape)
    return logits, (target / target.sum(axis=-1, keepdims=True)).astype(draw.dtype)


def magnitudes(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Pair:
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


def with_softmax(logits: Array) -> Pair:
    """Logarithms of the probabilities, and the probabilities."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=-1, keepdims=True)
    return shifted - np.log(total), e / total


def numpy_one_hot(p: Array, target: Array) -> Array:
    """Classes as rows of 0 and 1 in the type of p."""
    result = np.zeros_like(p)
    np.put_along_axis(result, target[..., None], 1, -1)
    return result


def numpy_cross_entropy(logits: Array, target: Array) -> Pair:
    """-log p of the target."""
    log_p, p = with_softmax(logits)
    surprise = -np.take_along_axis(log_p, target[..., None], -1)
    return surprise[..., 0], p - numpy_one_hot(p, target)


def numpy_focal_loss(logits: Array, target: Array, gamma: float = 2.0) -> Pair:
    """(1 - p)^gamma times the cross entropy."""
    log_p, p = with_softmax(logits)
    surprise, right = (
        -np.take_along_axis(log_p, target[..., None], -1),
        np.take_along_axis(p, target[..., None], -1),
    )
    slope = (1 - right) ** gamma + gamma * (1 - right) ** (gamma - 1) * right * surprise
    return ((1 - right) ** gamma * surprise)[..., 0], (p - numpy_one_hot(p, target)) * slope


def numpy_poly_loss(logits: Array, target: Array, epsilon: float = 1.0) -> Pair:
    """Cross entropy and epsilon (1 - p)."""
    log_p, p = with_softmax(logits)
    surprise, right = (
        -np.take_along_axis(log_p, target[..., None], -1),
        np.take_along_axis(p, target[..., None], -1),
    )
    return (surprise + epsilon * (1 - right))[..., 0], (p - numpy_one_hot(p, target)) * (1 + epsilon * right)


def classifier_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, a weight that gives logits of moderate spread, classes and a bias."""
    x, weight, bias = linear.linear_inputs(draw, shape, variant)
    return x, weight, draw.rng.integers(0, max(shape[-1], 1), shape[:-2]), bias


def logits_of(inputs: Arguments) -> tuple[Array, Array]:
    """Logits in float64, and by how much they may err in a row."""
    x, weight, _, bias = inputs
    error = linear.product_bound(x, weight, x.dtype, bias)
    return before_activation(x, weight, bias), np.max(error, axis=-1, initial=0.0)


def classifier_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The error of the logits, by which log-sum-exp and a logit move at most, and that of the loss itself."""
    dtype, target = inputs[0].dtype, inputs[2]
    logits, error = logits_of(inputs)
    exact = np.abs(reference.cross_entropy(logits, target, **keywords))
    own, *_ = forward_bound("cross_entropy", (logits, target), keywords)
    if dtype != np.float64:
        own = LOSS_ROUNDINGS * roundoff(dtype) * exact
    return (2 * error + own + last_rounding(exact, dtype),)


def classifier_backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The error of dz, of which that of the logits moves each p by a factor, and those of the products with
    it.
    """
    (dloss,), (x, weight, target, bias) = dys, inputs
    dtype = x.dtype
    logits, error = logits_of(inputs)
    _, terms = magnitudes("cross_entropy", (logits, target), keywords)
    slope = np.abs(wide(dloss))[..., None]
    dz = slope * terms
    moved = slope * reference.softmax(logits) * np.expm1(2 * error)[..., None]
    dz_error = moved + 2 * summed(dz, logits.shape[-1] + 16, dtype)
    dx = linear.product_bound(dz, weight.T, dtype) + dz_error @ np.abs(wide(weight)).T
    return (
        dx + linear.rounding_of(dz, weight, dtype),
        *linear.weight_bounds(x, dz, dz_error, dtype, has_bias=bias is not None),
    )


def with_gradient(loss: LossAndGradient) -> Callable[..., Any]:
    """The formula of an op from the losses and gradients of rows or elements."""

    def formula(x: Array, target: Array, *, reduction: str, return_grad: bool = False) -> Any:
        losses, gradient = loss(x, target)
        if reduction == "mean":
            gradient /= losses.size
        value = losses if reduction == "none" else getattr(np, reduction)(losses)
        return (value, gradient) if return_grad else value

    return formula


def of_gradient(loss: LossAndGradient) -> Callable[..., Any]:
    """That of its backward."""

    def formula(dloss: Array, x: Array, target: Array, *, reduction: str) -> Array:
        losses, gradient = loss(x, target)
        factor = dloss / losses.dtype.type(losses.size if reduction == "mean" else 1)
        dx: Array = gradient * factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim))
        return dx

    return formula


def numpy_linear_cross_entropy(
    x: Array,
    weight: Array,
    target: Array,
    bias: Array | None = None,
    *,
    reduction: str,
    return_grad: bool = False,
) -> Any:
    """The layer by BLAS, the loss of its outputs, and the layer's gradients."""
    loss = with_gradient(numpy_cross_entropy)(
        linear.numpy_linear(x, weight, bias), target, reduction=reduction, return_grad=return_grad
    )
    return (loss[0], *linear.numpy_linear_backward(loss[1], x, weight, bias)) if return_grad else loss


def numpy_linear_cross_entropy_backward(
    dloss: Array, x: Array, weight: Array, target: Array, bias: Array | None = None, *, reduction: str
) -> tuple[Array | None, ...]:
    """The same from the gradient of the loss."""
    logits = linear.numpy_linear(x, weight, bias)
    dz = of_gradient(numpy_cross_entropy)(dloss, logits, target, reduction=reduction)
    return linear.numpy_linear_backward(dz, x, weight, bias)


def loss_op(
    name: str,
    loss: LossAndGradient,
    contracts: tuple[Contract, Contract],
    variants: tuple[Variant, ...],
    bad: tuple[Bad, ...],
) -> Spec:
    """One of the three."""
    return Spec(
        name,
        loss_inputs,
        variants,
        ("logits",),
        *contracts,
        partial(forward_bound, name),
        partial(backward_bound, name),
        with_gradient(loss),
        of_gradient(loss),
        checked=(PLAIN, WITH_GRADIENT),
        workloads=(Workload(WITH_GRADIENT, shapes=TIMED, backward=False),),
        bad=(*bad, *BAD),
        dense_results=False,
    )


def log_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Log probabilities, and classes."""
    logits = draw.x(shape, deviation=2.0).astype(np.float64)
    logs = reference.log_softmax(logits) if logits.size else logits
    return logs.astype(draw.dtype), draw.rng.integers(0, max(shape[-1], 1), shape[:-1])


def nll_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The last rounding."""
    exact = np.abs(reference.nll_loss(inputs[0].astype(np.float64), inputs[1], **keywords))
    return (2 * roundoff(inputs[0].dtype) * exact + last_rounding(exact, inputs[0].dtype),)


def nll_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The same for the gradient."""
    exact = np.abs(wide(dys[0]))[..., None] * one_hot(inputs[1], inputs[0].shape[-1])
    return (2 * roundoff(inputs[0].dtype) * exact + last_rounding(exact, inputs[0].dtype),)


def numpy_nll_loss(x: Array, target: Array) -> Pair:
    """An element of each row."""
    return -np.take_along_axis(x, target[..., None], -1)[..., 0], -numpy_one_hot(x, target)


BAD: tuple[Bad, ...] = (
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
SOFT_BAD: tuple[Bad, ...] = (
    ("target", np.zeros((3, 6), np.float32), ValueError),
    ("target", np.zeros((3, 7)), TypeError),
    ("label_smoothing", 1.5, ValueError),
    ("label_smoothing", -0.1, ValueError),
    ("label_smoothing", "a", TypeError),
    ("ignore_index", 1.0, TypeError),
    ("ignore_index", 2**63, ValueError),
)


cross_entropy = loss_op(
    "cross_entropy",
    numpy_cross_entropy,
    (Contract("ULP", 4.0), GRADIENT),
    (
        Variant("classes", keywords=ROWS),
        Variant("smoothed", keywords={**ROWS, "label_smoothing": 0.1}),
        Variant("probabilities", keywords=ROWS),
    ),
    (*SOFT_BAD, ("weight", np.ones(3, np.float32), ValueError)),
)
focal_loss = loss_op(
    "focal_loss",
    numpy_focal_loss,
    (Contract("ULP", 16.0), Contract("relative", 2e-6)),
    (Variant("classes", keywords=ROWS), Variant("power", keywords={**ROWS, "gamma": 1.3})),
    (
        ("gamma", -1.0, ValueError),
        ("gamma", None, TypeError),
        ("target", np.zeros((3, 7), np.float32), TypeError),
    ),
)
nll_loss = Spec(
    "nll_loss",
    log_inputs,
    (Variant("classes", keywords=ROWS),),
    ("log_probabilities",),
    Contract("ULP", 1.0),
    Contract("ULP", 1.0),
    nll_bound,
    nll_backward_bound,
    with_gradient(numpy_nll_loss),
    of_gradient(numpy_nll_loss),
    checked=(PLAIN, WITH_GRADIENT),
    workloads=(Workload(WITH_GRADIENT, shapes=TIMED, backward=False),),
    bad=(
        ("weight", np.ones(3, np.float32), ValueError),
        ("target", np.zeros((3, 7), np.float32), TypeError),
        ("ignore_index", 1.0, TypeError),
        ("ignore_index", 2**63, ValueError),
        *BAD,
    ),
    dense_results=False,
)
poly_loss = loss_op(
    "poly_loss",
    numpy_poly_loss,
    (Contract("ULP", 4.0), GRADIENT),
    (
        Variant("classes", keywords={**ROWS, "epsilon": 2.0}),
        Variant("series", keywords={**ROWS, "epsilon": (1.0, -0.5, 0.25), "label_smoothing": 0.1}),
        Variant("probabilities", keywords={**ROWS, "epsilon": 1.0}),
    ),
    (*SOFT_BAD, ("epsilon", "a", TypeError), ("epsilon", (1.0, np.inf), ValueError)),
)
CLASSIFIER = Variant("bias", ("bias",), ROWS)
TRAINED = Variant("sum with gradient", ("bias",), WITH_GRADIENT.keywords)
linear_cross_entropy = Spec(
    "linear_cross_entropy",
    classifier_inputs,
    (
        CLASSIFIER,
        Variant("no_bias", keywords=ROWS),
        Variant("smoothed", ("bias",), {**ROWS, "label_smoothing": 0.1}),
    ),
    ("x", "weight", "bias"),
    GRADIENT,
    GRADIENT,
    classifier_bounds,
    classifier_backward_bounds,
    numpy_linear_cross_entropy,
    numpy_linear_cross_entropy_backward,
    checked=(CLASSIFIER, TRAINED),
    workloads=(
        Workload(
            TRAINED,
            shapes=((1, 64), (32, 768), (512, 768), (4096, 1024)),
            backward=False,
        ),
    ),
    problem=linear.square,
    shapes=linear.SHAPES,
    large=(*linear.LARGE, (70, 40, 33_000)),
    empty=linear.EMPTY,
    batches=(),  # in test_class_losses.py: x alone has the rows of the batch
    dense_results=False,
    bad=(
        ("weight", linear.WRONG, ValueError),
        ("weight", linear.WRONG[0], ValueError),
        ("weight", np.ones((7, 0), np.float32), ValueError),
        ("bias", linear.WRONG[0, :1], ValueError),
        ("target", np.zeros((3, 4), np.float32), TypeError),
        *(bad for bad in (*BAD, *SOFT_BAD[2:]) if bad[0] != "axis"),
    ),
)
