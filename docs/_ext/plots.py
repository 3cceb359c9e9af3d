"""Pictures of the tables in docs/speed.md, so that the figures stand once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import NullFormatter, ScalarFormatter

DOCS = Path(__file__).resolve().parent.parent


def rows(first_cell: str) -> Iterator[list[str]]:
    """Give the cells of the rows of the table whose header begins with a cell."""
    text = (DOCS / "speed.md").read_text("utf-8")
    found = re.search(rf"^\| {re.escape(first_cell)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    assert found is not None, first_cell
    for line in found[1].splitlines():
        yield [cell.strip() for cell in line.strip("|").split("|")]


def number(cell: str) -> float:
    """Return a figure of a table, NaN where there is none."""
    return float("nan") if cell == "\N{EN DASH}" else float(cell)


def draw(path: Path) -> None:
    """Draw how many times as fast as the fastest library and as NumPy's formula each op is."""
    table = list(rows("512x768"))
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 5.2), sharey=True, layout="constrained")
    titles = ("times as fast as the fastest library", "times as fast as the formula in NumPy")
    for axes, title, columns in zip(panels, titles, ((2, 5), (3, 6)), strict=True):
        for column, threads, mark in zip(columns, (1, 2), ("o", "D"), strict=True):
            values = [number(row[column]) for row in table]
            label = f"{threads} thread{'s' * (threads > 1)}"
            axes.plot(values, range(len(table)), mark, label=label, color=("#0072B2", "#D55E00")[threads - 1])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.axvline(1, color="black", lw=1)
        axes.set_title(title, fontsize=10)
        axes.grid(visible=True, which="both", alpha=0.3)
    panels[0].set_xticks([1, 1.5, 2, 3, 4, 6], labels=["1", "1.5", "2", "3", "4", "6"])
    panels[1].set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    panels[0].set_yticks(range(len(table)), labels=[row[0] for row in table])
    panels[0].invert_yaxis()
    panels[0].legend(loc="lower right")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
