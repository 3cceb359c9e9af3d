"""Networks of dense layers: forward, backward, and training in one call without Python in between."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ._arguments import mlp as _rules
from ._arguments.mlp import Loss, activations, finite
from ._arguments.optim import Rule
from ._arguments.rules import Rules, is_float
from ._op import op
from ._typing import Array, ArrayLike, DenseActivation
from .optim import SGD, Optimizer

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
        fine.
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
) -> tuple[Array, list[Array], list[Array | None] | None]:
    """Gradients of `mlp_forward` with respect to x, weights and biases.

    The hidden activations are computed again, a block of rows at a time.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output, of its shape and dtype.
    x, weights, biases, activation, output_activation
        As in the forward.

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
    one after the other: an error of at most (50 + n / 48) * 2^-24 of the sum of the magnitudes.

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
    sample_weight: Array | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str | Loss,
    penalty: float,
) -> tuple[float, list[Array], list[Array | None] | None]:
    """Loss of a batch with its penalty, and the gradients of weights and biases."""


@op
def mlp_train(
    x: ArrayLike,
    target: ArrayLike,
    sample_weight: Array | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str | Loss,
    penalty: float,
    rule: Rule,
    order: Array | None,
    batch_size: int,
) -> float:
    """Take training steps over the rows in batches, updating the network in place; return the mean loss.

    `order` holds the numbers of the rows in the order in which they are taken, None for all rows as they
    stand. The loss of a batch is the one before its update; batches count by their rows.
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

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852 (2015). Glorot and Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", AISTATS (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> mlp = fastnorm.MLP([1, 16, 1], seed=0)
    >>> losses = mlp.fit(x, np.abs(x), epochs=200, batch_size=16, optimizer=fastnorm.Adam(lr=0.01))
    >>> bool(losses[-1] < 1e-3 < losses[0])
    True
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: DenseActivation | None = "relu",
        output_activation: DenseActivation | None = None,
        dtype: Any = np.float32,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        """Make a network with random weights."""
        rules = Rules("MLP")
        if isinstance(layer_sizes, (str, bytes)) or not isinstance(layer_sizes, Iterable):
            raise rules.type_error(
                "layer_sizes", f"has type {type(layer_sizes).__name__}", "a sequence of ints"
            )
        sizes = tuple(rules.integer(f"layer_sizes[{i}]", n, minimum=1) for i, n in enumerate(layer_sizes))
        if len(sizes) < 2:
            raise rules.value_error(
                "layer_sizes", f"has {len(sizes)} entries", "at least two, features and outputs"
            )
        self.layer_sizes = sizes
        self.activation, self.output_activation = activations(rules, activation, output_activation)
        self.dtype = float_dtype(rules, dtype)
        self._rng = np.random.default_rng(seed)
        last = len(sizes) - 2
        self._weights = tuple(
            initial_weight(
                self._rng, n, m, self.output_activation if i == last else self.activation, self.dtype
            )
            for i, (n, m) in enumerate(pairwise(sizes))
        )
        self._biases = tuple(np.zeros(m, self.dtype) for m in sizes[1:])
        self._parameters = (*self._weights, *self._biases)
        self._sgd = SGD()
        self._x: Array | None = None

    def __repr__(self) -> str:
        """Return the sizes and functions of the layers."""
        options = f"activation={self.activation!r}, output_activation={self.output_activation!r}"
        return f"MLP({list(self.layer_sizes)}, {options}, dtype={self.dtype})"

    @property
    def weights(self) -> tuple[Array, ...]:
        """The weights, (in, out) for each layer."""
        return self._weights

    @weights.setter
    def weights(self, values: Sequence[ArrayLike]) -> None:
        self._assign("weights", self._weights, values)

    @property
    def biases(self) -> tuple[Array, ...]:
        """The biases, (out,) for each layer."""
        return self._biases

    @biases.setter
    def biases(self, values: Sequence[ArrayLike]) -> None:
        self._assign("biases", self._biases, values)

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
        if self._x is None:
            raise ValueError("backward: there is no forward yet, needs one before it")
        return mlp_backward(
            dy,
            self._x,
            self._weights,
            self._biases,
            activation=self.activation,
            output_activation=self.output_activation,
        )

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
        loss : {'mse', 'cross_entropy', 'poly', 'focal'}, default 'mse'
            `mse_loss`, `cross_entropy`, `poly_loss` (epsilon 1) or `focal_loss` (gamma 2) of the output,
            averaged.
        optimizer : SGD or Adam, optional
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
        rule = self._rule("step", optimizer)
        return mlp_train(
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
        )

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
        progress: bool = False,
    ) -> Array:
        """Train for some passes over the data and return the mean loss of each.

        An epoch runs in one call of the backend. Ctrl-C stops after the step that is being taken:
        KeyboardInterrupt is raised and the parameters are those of the last finished step.

        Parameters
        ----------
        x, target : array_like
            As in `step`, all rows; NaN and infinity are refused.
        epochs : int, default 10
        batch_size : int, default 32
            Rows of a step; the last of an epoch may have fewer.
        loss : {'mse', 'cross_entropy', 'poly', 'focal'}, default 'mse'
            As in `step`.
        optimizer : SGD or Adam, optional
            As in `step`.
        shuffle : bool, default True
            Take the rows in a new random order in each epoch.
        progress : bool, default False
            Show a progress bar, if tqdm or rich is installed.

        Returns
        -------
        losses : ndarray
            The loss of each epoch: the mean over its rows, each before the step it took part in.

        Raises
        ------
        TypeError, ValueError
            For an argument of a wrong type or dtype, or of a wrong value or shape. Nothing is changed then.
        """
        rules = Rules("fit")
        epochs = rules.integer("epochs", epochs, minimum=0)
        batch_size = rules.integer("batch_size", batch_size, minimum=1)
        shuffle, progress = rules.flag("shuffle", shuffle), rules.flag("progress", progress)
        taken, wanted, _, _, _, _, _, chosen, _ = _rules.mlp_gradients(
            rules,
            x,
            target,
            None,
            self._weights,
            self._biases,
            self.activation,
            self.output_activation,
            loss,
            0.0,
        )
        finite(rules, "x", taken)
        finite(rules, "target", wanted)
        batch_size = min(batch_size, len(taken))
        rule = self._rule("fit", optimizer)
        losses = np.empty(epochs)
        for epoch in progress_bar(range(epochs), shown=progress):
            losses[epoch] = mlp_train(
                taken,
                wanted,
                None,
                self._weights,
                self._biases,
                self.activation,
                self.output_activation,
                chosen,
                0.0,
                rule,
                self._rng.permutation(len(taken)) if shuffle else None,
                batch_size,
            )
        return losses

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
        expected = dict(self._named())
        if set(state) != set(expected):
            raise rules.value_error("state", f"has the entries {sorted(state)}", f"{sorted(expected)}")
        given = {name: self._like(rules, name, state[name], array) for name, array in expected.items()}
        for name, array in expected.items():
            array[...] = given[name]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that NumPy can read: an .npz archive without pickled objects."""
        config = {"layer_sizes": np.array(self.layer_sizes), "dtype": np.array(self.dtype.name)}
        config |= {name: np.array(getattr(self, name) or "") for name in ("activation", "output_activation")}
        # bfloat16 is not a type that files know: its bits are kept.
        known = self.dtype.kind == "f"
        arrays = {name: array if known else array.view(np.uint16) for name, array in self._named()}
        with open(path, "wb") as file:
            np.savez(file, **config, **arrays)  # type: ignore[arg-type]  # stub: the keyword allow_pickle

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MLP:
        """Return the network that `save` wrote.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        rules = Rules("load")
        with np.load(path, allow_pickle=False) as file:
            state = dict(file)
        try:
            sizes, dtype, *names = (
                state.pop(key) for key in ("layer_sizes", "dtype", "activation", "output_activation")
            )
        except KeyError as missing:
            raise rules.value_error("path", f"has no entry {missing}", "a file that MLP.save wrote") from None
        activation, output_activation = (str(name) or None for name in names)
        mlp = cls(
            [int(size) for size in sizes],
            activation=activation,  # type: ignore[arg-type]  # checked there
            output_activation=output_activation,  # type: ignore[arg-type]
            dtype=str(dtype),
        )
        if mlp.dtype.kind != "f":
            state = {name: array.view(mlp.dtype) for name, array in state.items()}
        mlp.load_state_dict(state)
        return mlp

    def _named(self) -> Iterator[tuple[str, Array]]:
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            yield f"weights.{i}", weight
            yield f"biases.{i}", bias

    def _assign(self, name: str, arrays: tuple[Array, ...], values: Sequence[ArrayLike]) -> None:
        rules = Rules("MLP")
        if not isinstance(values, (list, tuple)):
            raise rules.type_error(name, f"has type {type(values).__name__}", "a list or a tuple of arrays")
        if len(values) != len(arrays):
            raise rules.value_error(name, f"has {len(values)} entries", f"{len(arrays)}, one for each layer")
        given = [
            self._like(rules, f"{name}[{i}]", v, a)
            for i, (v, a) in enumerate(zip(values, arrays, strict=True))
        ]
        for array, value in zip(arrays, given, strict=True):
            array[...] = value

    def _like(self, rules: Rules, name: str, value: ArrayLike, array: Array) -> Array:
        """Return new values of a parameter, which may be of another float type."""
        given = rules.array(name, value, like=array)
        if given.shape != array.shape:
            raise rules.value_error(name, f"has shape {given.shape}", f"{array.shape}")
        return given

    def _input(self, rules: Rules, x: ArrayLike) -> Array:
        taken = rules.array("x", x, like=self._weights[0])
        if taken.dtype != self.dtype:
            raise rules.type_error("x", f"has dtype {taken.dtype}", f"{self.dtype} as the network")
        return taken

    def _rule(self, op: str, optimizer: Optimizer | None) -> Any:
        if optimizer is None:
            optimizer = self._sgd
        elif not isinstance(optimizer, Optimizer):
            raise Rules(op).type_error(
                "optimizer", f"has type {type(optimizer).__name__}", "an SGD or an Adam"
            )
        return optimizer._rule_for(self._parameters)


def float_dtype(rules: Rules, dtype: Any) -> np.dtype[Any]:
    """Return one of the float dtypes; 'bfloat16' imports ml_dtypes."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        from ml_dtypes import bfloat16 as dtype
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise rules.type_error("dtype", f"is {dtype!r}", "float32, float64, float16 or bfloat16") from error
    if not is_float(found):
        raise rules.type_error("dtype", f"is {found}", "float32, float64, float16 or bfloat16")
    return found


def initial_weight(
    rng: np.random.Generator, n: int, m: int, activation: str | None, dtype: np.dtype[Any]
) -> Array:
    """Return random weights of a layer: He's before functions that are 0 on one side, else Xavier's."""
    if activation not in (None, "sigmoid", "tanh"):
        return (math.sqrt(2 / n) * rng.standard_normal((n, m))).astype(dtype)
    bound = math.sqrt(6 / (n + m))
    return rng.uniform(-bound, bound, (n, m)).astype(dtype)


def progress_bar(values: range, *, shown: bool) -> Iterable[int]:
    """Return the values, shown as they are passed where tqdm or rich is installed."""
    if not shown:
        return values
    try:
        from tqdm.auto import tqdm
    except ImportError:
        try:
            from rich.progress import track
        except ImportError:
            return values
        return track(values, description="epochs")
    return tqdm(values, unit="epoch")  # type: ignore[no-any-return]
