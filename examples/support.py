"""What the examples share: checks before the work, a bar during it, pictures, tables, and the comparison of
paired runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")

# Okabe and Ito's colours, which the colour-blind can tell apart; yellow is too light for lines.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

PICTURES = (".svg", ".png", ".pdf")


@contextlib.contextmanager
def installed_by(extras: str) -> Iterator[None]:
    """Say of a package that an import of the block does not find which extras of fastnorm install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        advice = f"pip install fastnorm-kernels[{extras}]"
        raise ModuleNotFoundError(f"{error.name} is missing: {advice}", name=error.name) from error


def require(*packages: str, extras: str = "examples") -> None:
    """Import packages that are needed after the work, before it."""
    with installed_by(extras):
        for package in packages:
            importlib.import_module(package)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads an int in a range from the command line."""
    needed = f"{least} or more" if most is None else f"{least} to {most}"

    def read(text: str) -> int:
        with contextlib.suppress(ValueError):
            value = int(text)
            if value >= least and (most is None or value <= most):
                return value
        raise argparse.ArgumentTypeError(f"needs {needed}, got {text}")

    return read


SEED = whole(0, 2**32 - 1)  # what scikit-learn takes too


def rate(text: str) -> float:
    """Read a learning rate from the command line."""
    with contextlib.suppress(ValueError):
        value = float(text)
        if 0 <= value < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"needs a finite number of 0 or more, got {text}")


def check_file(parser: argparse.ArgumentParser, path: Path) -> None:
    """End with an error of the command line where a file cannot be written."""
    there = os.path.lexists(path)
    try:
        if not path.parent.is_dir():
            parser.error(f"{path}: there is no folder {path.parent}")
        path.open("ab").close()
        if not there:
            path.unlink()
    except OSError as error:
        parser.error(f"{path}: {error.strerror}")


def check_picture(parser: argparse.ArgumentParser, path: Path) -> None:
    """End with an error of the command line where a picture cannot be written."""
    if path.suffix not in PICTURES:
        parser.error(f"{path} is none of {', '.join(PICTURES)}")
    check_file(parser, path)


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


def diverged(*results: NDArray[Any]) -> str:
    """Say how many of the seeds came to no number; nothing where none did."""
    failed = np.logical_or.reduce([~np.isfinite(values) for values in results])
    return f"diverged in {failed.sum()} of {failed.size}" if failed.any() else ""


def p_value(values: NDArray[Any], baseline: NDArray[Any]) -> float:
    """Return how often chance alone would give such differences: the paired t-test.

    It is 1 where all of them are 0, and NaN where a training diverged.
    """
    from scipy.stats import ttest_rel

    if diverged(values, baseline):
        return math.nan
    return 1.0 if np.array_equal(values, baseline) else float(ttest_rel(values, baseline).pvalue)


def doubtful(ps: Sequence[float], level: float = 0.05) -> list[bool]:
    """Return which of several p-values are not below the level by Holm's method.

    It keeps the chance that any difference shows where there is none below the level.
    """
    order = np.argsort(ps)
    result = [True] * len(ps)
    for rank, place in enumerate(order):
        if not ps[place] <= level / (len(ps) - rank):  # NaN is not below either
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
