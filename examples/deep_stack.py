"""A deep stack that trains
========================

Why deep_norm exists: post-norm stacks of hundreds of layers that train, beside others that do not.

A block is ``x = layer_norm(alpha * x + f(x))`` with a feed-forward f of two matrices, and a layer is two
blocks, as many sub-layers as a layer of a Transformer's encoder has. With alpha = 1 and Xavier's weights
(post-norm) the first step of training changes the output far more, and from some depth on the stack does not
learn scikit-learn's handwritten digits. With the alpha and the smaller weights of DeepNet (arXiv:2203.00555)
the change stays small at any depth, and the stack learns. Pre-norm, ``x = x + f(layer_norm(x))``, stands
beside them::

    pip install fastnorm-kernels[examples,progress]
    python examples/deep_stack.py            # up to 100 layers, one seed, some seconds
    python examples/deep_stack.py --full     # up to 1000 layers, three seeds, some minutes
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray
from support import check_picture, draw, installed_by, progress, rate, table, whole

with installed_by("examples"):
    from sklearn.datasets import load_digits

Array = NDArray[np.float32]

CLASSES = 10
TEST_SHARE = 5  # every fifth digit is kept for testing
KINDS = {"deep_norm": "DeepNorm", "post_norm": "Post-LN", "pre_norm": "Pre-LN"}
LAYERS, FULL_LAYERS = (6, 18, 50, 100), (6, 18, 50, 100, 200, 1000)
FULL_SEEDS = 3
UPDATE_LR = 1e-2  # of the one step of plain gradient descent whose effect is measured
GUESS = float(np.log(CLASSES))  # the loss of a guess
FAILED = 0.9 * GUESS  # a stack with this loss or more has not learned


@dataclass
class Block:
    """The parameters of one block: ``f(x) = gelu(x @ w_in) @ w_out``.

    The norms have no weight and no bias: the theory is about the matrices.
    """

    w_in: Array
    w_out: Array


class Stack:
    """Feed-forward blocks between a first matrix and a classifier.

    Parameters
    ----------
    blocks : int
        Depth of the stack, even.
    kind : {'deep_norm', 'post_norm', 'pre_norm'}
        How a block normalises; with ``'pre_norm'`` the classifier reads a norm too, as it does otherwise.
    width, hidden : int
        Of the stream and inside a block.
    seed : int
        Of the weights.
    """

    def __init__(
        self, blocks: int, *, kind: str, features: int = 64, width: int = 64, hidden: int = 64, seed: int = 0
    ) -> None:
        """Draw the weights."""
        # A layer of the paper has two sub-layers, and a block here is one.
        constants = fastnorm.deep_norm_constants(encoder_layers=blocks // 2).encoder
        assert constants is not None
        self.pre = kind == "pre_norm"
        self.alpha, beta = constants if kind == "deep_norm" else (1.0, 1.0)
        rng = np.random.default_rng(seed)
        self.first = fastnorm.deep_norm_init(rng, (features, width), 1.0)
        self.blocks = [
            Block(
                fastnorm.deep_norm_init(rng, (width, hidden), beta),
                fastnorm.deep_norm_init(rng, (hidden, width), beta),
            )
            for _ in range(blocks)
        ]
        self.last = fastnorm.deep_norm_init(rng, (width, CLASSES), 1.0)
        self._kept: list[tuple[Array, Array, Array, Array]] = []

    def parameters(self) -> list[Array]:
        """Return all parameters, which may be changed in place."""
        inner = [array for block in self.blocks for array in (block.w_in, block.w_out)]
        return [self.first, *inner, self.last]

    def stream(self, x: Array) -> Array:
        """Return what the classifier reads, and keep what the backward needs."""
        self._kept = []
        h: Array = fastnorm.linear(x, self.first)
        for block in self.blocks:
            before = fastnorm.layer_norm(h) if self.pre else h
            active = fastnorm.linear(before, block.w_in, activation="gelu")
            update = fastnorm.linear(active, block.w_out)
            self._kept.append((h, before, active, update))
            h = h + update if self.pre else fastnorm.deep_norm(update, h, alpha=self.alpha)
        self._end = h
        return fastnorm.layer_norm(h) if self.pre else h

    def gradients(self, x: Array, labels: NDArray[Any]) -> tuple[float, list[Array]]:
        """Return the mean cross entropy and its gradients in the order of `parameters`."""
        h = self.stream(x)
        loss, dh, dlast, _ = fastnorm.linear_cross_entropy(h, self.last, labels, return_grad=True)
        if self.pre:
            dh, _, _ = fastnorm.layer_norm_backward(dh, self._end)
        found: list[Array] = [dlast]
        for block, (h, before, active, update) in zip(
            reversed(self.blocks), reversed(self._kept), strict=True
        ):
            dupdate = dh
            if not self.pre:
                dupdate, dh, _, _ = fastnorm.deep_norm_backward(dh, update, h, alpha=self.alpha)
            dactive, dw_out, _ = fastnorm.linear_backward(dupdate, active, block.w_out)
            dbefore, dw_in, _ = fastnorm.linear_backward(dactive, before, block.w_in, activation="gelu")
            if self.pre:
                dbefore, _, _ = fastnorm.layer_norm_backward(dbefore, h)
            dh = dh + dbefore
            found += [dw_out, dw_in]
        found.append(fastnorm.linear_backward(dh, x, self.first)[1])
        return float(loss), found[::-1]

    def accuracy(self, x: Array, labels: NDArray[Any]) -> float:
        """Return the share of digits that are recognised."""
        return float(np.mean(np.argmax(fastnorm.linear(self.stream(x), self.last), axis=1) == labels))


def digits() -> tuple[Array, NDArray[Any], Array, NDArray[Any]]:
    """Return images and labels for training and for testing; pixels have mean 0 and deviation 1 over all."""
    data = load_digits()
    x = data.data.astype(np.float32)
    x = (x - x.mean()) / x.std()
    kept = np.arange(len(x)) % TEST_SHARE == 0
    return x[~kept], data.target[~kept], x[kept], data.target[kept]


def update_size(stack: Stack, x: Array, labels: NDArray[Any]) -> float:
    """Return by how much one step of gradient descent changes the stream, root mean square over rows and
    features.
    """
    before = stack.stream(x)
    _, gradients = stack.gradients(x, labels)
    fastnorm.SGD(lr=UPDATE_LR).update(stack.parameters(), gradients)
    return float(np.sqrt(np.mean(np.square(stack.stream(x) - before))))


def train(
    stack: Stack,
    x: Array,
    labels: NDArray[Any],
    *,
    steps: int,
    batch: int,
    lr: float,
    warmup: int = 0,
    seed: int = 0,
) -> list[float]:
    """Return the losses of `steps` steps of Adam, over the first `warmup` of which the rate rises to `lr`."""
    rng = np.random.default_rng(seed)
    parameters, adam = stack.parameters(), fastnorm.Adam(lr=lr)
    losses = []
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(x), batch)
        loss, gradients = stack.gradients(x[chosen], labels[chosen])
        losses.append(loss)
        adam.lr = lr * min(1.0, step / max(warmup, 1))
        adam.update(parameters, gradients)
    return losses


@dataclass
class Results:
    """What the stacks of one depth and kind came to, an entry for each seed."""

    updates: list[float] = field(default_factory=list)
    losses: list[float] = field(
        default_factory=list
    )  # mean of the last ten steps; of guesses where not finite
    right: list[float] = field(default_factory=list)

    @property
    def learned(self) -> int:
        """How many have learned."""
        return sum(loss < FAILED for loss in self.losses)


def compare(options: argparse.Namespace) -> dict[tuple[str, int], Results]:
    """Measure the first update and train, for each kind, depth and seed."""
    x, labels, x_test, labels_test = digits()
    sizes = {"width": options.width, "hidden": options.width}
    results = {(kind, layers): Results() for layers in options.layers for kind in KINDS}
    runs = [*itertools.product(results, range(options.seeds))]
    for (kind, layers), seed in progress(runs, "stacks"):
        one = Stack(2 * layers, kind=kind, seed=seed, **sizes)
        result = results[kind, layers]
        result.updates.append(update_size(one, x[: options.batch], labels[: options.batch]))
        stack = Stack(2 * layers, kind=kind, seed=seed, **sizes)
        losses = train(
            stack,
            x,
            labels,
            steps=options.steps,
            batch=options.batch,
            lr=options.lr,
            warmup=options.warmup,
            seed=seed,
        )
        final = float(np.mean(losses[-10:]))
        result.losses.append(final if np.isfinite(final) else np.inf)
        result.right.append(stack.accuracy(x_test, labels_test))
    return results


def spread(values: Sequence[float], form: str) -> str:
    """Return mean and range."""
    mean = format(np.mean(values), form)
    return f"{mean} ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else mean


def show(results: dict[tuple[str, int], Results]) -> None:
    """Print what the stacks came to."""
    head = ["layers", "norm", "first update", "final loss", "right in the test", "learned"]
    rows = [
        [
            str(layers),
            KINDS[kind],
            spread(result.updates, ".3f"),
            spread(result.losses, ".2f"),
            f"{np.mean(result.right):.1%}",
            f"{result.learned} of {len(result.losses)}",
        ]
        for (kind, layers), result in results.items()
    ]
    table(head, rows)


def plot(results: dict[tuple[str, int], Results], path: Path) -> None:
    """Draw the first update and the final loss over the depth."""
    depths = sorted({layers for _, layers in results})

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for (kind, name), mark in zip(KINDS.items(), "os^", strict=True):
            for axes, part in ((left, "updates"), (right, "losses")):
                values = [np.minimum(getattr(results[kind, layers], part), 1e3) for layers in depths]
                means = np.array([np.mean(value) for value in values])
                reach = np.array([[np.min(value), np.max(value)] for value in values]).T
                axes.errorbar(depths, means, abs(reach - means), fmt=f"{mark}-", ms=5, capsize=3, label=name)
        right.axhline(GUESS, color="grey", ls=":", label="a guess")
        left.set(yscale="log", title="change of the stream by the first step (rms)")
        right.set(title="loss after training", ylim=(0, None))
        for axes in (left, right):
            axes.set(xscale="log", xlabel="layers")
            axes.set_xticks(depths, labels=[str(depth) for depth in depths])
            axes.minorticks_off()
            axes.grid(visible=True)
        right.legend()

    shows = (
        "DeepNorm's first update stays small and its loss low at any depth, Post-LN's loss ends at a guess"
    )
    draw(path, (8, 3.6), paint, shows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit status is 1 where the deepest stack does no better with deep_norm."""
    parser = argparse.ArgumentParser(description="Deep stacks that train and others that do not.")
    parser.add_argument(
        "--layers",
        type=whole(1),
        nargs="+",
        default=LAYERS,
        help="depths, a layer being two blocks (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=whole(1), default=1, help="weights and batches (default: %(default)s)"
    )
    parser.add_argument(
        "--full", action="store_true", help=f"layers {FULL_LAYERS} and {FULL_SEEDS} seeds: some minutes"
    )
    parser.add_argument(
        "--width", type=whole(1), default=32, help="of stream and blocks (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=whole(1), default=100, help="steps of training (default: %(default)s)"
    )
    parser.add_argument("--batch", type=whole(1), default=32, help="digits a step (default: %(default)s)")
    parser.add_argument("--lr", type=rate, default=1e-3, help="learning rate of Adam (default: %(default)s)")
    parser.add_argument(
        "--warmup", type=whole(0), default=30, help="steps over which it rises (default: %(default)s)"
    )
    parser.add_argument(
        "--plot", type=Path, default=Path("deep_stack.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.full:
        options.layers, options.seeds = FULL_LAYERS, FULL_SEEDS
    check_picture(parser, options.plot)

    start = time.process_time()
    results = compare(options)
    seconds = time.process_time() - start
    print(
        f"{options.steps} steps of {options.batch} digits, width {options.width}, seeds: {options.seeds}, "
        f"{seconds:.0f} s of a core; first update: {UPDATE_LR:g} times the gradient; a guess has loss "
        f"{GUESS:.2f}\n"
    )
    show(results)
    plot(results, options.plot)
    deepest = max(options.layers)
    deep, post = (np.mean(results[kind, deepest].losses) for kind in ("deep_norm", "post_norm"))
    return 0 if deep < post else 1


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/deep_stack.svg"
