"""Calls of the ops, good and bad: good ones, some of whose parts are exchanged for others.

A plan says what a call is made of, so that it can be made afresh for each run: the arrays of two runs are
equal and share no memory.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from math import prod
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from bits.calls import HALVES, Op, as_tuple
from bits.kinds import ALONG_AXIS, CLASSES, ELEMENTS, GATES, LABELS, NORMS, SQUARES, Shape, Variant
from bits.numbers import DTYPES, plain
from drawn_values import another_way, changes_of
from hypothesis import strategies as st
from layouts import LAYOUTS, WRITABLE
from numpy.typing import NDArray

Array = NDArray[Any]
Path = tuple[Any, ...]  # the name of an argument, and an index where that is a sequence
Choose = Callable[[Sequence[Any]], Any]  # how a test takes one of several: drawn, or by random numbers

LARGEST_SHAPE = 2_500
# Shapes for kinds of ops that take any.
ANY_SHAPE = (ALONG_AXIS, CLASSES, ELEMENTS, GATES, LABELS, NORMS, SQUARES)
OTHER_SHAPES = ((6,), (1,), (2, 3, 4), (0,), (3, 0), (1, 1, 1, 2), (2, 1))

STRUCTURES = ("missing", "unknown", "twice", "too many", "misspelt")
OUTS = (
    *WRITABLE,
    "first input",
    "an input",
    "view of an input",
    "overlap",
    "reversed input",
    "read_only",
    "swapped",
    "another dtype",
    "another shape",
    "zero strides",
    "list",
    "masked",
    "single",
    "pair",
    "shared pair",
    "text",
)


class Subject:
    """An op or its backward."""

    def __init__(self, name: str, backward: bool) -> None:
        self.op = Op(name)
        self.backward = backward
        self.function = self.op.backward if backward else self.op.forward
        self.parameters = dict(inspect.signature(self.function).parameters)
        self.variants = [v for v in self.op.variants() if v.label != "special values"]
        self._like: dict[tuple[str, str, Shape], list[tuple[Shape, np.dtype[Any]]]] = {}

    @cached_property
    def positional(self) -> list[str]:
        """The names of the arguments that can be given by position."""
        return [name for name, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]

    def shapes(self, variant: Variant) -> list[Shape]:
        """Return the small shapes of a variant."""
        found = [shape for shape in variant.shapes if prod(shape) <= LARGEST_SHAPE]
        if self.op.kind in ANY_SHAPE and "axis" not in variant.options:
            found += OTHER_SHAPES
        return found or sorted(variant.shapes, key=prod)[:1]

    def results(self, variant: Variant, dtype: str, shape: Shape) -> list[Array]:
        """Return arrays of the shapes and dtypes of the forward's results."""
        key = variant.label, dtype, shape
        if key not in self._like:
            given = self.op.arguments(variant, shape, dtype, plain)
            with fastnorm.backend("reference"):
                try:
                    found = as_tuple(self.op.forward(**own(given)))
                except ValueError:  # a shape that the op does not take
                    found = (given[self.op.positional[0]],) * 3
            self._like[key] = [(np.shape(y), np.asarray(y).dtype) for y in found]
        return [np.full(size, 7, kind) for size, kind in self._like[key]]


@cache
def subject(name: str, backward: bool) -> Subject:
    """Return the op of this name, or its backward."""
    return Subject(name, backward)


class Plan(NamedTuple):
    """What a call is made of."""

    subject: Subject
    variant: Variant
    dtype: str
    shape: Shape
    changes: tuple[tuple[Path, str], ...] = ()
    out: str | None = None
    positional: int = 99  # arguments given by position, where they can be
    structure: str | None = None

    def __repr__(self) -> str:
        return (
            f"{self.subject.function.__name__}, {self.variant.label}, {self.dtype}, {self.shape}, "
            f"changes={self.changes}, out={self.out}, positional={self.positional}, "
            f"structure={self.structure}"
        )


class Call(NamedTuple):
    """A call that can be made once."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: dict[str, Any]
    state: Mapping[str, Array] = {}  # arrays that belong to an object, not to change when it refuses a call

    def otherwise(self) -> Call:
        """Return the same call with arguments that need rules."""
        args = tuple(map(another_way, self.args))
        keywords = {name: another_way(value) for name, value in self.keywords.items()}
        return Call(self.function, args, keywords, self.state)

    def arrays(self) -> dict[str, Array]:
        """Return all arrays among the arguments, by place."""
        names = list(inspect.signature(self.function).parameters)
        by_position = dict(zip([*names, *names], self.args, strict=False))
        return dict(arrays_in("", by_position)) | dict(arrays_in("", self.keywords))


def arrays_in(place: str, value: Any) -> Iterator[tuple[str, Array]]:
    if isinstance(value, np.ndarray):
        yield place, value
    elif isinstance(value, (tuple, list)):
        for number, part in enumerate(value):
            yield from arrays_in(f"{place}[{number}]", part)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from arrays_in(f"{place}{name}", part)


def own(value: Any) -> Any:
    """Return a copy of a value that shares no memory and can be written."""
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, dict):
        return {name: own(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(own, value))
    return value


def good_arguments(plan: Plan) -> dict[str, Any]:
    """Return the arguments by name before anything is changed, defaults included."""
    op = plan.subject.op
    given = op.arguments(plan.variant, plan.shape, plan.dtype, plain)
    if plan.subject.backward:
        results = plan.subject.results(plan.variant, plan.dtype, plan.shape)
        names = op.backward_names[: op.backward_names.index(op.positional[0])]
        dys = {name: plain(name, y.shape, plan.dtype) for name, y in zip(names, results, strict=False)}
        given = dys | {name: value for name, value in given.items() if name in op.backward_names}
    parameters = plan.subject.parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults | {name: own(value) for name, value in given.items()}


def make(plan: Plan) -> Call:
    """Return the call that a plan describes."""
    given = good_arguments(plan)
    for path, change in plan.changes:
        exchange(given, path, change)
    if plan.out is not None:
        given["out"] = out_of(plan.out, given, plan.subject.results(plan.variant, plan.dtype, plan.shape))
    names, positional = list(plan.subject.parameters), plan.subject.positional
    count = min(plan.positional, len(positional))
    if plan.structure == "too many":
        count = len(positional) + 1
    if plan.structure == "missing":
        del given[positional[0]]
        count = 0
    args = tuple(given[name] for name in names[:count])
    keywords = {name: given[name] for name in names[count:] if name in given}
    if plan.structure == "unknown":
        keywords["unknown"] = 1
    if plan.structure == "twice":
        keywords[names[0]] = given[names[0]]
        args = args or (given[names[0]],)
    if plan.structure == "misspelt":
        keywords[f"{names[-1]}s"] = keywords.pop(names[-1], None)
    return Call(plan.subject.function, args, keywords)


def at(given: dict[str, Any], path: Path) -> Any:
    """Return the value at a path."""
    value = given[path[0]]
    for index in path[1:]:
        value = value[index]
    return value


def changed(given: dict[str, Any], value: Any, change: str) -> Any:
    """Return what a change makes of a value."""
    if change != "another argument":
        return changes_of(value)[change](value)
    return [v for v in given.values() if isinstance(v, np.ndarray) and v is not value][-1]


def exchange(given: dict[str, Any], path: Path, change: str) -> None:
    """Put another value at a path; a change that the value there does not allow (any more) is left out."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            new = changed(given, at(given, path), change)
    except (LookupError, MemoryError, RuntimeError, OverflowError, TypeError, ValueError):
        return
    if len(path) == 1:
        given[path[0]] = new
    elif isinstance(sequence := given[path[0]], (list, tuple)):
        given[path[0]] = type(sequence)(new if i == path[1] else part for i, part in enumerate(sequence))


def out_of(kind: str, given: dict[str, Any], fresh: list[Array]) -> Any:
    """Return an `out` of this kind, which may exchange an input for a view of memory that both share."""
    names = [name for name, value in given.items() if type(value) is np.ndarray and value.ndim]
    y = fresh[0]
    first: Any = y
    if kind == "single":
        return y
    if kind == "pair":
        return y, y.copy()
    if kind == "shared pair":
        return y, y
    if kind in LAYOUTS:
        first = LAYOUTS[kind](y) if y.ndim else y
    elif kind in ("first input", "an input", "view of an input", "reversed input"):
        chosen = given[names[-1 if kind == "an input" else 0]] if names else y
        first = chosen[...] if kind == "view of an input" else chosen
        first = first[::-1] if kind == "reversed input" and names else first
    elif kind == "overlap" and names:
        x = given[names[0]]
        memory = np.zeros(max(x.size, y.size) + 1, x.dtype)
        given[names[0]] = memory[: x.size].reshape(x.shape)
        given[names[0]][...] = x
        first = memory[1 : y.size + 1].reshape(y.shape)
    elif kind == "another dtype":
        first = y.astype(np.float32 if y.dtype == np.float64 else np.float64)
    elif kind == "another shape":
        first = y[None]
    elif kind == "zero strides":
        first = np.lib.stride_tricks.as_strided(y, y.shape, (0,) * y.ndim)
    elif kind == "list":
        first = y.tolist()
    elif kind == "masked":
        first = np.ma.masked_array(y)
    elif kind == "text":
        first = "text"
    return (first, *fresh[1:]) if len(fresh) > 1 else first


def places(given: dict[str, Any]) -> list[Path]:
    """Return all paths to values."""
    paths: list[Path] = [(name,) for name in given if name != "out"]
    for name, value in given.items():
        if isinstance(value, (tuple, list)):
            paths += [(name, index) for index in range(len(value))]
    return paths


def names_of_changes(value: Any) -> list[str]:
    """Return the names of what may stand in the place of a value."""
    return [*changes_of(value), *(("another argument",) if isinstance(value, np.ndarray) else ())]


def single_changes(subject: Subject) -> Iterator[Plan]:
    """Every change of every argument by itself, every `out` and every structure, while variants, dtypes and
    shapes take turns.
    """
    turn = 0
    for variant in subject.variants:
        given = good_arguments(Plan(subject, variant, "float32", subject.shapes(variant)[0]))
        chosen = [path for path in places(given) if variant.label == "plain" or path[0] in variant.options]
        changes: list[tuple[Path, str]] = []
        for path in chosen:
            changes += [(path, change) for change in names_of_changes(at(given, path))]
        others: list[dict[str, Any]] = [{"changes": (change,)} for change in changes]
        if variant.label == "plain":
            others += [{"structure": structure} for structure in STRUCTURES]
            others += [{"out": out} for out in OUTS if "out" in subject.parameters] * 4
        for other in others:
            shapes, dtypes = subject.shapes(variant), list(DTYPES)
            # Steps that share no factor with the numbers of shapes and dtypes meet every pair of them.
            dtype, shape = dtypes[turn % len(dtypes)], shapes[turn // len(dtypes) % len(shapes)]
            yield Plan(subject, variant, dtype, shape, positional=turn % 5 or 99, **other)
            turn += 1


def drawn_plan(choose: Choose, subject: Subject, shapes: Callable[[Variant], list[Shape]]) -> Plan:
    """Return a plan of a call with several changes, each part of it chosen among what there is."""
    dtype = choose(list(DTYPES))
    variant = choose([v for v in subject.variants if dtype in HALVES or v.label != "float32 parameters"])
    shape = choose(shapes(variant))
    out = choose(OUTS) if "out" in subject.parameters and choose(range(4)) == 0 else None
    structure = choose(STRUCTURES) if choose(range(20)) == 0 else None
    plan = Plan(subject, variant, dtype, shape, (), out, choose(range(4)) or 99, structure)
    return plan._replace(changes=drawn_changes(choose, good_arguments(plan)))


def drawn_changes(choose: Choose, given: dict[str, Any]) -> tuple[tuple[Path, str], ...]:
    """Return up to three changes of the values of a call."""
    paths = places(given)
    changes = []
    for _ in range(choose((0, 1, 1, 1, 2, 2, 3))):
        path = choose(paths)
        changes.append((path, choose(names_of_changes(at(given, path)))))
    return tuple(changes)


@st.composite
def plans(draw: st.DrawFn, subject: Subject) -> Plan:
    """Draw a plan of a call with several changes."""
    return drawn_plan(lambda items: draw(st.sampled_from(items)), subject, subject.shapes)
