"""Which implementation runs: the extension `fastnorm._core`, or the twins in `fastnorm.reference`.

The extension is the default. The twins are a choice, by `FASTNORM_BACKEND=reference` or `set_backend`, never
a fallback.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import ModuleType
from typing import Any, get_args

from . import _distribution  # noqa: F401  # it refuses to go on without the package's own `__init__.py`
from ._typing import Backend

__all__ = [
    "CHOSEN",
    "NAMES",
    "extension",
    "limited",
    "load_extension",
    "name",
    "set_threads",
    "use",
    "using",
]

NAMES: tuple[str, ...] = get_args(Backend)
EXTENSION = "fastnorm._core"
MISSING = (
    f"the compiled extension {EXTENSION} is missing. Build it with `pip install .` in fastnorm's source tree "
    "(a C++17 compiler is all it needs), and do not import fastnorm from a folder that holds its unbuilt "
    "sources. "
    "FASTNORM_BACKEND=reference selects the NumPy twins, which are slower and need no build."
)

# The choice of a context; a context without one has the default of the process. Ops of the extension, which
# exist where that default is native, read the variable themselves.
CHOSEN: ContextVar[str] = ContextVar("fastnorm.backend")
default = os.environ.get("FASTNORM_BACKEND") or "native"
extension: ModuleType | None = None  # None until it is first used


class ThreadLimit(threading.local):
    """The limit that `threads` set for the calling thread; 0: none."""

    number = 0


# The numbers of threads, kept here too for an extension that is loaded later.
process_threads = 0  # 0: none was set
thread_limit = ThreadLimit()


def name() -> str:
    """Return the name of the backend of this context."""
    return CHOSEN.get(default)


def use(chosen: str) -> None:
    """Make the backend of this name the one of this context."""
    if chosen == "native":
        load_extension()
    CHOSEN.set(chosen)


class Block(threading.local):
    """A setting inside a ``with`` block, which may be entered any number of times, also within itself."""

    def __init__(self, function: str, enter: Callable[[], Any], leave: Callable[[Any], object]) -> None:
        self._function, self._enter, self._leave = function, enter, leave
        self._before: list[Any] = []  # what `enter` returned, in the calling thread

    def __enter__(self) -> None:
        self._before.append(self._enter())

    def __exit__(self, *error: object) -> None:
        try:
            self._leave(self._before.pop())
        except (IndexError, ValueError):  # of the list, or of the context variable
            found = "is left in another thread or context than it was entered in"
            raise ValueError(f"{self._function}: the block {found}, needs the same one") from None


def using(chosen: str) -> Block:
    """Make the backend of this name the one of this context, inside a ``with`` block."""

    def enter() -> Token[str]:
        if chosen == "native":
            load_extension()
        return CHOSEN.set(chosen)

    return Block("backend", enter, CHOSEN.reset)


def limited(n: int) -> Block:
    """Set the limit of the calling thread, inside a ``with`` block."""
    return Block("threads", functools.partial(limit_threads, n), limit_threads)


def set_threads(n: int) -> None:
    """Set the number of threads of the process."""
    global process_threads  # noqa: PLW0603  # the state that this module is about
    process_threads = n
    if extension is not None:
        extension.set_num_threads(n)


def limit_threads(n: int) -> int:
    """Set the limit of the calling thread, 0 for none, and return the one it had."""
    before, thread_limit.number = thread_limit.number, n
    if extension is not None:
        extension.swap_thread_limit(n)
    return before


def load_extension() -> ModuleType:
    """Import the extension, or raise ImportError with a note that says how to build it.

    Where it is there already it is told the limit of the calling thread, which may be older than it.
    """
    global extension  # noqa: PLW0603  # the state that this module is about
    if extension is None:
        try:
            extension = importlib.import_module(EXTENSION)
        except ModuleNotFoundError as error:
            if error.name != EXTENSION:
                raise
            raise ImportError(MISSING, name=EXTENSION) from None
        if process_threads:
            extension.set_num_threads(process_threads)
    if thread_limit.number:
        extension.swap_thread_limit(thread_limit.number)
    return extension


if default not in NAMES:
    raise ImportError(f"FASTNORM_BACKEND is {default!r}, needs one of {', '.join(map(repr, NAMES))}")
if default == "native":
    load_extension()
