"""An epoch of training a memory network on task 1, natively and with the NumPy twins, in turns.

    python bench/memory_network.py --threads 1
    python bench/memory_network.py --threads 2 --memory 50

The stories are those of examples/babi/, whose longest has ten sentences; a larger memory is filled up with
empty ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--memory", type=int, default=10, help="sentences (default: %(default)s)")
parser.add_argument("--hops", type=int, default=3)
parser.add_argument("--dim", type=int, default=20)
parser.add_argument("--noise", type=float, default=0.0)
parser.add_argument("--seconds", type=float, default=5.0)
OPTIONS = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(OPTIONS.threads)  # read when the libraries are loaded
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "babi"))

import fastnorm  # noqa: E402
import numpy as np  # noqa: E402
from fastnorm._report.timing import Ratio, format_seconds, time_in_turns  # noqa: E402
from fastnorm._specs import Call  # noqa: E402
from stories import generate  # noqa: E402
from stories.encode import encode  # noqa: E402

EPOCHS = 5  # at a time: training goes on, it does not start anew for each


def main() -> None:
    """Check that both learn the same, then time and print."""
    fastnorm.set_num_threads(OPTIONS.threads)
    vocabulary, (data,) = encode(generate(1))
    models = {}

    def epochs(backend: str, count: int = 1) -> list[fastnorm.memory.Epoch]:
        with fastnorm.backend(backend):  # type: ignore[arg-type]
            return models[backend].fit(*data, epochs=count, noise=OPTIONS.noise, seed=0)

    for backend in ("native", "reference"):
        models[backend] = fastnorm.MemN2N(len(vocabulary), OPTIONS.dim, OPTIONS.hops, OPTIONS.memory, seed=0)
    losses = [epochs(backend)[0].loss for backend in models]
    assert np.isclose(*losses, rtol=1e-3), losses
    times = time_in_turns({name: Call(epochs, (name, EPOCHS)) for name in models}, seconds=OPTIONS.seconds)
    ratio = Ratio.of(times["reference"], times["native"]).median
    native, twin = (format_seconds(times[name].median / EPOCHS) for name in models)
    best = times["reference"].best / times["native"].best
    print(
        f"task 1, {OPTIONS.hops} hops, dimension {OPTIONS.dim}, {OPTIONS.memory} sentences, "
        f"{OPTIONS.threads} threads:"
        f" native {native}, NumPy twin {twin} an epoch, {ratio:.1f} x (fastest: {best:.1f} x)"
    )


if __name__ == "__main__":
    main()
