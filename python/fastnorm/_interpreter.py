"""Refuses subinterpreters, for which NumPy and the extension are not made: an import of both hangs there.

It is imported before NumPy is.
"""

from __future__ import annotations

import importlib
import sys

# Python's own module for them, under its name since 3.13 and before; without either there are none.
MODULE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
REFUSAL = (
    "fastnorm runs in the main interpreter of a process only, and this is a subinterpreter. "
    "Use threads or processes instead."
)


def is_main() -> bool:
    """Tell whether this code runs in the main interpreter."""
    try:
        interpreters = importlib.import_module(MODULE)
    except ImportError:
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


if not is_main():
    raise ImportError(REFUSAL)
