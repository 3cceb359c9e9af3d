"""Measure the error of the float32 activations and their derivatives over all 2^32 inputs.

    python tools/sweep.py                          every target this processor can run, all inputs (half an
                                                   hour of one core)
    python tools/sweep.py --stride 257             every 257th input (seconds)
    python tools/sweep.py --functions gelu tanh    some functions, with their derivatives
    python tools/sweep.py --peers                  also PyTorch, JAX, SciPy and ONNX Runtime where they are
                                                   installed
    python tools/sweep.py --document [LOG ...]     also writes docs/accuracy.md, with the tables that earlier
                                                   runs printed
    python tools/sweep.py --check-reference        also measures the reference itself against mpmath

Compiles tools/sweep.cpp with $CXX and prints a table in markdown. Errors are in units in the last place of
the exact result (2^-149 where that is subnormal). The reference is the float64 kernel, whose error is about
2^-53 relative; --check-reference shows it at random inputs and at the ends of every binade.

The exit status is 1 if a function of fastnorm exceeds its bound (1 ULP, derivatives 2 ULP) or a special value
is wrong.
"""

import argparse
import ctypes
import importlib.metadata
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fastnorm
import numpy as np
from peers_of_sweep import PEERS, UNARY, Function

ROOT = Path(__file__).resolve().parent.parent
# What is swept, and how sweep.cpp calls value and derivative of a vector v.
OPS = {
    **{name: (f"fastnorm::FASTNORM_TARGET::{name}(v)", f"{name}_derivative(v)") for name in UNARY},
    "gelu": ("gelu<Approximation::none>(v)", "gelu_derivative<Approximation::none>(v)"),
    "gelu tanh": ("gelu<Approximation::tanh>(v)", "gelu_derivative<Approximation::tanh>(v)"),
    "gelu sigmoid": ("gelu<Approximation::sigmoid>(v)", "gelu_derivative<Approximation::sigmoid>(v)"),
    "elu": ("elu(v)", "elu_derivative(v)"),
    "softplus": ("softplus(v, 1, 20)", "softplus_derivative(v, 1, 20)"),
    "softplus 0.3": ("softplus(v, 0.3f, 20)", "softplus_derivative(v, 0.3f, 20)"),
    "softplus 1.5": ("softplus(v, 1.5, 20)", "softplus_derivative(v, 1.5, 20)"),
    "softplus 7": ("softplus(v, 7, 20)", "softplus_derivative(v, 7, 20)"),
    "softplus -2": ("softplus(v, -2, 20)", "softplus_derivative(v, -2, 20)"),
    "swish 0.3": ("swish(v, same(v, 0.3f))", "swish_derivative(v, same(v, 0.3f))"),
    "swish 1.5": ("swish(v, same(v, 1.5))", "swish_derivative(v, same(v, 1.5))"),
    "swish -20": ("swish(v, same(v, -20))", "swish_derivative(v, same(v, -20))"),
}
FUNCTIONS = tuple(f"{op}{kind}" for op in OPS for kind in ("", " derivative"))
CHUNK = 1 << 26


def target_flags() -> dict[str, list[str]]:
    """The targets this processor can run, the best last, with the instructions that a compiler may use."""
    text = (ROOT / "cpp" / "targets" / "targets.cmake").read_text(encoding="utf-8")
    listed = dict(re.findall(r"fastnorm_declare_target\((\w+)\s[^)]*FLAGS ([^)]*)\)", text))
    return {
        name: [flag for flag in listed[name].split() if flag.startswith("-m")]
        for name in reversed(fastnorm.available_targets())
    }


def bound(function: str) -> float:
    """ULP that the contract allows."""
    return 2.0 if function.endswith("derivative") else 1.0


class Result(ctypes.Structure):
    """SweepResult of sweep.cpp."""

    _fields_ = [
        ("worst", ctypes.c_double),
        ("worst_x", ctypes.c_float),
        ("broken_x", ctypes.c_float),
        ("broken", ctypes.c_uint32),
        ("counted", ctypes.c_uint64),
        ("correctly_rounded", ctypes.c_uint64),
    ]

    def add(self, part: "Result") -> None:
        if part.worst > self.worst:
            self.worst, self.worst_x = part.worst, part.worst_x
        if part.broken and not self.broken:
            self.broken_x = part.broken_x
        self.broken += part.broken
        self.counted += part.counted
        self.correctly_rounded += part.correctly_rounded


@dataclass
class Row:
    """One function of one target or library."""

    who: str
    function: str
    result: Result
    stride: int

    @property
    def share(self) -> float:
        return self.result.correctly_rounded / self.result.counted

    @property
    def kept(self) -> bool:
        return self.result.broken == 0 and self.result.worst < bound(self.function)

    def __str__(self) -> str:
        r = self.result
        wrong = f"{r.broken} (at {r.broken_x:.9g})" if r.broken else "0"
        inputs = "all" if self.stride == 1 else f"1/{self.stride}"
        error = f"{ulps(r.worst)} | {r.worst_x:.9g}" if r.worst > 0.5 else "0.5 |"
        return f"| {self.function} | {self.who} | {inputs} | {error} | {self.share:.4%} | {wrong} |"


HEADER = """\
| function | | inputs | max ULP | at x | correctly rounded | wrong sign or special value |
|---|---|---|---|---|---|---|"""


def ulps(value: float) -> str:
    return f"{value:.4f}" if value < 10 else f"{value:.3g}"


def compile_target(target: str, flags: Sequence[str], folder: Path) -> ctypes.CDLL:
    library = folder / f"sweep_{target}.so"
    calls = "".join(f"    FASTNORM_SWEPT({call}),\n" for pair in OPS.values() for call in pair)
    (folder / "swept.inc").write_text(calls, encoding="utf-8")
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno"]
    command += [
        "-fno-trapping-math",
        "-w",
        "-shared",
        "-fPIC",
        f"-I{ROOT / 'cpp'}",
        f"-I{folder}",
        f"-DFASTNORM_TARGET={target}",
    ]
    command += [f'-DFASTNORM_REGISTERS="simd/vec_{target}.h"', *flags]
    command += [str(ROOT / "tools" / "sweep.cpp"), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def sweep(
    libraries: Sequence[ctypes.CDLL], reference: ctypes.CDLL, function: int, stride: int, threads: int
) -> list[Result]:
    """One function of several targets over all inputs, in chunks; a chunk begins where the stride has got
    to.
    """
    pointer = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    values = (pointer * len(libraries))(*[pointer(("sweep_results", library)) for library in libraries])

    def run(chunk: int) -> Sequence[Result]:
        first = -(-chunk * CHUNK // stride) * stride
        results = (Result * len(libraries))()
        reference.sweep_range(
            function,
            ctypes.c_uint64(first),
            ctypes.c_uint64((chunk + 1) * CHUNK),
            ctypes.c_uint64(stride),
            reference.sweep_reference,
            len(libraries),
            values,
            results,
        )
        return list(results)

    totals = [Result() for _ in libraries]
    with ThreadPoolExecutor(threads) as pool:
        for parts in pool.map(run, range((1 << 32) // CHUNK)):
            for total, part in zip(totals, parts):
                total.add(part)
    return totals


def sweep_peers(
    functions: Sequence[Function], number: int, reference: ctypes.CDLL, stride: int
) -> list[Result]:
    """One function of several other libraries over the same inputs, whose exact values are computed once."""
    totals = [Result() for _ in functions]
    step = 1 << 17
    for first in range(0, 1 << 32, step * stride):
        bits = np.arange(first, min(first + step * stride, 1 << 32), stride, dtype=np.uint64).astype(
            np.uint32
        )
        x = bits.view(np.float32)
        with np.errstate(all="ignore"):
            results = [np.ascontiguousarray(function(x), np.float32) for function in functions]
            wide = x.astype(np.float64)
        exact = np.empty_like(wide)
        count = ctypes.c_int64(len(x))
        doubles, floats = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_float)
        reference.sweep_reference(number, wide.ctypes.data_as(doubles), exact.ctypes.data_as(doubles), count)
        for y, total in zip(results, totals):
            reference.sweep_judge(
                x.ctypes.data_as(floats),
                y.ctypes.data_as(floats),
                exact.ctypes.data_as(doubles),
                count,
                ctypes.byref(total),
            )
    return totals


def reference_points(count: int) -> list[float]:
    """Floats at and beside both ends of every binade, and random ones: uniform where results are not trivial,
    and bits.
    """
    generator = random.Random(1)
    points = []
    for exponent in range(-149, 128):
        (bits,) = struct.unpack("<I", struct.pack("<f", 2.0**exponent))
        for near in (bits - 1, bits, bits + 1):
            points.append(struct.unpack("<f", struct.pack("<I", max(near, 1)))[0])
    while 2 * len(points) < count:
        x = generator.choice(
            (generator.uniform(0, 15), generator.uniform(0, 60), 2.0 ** generator.uniform(-30, 4))
        )
        points.append(struct.unpack("<f", struct.pack("<f", x))[0])
    return points + [-x for x in points]


def check_reference(library: ctypes.CDLL, count: int) -> list[float]:
    """The largest error of the reference, relative to the larger of the exact value and 2^-126, for each
    function.
    """
    import mpmath as mp

    mp.mp.prec = 160
    a = mp.sqrt(8 / mp.pi)

    def exact(function: str, x: float) -> mp.mpf:
        op, derivative = function.removesuffix(" derivative"), function.endswith("derivative")
        op, _, number = op.partition(" ") if op.startswith(("swish", "softplus")) else (op, "", "")
        beta = mp.mpf(struct.unpack("<f", struct.pack("<f", float(number or 1)))[0])
        t = mp.mpf(x)
        if op == "gelu":
            cdf = mp.erfc(-t / mp.sqrt(2)) / 2
            return cdf + t * mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi) if derivative else t * cdf
        if op == "tanh":
            return (1 / mp.cosh(t) ** 2 if abs(t) < 1000 else mp.mpf(0)) if derivative else mp.tanh(t)
        if op == "logsigmoid":
            return 1 / (1 + mp.exp(t)) if derivative else -mp.log1p(mp.exp(-t))
        if op == "hardswish":
            if derivative:
                return mp.mpf(t >= 3) if abs(t) >= 3 else (2 * t + 3) / 6
            return t * min(max(t + 3, mp.mpf(0)), mp.mpf(6)) / 6
        z, slope = {
            "gelu tanh": (a * (t + mp.mpf("0.044715") * t**3), a * (1 + 3 * mp.mpf("0.044715") * t**2)),
            "gelu sigmoid": (mp.mpf("1.702") * t, mp.mpf("1.702")),
        }.get(op, (beta * t, beta))
        if abs(z) > 1000:
            limits = (1, 0) if op == "sigmoid" else (t, 1)
            return mp.mpf(0 if z < 0 else limits[derivative])
        s, bell = 1 / (1 + mp.exp(-z)), 1 / ((1 + mp.exp(-z)) * (1 + mp.exp(z)))
        if op == "sigmoid":
            return bell if derivative else s
        if op == "softplus":
            if z > 20:
                return mp.mpf(1) if derivative else t
            return s if derivative else mp.log1p(mp.exp(z)) / beta
        if op == "mish":
            bent = mp.tanh(mp.log1p(mp.exp(t)))
            return bent + t * (1 - bent**2) * s if derivative else t * bent
        return s + t * slope * bell if derivative else t * s

    points = reference_points(count)
    values = (ctypes.c_double * len(points))(*points)
    results = (ctypes.c_double * len(points))()
    worst = []
    for number, function in enumerate(FUNCTIONS):
        library.sweep_reference(number, values, results, ctypes.c_int64(len(points)))
        largest = mp.mpf(0)
        for x, y in zip(points, results):
            want = exact(function, x)
            largest = max(largest, abs(mp.mpf(y) - want) / max(abs(want), mp.mpf(2) ** -126))
        worst.append(float(mp.log(largest, 2)))
    return worst


DOCUMENT = """\
# Accuracy of the activations in float32

Written by `python tools/sweep.py --document` from the tables of its runs. Rows with "all" cover all 2^32
inputs, those with "1/n" every n-th bit pattern. Errors are in units in the last place of the exact result
(2^-149 where it is subnormal), against an evaluation in float64 whose own error is below 2^-45 relative
(`--check-reference`, mpmath); results that are correctly rounded all have 0.5. "Wrong sign or special value"
counts results that are NaN or infinite where they should not be, or have the wrong sign, be it of a zero:
counts near 10^9 are +0 where the exact value is a negative number too small for a float.

The promise of fastnorm is below 1 ULP, derivatives below 2 ULP, and no wrong sign or special value.
Instruction sets with fused multiply-add give the same bits; those without compute in double. "swish 1.5" is
swish with beta = 1.5. Libraries: PyTorch, JAX, SciPy and ONNX
Runtime{libraries}.

The picture is the left tail of gelu, where `1 + erf` cancels: the formula loses its digits from -2 on and
gives 0 from about -6 on (`python tools/gelu_tail.py docs/gelu_tail.svg`).

![Relative error of gelu in float32 from -13 to 0](gelu_tail.svg)

{table}
"""


def printed_rows(log: Path) -> list[str]:
    """The rows of a table that a run printed."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if any(line.startswith(f"| {function} |") for function in FUNCTIONS)]


def document(rows: list[str], libraries: dict[str, str]) -> None:
    """Write docs/accuracy.md, function by function; of rows for the same, the last."""
    latest = {tuple(row.split("|")[1:3]): row for row in rows}
    order = {function: number for number, function in enumerate(FUNCTIONS)}
    own = ("baseline", "avx2", "avx512")

    def place(row: str) -> tuple[int, int]:
        function, who = (cell.strip() for cell in row.split("|")[1:3])
        return order[function], own.index(who.split()[1]) if who.startswith("fastnorm") else len(own)

    table = sorted(latest.values(), key=place)
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    text = DOCUMENT.format(libraries=f" ({versions})" if versions else "", table="\n".join([HEADER, *table]))
    (ROOT / "docs" / "accuracy.md").write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    able = target_flags()
    best = next(reversed(able))
    parser.add_argument("--stride", type=int, default=1, help="distance of the inputs' bit patterns")
    parser.add_argument("--functions", nargs="*", choices=OPS, default=list(OPS))
    parser.add_argument("--targets", nargs="*", choices=tuple(able), default=list(able))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--peers", action="store_true", help="also sweep the other libraries that are installed"
    )
    parser.add_argument("--document", nargs="*", metavar="LOG", type=Path, help="also write docs/accuracy.md")
    parser.add_argument("--check-reference", action="store_true", help="measure the reference with mpmath")
    parser.add_argument("--points", type=int, default=100_000, help="inputs for --check-reference")
    options = parser.parse_args()

    functions = [name for name in FUNCTIONS if name.removesuffix(" derivative") in options.functions]
    rows: list[Row] = []
    libraries: dict[str, str] = {}

    def report(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        libraries_of = {name: compile_target(name, able[name], Path(folder)) for name in able}
        reference = libraries_of[best]
        if options.check_reference:
            errors = check_reference(reference, options.points)
            print(f"Reference, largest relative error over {options.points} inputs:")
            print(
                ", ".join(f"{name} 2^{error:.1f}" for name, error in zip(FUNCTIONS, errors)) + "\n",
                flush=True,
            )
        print(HEADER)
        targets = options.targets
        compiled = [libraries_of[name] for name in targets]
        for name in functions:
            results = sweep(compiled, reference, FUNCTIONS.index(name), options.stride, options.threads)
            for target, result in zip(targets, results):
                report(Row(f"fastnorm {target}", name, result, options.stride))
        calls: dict[str, dict[str, Function]] = {}
        for peer, (package, load) in (PEERS if options.peers else {}).items():
            try:
                calls[peer] = load()
            except ImportError as error:
                print(f"{peer} is not installed ({error.name})", file=sys.stderr)
                continue
            libraries[peer] = importlib.metadata.version(package)
        for name in functions:
            able_peers = [peer for peer in calls if name in calls[peer]]
            if not able_peers:
                continue
            results = sweep_peers(
                [calls[peer][name] for peer in able_peers], FUNCTIONS.index(name), reference, options.stride
            )
            for peer, result in zip(able_peers, results):
                report(Row(peer, name, result, options.stride))
    if options.document is not None:
        document(
            [row for log in options.document for row in printed_rows(log)] + list(map(str, rows)), libraries
        )
    failed = [row for row in rows if row.who.startswith("fastnorm") and not row.kept]
    for row in failed:
        print(f"over its bound: {row}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
