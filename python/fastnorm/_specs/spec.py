"""What the tests, the benchmarks and ``python -m fastnorm`` have to know about an op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnorm

from .. import reference
from .bounds import NORM_ROUNDINGS

Array = NDArray[Any]
Shape = tuple[int, ...]
Arguments = tuple[Any, ...]  # the positional ones: arrays, None, numbers, integer arrays, lists of arrays
Bounds = tuple[Array, ...]
Pair = tuple[Array, Array]
Bad = tuple[str, Any, type[Exception]]  # an argument, a value that it must not have, the error

# Problems of the tests: single numbers, broken and whole vectors, more than a register block, several axes.
SHAPES: tuple[Shape, ...] = ((1, 1), (3, 7), (2, 64), (9, 33), (4, 130), (3, 1029), (2, 3, 18))
LARGE: tuple[Shape, ...] = ((513, 770), (5, 70_001), (20_011, 13))
BATCH = 37  # rows of which the tests take some away
# Problems of the benchmarks: from one short row, where the call itself is the cost, to 256 MB, where memory
# is.
TIMED: tuple[Shape, ...] = ((1, 64), (1, 768), (32, 768), (512, 768), (4096, 1024), (16384, 4096))


@dataclass(frozen=True)
class Variant:
    """One way of calling an op: which optional arrays are given, the keywords that differ from the defaults,
    and those positional arguments that are numbers.
    """

    label: str
    given: tuple[str, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the label."""
        return self.label


@dataclass(frozen=True)
class Contract:
    """What an op promises about its accuracy: the largest error of float32 and half results, counted in a
    unit.

    - ``"ULP"``: the distance between two neighbouring numbers of the result's type.
    - ``"norm"``: 2^-24 * (|xhat * weight| + |weight| + |bias|), since a small result of a cancellation
      between the product and the bias cannot have more correct digits than they have.
    - ``"relative"``: the norm of the error relative to the norm of the result.

    float16 and bfloat16 compute in float32 and round once at the end: of their errors half an ULP is taken
    off, and what is left is held to the float32 bound. In float64 the twin is no more exact than the op, and
    everything is held to `DOUBLE`.
    """

    unit: str
    bound: float

    def of(self, dtype: np.dtype[Any]) -> Contract:
        """Return what holds for x of a type."""
        return DOUBLE if dtype == np.float64 else self


EXACT = Contract("ULP", 0.0)
ROUNDED = Contract("ULP", 0.5)
NORM = Contract("norm", NORM_ROUNDINGS)
GRADIENT = Contract("relative", 1e-6)  # of norms and parameters, and products of matrices
DOUBLE = Contract("relative", 1e-14)


@dataclass(frozen=True)
class Workload:
    """A variant that is timed by the benchmarks: under the op's name and `suffix`, at `shapes` of x, forward
    and `backward`.
    """

    variant: Variant
    suffix: str = ""
    shapes: tuple[Shape, ...] = TIMED
    backward: bool = True


@dataclass(frozen=True)
class Draw:
    """Random arrays of a type. `mean` and `deviation` replace those which the op's specification chooses for
    x.
    """

    rng: np.random.Generator
    dtype: np.dtype[Any]
    mean: float | None = None
    deviation: float | None = None

    def normal(self, shape: Shape, mean: float = 0.0, deviation: float = 1.0) -> Array:
        """Normally distributed numbers."""
        return np.asarray(mean + deviation * self.rng.standard_normal(shape)).astype(self.dtype)

    def x(self, shape: Shape, mean: float = 0.0, deviation: float | Array = 1.0) -> Array:
        """The op's main input, of one deviation or one for each row."""
        mean = mean if self.mean is None else self.mean
        deviation = deviation if self.deviation is None else self.deviation
        return np.asarray(mean + deviation * self.rng.standard_normal(shape)).astype(self.dtype)


@dataclass(frozen=True)
class Spec:
    """An op and its backward.

    `inputs(draw, problem, variant)` returns the forward's positional arguments. A problem is a shape: that of
    x, unless the family says otherwise. The derived bounds are absolute, one array for each result of the
    forward (`forward_bounds(inputs, keywords)`) and for each gradient that is not None
    (`backward_bounds(gradients of the results, inputs, keywords)`), on the distance from what the twin
    returns in float64. The formulas are the op as NumPy users write it: peers of its speed, in the type of
    x, which the twins, written to be right, would not be.
    """

    name: str
    inputs: Callable[[Draw, Shape, Variant], Arguments]
    variants: tuple[Variant, ...]
    differentiable: tuple[str, ...]  # positional arguments that have gradients, in order
    contract: Contract
    backward_contract: Contract
    forward_bounds: Callable[[Arguments, Mapping[str, Any]], Bounds]
    backward_bounds: Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]
    formula: Callable[..., Any] | None = None
    backward_formula: Callable[..., Any] | None = None
    # The same as backward_bounds where the backward is given the forward's result y, on the distance from the
    # twin that is given it: `(gradients of the results, y, keywords)`.
    bounds_from_result: Callable[[Arguments, Array, Mapping[str, Any]], Bounds] | None = None
    # What ``python -m fastnorm`` holds to the contracts: else all variants. Contracts in ULP or relative to
    # the result leave out what cancels.
    checked: tuple[Variant, ...] | None = None
    workloads: tuple[Workload, ...] | None = None  # what is timed: else the first variant
    problem: Callable[[Shape], Shape] = lambda shape: shape  # of an x of this shape
    axes: int = 1  # the least number of axes that x needs
    rowwise: bool = True  # rows of x, and of what is shaped like it, may be checked apart
    shapes: tuple[Shape, ...] = SHAPES
    large: tuple[Shape, ...] = LARGE  # enough work for several threads
    empty: tuple[Shape, ...] = ((0, 5),)  # problems without rows
    # Of whose first axis results and dx depend on no other index; none where they do by nature.
    batches: tuple[Shape, ...] = tuple((BATCH, cols) for cols in (1, 5, 31, 64, 257, 1030))
    # The length over which the forward bends: by how far arguments may move for differences to be
    # derivatives.
    bending: Callable[[Arguments, Mapping[str, Any]], float] = lambda inputs, keywords: 1.0
    dense_results: bool = True  # a new result lies in memory in the order of x
    integer_arrays: tuple[str, ...] = ()  # arguments that may be arrays of integers too
    bad: tuple[Bad, ...] = ()

    def __str__(self) -> str:
        """Return the name."""
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

    def called(self, *, backward: bool) -> str:
        """The name of the op or of its backward."""
        return backward_name(self.name) if backward else self.name

    @property
    def positional(self) -> tuple[str, ...]:
        """Names of the forward's positional arguments."""
        return positional_names(self.twin)

    @property
    def keywords(self) -> dict[str, Any]:
        """The forward's keywords and their defaults."""
        return keyword_defaults(self.twin)

    @property
    def backward_keywords(self) -> dict[str, Any]:
        """The backward's keywords and their defaults."""
        return keyword_defaults(self.twin_backward)

    @property
    def output_gradients(self) -> tuple[str, ...]:
        """Names of the gradients of results that the backward takes."""
        names = positional_names(self.twin_backward)
        return names[: len(names) - len(self.positional)]

    @property
    def has_stats(self) -> bool:
        """Whether the forward can return statistics for the backward."""
        return "return_stats" in self.keywords

    @property
    def takes_result(self) -> bool:
        """Whether the backward takes the forward's result."""
        return "y" in self.backward_keywords

    def make_inputs(
        self, rng: np.random.Generator, problem: Shape, dtype: np.dtype[Any], variant: Variant
    ) -> Arguments:
        """The forward's positional arguments, None for optional ones that the variant does not give."""
        return self.inputs(Draw(rng, dtype), problem, variant)

    def contract_of(self, dtype: np.dtype[Any], *, backward: bool) -> Contract:
        """What the op or its backward promises for results of x's type."""
        return (self.backward_contract if backward else self.contract).of(dtype)

    def checked_of(self, *, backward: bool) -> tuple[Variant, ...]:
        """The variants of the forward or the backward that ``python -m fastnorm`` checks."""
        variants = self.variants if self.checked is None else self.checked
        # A backward has none of a forward that returns its gradient.
        return tuple(v for v in variants if not (backward and "return_grad" in v.keywords))

    @property
    def timed(self) -> tuple[Workload, ...]:
        """What is timed."""
        return (Workload(self.variants[0]),) if self.workloads is None else self.workloads

    def known_to_backward(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Those keywords of a forward call that the backward takes too."""
        known = self.backward_keywords
        return {name: value for name, value in keywords.items() if name in known}

    def exact(self, inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        """The results for the given values, computed and returned in float64."""
        return as_tuple(self.twin(*map(widened, inputs), **keywords))

    def exact_gradients(
        self, output_gradients: Arguments, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """The gradients that are not None for the given values, computed and returned in float64."""
        gradients = self.twin_backward(
            *map(widened, output_gradients), *map(widened, inputs), **self.known_to_backward(keywords)
        )
        return present(gradients)

    def gradients(
        self, output_gradients: Arguments, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """The gradients that are not None, from the active backend."""
        return present(self.backward(*output_gradients, *inputs, **self.known_to_backward(keywords)))

    def random_output_gradients(
        self, rng: np.random.Generator, inputs: Arguments, keywords: Mapping[str, Any]
    ) -> tuple[Array, ...]:
        """Gradients of the results to call the backward with, of their shapes and dtypes."""
        with fastnorm.backend("reference"):
            results = as_tuple(self.twin(*inputs, **keywords))[: len(self.output_gradients)]
        return tuple(np.asarray(rng.standard_normal(y.shape)).astype(y.dtype) for y in results)


def backward_name(op: str) -> str:
    """The name of an op's backward: mlp_backward is that of mlp_forward."""
    return f"{op.removesuffix('_forward')}_backward"


def positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments that may be given by position."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keywords of a function and their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def as_tuple(results: Any) -> tuple[Any, ...]:
    """The results of an op as a tuple, also where there is only one."""
    return results if isinstance(results, tuple) else (results,)


def is_float_array(value: Any) -> bool:
    """Whether a positional argument is an array of a float type (bfloat16 has kind V)."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fV"


def mapped(value: Any, function: Callable[[Array], Any], *, integers: bool = False) -> Any:
    """The same argument with a function of every float array in it, or every array."""
    if isinstance(value, (list, tuple)):
        return [mapped(part, function, integers=integers) for part in value]
    changes = isinstance(value, np.ndarray) and (integers or is_float_array(value))
    return function(value) if changes else value


def widened(value: Any) -> Any:
    """The same values in float64 where they are floats."""
    return mapped(value, lambda array: array.astype(np.float64))


def wide(array: Array) -> Array:
    """The same values in float64."""
    return array.astype(np.float64)


def present(gradients: Any) -> tuple[Array, ...]:
    """The gradients that are not None, lists of them one after another."""
    found: list[Array] = []
    for gradient in as_tuple(gradients):
        if isinstance(gradient, list):
            found += gradient
        elif gradient is not None:
            found.append(gradient)
    return tuple(found)
