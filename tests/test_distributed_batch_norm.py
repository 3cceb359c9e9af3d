"""The example that spreads a batch over processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "distributed_batch_norm.py"


@pytest.mark.parametrize(("processes", "rows", "channels"), [(1, 20, 3), (3, 200, 3), (4, 5, 3), (3, 2, 1)])
def test_several_processes_agree_with_one(processes: int, rows: int, channels: int, tmp_path: Path) -> None:
    """Parts may be uneven and, with as few rows, empty; with two, dx is next to 0."""
    command = [
        sys.executable,
        str(SCRIPT),
        "--processes",
        str(processes),
        "--rows",
        str(rows),
        "--channels",
        str(channels),
        "--plot",
        str(tmp_path / "moments.svg"),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for name in ("y", "dx", "dweight", "dbias"):
        assert f"  {name} " in finished.stdout
