"""Files that are written after a run, looked at before it."""

from __future__ import annotations

import os
from pathlib import Path


def refusal(path: Path) -> str | None:
    """Return why a file cannot be written, None where it can; what is there stays as it is."""
    there = os.path.lexists(path)
    try:
        if not path.parent.is_dir():
            return f"{path}: there is no folder {path.parent}"
        path.open("ab").close()
        if not there:
            path.unlink()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None
