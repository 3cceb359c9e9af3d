"""Lines, tables and progress on the terminal, the same on every one: ASCII, and colours where it has them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

Advance = Callable[[str], None]

BOLD, RED, GREEN = "1", "31", "32"
GAP = 2  # columns of spaces between those of a table
BAR = 24
REFRESH_SECONDS = 0.1


@dataclass(frozen=True)
class Column:
    """A column of a table, as wide as its widest cell will be.

    Where the terminal is too narrow, columns of the highest rank are left out first, and rank 0 never.
    Neighbours of one group have it as a title above theirs.
    """

    title: str
    width: int
    rank: int = 0
    left: bool = False
    group: str = ""


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is open, and on a terminal."""
    return stream is not None and stream.isatty()


class Console:
    """Prints on the standard output, and on the standard error how far things are.

    Parameters
    ----------
    plain : bool
        Neither colours nor progress.
    wide : bool
        Let tables be as wide as they need where the output is no terminal.
    """

    def __init__(self, *, plain: bool = False, wide: bool = False) -> None:
        able = not plain and os.environ.get("TERM") != "dumb"
        self._colours = able and _is_terminal(sys.stdout) and "NO_COLOR" not in os.environ
        self._progress = able and _is_terminal(sys.stderr)
        self._shown = 0  # characters of the line of progress
        columns = shutil.get_terminal_size().columns
        self.width = sys.maxsize if wide and not _is_terminal(sys.stdout) else columns
        self.bar_width = columns

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line; one that is too long is wrapped between words."""
        indent = text[: len(text) - len(text.lstrip())]
        parts = textwrap.wrap(
            text,
            self.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for part in parts or [""]:
            self._print(part, style)

    def table(self, columns: Sequence[Column]) -> Table:
        """Print the head of a table whose rows are to follow."""
        return Table(self, columns)

    @contextmanager
    def progress(self, title: str, steps: int) -> Iterator[Advance]:
        """Show how far so many steps are; what it gives is called with a word for each as it begins."""
        done, started, drawn = 0, time.monotonic(), 0.0

        def advance(word: str) -> None:
            nonlocal done, drawn
            now = time.monotonic()
            if self._progress and now - drawn > REFRESH_SECONDS:
                drawn = now
                left = f"{(now - started) / done * (steps - done):.0f} s left" if done else ""
                filled = BAR * done // steps
                text = f"{title} [{'#' * filled}{'-' * (BAR - filled)}] {done / steps:4.0%}"
                for more in (left, word):
                    if more and len(text) + 2 + len(more) < self.bar_width:
                        text += f"  {more}"
                self._erase()
                if len(text) < self.bar_width:
                    print(text, end="", file=sys.stderr, flush=True)
                    self._shown = len(text)
            done += 1

        try:
            yield advance
        finally:
            self._erase()

    def _erase(self) -> None:
        if self._shown:
            print(f"\r{'':{self._shown}}\r", end="", file=sys.stderr, flush=True)
            self._shown = 0

    def _print(self, text: str, style: str) -> None:
        self._erase()
        text = text.rstrip().encode("ascii", "replace").decode("ascii")  # of names that the system gives
        # Whoever reads sees each line when it is written.
        print(f"\x1b[{style}m{text}\x1b[0m" if style and text and self._colours else text, flush=True)


class Table:
    """Rows in columns of spaces, printed as they come."""

    def __init__(self, console: Console, columns: Sequence[Column]) -> None:
        self._console = console
        self._columns = columns
        chosen = set(range(len(columns)))
        while sum(columns[i].width + GAP for i in chosen) - GAP > console.width:
            highest = max(chosen, key=lambda i: columns[i].rank)  # the first of equals, so take them all
            if columns[highest].rank == 0:
                break
            chosen = {i for i in chosen if columns[i].rank < columns[highest].rank}
        self._chosen = sorted(chosen)
        if any(columns[i].group for i in chosen):
            self._groups()
        self.row([column.title for column in columns], BOLD)

    def row(self, cells: Sequence[str], style: str = "") -> None:
        """Print a row, in all its columns or those that the terminal has room for."""
        padded = []
        for i in self._chosen:
            column = self._columns[i]
            padded.append(cells[i].ljust(column.width) if column.left else cells[i].rjust(column.width))
        self._console._print((" " * GAP).join(padded), style)

    def _groups(self) -> None:
        line, end = "", -GAP
        groups = [self._columns[i].group for i in self._chosen]
        for i, group, following in zip(self._chosen, groups, [*groups[1:], ""], strict=True):
            end += GAP + self._columns[i].width
            if group != following:
                line = f"{line}{group:>{end - len(line)}}"
        self._console._print(line, BOLD)
