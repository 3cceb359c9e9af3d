"""Which implementation runs: `active` holds the ops of the extension `fastnorm._core` or of
`fastnorm.reference`.

Both have every op under its public name and signature, so a public function is one line, `active.<op>(...)`.
`active` itself never changes, only what it holds, so that a call looks up one global and one attribute of it.
The extension is the default. The twins are a choice, by `FASTNORM_BACKEND=reference` or `set_backend`, never
a fallback.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, get_args

from ._typing import Backend

if TYPE_CHECKING:
    from . import _core as active  # both backends have the signatures of its stub
else:
    active = ModuleType("fastnorm._active")

__all__ = ["NAMES", "active", "extension", "name", "use", "use_default"]

NAMES: tuple[str, ...] = get_args(Backend)
EXTENSION = "fastnorm._core"
MISSING = (
    f"the compiled extension {EXTENSION} is missing. Build it with `pip install .` in fastnorm's source tree "
    f"(a C++17 "
    "compiler is all it needs), and do not import fastnorm from a folder that holds its unbuilt sources. "
    "FASTNORM_BACKEND=reference selects the NumPy twins, which are slower and need no build."
)

extension: ModuleType | None = None  # None until it is first used
name: str


def use(chosen: str) -> None:
    """Make the backend of this name the active one."""
    global extension, name  # noqa: PLW0603  # the state that this module is about
    module: ModuleType
    if chosen == "reference":
        module = importlib.import_module("fastnorm.reference")
    else:
        module = extension = load_extension()
    twins = importlib.import_module("fastnorm.reference")
    for op in (*twins.__all__, *twins.TRAINING, *twins.STATISTICS):
        setattr(active, op, getattr(module, op))
    name = chosen


def load_extension() -> ModuleType:
    """Import the extension, or raise ImportError with a note that says how to build it."""
    try:
        return importlib.import_module(EXTENSION)
    except ModuleNotFoundError as error:
        if error.name != EXTENSION:
            raise
        raise ImportError(MISSING, name=EXTENSION) from None


def use_default() -> None:
    """Make the backend that `FASTNORM_BACKEND` names the active one, `native` where it names none."""
    chosen = os.environ.get("FASTNORM_BACKEND") or "native"
    if chosen not in NAMES:
        raise ImportError(f"FASTNORM_BACKEND is {chosen!r}, needs one of {', '.join(map(repr, NAMES))}")
    use(chosen)
