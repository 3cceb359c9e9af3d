"""Gates in a small Transformer
============================

SwiGLU and the other gates of "GLU Variants Improve Transformer" (arXiv:2002.05202) beside plain activations,
at equal numbers of parameters and steps.

A causal Transformer over characters learns the reference of the Python language. Its feed-forward layers have
two matrices around an activation, or three and two thirds of the hidden units where the activation is a gate:
``(act(x @ w_gate) * (x @ w_up)) @ w_down``. All variants see the same texts in the same order, and the
settings are tuned for none. Everything, attention and backward included, is ops of fastnorm
(``small_transformer.py``)::

    pip install fastnorm-kernels[examples,progress]
    python examples/swiglu.py            # four variants, two seeds, half a minute
    python examples/swiglu.py --full     # eight variants, five seeds, some minutes
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_transformer import (
    FULL_SEEDS,
    FULL_STEPS,
    Results,
    SmallTransformer,
    add_options,
    check,
    compare,
    settings,
    show,
)
from support import boxes, draw, whole

# Name in the paper: activation or gate.
VARIANTS = {
    "ReLU": "relu",
    "GELU": "gelu",
    "Swish": "silu",
    "GLU": "gated sigmoid",
    "Bilinear": "gated none",
    "ReGLU": "gated relu",
    "GEGLU": "gated gelu",
    "SwiGLU": "gated swish",
}
DEFAULT = ("ReLU", "GELU", "GEGLU", "SwiGLU")
BASELINE = "ReLU"


def plot(results: Mapping[str, Results], path: Path) -> None:
    """Draw the loss over the steps, and the held-out losses of all seeds."""

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        for name in (BASELINE, "SwiGLU"):
            if name in results:
                # Means over the seeds and fifty stretches of the steps; the first, far above, are left out.
                curve = np.mean(results[name].curves, axis=0)
                stretches = np.array_split(curve, min(50, len(curve)))[5:]
                places = np.linspace(0.1, 1, len(stretches)) * len(curve)
                left.plot(places, [stretch.mean() for stretch in stretches], label=name)
        left.set(title="training loss (nats a character)", xlabel="step")
        left.grid(visible=True)
        left.legend()
        boxes(right, {name: np.array(result.held_out) for name, result in results.items()})
        right.set(title="loss on held-out text")

    shows = "a dot is a seed: networks with a gate end lower than those with the activation alone"
    draw(path, (8.4, 3.6), paint, shows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Gates beside plain activations in a small Transformer.")
    parser.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=DEFAULT, help="default: %(default)s"
    )
    parser.add_argument("--seeds", type=whole(1), default=2, help="weights and texts (default: %(default)s)")
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"all variants, {FULL_SEEDS} seeds, {FULL_STEPS} steps: some minutes",
    )
    add_options(parser, "swiglu.svg")
    options = parser.parse_args(arguments)
    if options.full:
        options.variants, options.seeds, options.steps = list(VARIANTS), FULL_SEEDS, FULL_STEPS
    if BASELINE not in options.variants:
        parser.error(f"--variants need {BASELINE}")
    if options.dim % 12:
        parser.error("--dim needs to be a multiple of 12, so that the parameters can be equally many")
    check(parser, options)

    start = time.process_time()
    variants = {name: {"feed_forward": VARIANTS[name]} for name in options.variants}
    results = compare(variants, **settings(options))
    model = SmallTransformer(feed_forward=VARIANTS[BASELINE], dim=options.dim)
    count = sum(parameter.size for parameter in model.parameters.values())
    print(
        f"{count} parameters each, {options.steps} steps of {options.batch} texts of {model.tokens} "
        f"characters, seeds: {options.seeds}, {time.process_time() - start:.0f} s of a core; losses in nats "
        "a character\n"
    )
    show(results, BASELINE)
    plot(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/swiglu.svg"
