"""One comparison: a workload at one shape, checked, then timed for fastnorm and all peers in turns."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import fastnorm
import machine
import numpy as np
import peers
from fastnorm import _backend
from fastnorm._report.accuracy import Outcome, judge
from fastnorm._report.contenders import ADD, FASTNORM, copy_rates, peer_calls
from fastnorm._report.timing import Ratio, Timing, time_in_turns
from fastnorm._report.workloads import WORKLOADS
from fastnorm._specs import Call, Sample, flat
from numpy.typing import NDArray

FASTNORM_OUT, ADD_OUT = f"{FASTNORM} out=", f"{ADD} out="
OURS = {FASTNORM: ADD, FASTNORM_OUT: ADD_OUT}  # each with the np.add that it is held against
PER_ROW = ("target", "dloss")  # of a loss over classes: they have no class axis
BLOCK_ROWS = 1024  # rows that the twin sees at a time, so that float64 copies of a large array stay small
MEMORY_FACTOR = 16  # arrays of x's size that fastnorm, the peers and their temporaries need at worst


class BrokenContractError(Exception):
    """fastnorm's result is not what its contract promises: no timing is worth reporting."""


@dataclass(frozen=True)
class Request:
    """What to compare. `seconds` is the time for all rounds; 0 checks only."""

    workload: str
    shape: tuple[int, ...]
    threads: int
    dtype: str = "float32"
    seconds: float = 1.0
    peers: tuple[str, ...] = peers.DEFAULT

    def label(self) -> str:
        """Return a short name for the comparison."""
        shape = "x".join(map(str, self.shape))
        kind = "" if self.dtype == "float32" else f" {self.dtype}"
        return f"{self.workload} {shape}{kind}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Comparison:
    """The outcome of a request.

    Attributes
    ----------
    request : Request
        What was asked for.
    target : str
        Instruction set of fastnorm's kernels, or ``"reference"``.
    bytes_moved : int
        Inputs and results, each once.
    error, bound, unit : float, float, str
        Largest error against the float64 twin and what the contract allows.
    copy_rate : float
        Bytes a second, read and written, of the fastest copy that moves as many bytes with at most as many
        threads.
    copy_kind : str
        What did this copying.
    neighbours : float or None
        Share of the processor time of the machine that went to others meanwhile.
    times : mapping of str to Timing
        Per contender; empty where only the check was asked for.
    left_out : mapping of str to str
        Peers that are missing, with the reason.
    """

    request: Request
    target: str
    bytes_moved: int
    error: float
    bound: float
    unit: str
    copy_rate: float = 0.0
    copy_kind: str = ""
    neighbours: float | None = None
    times: Mapping[str, Timing] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def gain(self, ours: str, other: str) -> Ratio:
        """Return how many times as fast as another contender one of ours is."""
        return Ratio.of(self.times[other], self.times[ours])

    def peers(self) -> list[str]:
        """Return the names of the other libraries, the fastest first."""
        others = [name for name in self.times if name not in {*OURS, *OURS.values()}]
        return sorted(others, key=lambda name: self.times[name].median)

    def gain_at_best(self, ours: str) -> float:
        """Return the gain over all peers from the fastest round of each, which neighbours disturb least."""
        return min(self.times[name].best for name in self.peers()) / self.times[ours].best

    def copy_share(self, ours: str) -> float:
        """Return the speed relative to the copy, the fastest round of either."""
        return self.bytes_moved / self.times[ours].best / self.copy_rate

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """Return what `to_json` has written."""
        request = {**values["request"], "shape": tuple(values["request"]["shape"])}
        request["peers"] = tuple(request["peers"])
        times = {
            name: Timing(tuple(timing["seconds"]), timing["loops"])
            for name, timing in values["times"].items()
        }
        return cls(**{**values, "request": Request(**request), "times": times})


def fits(request: Request) -> bool:
    """Tell whether the machine has the memory for a comparison."""
    available = machine.available_bytes()
    return available is None or MEMORY_FACTOR * int(np.prod(request.shape)) * 4 < available


def compare(request: Request) -> Comparison:
    """Check and time one request in this process, whose thread counts have been fixed before."""
    if "bfloat16" in request.dtype:
        import ml_dtypes  # noqa: F401  registers the type with NumPy
    sample = WORKLOADS[request.workload].sample(request.shape, request.dtype)
    results = flat(sample.call()())
    outcome = validate(sample, results)
    target = "reference" if _backend.name() == "reference" else fastnorm.active_target()
    unit = sample.contract.unit
    comparison = Comparison(request, target, sample.bytes_moved(results), outcome.error, outcome.bound, unit)
    if not outcome.kept:
        raise BrokenContractError(
            f"{request.label()} on {target}: error {outcome.error:.3g}, allowed {outcome.bound:.3g}"
        )
    if request.seconds <= 0:
        return comparison

    calls, left_out = contenders(sample, request, results)
    del results
    with machine.neighbours() as watched:
        copies = [copy_rates(comparison.bytes_moved // 2, request.threads)]
        times = time_in_turns(calls, seconds=request.seconds, threads=request.threads)
        copies.append(copy_rates(comparison.bytes_moved // 2, request.threads))
    calls.clear()
    fastnorm.clear_cache()
    gc.collect()
    rate, kind = max((rate, kind) for rates in copies for kind, rate in rates.items())
    return replace(
        comparison,
        copy_rate=rate,
        copy_kind=kind,
        neighbours=watched.share,
        times=times,
        left_out=left_out,
    )


def contenders(
    sample: Sample, request: Request, ours: Sequence[NDArray[Any] | None]
) -> tuple[dict[str, Call], dict[str, str]]:
    """Return the calls to time and, for the peers that are left out, the reason."""
    x = sample.x
    calls = {FASTNORM: sample.call(), ADD: Call(np.add, (x, x))}
    if sample.takes("out"):
        targets = tuple(np.empty_like(array) for array in ours if array is not None)
        calls[FASTNORM_OUT] = sample.call(out=targets if len(targets) > 1 else targets[0])
        calls[ADD_OUT] = Call(np.add, (x, x), {"out": np.empty_like(x)})
    found, missing = peers.load(request.peers, request.threads)
    theirs, left_out = peer_calls(sample, ours, found)
    return calls | theirs, missing | left_out


def validate(sample: Sample, results: Sequence[NDArray[Any] | None]) -> Outcome:
    """Compare results with the float64 twin, block of rows by block of rows.

    Results with the rows of x belong to them, the halves of a packed array too; all others are sums over the
    rows.
    """
    x = sample.x
    if x.ndim == 1 or not sample.spec.rowwise:
        return judge(sample, results)
    by_row = [result is not None and has_rows_of(x, result) for result in results]
    sums: list[Any] = [None] * len(results)
    worst = Outcome(0.0, sample.contract.bound)
    rows = x.shape[0]
    starts = range(0, rows, BLOCK_ROWS)
    if all(by_row):  # nothing to add up: the first, the middle and the last block will do
        starts = range(0, rows, max(BLOCK_ROWS, (rows - BLOCK_ROWS) // 2))
    for start in starts:
        block = slice(start, start + BLOCK_ROWS)
        arrays = {
            name: array[block] if has_rows_of(x, array) or name in PER_ROW else array
            for name, array in sample.arrays.items()
        }
        part = replace(sample, arrays=arrays)
        exact = part.exact()
        rowwise = [
            result[block]
            for result, rowed in zip(results, by_row, strict=True)
            if rowed and result is not None
        ]
        outcome = judge(
            part, tuple(rowwise), tuple(e for e, rowed in zip(exact, by_row, strict=True) if rowed)
        )
        worst = max(worst, outcome, key=lambda outcome: outcome.error)
        for index, values in enumerate(exact):
            if not by_row[index] and values is not None:
                sums[index] = values if sums[index] is None else sums[index] + values
    totals = tuple(result for result, rowed in zip(results, by_row, strict=True) if not rowed)
    if any(total is not None for total in totals):
        exact_totals = tuple(total for total, rowed in zip(sums, by_row, strict=True) if not rowed)
        worst = max(worst, judge(sample, totals, exact_totals), key=lambda outcome: outcome.error)
    return worst


def has_rows_of(x: NDArray[Any], array: Any) -> bool:
    """Tell whether an array has the shape of x but for the length of the rows."""
    return not isinstance(array, list) and array.ndim == x.ndim and array.shape[:-1] == x.shape[:-1]
