#!/usr/bin/env python3
"""Draw the error of gelu in float32 over its negative tail, for fastnorm and the libraries installed.

::

    python tools/gelu_tail.py docs/gelu_tail.svg

Each line is the largest relative error among a hundred inputs around x, against the op in float64, whose
own error is below 2 ULP of that. A relative error of 1 is a result of 0, or one twice as large as it should
be.
"""

import argparse
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import fastnorm
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from peers_of_sweep import PEERS

# Okabe and Ito's colours, as in bench/plot.py.
STYLES = {
    "fastnorm": ("#D55E00", "-", 2.2),
    "PyTorch": ("#0072B2", "-", 1.5),
    "JAX": ("#CC79A7", "-", 1.5),
    "SciPy": ("#7F7F7F", "--", 1.5),
    "ONNX Runtime": ("#009E73", ":", 2.2),
}
NAMES = {"SciPy": "formula with SciPy's erf"}


def errors(gelu: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """The largest relative error in each row of inputs."""
    exact = fastnorm.gelu(x.astype(np.float64))
    found = np.asarray(gelu(x.ravel())).reshape(x.shape).astype(np.float64)
    return np.max(np.abs(found - exact) / np.abs(exact), axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    centres = np.linspace(-13, -0.05, 520)
    x = (centres[:, None] + rng.uniform(-0.0125, 0.0125, (len(centres), 100))).astype(np.float32)
    functions = {"fastnorm": fastnorm.gelu}
    versions = {}
    for name, (package, make) in PEERS.items():
        try:
            functions[name] = make()["gelu"]
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        versions[name] = importlib.metadata.version(package)
    mpl.rcParams.update({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "fastnorm"})
    figure, axes = pyplot.subplots(figsize=(7.2, 4), layout="constrained")
    for name, gelu in functions.items():
        colour, line, width = STYLES[name]
        label = f"{NAMES.get(name, name)} {versions.get(name, '')}".strip()
        axes.semilogy(centres, errors(gelu, x), line, color=colour, lw=width, label=label)
    axes.axhline(2.0**-23, color="#AAAAAA", lw=1)
    axes.text(-13, 2.0**-22.5, "one unit in the last place", fontsize=8.5, color="#555555")
    axes.set(xlabel="x", ylabel="relative error of gelu(x)", ylim=(1e-8, 30), xlim=(-13.2, 0))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(0.02, 0.5), fontsize=9)
    figure.savefig(options.picture, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
