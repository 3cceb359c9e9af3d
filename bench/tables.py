"""Results as text, and as the compact JSON that `plot.py` and release notes read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from comparison import ADD_OUT, FASTNORM_OUT, OURS, Comparison
from fastnorm._report.contenders import ADD, FASTNORM
from fastnorm._report.machine import describe
from fastnorm._report.timing import format_seconds
from fastnorm._report.workloads import format_shape

# Beyond these a row is marked: its numbers would not repeat.
NOISY_SPREAD = 0.1
NOISY_NEIGHBOURS = 0.05
SMALL_BYTES = 64 * 1024  # below, the time is that of the call and says nothing about memory
RESULTS = Path(__file__).parent / "results"


def summary_table(comparisons: Sequence[Comparison]) -> str:
    """Return one row for each workload, shape, thread count and way of passing the output."""
    header = ["", "shape", "threads", "time", "GB/s", "of copy", "fastest peer", "gain", "at best"]
    header += ["torch", "numpy", "np.add", ""]
    rows: list[list[str]] = []
    for comparison in comparisons:
        for ours in OURS:
            if ours in comparison.times:
                rows.append(_summary_row(comparison, ours))
    notes = [
        "gain, torch, numpy, np.add: how many times as fast fastnorm is (median of ratios within a round)",
        "at best: the same over all peers, from the fastest round of each",
        "of copy: share of the speed of the fastest copy that moves as many bytes, the best round of either",
        f"~: quartiles of the gain over {NOISY_SPREAD:.0%} apart, or others on over {NOISY_NEIGHBOURS:.0%} "
        f"of the CPUs",
    ]
    return "\n".join([_align([header, *rows]), *notes])


def contender_table(comparison: Comparison) -> str:
    """Return one row for each contender of a comparison, the fastest first."""
    lines = [f"{comparison.request.label()}, {comparison.target}"]
    lines.append(
        f"error {comparison.error:.3g} {comparison.unit} (allowed {comparison.bound:.3g}), "
        f"{comparison.bytes_moved / 1e6:.4g} MB to move, copy {comparison.copy_rate / 1e9:.1f} GB/s "
        f"({comparison.copy_kind}){_neighbour_words(comparison)}"
    )
    rows = [["", "median", "best", "GB/s", "gain", "quartiles", "calls"]]
    for name, timing in sorted(comparison.times.items(), key=lambda item: item[1].median):
        ours = FASTNORM_OUT if name == ADD_OUT and FASTNORM_OUT in comparison.times else FASTNORM
        ratio = comparison.gain(ours, name)
        gain = ["", ""] if name in OURS else [f"{ratio.median:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}"]
        rate = "" if name in (ADD, ADD_OUT) else f"{comparison.bytes_moved / timing.median / 1e9:.1f}"
        times = [format_seconds(timing.median), format_seconds(timing.best)]
        rows.append([name, *times, rate, *gain, f"{len(timing.seconds)} x {timing.loops}"])
    lines.append(_align(rows))
    lines += [f"{name}: {reason}" for name, reason in comparison.left_out.items()]
    return "\n".join(lines)


def summary(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """Return the medians of all contenders and what they depend on."""
    rows = []
    for comparison in comparisons:
        request = comparison.request
        row: dict[str, Any] = {
            "workload": request.workload,
            "shape": format_shape(request.shape),
            "dtype": request.dtype,
            "threads": request.threads,
            "target": comparison.target,
            "bytes_moved": comparison.bytes_moved,
            "error": comparison.error,
            "unit": comparison.unit,
            "copy_gb_per_s": round(comparison.copy_rate / 1e9, 2),
            "copy_kind": comparison.copy_kind,
            "neighbours": comparison.neighbours,
            "seconds": {name: float(f"{timing.median:.4g}") for name, timing in comparison.times.items()},
            "best_seconds": {name: float(f"{timing.best:.4g}") for name, timing in comparison.times.items()},
            "gain": {
                ours: {
                    name: [round(value, 3) for value in (ratio.low, ratio.median, ratio.high)]
                    for name in comparison.times
                    if name not in OURS
                    for ratio in [comparison.gain(ours, name)]
                }
                for ours in OURS
                if ours in comparison.times
            },
        }
        rows.append(row)
    return {"machine": describe(), "rows": rows}


def save(comparisons: Iterable[Comparison], path: Path) -> None:
    """Write the summary, one row a line, so that a change shows as the lines it touches."""
    content = summary(comparisons)
    rows = ",\n".join(json.dumps(row) for row in content["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'{{"machine": {json.dumps(content["machine"])},\n"rows": [\n{rows}\n]}}\n', encoding="utf-8"
    )


def _summary_row(comparison: Comparison, ours: str) -> list[str]:
    request, timing = comparison.request, comparison.times[ours]
    best = next(iter(comparison.peers()), None)
    label = request.workload + ("" if request.dtype == "float32" else f" {request.dtype}")
    noisy = (comparison.neighbours or 0) > NOISY_NEIGHBOURS
    gains = {}
    for key, name in (("best", best), ("torch", "torch"), ("numpy", "numpy"), ("add", OURS[ours])):
        gains[key] = f"{comparison.gain(ours, name).median:.2f}" if name in comparison.times and name else ""
    if best:
        noisy = noisy or comparison.gain(ours, best).spread > NOISY_SPREAD
    return [
        label + (" out=" if ours == FASTNORM_OUT else ""),
        format_shape(request.shape),
        str(request.threads),
        format_seconds(timing.median),
        f"{comparison.bytes_moved / timing.median / 1e9:.1f}",
        f"{comparison.copy_share(ours):.0%}" if comparison.bytes_moved > SMALL_BYTES else "",
        best or "",
        gains["best"],
        f"{comparison.gain_at_best(ours):.2f}" if best else "",
        gains["torch"],
        gains["numpy"],
        gains["add"],
        "~" if noisy else "",
    ]


def _neighbour_words(comparison: Comparison) -> str:
    return "" if comparison.neighbours is None else f", others took {comparison.neighbours:.0%} of the CPUs"


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)
