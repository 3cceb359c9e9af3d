"""What the tests that run over every op (test_ops.py) need to know about one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastnorm
import numpy as np
from fastnorm import reference

from .case import Array, Case, Variant, as_tuple, keyword_defaults

SHAPES: tuple[tuple[int, ...], ...] = ((1, 1), (3, 7), (2, 64), (9, 33), (4, 130), (3, 1029), (2, 3, 18))
LARGE: tuple[tuple[int, ...], ...] = ((513, 770), (5, 70_001), (20_011, 13))

Arguments = tuple[Any, ...]  # the positional ones: arrays, None, numbers, integer arrays, lists of arrays
Bounds = tuple[Array, ...]


@dataclass(frozen=True)
class Op:
    """An op and its backward.

    `make_inputs(rng, shape, dtype, variant)` returns the forward's positional arguments for a problem of this
    shape, whatever the shape means to the op. The bounds are absolute, one array for each result of the
    forward (`forward_bounds(inputs, keywords)`) and for each gradient that is not None
    (`backward_bounds(gradients of the results, inputs, keywords)`), on the distance from what the twin
    returns in float64.
    """

    name: str
    make_inputs: Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any], Variant], Arguments]
    variants: tuple[Variant, ...]
    differentiable: tuple[str, ...]  # positional arguments that have gradients, in order
    forward_bounds: Callable[[Arguments, Mapping[str, Any]], Bounds]
    backward_bounds: Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]
    shapes: tuple[tuple[int, ...], ...] = SHAPES
    large: tuple[tuple[int, ...], ...] = LARGE  # enough work for several threads
    empty: tuple[tuple[int, ...], ...] = ((0, 5),)  # problems without rows
    # The length over which the forward bends: by how far arguments may move for differences to be
    # derivatives.
    bending: Callable[[Arguments, Mapping[str, Any]], float] = lambda inputs, keywords: 1.0
    rows: bool = True  # results and dx of a row (index of the first axis) depend on no other row
    dense_results: bool = True  # a new result lies in memory in the order of x
    integer_arrays: tuple[str, ...] = ()  # arguments that may be arrays of integers too
    bad: tuple[tuple[str, Any, type[Exception]], ...] = field(
        default=()
    )  # argument, a value it must not have, error

    def __str__(self) -> str:
        return self.name

    @property
    def forward(self) -> Callable[..., Any]:
        """The op, which runs on the active backend."""
        return getattr(fastnorm, self.name)  # type: ignore[no-any-return]

    @property
    def backward(self) -> Callable[..., Any]:
        """Its backward, which runs on the active backend."""
        return getattr(fastnorm, backward_name(self.name))  # type: ignore[no-any-return]

    @property
    def twin(self) -> Callable[..., Any]:
        """The NumPy twin of the op."""
        return getattr(reference, self.name)  # type: ignore[no-any-return]

    @property
    def twin_backward(self) -> Callable[..., Any]:
        """The NumPy twin of the backward."""
        return getattr(reference, backward_name(self.name))  # type: ignore[no-any-return]

    @property
    def positional(self) -> tuple[str, ...]:
        """Names of the forward's positional arguments."""
        return positional_names(self.twin)

    @property
    def output_gradients(self) -> int:
        """How many gradients of results the backward takes."""
        return len(positional_names(self.twin_backward)) - len(self.positional)

    def takes_out(self) -> bool:
        """Whether the forward has `out`."""
        return "out" in keyword_defaults(self.twin)

    def backward_keywords(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Those keywords of a forward call that the backward takes too."""
        known = keyword_defaults(self.twin_backward)
        return {name: value for name, value in keywords.items() if name in known}

    def exact(self, inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        """The results for the given values, computed and returned in float64."""
        return as_tuple(self.twin(*map(widened, inputs), **keywords))

    def exact_gradients(
        self, output_gradients: Arguments, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """The gradients that are not None for the given values, computed and returned in float64."""
        gradients = self.twin_backward(
            *map(widened, output_gradients), *map(widened, inputs), **self.backward_keywords(keywords)
        )
        return present(gradients)

    def gradients(
        self, output_gradients: Arguments, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """The gradients that are not None, from the active backend."""
        return present(self.backward(*output_gradients, *inputs, **self.backward_keywords(keywords)))

    def random_output_gradients(
        self, rng: np.random.Generator, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """Gradients of the results to call the backward with, of their shapes and dtypes."""
        with fastnorm.backend("reference"):
            results = as_tuple(self.twin(*inputs, **keywords))[: self.output_gradients]
        return tuple(np.asarray(rng.standard_normal(y.shape)).astype(y.dtype) for y in results)


def backward_name(op: str) -> str:
    """The name of an op's backward: mlp_backward is that of mlp_forward."""
    return f"{op.removesuffix('_forward')}_backward"


def positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments that may be given by position."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)


def is_float_array(value: Any) -> bool:
    """Whether a positional argument is an array of a float type (bfloat16 has kind V)."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fV"


def mapped(value: Any, function: Callable[[Array], Any]) -> Any:
    """The same argument with a function of every float array in it."""
    if isinstance(value, (list, tuple)):
        return [mapped(part, function) for part in value]
    return function(value) if is_float_array(value) else value


def widened(value: Any) -> Any:
    """The same values in float64 where they are floats."""
    return mapped(value, lambda array: array.astype(np.float64))


def relaid(value: Any, relay: Callable[[Array], Array]) -> Any:
    """The same argument in another layout of memory where it is an array."""
    if isinstance(value, (list, tuple)):
        return [relaid(part, relay) for part in value]
    return relay(value) if isinstance(value, np.ndarray) and value.ndim else value


def present(gradients: Any) -> tuple[Array, ...]:
    """The gradients that are not None, lists of them one after another."""
    found: list[Array] = []
    for gradient in as_tuple(gradients):
        if isinstance(gradient, list):
            found += gradient
        elif gradient is not None:
            found.append(gradient)
    return tuple(found)


def op_of(case: Case) -> Op:
    """A Case with one array x as an Op."""

    def smallest_deviation(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
        if not case.has_stats:
            return 1.0
        *_, rstd = case.twin(*inputs, **keywords, return_stats=True)
        return float(1 / np.max(rstd, initial=1.0))

    return Op(
        case.name,
        case.make_inputs,
        case.variants,
        case.differentiable,
        lambda inputs, keywords: (case.forward_bound(inputs, keywords),),
        lambda dys, inputs, keywords: tuple(
            bound
            for bound, value in zip(
                case.backward_bounds(dys[0], inputs, keywords),
                (inputs[case.positional.index(name)] for name in case.differentiable),
                strict=True,
            )
            if value is not None
        ),
        bending=smallest_deviation,
    )
