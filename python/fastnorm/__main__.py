"""The command ``python -m fastnorm``: is fastnorm right and fast on this machine, and what does it run on."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _backend, runtime
from ._report.check import Extent, check
from ._report.console import Console
from ._report.files import refusal
from ._report.machine import describe
from ._report.peers import PEERS
from ._report.speed import TABLE, compare, pictured, speed
from ._report.workloads import WORKLOADS, parse_shape

COMMANDS = {
    "check": "only the checks",
    "speed": "only the speed table",
    "compare": "times beside the libraries that are installed",
    "info": "the configuration",
}
# What compare takes when the command line does not say.
COMPARED = {"op": ",".join(TABLE), "shape": "512x768", "threads": "", "peers": ",".join(PEERS)}
INTERRUPTED, PIPE_CLOSED = 130, 141  # the exit status that shells give to these signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where an op breaks its contract."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has seen enough; the interpreter would complain when it flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "info" and options.plot:
        parser.error("--plot: info has no times to draw")
    given = [name for name in COMPARED if getattr(options, name) is not None]
    if given and options.command != "compare":
        parser.error(f"{', '.join(f'--{name}' for name in given)}: only compare takes this")
    if options.json and options.plot and os.path.realpath(options.json) == os.path.realpath(options.plot):
        parser.error(f"{options.json} cannot be both --json and --plot")
    if options.plot:
        try:
            from ._report.picture import draw
        except ImportError:
            parser.error("--plot needs matplotlib: pip install matplotlib")
    for path in filter(None, (options.json, options.plot)):
        if reason := refusal(path):
            parser.error(reason)
    if options.command == "info":
        runtime.show_config()
        if options.json:
            _save(parser, options.json, {"machine": describe(), "configuration": runtime.configuration()})
        return 0

    chosen = _what_to_compare(parser, options) if options.command == "compare" else None
    extent = Extent.QUICK if options.quick else Extent.FULL if options.full else Extent.NORMAL
    console = Console(plain=options.plain, wide=options.full)
    machine = describe()
    _introduce(console, machine)
    content: dict[str, Any] = {"machine": machine, "checks": [], "rows": []}
    right = True
    if options.command in (None, "check"):
        checked = check(console, extent)
        right = not any(found.broken for found in checked)
        content["checks"] = [found.row() for found in checked]
    if options.command is None:
        console.line()
    figures = []
    if options.command in (None, "speed"):
        figures = speed(console, extent)
    elif chosen:
        figures = compare(console, extent, *chosen)
        if not figures:
            parser.error("nothing was timed: no op that was chosen takes a shape that was chosen")
    content["rows"] = [found.row() for found in figures]
    if options.json:
        _save(parser, options.json, content)
        console.line(f"All figures: {options.json}")
    if options.plot:
        shown = figures if chosen else pictured(console, figures)
        draw({**content, "rows": [found.row() for found in shown]}, options.plot)
        console.line(f"Picture: {options.plot}")
    if options.command is None:
        _what_next(console)
    return 0 if right else 1


def _save(parser: argparse.ArgumentParser, path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        parser.error(f"{path}: {error.strerror}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastnorm",
        description="Checks every op against its NumPy twin on this machine, then prints a speed table.",
    )
    listed = "; ".join(f"{name}: {text}" for name, text in COMMANDS.items())
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, help=f"{listed} (default: checks and speed table)"
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="20 seconds: fewer shapes, shorter timings")
    extent.add_argument("--full", action="store_true", help="every op, type, target and shape: minutes")
    parser.add_argument("--plain", action="store_true", help="neither colours nor progress")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "--plot", type=_picture, metavar="FILE", help="draw the speed over the size of the arrays: .svg, .png"
    )
    group = parser.add_argument_group("what compare takes")
    group.add_argument("--op", metavar="NAMES", help="comma-separated, or all (default: those of the table)")
    group.add_argument(
        "--shape", metavar="SHAPES", help=f"comma-separated, or all (default: {COMPARED['shape']})"
    )
    group.add_argument("--threads", type=int, metavar="N", help="default: as many as fastnorm takes")
    group.add_argument("--peers", metavar="NAMES", help=f"default: {COMPARED['peers']}")
    return parser


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".svg", ".png"):
        raise argparse.ArgumentTypeError(f"{text} is neither .svg nor .png")
    return path


def _what_to_compare(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> tuple[list[str], list[tuple[int, ...]] | None, list[str]]:
    """Return names, shapes and libraries; set the number of threads."""
    op, shape, peers = (getattr(options, name) or COMPARED[name] for name in ("op", "shape", "peers"))
    names = list(WORKLOADS) if op == "all" else op.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"--op has {', '.join(unknown)}, needs some of {', '.join(WORKLOADS)}")
    libraries = peers.split(",")
    if unknown := [name for name in libraries if name not in PEERS]:
        parser.error(f"--peers has {', '.join(unknown)}, needs some of {', '.join(PEERS)}")
    try:
        shapes = None if shape == "all" else [parse_shape(text) for text in shape.split(",")]
    except ValueError:
        parser.error(f"--shape is {shape}, needs shapes such as 512x768, comma-separated")
    if options.threads is not None:
        if not 1 <= options.threads <= runtime.MOST_THREADS:
            parser.error(f"--threads is {options.threads}, needs 1 to {runtime.MOST_THREADS}")
        runtime.set_num_threads(options.threads)
    return names, shapes, libraries


def _introduce(console: Console, machine: dict[str, str]) -> None:
    """Print the machine and the versions."""
    console.line(f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['system']}")
    on = "the reference backend"
    if _backend.name() == "native":
        threads = runtime.get_num_threads()
        on = f"{runtime.active_target()}, {threads} thread{'s' if threads > 1 else ''}"
    names = {"python": "Python", "numpy": "NumPy", "scipy": "SciPy"}
    versions = [f"{name} {machine[key]}" for key, name in names.items() if key in machine]
    console.line(f"fastnorm {machine.get('fastnorm', 'unknown')} on {on}; {', '.join(versions)}")
    console.line()


def _what_next(console: Console) -> None:
    console.line("Next: help(fastnorm) lists the ops; python -m fastnorm compare times PyTorch,")
    console.line("  --full takes every op, type, target and shape, --help says what else there is.")


def _finite(value: Any) -> Any:
    """Return the same content as JSON can hold it: None for what is no number."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
