"""What a result depends on besides code and machine: free memory, and who else used the processors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


def available_bytes() -> int | None:
    """Return how much memory can be used without swapping, None where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


@dataclass
class Neighbours:
    """Share of the machine's processor time that went to others; None where the system does not say."""

    share: float | None = None


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """Watch during the block what other processes, and other guests of the host, take of the processors."""
    watched = Neighbours()
    start, busy, own = time.perf_counter(), _busy_seconds(), sum(os.times()[:2])
    yield watched
    if busy is not None and (busy_after := _busy_seconds()) is not None:
        elapsed = time.perf_counter() - start
        theirs = (busy_after - busy) - (sum(os.times()[:2]) - own)
        watched.share = min(1.0, max(0.0, theirs / (elapsed * (os.cpu_count() or 1))))


def _busy_seconds() -> float | None:
    """Return seconds in which any processor was not idle, stolen time of virtual machines included."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / float(os.sysconf("SC_CLK_TCK"))
