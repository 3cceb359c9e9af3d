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
    update = _sgd if rule[0] == "sgd" else _adam
    with np.errstate(all="ignore"):
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is not None:
                update(i, parameter, gradient.astype(np.float64), rule)


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


def _sgd(i: int, parameter: Array, g: Array, rule: Rule) -> None:
    """v = momentum v + g, then p -= lr v, or lr (g + momentum v) with Nesterov."""
    _, lr, momentum, nesterov, weight_decay, steps, velocities = rule
    lr = _rounded(lr, parameter)
    steps[i] += 1
    p = parameter.astype(np.float64)
    if weight_decay:
        g = g + weight_decay * p
    if velocities is not None:
        velocity = momentum * velocities[i].astype(np.float64) + g
        result(velocity, velocities[i], velocities[i])
        g = g + momentum * velocity if nesterov else velocity
    result(p - lr * g, parameter, parameter)


def _adam(i: int, parameter: Array, g: Array, rule: Rule) -> None:
    """m and v are running means of g and g^2; p -= lr mhat / (sqrt(vhat) + eps), the hats making up for the
    start.
    """
    _, lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, steps, first, second = rule
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
    mean = beta1 * m.astype(np.float64) + (1 - beta1) * g
    square = beta2 * v.astype(np.float64) + (1 - beta2) * g * g
    result(mean, m, m)
    result(square, v, v)
    # What overflows in the state counts as it stands there.
    mean, square = np.where(np.isinf(m), m, mean), np.where(np.isinf(v), v, square)
    result(p - lr * (mean / bias1) / (np.sqrt(square / bias2) + eps), parameter, parameter)


def _rounded(setting: float, parameter: Array) -> float:
    """Return a setting in the type that the parameter is updated in, where it may be 0."""
    return setting if parameter.dtype == np.float64 else float(np.float32(setting))
