"""Fixtures: the backends and instruction sets that a test runs on, and its random numbers.

Where `FASTNORM_BACKEND` does not choose the twins, a missing extension fails the whole run: fastnorm is then
not importable.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fastnorm
import numpy as np
import pytest
from instruction_sets import TARGETS, target

REFERENCE_ONLY = os.environ.get("FASTNORM_BACKEND") == "reference"
assert REFERENCE_ONLY or fastnorm.get_backend() == "native"

BACKENDS = ("reference",) if REFERENCE_ONLY else ("native", "reference")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn, active."""
    with fastnorm.backend(request.param):
        yield request.param


@pytest.fixture(params=[*TARGETS, "reference"])
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of the native backend in turn, and the reference backend, active."""
    if request.param == "reference":
        with fastnorm.backend("reference"):
            yield "reference"
        return
    with fastnorm.backend("native"), target(request.param):
        assert fastnorm.active_target() == request.param
        yield request.param


@pytest.fixture
def native() -> Iterator[ModuleType]:
    """The extension, active; skips where the run is about the twins only."""
    if REFERENCE_ONLY:
        pytest.skip("FASTNORM_BACKEND=reference")
    from fastnorm import _core

    with fastnorm.backend("native"):
        yield _core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test has the same name in every process: it seeds its random numbers, and other processes run it."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    assert not unstable, f"ids with addresses: {unstable[:3]}"


@contextlib.contextmanager
def _locked(path: Path, shared: bool) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def company(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test marked `alone` runs while the workers of pytest-xdist, if there are any, run no other.

    It waits in the gate, where none can pass it, until those that are in the room have left.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or os.name != "posix":
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent
    with contextlib.ExitStack() as room:
        with _locked(folder / "gate", shared=False):
            room.enter_context(_locked(folder / "room", shared="alone" not in request.keywords))
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that differ from test to test and not from run to run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
