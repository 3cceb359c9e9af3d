"""What the build says to compilers that it refuses, and what tools/check_wheel.py finds."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from loading import ROOT, load

RULES = ROOT / "cpp" / "compiler.cmake"
CMAKE = shutil.which("cmake")
needs_source = pytest.mark.skipif(not RULES.exists(), reason="the sources are not here")


def said(compiler: str, version: str, *definitions: str) -> str:
    if CMAKE is None:
        pytest.skip("CMake is not here")
    names = {"ID": compiler, "VERSION": version}
    known = [f"-DCMAKE_CXX_COMPILER_{name}={value}" for name, value in names.items()]
    known += [f"-D{name}" for name in ("CMAKE_CXX_COMPILER=/opt/c++", *definitions)]
    done = subprocess.run([CMAKE, *known, "-P", str(RULES)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not done.stderr), done.stderr
    return " ".join(done.stderr.split())


@needs_source
@pytest.mark.parametrize(
    ("compiler", "old", "needed"),
    [
        ("GNU", "10.2.1", "11"),
        ("Clang", "13.0.1", "14"),
        ("AppleClang", "13.1.6", "14"),
        ("MSVC", "19.16.27045", "19.29"),
    ],
)
def test_old_compilers(compiler: str, old: str, needed: str) -> None:
    text = said(compiler, old)
    assert f"fastnorm needs {compiler.replace('GNU', 'GCC')} {needed} or newer" in text
    assert f"/opt/c++ is {old}" in text
    assert said(compiler, f"{needed}.1") == ""


@needs_source
def test_unknown_compilers_are_tried() -> None:
    assert said("IntelLLVM", "2023.1") == ""


@needs_source
def test_gcc_on_windows() -> None:
    assert "fastnorm cannot be built with GCC on Windows" in said("GNU", "14.2.0", "WIN32=1")
    assert said("Clang", "19.1.0", "WIN32=1") == ""


@needs_source
def test_wheels_are_checked(tmp_path: Path) -> None:
    check_wheel = load(ROOT / "tools" / "check_wheel.py")
    names = {*check_wheel.NEEDED, "fastnorm/_core.cpython-311-x86_64-linux-gnu.so"}

    def faults(files: set[str], size: int = 1) -> str:
        wheel = tmp_path / "a.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in files:
                archive.writestr(name, bytes(size))
        return "; ".join(check_wheel.faults(wheel))

    assert faults(names) == ""
    assert "needs fewer than 2300000" in faults(names, 600_000)
    assert "bundles ['fastnorm_kernels.libs/libgomp.so.1']" in faults(
        {*names, "fastnorm_kernels.libs/libgomp.so.1"}
    )
    assert "needs one" in faults(set(check_wheel.NEEDED))
    assert "lacks ['fastnorm/py.typed']" in faults(names - {"fastnorm/py.typed"})
