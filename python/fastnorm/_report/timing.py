"""Timing of several calls against each other on a machine that does other things as well.

All calls of a comparison run in one process and in turns: every round times each of them once, in an order
that changes, so that a slow phase of the machine hits all of them. Reported are the median over the rounds
and ratios paired by round, which such a phase hardly moves.
"""

from __future__ import annotations

import random
import statistics
import time
import timeit
from collections.abc import Mapping
from dataclasses import dataclass

from .._specs import Call

SAMPLE_SECONDS = 1e-3  # a timed sample lasts about this long: small calls run in loops
WARM_UP_SECONDS = 1e-3  # the call before has filled the caches with its own data
# Threads of other libraries that wait for more work run on: GNU OpenMP's for 25 ms, OpenBLAS's for 2^28 ticks
# of the processor's clock (105 ms at 2.6 GHz), in which a product of 1024x1024 on two threads took twice as
# long. Systems count the time of a thread that runs in steps of 1 to 4 ms.
WATCHED_SECONDS, IDLE_SECONDS, LONGEST_PAUSE_SECONDS = 0.012, 0.002, 0.3
LONG_CALL_SECONDS = 5e-3  # longer calls bring their own data into any cache: no warm-up


def timer_of(call: Call) -> timeit.Timer:
    """Return the timer of the bare statement ``function(a0, a1, ..., name=value)``."""
    values = {f"a{index}": value for index, value in enumerate(call.arguments)}
    passed = [*values, *(f"{name}=k_{name}" for name in call.keywords)]
    values |= {f"k_{name}": value for name, value in call.keywords.items()}
    return timeit.Timer(f"function({', '.join(passed)})", globals={"function": call.function, **values})


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one number a round, and how many calls made one of these numbers."""

    seconds: tuple[float, ...]
    loops: int

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Fastest round."""
        return min(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How many times longer one call takes than another: median and quartiles of the ratios within the
    rounds.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numerator: Timing, denominator: Timing) -> Ratio:
        """Pair two timings of one `time_in_turns` by round."""
        ratios = [a / b for a, b in zip(numerator.seconds, denominator.seconds, strict=True)]
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, relative to the median."""
        return (self.high - self.low) / self.median


class _Contender:
    """One call during a comparison."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.timer = timer_of(call)
        self.samples: list[float] = []
        self.timer.timeit(1)  # whatever a first call prepares
        loops, elapsed = 1, self.timer.timeit(1)
        while elapsed < SAMPLE_SECONDS / 2:
            # The faster of two: an interruption must not make the loop short for all rounds.
            loops *= 2
            elapsed = min(self.timer.repeat(2, loops))
        self.estimate = elapsed / loops
        self.loops = max(1, round(SAMPLE_SECONDS / self.estimate))

    @property
    def round_seconds(self) -> float:
        """Expected time of one `sample`."""
        warm_up = WARM_UP_SECONDS + self.estimate if self.estimate < LONG_CALL_SECONDS else 0.0
        return warm_up + self.loops * self.estimate

    def sample(self) -> None:
        """Time the call once for a round."""
        if self.estimate < LONG_CALL_SECONDS:
            self.timer.timeit(max(1, round(WARM_UP_SECONDS / self.estimate)))
        self.samples.append(self.timer.timeit(self.loops) / self.loops)


def wait_for_idle_threads() -> float:
    """Wait until the threads of this process have stopped, and return the seconds that it took."""
    begin = time.perf_counter()
    while (waited := time.perf_counter() - begin) < LONGEST_PAUSE_SECONDS:
        worked = time.process_time()
        time.sleep(WATCHED_SECONDS)
        if time.process_time() - worked < IDLE_SECONDS:
            break
    return waited + WATCHED_SECONDS


def time_in_turns(
    calls: Mapping[str, Call], *, seconds: float, threads: int = 1, rounds: tuple[int, int] = (5, 200)
) -> dict[str, Timing]:
    """Time the calls against each other.

    Parameters
    ----------
    calls : mapping of str to Call
        The contenders by name.
    seconds : float
        Time for all rounds of all calls together.
    threads : int
        How many each may use. Where there are several, what `spins` is waited for until it has stopped: its
        threads would take the processors from the next contender.
    rounds : tuple of int
        The fewest and the most rounds, whatever `seconds` says.

    Returns
    -------
    dict of str to Timing
        All with the same number of rounds, so that they can be paired.
    """
    contenders = {}
    pauses = 0.0  # of a round
    for name, call in calls.items():
        contenders[name] = _Contender(call)
        if call.spins and threads > 1:
            pauses += wait_for_idle_threads()
    order = list(contenders.values())
    shuffle = random.Random(0).shuffle
    fewest, most = rounds
    end = time.perf_counter() + seconds
    round_seconds = pauses + sum(contender.round_seconds for contender in order)
    for index in range(most):
        if index >= fewest and time.perf_counter() + round_seconds > end:
            break
        shuffle(order)  # so that nobody always follows the same neighbour
        for contender in order:
            contender.sample()
            if contender.call.spins and threads > 1:
                wait_for_idle_threads()
    return {name: Timing(tuple(contender.samples), contender.loops) for name, contender in contenders.items()}


def format_seconds(seconds: float) -> str:
    """Return a time with three digits and a unit."""
    for scale, unit in ((1e-9, "ns"), (1e-6, "us"), (1e-3, "ms")):
        value = seconds / scale
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{seconds:.3g} s"
