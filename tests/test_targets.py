"""The objects of the instruction sets must share no function with the rest of the extension.

A function that two objects define weakly is kept once by the linker, compiled for whichever instruction set
it met first: on an older CPU that is an illegal instruction. `FASTNORM_BUILD_DIR` names the build folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import fastnorm
import pytest

BUILD = os.environ.get("FASTNORM_BUILD_DIR")
pytestmark = pytest.mark.skipif(BUILD is None, reason="FASTNORM_BUILD_DIR is not set")

WEAK = frozenset("uvVwW")  # unique, weak objects and weak functions, defined or not


def objects() -> list[Path]:
    """The compiled kernels: CMakeFiles/fastnorm_<target>_<family>.dir/cpp/kernels/<family>/<family>.cpp.o."""
    return sorted(path for path in Path(str(BUILD)).rglob("*.o") if path.parent.parent.name == "kernels")


def target_of(path: Path) -> str:
    """The target that an object is for."""
    folder = next(part for part in path.parts if part.startswith("fastnorm_") and part.endswith(".dir"))
    return folder.removeprefix("fastnorm_").removesuffix(f"_{path.parent.name}.dir")


def symbols(path: Path) -> list[tuple[str, str]]:
    """Kind and name of each symbol of an object, names as written in C++."""
    nm = shutil.which("nm")
    assert nm is not None, "nm is missing"
    done = subprocess.run([nm, "-C", "-P", str(path)], capture_output=True, text=True, check=True, timeout=60)
    found = []
    for line in done.stdout.splitlines():
        # name, kind, and value and size where defined; a name may hold spaces.
        words = line.split()
        kind = next(
            index
            for index in range(len(words) - 1, 0, -1)
            if len(words[index]) == 1 and words[index].isalpha()
        )
        found.append((words[kind], " ".join(words[:kind])))
    return found


def test_there_are_objects() -> None:
    everywhere = fastnorm.available_targets()[-1]
    assert everywhere in {target_of(path) for path in objects()}


def test_no_weak_symbols() -> None:
    for path in objects():
        weak = [name for kind, name in symbols(path) if kind in WEAK]
        assert not weak, f"{path.name}: {weak}"


def test_one_public_symbol() -> None:
    """Each object defines what fills its family's table, copies also what moves rows for all families
    (move_rows, gather, band_to_read, write_band), linear also what fills the table of mlp, and nothing else.
    """
    for path in objects():
        target = target_of(path)
        public = [name for kind, name in symbols(path) if kind.isupper() and kind != "U"]
        others = {
            "copies": ("move_rows(", "gather(", "band_to_read(", "write_band("),
            "linear": ("fill(fastnorm::MlpKernels",),
        }
        for other in others.get(path.parent.name, ()):
            public.remove(next(name for name in public if f"{target}::{other}" in name))
        assert len(public) == 1, f"{target}, {path.name}: {public}"
        assert f"{target}::fill(" in public[0]


def test_no_initialisers() -> None:
    """Nothing runs when the extension is loaded: it would, on a CPU without these instructions."""
    for path in objects():
        names = [name for _, name in symbols(path) if "_GLOBAL__sub_I" in name or "guard variable" in name]
        assert not names, f"{path.name}: {names}"


def test_no_library_functions() -> None:
    """What an object needs from outside is C memory and mathematics at most."""
    for path in objects():
        needed = [name for kind, name in symbols(path) if kind == "U" and name.startswith("std::")]
        assert not needed, f"{path.name}: {needed}"
