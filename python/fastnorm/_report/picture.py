"""The picture of the README: bytes a second over the size of the array, a panel for each workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# The names of the legend; the colours are Okabe and Ito's, which the colour-blind can tell apart.
LINES = {
    "fastnorm": ("fastnorm", "#D55E00"),
    "onnxruntime": ("ONNX Runtime", "#009E73"),
    "jax": ("JAX", "#CC79A7"),
    "torch": ("PyTorch", "#0072B2"),
    "numpy": ("NumPy", "#7F7F7F"),
}
GREY = "#555555"


def draw(content: Mapping[str, Any], picture: Path, threads: int | None = None) -> None:
    """Draw a summary, with the rows of one number of threads, the largest where none is given."""
    threads = threads or max(row["threads"] for row in content["rows"])
    rows = [row for row in content["rows"] if row["threads"] == threads and row["dtype"] == "float32"]
    mpl.rcParams.update(
        {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "fastnorm", "axes.titlesize": 10}
    )
    names = list(dict.fromkeys(row["workload"] for row in rows))
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(4.1 * columns, 2.2 * lines + 0.7), sharex=True, sharey=True, squeeze=False
    )
    for axes, name in zip(grid.flat, names, strict=False):
        panel(axes, name, [row for row in rows if row["workload"] == name])
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("GB/s", color=GREY)
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="upper center", ncols=len(handles), frameon=False)
    plural = "s" if threads > 1 else ""
    text = f"float32, {threads} thread{plural}, {content['machine']['cpu']}"
    figure.text(0.5, 0.005, text, ha="center", color=GREY, fontsize=8)
    figure.tight_layout(rect=(0, 0.025, 1, 0.95))
    picture.parent.mkdir(parents=True, exist_ok=True)
    # Without a date the same numbers give the same file.
    figure.savefig(picture, dpi=150, metadata={"Date": None} if picture.suffix == ".svg" else None)
    plt.close(figure)


def panel(axes: Axes, workload: str, rows: Sequence[dict[str, Any]]) -> None:
    """Draw one panel."""
    rows = sorted(rows, key=size)
    for name, (label, colour) in LINES.items():
        points = [
            (size(row), row["bytes_moved"] / row["seconds"][name] / 1e9)
            for row in rows
            if name in row["seconds"]
        ]
        if points:
            ours = name == "fastnorm"
            axes.plot(
                *zip(*points, strict=True),
                label=label,
                color=colour,
                marker="o",
                markersize=3.5,
                linewidth=2.4 if ours else 1.2,
                zorder=3 if ours else 2,
            )
    copies = [(size(row), row["copy_gb_per_s"]) for row in rows if row["copy_gb_per_s"]]
    if copies:
        places = list(zip(*copies, strict=True))
        axes.plot(*places, label="copy", color="black", linestyle=":", linewidth=1.0, zorder=1)
    axes.set_title(workload, loc="left", family="monospace")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([size(row) for row in rows], [row["shape"] for row in rows])
    axes.tick_params(axis="x", labelrotation=35, labelsize=8, colors=GREY)
    axes.tick_params(axis="y", colors=GREY)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(10))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#BBBBBB")


def size(row: dict[str, Any]) -> int:
    """Return the number of elements of x."""
    count = 1
    for part in row["shape"].split("x"):
        count *= int(part)
    return count
