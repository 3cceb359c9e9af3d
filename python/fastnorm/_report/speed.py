"""A speed table against NumPy on this machine."""

from __future__ import annotations

import statistics

import numpy as np

from .. import _backend, _specs, runtime
from .._specs import Call, formula_of, make_sample, spec_of
from .console import Console
from .timing import Ratio, format_seconds, time_in_turns

SHAPES = ((1, 64), (32, 768), (512, 768), (4096, 1024))
QUICK_SHAPES = ((1, 64), (32, 768))
SECONDS = 0.25  # for one row of the table
QUICK_SECONDS = 0.02


def speed(console: Console, *, quick: bool = False) -> None:
    """Time every op that has a NumPy formula, float32, against that formula and against np.add on the same
    array.
    """
    rng = np.random.default_rng(0)
    cases = [
        (spec, backward, variant, shape)
        for spec, backward in _specs.calls()
        for variant in spec.table_of(backward=backward)
        if formula_of(spec, variant.keywords, backward=backward)
        for shape in (QUICK_SHAPES if quick else SHAPES)
    ]
    rows, gains = [], []
    with console.progress(len(cases)) as advance:
        for spec, backward, variant, shape in cases:
            sample = make_sample(
                spec, shape, np.dtype(np.float32), rng, variant, backward=backward
            ).with_stats()
            words = [word for word in variant.keywords.values() if isinstance(word, str)]
            label = " ".join([sample.op, *words])
            label += " with gradient" if variant.keywords.get("return_grad") else ""
            advance(label)
            function = formula_of(spec, variant.keywords, backward=backward)
            assert function is not None
            x = sample.x
            calls = {
                "fastnorm": sample.call(),
                "numpy": sample.call_of(function),
                "add": Call(np.add, (x, x)),
            }
            times = time_in_turns(calls, seconds=QUICK_SECONDS if quick else SECONDS, rounds=(3, 100))
            ratio = Ratio.of(times["numpy"], times["fastnorm"])
            moved = sample.bytes_moved(sample.call()()) / times["fastnorm"].median / 1e9
            cells = [format_seconds(times[name].median) for name in calls]
            rows.append([label, "x".join(map(str, shape)), *cells, f"{moved:.1f}", f"{ratio.median:.3g} x"])
            gains.append(ratio.median)
    threads = runtime.get_num_threads() if _backend.name() == "native" else 1
    title = f"Speed in float32 on {threads} thread{'s' if threads > 1 else ''}, gain over NumPy"
    console.table(title, ["op", "shape", "fastnorm", "NumPy", "np.add", "GB/s", "gain"], rows)
    if formula_of(spec_of("gelu"), {}) is None:
        console.line("SciPy is not installed: no exact gelu in NumPy to compare with.")
    console.line(f"Geometric mean: {statistics.geometric_mean(gains):.3g} times as fast as NumPy.")
