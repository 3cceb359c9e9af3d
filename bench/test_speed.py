"""Every workload, first checked against its twin, then timed against the peers: ``pytest bench``.

All contenders of one benchmark are timed in turns, in a worker process that holds them all to the same number
of threads. What pytest-benchmark sees is a replay of fastnorm's samples, so that its tables, JSON files and
comparisons of runs work as usual; the other contenders are in ``extra_info``. ``--benchmark-disable`` leaves
the checks only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from comparison import Comparison
from fastnorm._report.contenders import FASTNORM
from fastnorm._report.workloads import WORKLOADS
from pytest_benchmark.fixture import BenchmarkFixture


class Replay:
    """A clock on which samples pass that were taken before."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def clock(self) -> float:
        """Return the time."""
        return self._seconds

    def play(self, samples: Iterator[float]) -> None:
        """Let the next sample pass."""
        self._seconds += next(samples, 0.0)


REPLAY = Replay()


@pytest.mark.benchmark(timer=REPLAY.clock)
def test_speed(
    benchmark: BenchmarkFixture,
    compare: Callable[..., Comparison],
    workload: str,
    shape: tuple[int, ...],
    threads: int,
) -> None:
    if not WORKLOADS[workload].takes(shape):
        pytest.skip("groups do not divide the channels")
    comparison = compare(workload, shape, threads, check_only=benchmark.disabled)
    benchmark.group = workload
    benchmark.extra_info["comparison"] = comparison.to_json()
    samples = comparison.times[FASTNORM].seconds if comparison.times else (0.0,)
    benchmark.pedantic(REPLAY.play, args=(iter(samples),), rounds=len(samples))  # type: ignore[no-untyped-call]
