"""NumPy twins of the losses of each element, in float64."""

from __future__ import annotations

import numpy as np

from .._typing import Array, BatchReduction, LossResult, Reduction
from ._results import result


def mse_loss(
    prediction: Array, target: Array, reduction: Reduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.mse_loss`."""
    with np.errstate(all="ignore"):
        difference = prediction.astype(np.float64) - target.astype(np.float64)
        return reduced(difference**2, 2 * difference, prediction, reduction, return_grad)


def mse_loss_backward(dloss: Array | float, prediction: Array, target: Array, reduction: Reduction) -> Array:
    """Twin of `fastnorm.mse_loss_backward`."""
    with np.errstate(all="ignore"):
        difference = prediction.astype(np.float64) - target.astype(np.float64)
        return pulled_back(dloss, 2 * difference, prediction, reduction)


def l1_loss(
    prediction: Array, target: Array, reduction: Reduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.l1_loss`."""
    return smooth_l1_loss(prediction, target, 0.0, reduction, return_grad)


def l1_loss_backward(dloss: Array | float, prediction: Array, target: Array, reduction: Reduction) -> Array:
    """Twin of `fastnorm.l1_loss_backward`."""
    return smooth_l1_loss_backward(dloss, prediction, target, 0.0, reduction)


def huber_loss(
    prediction: Array, target: Array, delta: float, reduction: Reduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.huber_loss`."""
    with np.errstate(all="ignore"):
        return reduced(*huber_terms(prediction, target, delta, delta), prediction, reduction, return_grad)


def huber_loss_backward(
    dloss: Array | float, prediction: Array, target: Array, delta: float, reduction: Reduction
) -> Array:
    """Twin of `fastnorm.huber_loss_backward`."""
    with np.errstate(all="ignore"):
        return pulled_back(dloss, huber_terms(prediction, target, delta, delta)[1], prediction, reduction)


def smooth_l1_loss(
    prediction: Array, target: Array, beta: float, reduction: Reduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.smooth_l1_loss`."""
    with np.errstate(all="ignore"):
        return reduced(*huber_terms(prediction, target, beta, 1.0), prediction, reduction, return_grad)


def smooth_l1_loss_backward(
    dloss: Array | float, prediction: Array, target: Array, beta: float, reduction: Reduction
) -> Array:
    """Twin of `fastnorm.smooth_l1_loss_backward`."""
    with np.errstate(all="ignore"):
        return pulled_back(dloss, huber_terms(prediction, target, beta, 1.0)[1], prediction, reduction)


def huber_terms(prediction: Array, target: Array, limit: float, top: float) -> tuple[Array, Array]:
    """Return a loss whose slope is top * d / limit where abs(d) <= limit and top * sign(d) elsewhere, d being
    the difference, and that slope.
    """
    d = prediction.astype(np.float64) - target.astype(np.float64)
    is_square = np.abs(d) <= limit
    risen = d * (top / limit) if limit and np.isfinite(top / limit) else d / limit * top if limit else d
    slopes = np.where(is_square, risen, top * np.sign(d))
    return np.where(is_square, 0.5 * slopes * d, top * (np.abs(d) - 0.5 * limit)), slopes


def bce_with_logits(
    logits: Array,
    target: Array,
    weight: Array | None,
    pos_weight: Array | None,
    reduction: Reduction,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.bce_with_logits`."""
    with np.errstate(all="ignore"):
        losses, slopes = bce_terms(logits, target, weight, pos_weight)
        return reduced(losses, slopes, logits, reduction, return_grad)


def bce_with_logits_backward(
    dloss: Array | float,
    logits: Array,
    target: Array,
    weight: Array | None,
    pos_weight: Array | None,
    reduction: Reduction,
) -> Array:
    """Twin of `fastnorm.bce_with_logits_backward`."""
    with np.errstate(all="ignore"):
        return pulled_back(dloss, bce_terms(logits, target, weight, pos_weight)[1], logits, reduction)


def bce_terms(
    logits: Array, target: Array, weight: Array | None, pos_weight: Array | None
) -> tuple[Array, Array]:
    """Return w (p y softplus(-z) + (1 - y) softplus(z)) and its derivative, from exp(-abs(z))."""
    z, y = logits.astype(np.float64), target.astype(np.float64)
    e = np.exp(-np.abs(z))
    share, other = y if pos_weight is None else pos_weight * y, 1 - y
    # Of the class that z is for, and of the other.
    near, far = np.where(z < 0, other, share), np.where(z < 0, share, other)
    small = np.log1p(e)
    losses = near * small + np.where(far == 0, 0, far * (small + np.abs(z)))
    slopes = np.where(z < 0, -1, 1) * (far / (1 + e) - near * (e / (1 + e)))
    return (losses, slopes) if weight is None else (weight * losses, weight * slopes)


def kl_div(
    log_probabilities: Array, target: Array, reduction: BatchReduction, log_target: bool, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.kl_div`."""
    with np.errstate(all="ignore"):
        losses, slopes = divergence_terms(log_probabilities, target, log_target)
        return reduced(losses, slopes, log_probabilities, reduction, return_grad)


def kl_div_backward(
    dloss: Array | float, log_probabilities: Array, target: Array, reduction: BatchReduction, log_target: bool
) -> Array:
    """Twin of `fastnorm.kl_div_backward`."""
    with np.errstate(all="ignore"):
        slopes = divergence_terms(log_probabilities, target, log_target)[1]
        return pulled_back(dloss, slopes, log_probabilities, reduction)


def divergence_terms(log_probabilities: Array, target: Array, log_target: bool) -> tuple[Array, Array]:
    """Return y (log y - x), 0 where y is 0 and x any number, and its derivative."""
    x, goal = log_probabilities.astype(np.float64), target.astype(np.float64)
    y, logarithm = (np.exp(goal), goal) if log_target else (goal, np.log(goal))
    return np.where(y == 0, np.where(np.isnan(x), x, 0.0), y * (logarithm - x)), -y


def sigmoid_focal_loss(
    logits: Array, target: Array, alpha: float | None, gamma: float, reduction: Reduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.sigmoid_focal_loss`."""
    with np.errstate(all="ignore"):
        losses, slopes = focal_terms(logits, target, 0.0, alpha, gamma)
        return reduced(losses, slopes, logits, reduction, return_grad)


def sigmoid_focal_loss_backward(
    dloss: Array | float,
    logits: Array,
    target: Array,
    alpha: float | None,
    gamma: float,
    reduction: Reduction,
) -> Array:
    """Twin of `fastnorm.sigmoid_focal_loss_backward`."""
    with np.errstate(all="ignore"):
        return pulled_back(dloss, focal_terms(logits, target, 0.0, alpha, gamma)[1], logits, reduction)


def poly_focal_loss(
    logits: Array,
    target: Array,
    epsilon: float,
    alpha: float | None,
    gamma: float,
    reduction: Reduction,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]:
    """Twin of `fastnorm.poly_focal_loss`."""
    with np.errstate(all="ignore"):
        losses, slopes = focal_terms(logits, target, epsilon, alpha, gamma)
        return reduced(losses, slopes, logits, reduction, return_grad)


def poly_focal_loss_backward(
    dloss: Array | float,
    logits: Array,
    target: Array,
    epsilon: float,
    alpha: float | None,
    gamma: float,
    reduction: Reduction,
) -> Array:
    """Twin of `fastnorm.poly_focal_loss_backward`."""
    with np.errstate(all="ignore"):
        return pulled_back(dloss, focal_terms(logits, target, epsilon, alpha, gamma)[1], logits, reduction)


def focal_terms(
    logits: Array, target: Array, epsilon: float, alpha: float | None, gamma: float
) -> tuple[Array, Array]:
    """Return w (u^gamma l + epsilon u^(gamma + 1)) and its derivative, u being the probability of the other
    class.

    Probabilities and logarithms come from exp(-abs(z)), where no difference of nearly equal numbers is taken.
    Where l and epsilon u nearly cancel, some digits are lost; the kernel keeps them by a series.
    """
    z, y = logits.astype(np.float64), target.astype(np.float64)
    e = np.exp(-np.abs(z))
    p, q = (np.where(z < 0, one, other) for one, other in ((e, 1.0), (1.0, e)))
    p, q = p / (1 + e), q / (1 + e)
    surprise_of_one = np.log1p(e) + np.maximum(-z, 0)
    surprise_of_zero = np.log1p(e) + np.maximum(z, 0)
    loss = np.where(y == 0, 0, y * surprise_of_one) + np.where(y == 1, 0, (1 - y) * surprise_of_zero)
    u = y * q + (1 - y) * p
    weight = np.ones_like(z) if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    power = weight * u**gamma
    # (du/dz) / u, where a target of 0 or 1 needs no division.
    ratio = np.where(y == 0, q, np.where(y == 1, -p, (1 - 2 * y) * p * q / u))
    chained = np.where(ratio == 0, 0, ratio * loss)
    slope = gamma * chained + epsilon * (gamma + 1) * ratio * u + ((1 - y) * p - y * q)
    return power * (loss + epsilon * u), power * slope


def reduced(
    losses: Array, gradients: Array, x: Array, reduction: BatchReduction, return_grad: bool
) -> LossResult | tuple[LossResult, Array]:
    """Return the loss in x's dtype, and the gradient of the reduced loss if that is wanted."""
    loss: LossResult = result(losses, x)
    if reduction != "none":
        loss = np.asarray(np.sum(losses) / divisor(x, reduction)).astype(x.dtype)[()]
    if not return_grad:
        return loss
    dloss = np.ones_like(x) if reduction == "none" else 1.0
    return loss, pulled_back(dloss, gradients, x, reduction)


def divisor(x: Array, reduction: BatchReduction) -> np.float64:
    """Return what the sum of the losses is divided by."""
    counts = {"mean": x.size, "batchmean": x.shape[0] if x.ndim else 1}
    return np.float64(counts.get(reduction, 1))


def pulled_back(dloss: Array | float, gradients: Array, x: Array, reduction: BatchReduction) -> Array:
    """Return the gradients of the losses times that of what they were reduced to."""
    share = np.asarray(dloss).astype(np.float64) / max(divisor(x, reduction), 1)
    return result(gradients * share, x)
