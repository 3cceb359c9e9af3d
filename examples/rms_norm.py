"""RMS norm beside layer norm
==========================

"Root Mean Square Layer Normalization" (arXiv:1910.07467) on a small scale: the same Transformer with layer
norm, RMS norm and pRMSNorm, which takes the mean square over a part of each row; what they learn, and how
long a step takes.

A causal Transformer over characters learns the reference of the Python language (``small_transformer.py``).
All norms see the same texts in the same order, start from the same weights, and the settings are tuned for
none. Times are medians of steps taken in turns, on one thread::

    pip install fastnorm-kernels[examples,progress]
    python examples/rms_norm.py                       # two seeds, half a minute
    python examples/rms_norm.py --full --rounds 0     # five seeds, some minutes, no times
    python examples/rms_norm.py --seeds 0             # the times alone, on a machine that does nothing else
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from small_transformer import (
    FULL_SEEDS,
    FULL_STEPS,
    Norm,
    Results,
    SmallTransformer,
    Training,
    add_options,
    check,
    compare,
    settings,
    show,
    text,
)
from support import boxes, draw, progress, table, whole

NORMS: dict[str, Norm] = {
    "layer_norm": (fastnorm.layer_norm, {}),
    "rms_norm": (fastnorm.rms_norm, {}),
    "pRMSNorm, 25 %": (fastnorm.rms_norm, {"fraction": 0.25}),
    "pRMSNorm, 6.25 %": (fastnorm.rms_norm, {"fraction": 0.0625}),
}
BASELINE = "layer_norm"
SHAPES = ((512, 96), (512, 768), (4096, 1024))  # of a norm alone; the first is the model's


def in_turns(tasks: Mapping[str, Callable[[], Any]], rounds: int, what: str) -> dict[str, list[float]]:
    """Return the seconds of each task in each of so many rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in progress(range(-2, rounds), what):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if number >= 0:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def step_times(rounds: int, *, batch: int, dim: int) -> dict[str, list[float]]:
    """Return the seconds of steps of training with each norm."""
    learned, _ = text()
    trainings = {
        name: Training(
            SmallTransformer(norm, dim=dim), learned, steps=rounds + 3, batch=batch, lr=1e-3, seed=0
        )
        for name, norm in NORMS.items()
    }
    return in_turns({name: training.step for name, training in trainings.items()}, rounds, "times of a step")


def norm_times(rounds: int, shape: tuple[int, int]) -> dict[str, list[float]]:
    """Return the seconds of the forward and backward of each norm alone."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    weight, bias = np.ones((2, shape[1]), np.float32)

    def task(norm: Norm) -> Callable[[], Any]:
        op, keywords = norm
        arrays = (x, weight, bias) if op is fastnorm.layer_norm else (x, weight)

        def both() -> None:
            op(*arrays, **keywords)
            op.backward(dy, *arrays, **keywords)

        return both

    return in_turns({name: task(norm) for name, norm in NORMS.items()}, rounds, "times of the norms")


def show_times(rounds: int, *, batch: int, dim: int) -> dict[str, list[float]]:
    """Print the times of a step and of the norms alone; return those of a step."""
    with fastnorm.threads(1):
        steps = step_times(rounds, batch=batch, dim=dim)
        columns = {"a step": steps}
        columns |= {f"{rows}x{cols}": norm_times(3 * rounds, (rows, cols)) for rows, cols in SHAPES}

    def cell(seconds: Mapping[str, list[float]], name: str) -> str:
        median = np.median(seconds[name])
        ratio = np.median(np.array(seconds[name]) / np.array(seconds[BASELINE]))
        time_text = f"{1e3 * median:.2f} ms" if median > 1e-3 else f"{1e6 * median:.1f} us"
        return time_text if name == BASELINE else f"{time_text} ({100 * (ratio - 1):+.1f} %)"

    print(
        "\nTimes of a step, and of forward and backward of a norm alone (median of ratios to layer_norm):\n"
    )
    table(["", *columns], [[name, *(cell(seconds, name) for seconds in columns.values())] for name in NORMS])
    return steps


def plot(results: Mapping[str, Results], steps: Mapping[str, list[float]], path: Path) -> None:
    """Draw the held-out losses of all seeds, and the times of a step."""

    def short(name: str) -> str:
        return name.replace(", ", "\n")

    def paint(figure: Any) -> None:
        panels = iter(figure.subplots(1, bool(results) + bool(steps), squeeze=False)[0])
        if results:
            axes = next(panels)
            boxes(axes, {short(name): np.array(result.held_out) for name, result in results.items()})
            axes.set(title="loss on held-out text (nats a character)")
        if steps:
            axes = next(panels)
            axes.boxplot(
                [1e3 * np.array(seconds) for seconds in steps.values()],
                tick_labels=[short(name) for name in steps],
                showfliers=False,
            )
            axes.set(title="time of a step (ms), one thread", ylim=(0, None))
            axes.grid(visible=True, axis="y")

    shows = (
        "layer_norm and rms_norm learn alike, pRMSNorm of six elements less; a step takes as long with each"
    )
    draw(path, (4.2 * (bool(results) + bool(steps)), 3.4), paint, shows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Layer norm, RMS norm and pRMSNorm in a small Transformer.")
    parser.add_argument(
        "--seeds",
        type=whole(0),
        default=2,
        help="weights and texts, 0 for times alone (default: %(default)s)",
    )
    parser.add_argument(
        "--full", action="store_true", help=f"{FULL_SEEDS} seeds, {FULL_STEPS} steps: some minutes"
    )
    parser.add_argument(
        "--rounds", type=whole(0), default=30, help="steps to time, 0 for none (default: %(default)s)"
    )
    add_options(parser, "rms_norm.svg")
    options = parser.parse_args(arguments)
    if options.full:
        options.seeds, options.steps = FULL_SEEDS, FULL_STEPS
    if max(options.seeds, options.rounds) == 0:
        parser.error("--seeds or --rounds need 1 or more")
    if options.dim % 4:
        parser.error("--dim needs to be a multiple of 4")
    check(parser, options)

    results: dict[str, Results] = {}
    steps: dict[str, list[float]] = {}
    if options.seeds:
        start = time.process_time()
        results = compare({name: {"norm": norm} for name, norm in NORMS.items()}, **settings(options))
        print(
            f"{options.steps} steps of {options.batch} texts, seeds: {options.seeds}, "
            f"{time.process_time() - start:.0f} s of a core; losses in nats a character\n"
        )
        show(results, BASELINE)
    if options.rounds:
        steps = show_times(options.rounds, batch=options.batch, dim=options.dim)
    plot(results, steps, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/rms_norm.svg"
