"""Code in a Python of its own: for environment variables, imports and ends of processes."""

from __future__ import annotations

import os
import subprocess
import sys


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the code in a new Python, with these environment variables and none of fastnorm's own."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FASTNORM_", "OMP_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def succeeds(code: str, **environment: str) -> str:
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
