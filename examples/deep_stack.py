"""A deep stack that trains
========================

Why deep_norm exists: a stack of a hundred post-norm blocks that trains, beside one that does not.

Each block is ``x = layer_norm(alpha * x + f(x))`` with a feed-forward f of two layers. With alpha = 1 and
Xavier's weights (plain post-norm) the first step of training changes the output the more the deeper the stack
is, and a stack of 100 blocks does not learn scikit-learn's handwritten digits. With the alpha and the smaller
weights of DeepNet the change does not depend on the depth, and the stack learns. Norms and GELU are
fastnorm's, the matrix products NumPy's::

    pip install fastnorm-kernels[examples]
    python examples/deep_stack.py --blocks 100
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.datasets import load_digits
except ImportError as error:
    raise ImportError(f"{error.name} is missing: pip install scikit-learn") from error

Array = NDArray[np.float32]

CLASSES = 10
TEST_SHARE = 5  # every fifth digit is kept for testing
DEPTHS = (6, 12, 24, 50, 100, 200)
UPDATE_LR = 1e-2  # of the one step of plain gradient descent whose effect is measured


@dataclass
class Block:
    """The parameters of one block: ``layer_norm(alpha * x + gelu(x @ w_in) @ w_out)``.

    The norms have no weight and no bias: the theory is about the matrices.
    """

    w_in: Array
    w_out: Array


class Stack:
    """Post-norm feed-forward blocks between a first matrix and a classifier.

    Parameters
    ----------
    blocks : int
        Depth of the stack, even.
    width, hidden : int
        Of the stream and inside a block.
    deep : bool
        Whether with the constants of DeepNet, or with alpha and beta 1.
    seed : int
        Of the weights.
    """

    def __init__(
        self, blocks: int, *, deep: bool, features: int = 64, width: int = 64, hidden: int = 64, seed: int = 0
    ) -> None:
        """Draw the weights."""
        # A layer of the paper has two sub-layers, and a block here is one.
        constants = fastnorm.deep_norm_constants(encoder_layers=blocks // 2).encoder
        assert constants is not None
        self.alpha, beta = constants if deep else (1.0, 1.0)
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
        """Return what the last block gives, and keep what the backward needs."""
        self._kept = []
        h: Array = x @ self.first
        for block in self.blocks:
            inner = h @ block.w_in
            active = fastnorm.gelu(inner)
            update = active @ block.w_out
            self._kept.append((h, inner, active, update))
            h = fastnorm.deep_norm(update, h, alpha=self.alpha)
        return h

    def gradients(self, x: Array, labels: NDArray[Any]) -> tuple[float, list[Array]]:
        """Return the mean cross entropy and its gradients in the order of `parameters`."""
        h = self.stream(x)
        scores = h @ self.last
        scores -= scores.max(axis=1, keepdims=True)
        log_share = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        loss = -float(log_share[np.arange(len(x)), labels].mean())
        dscores = np.exp(log_share)
        dscores[np.arange(len(x)), labels] -= 1
        dscores /= np.float32(len(x))

        found: list[Array] = [h.T @ dscores]
        dh = dscores @ self.last.T
        for block, (before, inner, active, update) in zip(
            reversed(self.blocks), reversed(self._kept), strict=True
        ):
            dupdate, dbefore, _, _ = fastnorm.deep_norm_backward(dh, update, before, alpha=self.alpha)
            dinner = fastnorm.gelu_backward(dupdate @ block.w_out.T, inner)
            found += [active.T @ dupdate, before.T @ dinner]
            dh = dbefore + dinner @ block.w_in.T
        found.append(x.T @ dh)
        return loss, found[::-1]

    def accuracy(self, x: Array, labels: NDArray[Any]) -> float:
        """Return the share of digits that are recognised."""
        return float(np.mean(np.argmax(self.stream(x) @ self.last, axis=1) == labels))


def digits() -> tuple[Array, NDArray[Any], Array, NDArray[Any]]:
    """Return images and labels for training and for testing; pixels have mean 0 and deviation 1 over all."""
    data = load_digits()
    x = data.data.astype(np.float32)
    x = (x - x.mean()) / x.std()
    kept = np.arange(len(x)) % TEST_SHARE == 0
    return x[~kept], data.target[~kept], x[kept], data.target[kept]


def subtract(parameters: Sequence[Array], changes: Sequence[Array]) -> None:
    """Change parameters in place."""
    for parameter, change in zip(parameters, changes, strict=True):
        np.subtract(parameter, change.reshape(parameter.shape), out=parameter)


def update_size(blocks: int, x: Array, labels: NDArray[Any], *, deep: bool, seed: int = 0) -> float:
    """Return by how much one step of gradient descent changes the stream, root mean square over rows and
    features.
    """
    stack = Stack(blocks, deep=deep, seed=seed)
    before = stack.stream(x)
    _, gradients = stack.gradients(x, labels)
    subtract(stack.parameters(), [np.float32(UPDATE_LR) * gradient for gradient in gradients])
    return float(np.sqrt(np.mean(np.square(stack.stream(x) - before))))


def train(
    stack: Stack, x: Array, labels: NDArray[Any], *, steps: int, batch: int, lr: float, seed: int = 0
) -> list[float]:
    """Return the losses of `steps` steps of Adam."""
    rng = np.random.default_rng(seed)
    parameters = stack.parameters()
    ends = np.cumsum([parameter.size for parameter in parameters])
    mean, square = np.zeros((2, ends[-1]), np.float32)
    losses = []
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(x), batch)
        loss, gradients = stack.gradients(x[chosen], labels[chosen])
        losses.append(loss)
        gradient = np.concatenate([part.ravel() for part in gradients])
        mean += np.float32(0.1) * (gradient - mean)
        square += np.float32(0.001) * (gradient * gradient - square)
        rate = np.float32(lr * np.sqrt(1 - 0.999**step) / (1 - 0.9**step))
        subtract(parameters, np.split(rate * mean / (np.sqrt(square) + np.float32(1e-8)), ends[:-1]))
    return losses


def show_updates(x: Array, labels: NDArray[Any], depths: Sequence[int], picture: Path) -> None:
    """Print the size of the first update over the depth, and draw it."""
    sizes = {deep: [update_size(blocks, x, labels, deep=deep) for blocks in depths] for deep in (True, False)}
    print(f"change of the stream by the first step ({UPDATE_LR:g} times the gradient)")
    print("blocks   " + "".join(f"{blocks:>9}" for blocks in depths))
    for deep, name in ((True, "deep_norm"), (False, "alpha = 1")):
        print(f"{name:9}" + "".join(f"{size:9.4f}" for size in sizes[deep]))
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture, as matplotlib is missing: pip install matplotlib")
        return

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(depths, sizes[True], "o-", label="deep_norm with DeepNet's alpha and beta")
    axes.loglog(depths, sizes[False], "s--", label="post-norm, alpha = beta = 1")
    axes.set(xlabel="blocks", ylabel="change of the stream by the first step (rms)")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(picture)
    pyplot.close(figure)
    print(f"drawn in {picture}: with deep_norm the line stays level, with alpha = 1 it rises far above")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit status is 1 where deep_norm does not do better."""
    parser = argparse.ArgumentParser(description="A deep stack that trains and one that does not.")
    parser.add_argument(
        "--blocks", type=int, default=100, help="depth of the stacks to train (default: %(default)s)"
    )
    parser.add_argument(
        "--depths", type=int, nargs="*", default=DEPTHS, help="depths whose first update is measured"
    )
    parser.add_argument("--steps", type=int, default=150, help="steps of training (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="digits a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam (default: %(default)s)")
    parser.add_argument(
        "--plot", type=Path, default=Path("deep_stack.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)

    x, labels, x_test, labels_test = digits()
    if options.depths:
        show_updates(x[: options.batch], labels[: options.batch], options.depths, options.plot)
    guess = np.log(CLASSES)
    print(
        f"\n{options.blocks} blocks, {options.steps} steps of {options.batch} digits (guessing: loss "
        f"{guess:.2f})"
    )
    final = {}
    for deep, name in ((True, "deep_norm"), (False, "alpha = 1")):
        stack = Stack(options.blocks, deep=deep)
        start = time.perf_counter()
        losses = train(stack, x, labels, steps=options.steps, batch=options.batch, lr=options.lr)
        seconds = time.perf_counter() - start
        final[deep] = float(np.mean(losses[-10:]))
        right = stack.accuracy(x_test, labels_test)
        print(
            f"{name:9}  loss {losses[0]:.2f} -> {final[deep]:.2f}  right in the test {right:.1%}  "
            f"{seconds:.1f} s"
        )
    return 0 if final[True] < final[False] else 1


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/deep_stack.svg"
