"""Progress and tables on the terminal: with rich where it is installed, in plain text otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[str], None]


class Console(Protocol):
    """What the reports need from a terminal."""

    def line(self, text: str) -> None:
        """Print one line."""

    def table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[int] = ()
    ) -> None:
        """Print a table, its first column to the left and the others to the right; `bad` rows stand out."""

    def progress(self, steps: int) -> AbstractContextManager[Advance]:
        """Show a bar for so many steps; what it gives is called with a word for each step as it begins."""


class PlainConsole:
    """Text only."""

    def line(self, text: str) -> None:
        """Print one line."""
        print(text)

    def table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[int] = ()
    ) -> None:
        """Print a table in columns of spaces."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        print(f"\n{title}")
        for index, row in enumerate([header, *rows], start=-1):
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            cells[0] = row[0].ljust(widths[0])
            print("  ".join(cells) + ("  <" if index in bad else ""))

    @contextmanager
    def progress(self, steps: int) -> Iterator[Advance]:
        """Rewrite one line of the terminal; write nothing where the output is not a terminal."""
        done = 0

        def advance(word: str) -> None:
            nonlocal done
            done += 1
            if sys.stderr.isatty():
                print(f"\r{done}/{steps} {word:40}", end="", file=sys.stderr, flush=True)

        yield advance
        if sys.stderr.isatty():
            print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)


class RichConsole:
    """Bars and boxes of the package rich."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def line(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[int] = ()
    ) -> None:
        """Print a table in a box."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=Text(title),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        for index, name in enumerate(header):
            table.add_column(Text(name), justify="right" if index else "left", no_wrap=True)
        for index, row in enumerate(rows):
            table.add_row(*map(Text, row), style="bold red" if index in bad else None)
        self._console.print(table)

    @contextmanager
    def progress(self, steps: int) -> Iterator[Advance]:
        """Show a bar that disappears at the end."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=steps)

            def advance(word: str) -> None:
                bar.update(task, advance=1, description=word)

            yield advance


def make_console(plain: bool = False) -> Console:
    """Return the console of rich, or the plain one where that is asked for or rich is not installed."""
    if not plain:
        try:
            return RichConsole()
        except ImportError:
            pass
    return PlainConsole()
