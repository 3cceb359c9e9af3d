"""Which implementation runs: the extension `fastnorm._core`, or the twins in `fastnorm.reference`.

The extension is the default. The twins are a choice, by `FASTNORM_BACKEND=reference` or `set_backend`, never
a fallback.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import get_args

from ._typing import Backend

__all__ = ["CHOSEN", "NAMES", "extension", "load_extension", "name", "use", "using"]

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


def name() -> str:
    """Return the name of the backend of this context."""
    return CHOSEN.get(default)


def use(chosen: str) -> None:
    """Make the backend of this name the one of this context."""
    if chosen == "native":
        load_extension()
    CHOSEN.set(chosen)


@contextmanager
def using(chosen: str) -> Iterator[None]:
    """Make the backend of this name the one of this context, inside a ``with`` block."""
    if chosen == "native":
        load_extension()
    token = CHOSEN.set(chosen)
    try:
        yield
    finally:
        CHOSEN.reset(token)


def load_extension() -> ModuleType:
    """Import the extension, or raise ImportError with a note that says how to build it."""
    global extension  # noqa: PLW0603  # the state that this module is about
    if extension is None:
        try:
            extension = importlib.import_module(EXTENSION)
        except ModuleNotFoundError as error:
            if error.name != EXTENSION:
                raise
            raise ImportError(MISSING, name=EXTENSION) from None
    return extension


if default not in NAMES:
    raise ImportError(f"FASTNORM_BACKEND is {default!r}, needs one of {', '.join(map(repr, NAMES))}")
if default == "native":
    load_extension()
