"""What a result depends on besides the code: the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from contextlib import suppress
from pathlib import Path

from .. import _distribution

LIBRARIES = ("numpy", "scipy", "torch", "jax", "onnxruntime")


def describe() -> dict[str, str]:
    """Return the processor, the system and the versions of the libraries."""
    found = {
        "cpu": _cpu_name(),
        "cpus": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
    }
    found["python"] = platform.python_version()
    found["fastnorm"] = _distribution.version()
    for name in LIBRARIES:
        with suppress(Exception):  # not there, or damaged
            found[name] = importlib.metadata.version(name)
    return found


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
