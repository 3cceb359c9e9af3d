"""NumPy twins of the losses over classes, in float64.

All work on `rows`, the logits z as (rows, classes). With m the maximum of a row, lift = log(sum exp(z - m))
and p the softmax, -log p = lift + (m - z): both parts are at least 0, and none cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._arguments.class_losses import Coefficients
from .._typing import Array, LossResult, Reduction
from ._results import result
from .linear import before_activation, layer_gradients
from .softmax import exponentials


class Rows(NamedTuple):
    """The rows of a batch; a target is a row of probabilities, all 0 where the row is ignored."""

    distances: Array  # m - z
    lift: Array  # a column
    p: Array
    complement: Array  # 1 - p
    q: Array
    weight: Array  # one a class, of all rows or of each
    shares: Array  # what the mean counts each row by
    ignored: Array


def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.cross_entropy`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis, weight, label_smoothing, ignore_index)
        losses, gradients = poly_rows(rows, ())
        return reduced(losses, gradients, rows, logits, axis, reduction, return_grad)


def cross_entropy_backward(
    dloss: Array | float,
    logits: Array,
    target: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
) -> Array:
    """Twin of `fastnorm.cross_entropy_backward`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis, weight, label_smoothing, ignore_index)
        return pulled_back(dloss, poly_rows(rows, ())[1], rows, logits, axis, reduction)


def focal_loss(
    logits: Array, target: Array, gamma: float, reduction: Reduction, axis: int, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.focal_loss`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis)
        losses, gradients = focal_rows(rows, gamma)
        return reduced(losses, gradients, rows, logits, axis, reduction, return_grad)


def focal_loss_backward(
    dloss: Array | float, logits: Array, target: Array, gamma: float, reduction: Reduction, axis: int
) -> Array:
    """Twin of `fastnorm.focal_loss_backward`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis)
        return pulled_back(dloss, focal_rows(rows, gamma)[1], rows, logits, axis, reduction)


def nll_loss(
    log_probabilities: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.nll_loss`."""
    with np.errstate(all="ignore"):
        rows = rows_of(log_probabilities, target, axis, weight, 0.0, ignore_index)
        x = np.moveaxis(log_probabilities, axis, -1).astype(np.float64).reshape(rows.q.shape)
        losses = -np.sum(np.where(rows.q == 0, 0.0, rows.weight * x), axis=1, keepdims=True)
        loss = reduced(losses, losses, rows, log_probabilities, axis, reduction, return_grad=False)
    if not return_grad:
        return loss
    kept = tuple(size for number, size in enumerate(log_probabilities.shape) if number != axis)
    dloss = np.ones(kept) if reduction == "none" else 1.0
    return loss, nll_loss_backward(dloss, log_probabilities, target, weight, ignore_index, reduction, axis)


def nll_loss_backward(
    dloss: Array | float,
    log_probabilities: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
) -> Array:
    """Twin of `fastnorm.nll_loss_backward`."""
    with np.errstate(all="ignore"):
        rows = rows_of(log_probabilities, target, axis, weight, 0.0, ignore_index)
        factor = np.asarray(dloss, np.float64).reshape(-1, 1) / (
            divisor(rows) if reduction == "mean" else 1.0
        )
        slopes = np.where(rows.q == 0, 0.0, -rows.weight * factor)
    moved = np.moveaxis(log_probabilities, axis, -1).shape
    return result(np.moveaxis(slopes.reshape(moved), -1, axis), log_probabilities)


def linear_cross_entropy(
    x: Array,
    weight: Array,
    target: Array,
    bias: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array, Array, Array | None]:
    """Twin of `fastnorm.linear_cross_entropy`."""
    logits = before_activation(x, weight, bias)
    loss, dlogits = cross_entropy(
        logits, target, None, label_smoothing, ignore_index, reduction, logits.ndim - 1, return_grad=True
    )
    with np.errstate(all="ignore"):
        loss = loss.astype(x.dtype)[()]
    return (loss, *layer_gradients(dlogits, x, weight, bias)) if return_grad else loss


def linear_cross_entropy_backward(
    dloss: Array | float,
    x: Array,
    weight: Array,
    target: Array,
    bias: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
) -> tuple[Array, Array, Array | None]:
    """Twin of `fastnorm.linear_cross_entropy_backward`."""
    logits = before_activation(x, weight, bias)
    dlogits = cross_entropy_backward(
        dloss, logits, target, None, label_smoothing, ignore_index, reduction, logits.ndim - 1
    )
    return layer_gradients(dlogits, x, weight, bias)


def poly_loss(
    logits: Array,
    target: Array,
    epsilon: Coefficients,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.poly_loss`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis, None, label_smoothing, ignore_index)
        losses, gradients = poly_rows(rows, epsilon)
        return reduced(losses, gradients, rows, logits, axis, reduction, return_grad)


def poly_loss_backward(
    dloss: Array | float,
    logits: Array,
    target: Array,
    epsilon: Coefficients,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
    axis: int,
) -> Array:
    """Twin of `fastnorm.poly_loss_backward`."""
    with np.errstate(all="ignore"):
        rows = rows_of(logits, target, axis, None, label_smoothing, ignore_index)
        return pulled_back(dloss, poly_rows(rows, epsilon)[1], rows, logits, axis, reduction)


def rows_of(
    logits: Array,
    target: Array,
    axis: int,
    weight: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Rows:
    """Return what the losses need to know of each row."""
    classes = logits.shape[axis]
    z = np.moveaxis(logits, axis, -1).astype(np.float64).reshape(-1, classes)
    shifted, e, rest = exponentials(z, 1)
    # 1 - p of the largest element from the others, of the others by subtraction.
    complement = 1.0 - e / (1.0 + rest)
    largest = np.argmax(z, axis=1, keepdims=True)
    np.put_along_axis(complement, largest, rest / (1.0 + rest), 1)
    weights = np.ones(classes) if weight is None else weight.astype(np.float64)
    if target.dtype.kind == "i":
        labels = target.reshape(-1, 1)
        ignored = labels == ignore_index if ignore_index is not None else np.zeros(labels.shape, bool)
        q = np.zeros_like(z)
        np.put_along_axis(q, np.where(ignored, 0, labels), 1.0, 1)
        shares = np.where(ignored, 0.0, weights[np.where(ignored, 0, labels)])
        q = np.where(ignored, 0.0, q * (1 - label_smoothing) + label_smoothing / classes)
        weights = np.where(q == 0, 0.0, weights)  # what does not count may be NaN
    else:
        q = np.moveaxis(target, axis, -1).astype(np.float64).reshape(-1, classes)
        q = q * (1 - label_smoothing) + label_smoothing / classes
        shares, ignored = np.ones((len(z), 1)), np.zeros((len(z), 1), bool)
    return Rows(-shifted, np.log1p(rest), e / (1.0 + rest), complement, q, weights, shares, ignored)


def poly_rows(rows: Rows, epsilon: Sequence[float]) -> tuple[Array, Array]:
    """Return sum q w (-log p) + sum_k epsilon_k (1 - sum q p)^k for each row, and its gradient.

    p_j A - q_j w_j, A = sum q w, is (1 - p_j) (-q_j w_j) + p_j (A - q_j w_j), whose parts do not cancel where
    q is one class; likewise for v = 1 - sum q p.
    """
    total = rows.q * rows.weight
    terms = np.where(total == 0, 0.0, total * (rows.distances + rows.lift))
    losses = np.sum(terms, axis=1, keepdims=True)
    amount = np.sum(total, axis=1, keepdims=True)
    gradients = rows.p * (amount - total) - rows.complement * total
    mass = np.sum(rows.q, axis=1, keepdims=True)
    v = np.sum(rows.q * rows.complement, axis=1, keepdims=True) + (1.0 - mass)
    counted = ~rows.ignored
    for k, coefficient in enumerate(epsilon, start=1):
        losses = losses + np.where(counted, coefficient * v**k, 0.0)
        slope = np.where(counted, coefficient * k * v ** (k - 1), 0.0)
        # -dv/dz_j = p_j (q_j - sum q p), and q_j - sum q p = q_j (1 - p_j) - sum of the other q p.
        others = np.sum(rows.q * rows.p, axis=1, keepdims=True) - rows.q * rows.p
        gradients = gradients - slope * rows.p * (rows.q * rows.complement - others)
    return losses, gradients


def focal_rows(rows: Rows, gamma: float) -> tuple[Array, Array]:
    """Return (1 - p_t)^gamma (-log p_t) for each row, and its gradient."""
    target = rows.q == 1
    surprise, p, u = (
        np.sum(np.where(target, values, 0.0), axis=1, keepdims=True)
        for values in (rows.distances + rows.lift, rows.p, rows.complement)
    )
    power = u**gamma
    lower = gamma * u ** (gamma - 1) * p * surprise if gamma else 0.0
    slope = power + np.where((p == 0) | (u == 0), 0.0 * p, lower)  # NaN where p is
    return power * surprise, slope * np.where(target, -rows.complement, rows.p)


def reduced(
    losses: Array, gradients: Array, rows: Rows, logits: Array, axis: int, reduction: str, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Return the loss in x's dtype, and the gradient of the reduced loss if that is wanted."""
    kept = tuple(size for number, size in enumerate(logits.shape) if number != axis)
    if reduction == "none":
        values = losses.reshape(kept)
    else:
        values = np.sum(losses) / (divisor(rows) if reduction == "mean" else 1.0)
    loss = values.astype(logits.dtype)[()]
    if not return_grad:
        return loss
    dloss = np.ones(kept, logits.dtype) if reduction == "none" else 1.0
    return loss, pulled_back(dloss, gradients, rows, logits, axis, reduction)


def divisor(rows: Rows) -> float:
    """Return what a mean divides by, NaN where no row counts: there is nothing to take a mean of."""
    return float(np.sum(rows.shares)) if rows.shares.any() else np.nan


def pulled_back(
    dloss: Array | float, gradients: Array, rows: Rows, logits: Array, axis: int, reduction: str
) -> Array:
    """Return the gradients of the rows times that of the loss, in the shape of the logits."""
    factor = np.asarray(dloss, np.float64).reshape(-1, 1)
    if reduction == "mean":
        factor = factor / divisor(rows)
    scaled = np.where(rows.ignored, 0.0, gradients * factor)
    moved = np.moveaxis(logits, axis, -1).shape
    return result(np.moveaxis(scaled.reshape(moved), -1, axis), logits)
