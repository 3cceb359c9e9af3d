"""Time one or a few workloads against all installed peers, in turns, and print every contender.

::

    python bench/compare.py --op layer_norm --shape 512x768 --threads 1,2
    python bench/compare.py --op layer_norm,gelu --shape 32x768,4096x1024 --seconds 3 --peers numpy,torch
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import peers
import tables
from comparison import BrokenContractError, Comparison, Request, fits
from fastnorm._report.files import refusal
from fastnorm._report.workloads import WORKLOADS, format_shape, parse_shape
from worker import default_threads, workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where a result of fastnorm was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = ",".join(WORKLOADS)
    parser.add_argument("--op", default="layer_norm", help=f"workloads, comma-separated, or all: {names}")
    parser.add_argument(
        "--shape", default="512x768", help="shapes, comma-separated, or all (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        default=",".join(map(str, default_threads())),
        help="thread counts (default: %(default)s)",
    )
    parser.add_argument("--dtype", default="float32", help="type of the arrays (default: %(default)s)")
    parser.add_argument(
        "--peers",
        default=",".join(peers.DEFAULT),
        help=f"libraries (default: %(default)s; also {', '.join(peers.OPTIONAL)})",
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="time for a comparison (default: %(default)s)"
    )
    parser.add_argument("--save", type=Path, metavar="JSON", help="write the summary to this file")
    options = parser.parse_args(arguments)
    if options.save and (reason := refusal(options.save)):
        parser.error(reason)

    chosen = list(WORKLOADS) if options.op == "all" else options.op.split(",")
    if unknown := [name for name in chosen if name not in WORKLOADS]:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {names}")
    try:
        given = None if options.shape == "all" else [parse_shape(text) for text in options.shape.split(",")]
    except ValueError:
        parser.error(f"--shape is {options.shape}, needs shapes such as 512x768, comma-separated")
    requests = [
        Request(
            name,
            shape,
            int(threads),
            options.dtype,
            options.seconds,
            tuple(filter(None, options.peers.split(","))),
        )
        for threads in options.threads.split(",")
        for name in chosen
        for shape in given or WORKLOADS[name].shapes
    ]
    comparisons: list[Comparison] = []
    status = 0
    with workers() as worker_of:
        for request in requests:
            if not WORKLOADS[request.workload].takes(request.shape):
                print(f"{request.label()}: cannot be called at {format_shape(request.shape)}\n")
                continue
            if not fits(request):
                print(f"{request.label()}: {format_shape(request.shape)} needs more memory than there is\n")
                continue
            try:
                comparisons.append(worker_of[request.threads].compare(request))
                print(tables.contender_table(comparisons[-1]), end="\n\n", flush=True)
            except BrokenContractError as error:
                print(f"{error}\n", flush=True)
                status = 1
    if len(comparisons) > 1:
        print(tables.summary_table(comparisons))
    if options.save:
        tables.save(comparisons, options.save)
    return status


if __name__ == "__main__":
    sys.exit(main())
