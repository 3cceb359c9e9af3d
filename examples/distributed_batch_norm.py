"""Batch norm over processes
=========================

Batch norm of a batch that is spread over several processes, forward and backward.

Each process holds a part of the batch. They exchange the moments of their parts, three numbers a channel, and
normalise by the merged ones, which are those of the whole batch; in the backward they exchange the sums
behind dweight and dbias. Parts may be uneven, and empty.

The picture needs the extra ``examples``::

    python examples/distributed_batch_norm.py --processes 4 --rows 1000 --channels 16
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from fastnorm import Moments
from numpy.typing import NDArray
from support import check_picture, draw, whole

Array = NDArray[Any]
Gather = Callable[[Any], list[Any]]  # takes what a process contributes, returns what all of them have

NAMES = ("y", "dx", "dweight", "dbias")
AGREEMENT = 1e-5  # largest difference allowed, over the size of what is added up


def batch_norm(x: Array, weight: Array, bias: Array, gather: Gather) -> tuple[Array, Moments]:
    """Return this process's part of the result, and the moments of the whole batch."""
    merged = functools.reduce(Moments.merge, gather(fastnorm.moments(x, 0)))
    return fastnorm.batch_norm(x, weight, bias, stats=merged.stats()), merged


def batch_norm_backward(
    dy: Array, x: Array, weight: Array, bias: Array, merged: Moments, gather: Gather
) -> tuple[Array, Array, Array]:
    """Return this process's part of dx, and dweight and dbias of the whole batch.

    ``dx = weight * rstd * (dy - dbias / n - xhat * dweight / n)`` with the sums over the whole batch: what
    the backward with constant statistics gives, less an affine function of xhat, which batch_norm itself
    computes.
    """
    stats = merged.stats()
    dx, *sums = fastnorm.batch_norm_backward(dy, x, weight, bias, stats=stats)
    dweight, dbias = np.sum(gather(np.array(sums)), axis=0)
    factor = (weight * stats[1] / merged.count).astype(x.dtype)
    return dx - fastnorm.batch_norm(x, factor * dweight, factor * dbias, stats=stats), dweight, dbias


def work(connection: Connection, x: Array, dy: Array, weight: Array, bias: Array) -> None:
    """Run one process: the forward and the backward of its part."""

    def gather(contribution: Any) -> list[Any]:
        connection.send(contribution)
        gathered: list[Any] = connection.recv()
        return gathered

    y, merged = batch_norm(x, weight, bias, gather)
    connection.send((y, *batch_norm_backward(dy, x, weight, bias, merged, gather)))


def run(
    x: Array, dy: Array, weight: Array, bias: Array, sizes: Sequence[int]
) -> tuple[Array, Array, Array, Array]:
    """Return y, dx, dweight and dbias of a batch divided into parts of these sizes, each in a process of its
    own.
    """
    context = multiprocessing.get_context("spawn")
    cuts = np.cumsum(sizes)[:-1]
    processes, connections = [], []
    for x_part, dy_part in zip(np.split(x, cuts), np.split(dy, cuts), strict=True):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, x_part, dy_part, weight, bias))
        process.start()
        theirs.close()
        processes.append(process)
        connections.append(ours)
    for _ in range(2):  # the moments, then the sums
        contributions = [connection.recv() for connection in connections]
        for connection in connections:
            connection.send(contributions)
    results = [connection.recv() for connection in connections]
    for process in processes:
        process.join()
    y, dx = (np.concatenate([result[k] for result in results]) for k in range(2))
    return y, dx, results[0][2], results[0][3]


def terms(x: Array, dy: Array, weight: Array, bias: Array) -> tuple[Array, Array, Array, Array]:
    """Return the sizes of what is added up to y, dx, dweight and dbias, to which rounding is in proportion.

    The results themselves may be close to 0, as dx is with two rows.
    """
    mean, rstd = fastnorm.moments(x, 0).stats()
    xhat = np.abs(x - mean) * rstd
    return (
        abs(weight) * xhat + abs(bias),
        abs(weight) * rstd * abs(dy),
        (xhat * abs(dy)).sum(0),
        abs(dy).sum(0),
    )


def plot(x: Array, sizes: Sequence[int], path: Path) -> None:
    """Draw mean and deviation of each channel, of the parts and of the whole batch."""
    parts = [part for part in np.split(x, np.cumsum(sizes)[:-1]) if len(part)]
    moments = [fastnorm.moments(part, 0) for part in parts]
    merged = functools.reduce(Moments.merge, moments)

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        channels = np.arange(x.shape[1])
        for number, of_part in enumerate(moments):
            place = channels + 0.5 * (number + 1) / (len(moments) + 1) - 0.25
            label = f"a part of {int(of_part.count)} rows"
            axes.errorbar(place, of_part.mean, np.sqrt(of_part.m2 / of_part.count), fmt=".", label=label)
        axes.hlines(merged.mean, channels - 0.4, channels + 0.4, color="black")
        axes.set(xlabel="channel", ylabel="mean, and deviation")
        axes.legend(fontsize=8)

    draw(path, (7, 3.6), paint, "each part has moments of its own, the black lines are the merged means")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare with one process; the exit status is 1 where the results differ by more than rounding."""
    parser = argparse.ArgumentParser(description="Batch norm of a batch that is spread over processes.")
    parser.add_argument(
        "--processes", type=whole(1), default=3, help="parts of the batch (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", type=whole(2), default=1000, help="of the whole batch (default: %(default)s)"
    )
    parser.add_argument("--channels", type=whole(1), default=16, help="of a row (default: %(default)s)")
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("distributed_batch_norm.svg"),
        help="the picture (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    check_picture(parser, options.plot)

    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, options.rows, options.channels)).astype(np.float32)
    weight, bias = 1 + rng.standard_normal((2, options.channels)).astype(np.float32)
    sizes = rng.multinomial(options.rows, rng.dirichlet(np.ones(options.processes)))
    spread = run(x, dy, weight, bias, [int(size) for size in sizes])
    alone = (
        fastnorm.batch_norm(x, weight, bias, training=True),
        *fastnorm.batch_norm_backward(dy, x, weight, bias, training=True),
    )
    print(
        f"parts of {', '.join(map(str, sizes))} rows in {options.processes} processes, against one process:"
    )
    differences = []
    sizes_of_terms = terms(x, dy, weight, bias)
    for name, got, expected, size in zip(NAMES, spread, alone, sizes_of_terms, strict=True):
        assert expected is not None
        differences.append(float(np.linalg.norm(got - expected) / np.linalg.norm(size)))
        print(f"  {name:8} differs by {differences[-1]:.1e} of its terms")
    plot(x, [int(size) for size in sizes], options.plot)
    return 0 if max(differences) < AGREEMENT else 1  # NaN is no agreement


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/distributed_batch_norm.svg"
