"""Every op against its twin on this machine: on every instruction set, type, variant and several shapes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from .. import _backend, runtime
from .console import Console
from .contracts import CONTRACTS, Outcome, bound_of, judge, unit_of
from .samples import DENSE, NETWORKS, Sample, make_sample, op_names, optional_names, parameter_axis

PER_ROW = ("target", "dloss")  # of a loss over classes: they have no class axis

# One lane and many, a whole and a broken vector, more than one register block, no rows; the last shape has
# enough rows for several threads.
SHAPES: tuple[tuple[int, ...], ...] = ((1,), (7,), (3, 64), (0, 8), (2, 3, 33), (5, 4097), (512, 96))
QUICK_SHAPES: tuple[tuple[int, ...], ...] = ((7,), (3, 64), (5, 1000))
DEVIATION = 2.0  # activations bend within a unit or two and have tails beyond
LARGE_MEAN = 1e6  # times the deviation: norms have to survive it


def dtypes() -> list[np.dtype[Any]]:
    """Return the types to try, bfloat16 where ml_dtypes is installed."""
    found: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)]
    with suppress(ImportError):
        found.append(np.dtype(importlib.import_module("ml_dtypes").bfloat16))
    return found


def check(console: Console, *, quick: bool = False) -> bool:
    """Run the checks, print a table of the largest errors and return whether every contract was kept."""
    targets = list(runtime.available_targets()) if _backend.name() == "native" else ["reference"]
    cases = [(op, dtype) for op in op_names() for dtype in dtypes()]
    outcomes: dict[tuple[int, str], Outcome] = {}
    with console.progress(len(targets) * len(cases)) as advance:
        for target in targets:
            with _forced(target):
                for index, (op, dtype) in enumerate(cases):
                    advance(f"{op} {dtype.name} {target}")
                    outcomes[index, target] = _worst(op, dtype, quick)
    rows, bad = [], []
    for index, (op, dtype) in enumerate(cases):
        contract, unit = CONTRACTS[op], unit_of(CONTRACTS[op], dtype)
        found = [outcomes[index, target] for target in targets]
        if not all(outcome.kept for outcome in found):
            bad.append(index)
        errors = [_format(outcome.error, unit) for outcome in found]
        rows.append([op, dtype.name, unit, *errors, _format(bound_of(contract, dtype), unit)])
    console.table(
        "Largest error against the float64 twin", ["op", "type", "unit", *targets, "allowed"], rows, bad
    )
    if _backend.name() == "reference":
        console.line("The reference backend is active: these are the twins against themselves in float64.")
    console.line(f"{len(bad)} of {len(rows)} broke the contract." if bad else "Every op keeps its contract.")
    return not bad


def samples(op: str, dtype: np.dtype[Any], *, quick: bool = False) -> Iterator[Sample]:
    """Generate the arguments with which an op is tried."""
    rng = np.random.default_rng(0)
    shapes = QUICK_SHAPES if quick else SHAPES
    if CONTRACTS[op].unit == "relative":
        # Norms of one or two numbers are nearly constant: their gradient is what eps leaves of a
        # cancellation.
        shapes = tuple(shape for shape in shapes if shape[-1] > 2)
    optional = optional_names(op)
    shapes = tuple(_with_axes(shape, CONTRACTS[op].axes) for shape in shapes)
    for keywords in CONTRACTS[op].variants:
        for shape in shapes:
            for without in ([], optional) if optional else ([],):
                yield make_sample(
                    op, shape, dtype, rng, without=without, deviation=DEVIATION, keywords=keywords
                )
        sample = make_sample(op, _with_axes((6, 130), CONTRACTS[op].axes), dtype, rng, keywords=keywords)
        yield _every_other(sample)
        if CONTRACTS[op].unit == "norm" and dtype == np.float32:
            yield make_sample(op, shapes[-1], dtype, rng, mean=LARGE_MEAN, keywords=keywords)


def _every_other(sample: Sample) -> Sample:
    """Return the same call on every other column, in place."""
    x, axis = sample.x, parameter_axis(sample.op, sample.keywords)
    columns = (slice(None),) * (axis % x.ndim) + (slice(None, None, 2),)
    thinned = {}
    for name, array in sample.arrays.items():
        if name in PER_ROW and array.ndim < x.ndim:
            thinned[name] = array
        elif sample.op in NETWORKS and isinstance(array, list):
            first, last = array
            thinned[name] = [first[::2] if first.ndim == 2 else first, last[..., ::2]]
        elif sample.op in DENSE and array.ndim == 2 and name.startswith("w"):
            thinned[name] = array[::2, ::2]
        else:
            thinned[name] = array[columns] if array.shape == x.shape else array[..., ::2]
    return Sample(sample.op, thinned, sample.keywords)


def _with_axes(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Return the shape with as many axes at least, the new ones in front."""
    return (5,) * (axes - len(shape)) + shape


def _worst(op: str, dtype: np.dtype[Any], quick: bool) -> Outcome:
    with np.errstate(all="ignore"):
        outcomes = [judge(sample, sample.call()()) for sample in samples(op, dtype, quick=quick)]
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
