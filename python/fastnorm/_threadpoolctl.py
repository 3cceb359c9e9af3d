"""Lets threadpoolctl limit fastnorm's threads, as it does those of BLAS and OpenMP."""

from __future__ import annotations

import importlib


def register() -> None:
    """Register the extension with threadpoolctl, where that is installed and knows how to (3.2 or later).

    threadpoolctl is imported for it: a registration that waited for the user's import would depend on which
    of the two was imported first, and the import takes a few milliseconds beside NumPy's hundred.
    """
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
        base, add = threadpoolctl.LibController, threadpoolctl.register
    except (ImportError, AttributeError):
        return

    class FastnormController(base):  # type: ignore[misc, valid-type]
        """Gets and sets the number of threads through the two symbols that the extension exports."""

        user_api = "fastnorm"
        internal_api = "fastnorm"
        filename_prefixes = ("_core",)  # the extension's file; other packages use the name too,
        check_symbols = ("fastnorm_get_num_threads", "fastnorm_set_num_threads")  # so these tell which it is

        def get_num_threads(self) -> int:
            return int(self.dynlib.fastnorm_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.fastnorm_set_num_threads(num_threads)

        def get_version(self) -> str:
            from . import __version__

            return __version__

    add(FastnormController)
