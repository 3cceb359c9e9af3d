"""NumPy twin of the optimisers' update: float64 inside, parameters and state rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._arguments.optim import Rule
from .._typing import Array
from ._results import result


def optimizer_update(parameters: Sequence[Array], gradients: Sequence[Array | None], rule: Rule) -> None:
    """Update parameters, and the state in `rule`, in place; a parameter without a gradient stays as it is."""
    update, own = UPDATES[rule[0]], rule[1]
    with np.errstate(all="ignore"):
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is not None:
                update(i, parameter, gradient.astype(np.float64), own[i] if own else (None, None), rule)


def clip_grad_norm(gradients: Sequence[Array | None], max_norm: float) -> float:
    """Twin of `fastnorm.clip_grad_norm`."""
    given = [g.astype(np.float64) for g in gradients if g is not None and g.size]
    with np.errstate(all="ignore"):
        # Divided by the largest, no square is out of range.
        norm = float(np.max([np.max(np.abs(wide)) for wide in given])) if given else 0.0
        if 0 < norm < math.inf:
            norm *= math.sqrt(sum(float(np.sum((wide / norm) ** 2)) for wide in given))
        scale = max_norm / (norm + 1e-6)
        if math.isinf(max_norm) or scale >= 1:
            return norm
        for gradient in gradients:
            if gradient is not None:
                result(gradient.astype(np.float64) * _rounded(scale, gradient), gradient, gradient)
    return norm


Own = tuple[float | None, float | None]  # rate and weight decay of a parameter


def _sgd(i: int, parameter: Array, g: Array, own: Own, rule: Rule) -> None:
    """v = momentum v + g, then p -= lr v, or lr (g + momentum v) with Nesterov."""
    _, _, lr, momentum, weight_decay, nesterov, steps, velocities = rule
    lr, weight_decay = _settings(own, lr, weight_decay)
    lr = _rounded(lr, parameter)
    steps[i] += 1
    p = parameter.astype(np.float64)
    if weight_decay:
        g = g + weight_decay * p
    if velocities is not None:
        velocity = _kept(momentum * velocities[i].astype(np.float64) + g, velocities[i])
        g = g + momentum * velocity if nesterov else velocity
    result(p - lr * g, parameter, parameter)


def _adam(i: int, parameter: Array, g: Array, own: Own, rule: Rule) -> None:
    """m and v are running means of g and g^2; p -= lr mhat / (sqrt(vhat) + eps), the hats making up for the
    start.
    """
    _, _, lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, steps, first, second = rule
    lr, weight_decay = _settings(own, lr, weight_decay)
    steps[i] += 1
    bias1, bias2 = 1 - beta1 ** int(steps[i]), 1 - beta2 ** int(steps[i])
    # Without corrected_eps eps stands beside sqrt(v), not sqrt(vhat): the short form of the paper's section
    # 2.
    eps = _rounded(eps if corrected_eps else eps / math.sqrt(bias2), parameter)
    lr = _rounded(lr, parameter)
    p, m, v = parameter.astype(np.float64), first[i], second[i]
    if decoupled:
        p = p * (1 - lr * weight_decay)
    elif weight_decay:
        g = g + weight_decay * p
    mean = _moment(m, beta1, g)
    square = _moment(v, beta2, g * g)
    result(p - lr * (mean / bias1) / (np.sqrt(square / bias2) + eps), parameter, parameter)


def _rmsprop(i: int, parameter: Array, g: Array, own: Own, rule: Rule) -> None:
    """v is a running mean of g^2, less the square of that of g where it is centred; p -= lr u with
    u = g / (sqrt(v) + eps), or by a velocity of such steps.
    """
    _, _, lr, alpha, eps, weight_decay, momentum, steps, squares, means, velocities = rule
    lr, weight_decay = _settings(own, lr, weight_decay)
    lr, eps = _rounded(lr, parameter), _rounded(eps, parameter)
    steps[i] += 1
    p = parameter.astype(np.float64)
    if weight_decay:
        g = g + weight_decay * p
    v = _moment(squares[i], alpha, g * g)
    if means is not None:
        mean = _moment(means[i], alpha, g)
        v = np.where(v < mean * mean, 0.0, v - mean * mean)
    step = g / (np.sqrt(v) + eps)
    if velocities is not None:
        step = _kept(momentum * velocities[i].astype(np.float64) + step, velocities[i])
    result(p - lr * step, parameter, parameter)


def _lion(i: int, parameter: Array, g: Array, own: Own, rule: Rule) -> None:
    """p -= lr sign(beta1 m + (1 - beta1) g), then m becomes a running mean of g with beta2."""
    _, _, lr, beta1, beta2, weight_decay, steps, first = rule
    lr, weight_decay = _settings(own, lr, weight_decay)
    lr = _rounded(lr, parameter)
    steps[i] += 1
    direction = np.sign(beta1 * first[i].astype(np.float64) + (1 - beta1) * g)
    _moment(first[i], beta2, g)
    p = parameter.astype(np.float64) * (1 - lr * weight_decay)
    result(p - lr * direction, parameter, parameter)


UPDATES = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop, "lion": _lion}


def _settings(own: Own, lr: float, weight_decay: float) -> tuple[float, float]:
    """Return rate and weight decay of a parameter, which may have its own."""
    return lr if own[0] is None else own[0], weight_decay if own[1] is None else own[1]


def _moment(state: Array, beta: float, value: Array) -> Array:
    """Advance a running mean, and return it as the update takes it."""
    mean = _kept(beta * state.astype(np.float64) + (1 - beta) * value, state)
    # What overflows in the state counts as it stands there.
    return np.where(np.isinf(state), state, mean)


def _kept(values: Array, state: Array) -> Array:
    """Store the values as new state, 0 for those that are subnormal there, and return them."""
    values = np.where(np.abs(values) < np.finfo(state.dtype).smallest_normal, np.copysign(0, values), values)
    result(values, state, state)
    return values


def _rounded(setting: float, parameter: Array) -> float:
    """Return a setting in the type that the parameter is updated in, where it may be 0."""
    return setting if parameter.dtype == np.float64 else float(np.float32(setting))
