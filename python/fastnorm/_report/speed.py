"""A speed table against NumPy on this machine."""

from __future__ import annotations

import statistics

import numpy as np

from .. import _backend, runtime
from .console import Console
from .contracts import CONTRACTS
from .numpy_formulas import formula
from .samples import make_sample, op_names, positional_names
from .timing import Call, Ratio, format_seconds, time_in_turns

SHAPES = ((1, 64), (32, 768), (512, 768), (4096, 1024))
QUICK_SHAPES = ((1, 64), (32, 768))
SHOWN_KEYWORDS = {"approximate", "reduction", "return_grad"}  # other variants are checked only
SECONDS = 0.25  # for one row of the table
QUICK_SECONDS = 0.02


def speed(console: Console, *, quick: bool = False) -> None:
    """Time every op that has a NumPy formula, float32, against that formula and against np.add on the same
    array.
    """
    rng = np.random.default_rng(0)
    cases = [
        (op, keywords, shape)
        for op in op_names()
        for keywords in CONTRACTS[op].variants
        if keywords.keys() <= SHOWN_KEYWORDS and formula(op, keywords) and "query" not in positional_names(op)
        for shape in (QUICK_SHAPES if quick else SHAPES)
    ]
    rows, gains = [], []
    with console.progress(len(cases)) as advance:
        for op, keywords, shape in cases:
            label = " ".join([op, *(word for word in keywords.values() if isinstance(word, str))])
            label += " with gradient" if keywords.get("return_grad") else ""
            advance(label)
            sample = make_sample(op, shape, np.dtype(np.float32), rng, keywords=keywords).with_stats()
            function = formula(op, keywords)
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
    if formula("gelu", {}) is None:
        console.line("SciPy is not installed: no exact gelu in NumPy to compare with.")
    console.line(f"Geometric mean: {statistics.geometric_mean(gains):.3g} times as fast as NumPy.")
