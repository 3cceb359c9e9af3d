"""Every op held to its contracts on this machine: accuracy beside the float64 twin on every type and
instruction set, and the same bits on each of these, and on any number of threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from .. import _backend, _specs, runtime
from .._specs import Array, Sample, Spec, Variant, family_of, flat, make_sample, mapped
from .accuracy import judge
from .console import GREEN, RED, Column, Console, Table

# Around what is done at once: lanes (16), registers of a step (64), columns between folds of float sums
# (256), chunks of columns (1024, 4096); rows that are packed (16) and blocks of rows (48). No rows, several
# axes, and enough rows for several threads.
SHAPES: tuple[tuple[int, ...], ...] = (
    *((1,), (7,), (15, 17), (16, 16), (17, 15), (3, 31), (3, 33), (47, 63), (48, 64), (49, 65)),
    *((3, 255), (3, 257), (0, 8), (2, 3, 33), (5, 1025), (3, 4097), (512, 96)),
)
QUICK_SHAPES: tuple[tuple[int, ...], ...] = ((7,), (17, 15), (49, 65), (3, 257))
MOST_COLUMNS = 300  # where a matrix of so many rows belongs to the problem, but for the full checks
SEVERAL = 10_000  # elements of x that may be shared by threads
DEVIATION = 2.0  # activations bend within a unit or two and have tails beyond
LARGE_MEAN = 1e6  # times the deviation: norms have to survive it


class Extent(Enum):
    """How much is tried: a few shapes, each shape and each variant once, or each variant at each shape."""

    QUICK = 0
    NORMAL = 1
    FULL = 2


@dataclass(frozen=True)
class Checked:
    """What the checks of an op, or its backward, found for a type.

    Attributes
    ----------
    op, family, dtype : str
    unit : str
        Of the errors.
    allowed : float
        The largest error by the contract.
    errors : dict of str to float
        The largest error on each target.
    cases : int
        Calls that were compared.
    broken : tuple of str
        A sentence for each contract that was not kept.
    """

    op: str
    family: str
    dtype: str
    unit: str
    allowed: float
    errors: dict[str, float]
    cases: int
    broken: tuple[str, ...]

    @property
    def error(self) -> float:
        """Largest error on any target."""
        return max(self.errors.values())

    @property
    def share(self) -> float:
        """Largest error in shares of what is allowed."""
        return self.error / self.allowed if self.allowed else math.inf if self.error else 0.0

    def row(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


def check(console: Console, extent: Extent = Extent.NORMAL) -> list[Checked]:
    """Run the checks and print the worst op of each family, or each op and type, and the verdict."""
    targets = list(runtime.available_targets()) if _backend.name() == "native" else ["reference"]
    dtypes = _specs.dtypes()
    calls = _specs.calls()
    full = extent is Extent.FULL
    table = console.table(_columns(calls, dtypes, targets, full=full))
    found: list[Checked] = []
    with console.progress("checks", len(calls) * len(dtypes)) as advance:
        for family, members in itertools.groupby(calls, lambda call: family_of(call[0].name)):
            of_family = []
            for (spec, backward), (index, dtype) in itertools.product(members, enumerate(dtypes)):
                advance(f"{spec.called(backward=backward)} {dtype.name}")
                tried = samples(spec, dtype, backward=backward, extent=extent, first=index)
                of_family.append(_checked(spec, backward, dtype, tried, targets))
                if full:
                    _row(table, of_family[-1], targets)
            found += of_family
            if not full:
                worst = max(of_family, key=lambda checked: (bool(checked.broken), checked.share))
                cells = [family, _format(worst.error), _allowed(worst), f"{worst.op} {worst.dtype}"]
                table.row([*cells, max(targets, key=worst.errors.__getitem__)], RED if worst.broken else "")
    _verdict(console, found, targets)
    return found


def samples(
    spec: Spec,
    dtype: np.dtype[Any],
    *,
    backward: bool = False,
    extent: Extent = Extent.NORMAL,
    first: int = 0,
) -> Iterator[Sample]:
    """Generate the arguments with which an op is tried; the first shape has the variant of number `first`."""
    rng = np.random.default_rng(0)
    shapes = QUICK_SHAPES if extent is Extent.QUICK else SHAPES
    unit = spec.contract_of(np.dtype(np.float32), backward=backward).unit
    if unit == "relative":
        # Norms of one or two numbers are nearly constant: their gradient is what eps leaves of a
        # cancellation.
        shapes = tuple(shape for shape in shapes if shape[-1] > 2)
    if extent is not Extent.FULL and spec.problem((1, 1)) != (1, 1):
        shapes = tuple(shape for shape in shapes if shape[-1] < MOST_COLUMNS)
    shapes = tuple(_with_axes(shape, spec.axes) for shape in shapes)
    variants = spec.checked_of(backward=backward)

    def make(variant: Variant, shape: tuple[int, ...], **x: float) -> Sample:
        return _of_one_sign(make_sample(spec, shape, dtype, rng, variant, backward=backward, **x))

    if extent is Extent.FULL:
        pairs = list(itertools.product(variants, shapes))
    else:
        count = max(len(variants), len(shapes))
        pairs = [(variants[(first + i) % len(variants)], shapes[i % len(shapes)]) for i in range(count)]
    for variant, shape in pairs:
        yield make(variant, shape, deviation=DEVIATION)
    for variant in variants if extent is Extent.FULL else [variants[first % len(variants)]]:
        yield _every_other(make(variant, _with_axes((6, 65), spec.axes)))
    if unit == "norm" and dtype == np.float32:
        for variant in variants:
            yield make(variant, shapes[-1], mean=LARGE_MEAN)


def _of_one_sign(sample: Sample) -> Sample:
    """Return a backward with gradients of results of one sign where one of its own is that of a number: a sum
    over all elements, which has no relative accuracy where it cancels.
    """
    if not sample.backward or not any(name in sample.keywords for name in sample.spec.differentiable):
        return sample
    gradients = {name: np.abs(sample.arrays[name]) for name in sample.spec.output_gradients}
    return replace(sample, arrays={**sample.arrays, **gradients})


def _every_other(sample: Sample) -> Sample:
    """Return the same call on arrays that have every other element along each axis of a larger one."""

    def apart(array: Array) -> Array:
        large = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
        view: Array = large[(slice(None, None, 2),) * array.ndim]
        view[...] = array
        return view

    arrays = {name: mapped(value, apart, integers=True) for name, value in sample.arrays.items()}
    return replace(sample, arrays=arrays)


def _with_axes(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Return the shape with as many axes at least, the new ones in front."""
    return (5,) * (axes - len(shape)) + shape


def _checked(
    spec: Spec, backward: bool, dtype: np.dtype[Any], tried: Iterator[Sample], targets: Sequence[str]
) -> Checked:
    contract = spec.contract_of(dtype, backward=backward)
    op = spec.called(backward=backward)
    errors = dict.fromkeys(targets, 0.0)
    other_bits: dict[str, None] = {}
    cases = 0
    broken: list[str] = []
    try:
        with np.errstate(all="ignore"):
            for sample in tried:
                cases += len(targets)
                _compare(sample, targets, errors, other_bits)
    except Exception as error:  # the others are to be checked all the same
        broken.append(f"{op} {dtype.name} raises {type(error).__name__}: {error}")
    broken += [
        f"{op} {dtype.name} on {target}: "
        f"error {_format(error)}, allowed {_number(contract.bound)} {contract.unit}"
        for target, error in errors.items()
        if not error <= contract.bound
    ]
    broken += [f"{op} {dtype.name} has other bits {where} than on {targets[0]}" for where in other_bits]
    family = family_of(spec.name)
    return Checked(op, family, dtype.name, contract.unit, contract.bound, errors, cases, tuple(broken))


def _compare(
    sample: Sample, targets: Sequence[str], errors: dict[str, float], other_bits: dict[str, None]
) -> None:
    """Run a call on all targets; raise their errors to its own and note where its bits are others."""
    exact = sample.exact()
    fused: list[bytes | None] | None = None  # on the first target with fused multiply-add
    for target in targets:
        with _forced(target):
            results = flat(sample.call()())
            errors[target] = max(errors[target], judge(sample, results, exact).error)
            if target in ("baseline", "reference"):
                continue
            bits = _bits(results)
            if fused is None:
                fused = bits
                if sample.x.size >= SEVERAL and runtime.get_num_threads() > 1:
                    with runtime.threads(1):
                        if _bits(flat(sample.call()())) != bits:
                            other_bits["on one thread"] = None
            elif bits != fused:
                other_bits[f"on {target}"] = None


def _bits(results: Sequence[Array | None]) -> list[bytes | None]:
    return [None if array is None else array.tobytes() for array in results]


def _columns(
    calls: Sequence[tuple[Spec, bool]],
    dtypes: Sequence[np.dtype[Any]],
    targets: Sequence[str],
    *,
    full: bool,
) -> list[Column]:
    op = max(len(spec.called(backward=backward)) for spec, backward in calls)
    dtype = max(len(dtype.name) for dtype in dtypes)
    of_targets = max(map(len, targets))
    if full:
        errors = [Column(target, max(len(target), 7), 2, group="largest error on") for target in targets]
        head = [Column("op", op, left=True), Column("type", dtype, left=True)]
        return [*head, *errors, Column("allowed", 14, 1, left=True)]
    family = max(len(family_of(spec.name)) for spec, _ in calls)
    return [
        Column("family", family, left=True),
        Column("error", 7),
        Column("allowed", 7, left=True),
        Column("worst op and type", op + 1 + dtype, 1, left=True),
        Column("target", of_targets, 2, left=True),
    ]


def _row(table: Table, checked: Checked, targets: Sequence[str]) -> None:
    errors = [_format(checked.errors[target]) for target in targets]
    allowed = f"{_number(checked.allowed)} {checked.unit}"
    table.row([checked.op, checked.dtype, *errors, allowed], RED if checked.broken else "")


def _verdict(console: Console, found: list[Checked], targets: Sequence[str]) -> None:
    console.line("norm: 2^-24 (|xhat weight| + |weight| + |bias|); no unit: relative to the norm")
    ops = len({checked.op for checked in found})
    types = len({checked.dtype for checked in found})
    cases = sum(checked.cases for checked in found)
    tried = f"{ops} ops, {types} types, {' and '.join(', '.join(targets).rsplit(', ', 1))}, {cases} cases"
    broken = [text for checked in found for text in checked.broken]
    if not broken:
        console.line(f"Every contract kept: {tried}.", GREEN)
    else:
        console.line(f"{len(broken)} contracts broken: {tried}.", RED)
        for text in broken:
            console.line(f"  {text}", RED)
        console.line(
            "Please report this as an issue of fastnorm, with the file that this writes: "
            "python -m fastnorm check --full --json broken.json"
        )
    if targets == ["reference"]:
        console.line("The reference backend is active: these are the twins against themselves in float64.")


def _allowed(checked: Checked) -> str:
    return _number(checked.allowed) + ("" if checked.unit == "relative" else f" {checked.unit}")


def _format(error: float) -> str:
    return f"{error:.1e}" if 0 < error < 0.005 or error >= 1000 else f"{error:.2f}"


def _number(bound: float) -> str:
    return f"{bound:.2g}"


@contextmanager
def _forced(target: str) -> Iterator[None]:
    """Run the block on one instruction set."""
    if target == "reference":
        yield
        return
    core = _backend.load_extension()
    before = core.active_target()
    core.set_target(target)
    try:
        yield
    finally:
        core.set_target(before)
