"""The bits of the results of everything that computes, for `tests/test_bits.py` and `tests/record_bits.py`.

The record of a target is a text file: what was run, and the digest of its results, a line each. One record
serves all targets with fused multiply-add, whose results are the same by contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import calls, networks

SUBJECTS: tuple[str, ...] = (*calls.op_names(), *networks.PARTS)


def record_of(target: str) -> Path:
    """Return the file with the bits of a target."""
    return Path(__file__).with_name("baseline.txt" if target == "baseline" else "fused.txt")


def digests(subject: str) -> Iterator[tuple[str, str]]:
    """Run all that is recorded of an op or another part, and yield what was run and the digests."""
    lines = networks.digests(subject) if subject in networks.PARTS else calls.digests(subject)
    for label, digest in lines:
        yield f"{subject}: {label}", digest


def read(path: Path) -> dict[str, str]:
    """Return the digest of each line, none where there is no record."""
    if not path.exists():
        return {}
    return dict(line.rsplit(" = ", 1) for line in path.read_text("utf-8").splitlines())


def write(path: Path, lines: dict[str, str]) -> None:
    """Write a record."""
    text = "".join(f"{label} = {digest}\n" for label, digest in sorted(lines.items()))
    path.write_text(text, "utf-8")
