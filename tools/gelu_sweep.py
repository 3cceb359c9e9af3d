"""Measure the error of the float32 gelu kernels, all three forms and their derivatives, over all 2^32 inputs.

    python tools/gelu_sweep.py                     every target this processor can run, all inputs (minutes)
    python tools/gelu_sweep.py --stride 257        every 257th input (seconds)
    python tools/gelu_sweep.py --check-reference   also measures the reference itself against mpmath

Compiles tools/gelu_sweep.cpp with $CXX, prints a table in markdown and, with --json, writes one. Errors are in units in
the last place of the exact result (2^-149 where that is subnormal). The reference is the float64 kernel, whose error is
about 2^-53 relative; --check-reference shows it at random inputs and at the ends of every binade.

The exit status is 1 if a function exceeds its bound (1 ULP, derivatives 2 ULP) or a special value is wrong.
"""

import argparse
import ctypes
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ("none", "none derivative", "tanh", "tanh derivative", "sigmoid", "sigmoid derivative")
BOUNDS = (1.0, 2.0, 1.0, 2.0, 1.0, 2.0)
TARGET_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c", "-mbmi2"],
    "avx512": ["-mavx2", "-mfma", "-mf16c", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
}
CHUNK = 1 << 26


class Result(ctypes.Structure):
    """SweepResult of gelu_sweep.cpp."""

    _fields_ = [
        ("worst", ctypes.c_double),
        ("worst_x", ctypes.c_float),
        ("broken", ctypes.c_uint32),
        ("counted", ctypes.c_uint64),
        ("correctly_rounded", ctypes.c_uint64),
    ]


def compile_target(target: str, folder: Path) -> ctypes.CDLL:
    library = folder / f"gelu_sweep_{target}.so"
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O2", "-ffp-contract=off", "-fno-math-errno"]
    command += ["-fno-trapping-math", "-w", "-shared", "-fPIC", f"-I{ROOT / 'cpp'}", f"-DFASTNORM_TARGET={target}"]
    command += [f'-DFASTNORM_REGISTERS="simd/vec_{target}.h"', *TARGET_FLAGS[target]]
    command += [str(ROOT / "tools" / "gelu_sweep.cpp"), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def sweep(library: ctypes.CDLL, reference: ctypes.CDLL, function: int, stride: int, threads: int) -> Result:
    """One function over all inputs, in chunks; a chunk begins where the stride has got to."""

    def run(chunk: int) -> Result:
        first = -(-chunk * CHUNK // stride) * stride
        result = Result()
        library.sweep_range(
            function,
            ctypes.c_uint64(first),
            ctypes.c_uint64((chunk + 1) * CHUNK),
            ctypes.c_uint64(stride),
            reference.sweep_reference,
            ctypes.byref(result),
        )
        return result

    total = Result()
    with ThreadPoolExecutor(threads) as pool:
        for part in pool.map(run, range((1 << 32) // CHUNK)):
            if part.worst > total.worst:
                total.worst, total.worst_x = part.worst, part.worst_x
            total.broken += part.broken
            total.counted += part.counted
            total.correctly_rounded += part.correctly_rounded
    return total


def reference_points(count: int) -> list[float]:
    """Floats at and beside both ends of every binade, and random ones: uniform where results are not trivial, and bits."""
    generator = random.Random(1)
    points = []
    for exponent in range(-149, 128):
        (bits,) = struct.unpack("<I", struct.pack("<f", 2.0**exponent))
        for near in (bits - 1, bits, bits + 1):
            points.append(struct.unpack("<f", struct.pack("<I", max(near, 1)))[0])
    while 2 * len(points) < count:
        x = generator.choice((generator.uniform(0, 15), generator.uniform(0, 60), 2.0 ** generator.uniform(-30, 4)))
        points.append(struct.unpack("<f", struct.pack("<f", x))[0])
    return points + [-x for x in points]


def check_reference(library: ctypes.CDLL, count: int) -> list[float]:
    """The largest error of the reference, relative to the larger of the exact value and 2^-126, for each function."""
    import mpmath as mp

    mp.mp.prec = 160
    a = mp.sqrt(8 / mp.pi)

    def exact(function: int, x: float) -> mp.mpf:
        form, derivative = divmod(function, 2)
        t = mp.mpf(x)
        if form == 0:
            cdf = mp.erfc(-t / mp.sqrt(2)) / 2
            return cdf + t * mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi) if derivative else t * cdf
        z, slope = (a * (t + mp.mpf("0.044715") * t**3), a * (1 + 3 * mp.mpf("0.044715") * t**2))
        if form == 2:
            z, slope = mp.mpf("1.702") * t, mp.mpf("1.702")
        if abs(z) > 1000:
            return mp.mpf((1 if derivative else t) if t > 0 else 0)
        s = 1 / (1 + mp.exp(-z))
        return s + t * slope * s / (1 + mp.exp(z)) if derivative else t * s

    points = reference_points(count)
    values = (ctypes.c_double * len(points))(*points)
    results = (ctypes.c_double * len(points))()
    worst = []
    for function in range(len(FUNCTIONS)):
        library.sweep_reference(function, values, results, ctypes.c_int64(len(points)))
        largest = mp.mpf(0)
        for x, y in zip(points, results):
            want = exact(function, x)
            largest = max(largest, abs(mp.mpf(y) - want) / max(abs(want), mp.mpf(2) ** -126))
        worst.append(float(mp.log(largest, 2)))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1, help="distance of the inputs' bit patterns")
    parser.add_argument("--targets", nargs="+", choices=tuple(TARGET_FLAGS), default=list(TARGET_FLAGS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--check-reference", action="store_true", help="measure the reference with mpmath")
    parser.add_argument("--points", type=int, default=100_000, help="inputs for --check-reference")
    options = parser.parse_args()

    failed = False
    report: dict[str, object] = {"stride": options.stride}
    with tempfile.TemporaryDirectory() as folder:
        baseline = compile_target("baseline", Path(folder))
        able = [name for number, name in enumerate(TARGET_FLAGS) if baseline.sweep_supported(number)]
        reference = compile_target(able[-1], Path(folder))
        if options.check_reference:
            errors = check_reference(reference, options.points)
            report["reference_error_log2"] = dict(zip(FUNCTIONS, errors))
            print(f"Reference, largest relative error over {options.points} inputs:")
            print(", ".join(f"{name} 2^{error:.1f}" for name, error in zip(FUNCTIONS, errors)) + "\n", flush=True)
        print("| target | function | max ULP | at x | correctly rounded |")
        print("|---|---|---|---|---|")
        rows = []
        for target in [name for name in options.targets if name in able]:
            library = reference if target == able[-1] else compile_target(target, Path(folder))
            for function, name in enumerate(FUNCTIONS):
                result = sweep(library, reference, function, options.stride, options.threads)
                share = result.correctly_rounded / result.counted
                print(f"| {target} | {name} | {result.worst:.4f} | {result.worst_x!r} | {share:.3%} |", flush=True)
                rows.append(
                    {
                        "target": target,
                        "function": name,
                        "max_ulp": result.worst,
                        "at_x": result.worst_x,
                        "inputs": result.counted,
                        "correctly_rounded": share,
                        "wrong_special_values": result.broken,
                    }
                )
                if result.broken or result.worst >= BOUNDS[function]:
                    failed = True
                    print(f"\n{target} {name}: over its bound, or {result.broken} special values wrong\n")
        report["results"] = rows
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
