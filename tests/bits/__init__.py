"""The bits of the results of everything that computes, for `tests/test_bits.py` and `tests/record_bits.py`.

The record is a text file, `what was run = digests | digests` in each line: those of its results on targets
with fused multiply-add, which have the same by contract, and those on the others; "-" is none yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from instruction_sets import is_fused

from . import calls, networks

SUBJECTS: tuple[str, ...] = (*calls.op_names(), *networks.PARTS)
RECORD = Path(__file__).with_name("record.txt")
NONE = "-"


def digests(subject: str) -> Iterator[tuple[str, str]]:
    """Run all that is recorded of an op or another part, and yield what was run and the digests."""
    lines = networks.digests(subject) if subject in networks.PARTS else calls.digests(subject)
    for label, digest in lines:
        yield f"{subject}: {label}", digest


def read() -> dict[str, str]:
    """Return the digests of each line that has some for the active target."""
    column = _column()
    return {label: both[column] for label, both in _lines().items() if both[column] != NONE}


def write(digests: dict[str, str]) -> None:
    """Make these the digests of the active target."""
    before, column = _lines(), _column()
    lines = []
    for label in sorted(before.keys() | digests.keys()):
        both = before.get(label, [NONE, NONE])
        both[column] = digests.get(label, NONE)
        if both != [NONE, NONE]:
            lines.append(f"{label} = {' | '.join(both)}\n")
    RECORD.write_text("".join(lines), "utf-8")


def _column() -> int:
    return 0 if is_fused() else 1


def _lines() -> dict[str, list[str]]:
    lines = (line.rsplit(" = ", 1) for line in RECORD.read_text("utf-8").splitlines())
    return {label: both.split(" | ") for label, both in lines}
