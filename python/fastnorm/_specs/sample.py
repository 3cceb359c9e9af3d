"""The arguments of one call, for whoever runs, checks or times it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnorm

from .. import reference
from .spec import (
    Array,
    Contract,
    Draw,
    Shape,
    Spec,
    Variant,
    is_float_array,
    mapped,
    positional_names,
    widened,
)


@dataclass(frozen=True)
class Call:
    """A function with its arguments; timed as the statement that a user would write, without a wrapper around
    it.

    `spins` says that threads of the library go on running for a while after the call, waiting for the next
    one.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    spins: bool = False

    def __call__(self) -> Any:
        """Run the call and return its result."""
        return self.function(*self.arguments, **self.keywords)


@dataclass(frozen=True)
class Sample:
    """The arguments of a forward, or of a `backward`, by name and in the order of the signature."""

    spec: Spec
    backward: bool
    arrays: Mapping[str, Any]  # arrays, or lists of them
    keywords: Mapping[str, Any]

    @property
    def op(self) -> str:
        """Name of the function that is called."""
        return self.spec.called(backward=self.backward)

    @property
    def x(self) -> NDArray[Any]:
        """Return the first array of floats of the forward: x, a gate, a query, a table, or the logits of a
        loss.
        """
        given = (self.arrays.get(name) for name in self.spec.positional)
        found: NDArray[Any] = next(filter(is_float_array, given))  # type: ignore[arg-type]
        return found

    @property
    def contract(self) -> Contract:
        """What the op promises for results of x's type."""
        return self.spec.contract_of(self.x.dtype, backward=self.backward)

    @property
    def axis(self) -> int:
        """Axis of x along which weight and bias lie."""
        return int(self.keywords.get("axis", self.spec.keywords.get("axis", -1)))

    def takes(self, keyword: str) -> bool:
        """Tell whether the function has a keyword of this name."""
        return keyword in (self.spec.backward_keywords if self.backward else self.spec.keywords)

    def call(self, module: ModuleType = fastnorm, **more: Any) -> Call:
        """Return the call of the op in `module` (`fastnorm` or its `reference`), with `more` keywords."""
        return self.call_of(getattr(module, self.op), **more)

    def call_of(self, function: Callable[..., Any], **more: Any) -> Call:
        """Return the call of any function that takes the arguments of the op.

        Positional up to the first array that was left out, by name from there, as a user would write it.
        """
        names = positional_names(self.spec.twin_backward if self.backward else self.spec.twin)
        given = [name in self.arrays for name in names]
        leading = given.index(False) if False in given else len(names)
        later = {name: self.arrays[name] for name in names[leading:] if name in self.arrays}
        arguments = tuple(self.arrays[name] for name in names[:leading])
        return Call(function, arguments, {**later, **self.keywords, **more})

    def exact(self) -> tuple[Array | None, ...]:
        """Return the results of the float64 twin for the very same inputs, not rounded to their type.

        Given statistics are rounded ones: the twin computes its own.
        """
        wide = {name: widened(value) for name, value in self.arrays.items()}
        keywords = {name: value for name, value in self.keywords.items() if name != "stats"}
        return flat(replace(self, arrays=wide, keywords=keywords).call(reference)())

    def with_stats(self) -> Sample:
        """Return the same arguments with the statistics of the forward, where this is a backward that takes
        them.
        """
        if not self.backward or not self.takes("stats"):
            return self
        arrays = {name: array for name, array in self.arrays.items() if name in self.spec.positional}
        forward = replace(self, backward=False, arrays=arrays)
        _, *stats = forward.call(return_stats=True)()
        keywords = {**self.keywords, "stats": tuple(stats) if len(stats) > 1 else stats[0]}
        if self.takes("training") and "running_mean" not in self.arrays:
            keywords["training"] = True  # they are those of the batch: the gradient goes through them
        return replace(self, keywords=keywords)

    def bytes_moved(self, results: Any) -> int:
        """Return the bytes that any implementation has to read and write: the inputs and the results, each
        once.
        """
        moved = [*flat([*self.arrays.values()]), *flat(self.keywords.get("stats")), *flat(results)]
        return sum(array.nbytes for array in moved if array is not None)


def make_sample(
    spec: Spec,
    shape: Shape,
    dtype: np.dtype[Any],
    rng: np.random.Generator,
    variant: Variant | None = None,
    *,
    backward: bool = False,
    mean: float = 0.0,
    deviation: float = 1.0,
) -> Sample:
    """Return random arguments, for an x of the given shape and type, for a variant of an op: the first where
    none is given.

    Gradients of results are powers of two, which scale without rounding: the error of an element-wise
    gradient is that of the derivative. `mean` and `deviation` are those of x.
    """
    variant = spec.variants[0] if variant is None else variant
    draw = Draw(rng, dtype, mean, deviation)
    inputs = spec.inputs(draw, spec.problem(shape), variant)
    named = dict(zip(spec.positional, inputs, strict=True))
    required = {
        name
        for name in named
        if inspect.signature(spec.twin).parameters[name].default is inspect.Parameter.empty
    }
    arrays = {
        name: value
        for name, value in named.items()
        if isinstance(value, (np.ndarray, list)) or (value is None and name in required)
    }
    numbers = {name: value for name, value in named.items() if isinstance(value, (int, float))}
    sample = Sample(spec, False, arrays, {**numbers, **variant.keywords})
    if not backward:
        return sample
    # The forward changes running arrays: it gets others.
    copied = {name: mapped(value, np.copy) if "running" in name else value for name, value in arrays.items()}
    with np.errstate(all="ignore"):
        results = flat(replace(sample, arrays=copied).call()())
    gradients = {
        name: np.asarray(np.ldexp(rng.choice([-1.0, 1.0], y.shape), rng.integers(-2, 3, y.shape))).astype(
            dtype
        )
        for name, y in zip(spec.output_gradients, results, strict=False)
        if y is not None
    }
    keywords = {**numbers, **spec.known_to_backward(variant.keywords)}
    return Sample(spec, True, {**gradients, **arrays}, keywords)


def flat(results: Any) -> tuple[Array | None, ...]:
    """Return results as a tuple, also where they are one array or None; lists of them one after another."""
    if isinstance(results, (tuple, list)):
        return tuple(array for result in results for array in flat(result))
    return (results,)
