"""Optimisers that update parameters in place, in one pass over parameter, gradient and state."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ._arguments.optim import Group, Rule, float_arrays, lent_state, own_settings, state_dtype, taken_state
from ._arguments.optim import groups as checked_groups
from ._arguments.rules import LARGEST_SINGLE, Rules, plain
from ._op import op
from ._typing import Array, ArrayLike

__all__ = ["SGD", "Adam", "AdamW", "Lion", "RMSprop", "clip_grad_norm"]


# What an argument `groups` may be.
Groups: TypeAlias = Sequence[Mapping[str, Any] | Group]


@op
def optimizer_update(parameters: Sequence[Array], gradients: Sequence[ArrayLike | None], rule: Rule) -> None:
    """Update the parameters and the state of the rule in place."""


@op
def clip_grad_norm(gradients: Sequence[Array | None], max_norm: float) -> float:
    """Scale gradients down, in place, so that the norm of all of them together is at most `max_norm`.

    ``norm = sqrt(sum(g**2))`` over all elements of all gradients, which are multiplied by
    ``max_norm / (norm + 1e-6)`` where that is less than 1, as PyTorch's ``clip_grad_norm_`` does.

    Parameters
    ----------
    gradients : sequence of ndarray
        float32, float64, float16 or bfloat16, with any strides; what is None counts as nothing. No two may
        share memory.
    max_norm : float
        At least 0. Infinity measures the norm and changes nothing.

    Returns
    -------
    norm : float
        Before the gradients were scaled.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value. Nothing is changed then.

    Notes
    -----
    Accuracy: squares and their sum are taken in double, and no square overflows or vanishes; the factor is
    rounded to the type that the gradients are computed in, float32 for half types. Where a gradient is NaN,
    so is the norm, and all gradients become NaN; a norm of infinity leaves zeros, and NaN where it was
    infinite.

    Reproducibility: the same bits for any strides and number of threads, and on any CPU with fused
    multiply-add.

    References
    ----------
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", arXiv:1211.5063
    (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> gradients = [np.array([3.0, 0.0]), np.array([[4.0]])]
    >>> fastnorm.clip_grad_norm(gradients, 1.0)
    5.0
    >>> gradients[1].round(4)
    array([[0.8]])
    """


class Optimizer:
    """What the optimisers share: settings, checked whenever they are set, and state for each parameter."""

    _settings: tuple[str, ...]
    _slots: tuple[str, ...]  # the state that each parameter has
    groups: Any = ()  # a tuple of Group whatever it was set to

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        """Become an optimiser that has made no update."""
        self._shapes: list[tuple[tuple[int, ...], np.dtype[Any]]] | None = None
        self._steps = np.zeros(0, np.int64)
        self._state: dict[str, tuple[Array, ...]] = {}
        self._parameters: tuple[Array, ...] | None = None  # those that the rule was last made for
        self._rule: Rule | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return settings and state."""
        # Without the parameters, and without the rule, which holds the arrays of the state: not every pickler
        # keeps two references to one array.
        return {name: value for name, value in vars(self).items() if name not in ("_parameters", "_rule")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over settings and state."""
        # Arrays may come as mappings of a file, which updates could not write or read where they lie.
        self.__dict__.update(state, _parameters=None, _rule=None)
        self._steps = plain(self._steps, writeable=True)
        self._state = {
            name: tuple(plain(array, writeable=True) for array in arrays)
            for name, arrays in self._state.items()
        }

    def __copy__(self) -> Optimizer:
        """Return an optimiser with state of its own."""
        return copy.deepcopy(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._settings:
            rules = Rules(type(self).__name__)
            value = checked_groups(rules, value) if name == "groups" else self._checked(rules, name, value)
            object.__setattr__(self, "_rule", None)
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = self._settings if self.groups else self._settings[:-1]  # groups are the last
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({settings})"

    def update(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[ArrayLike | None],
        *,
        state: Mapping[str, Array] | None = None,
    ) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        parameters : sequence of ndarray
            float32, float64, float16 or bfloat16, with any strides. The state belongs to their places: every
            call takes arrays of the same shapes and dtypes in the same order.
        gradients : sequence of array_like
            One for each parameter, of its shape and dtype (or float32 for a half type). A parameter whose
            gradient is None stays as it is, and so does its state. A gradient may be the parameter itself;
            otherwise no two of parameters, gradients and state may share memory, except that gradients may
            among themselves.
        state : dict, optional
            What `new_state` has made for such parameters, which is used and changed in place; the optimiser's
            own state is neither used nor changed then, nor bound to these parameters.

        Raises
        ------
        TypeError, ValueError
            For an argument of a wrong type or dtype, or of a wrong value or shape. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnorm
        >>> weight = np.array([1.0, 2.0])
        >>> fastnorm.SGD(lr=0.5).update([weight], [np.array([2.0, -2.0])])
        >>> weight
        array([0., 3.])
        """
        if state is not None:
            optimizer_update(parameters, gradients, self._rule_on(state, parameters))
            return
        rule = self._rule_for(parameters)
        try:
            optimizer_update(parameters, gradients, rule)
        except BaseException:
            self._forget_unused()
            raise

    def new_state(self, parameters: Sequence[Array]) -> dict[str, Array]:
        """Return the state of no updates for parameters, which may be kept anywhere and handed to `update`.

        Its arrays, which are C-contiguous, may be replaced by others of the same shapes and dtypes.

        Raises
        ------
        TypeError, ValueError
            Where the parameters are no float arrays.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnorm
        >>> weight, adam = np.array([1.0, 1.0]), fastnorm.Adam(lr=0.25)
        >>> state = adam.new_state([weight])
        >>> adam.update([weight], [np.array([100.0, -0.01])], state=state)
        >>> weight.round(4), state["steps"], sorted(state)
        (array([0.75, 1.25]), array([1]), ['first_moment.0', 'second_moment.0', 'steps'])
        """
        fresh = self._without_state()
        fresh._make_state(Rules("new_state"), float_arrays(Rules("new_state"), parameters))
        return dict(fresh._named())

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the state: ``steps`` counts the updates of each parameter, whose state is
        ``<name>.<i>``.
        """
        return {name: array.copy() for name, array in self._named()}

    def load_state_dict(self, state: Mapping[str, ArrayLike], parameters: Sequence[Array]) -> None:
        """Take over the state that `state_dict` returned, for parameters of the same shapes.

        One number of ``steps`` stands for all parameters.

        Raises
        ------
        TypeError, ValueError
            Where an entry is missing, unknown, of another shape or no float array (``steps``: no counts).
            Nothing is changed then.
        """
        rules = Rules("load_state_dict")
        fresh = self._without_state()
        fresh._make_state(rules, float_arrays(rules, parameters))
        given = taken_state(rules, state, dict(fresh._named()))
        for name, array in fresh._named():
            if name in given:
                array[...] = given[name]
        self.__dict__.update(fresh.__getstate__(), _parameters=None, _rule=None)

    def _without_state(self) -> Optimizer:
        """Return an optimiser of the same settings."""
        fresh = type(self)()
        for name in self._settings:
            setattr(fresh, name, getattr(self, name))
        return fresh

    def _named(self) -> list[tuple[str, Array]]:
        state = [(f"{name}.{i}", a) for name, arrays in self._state.items() for i, a in enumerate(arrays)]
        return [("steps", self._steps), *state]

    def _forget_unused(self) -> None:
        """Take parameters of any shapes again, as where the first call was refused, if no update was made."""
        if not any(array.any() for _, array in self._named()):
            self._start()

    def _rule_for(self, parameters: Sequence[Array], names: Sequence[str] | None = None) -> Rule:
        """Return settings and state for these parameters, made at the first call; groups may go by names."""
        if self._rule is not None and parameters is self._parameters:
            return self._rule
        rules = Rules("update")
        arrays = float_arrays(rules, parameters)
        if self._rule is None:
            own = own_settings(rules, self.groups, len(arrays), names)
            self._make_state(rules, arrays)
            self._rule = self._make_rule(own)
        else:
            self._make_state(rules, arrays)
        self._parameters = parameters if isinstance(parameters, tuple) else None
        return self._rule

    def _rule_on(self, state: Mapping[str, Array], parameters: Sequence[Array]) -> Rule:
        """Return the settings beside a state that is kept elsewhere."""
        rules = Rules("update")
        arrays = float_arrays(rules, parameters)
        if any(array.dtype != np.float64 for array in arrays):
            self._check_range()
        lent = copy.copy(vars(self))
        lent["_steps"], lent["_state"] = lent_state(rules, state, self._slots, arrays)
        borrower = object.__new__(type(self))
        borrower.__dict__.update(lent)
        return borrower._make_rule(own_settings(rules, self.groups, len(arrays), None))

    def _make_state(self, rules: Rules, arrays: Sequence[Array]) -> None:
        """Make the state for parameters where there is none; later ones have to be alike."""
        shapes = [(array.shape, array.dtype) for array in arrays]
        if self._rule is None and any(dtype != np.float64 for _, dtype in shapes):
            self._check_range()
        if self._shapes is None:
            state = {
                name: tuple(np.zeros(array.shape, state_dtype(array)) for array in arrays)
                for name in self._slots
            }
            self._shapes, self._steps, self._state = shapes, np.zeros(len(arrays), np.int64), state
        elif shapes != self._shapes:
            found = f"have shapes and dtypes {[(shape, str(dtype)) for shape, dtype in shapes]}"
            needed = f"those of the first update, {[(shape, str(dtype)) for shape, dtype in self._shapes]}"
            raise rules.value_error("parameters", found, needed)

    def _check_range(self) -> None:
        """Raise where a setting overflows in float32, which all types but float64 are updated in."""
        settings = {name: getattr(self, name) for name in self._settings}
        for i, group in enumerate(self.groups):
            settings |= {f"groups[{i}]['lr']": group.lr, f"groups[{i}]['weight_decay']": group.weight_decay}
        for name, value in settings.items():
            if isinstance(value, float) and value > LARGEST_SINGLE:
                rules = Rules(type(self).__name__)
                raise rules.value_error(name, f"is {value!r}", "a number in the range of float32")

    def _checked(self, rules: Rules, name: str, value: Any) -> Any:
        """Return a setting in canonical form, or raise."""
        raise NotImplementedError

    def _make_rule(self, own: object) -> Rule:
        """Return the settings and the state as the backends take them, with what parameters have of their
        own.
        """
        raise NotImplementedError

    def _checked_momentum(self, rules: Rules, value: object) -> float:
        """Return a momentum, whose state is there from the first update or not at all."""
        number = rules.number("momentum", value, minimum=0)
        if (number > 0) != (getattr(self, "momentum", 0) > 0) and self._shapes is not None:
            raise rules.value_error("momentum", f"is {value!r}", "0 or not 0 as at the first update")
        return number


def _checked_betas(rules: Rules, value: object) -> tuple[float, ...]:
    """Return two decay rates of means."""
    if not isinstance(value, (tuple, list)):
        raise rules.type_error("betas", f"has type {type(value).__name__}", "a pair of numbers")
    if len(value) != 2:
        raise rules.value_error("betas", f"has {len(value)} entries", "two")
    return tuple(_checked_share(rules, f"betas[{i}]", beta) for i, beta in enumerate(value))


def _checked_share(rules: Rules, name: str, value: object) -> float:
    """Return a number at least 0 and below 1."""
    number = rules.number(name, value, minimum=0)
    if number >= 1:
        raise rules.value_error(name, f"is {number!r}", "at least 0 and below 1")
    return number


class SGD(Optimizer):
    """Stochastic gradient descent.

    ``p -= lr * g`` with ``g`` the gradient plus ``weight_decay * p``; with momentum ``v = momentum * v + g``
    takes the place of ``g``, and ``g + momentum * v`` with Nesterov's. PyTorch's rule, without dampening.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate. It may be changed between updates, as may all settings.
    momentum : float, default 0.0
    nesterov : bool, default False
        Needs a momentum.
    weight_decay : float, default 0.0
        Applies to every parameter.
    groups : sequence of dict, optional
        Parameters with settings of their own: each has ``'indices'``, their places among the parameters, or
        ``'names'``, and ``'lr'``, ``'weight_decay'`` or both. Networks have names, as their `state_dict` has
        them; the part before the last point stands for all of those, as ``'biases'``.

    Notes
    -----
    float16 and bfloat16 parameters are updated in float32, with float32 state, and rounded once. State that
    would be subnormal is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight, sgd = np.array([1.0]), fastnorm.SGD(lr=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     sgd.update([weight], [np.array([1.0])])
    >>> weight.round(4)
    array([0.75])
    """

    _settings = ("lr", "momentum", "nesterov", "weight_decay", "groups")

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        groups: Groups = (),
    ) -> None:
        """Set the settings."""
        super().__init__()
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.groups = groups

    @property
    def _slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def _checked(self, rules: Rules, name: str, value: Any) -> Any:
        if name == "nesterov":
            flag = rules.flag(name, value)
            if flag and not self.momentum:
                raise rules.value_error("nesterov", "is True", "a momentum above 0 beside it")
            return flag
        if name != "momentum":
            return rules.number(name, value, minimum=0)
        number = self._checked_momentum(rules, value)
        if number == 0 and getattr(self, "nesterov", False):
            raise rules.value_error("momentum", "is 0", "more than 0 with nesterov")
        return number

    def _make_rule(self, own: object) -> Rule:
        settings = (self.lr, self.momentum, self.weight_decay, self.nesterov)
        return ("sgd", own, *settings, self._steps, self._state.get("velocity"))


class Adam(Optimizer):
    """Adam, and `AdamW` with ``decoupled=True``.

    ``m = beta1 * m + (1 - beta1) * g``, ``v = beta2 * v + (1 - beta2) * g**2``, and at the t-th update of
    the parameter ``p -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)``. ``weight_decay * p``
    is added to the gradient, or, decoupled, ``lr * weight_decay * p`` is subtracted from the parameter first.
    PyTorch's rule and defaults.

    Parameters
    ----------
    lr : float, default 1e-3
        Learning rate. It may be changed between updates, as may all settings.
    betas : (float, float), default (0.9, 0.999)
        Each at least 0 and below 1.
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        Applies to every parameter.
    decoupled : bool, default False
        Weight decay of AdamW.
    groups : sequence of dict, optional
        Parameters with settings of their own: each has ``'indices'``, their places among the parameters, or
        ``'names'``, and ``'lr'``, ``'weight_decay'`` or both. Networks have names, as their `state_dict` has
        them; the part before the last point stands for all of those, as ``'biases'``.

    Notes
    -----
    float16 and bfloat16 parameters are updated in float32, with float32 state, and rounded once. State that
    would be subnormal is 0.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980 (2014). Loshchilov and
    Hutter,
    "Decoupled Weight Decay Regularization", arXiv:1711.05101 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight, adam = np.array([1.0, 1.0]), fastnorm.Adam(lr=0.25)
    >>> adam.update([weight], [np.array([100.0, -0.01])])
    >>> weight.round(4)
    array([0.75, 1.25])
    """

    _settings: tuple[str, ...] = ("lr", "betas", "eps", "weight_decay", "decoupled", "groups")
    _slots = ("first_moment", "second_moment")
    _corrected_eps = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        groups: Groups = (),
    ) -> None:
        """Set the settings."""
        super().__init__()
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self.groups = groups

    def _checked(self, rules: Rules, name: str, value: Any) -> Any:
        if name == "decoupled":
            return rules.flag(name, value)
        return _checked_betas(rules, value) if name == "betas" else rules.number(name, value, minimum=0)

    def _make_rule(self, own: object) -> Rule:
        settings = (self.lr, *self.betas, self.eps, self.weight_decay, self.decoupled, self._corrected_eps)
        return ("adam", own, *settings, self._steps, *(self._state[name] for name in self._slots))


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default.

    `Adam` with ``decoupled=True``: ``lr * weight_decay * p`` is subtracted from the parameter before the
    update, and the moments see nothing of it. PyTorch's rule and defaults.

    Parameters
    ----------
    lr : float, default 1e-3
        Learning rate. It may be changed between updates, as may all settings.
    betas : (float, float), default (0.9, 0.999)
        Each at least 0 and below 1.
    eps : float, default 1e-8
    weight_decay : float, default 0.01
        Applies to every parameter that no group takes out.
    groups : sequence of dict, optional
        Parameters with settings of their own: each has ``'indices'``, their places among the parameters, or
        ``'names'``, and ``'lr'``, ``'weight_decay'`` or both. Networks have names, as their `state_dict` has
        them; the part before the last point stands for all of those, as ``'biases'``.

    Notes
    -----
    float16 and bfloat16 parameters are updated in float32, with float32 state, and rounded once. State that
    would be subnormal is 0.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight, bias = np.array([1.0]), np.array([1.0])
    >>> adam = fastnorm.AdamW(lr=0.5, groups=[{"indices": [1], "weight_decay": 0.0}])
    >>> adam.update([weight, bias], [np.array([0.0]), np.array([0.0])])
    >>> weight, bias
    (array([0.995]), array([1.]))
    """

    _settings = ("lr", "betas", "eps", "weight_decay", "groups")

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        groups: Groups = (),
    ) -> None:
        """Set the settings."""
        super().__init__(lr, betas, eps, weight_decay, decoupled=True, groups=groups)


class RMSprop(Optimizer):
    """Gradients divided by the root of a running mean of their squares.

    ``v = alpha * v + (1 - alpha) * g**2``, and ``p -= lr * u`` with ``u = g / (sqrt(v) + eps)``; with
    momentum ``b = momentum * b + u`` takes the place of ``u``. Centred, ``v - m**2`` takes the place of
    ``v``, ``m`` being the running mean of ``g``. ``weight_decay * p`` is added to the gradient. PyTorch's
    rule and defaults.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate. It may be changed between updates, as may all settings.
    alpha : float, default 0.99
        At least 0 and below 1.
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        Applies to every parameter.
    momentum : float, default 0.0
    centered : bool, default False
        It stays what it was at the first update.
    groups : sequence of dict, optional
        Parameters with settings of their own: each has ``'indices'``, their places among the parameters, or
        ``'names'``, and ``'lr'``, ``'weight_decay'`` or both. Networks have names, as their `state_dict` has
        them; the part before the last point stands for all of those, as ``'biases'``.

    Notes
    -----
    float16 and bfloat16 parameters are updated in float32, with float32 state, and rounded once. State that
    would be subnormal is 0. Where
    rounding makes ``v - m**2`` negative it counts as 0; PyTorch's parameter becomes NaN.

    References
    ----------
    Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5 (2012). Graves, "Generating
    sequences with recurrent neural networks", arXiv:1308.0850 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight, rmsprop = np.array([1.0, 1.0]), fastnorm.RMSprop(lr=0.01)
    >>> rmsprop.update([weight], [np.array([100.0, -0.01])])
    >>> weight.round(4)
    array([0.9, 1.1])
    """

    _settings = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "groups")

    def __init__(
        self,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        groups: Groups = (),
    ) -> None:
        """Set the settings."""
        super().__init__()
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered
        self.groups = groups

    @property
    def _slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("second_moment", *["first_moment"] * self.centered, *["velocity"] * (self.momentum > 0))

    def _checked(self, rules: Rules, name: str, value: Any) -> Any:
        if name == "momentum":
            return self._checked_momentum(rules, value)
        if name == "alpha":
            return _checked_share(rules, name, value)
        if name != "centered":
            return rules.number(name, value, minimum=0)
        flag = rules.flag(name, value)
        if self._shapes is not None and flag != self.centered:
            raise rules.value_error(name, f"is {flag}", f"{self.centered} as at the first update")
        return flag

    def _make_rule(self, own: object) -> Rule:
        settings = (self.lr, self.alpha, self.eps, self.weight_decay, self.momentum)
        slots = ("second_moment", "first_moment", "velocity")
        return ("rmsprop", own, *settings, self._steps, *map(self._state.get, slots))


class Lion(Optimizer):
    """Steps of one length by the sign of a mean of gradients.

    ``p -= lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)``, then
    ``m = beta2 * m + (1 - beta2) * g``. The published rule and its defaults; rates are 3 to 10 times smaller
    than Adam's.

    Parameters
    ----------
    lr : float, default 1e-4
        Learning rate. It may be changed between updates, as may all settings.
    betas : (float, float), default (0.9, 0.99)
        Each at least 0 and below 1.
    weight_decay : float, default 0.0
        Decoupled, of every parameter.
    groups : sequence of dict, optional
        Parameters with settings of their own: each has ``'indices'``, their places among the parameters, or
        ``'names'``, and ``'lr'``, ``'weight_decay'`` or both. Networks have names, as their `state_dict` has
        them; the part before the last point stands for all of those, as ``'biases'``.

    Notes
    -----
    float16 and bfloat16 parameters are updated in float32, with float32 state, and rounded once. State that
    would be subnormal is 0.

    References
    ----------
    Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight, lion = np.array([1.0, 1.0, 1.0]), fastnorm.Lion(lr=0.25)
    >>> lion.update([weight], [np.array([100.0, -0.01, 0.0])])
    >>> weight
    array([0.75, 1.25, 1.  ])
    """

    _settings = ("lr", "betas", "weight_decay", "groups")
    _slots = ("first_moment",)

    def __init__(
        self,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        groups: Groups = (),
    ) -> None:
        """Set the settings."""
        super().__init__()
        self.lr = lr
        self.betas = betas
        self.weight_decay = weight_decay
        self.groups = groups

    def _checked(self, rules: Rules, name: str, value: Any) -> Any:
        return _checked_betas(rules, value) if name == "betas" else rules.number(name, value, minimum=0)

    def _make_rule(self, own: object) -> Rule:
        settings = (self.lr, *self.betas, self.weight_decay)
        return ("lion", own, *settings, self._steps, self._state["first_moment"])
