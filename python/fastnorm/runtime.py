"""Threads, instruction sets, memory and the choice of the backend."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager

import numpy as np

from . import _backend
from ._arguments.rules import Rules
from ._typing import Backend

__all__ = [
    "active_target",
    "available_targets",
    "backend",
    "clear_cache",
    "get_backend",
    "get_num_threads",
    "set_backend",
    "set_num_threads",
    "show_config",
    "threads",
]

MOST_THREADS = 2**31 - 1  # that a setting can name


def set_num_threads(n: int) -> None:
    """Set how many threads the native kernels use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 2147483647, the calling thread included; more than 1024 are never used. The default is
        `FASTNORM_NUM_THREADS`, else `OMP_NUM_THREADS`, else the number of CPUs that the calling thread may
        use at the time. Results do not depend on it. The NumPy twins are not affected, but the number counts
        where the native backend is chosen later.

    See Also
    --------
    threads : The same for a block of code and one Python thread.

    Examples
    --------
    >>> import fastnorm
    >>> before = fastnorm.get_num_threads()
    >>> fastnorm.set_num_threads(1)
    >>> fastnorm.get_num_threads()
    1
    >>> fastnorm.set_num_threads(before)
    """
    _backend.set_threads(Rules("set_num_threads").integer("n", n, minimum=1, maximum=MOST_THREADS))


def get_num_threads() -> int:
    """Return how many threads a call from this Python thread may use; 1 where the extension is not loaded.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.get_num_threads() >= 1
    True
    """
    return 1 if _backend.extension is None else int(_backend.extension.get_num_threads())


def threads(n: int) -> AbstractContextManager[None]:
    """Limit the calls of this Python thread to `n` threads inside a ``with`` block.

    Parameters
    ----------
    n : int
        From 1 to 2147483647. Other Python threads keep their own limits and the setting of the process.

    Examples
    --------
    >>> import fastnorm
    >>> with fastnorm.threads(1):
    ...     fastnorm.get_num_threads()
    1
    """
    return _backend.limited(Rules("threads").integer("n", n, minimum=1, maximum=MOST_THREADS))


def available_targets() -> tuple[str, ...]:
    """Return the instruction sets that this CPU can run, the best first; () without the extension.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.get_backend() == "reference" or fastnorm.active_target() in fastnorm.available_targets()
    True
    """
    return () if _backend.extension is None else tuple(_backend.extension.available_targets())


def active_target() -> str:
    """Return the instruction set of the native kernels; 'reference' where the extension is not loaded.

    It is the best available one, or the one that `FASTNORM_TARGET` names when fastnorm is imported.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.get_backend() == "reference" or fastnorm.active_target() in fastnorm.available_targets()
    True
    """
    return "reference" if _backend.extension is None else str(_backend.extension.active_target())


def clear_cache() -> None:
    """Give the memory of large results that have been deleted back to the operating system.

    Results above about 1 MB use memory that is kept for the next one when they are deleted, at most
    `FASTNORM_CACHE_MB` of it (0: none). Living results are not affected.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.clear_cache()
    """
    if _backend.extension is not None:
        _backend.extension.clear_cache()


def set_backend(name: Backend) -> None:
    """Choose what the ops run on, in this context: this thread or asynchronous task.

    Parameters
    ----------
    name : {'native', 'reference'}
        The compiled kernels, or the NumPy twins, which are slower and compute in float64. The default, also
        of threads that are started later, is `FASTNORM_BACKEND`, else 'native'.

    Raises
    ------
    ImportError
        For 'native' where the extension has not been built.

    Examples
    --------
    >>> import fastnorm
    >>> before = fastnorm.get_backend()
    >>> fastnorm.set_backend("reference")
    >>> fastnorm.get_backend()
    'reference'
    >>> fastnorm.set_backend(before)
    """
    _backend.use(Rules("set_backend").choice("name", name, _backend.NAMES))


def get_backend() -> str:
    """Return the name of the backend that the ops run on in this context.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.get_backend() in ("native", "reference")
    True
    """
    return _backend.name()


def backend(name: Backend) -> AbstractContextManager[None]:
    """Choose the backend inside a ``with`` block, in this context: other threads and tasks keep theirs.

    Parameters
    ----------
    name : {'native', 'reference'}
        As in `set_backend`.

    Examples
    --------
    >>> import fastnorm
    >>> with fastnorm.backend("reference"):
    ...     fastnorm.get_backend()
    'reference'
    """
    return _backend.using(Rules("backend").choice("name", name, _backend.NAMES))


def show_config() -> None:
    """Print the versions, the backend, the instruction set, the threads and the memory in use.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.show_config()  # doctest: +ELLIPSIS
    fastnorm ...
    """
    for label, text in configuration().items():
        print(f"{label:12} {text}")


def configuration() -> dict[str, str]:
    """Return the lines of `show_config` by their labels."""
    from . import __version__

    lines = {
        "fastnorm": __version__,
        "python": f"{platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}",
        "backend": get_backend(),
        "target": f"{active_target()} (available: {', '.join(available_targets()) or 'none'})",
        "threads": str(get_num_threads()),
    }
    extension = _backend.extension
    if extension is not None:
        cache = extension.cache_info()
        held, limit = cache["held_bytes"] / 2**20, cache["limit_bytes"] / 2**20
        lines["memory"] = (
            f"{held:.0f} of at most {limit:.0f} MiB kept ({cache['hits']} hits, {cache['misses']} misses)"
        )
        sizes = extension.cache_sizes().items()
        lines["CPU caches"] = ", ".join(f"{level} {size // 1024} KiB" for level, size in sizes)
        lines["build"] = ", ".join(f"{key} {value}" for key, value in extension.build_info().items())
    settings = [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("FASTNORM_")]
    lines["environment"] = ", ".join(settings) or "no FASTNORM_ variables"
    return lines
