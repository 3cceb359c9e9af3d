"""Networks of dense layers: forward, backward, and training in one call without Python in between."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ._arguments import mlp as _rules
from ._arguments.mlp import activations, finite, float_dtype
from ._arguments.optim import Rule
from ._arguments.rules import Rules, plain
from ._files import Archive, write
from ._op import op
from ._progress import Epoch, Progress, checked_progress, telling
from ._typing import Array, ArrayLike, DenseActivation
from .optim import SGD, Optimizer
from .schedules import Schedule

LARGEST_LAYER = sys.maxsize // 8  # weights: they are drawn in float64

__all__ = ["MLP", "mlp_backward", "mlp_forward"]


@op
def mlp_forward(
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    *,
    activation: DenseActivation | None = "relu",
    output_activation: DenseActivation | None = None,
) -> Array:
    """Output of a network of dense layers.

    ``a = activation(a @ weight + bias)`` for each layer in turn, from ``a = x``; the last layer has
    `output_activation`. A block of rows goes through all layers at once, so the hidden activations stay in
    the cache.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16 of shape (..., features), with any strides.
    weights : sequence of array_like
        One of shape (in, out) for each layer, of x's dtype or float32 for a half type; transposed views are
        fine, and so is what `pack` made of one.
    biases : sequence of array_like or None
        One of shape (out,) for each layer, None where a layer has none, or None for no biases at all.
    activation, output_activation : str or None
        Of the hidden layers and of the last: an activation that `linear` has, by its name.

    Returns
    -------
    y : ndarray
        Of shape (..., outputs) and x's dtype. Half types are rounded once, at the end.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape, such as layers that do not
        chain.

    Notes
    -----
    Accuracy: as of `linear` for each layer: a sum of n = in products errs by at most (256 + n / 256) * 2^-24
    of the sum of their magnitudes in float32. Half types are rounded nowhere but at the end.

    Reproducibility: a row has the same bits whatever other rows there are, for any strides and number of
    threads, and on any CPU with fused multiply-add; in float32 and float64 they are the bits of `linear`,
    layer after layer.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weights, biases = [np.eye(2), np.ones((2, 1))], [np.array([0.0, 0.5]), None]
    >>> fastnorm.mlp_forward(np.array([[1.0, 2.0], [-1.0, 1.0]]), weights, biases)
    array([[3.5],
           [1.5]])
    """


@op
def mlp_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    *,
    activation: DenseActivation | None = "relu",
    output_activation: DenseActivation | None = None,
    out: tuple[Array | None, Sequence[Array | None] | None, Sequence[Array | None] | None] | None = None,
) -> tuple[Array, list[Array], list[Array | None] | None]:
    """Gradients of `mlp_forward` with respect to x, weights and biases.

    The hidden activations are computed again, a block of rows at a time.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output, of its shape and dtype.
    x, weights, biases, activation, output_activation
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape and dtype.
    dweights, dbiases : list of ndarray
        One for each weight and bias, float32 for half types; None where a bias was None, and None for
        biases=None.

    Raises
    ------
    TypeError, ValueError
        As in the forward.

    Notes
    -----
    Accuracy: as in the forward; sums over n rows are made of chains of at most 48 rows, whose sums are added
    one after the other: an error of at most (50 + n / 48) * 2^-24 of the sum of the magnitudes. Gradients
    with respect to what activations are given count as 0 where they would be subnormal.

    Reproducibility: sums over the rows are taken within blocks of rows whose size depends on the shape alone,
    and added in the order of the blocks: the same bits for any number of threads and on any CPU with fused
    multiply-add.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, weights = np.array([[1.0, -2.0]]), [np.eye(2), np.ones((2, 1))]
    >>> dx, dweights, dbiases = fastnorm.mlp_backward(np.array([[1.0]]), x, weights, None)
    >>> dx
    array([[1., 0.]])
    >>> dweights[1]
    array([[1.],
           [0.]])
    """


@op
def mlp_gradients(
    x: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str,
    penalty: float,
    option: float | None = None,
) -> tuple[float, list[Array], list[Array | None] | None]:
    """Loss of a batch with its penalty, and the gradients of weights and biases; `option` is the loss's."""


@op
def mlp_train(
    x: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str,
    penalty: float,
    rule: Rule,
    order: Array | None,
    batch_size: int,
    option: float | None = None,
    rates: Array | None = None,
    max_norm: float | None = None,
    dropout: tuple[float, int] | None = None,
) -> float:
    """Take training steps over the rows in batches, updating the network in place; return the mean loss.

    `order` holds the numbers of the rows in the order in which they are taken, None for all rows as they
    stand. The loss of a batch is the one before its update; batches count by their rows;
    those whose weights sum to 0 are passed over. `rates` are the learning rates of the steps, None for that
    of the rule; with `max_norm` the gradients of a step are clipped to that norm. `dropout` is the share of
    what hidden layers give that is dropped, and the seed of the first step, after which they count on.
    """


class MLP:
    """A network of dense layers that can be trained.

    Parameters
    ----------
    layer_sizes : sequence of int
        Features, sizes of the hidden layers, outputs: at least two numbers.
    activation, output_activation : str or None
        Of the hidden layers (default ``'relu'``) and of the last (default None), as `linear` has them.
    dtype : dtype, default float32
        Of the parameters and of what the network takes: float32, float64, float16 or bfloat16.
    seed : int, Generator or None
        Source of the initial weights and of the shuffling in `fit`.
    dropout : float, default 0.0
        Share of what each hidden layer gives, after its activation, that `step` and `fit` set to 0, the
        others being divided by what is left of 1; at least 0 and below 1, as `fastnorm.dropout` has it.
        `forward`, `backward` and the losses of `validation` drop nothing. It may be changed. What is dropped
        depends on the seed, the number of the step, the layer, the row of the batch and the unit alone.

    Attributes
    ----------
    weights, biases : tuple of ndarray
        The parameters, (in, out) and (out,). Change them in place, or assign a sequence of arrays of the same
        shapes, which are copied. Layers before a ReLU, GELU or SiLU start from normal numbers of deviation
        sqrt(2 / in) (He), the others from uniform ones within sqrt(6 / (in + out)) (Xavier); biases start at
        0.
    layer_sizes : tuple of int
    activation, output_activation : str or None
    dtype : dtype
    dropout : float

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852 (2015). Glorot and Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", AISTATS (2010). Srivastava et al., "Dropout: A
    Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> mlp = fastnorm.MLP([1, 16, 1], seed=0)
    >>> history = mlp.fit(x, np.abs(x), epochs=200, batch_size=16, optimizer=fastnorm.Adam(lr=0.01))
    >>> bool(history[-1].loss < 1e-3 < history[0].loss)
    True
    """

    _dropout = 0.0
    _masks: tuple[int, int] | None = None  # their seed, and how many steps have used it
    _rng: np.random.Generator

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: DenseActivation | None = "relu",
        output_activation: DenseActivation | None = None,
        dtype: Any = np.float32,
        seed: int | np.random.Generator | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Make a network with random weights."""
        rules = Rules("MLP")
        if isinstance(layer_sizes, (str, bytes)) or not isinstance(layer_sizes, Iterable):
            raise rules.type_error(
                "layer_sizes", f"has type {type(layer_sizes).__name__}", "a sequence of ints"
            )
        sizes = [rules.integer(f"layer_sizes[{i}]", n, minimum=1) for i, n in enumerate(layer_sizes)]
        self._configure(rules, sizes, activation, output_activation, float_dtype(rules, dtype))
        self.dropout = dropout
        self._rng = rules.generator("seed", seed)
        last = len(sizes) - 2
        weights = [
            initial_weight(
                self._rng, n, m, self.output_activation if i == last else self.activation, self.dtype
            )
            for i, (n, m) in enumerate(pairwise(sizes))
        ]
        self._hold(weights, [np.zeros(m, self.dtype) for m in sizes[1:]])
        self._draw_masks()

    @classmethod
    def from_parameters(
        cls,
        weights: Sequence[Array],
        biases: Sequence[Array | None] | None = None,
        *,
        activation: DenseActivation | None = "relu",
        output_activation: DenseActivation | None = None,
        seed: int | np.random.Generator | None = None,
        dropout: float = 0.0,
    ) -> MLP:
        """Return a network whose parameters are these arrays, which training changes where they lie.

        Parameters
        ----------
        weights : sequence of ndarray
            One of shape (in, out) for each layer, all of one dtype, each contiguous or the transposed view of
            a contiguous array: ``weight.T`` of one that is (out, in). No two parameters may share memory.
        biases : sequence of ndarray or None, optional
            One of shape (out,) for each layer, None where a layer has none, or None for no biases at all.
        activation, output_activation, seed, dropout
            As in the constructor.

        Raises
        ------
        TypeError, ValueError
            For arrays that cannot be updated where they lie, or layers that do not chain.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnorm
        >>> weight = np.array([[1.0, 2.0]])  # (out, in)
        >>> mlp = fastnorm.MLP.from_parameters([weight.T])
        >>> mlp.step(np.array([[1.0, 1.0]]), np.array([[0.0]]), optimizer=fastnorm.SGD(lr=0.25))
        9.0
        >>> weight
        array([[-0.5,  0.5]])
        """
        rules = Rules("MLP")
        held, offsets = _rules.outside_network(rules, weights, biases)
        mlp = cls.__new__(cls)
        sizes = [held[0].shape[0], *(weight.shape[1] for weight in held)]
        mlp._configure(rules, sizes, activation, output_activation, held[0].dtype)
        mlp.dropout = dropout
        mlp._rng = rules.generator("seed", seed)
        mlp._hold(held, offsets)
        mlp._draw_masks()
        return mlp

    @classmethod
    def from_torch(cls, module: Any) -> MLP:
        """Return a network with copies of the parameters of a `torch.nn.Sequential`, which
        `fastnorm.torch.adopt` would share.
        """
        from .torch import adopt

        return copy.copy(adopt(module))

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` with copies of the parameters: `fastnorm.torch.to_module`."""
        from .torch import to_module

        return to_module(self)

    def _configure(
        self,
        rules: Rules,
        sizes: list[int],
        activation: object,
        output_activation: object,
        dtype: np.dtype[Any],
    ) -> None:
        """Take the settings, from which the shapes of the parameters follow."""
        if len(sizes) < 2:
            raise rules.value_error(
                "layer_sizes", f"has {len(sizes)} entries", "at least two, features and outputs"
            )
        for n, m in pairwise(sizes):
            if n * m > LARGEST_LAYER:
                raise rules.value_error(
                    "layer_sizes", f"has a layer of {n} x {m} weights", "layers that can lie in memory"
                )
        self.layer_sizes = tuple(sizes)
        self.activation, self.output_activation = activations(rules, activation, output_activation)
        self.dtype = dtype
        self._sgd = SGD()
        self._x: Array | None = None

    def _hold(self, weights: Sequence[Array], biases: Sequence[Array | None]) -> None:
        """Take arrays as the parameters, which every update changes where they lie."""
        self._weights, self._biases = tuple(weights), tuple(biases)
        self._parameters = (*self._weights, *(bias for bias in self._biases if bias is not None))

    def __getstate__(self) -> dict[str, Any]:
        """Return settings, parameters and the source of random numbers."""
        # Neither the last batch nor a second reference to each parameter.
        return {name: value for name, value in vars(self).items() if name not in ("_x", "_parameters")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another network had."""
        self.__dict__.update(state, _x=None)
        # Arrays may come as mappings of a file.
        self._hold([plain(w) for w in self._weights], [None if b is None else plain(b) for b in self._biases])

    def __repr__(self) -> str:
        """Return the sizes and functions of the layers."""
        options = f"activation={self.activation!r}, output_activation={self.output_activation!r}"
        if self.dropout:
            options += f", dropout={self.dropout}"
        return f"MLP({list(self.layer_sizes)}, {options}, dtype={self.dtype})"

    @property
    def weights(self) -> tuple[Array, ...]:
        """The weights, (in, out) for each layer."""
        return self._weights

    @weights.setter
    def weights(self, values: Sequence[ArrayLike]) -> None:
        self._assign("weights", self._weights, values)

    @property
    def biases(self) -> tuple[Array | None, ...]:
        """The biases, (out,) for each layer, None for one that `from_parameters` has given none."""
        return self._biases

    @biases.setter
    def biases(self, values: Sequence[ArrayLike | None]) -> None:
        self._assign("biases", self._biases, values)

    @property
    def dropout(self) -> float:
        """The share of what hidden layers give that a step of training drops."""
        return self._dropout

    @dropout.setter
    def dropout(self, value: float) -> None:
        self._dropout = _rules.dropout_share(Rules("MLP"), value)
        self._draw_masks()

    def _draw_masks(self) -> None:
        """Draw the seed of the masks where there is none yet, and there will be masks."""
        if self._dropout and self._masks is None and hasattr(self, "_rng"):
            self._masks = int(self._rng.integers(2**64, dtype=np.uint64)), 0

    def _drawn(self) -> tuple[float, int] | None:
        """Return the share that the next step drops, and its seed."""
        return (self._dropout, sum(self._masks) % 2**64) if self._dropout and self._masks else None

    def _count(self, steps: int) -> None:
        """Go on by so many steps."""
        if self._dropout and self._masks is not None:
            self._masks = self._masks[0], (self._masks[1] + steps) % 2**64

    def forward(self, x: ArrayLike) -> Array:
        """Return the output for x of shape (..., features), of the network's dtype; keep x for `backward`."""
        taken = self._input(Rules("forward"), x)
        y = mlp_forward(
            taken,
            self._weights,
            self._biases,
            activation=self.activation,
            output_activation=self.output_activation,
        )
        self._x = taken
        return y

    __call__ = forward

    def backward(self, dy: ArrayLike) -> tuple[Array, list[Array], list[Array | None] | None]:
        """Return (dx, dweights, dbiases) of the last `forward`, whose x must not have changed since.

        `dy` is the gradient of the loss with respect to the output. The parameters are those of now.
        """
        x = self._x
        if x is None:
            raise ValueError("backward: there is no forward yet, needs one before it")
        return mlp_backward(
            dy,
            x,
            self._weights,
            self._biases,
            activation=self.activation,
            output_activation=self.output_activation,
        )

    def __copy__(self) -> MLP:
        """Return a network with parameters of its own."""
        return copy.deepcopy(self)

    def step(
        self, x: ArrayLike, target: ArrayLike, *, loss: str = "mse", optimizer: Optimizer | None = None
    ) -> float:
        """Take one training step on a batch and return its loss before the step.

        Forward, loss, backward and update run in one call of the backend.

        Parameters
        ----------
        x : array_like
            The batch, (rows, features), of the network's dtype.
        target : array_like
            What the output should be: (rows, outputs), or (rows,) where there is one output, of the network's
            dtype; for the losses over classes (rows,) integers from 0 to outputs - 1, or, for cross_entropy
            and poly, probabilities (rows, outputs).
        loss : {'mse', 'l1', 'huber', 'smooth_l1', 'bce', 'cross_entropy', 'poly', 'focal'}, default 'mse'
            `mse_loss`, `l1_loss`, `huber_loss` (delta 1), `smooth_l1_loss` (beta 1), `bce_with_logits`,
            `cross_entropy`, `poly_loss` (epsilon 1) or `focal_loss` (gamma 2) of the output, averaged.
        optimizer : SGD, Adam, AdamW, RMSprop or Lion, optional
            Keeps its state from step to step. SGD with lr 0.01 where it is not given.

        Returns
        -------
        loss : float

        Raises
        ------
        TypeError, ValueError
            For an argument of a wrong type or dtype, or of a wrong value or shape. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnorm
        >>> mlp = fastnorm.MLP([1, 1], dtype=np.float64)
        >>> mlp.weights = [[[1.0]]]
        >>> mlp.step(np.array([[3.0]]), np.array([[1.0]]))  # the gradient is 2 (3 - 1) 3 for the weight
        4.0
        >>> mlp.weights[0].round(4)
        array([[0.88]])
        """
        if type(loss) is not str or loss not in _rules.MLP_LOSSES:
            loss = Rules("step").choice("loss", loss, _rules.MLP_LOSSES)
        chosen = self._optimizer("step", optimizer)
        rule = chosen._rule_for(self._parameters, self._names)
        try:
            value = mlp_train(
                x,
                target,
                None,
                self._weights,
                self._biases,
                self.activation,
                self.output_activation,
                loss,
                0.0,
                rule,
                None,
                0,
                None,
                None,
                None,
                self._drawn() if self._dropout else None,
            )
        except BaseException:
            chosen._forget_unused()
            raise
        if self._dropout:
            self._count(1)
        return value

    def fit(
        self,
        x: ArrayLike,
        target: ArrayLike,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        loss: str = "mse",
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        validation: float | tuple[ArrayLike, ArrayLike] | None = None,
        early_stopping: int | None = None,
        learning_rate: Schedule | None = None,
        max_norm: float | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Literal["balanced"] | Mapping[int, float] | ArrayLike | None = None,
        progress: Progress = False,
    ) -> list[Epoch]:
        """Train for some passes over the data and return what each came to.

        An epoch runs in one call of the backend. Ctrl-C stops after the step that is being taken:
        KeyboardInterrupt is raised and the parameters are those of the last finished step.

        Parameters
        ----------
        x, target : array_like
            As in `step`, all rows; NaN and infinity are refused.
        epochs : int, default 10
        batch_size : int, default 32
            Rows of a step; the last of an epoch may have fewer.
        loss : {'mse', 'l1', 'huber', 'smooth_l1', 'bce', 'cross_entropy', 'poly', 'focal'}, default 'mse'
            As in `step`.
        optimizer : SGD, Adam, AdamW, RMSprop or Lion, optional
            As in `step`.
        shuffle : bool, default True
            Take the rows in a new random order in each epoch.
        validation : float or (x, target), optional
            What is held out, or how large a share of the rows is: a random one, or the last rows without
            `shuffle`. Its loss is taken after each epoch, by the weights of the rows held out and of classes.
        early_stopping : int, optional
            After so many epochs in a row without a lower loss on what is held out training ends. The
            parameters then, and where all epochs were run, are those of the epoch where it was lowest; the
            optimiser's state stays that of the last step.
        learning_rate : callable, optional
            The rate of each step, counted from 0 in this call, as `cosine`, `linear_warmup` and `step_decay`
            make them. It takes the place of the optimiser's, not of the rates that its groups have. One that
            is NaN, infinite or negative is an error: in the first epoch before anything changes, later at
            the end of the epoch before.
        max_norm : float, optional
            Gradients are clipped to this norm, as `clip_grad_norm` does.
        sample_weight : array_like, optional
            A weight for each row, at least 0: the loss of a batch is the mean by these weights.
        class_weight : 'balanced', dict or array_like, optional
            A weight for each class, which multiplies those of its rows, where the target is classes: of all
            outputs, or of some, the others having 1. Balanced ones are inverse to the number of rows, as in
            scikit-learn.
        progress : bool or callable, default False
            True shows a bar with losses and the time that is left, of tqdm or rich (extra `progress`). A
            function is called with the `Epoch` after each. An exception of the function ends training with
            the parameters of that epoch.

        Returns
        -------
        list of Epoch
            The epochs in order. `loss` is the mean over the rows, each before the step it took part in;
            `validation` the loss on what was held out, NaN where nothing was.

        Raises
        ------
        TypeError, ValueError
            For an argument of a wrong type or dtype, or of a wrong value or shape. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnorm
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> mlp, rate = fastnorm.MLP([1, 16, 1], seed=0), fastnorm.cosine(0.02, 300)
        >>> options = {"validation": 0.25, "early_stopping": 20, "learning_rate": rate, "max_norm": 1.0}
        >>> history = mlp.fit(x, x * x, epochs=100, batch_size=16, optimizer=fastnorm.AdamW(), **options)
        >>> bool(min(epoch.validation for epoch in history) < 0.01)
        True
        """
        rules = Rules("fit")
        epochs = rules.integer("epochs", epochs, minimum=0)
        batch_size = rules.integer("batch_size", batch_size, minimum=1)
        shuffle, progress = rules.flag("shuffle", shuffle), checked_progress(rules, progress)
        loss = rules.choice("loss", loss, _rules.MLP_LOSSES)
        patience, max_norm = _rules.stopping(rules, early_stopping, validation, max_norm)
        schedule = _rules.schedule(rules, learning_rate)
        share = _rules.row_weights(rules, sample_weight)
        network = (self._weights, self._biases, self.activation, self.output_activation)
        chosen = self._optimizer("fit", optimizer)
        rule = chosen._rule_for(self._parameters, self._names)
        try:
            taken, wanted, share, *_ = _rules.mlp_train(
                rules, x, target, share, *network, loss, 0.0, rule, None, 0, None, None, None, None
            )
            finite(rules, "x", taken)
            finite(rules, "target", wanted)
            weigh = _rules.class_weights(rules, class_weight, wanted, self.layer_sizes[-1])
            share = weigh(wanted, share)
            if class_weight is not None and share is not None:
                _rules.has_share(rules, "class_weight", share)
            given = _rules.held_out(rules, validation, len(taken), network, loss)
            count = len(taken) if given is None or isinstance(given, tuple) else len(taken) - given
            batch_size = min(batch_size, count)
            steps = -(-count // batch_size)
            rates = _rules.step_rates(rules, schedule, range(steps * min(epochs, 1)), self._parameters)

            rows: Array | None = None
            held: tuple[Array, Array, Array | None] | None = None
            if isinstance(given, tuple):
                held = (*given, weigh(given[1], None))
            elif given is not None:
                weighed = "class_weight" if sample_weight is None else "sample_weight"
                rows, last = self._split(rules, len(taken), count, shuffle, weighed, share)
                held = taken[last], wanted[last], None if share is None else share[last]
            # From here on nothing is refused but a later rate.
            history: list[Epoch] = []
            best, kept = math.inf, None
            with telling(progress, epochs) as tell:
                for number in range(1, epochs + 1):
                    started = time.perf_counter()
                    if number > 1:
                        rule = chosen._rule_for(self._parameters, self._names)
                        those = range((number - 1) * steps, number * steps)
                        rates = _rules.step_rates(rules, schedule, those, self._parameters)
                    order = rows
                    if shuffle:
                        places = self._rng.permutation(count)
                        order = places if rows is None else rows[places]
                    try:
                        value = mlp_train(
                            taken,
                            wanted,
                            share,
                            *network,
                            loss,
                            0.0,
                            rule,
                            order,
                            batch_size,
                            None,
                            rates,
                            max_norm,
                            self._drawn(),
                        )
                    finally:  # of what Ctrl-C has cut off too
                        self._count(steps)
                    error = math.nan if held is None else self._loss_on(*held, loss)
                    history.append(Epoch(number, value, error, time.perf_counter() - started))
                    if patience is not None and error < best:
                        best, kept = error, (number, [parameter.copy() for parameter in self._parameters])
                    tell(history[-1])
                    if patience is not None and number - (0 if kept is None else kept[0]) >= patience:
                        break
            if kept is not None:
                for parameter, values in zip(self._parameters, kept[1], strict=True):
                    parameter[...] = values
        except BaseException:
            chosen._forget_unused()
            raise
        return history

    def _split(
        self, rules: Rules, rows: int, count: int, shuffle: bool, weighed: str, share: Array | None
    ) -> tuple[Array, Array]:
        """Return the numbers of `count` rows to learn from, which have weight, and of those held out."""
        before = self._rng.bit_generator.state
        drawn = self._rng.permutation(rows) if shuffle else np.arange(rows)
        learned, last = np.sort(drawn[:count]), np.sort(drawn[count:])
        if share is not None:
            try:
                _rules.has_share(rules, weighed, share[learned], "the rows to learn from")
            except ValueError:
                self._rng.bit_generator.state = before
                raise
        return learned, last

    def _loss_on(self, x: Array, target: Array, share: Array | None, loss: str) -> float:
        """Return the loss of rows by their weights, NaN where these sum to 0."""
        if share is not None and not share.any():
            return math.nan
        layers = (self._weights, self._biases, self.activation, self.output_activation)
        return mlp_gradients(x, target, share, *layers, loss, 0.0)[0]

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the parameters as ``weights.0``, ``biases.0``, ``weights.1`` and so on."""
        return {name: array.copy() for name, array in self._named()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over parameters that `state_dict` returned.

        Raises
        ------
        ValueError
            Where an entry is missing, unknown or of another shape. Nothing is changed then.
        """
        rules = Rules("load_state_dict")
        if not isinstance(state, Mapping):
            raise rules.type_error(
                "state", f"has type {type(state).__name__}", "a dict, as state_dict returns"
            )
        expected = dict(self._named())
        if set(state) != set(expected):
            raise rules.value_error(
                "state", f"has the entries {sorted(state, key=str)}", f"{sorted(expected)}"
            )
        self._take(rules, [(name, array, state[name]) for name, array in expected.items()])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that NumPy can read: an .npz archive without pickled objects."""
        config = {"layer_sizes": np.array(self.layer_sizes), "dtype": np.array(self.dtype.name)}
        config |= {name: np.array(getattr(self, name) or "") for name in ("activation", "output_activation")}
        if self.dropout or self._masks is not None:
            config["dropout"] = np.array(self.dropout)
            config["masks"] = np.array(self._masks or (), np.uint64)
        # bfloat16 is not a type that files know: its bits are kept.
        known = self.dtype.kind == "f"
        none = np.empty(0, self.dtype)
        held = {f"biases.{i}": none for i, bias in enumerate(self._biases) if bias is None}
        held |= dict(self._named())
        arrays = {name: array if known else array.view(np.uint16) for name, array in held.items()}
        write(path, config | arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MLP:
        """Return the network that `save` wrote.

        Nothing in the file is run, and no more memory is taken than the file is long.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        with Archive(path, "MLP.save") as file:
            rules, sizes = Rules("MLP"), file.read("layer_sizes")
            if sizes.dtype.kind not in "iu" or sizes.ndim != 1:
                raise file.refusal(f"has layer_sizes of dtype {sizes.dtype} and shape {sizes.shape}")
            mlp = cls.__new__(cls)
            mlp._configure(
                rules,
                [rules.integer(f"layer_sizes[{i}]", n, minimum=1) for i, n in enumerate(sizes)],
                file.text("activation") or None,
                file.text("output_activation") or None,
                float_dtype(rules, file.text("dtype")),
            )
            mlp._rng = np.random.default_rng()
            settings = {"layer_sizes", "activation", "output_activation", "dtype"}
            if "dropout" in file.headers:
                settings |= {"dropout", "masks"}
                share, masks = file.read("dropout"), file.read("masks")
                if share.shape != () or share.dtype.kind != "f":
                    raise file.refusal(f"has a dropout of dtype {share.dtype} and shape {share.shape}")
                if masks.shape not in ((0,), (2,)) or masks.dtype != np.uint64:
                    raise file.refusal(f"has masks of dtype {masks.dtype} and shape {masks.shape}")
                mlp.dropout = float(share)
                mlp._masks = (int(masks[0]), int(masks[1])) if masks.size else None
            layers = list(pairwise(mlp.layer_sizes))
            weights: dict[str, tuple[int, ...]] = {f"weights.{i}": size for i, size in enumerate(layers)}
            sizes_of: dict[str, tuple[int, ...]]
            sizes_of = {f"biases.{i}": (m,) for i, (_, m) in enumerate(layers)}
            # A layer without one has an empty entry.
            biases = {n: (0,) if file.headers.get(n, ((),))[0] == (0,) else m for n, m in sizes_of.items()}
            file.has_only({*settings, *weights, *biases})
            arrays = file.read_floats(weights | biases, mlp.dtype)
        given = [arrays[name] for name in biases]
        mlp._hold([arrays[name] for name in weights], [bias if bias.size else None for bias in given])
        return mlp

    @property
    def _names(self) -> tuple[str, ...]:
        """The names of the parameters in the order that optimisers take them in."""
        biases = (f"biases.{i}" for i, bias in enumerate(self._biases) if bias is not None)
        return (*(f"weights.{i}" for i in range(len(self._weights))), *biases)

    def _named(self) -> Iterator[tuple[str, Array]]:
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            yield f"weights.{i}", weight
            if bias is not None:
                yield f"biases.{i}", bias

    def _assign(
        self, name: str, arrays: tuple[Array | None, ...], values: Sequence[ArrayLike | None]
    ) -> None:
        rules = Rules("MLP")
        if not isinstance(values, (list, tuple)):
            raise rules.type_error(name, f"has type {type(values).__name__}", "a list or a tuple of arrays")
        if len(values) != len(arrays):
            raise rules.value_error(name, f"has {len(values)} entries", f"{len(arrays)}, one for each layer")
        changes: list[tuple[str, Array, ArrayLike]] = []
        for i, (array, value) in enumerate(zip(arrays, values, strict=True)):
            if array is not None and value is not None:
                changes.append((f"{name}[{i}]", array, value))
            elif array is not value:
                found = "is None" if value is None else "is given"
                needed = "None, for the layer has none" if array is None else "an array"
                raise rules.type_error(f"{name}[{i}]", found, needed)
        self._take(rules, changes)

    def _take(self, rules: Rules, changes: list[tuple[str, Array, ArrayLike]]) -> None:
        """Give parameters new values, which may be of another float type, as if all were copied first."""
        given = []
        for name, array, value in changes:
            values = rules.array(name, value, like=array)
            if values.shape != array.shape:
                raise rules.value_error(name, f"has shape {values.shape}", f"{array.shape}")
            rules.writeable(name, array)
            is_own = any(np.may_share_memory(values, parameter) for parameter in self._parameters)
            with np.errstate(over="ignore"):
                given.append(values.astype(array.dtype, copy=is_own))
        for (_, array, _), values in zip(changes, given, strict=True):
            array[...] = values

    def _input(self, rules: Rules, x: ArrayLike) -> Array:
        taken = rules.array("x", x, like=self._weights[0])
        if taken.dtype != self.dtype:
            raise rules.type_error("x", f"has dtype {taken.dtype}", f"{self.dtype} as the network")
        return taken

    def _optimizer(self, op: str, optimizer: Optimizer | None) -> Optimizer:
        if optimizer is None:
            return self._sgd
        if not isinstance(optimizer, Optimizer):
            found = f"has type {type(optimizer).__name__}"
            raise Rules(op).type_error("optimizer", found, "an optimiser, such as SGD or Adam")
        return optimizer


def initial_weight(
    rng: np.random.Generator, n: int, m: int, activation: str | None, dtype: np.dtype[Any]
) -> Array:
    """Return random weights of a layer: He's before functions that are 0 on one side, else Xavier's."""
    if activation not in (None, "sigmoid", "tanh"):
        return (math.sqrt(2 / n) * rng.standard_normal((n, m))).astype(dtype)
    bound = math.sqrt(6 / (n + m))
    return rng.uniform(-bound, bound, (n, m)).astype(dtype)
