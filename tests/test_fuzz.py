"""The calls that fuzzing has found worth keeping, files of tests/corpus/calls; and the fuzzer itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REFERENCE_ONLY

TESTS = Path(__file__).parent
CORPUS = sorted((TESTS / "corpus" / "calls").glob("*.json"))

pytestmark = pytest.mark.skipif(REFERENCE_ONLY, reason="compares the backends")


def fuzz(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests/fuzz_calls.py, whose calls may end its processes."""
    command = [sys.executable, str(TESTS / "fuzz_calls.py"), "--save", str(tmp_path), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_corpus(tmp_path: Path) -> None:
    assert CORPUS
    done = fuzz(tmp_path, "--replay", *map(str, CORPUS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CORPUS)} calls, 0 failed" in done.stdout


def test_a_second_of_random_calls(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "--seconds", "1")
    assert done.returncode == 0, done.stdout + done.stderr


CRASH = """
import ctypes, sys
sys.path.insert(0, {tests!r})
import fuzz_calls

def crash(case):
    ctypes.string_at(0)

fuzz_calls.Case.check = crash
sys.argv = ["fuzz_calls.py", "--worker", "--seconds", "5", "--save", {save!r}]
fuzz_calls.main()
"""


def test_a_crash_leaves_its_call(tmp_path: Path) -> None:
    code = CRASH.format(tests=str(TESTS), save=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr
    assert (tmp_path / "latest.json").read_text().startswith('{"')
