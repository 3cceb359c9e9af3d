"""Cross entropy, focal loss and PolyLoss
======================================

Cross entropy, focal loss and PolyLoss on scikit-learn's handwritten digits, over several seeds.

The same network with one hidden layer learns the digits with each loss. A seed is a split of the data,
initial weights and an order of the batches, and all losses share it, so that their differences from cross
entropy can be taken seed by seed; a difference counts as one only beyond twice its standard error, which the
overlap of the splits makes too small rather than too large. Settings are those of the defaults, tuned for no
loss. Network, losses and optimiser are fastnorm's::

    pip install fastnorm-kernels[examples]
    python examples/poly_loss.py --seeds 20
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError as error:
    raise ImportError(f"{error.name} is missing: pip install scikit-learn") from error

Array = NDArray[Any]
Loss = Callable[..., tuple[Any, Array]]  # of logits and labels, with the gradient

LOSSES: dict[str, Loss] = {
    "cross entropy": partial(fastnorm.cross_entropy, return_grad=True),
    "focal, gamma 2": partial(fastnorm.focal_loss, gamma=2.0, return_grad=True),
    "poly, epsilon -1": partial(fastnorm.poly_loss, epsilon=-1.0, return_grad=True),
    "poly, epsilon 1": partial(fastnorm.poly_loss, epsilon=1.0, return_grad=True),
    "poly, epsilon 2": partial(fastnorm.poly_loss, epsilon=2.0, return_grad=True),
}
BASELINE = "cross entropy"


class Classifier:
    """A network with one hidden layer of ReLU.

    Parameters
    ----------
    features, hidden, classes : int
        Its sizes.
    rng : Generator
        Source of the weights.
    """

    def __init__(self, features: int, hidden: int, classes: int, rng: np.random.Generator) -> None:
        """Draw the weights as He did."""
        sizes = (features, hidden, classes)
        self.weights = [
            (rng.standard_normal((rows, cols)) * np.sqrt(2 / rows)).astype(np.float32)
            for rows, cols in itertools.pairwise(sizes)
        ]
        self.biases = [np.zeros(cols, np.float32) for cols in sizes[1:]]

    def logits(self, x: Array) -> Array:
        """Return a score for each class."""
        return fastnorm.mlp_forward(x, self.weights, self.biases)

    def train(
        self,
        x: Array,
        labels: Array,
        loss: Loss,
        rng: np.random.Generator,
        *,
        epochs: int,
        batch: int,
        lr: float,
    ) -> float:
        """Take epochs of Adam and return the mean loss of the last one."""
        adam = fastnorm.Adam(lr=lr)
        losses = []
        for _ in range(epochs):
            order = rng.permutation(len(x))
            losses = []
            for start in range(0, len(x), batch):
                chosen = order[start : start + batch]
                value, dlogits = loss(self.logits(x[chosen]), labels[chosen])
                _, dweights, dbiases = fastnorm.mlp_backward(dlogits, x[chosen], self.weights, self.biases)
                adam.update([*self.weights, *self.biases], [*dweights, *dbiases])
                losses.append(float(value))
        return float(np.mean(losses))


def digits(seed: int, train_size: int) -> tuple[Array, Array, Array, Array]:
    """Return images and labels for training and for testing."""
    x, labels = load_digits(return_X_y=True)
    x = ((x - x.mean()) / x.std()).astype(np.float32)
    split = train_test_split(x, labels, train_size=train_size, random_state=seed, stratify=labels)
    return split[0], split[2], split[1], split[3]


def accuracies(
    seeds: int,
    *,
    train_size: int,
    hidden: int,
    epochs: int,
    batch: int,
    lr: float,
    losses: Mapping[str, Loss] = LOSSES,
) -> dict[str, Array]:
    """Return the share of right answers in the test for each loss and seed."""
    found: dict[str, list[float]] = {name: [] for name in losses}
    for seed in range(seeds):
        x, labels, x_test, labels_test = digits(seed, train_size)
        for name, loss in losses.items():
            rng = np.random.default_rng(seed)
            model = Classifier(x.shape[1], hidden, 10, rng)
            model.train(x, labels, loss, rng, epochs=epochs, batch=batch, lr=lr)
            found[name].append(float(np.mean(np.argmax(model.logits(x_test), axis=1) == labels_test)))
    return {name: np.array(values) for name, values in found.items()}


def difference(values: Array, baseline: Array) -> tuple[float, float]:
    """Return the mean difference of paired values and its standard error."""
    differences = values - baseline
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(differences.size))


def verdict(mean: float, error: float) -> str:
    """Say whether a difference is one."""
    if abs(mean) <= 2 * error:
        return "no difference that shows"
    return "better" if mean > 0 else "worse"


def show(results: Mapping[str, Array]) -> None:
    """Print means, spreads and paired differences."""
    print(f"{'':18}{'right in the test':>20}{'worst and best':>20}{'over cross entropy':>22}")
    for name, values in results.items():
        spread = f"{values.mean():.2%} +- {values.std(ddof=1):.2%}"
        line = f"{name:18}{spread:>20}{f'{values.min():.2%} {values.max():.2%}':>20}"
        if name != BASELINE:
            mean, error = difference(values, results[BASELINE])
            line += f"{f'{100 * mean:+.2f} +- {100 * error:.2f}':>22}  {verdict(mean, error)}"
        print(line)


def plot(results: Mapping[str, Array], path: Path) -> None:
    """Draw the accuracies of all seeds."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture, as matplotlib is missing: pip install matplotlib")
        return

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.boxplot([100 * values for values in results.values()], tick_labels=list(results))
    axes.set(ylabel="right in the test (%)")
    axes.grid(visible=True, axis="y", alpha=0.3)
    figure.savefig(path)
    pyplot.close(figure)
    print(f"drawn in {path}: a box is the middle half of the seeds, which differ more than the losses do")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Cross entropy, focal loss and PolyLoss over several seeds.")
    parser.add_argument(
        "--seeds", type=int, default=20, help="splits and initial weights (default: %(default)s)"
    )
    parser.add_argument(
        "--train-size", type=int, default=600, help="digits to learn from (default: %(default)s)"
    )
    parser.add_argument(
        "--hidden", type=int, default=64, help="width of the hidden layer (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="digits a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of Adam (default: %(default)s)")
    parser.add_argument(
        "--plot", type=Path, default=Path("poly_loss.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds needs 2 or more, for a spread")
    start = time.perf_counter()
    results = accuracies(
        options.seeds,
        train_size=options.train_size,
        hidden=options.hidden,
        epochs=options.epochs,
        batch=options.batch,
        lr=options.lr,
    )
    seconds = time.perf_counter() - start
    print(
        f"{options.train_size} digits to learn from, {options.seeds} seeds, {options.epochs} epochs, "
        f"{seconds:.1f} s\n"
    )
    show(results)
    plot(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/poly_loss.svg"
