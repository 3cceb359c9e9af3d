"""NumPy twin of the optimisers' update: float64 inside, parameters and state rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._arguments.optim import Rule
from .._typing import Array
from ._results import result


def optimizer_update(kept: tuple[Array, ...], given: tuple[Array, ...], rule: Rule) -> None:
    """Update parameters, and the state in `rule`, in place by their gradients."""
    with np.errstate(all="ignore"):
        if rule[0] == "sgd":
            _sgd(kept, given, rule)
        else:
            _adam(kept, given, rule)


def _sgd(parameters: Sequence[Array], gradients: Sequence[Array], rule: Rule) -> None:
    """v = momentum v + g, then p -= lr v, or lr (g + momentum v) with Nesterov."""
    _, lr, momentum, nesterov, weight_decay, velocities = rule
    for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        p = parameter.astype(np.float64)
        step = gradient.astype(np.float64)
        if weight_decay:
            step = step + weight_decay * p
        if velocities is not None:
            velocity = momentum * velocities[i].astype(np.float64) + step
            result(velocity, velocities[i], velocities[i])
            step = step + momentum * velocity if nesterov else velocity
        result(p - lr * step, parameter, parameter)


def _adam(parameters: Sequence[Array], gradients: Sequence[Array], rule: Rule) -> None:
    """m and v are running means of g and g^2; p -= lr mhat / (sqrt(vhat) + eps), the hats making up for the
    start.
    """
    _, lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, steps, first, second = rule
    steps += 1
    bias1, bias2 = 1 - beta1 ** int(steps[0]), 1 - beta2 ** int(steps[0])
    # Without corrected_eps eps stands beside sqrt(v), not sqrt(vhat): the short form of the paper's section
    # 2.
    eps = eps if corrected_eps else eps / math.sqrt(bias2)
    for parameter, gradient, m, v in zip(parameters, gradients, first, second, strict=True):
        p, g = parameter.astype(np.float64), gradient.astype(np.float64)
        if decoupled:
            p = p * (1 - lr * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        mean = beta1 * m.astype(np.float64) + (1 - beta1) * g
        square = beta2 * v.astype(np.float64) + (1 - beta2) * g * g
        result(mean, m, m)
        result(square, v, v)
        result(p - lr * (mean / bias1) / (np.sqrt(square / bias2) + eps), parameter, parameter)
