"""Speed on this machine beside NumPy, other libraries and a copy of as many bytes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .. import _backend, _specs, runtime
from .._specs import Call, flat, formula_of, spec_of
from . import peers
from .check import Extent
from .console import BOLD, Column, Console
from .contenders import ADD, FASTNORM, copy_rates, peer_calls
from .peers import Peer
from .timing import Ratio, Timing, format_seconds, time_in_turns
from .workloads import WORKLOADS, Workload, format_shape

# What people use most, one line each.
TABLE = (
    *("layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward", "add_layer_norm"),
    *("add_rms_norm", "relu", "sigmoid", "tanh", "silu", "gelu", "gelu_backward", "gelu_tanh"),
    *("swiglu", "swiglu_backward", "geglu", "softmax", "softmax_backward", "cross_entropy", "linear"),
)
PICTURED = (
    *("layer_norm", "layer_norm_backward", "rms_norm", "softmax"),
    *("gelu", "gelu_backward", "silu", "swiglu"),
)
SMALL, MEDIUM, LARGE = (1, 64), (512, 768), (4096, 1024)
FULL_SHAPES = (SMALL, (32, 768), MEDIUM, LARGE)
SECONDS = {Extent.QUICK: 0.02, Extent.NORMAL: 0.1, Extent.FULL: 0.25}  # for all rounds of a measurement
ROUNDS = (3, 100)
SMALL_BYTES = 64 * 1024  # below, the time is that of the call and says nothing about memory
PRODUCTS = ("linear", "mlp")  # families whose time is that of the operations, not of the bytes
SAME_BYTES = 0.05  # copies that differ by less are as fast


@dataclass(frozen=True)
class Figures:
    """The times of a workload at one shape, in float32.

    Attributes
    ----------
    label : str
    shape : str
    threads : int
    bytes_moved : int
        Inputs and results, each once.
    copy_rate : float
        Bytes a second of a copy that moves as many; 0 where that says nothing.
    times : mapping of str to Timing
        Of fastnorm, np.add and the peers.
    left_out : mapping of str to str
        Peers that are missing, with the reason.
    """

    label: str
    shape: str
    threads: int
    bytes_moved: int
    copy_rate: float
    times: Mapping[str, Timing]
    left_out: Mapping[str, str]

    def gain(self, name: str) -> float | None:
        """How many times as fast as another one fastnorm is."""
        return Ratio.of(self.times[name], self.times[FASTNORM]).median if name in self.times else None

    @property
    def copy_share(self) -> float | None:
        """Speed relative to the copy, the fastest round of either."""
        return self.bytes_moved / self.times[FASTNORM].best / self.copy_rate if self.copy_rate else None

    def row(self) -> dict[str, Any]:
        """Return what a summary of the benchmarks has, too."""
        return {
            "workload": self.label,
            "shape": self.shape,
            "dtype": "float32",
            "threads": self.threads,
            "bytes_moved": self.bytes_moved,
            "copy_gb_per_s": round(self.copy_rate / 1e9, 2),
            "seconds": {name: float(f"{timing.median:.4g}") for name, timing in self.times.items()},
            "left_out": dict(self.left_out),
        }


def speed(console: Console, extent: Extent = Extent.NORMAL) -> list[Figures]:
    """Time the ops that people use most, or all, and print them beside np.add, NumPy and a copy."""
    if extent is Extent.FULL:
        found = compare(console, extent, list(WORKLOADS), None, ["numpy"])
    else:
        console.line(f"Speed in float32, {_on()}: times as fast as np.add, as NumPy; share of a copy", BOLD)
        found = _lines(console, extent)
    if formula_of(spec_of("gelu"), {}) is None:
        console.line("SciPy is not there: no exact gelu in NumPy to compare with (pip install scipy)")
    gains = [gain for figures in found if (gain := figures.gain("numpy")) is not None]
    console.line(f"Geometric mean: {statistics.geometric_mean(gains):.3g} times as fast as NumPy.")
    return found


def compare(
    console: Console,
    extent: Extent,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]] | None,
    libraries: Sequence[str],
) -> list[Figures]:
    """Time workloads beside the libraries that are installed, and print a line for each and shape: those of
    the benchmarks where none are given.
    """
    threads = _threads()
    found, missing = peers.load(libraries, threads)
    for name, reason in missing.items():
        console.line(f"{name}: {reason}; pip install {name} adds it to the comparison")
    cases = [
        (name, shape)
        for name in names
        for shape in (shapes or WORKLOADS[name].shapes)
        if WORKLOADS[name].takes(shape) and (shapes or np.prod(shape) <= np.prod(LARGE))
    ]
    for name in names:
        for shape in shapes or ():
            if not WORKLOADS[name].takes(shape):
                console.line(f"{name} {format_shape(shape)}: left out, as it cannot be called at this shape")
    columns = [
        _first(names),
        Column("shape", max((len(format_shape(shape)) for _, shape in cases), default=5)),
    ]
    columns += [Column("time", 7, group=FASTNORM), Column("copy", 4, 2, group=FASTNORM)]
    for name in found:
        columns += [Column("time", 7, 1, group=name), Column("gain", 5, group=name)]
    plural = "s" if threads > 1 else ""
    console.line(
        f"Speed in float32 on {threads} thread{plural}; gain: how many times as fast fastnorm is", BOLD
    )
    table = console.table(columns)
    measured: list[Figures] = []
    with console.progress("times", len(cases)) as advance:
        for name, shape in cases:
            advance(f"{name} {format_shape(shape)}")
            try:
                figures = measure(name, WORKLOADS[name], shape, found, SECONDS[extent], threads)
            except Exception as error:  # such as arrays for which there is no memory: the others are timed
                reason = f"{type(error).__name__}: {error}"
                console.line(f"{name} {format_shape(shape)}: left out, {reason}")
                continue
            cells = [name, figures.shape, _time(figures, FASTNORM), _percent(figures.copy_share)]
            for peer in found:
                cells += [_time(figures, peer), _times(figures.gain(peer))]
            table.row(cells)
            measured.append(figures)
    for figures in measured:
        for peer, reason in figures.left_out.items():
            if reason != "has no such op":
                console.line(f"{figures.label} {figures.shape}, {peer}: {reason}")
    return measured


def pictured(console: Console, measured: Sequence[Figures]) -> list[Figures]:
    """Return what has been measured of the workloads that a picture shows, and the shapes that lack."""
    shown = [figures for figures in measured if figures.label in PICTURED]
    have = {(figures.label, figures.shape) for figures in shown}
    lacking = [
        (name, shape) for name in PICTURED for shape in FULL_SHAPES if (name, format_shape(shape)) not in have
    ]
    found, _ = peers.load(["numpy"], _threads())
    with console.progress("picture", len(lacking)) as advance:
        for name, shape in lacking:
            advance(name)
            shown.append(measure(name, WORKLOADS[name], shape, found, SECONDS[Extent.NORMAL], _threads()))
    return shown


def measure(
    label: str,
    workload: Workload,
    shape: tuple[int, ...],
    found: Mapping[str, Peer],
    seconds: float,
    threads: int,
) -> Figures:
    """Time a workload at a shape beside np.add and the peers that compute the same."""
    sample = workload.sample(shape, "float32")
    results = flat(sample.call()())
    moved = sample.bytes_moved(results)
    theirs, left_out = peer_calls(sample, results, found)
    del results
    calls = {FASTNORM: sample.call(), ADD: Call(np.add, (sample.x, sample.x))}
    times = time_in_turns(calls | theirs, seconds=seconds, threads=threads, rounds=ROUNDS)
    says = moved > SMALL_BYTES and _specs.family_of(workload.spec.name) not in PRODUCTS
    rate = _copy_rate(round(np.log(moved) / SAME_BYTES), threads) if says else 0.0
    return Figures(label, format_shape(shape), threads, moved, rate, times, left_out)


@cache
def _copy_rate(step: int, threads: int) -> float:
    """Return bytes a second of a copy of about as many, which are counted in steps of a logarithm."""
    return max(copy_rates(round(np.exp(step * SAME_BYTES)) // 2, threads).values())


def _lines(console: Console, extent: Extent) -> list[Figures]:
    """One line for each op that people use."""
    # Twins, which are written to be right, take seconds where the ops take a millisecond.
    brief = extent is Extent.QUICK or _backend.name() == "reference"
    large = (MEDIUM,) if brief else (MEDIUM, LARGE)
    small = format_shape(SMALL)
    columns = [_first(TABLE), Column("time", 7, 1, group=small), Column(ADD, 6, 5, group=small)]
    for rank, shape in zip((0, 3), large, strict=False):
        group = format_shape(shape)
        columns += [Column("time", 7, rank, group=group), Column("NumPy", 5, rank, group=group)]
        columns.append(Column("copy", 4, rank + (1 if rank else 2), group=group))
    table, threads = console.table(columns), _threads()
    found, _ = peers.load(["numpy"], threads)
    measured: list[Figures] = []
    with console.progress("speed", len(TABLE)) as advance:
        for name in TABLE:
            advance(name)
            seconds, workload = SECONDS[extent], WORKLOADS[name]
            row = [measure(name, workload, shape, found, seconds, threads) for shape in (SMALL, *large)]
            cells = [name, _time(row[0], FASTNORM), _times(row[0].gain(ADD))]
            for figures in row[1:]:
                cells += [_time(figures, FASTNORM), _times(figures.gain("numpy"))]
                cells.append(_percent(figures.copy_share))
            table.row(cells)
            measured += row
    return measured


def _first(names: Sequence[str]) -> Column:
    return Column("op", max(map(len, names)), left=True)


def _time(figures: Figures, name: str) -> str:
    return format_seconds(figures.times[name].median) if name in figures.times else "-"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio < 0.995 else f"{ratio:.2g}x" if ratio < 99.5 else f"{ratio:.0f}x"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _threads() -> int:
    return runtime.get_num_threads() if _backend.name() == "native" else 1


def _on() -> str:
    threads = _threads()
    return f"{threads} thread{'s' if threads > 1 else ''}"
