"""Arguments for every op, made from its signature.

The ops share one rule for names and order (``op(x, weight, bias, ...)``, ``op_backward(dy, x, weight, bias,
...)``), so a new op gets its samples without a line here, unless it brings a parameter of a new kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnorm

from .. import reference
from .timing import Call

SHAPED_LIKE_X = frozenset({"x", "residual", "gate", "up", "logits", "prediction"})
PACKED = frozenset({"glu", "glu_backward"})  # x holds two arrays of the given shape side by side
SHAPED_LIKE_COLS = frozenset({"weight", "bias", "beta"})
SLOTS = frozenset({"keys", "values"})  # (..., slots, cols); queries have as many rows, a memory read has one
# Losses whose target and gradient have the shape of x; the others have classes along the last axis of x.
ELEMENTWISE_LOSSES = frozenset({"mse_loss", "sigmoid_focal_loss", "poly_focal_loss"})
RUNNING = frozenset({"running_mean", "running_var"})
DENSE = frozenset(
    {"linear", "linear_backward", "gated_linear", "gated_linear_backward"}
)  # with as many outputs as inputs
NETWORKS = frozenset({"mlp_forward", "mlp_backward"})  # as many outputs as inputs, and one hidden layer
MOST_HIDDEN = 256


@dataclass(frozen=True)
class Sample:
    """The arguments of one call, by name and in the order of the signature."""

    op: str
    arrays: Mapping[str, Any]  # arrays, or lists of them
    keywords: Mapping[str, Any]

    @property
    def x(self) -> NDArray[Any]:
        """Return the first array of the forward: x, a gate, a query, or the logits of a loss."""
        found: NDArray[Any] = next(
            self.arrays[name]
            for name in ("x", "gate", "query", "logits", "prediction")
            if name in self.arrays
        )
        return found

    def call(self, module: ModuleType = fastnorm, **more: Any) -> Call:
        """Return the call of the op in `module` (`fastnorm` or its `reference`), with `more` keywords."""
        return self.call_of(getattr(module, self.op), **more)

    def call_of(self, function: Callable[..., Any], **more: Any) -> Call:
        """Return the call of any function that takes the arguments of the op.

        Positional up to the first array that was left out, by name from there, as a user would write it.
        """
        names = positional_names(self.op)
        given = [name in self.arrays for name in names]
        leading = given.index(False) if False in given else len(names)
        later = {name: self.arrays[name] for name in names[leading:] if name in self.arrays}
        arguments = tuple(self.arrays[name] for name in names[:leading])
        return Call(function, arguments, {**later, **self.keywords, **more})

    def exact(self) -> tuple[NDArray[Any] | None, ...]:
        """Return the results of the float64 twin for the very same inputs, not rounded to their type.

        Given statistics are rounded ones: the twin computes its own.
        """
        widened = {name: _widened(value) for name, value in self.arrays.items()}
        keywords = {name: value for name, value in self.keywords.items() if name != "stats"}
        return as_tuple(Sample(self.op, widened, keywords).call(reference)())

    def with_stats(self) -> Sample:
        """Return the same arguments with the statistics of the forward, where the op is a backward that takes
        them.
        """
        if not self.op.endswith("_backward") or not takes(self.op, "stats"):
            return self
        forward_arrays = {name: array for name, array in self.arrays.items() if name != "dy"}
        forward = Sample(self.op.removesuffix("_backward"), forward_arrays, self.keywords)
        _, *stats = forward.call(return_stats=True)()
        keywords = {**self.keywords, "stats": tuple(stats) if len(stats) > 1 else stats[0]}
        if takes(self.op, "training") and "running_mean" not in self.arrays:
            keywords["training"] = True  # they are those of the batch: the gradient goes through them
        return replace(self, keywords=keywords)

    def bytes_moved(self, results: Any) -> int:
        """Return the bytes that any implementation has to read and write: the inputs and the results, each
        once.
        """
        moved = [
            *as_tuple([*self.arrays.values()]),
            *as_tuple(self.keywords.get("stats")),
            *as_tuple(results),
        ]
        return sum(array.nbytes for array in moved if array is not None)


def op_names() -> list[str]:
    """Return the names of all forward ops, each followed by its backward."""
    names = [name for name in reference.__all__ if inspect.isfunction(getattr(reference, name))]
    forward = [name for name in names if not name.endswith("_backward")]
    return [
        name for op in forward for name in (op, f"{op.removesuffix('_forward')}_backward") if name in names
    ]


def positional_names(op: str) -> list[str]:
    """Return the names of the array parameters of an op, in order."""
    parameters = inspect.signature(getattr(reference, op)).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]


def optional_names(op: str) -> list[str]:
    """Return the names of the array parameters of an op that may be left out."""
    parameters = inspect.signature(getattr(reference, op)).parameters
    return [name for name in positional_names(op) if parameters[name].default is None]


def takes(op: str, keyword: str) -> bool:
    """Tell whether an op has a parameter of this name."""
    return keyword in inspect.signature(getattr(reference, op)).parameters


def make_sample(
    op: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    rng: np.random.Generator,
    *,
    without: Collection[str] = (),
    mean: float = 0.0,
    deviation: float = 1.0,
    keywords: Mapping[str, Any] | None = None,
) -> Sample:
    """Return random arguments of the given shape and type for an op.

    Parameters
    ----------
    op : str
        Name of a forward or backward op.
    shape, dtype : tuple of int, dtype
        Of x and everything that is shaped like it; of each half of a packed array.
    rng : Generator
        Source of the numbers.
    without : collection of str
        Names of optional arrays to leave out.
    mean, deviation : float
        Of x.
    keywords : mapping, optional
        Passed on to the op as they are.
    """
    arrays: dict[str, Any] = {}
    is_elementwise = op.removesuffix("_backward") in ELEMENTWISE_LOSSES
    reads_memory = op.startswith("memory_read")
    if reads_memory or op.startswith("attention"):
        shape = shape if len(shape) > 1 else (1, *shape)
    slots = shape
    if reads_memory:
        shape = (*shape[:-2], shape[-1])
    for name in positional_names(op):
        if name in without or name in (keywords or {}):
            continue
        if name in ("dy", "dsummed"):
            # Powers of two scale without rounding: the error of an element-wise gradient is that of the
            # derivative.
            values = np.ldexp(rng.choice([-1.0, 1.0], shape), rng.integers(-2, 3, shape))
        elif name in SHAPED_LIKE_X:
            holds_two = (name == "gate" and "up" in without) or (name == "x" and op in PACKED)
            values = rng.standard_normal((*shape[:-1], 2 * shape[-1]) if holds_two else shape)
            values = mean + deviation * values if name in ("x", "gate", "logits", "prediction") else values
        elif op in NETWORKS:
            arrays[name] = _parameters(name, shape[-1], dtype, rng)
            continue
        elif name == "query":
            values = rng.standard_normal(shape) / np.sqrt(shape[-1])  # scores of deviation 1
        elif name in SLOTS:
            values = rng.standard_normal(slots)
        elif op in DENSE and name != "x":
            is_weight = name.startswith("w")
            values = rng.standard_normal(shape[-1:] * 2 if is_weight else shape[-1:])
            values = values / np.sqrt(shape[-1]) if is_weight else values
        elif name == "target" and is_elementwise:
            values = rng.standard_normal(shape) if op.startswith("mse") else rng.integers(0, 2, shape)
        elif name == "target":
            # Classes, of the first half: every other column of the logits has them too.
            arrays[name] = rng.integers(0, (shape[-1] + 1) // 2, shape[:-1])
            continue
        elif name == "dloss":
            losses = shape if is_elementwise else shape[:-1]
            values = np.ldexp(rng.choice([-1.0, 1.0], losses), rng.integers(-2, 3, losses))
        elif name in SHAPED_LIKE_COLS:
            values = (name == "weight") + 0.25 * rng.standard_normal(
                parameter_shape(op, shape, keywords or {})
            )
        elif name in RUNNING:
            values = rng.standard_normal(parameter_shape(op, shape, keywords or {}))
            values = (
                deviation**2 * np.exp(0.5 * values)
                if name == "running_var"
                else mean + 0.25 * deviation * values
            )
            arrays[name] = values.astype(np.float64 if dtype == np.float64 else np.float32)
            continue
        else:
            raise LookupError(f"{op}: no rule for samples of the parameter {name!r}")
        arrays[name] = values.astype(dtype)
    return Sample(op, arrays, dict(keywords or {}))


def _widened(value: Any) -> Any:
    if isinstance(value, list):
        return [_widened(array) for array in value]
    return value if value.dtype.kind == "i" else value.astype(np.float64)


def _parameters(name: str, cols: int, dtype: np.dtype[Any], rng: np.random.Generator) -> list[NDArray[Any]]:
    """Return the weights or biases of a network, weights of variance 1/in."""
    sizes = ((cols, min(cols, MOST_HIDDEN)), (min(cols, MOST_HIDDEN), cols))
    if name == "biases":
        return [rng.standard_normal(out).astype(dtype) for _, out in sizes]
    return [(rng.standard_normal(size) / np.sqrt(size[0])).astype(dtype) for size in sizes]


def parameter_shape(op: str, shape: tuple[int, ...], keywords: Mapping[str, Any]) -> tuple[int]:
    """Return the shape of weight and bias: that of x along the axis of the op, which is one axis here."""
    return (shape[parameter_axis(op, keywords)],)


def parameter_axis(op: str, keywords: Mapping[str, Any]) -> int:
    """Return the axis of x along which weight and bias lie."""
    parameters = inspect.signature(getattr(reference, op)).parameters
    axis = keywords.get("axis", parameters["axis"].default if "axis" in parameters else -1)
    return int(axis)


def as_tuple(results: Any) -> tuple[NDArray[Any] | None, ...]:
    """Return results as a tuple, also where they are one array or None; lists of them one after another."""
    if isinstance(results, (tuple, list)):
        return tuple(array for result in results for array in as_tuple(result))
    return (results,)
