"""No crash and no hang while other threads change the arguments of calls: tests/mutated_calls.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REFERENCE_ONLY


@pytest.mark.skipif(REFERENCE_ONLY, reason="about the extension")
def test_mutated_calls() -> None:
    script = Path(__file__).parent / "mutated_calls.py"
    command = [sys.executable, str(script), "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 faults" in done.stdout
