"""What is said where the distribution of the same import name has files in the package's folder."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import fastnorm
import pytest
from processes import run, succeeds

PACKAGE = Path(fastnorm.__file__).parent
BOTH = "are both installed in"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the package, importable from the folder that is returned."""
    shutil.copytree(PACKAGE, tmp_path / "fastnorm", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def install_other(folder: Path) -> str:
    """Install what counts of the other distribution, and return the package's own `__init__.py`."""
    init = folder / "fastnorm" / "__init__.py"
    own = init.read_text(encoding="utf-8")
    init.write_text("from .bvnorm import bivar_norm_cdf\n", encoding="utf-8")
    (folder / "fastnorm" / "bvnorm.py").write_text("bivar_norm_cdf = abs\n", encoding="utf-8")
    info = folder / "fastnorm-26.3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: fastnorm\nVersion: 26.3.1\n", encoding="utf-8")
    (info / "RECORD").write_text("fastnorm/__init__.py,,\nfastnorm/bvnorm.py,,\n", encoding="utf-8")
    return own


def imported(folder: Path, code: str) -> str:
    """Return code that runs the given code on the package of that folder, whatever else finds it."""
    return f"""
import sys, warnings
warnings.simplefilter("always", RuntimeWarning)
sys.meta_path[:] = sys.meta_path[-3:]  # without the finder of an editable installation
sys.path[:] = [{str(folder)!r}, *(there for there in sys.path if there != {str(PACKAGE.parent)!r})]
sys.path.append({str(PACKAGE.parent)!r})  # where NumPy may be
{code}
"""


def test_this_one_over_the_other(folder: Path) -> None:
    own = install_other(folder)
    (folder / "fastnorm" / "__init__.py").write_text(own, encoding="utf-8")
    code = imported(folder, "import fastnorm; print(fastnorm.gelu(0.0), fastnorm.__file__)")
    done = run(code)
    assert done.stdout.split() == ["0.0", str(folder / "fastnorm" / "__init__.py")]
    assert "RuntimeWarning: fastnorm-kernels" in done.stderr
    assert f"fastnorm 26.3.1, another project, {BOTH} {folder / 'fastnorm'}" in done.stderr
    assert "pip uninstall fastnorm fastnorm-kernels" in done.stderr
    assert "<string>:7: RuntimeWarning" in done.stderr  # the line of the import


def test_nothing_is_said_of_files_that_are_not_installed(folder: Path) -> None:
    own = install_other(folder)
    (folder / "fastnorm" / "__init__.py").write_text(own, encoding="utf-8")
    shutil.rmtree(folder / "fastnorm-26.3.1.dist-info")
    assert BOTH not in run(imported(folder, "import fastnorm")).stderr


METADATA, RECORD = b"Name: fastnorm\nVersion: 26.3.1\n", b"fastnorm/__init__.py,,\nfastnorm/bvnorm.py,,\n"
DAMAGED = {
    "METADATA": [b"", METADATA + b"Author: \xe9\n", None],
    "RECORD": [
        *(b"", RECORD + b"fastnorm/\xe9.py,,\n", b"\n\n" + RECORD, b"fastnorm/bvnorm.py,,,\n", None),
        *(b"fastnorm/bvnorm.py,sha256=zz,abc\n", b"fastnorm/bvnorm.py,sha256,3\n", b"a\0/bvnorm.py,,\n"),
        *(b"x" * 200_000 + b",,\n" + RECORD, b'"fastnorm/bvnorm.py,,\n'),
    ],
}


def test_damaged_metadata_of_the_other_stops_no_import(folder: Path) -> None:
    """What is not there is written as a link to itself."""
    own = install_other(folder)
    (folder / "fastnorm" / "__init__.py").write_text(own, encoding="utf-8")
    shutil.rmtree(folder / "fastnorm-26.3.1.dist-info")
    folders = []
    for name, contents in DAMAGED.items():
        for number, content in enumerate(contents):
            info = folder / f"{name}{number}" / "fastnorm-26.3.1.dist-info"
            info.mkdir(parents=True)
            for file, right in (("METADATA", METADATA), ("RECORD", RECORD)):
                written = content if file == name else right
                if written is None:
                    (info / file).symlink_to(file)
                else:
                    (info / file).write_bytes(written)
            (info.parent / "fastnorm").symlink_to(folder / "fastnorm")
            folders.append(str(info.parent))
    code = imported(folder, "import fastnorm; print(fastnorm.gelu(0.0)); from fastnorm import _distribution")
    code += f"""
for there in {folders!r}:
    sys.path.insert(0, there)
    found = _distribution.other_version({str(folder / "fastnorm")!r})
    assert found in (None, "26.3.1"), (there, found)
    sys.path.remove(there)

class Finder:
    find_spec = staticmethod(lambda *arguments: None)
    find_distributions = staticmethod(lambda *arguments: 1 / 0)

sys.meta_path.append(Finder)
assert _distribution.other_version({str(folder / "fastnorm")!r}) is None
assert _distribution.version() in (fastnorm.__version__, "unknown")
sys.modules["importlib.metadata"] = None
assert _distribution.other_version({str(folder / "fastnorm")!r}) is None
assert _distribution.version() == "unknown"
"""
    assert succeeds(code).split() == ["0.0"]


def test_a_damaged_one_hides_no_other(folder: Path) -> None:
    own = install_other(folder)
    (folder / "fastnorm" / "__init__.py").write_text(own, encoding="utf-8")
    info = folder / "damaged" / "fastnorm-1.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_bytes(b"\xe9\n")
    done = run(imported(folder, f"sys.path.insert(0, {str(info.parent)!r}); import fastnorm"))
    assert f"fastnorm 26.3.1, another project, {BOTH} {folder / 'fastnorm'}" in done.stderr


@pytest.mark.parametrize("module", ["fastnorm.norms", "fastnorm.runtime", "fastnorm.mlp"])
def test_the_other_over_this_one(folder: Path, module: str) -> None:
    install_other(folder)
    done = run(imported(folder, f"import {module}"))
    assert done.returncode != 0
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"ImportError: {folder / 'fastnorm' / '__init__.py'} is not this package's")
    assert "the distribution fastnorm, another project" in said


def test_the_command(folder: Path) -> None:
    install_other(folder)
    code = "import runpy; runpy.run_module('fastnorm', run_name='__main__')"
    assert "__init__.py is not this package's" in run(imported(folder, code)).stderr


def test_the_other_uninstalled(folder: Path) -> None:
    install_other(folder)
    for name in ("__init__.py", "bvnorm.py"):
        (folder / "fastnorm" / name).unlink()
    shutil.rmtree(folder / "fastnorm-26.3.1.dist-info")
    # A package in another folder would be taken before what has no `__init__.py`.
    alone = "import numpy; sys.path.remove(sys.path[-1]); import fastnorm.norms"
    done = run(imported(folder, alone))
    assert f"ImportError: {folder / 'fastnorm' / '__init__.py'} is missing" in done.stderr


def test_an_import_reads_no_metadata() -> None:
    succeeds("import sys, numpy; sys.modules['importlib.metadata'] = None; import fastnorm")


def test_version() -> None:
    try:
        expected = importlib.metadata.version("fastnorm-kernels")
    except importlib.metadata.PackageNotFoundError:
        expected = "unknown"
    assert fastnorm.__version__ == expected
