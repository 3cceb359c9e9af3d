"""The distribution that this package comes in, fastnorm-kernels, and one that uses the same folder.

`fastnorm` on PyPI is another project, multivariate normal densities, and is imported by the same name. Where
both are installed, the later one's `__init__.py` lies over the earlier one's, and uninstalling either takes
it away.
"""

from __future__ import annotations

import os
import sys
import warnings

NAME = "fastnorm-kernels"
OTHER = "fastnorm"
OTHERS_FILE = "bvnorm.py"  # which each of its releases has had
ADVICE = f"Keep one of them: `pip uninstall {OTHER} {NAME}`, then install the one you need."


def version() -> str:
    """Return the installed version; 'unknown' for a source tree that is not installed."""
    # Reading the metadata takes tens of milliseconds, which an import should not.
    import importlib.metadata

    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def other_version(folder: str) -> str | None:
    """Return the version of the other distribution where it is installed in this folder."""
    import importlib.metadata

    theirs = os.path.realpath(os.path.join(folder, OTHERS_FILE))
    for found in importlib.metadata.distributions(name=OTHER):
        for file in found.files or ():
            if file.name == OTHERS_FILE and os.path.realpath(file.locate()) == theirs:
                return found.version
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
