"""Learning rates as functions of the step, for `MLP.fit` and for loops of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from ._arguments.rules import Rules

__all__ = ["cosine", "linear_warmup", "step_decay"]

Schedule: TypeAlias = Callable[[int], float]  # from a step, counted from 0, to its learning rate


def cosine(lr: float, steps: int, *, minimum: float = 0.0) -> Schedule:
    """Make a schedule that falls from `lr` along half a cosine.

    ``minimum + (lr - minimum) * (1 + cos(pi * step / steps)) / 2``, and `minimum` from `steps` on.

    Parameters
    ----------
    lr : float
        The rate of step 0.
    steps : int
        At least 1.
    minimum : float, default 0.0
        At most `lr`.

    Returns
    -------
    schedule : callable
        The rate of a step, counted from 0. It can be pickled.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or value.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv:1608.03983 (2016).

    Examples
    --------
    >>> import fastnorm
    >>> schedule = fastnorm.cosine(0.5, 100)
    >>> schedule(0), round(schedule(50), 4), schedule(100), schedule(1000)
    (0.5, 0.25, 0.0, 0.0)
    """
    rules = Rules("cosine")
    lr, steps = rules.number("lr", lr, minimum=0), rules.integer("steps", steps, minimum=1)
    minimum = rules.number("minimum", minimum, minimum=0)
    if minimum > lr:
        raise rules.value_error("minimum", f"is {minimum!r}", f"at most lr, {lr!r}")
    return partial(_cosine, lr, steps, minimum)


def linear_warmup(lr: float | Schedule, steps: int) -> Schedule:
    """Make a schedule that rises to a rate, or to where another schedule begins, and goes on with that.

    ``lr * (step + 1) / steps`` before `steps`, so that the first step moves already; then `lr`. Of another
    schedule it is the rate of its step 0 that is risen to, and its steps count from the end of the warm-up.

    Parameters
    ----------
    lr : float or callable
        The rate, or the schedule, that follows.
    steps : int
        At least 1.

    Returns
    -------
    schedule : callable
        The rate of a step, counted from 0. It can be pickled if `lr` can.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or value.

    References
    ----------
    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", arXiv:1706.02677 (2017).

    Examples
    --------
    >>> import fastnorm
    >>> schedule = fastnorm.linear_warmup(fastnorm.cosine(0.5, 100), 5)
    >>> [round(schedule(step), 4) for step in (0, 1, 4, 5, 55, 105)]
    [0.1, 0.2, 0.5, 0.5, 0.25, 0.0]
    """
    rules = Rules("linear_warmup")
    steps = rules.integer("steps", steps, minimum=1)
    if not callable(lr):
        lr = partial(_constant, rules.number("lr", lr, minimum=0))
    return partial(_linear_warmup, lr, steps)


def step_decay(lr: float, every: int, *, factor: float = 0.1) -> Schedule:
    """Make a schedule that multiplies the rate by a factor every so many steps.

    ``lr * factor ** (step // every)``.

    Parameters
    ----------
    lr : float
        The rate of step 0.
    every : int
        At least 1.
    factor : float, default 0.1

    Returns
    -------
    schedule : callable
        The rate of a step, counted from 0. It can be pickled.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or value.

    Examples
    --------
    >>> import fastnorm
    >>> schedule = fastnorm.step_decay(0.5, 10, factor=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 25)]
    [0.5, 0.5, 0.25, 0.125]
    """
    rules = Rules("step_decay")
    lr, every = rules.number("lr", lr, minimum=0), rules.integer("every", every, minimum=1)
    return partial(_step_decay, lr, every, rules.number("factor", factor, minimum=0))


def _constant(lr: float, step: int) -> float:
    return lr


def _cosine(lr: float, steps: int, minimum: float, step: int) -> float:
    if step >= steps:
        return minimum
    return minimum + (lr - minimum) * (1 + math.cos(math.pi * step / steps)) / 2


def _linear_warmup(after: Schedule, steps: int, step: int) -> float:
    return after(step - steps) if step >= steps else after(0) * (step + 1) / steps


def _step_decay(lr: float, every: int, factor: float, step: int) -> float:
    times = step // every
    try:
        return lr * factor**times
    except OverflowError:  # a factor above 1: by halves, as the rate may be small
        half = times // 2
    try:
        return lr * factor**half * factor ** (times - half)
    except OverflowError:
        return math.inf if lr > 0 else 0.0
