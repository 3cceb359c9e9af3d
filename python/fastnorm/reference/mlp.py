"""NumPy twins of networks of dense layers: float64 from the input to the result, rounded once.

Layer l takes a_l (rows, in) to z_l = a_l W_l + b_l and a_{l+1} = f(z_l). With g = dL/da_{l+1}:

    dz = g f'(z),   dW_l = a_l^T dz,   db_l = sum of dz over the rows,   dL/da_l = dz W_l^T
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._arguments.optim import Rule
from .._typing import Array, DenseActivation
from ._results import result, statistic
from .activations import sigmoid
from .elementwise_losses import bce_terms, huber_terms
from .linear import activate, activate_backward
from .optim import clip_grad_norm, optimizer_update
from .regularisers import LEVELS, SQUARE, numbers


def mlp_forward(
    x: Array,
    weights: tuple[Array, ...],
    biases: tuple[Array | None, ...] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
) -> Array:
    """Twin of `fastnorm.mlp_forward`."""
    with np.errstate(all="ignore"):
        a = x.astype(np.float64)
        a = _trace(a, weights, biases, activation, output_activation)[1][-1]
    y = np.empty(a.shape, x.dtype)
    return result(a, y, y)


def mlp_backward(
    dy: Array,
    x: Array,
    weights: tuple[Array, ...],
    biases: tuple[Array | None, ...] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
) -> tuple[Array, list[Array], list[Array | None] | None]:
    """Twin of `fastnorm.mlp_backward`."""
    with np.errstate(all="ignore"):
        count = math.prod(x.shape[:-1])
        rows = x.reshape(count, x.shape[-1]).astype(np.float64)
        g = dy.reshape(count, dy.shape[-1]).astype(np.float64)
        zs, activated = _trace(rows, weights, biases, activation, output_activation)
        g = activate_backward(g, zs[-1], output_activation)
        dx, dweights, dbiases = _backward(g, zs, activated, weights, activation)
    return (
        result(dx.reshape(x.shape), x),
        [statistic(dweight, x) for dweight in dweights],
        None
        if biases is None
        else [None if b is None else statistic(db, x) for b, db in zip(biases, dbiases, strict=True)],
    )


def mlp_gradients(
    x: Array,
    target: Array,
    sample_weight: Array | None,
    weights: tuple[Array, ...],
    biases: tuple[Array | None, ...] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str,
    penalty: float,
    option: float,
    masks: Sequence[Array] = (),
) -> tuple[float, list[Array], list[Array | None] | None]:
    """Return a loss and its gradients with respect to weights and biases.

    The loss is the mean over the rows, weighted by `sample_weight` where there is one, plus
    penalty / 2 * sum of the squared weights / (number of rows or sum of their weights). Rows whose weights
    sum to 0 count as none: all is 0 then. What hidden layers give is multiplied by `masks`.
    """
    with np.errstate(all="ignore"):
        zs, activated = _trace(x.astype(np.float64), weights, biases, activation, output_activation, masks)
        value, g = LOSSES[loss](activated[-1], target, option)
        share = np.ones(len(x)) if sample_weight is None else sample_weight.astype(np.float64)
        total = batch_weight(len(x), sample_weight)
        mean = float(np.dot(share, value)) / total
        g = activate_backward(g * (share / total)[:, None], zs[-1], output_activation)
        _, dweights, dbiases = _backward(g, zs, activated, weights, activation, masks)
        wide = [weight.astype(np.float64) for weight in weights]
        mean += 0.5 * penalty * sum(float(np.sum(weight * weight)) for weight in wide) / total
        dweights = [
            dweight + penalty / total * weight for dweight, weight in zip(dweights, wide, strict=True)
        ]
    return (
        float(mean),
        [statistic(dweight, x) for dweight in dweights],
        None
        if biases is None
        else [None if b is None else statistic(db, x) for b, db in zip(biases, dbiases, strict=True)],
    )


def mlp_train(
    x: Array,
    target: Array,
    sample_weight: Array | None,
    weights: tuple[Array, ...],
    biases: tuple[Array | None, ...] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str,
    penalty: float,
    rule: Rule,
    order: Array | None,
    batch_size: int,
    option: float,
    rates: Array | None,
    max_norm: float | None,
    dropout: tuple[float, int] | None,
) -> float:
    """Take training steps over the rows in batches, updating weights and biases in place, and return the mean
    loss.

    `order` holds the numbers of the rows in the order in which they are taken, None for all rows as they
    stand. The loss of a batch is the one before its update; batches count by their rows, and those whose
    weights sum to 0 are passed over. `rates` are those of the steps, None for the rule's; gradients are
    clipped to `max_norm`. `dropout` is a share of hidden layers, and the seed of the first step, after which
    they count on.
    """
    order = np.arange(len(x)) if order is None else order
    parameters = [p for p in (*weights, *(biases or ())) if p is not None]
    units = [weight.shape[1] for weight in weights[:-1]]
    total, counted = 0.0, 0
    for step, start in enumerate(range(0, len(order), batch_size or len(order))):
        rows = order[start : start + (batch_size or len(order))]
        share = None if sample_weight is None else sample_weight[rows]
        if math.isinf(batch_weight(len(rows), share)):
            continue
        value, dweights, dbiases = mlp_gradients(
            x[rows],
            target[rows],
            share,
            weights,
            biases,
            activation,
            output_activation,
            loss,
            penalty,
            option,
            dropout_masks(len(rows), units, dropout[0], dropout[1] + step) if dropout else (),
        )
        gradients = [g for g in (*dweights, *(dbiases or ())) if g is not None]
        if max_norm is not None:
            clip_grad_norm(gradients, max_norm)
        name, own, lr, *rest = rule
        optimizer_update(
            parameters, gradients, (name, own, lr if rates is None else float(rates[step]), *rest)
        )
        total += value * len(rows)
        counted += len(rows)
    return total / counted if counted else 0.0


def dropout_masks(rows: int, units: Sequence[int], dropout: float, seed: int) -> list[Array]:
    """Return what hidden layers of so many units are multiplied by: for each the mask of `dropout`, of
    numbers of its own, in squares of SQUARE rows and units.
    """
    dropped = round(dropout * LEVELS)
    if not dropped:
        return []
    scale = LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0
    masks = []
    for layer, count in enumerate(units):
        squares = -(-rows // SQUARE), -(-count // SQUARE)
        drawn = numbers(squares[0] * squares[1] * SQUARE**2, seed % 2**64, layer)
        whole = drawn.reshape(*squares, SQUARE, SQUARE).transpose(0, 2, 1, 3)
        kept = whole.reshape(squares[0] * SQUARE, squares[1] * SQUARE)[:rows, :count] >= dropped
        masks.append(np.where(kept, scale, 0.0))
    return masks


def batch_weight(rows: int, sample_weight: Array | None) -> float:
    """Return what the sum over a batch is divided by: the sum of the weights, or infinity where that is 0, or
    so small that its inverse is infinite.
    """
    total = float(rows if sample_weight is None else sample_weight.sum())
    return total if total and math.isfinite(1 / total) else math.inf


def _trace(
    a: Array,
    weights: Sequence[Array],
    biases: Sequence[Array | None] | None,
    activation: Any,
    output_activation: Any,
    masks: Sequence[Array] = (),
) -> tuple[list[Array], list[Array]]:
    """Return z of every layer, and a of every layer with the input in front; `masks` are those of hidden
    layers, or none.
    """
    zs, activated = [], [a]
    for i, weight in enumerate(weights):
        z = activated[-1] @ weight.astype(np.float64)
        bias = None if biases is None else biases[i]
        if bias is not None:
            z = z + bias.astype(np.float64)
        zs.append(z)
        a = activate(z, output_activation if i == len(weights) - 1 else activation)
        activated.append(a * masks[i] if i < len(masks) else a)
    return zs, activated


def _backward(
    g: Array,
    zs: Sequence[Array],
    activated: Sequence[Array],
    weights: Sequence[Array],
    activation: Any,
    masks: Sequence[Array] = (),
) -> tuple[Array, list[Array], list[Array]]:
    """Return dx, dweights and dbiases from the gradient with respect to the last z."""
    dweights, dbiases = [], []
    for i in range(len(weights) - 1, -1, -1):
        dweights.append(activated[i].T @ g)
        dbiases.append(g.sum(axis=0))
        g = g @ weights[i].astype(np.float64).T
        if i > 0:
            g = activate_backward(g * masks[i - 1] if masks else g, zs[i - 1], activation)
    return g, dweights[::-1], dbiases[::-1]


# ---- losses, one value for each row, and their gradients with respect to the output, not divided by the rows
# -------

Graded = tuple[Array, Array]


def _mse(y: Array, target: Array, _: float) -> Graded:
    """Mean of (y - t)^2 over the outputs."""
    d = y - target.astype(np.float64)
    return np.mean(d * d, axis=1), 2 / d.shape[1] * d


def _squared_error(y: Array, target: Array, _: float) -> Graded:
    """Half the mean over the outputs, as scikit-learn reports it; its gradient is not divided by the
    outputs.
    """
    d = y - target.astype(np.float64)
    return 0.5 * np.mean(d * d, axis=1), d


def _poisson(y: Array, target: Array, _: float) -> Graded:
    """Half the Poisson deviance, y being the logarithm of the expected count: mean of t log(t / e^y) - t +
    e^y.
    """
    t = target.astype(np.float64)
    log_t = np.log(np.where(t == 0, 1.0, t))  # NaN of a negative count
    return np.mean(t * (log_t - y) - t + np.exp(y), axis=1), np.exp(y) - t


def _rounded_off(limits: Callable[[float], tuple[float, float]]) -> Callable[[Array, Array, float], Graded]:
    """Mean over the outputs of a loss whose slope rises up to a difference, and to what."""

    def loss(y: Array, target: Array, option: float) -> Graded:
        losses, slopes = huber_terms(y, target, *limits(option))
        return np.mean(losses, axis=1), slopes / y.shape[1]

    return loss


def _bce(y: Array, target: Array, _: float) -> Graded:
    """Mean over the outputs, each a class of its own."""
    losses, slopes = bce_terms(y, target, None, None)
    return np.mean(losses, axis=1), slopes / y.shape[1]


def _binary(form: Callable[[Array, float], Graded]) -> Callable[[Array, Array, float], Graded]:
    """Sum over the outputs, each a class of its own with target 0 or 1."""

    def loss(y: Array, target: Array, option: float) -> Graded:
        t = target.astype(np.float64)
        # -log p is log(1 + e^-y) for a target of 1 and log(1 + e^y) for one of 0; targets between mix the
        # two.
        positive, slope = form(np.logaddexp(0, -y), option)
        negative, other_slope = form(np.logaddexp(0, y), option)
        value = t * positive + (1 - t) * negative
        # d(-log p)/dy is -(1 - p) = -sigmoid(-y), and sigmoid(y) for the target 0.
        g = -t * slope * sigmoid(-y) + (1 - t) * other_slope * sigmoid(y)
        return np.sum(value, axis=1), g

    return loss


def _categorical(form: Callable[[Array, float], Graded]) -> Callable[[Array, Array, float], Graded]:
    """Softmax over the outputs, of which the target is one; or probabilities of the outputs."""

    def loss(y: Array, target: Array, option: float) -> Graded:
        shifted = y - np.max(y, axis=1, keepdims=True)
        log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        p = np.exp(log_p)
        if target.ndim == 2:
            return _probabilities(log_p, p, target.astype(np.float64), form, option)
        rows = np.arange(len(y))
        # log p of the target with full relative accuracy near 0: log1p of the others' share.
        others = np.where(np.arange(y.shape[1]) == target[:, None], 0.0, np.exp(y - y[rows, target][:, None]))
        nll = np.log1p(np.sum(others, axis=1))
        nll = np.where(np.isfinite(nll), nll, -log_p[rows, target])
        value, slope = form(nll, option)
        g = p * slope[:, None]
        # p - 1 of the target is the others' share, likewise.
        g[rows, target] = slope * np.expm1(-nll)
        return value, g

    return loss


def _probabilities(log_p: Array, p: Array, q: Array, form: Any, option: float) -> Graded:
    """Cross entropy -sum q log p, and Poly-1's epsilon (1 - sum q p), of target probabilities q."""
    value = -np.sum(np.where(q == 0, 0.0, q * log_p), axis=1)
    g = p * np.sum(q, axis=1, keepdims=True) - q
    if form is _poly:
        qp = np.sum(q * p, axis=1, keepdims=True)
        value = value + option * (1 - qp[:, 0])
        g = g - option * p * (q - qp)
    return value, g


# Forms of a loss over nll = -log p: the value, and its derivative with respect to nll.


def _cross_entropy(nll: Array, _: float) -> Graded:
    return nll, np.ones_like(nll)


def _poly(nll: Array, epsilon: float) -> Graded:
    return nll - epsilon * np.expm1(-nll), 1 + epsilon * np.exp(-nll)


def _focal(nll: Array, gamma: float) -> Graded:
    rest = -np.expm1(-nll)  # 1 - p
    # gamma (1 - p)^(gamma - 1) p nll, whose limit at p = 1 is that of gamma (1 - p)^gamma.
    ratio = np.where(rest > 0, nll / np.where(rest > 0, rest, 1.0), 1.0)
    return rest**gamma * nll, rest**gamma * (1 + gamma * np.exp(-nll) * ratio)


LOSSES: dict[str, Callable[[Array, Array, float], Graded]] = {
    "mse": _mse,
    "squared_error": _squared_error,
    "poisson": _poisson,
    "l1": _rounded_off(lambda _: (0.0, 1.0)),
    "huber": _rounded_off(lambda delta: (delta, delta)),
    "smooth_l1": _rounded_off(lambda beta: (beta, 1.0)),
    "bce": _bce,
    "binary_cross_entropy": _binary(_cross_entropy),
    "binary_poly": _binary(_poly),
    "binary_focal": _binary(_focal),
    "cross_entropy": _categorical(_cross_entropy),
    "poly": _categorical(_poly),
    "focal": _categorical(_focal),
}
