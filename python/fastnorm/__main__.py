"""The command ``python -m fastnorm``: is fastnorm right and fast on this machine, and what does it run on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import runtime
from ._report.check import check
from ._report.console import make_console
from ._report.speed import speed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where an op breaks its contract."""
    parser = argparse.ArgumentParser(
        prog="python -m fastnorm",
        description="Checks every op against its NumPy twin on this machine, then prints a speed table.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["check", "speed", "info"],
        help="only the checks, only the speed table, or the configuration (default: checks and speed table)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer shapes and shorter timings")
    parser.add_argument("--plain", action="store_true", help="plain text even where rich is installed")
    options = parser.parse_args(arguments)

    if options.command == "info":
        runtime.show_config()
        return 0
    console = make_console(options.plain)
    right = options.command == "speed" or check(console, quick=options.quick)
    if options.command != "check":
        speed(console, quick=options.quick)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
