"""More rows than memory: norms and scores with Dask
=================================================

An array that is larger than what its workers may hold is normalised and scored by a network, chunk by chunk,
on the processes of this machine; a cluster takes the same program. The network learns from the same chunks,
in their order, and batch norm takes the statistics of all of them::

    pip install "fastnorm-kernels[dask,examples]"
    python examples/dask_scores.py
    python examples/dask_scores.py --rows 20000000  # 20 GB
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support import SEED, check_picture, draw, installed_by, require, whole

Array = NDArray[Any]
FEATURES, CHUNK = 256, 20_000  # 20 MB a chunk


def peak_megabytes() -> float:
    """Return the most memory that the process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def target_of(chunk: Array) -> Array:
    """Return what is to be learned of rows: the sum of two products."""
    return (chunk[:, :1] * chunk[:, 1:2] + chunk[:, 2:3]).astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Normalise and score an array that is larger than memory.")
    parser.add_argument("--rows", type=whole(1), default=1_000_000, help="(default: %(default)s: 1 GB)")
    parser.add_argument(
        "--chunk", type=whole(1), default=CHUNK, help="rows of a chunk (default: %(default)s)"
    )
    parser.add_argument("--workers", type=whole(1), default=2, help="processes (default: %(default)s)")
    parser.add_argument("--memory", default="700MB", help="that a worker may hold (default: %(default)s)")
    parser.add_argument("--steps", type=whole(0), default=8, help="of training (default: %(default)s)")
    parser.add_argument("--seed", type=SEED, default=0, help="(default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("dask_scores.png"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    check_picture(parser, options.plot)
    require("matplotlib")
    with installed_by("dask"):
        import dask.array as da
        import fastnorm.dask
        from dask.distributed import Client, LocalCluster

    chunks = (min(options.chunk, options.rows), FEATURES)
    cluster = LocalCluster(
        n_workers=options.workers,
        threads_per_worker=1,
        memory_limit=options.memory,
        dashboard_address=None,
        # A thread a worker, and no memory kept for the next result: what is kept would count as held.
        env={"FASTNORM_NUM_THREADS": "1", "FASTNORM_CACHE_MB": "0"},
    )
    with cluster, Client(cluster) as client:
        rng = da.random.default_rng(options.seed)
        x = rng.standard_normal((options.rows, FEATURES), chunks=chunks, dtype=np.float32)
        print(f"{options.rows} rows of {FEATURES}: {x.nbytes / 1e9:.2f} GB in {x.npartitions} chunks,")
        print(f"{options.workers} workers of {options.memory} at most")

        normed = fastnorm.dask.map_op(fastnorm.layer_norm, x)
        target = x.map_blocks(target_of, dtype=np.float32, chunks=(x.chunks[0], (1,)))
        learned, goal = normed[: 4 * chunks[0]], target[: 4 * chunks[0]]
        mlp, adam = fastnorm.MLP([FEATURES, 64, 1], seed=options.seed), fastnorm.Adam(lr=3e-3)
        losses = []
        for _ in range(options.steps):
            loss, dweights, dbiases = fastnorm.dask.gradients(mlp, learned, goal)
            adam.update((*mlp.weights, *mlp.biases), [*dweights, *dbiases])
            losses.append(loss)
        if losses:
            print(
                f"loss of {len(learned)} rows {losses[0]:.3f}, after {options.steps} steps {losses[-1]:.3f}"
            )

        began = time.perf_counter()
        scores = fastnorm.dask.predict(mlp, normed)
        squares, mean = da.compute(((scores - target) ** 2).mean(), scores.mean())
        seconds = time.perf_counter() - began
        held = max(client.run(peak_megabytes).values())
        print(f"scored in {seconds:.1f} s, {x.nbytes / seconds / 1e9:.2f} GB a second; mean {mean:+.3f}")
        print(f"mean squared error of all rows {squares:.3f}; a worker held {held:.0f} MB at most")

        part = normed[: min(2 * chunks[0], options.rows)]
        batch, array = da.compute(fastnorm.dask.batch_norm(part), part)
        apart = float(np.abs(batch - fastnorm.batch_norm(array, training=True)).max())
        print(f"batch norm of {part.npartitions} chunks is within {apart:.0e} of that of one array")
        assert apart < 1e-5

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        names = ["the array", f"a worker,\nof {options.workers}"]
        axes.bar(names, [x.nbytes / 1e6, held], color=["#56B4E9", "#D55E00"])
        axes.set(ylabel="megabytes")
        axes.grid(visible=True, axis="y")

    draw(options.plot, (4, 3), paint, "what a worker holds is set by the chunks, not by the array")


if __name__ == "__main__":
    main()
