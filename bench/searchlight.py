"""Time every op, variant, type and layout beside its NumPy twin and a copy of as many bytes, slowest first.

::

    python bench/searchlight.py --op mse_loss,softmax --dtype float32 --layout C,F --json found.json
    python bench/searchlight.py --record bench/searchlight.json
    python bench/searchlight.py --check bench/searchlight.json

The cases follow from the specifications of the ops, at a shape that stays in the cache and at a small one.
`gain` is the time of the twin, `share` that of the copy, over the op's, within rounds of one run: neither is
a time. With `--check` a fixed sample of the cases is held to a record; what has fallen to less than half in
both is timed again after the others, and fails if it stays there. The copy is NumPy's, on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from fastnorm import reference
from fastnorm._report.files import refusal
from fastnorm._report.machine import describe
from fastnorm._report.timing import Ratio, time_in_turns
from fastnorm._report.workloads import format_shape
from fastnorm._specs import Array, Call, Sample, Spec, Variant, calls, dtypes, flat, make_sample, mapped

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from layouts import column_major, every_other, reversed_axes, transposed

Shape = tuple[int, ...]
Relay = Callable[[str, Array, Sample], Array]

CACHED, CACHED_CHANNELS, CACHED_PRODUCT = (512, 768), (8, 64, 28, 28), (64, 96)
SMALL, SMALL_CHANNELS = (4, 64), (2, 16, 3, 3)
ROUNDS = (3, 50)
SECONDS = 0.02  # for the rounds of a case
SLOW_TWIN_SECONDS = 5e-3  # a twin that takes longer is called once, outside the rounds
SAMPLE = 3  # cases of each op and each backward that are held to the record
CHECK_SECONDS = 0.05
FALLEN = 0.5
# Other programs on the machine take the cache that a case's arrays lie in, but not the copy's fewer ones, for
# seconds: of 157 cases on an idle Zen 4, 22 varied by 1.6 to 4 between runs. So repeats come some time later.
RETRIES = 10
PAUSE_SECONDS = 3
SLOW_GAIN, SLOW_SHARE = 1.5, 0.1


@dataclass(frozen=True)
class Case:
    """An op or its backward in one variant, type and layout, at one shape."""

    spec: Spec
    backward: bool
    variant: Variant
    dtype: np.dtype[Any]
    layout: str
    small: bool
    stats: bool = False  # a backward that is given the statistics of the forward

    @property
    def shape(self) -> Shape:
        """The shape of x that the problem follows from."""
        if self.spec.keywords.get("axis") == 1:
            return SMALL_CHANNELS if self.small else CACHED_CHANNELS
        return SMALL if self.small else CACHED_PRODUCT if self.is_product else CACHED

    @property
    def is_product(self) -> bool:
        """Whether the problem is more than a shape: then products of matrices take the time, not memory."""
        return self.spec.problem(CACHED) != CACHED

    def __str__(self) -> str:
        """Return what identifies the case."""
        words = [self.spec.called(backward=self.backward), f"'{self.variant}'", *(["stats"] * self.stats)]
        return " ".join([*words, self.dtype.name, self.layout, format_shape(self.shape)])

    def sample(self) -> Sample | None:
        """Return the arguments, None where the layout changes none of them."""
        rng = np.random.default_rng(0)
        made = make_sample(self.spec, self.shape, self.dtype, rng, self.variant, backward=self.backward)
        made = made.with_stats() if self.stats else made
        relay = LAYOUTS[self.layout]
        if relay is None:
            return made
        relaid = {
            name: mapped(value, lambda array, name=name: relay(name, array, made), integers=True)  # type: ignore[misc]
            for name, value in made.arrays.items()
        }
        same = all(
            old is new
            for old, new in zip(flat([*made.arrays.values()]), flat([*relaid.values()]), strict=True)
        )
        return None if same else replace(made, arrays=relaid)


def everywhere(change: Callable[[Array], Array], axes: int = 2) -> Relay:
    """Another layout of every array of so many axes."""
    return lambda name, array, sample: change(array) if array.ndim >= axes else array


def channels_last(array: Array) -> Array:
    """The second axis innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def mixed(name: str, array: Array, sample: Sample) -> Array:
    """All but x in Fortran order."""
    return array if array.ndim < 2 or array is sample.x else column_major(array)


def broadcast(name: str, array: Array, sample: Sample) -> Array:
    """Parameters that are one number, without a step from element to element."""
    is_parameter = array.shape != sample.x.shape and name in sample.spec.differentiable
    return np.broadcast_to(array.flat[0], array.shape) if is_parameter and array.ndim else array


LAYOUTS: Mapping[str, Relay | None] = {
    "C": None,
    "F": everywhere(column_major),
    "strided": everywhere(every_other),
    "reversed": everywhere(reversed_axes),
    "transposed": everywhere(transposed, 3),
    "channels-last": everywhere(channels_last, 3),
    "mixed": mixed,
    "broadcast": broadcast,
}


@dataclass(frozen=True)
class Found:
    """What a case was found to take: gain over its twin, share of the copy, seconds."""

    label: str
    is_product: bool
    gain: float
    share: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return numbers with three digits."""
        return {name: float(f"{getattr(self, name):.3g}") for name in ("gain", "share", "seconds")}


def cases(ops: Sequence[str], types: Sequence[str], layouts: Sequence[str]) -> Iterator[Case]:
    """Generate the cases of these ops (by the name of the forward or the backward), types and layouts."""
    for spec, backward in calls():
        if ops and spec.called(backward=backward) not in ops and spec.name not in ops:
            continue
        variants = [v for v in spec.variants if not (backward and "return_grad" in v.keywords)]
        for variant in variants:
            for dtype in dtypes():
                if types and dtype.name not in types:
                    continue
                for layout in layouts or LAYOUTS:
                    case = Case(spec, backward, variant, dtype, layout, small=False)
                    yield case
                    if layout == "C":
                        yield replace(case, small=True)
                        if backward and "stats" in spec.backward_keywords:
                            yield replace(case, stats=True)


def measure(case: Case, seconds: float) -> Found | None:
    """Time a case, None where its layout is not one of its own."""
    sample = case.sample()
    if sample is None:
        return None
    with np.errstate(all="ignore"):
        op, twin = sample.call(), sample.call(reference)
        moved = sample.bytes_moved(op())
        source = np.ones(max(moved // 16, 1))
        contenders = {"op": op, "copy": Call(np.copyto, (np.empty_like(source), source))}
        once = time.perf_counter()
        twin()
        once = time.perf_counter() - once
        if once < SLOW_TWIN_SECONDS:
            contenders["twin"] = twin
        times = time_in_turns(contenders, seconds=seconds, rounds=ROUNDS)
    share = Ratio.of(times["copy"], times["op"]).median
    gain = Ratio.of(times["twin"], times["op"]).median if "twin" in times else once / times["op"].median
    return Found(str(case), case.is_product, gain, share, times["op"].median)


def table(found: Sequence[Found], rows: int) -> str:
    """Return the slowest cases, and how many are slower than they should be."""
    lines = [f"{'gain':>7} {'of copy':>8} {'us':>9}"]
    lines += [f"{f.gain:7.2f} {f.share:8.1%} {f.seconds * 1e6:9.1f}  {f.label}" for f in found[:rows]]
    behind = sum(f.gain < 1 for f in found)
    slow = sum(f.gain < SLOW_GAIN for f in found)
    few = [f for f in found if f.share < SLOW_SHARE and not f.is_product]
    lines.append(
        f"{len(found)} cases: {behind} slower than the twin, {slow} ({slow / len(found):.1%}) below "
        f"{SLOW_GAIN} x, {len(few)} below {SLOW_SHARE:.0%} of a copy (products apart); "
        f"geometric mean of the gains {statistics.geometric_mean([f.gain for f in found]):.3g}"
    )
    lines += [f"{f.gain:7.2f} {f.share:8.1%}  {f.label}" for f in sorted(few, key=lambda f: f.share)[:rows]]
    return "\n".join(lines)


def sampled(every: Sequence[Case]) -> Iterator[Case]:
    """Choose a few cases of each op and each backward, always the same ones: the first, and others."""
    groups: dict[str, list[Case]] = {}
    for case in every:
        if not case.small:
            groups.setdefault(case.spec.called(backward=case.backward), []).append(case)
    for group in groups.values():
        others = sorted(group[1:], key=lambda case: zlib.crc32(str(case).encode()))
        yield from [group[0], *others[: SAMPLE - 1]]


def record(every: Sequence[Case], path: Path) -> None:
    """Write gains and shares of the sample, one case a line."""
    found = [f for case in sampled(every) if (f := measure(case, CHECK_SECONDS))]
    rows = ",\n".join(f"{json.dumps(f.label)}: {json.dumps(f.to_json())}" for f in found)
    head = json.dumps({**describe(), "threads": fastnorm.get_num_threads()})
    path.write_text(f'{{"machine": {head},\n"cases": {{\n{rows}\n}}}}\n', encoding="utf-8")
    print(f"{len(found)} cases written to {path}")


def check(every: Sequence[Case], path: Path) -> int:
    """Hold the sample to a record; the exit status is 1 where a case stays far below it."""
    recorded = json.loads(path.read_text(encoding="utf-8"))["cases"]
    held = [case for case in sampled(every) if str(case) in recorded]
    fallen, lines = held, []
    for retry in range(1 + RETRIES):
        if retry and fallen:
            time.sleep(PAUSE_SECONDS)
        found = [(case, measure(case, CHECK_SECONDS)) for case in fallen]
        fallen, lines = [], []
        for case, now in found:
            before = recorded[str(case)]
            if now and now.gain < FALLEN * before["gain"] and now.share < FALLEN * before["share"]:
                fallen.append(case)
                lines.append(
                    f"{now.label}: gain {now.gain:.3g}, recorded {before['gain']}; "
                    f"of copy {now.share:.1%}, recorded {before['share']:.1%}"
                )
    lines.append(f"{len(fallen)} of {len(held)} cases stay below half of what is recorded in {path}")
    print("\n".join(lines))
    return 1 if fallen or not held else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", default="", help="ops or backwards (default: all)")
    parser.add_argument("--dtype", default="", help="types (default: all)")
    parser.add_argument("--layout", default="", help=f"of {', '.join(LAYOUTS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of fastnorm (default: 1)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for a case (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=40, help="cases to print (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all cases to a file")
    parser.add_argument("--record", type=Path, help="write the sample that --check reads")
    parser.add_argument("--check", type=Path, help="hold a sample to its record")
    options = parser.parse_args(arguments)
    for path in filter(None, (options.json, options.record)):
        if reason := refusal(path):
            parser.error(reason)
    ops, types, layouts = (
        [w for w in text.split(",") if w] for text in (options.op, options.dtype, options.layout)
    )
    every = list(cases(ops, types, layouts))
    with fastnorm.threads(options.threads):
        if options.record:
            record(every, options.record)
            return 0
        if options.check:
            return check(every, options.check)
        found = sorted(filter(None, (measure(case, options.seconds) for case in every)), key=lambda f: f.gain)
    if not found:
        parser.error("no such case")
    print(table(found, options.rows))
    if options.json:
        rows = ",\n".join(f"{json.dumps(f.label)}: {json.dumps(f.to_json())}" for f in found)
        options.json.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
