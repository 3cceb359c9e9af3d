"""The distribution that this package comes in, fastnorm-kernels, and one that uses the same folder.

`fastnorm` on PyPI is another project, multivariate normal densities, and is imported by the same name. Where
both are installed, the later one's `__init__.py` lies over the earlier one's, and uninstalling either takes
it away.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

NAME = "fastnorm-kernels"
OTHER = "fastnorm"
OTHERS_FILE = "bvnorm.py"  # which each of its releases has had
ADVICE = f"Keep one of them: `pip uninstall {OTHER} {NAME}`, then install the one you need."


def version() -> str:
    """Return the installed version; 'unknown' for a source tree that is not installed, or where what is
    installed cannot be read.
    """
    # Reading the metadata takes tens of milliseconds, which an import should not.
    try:
        import importlib.metadata

        return importlib.metadata.version(NAME) or "unknown"
    except Exception:  # damaged metadata and finders raise anything
        return "unknown"


def other_version(folder: str) -> str | None:
    """Return the version of the other distribution where it is installed in this folder.

    No import fails for what is damaged there: what cannot be read is not found.
    """
    try:
        import importlib.metadata

        theirs = os.path.realpath(os.path.join(folder, OTHERS_FILE))
        for found in importlib.metadata.distributions(name=OTHER):
            version = _version_of(found, theirs)
            if version is not None:
                return version
    except Exception:  # of a finder
        pass
    return None


def _version_of(found: Any, path: str) -> str | None:
    """Return the version of a distribution that lists the file of this path."""
    try:
        for file in found.files or ():
            if file.name == OTHERS_FILE and os.path.realpath(file.locate()) == path:
                version: str | None = found.version
                return version
    except Exception:  # text that is not UTF-8, lines of other fields, loops of links
        pass
    return None


def look(folder: str, own: bool) -> None:
    """Warn of the other distribution in the folder; raise where the `__init__.py` is not this package's own.

    All that every import pays for is the question whether one file is there.
    """
    there = os.path.exists(os.path.join(folder, OTHERS_FILE))
    if own and not there:
        return
    if not own:
        init = os.path.join(folder, "__init__.py")
        state = "is not this package's" if os.path.exists(init) else "is missing"
        raise ImportError(
            f"{init} {state}: the distribution {OTHER}, another project, and {NAME} are imported by the same "
            f"name and use the same folder. {ADVICE}"
        )
    other = other_version(folder)
    if other is not None:
        warnings.warn(
            f"{NAME}, which this is, and {OTHER} {other}, another project, are both installed in {folder}, "
            f"where one replaces files of the other. {ADVICE}",
            RuntimeWarning,
            stacklevel=4,  # at the import of the package
        )


# The `__init__.py` of this package binds that name before anything gets here.
look(os.path.dirname(__file__), hasattr(sys.modules[__package__], "_interpreter"))
