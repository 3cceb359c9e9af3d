"""What the tests of values, layouts, dtypes and arguments need to know about an op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from fastnorm import reference
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = tuple[Array | None, ...]

DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("float32", "float64", "float16")}
try:
    import ml_dtypes
except ImportError:
    pass
else:
    DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)


class Work(NamedTuple):
    """What a call has to do at least."""

    bytes: int  # read and written, each array once
    flops: int


@dataclass(frozen=True)
class Variant:
    """One way of calling an op: which optional arrays are given, and the keywords that differ from the
    defaults.
    """

    label: str
    given: tuple[str, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Case:
    """An op and its backward.

    `make_inputs` returns the forward's positional arguments, None for optional ones that the variant does not
    give. The bounds are absolute, one for each element, on the distance from the exact result.
    """

    name: str
    make_inputs: Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any], Variant], Inputs]
    variants: tuple[Variant, ...]
    differentiable: tuple[str, ...]
    has_axis: bool
    forward_bound: Callable[[Inputs, Mapping[str, Any]], Array]
    backward_bounds: Callable[[Array, Inputs, Mapping[str, Any]], tuple[Array, ...]]
    work: Callable[[tuple[int, ...], int, bool], Work]  # of shape, itemsize, and whether of the backward

    def __str__(self) -> str:
        return self.name

    @property
    def positional(self) -> tuple[str, ...]:
        """Names of the forward's positional arguments."""
        parameters = inspect.signature(self.twin).parameters.values()
        return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)

    @property
    def keywords(self) -> dict[str, Any]:
        """The forward's keywords and their defaults."""
        return keyword_defaults(self.twin)

    @property
    def backward_keywords(self) -> dict[str, Any]:
        """The backward's keywords and their defaults."""
        return keyword_defaults(self.twin_backward)

    @property
    def has_stats(self) -> bool:
        """Whether the forward can return statistics for the backward."""
        return "return_stats" in self.keywords

    @property
    def forward(self) -> Callable[..., Any]:
        """The op, which runs on the active backend."""
        return getattr(fastnorm, self.name)  # type: ignore[no-any-return]

    @property
    def backward(self) -> Callable[..., Any]:
        """Its backward, which runs on the active backend."""
        return getattr(fastnorm, f"{self.name}_backward")  # type: ignore[no-any-return]

    @property
    def twin(self) -> Callable[..., Any]:
        """The NumPy twin of the op."""
        return getattr(reference, self.name)  # type: ignore[no-any-return]

    @property
    def twin_backward(self) -> Callable[..., Any]:
        """The NumPy twin of the backward."""
        return getattr(reference, f"{self.name}_backward")  # type: ignore[no-any-return]

    def exact(self, inputs: Inputs, keywords: Mapping[str, Any]) -> Any:
        """The result for the given values, computed and returned in float64."""
        return self.twin(*map(wide, inputs), **keywords)

    def exact_gradients(
        self, dy: Array, inputs: Inputs, keywords: Mapping[str, Any]
    ) -> tuple[Array | None, ...]:
        """The gradients for the given values, computed and returned in float64."""
        return as_tuple(self.twin_backward(wide(dy), *map(wide, inputs), **keywords))


def keyword_defaults(op: Callable[..., Any]) -> dict[str, Any]:
    """The keywords of a function and their defaults."""
    parameters = inspect.signature(op).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def wide(x: Array | None) -> Array | None:
    """The same values in float64."""
    return None if x is None else x.astype(np.float64)


def as_tuple(results: Any) -> tuple[Any, ...]:
    """The results of an op as a tuple, also where there is only one."""
    return results if isinstance(results, tuple) else (results,)


def normal(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any], mean: float = 0.0) -> Array:
    """Normally distributed numbers of deviation 1."""
    return (mean + rng.standard_normal(tuple(shape))).astype(dtype)


def label(value: object) -> str | None:
    """A readable id for pytest."""
    return (
        str(value) if isinstance(value, (Variant, np.dtype, tuple)) or hasattr(value, "make_inputs") else None
    )
