"""Beside scikit-learn's networks
==============================

scikit-learn's multi-layer perceptrons and fastnorm's side by side on real data: diabetes, and digits.
::

    pip install fastnorm-kernels[sklearn,examples,progress]
    python examples/regression.py --seeds 5 --epochs 100

Both start from the same weights and take the same batches, so their scores agree to rounding; what differs is
the time.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support import check_picture, draw, installed_by, progress, whole

with installed_by("sklearn,examples"):
    from fastnorm import sklearn as fast
    from sklearn import neural_network
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler


@dataclass
class Results:
    """What the runs of one estimator came to."""

    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of an epoch
    curve: list[float] = field(default_factory=list)  # of the last seed


def load(name: str) -> tuple[Any, Any]:
    """Return features and targets; the diabetes progression in units of its deviation."""
    X, y = load_diabetes(return_X_y=True) if name == "diabetes" else load_digits(return_X_y=True)
    return X, (y - y.mean()) / y.std() if name == "diabetes" else y


def compare(name: str, seeds: int, epochs: int) -> dict[str, Results]:
    """Fit both estimators from several seeds."""
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    estimators = {"scikit-learn": getattr(neural_network, kind), "fastnorm": getattr(fast, kind)}
    results = {library: Results() for library in estimators}
    X, y = load(name)
    for seed in progress(range(seeds), name):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
        for library, estimator in estimators.items():
            model = estimator(hidden_layer_sizes=(100,), max_iter=epochs, random_state=seed)
            start = time.perf_counter()
            model.fit(X_train, y_train)
            result = results[library]
            result.seconds.append((time.perf_counter() - start) / model.n_iter_)
            result.scores.append(model.score(X_test, y_test))
            result.curve = model.loss_curve_
    return results


def show(name: str, results: dict[str, Results]) -> None:
    """Print scores and times."""
    score = "R^2" if name == "diabetes" else "accuracy"
    print(f"\n{name:14} {score + ' on held-out data':>26} {'an epoch':>12}")
    for library, result in results.items():
        scores = f"{np.mean(result.scores):.4f} +- {np.std(result.scores):.4f}"
        print(f"{library:14} {scores:>26} {1e3 * np.median(result.seconds):>9.2f} ms")
    times = [np.median(result.seconds) for result in results.values()]
    print(f"fastnorm is {times[0] / times[1]:.1f} times as fast")


def plot(all_results: dict[str, dict[str, Results]], path: Path) -> None:
    """Draw the loss curves."""

    def paint(figure: Any) -> None:
        panels = figure.subplots(1, len(all_results), squeeze=False)[0]
        for axes, (name, results) in zip(panels, all_results.items(), strict=True):
            for (library, result), style in zip(results.items(), ("-", "--"), strict=True):
                axes.semilogy(result.curve, style, label=library)
            axes.set(title=name, xlabel="epoch", ylabel="loss")
            axes.grid(visible=True)
            axes.legend()

    draw(path, (8.4, 3.6), paint, "the curves lie on each other, for both libraries take the same steps")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="scikit-learn's networks and fastnorm's on real data.")
    parser.add_argument(
        "--seeds", type=whole(1), default=5, help="splits and initial weights (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=whole(1), default=100, help="passes over the data at most (default: %(default)s)"
    )
    parser.add_argument(
        "--plot", type=Path, default=Path("regression.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    check_picture(parser, options.plot)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        all_results = {name: compare(name, options.seeds, options.epochs) for name in ("diabetes", "digits")}
    for name, results in all_results.items():
        show(name, results)
    plot(all_results, options.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/regression.svg"
