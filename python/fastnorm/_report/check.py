"""Every op against its twin on this machine: on every instruction set, type, variant and several shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .. import _backend, _specs, runtime
from .._specs import Array, Sample, Spec, make_sample, mapped
from .accuracy import Outcome, judge
from .console import Console

# One lane and many, a whole and a broken vector, more than one register block, no rows; the last shape has
# enough rows for several threads.
SHAPES: tuple[tuple[int, ...], ...] = ((1,), (7,), (3, 64), (0, 8), (2, 3, 33), (5, 4097), (512, 96))
QUICK_SHAPES: tuple[tuple[int, ...], ...] = ((7,), (3, 64), (5, 1000))
DEVIATION = 2.0  # activations bend within a unit or two and have tails beyond
LARGE_MEAN = 1e6  # times the deviation: norms have to survive it


def check(console: Console, *, quick: bool = False) -> bool:
    """Run the checks, print a table of the largest errors and return whether every contract was kept."""
    targets = list(runtime.available_targets()) if _backend.name() == "native" else ["reference"]
    cases = [(*call, dtype) for call in _specs.calls() for dtype in _specs.dtypes()]
    outcomes: dict[tuple[int, str], Outcome] = {}
    with console.progress(len(targets) * len(cases)) as advance:
        for target in targets:
            with _forced(target):
                for index, (spec, backward, dtype) in enumerate(cases):
                    advance(f"{spec.called(backward=backward)} {dtype.name} {target}")
                    outcomes[index, target] = _worst(spec, backward, dtype, quick)
    rows, bad = [], []
    for index, (spec, backward, dtype) in enumerate(cases):
        contract = spec.contract_of(dtype, backward=backward)
        found = [outcomes[index, target] for target in targets]
        if not all(outcome.kept for outcome in found):
            bad.append(index)
        errors = [*(outcome.error for outcome in found), contract.bound]
        cells = [_format(error, contract.unit) for error in errors]
        rows.append([spec.called(backward=backward), dtype.name, contract.unit, *cells])
    console.table(
        "Largest error against the float64 twin", ["op", "type", "unit", *targets, "allowed"], rows, bad
    )
    if _backend.name() == "reference":
        console.line("The reference backend is active: these are the twins against themselves in float64.")
    console.line(f"{len(bad)} of {len(rows)} broke the contract." if bad else "Every op keeps its contract.")
    return not bad


def samples(
    spec: Spec, dtype: np.dtype[Any], *, backward: bool = False, quick: bool = False
) -> Iterator[Sample]:
    """Generate the arguments with which an op is tried."""
    rng = np.random.default_rng(0)
    shapes = QUICK_SHAPES if quick else SHAPES
    unit = spec.contract_of(np.dtype(np.float32), backward=backward).unit
    if unit == "relative":
        # Norms of one or two numbers are nearly constant: their gradient is what eps leaves of a
        # cancellation.
        shapes = tuple(shape for shape in shapes if shape[-1] > 2)
    shapes = tuple(_with_axes(shape, spec.axes) for shape in shapes)
    for variant in spec.checked_of(backward=backward):
        make = partial(make_sample, spec, dtype=dtype, rng=rng, variant=variant, backward=backward)
        for shape in shapes:
            yield make(shape, deviation=DEVIATION)
        yield _every_other(make(_with_axes((6, 65), spec.axes)))
        if unit == "norm" and dtype == np.float32:
            yield make(shapes[-1], mean=LARGE_MEAN)


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


def _worst(spec: Spec, backward: bool, dtype: np.dtype[Any], quick: bool) -> Outcome:
    with np.errstate(all="ignore"):
        tried = samples(spec, dtype, backward=backward, quick=quick)
        outcomes = [judge(sample, sample.call()()) for sample in tried]
    return max(outcomes, key=lambda outcome: outcome.error)


def _format(error: float, unit: str) -> str:
    return f"{error:.1e}" if unit == "relative" or error >= 1000 else f"{error:.2f}"


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
