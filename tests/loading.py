"""Examples and tools as modules, by their paths, since `bench` has modules of the same names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(path: Path) -> ModuleType:
    """Import a file, anew."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def require(*packages: str) -> None:
    """Skip where a package is missing that examples need; fail where `FASTNORM_TEST_EXAMPLES` is set."""
    for package in packages:
        if os.environ.get("FASTNORM_TEST_EXAMPLES"):
            importlib.import_module(package)
        else:
            pytest.importorskip(package)


def load_example(name: str, *packages: str) -> ModuleType:
    """Import an example that needs these packages."""
    require(*packages)
    return load(ROOT / "examples" / f"{name}.py")
