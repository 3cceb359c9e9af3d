"""What the examples share: a bar while they work, pictures, tables, and the comparison of paired runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")

# Okabe and Ito's colours, which the colour-blind can tell apart; yellow is too light for lines.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Give the items, with a bar on a terminal where tqdm is installed (extra `progress`)."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from items
        return
    # disable=None: no bar in a file or a pipe.
    yield from tqdm(items, desc=what, total=total, disable=None, leave=False, dynamic_ncols=True)


def draw(path: Path, size: tuple[float, float], paint: Callable[[Any], None], shows: str) -> None:
    """Save what `paint` draws on a figure, and print where it is and what it shows."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture, as matplotlib is missing: pip install fastnorm-kernels[examples]")
        return

    mpl.use("Agg")
    from matplotlib import pyplot

    style: dict[str, Any] = {
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "fastnorm",
        "axes.titlesize": 10,
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.alpha": 0.3,
    }
    with mpl.rc_context(style):
        figure = pyplot.figure(figsize=size, layout="constrained")
        paint(figure)
        # Without a date the same numbers give the same file.
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
    print(f"drawn in {path}: {shows}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown, which a terminal shows well too."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def difference(values: NDArray[Any], baseline: NDArray[Any]) -> tuple[float, float]:
    """Return the mean difference of paired values and its standard error."""
    differences = values - baseline
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(differences.size))


def p_value(values: NDArray[Any], baseline: NDArray[Any]) -> float:
    """Return how often chance alone would give such differences: the paired t-test, 1 where all are 0."""
    from scipy.stats import ttest_rel

    return 1.0 if np.array_equal(values, baseline) else float(ttest_rel(values, baseline).pvalue)


def doubtful(ps: Sequence[float], level: float = 0.05) -> list[bool]:
    """Return which of several p-values are not below the level by Holm's method.

    It keeps the chance that any difference shows where there is none below the level.
    """
    order = np.argsort(ps)
    result = [True] * len(ps)
    for rank, place in enumerate(order):
        if ps[place] > level / (len(ps) - rank):
            break
        result[place] = False
    return result


def boxes(axes: Any, results: Mapping[str, NDArray[Any]]) -> None:
    """Draw a box for each row of values, and the values themselves."""
    places = range(1, len(results) + 1)
    axes.boxplot(list(results.values()), tick_labels=list(results), showfliers=False)
    rng = np.random.default_rng(0)
    for place, values in zip(places, results.values(), strict=True):
        beside = place + rng.uniform(-0.15, 0.15, len(values))
        axes.plot(beside, values, ".", ms=4, alpha=0.6)
    axes.grid(visible=True, axis="y")
