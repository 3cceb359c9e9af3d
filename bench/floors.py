"""Put the time of an element, in the fastest round, beside its floor: what its operations and its bytes cost
at least.

::

    python bench/compare.py --op relu,gelu,softmax --shape 512x768 --threads 1 --peers "" --save times.json
    python bench/floors.py times.json build/cp311-cp311-linux_x86_64 --cpu icelake-server --ghz 2.8

Operations are the instructions on registers of 512 bits in the innermost loops of the kernels (``objdump``)
that no branch jumps over, of which a core starts one or two a cycle; loads and stores are counted as bytes
instead, which move at the speed of the copy of the same run. ``tools/cycles.py`` tells more of a loop.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ELEMENTS = 16  # floats of a register
# Of 512 bits: Zen 4 has halves of that width, and products, sums and permutations of its do not overlap
# (measured: 0.27 to 0.28 ns each at 3.6 GHz); the others start them from two ports.
OPERATIONS_A_CYCLE = {"znver4": 1, "icelake-server": 2, "sapphirerapids": 2}
# Loops over functions of one argument take two registers a step (elementwise.h).
BY_TWOS = "apply_vectors<float, float, 1, "
EXPONENTIALS = r"^double row_exponentials<float>\(.*, float const\*, "
# The functions of an op's passes over a row; by default that over vectors which is named after it.
PASSES = {
    "silu": [r"apply_vectors<float, float, 1, 1, Silu>"],
    "gelu": [r"gelu_map<\S*0, float>"],
    "gelu_backward": [r"gelu_backward_map<\S*0, float>"],
    "swish_backward": [r"^void swish_vectors<float, .*BetaTerms.0>"],
    "softmax": [EXPONENTIALS, r"apply_vectors.* softmax_forward<float>"],
    "softmax_backward": [EXPONENTIALS, r"apply_vectors.* softmax_backward<float>"],
    "log_softmax": [EXPONENTIALS, r"apply_vectors.* log_softmax_forward<float>"],
    "log_softmax_backward": [EXPONENTIALS, r"apply_vectors.* log_softmax_backward<float>"],
}
Instructions = list[tuple[int, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("summary", type=Path, help="what compare.py --save has written")
    parser.add_argument("build", type=Path, help="the build folder, for the objects")
    parser.add_argument("--cpu", required=True, choices=OPERATIONS_A_CYCLE, help="the processor")
    parser.add_argument("--ghz", type=float, required=True, help="clock of the core")
    options = parser.parse_args(arguments)
    rows = json.loads(options.summary.read_text(encoding="utf-8"))["rows"]
    objects = [
        path
        for family in ("activations", "gates", "softmax")
        for path in options.build.rglob(f"fastnorm_*_{family}.dir/**/{family}.cpp.o")
    ]
    known = [loop for path in objects for loop in loops(path)]
    print(
        "| 1 thread | ns an element | operations | at least, ns | bytes | at least, ns "
        "|\n|---|---|---|---|---|---|"
    )
    for row in rows:
        op = row["workload"]
        function = op if op.endswith("_backward") else f"{op}_forward"
        patterns = PASSES.get(op, [rf"apply_vectors<float, float.*[: ]{function}<float>"])
        counts = [
            max((count for name, count in known if re.search(pattern, name)), default=0)
            for pattern in patterns
        ]
        if not all(counts):
            print(f"{op}: no function of the objects is named as PASSES says", file=sys.stderr)
            continue
        count = sum(counts)
        elements = math.prod(int(extent) for extent in row["shape"].split("x"))
        moved = row["bytes_moved"] / elements
        print(
            f"| {op} | {row['best_seconds']['fastnorm'] / elements * 1e9:.2f} | {count} "
            f"| {count / ELEMENTS / OPERATIONS_A_CYCLE[options.cpu] / options.ghz:.2f} "
            f"| {moved:.0f} | {moved / row['copy_gb_per_s']:.2f} |"
        )
    return 0


def loops(path: Path) -> Iterator[tuple[str, int]]:
    """Functions over floats of an object, with the vector operations of each loop that has no loop inside."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, body in re.findall(r"^[0-9a-f]+ <(.*)>:\n((?:.+\n)+)", text, re.MULTILINE):
        plain = re.sub(r"fastnorm::(\w+::)?|\(anonymous namespace\)::", "", name)
        if not re.search(r"<float[,>]", plain):
            continue
        instructions: Instructions = []
        for line in body.splitlines():
            address, *words = line.split("\t")
            if words:
                instructions.append((int(address.strip().rstrip(":"), 16), " ".join(words)))
        spans = [span for at, text in instructions if (span := backward_jump(at, text, instructions[0][0]))]
        for first, last in spans:
            if any(
                first <= a and b <= last and (a, b) != (first, last) for a, b in spans if b - a < last - first
            ):
                continue
            inside = [(at, text) for at, text in instructions if first <= at <= last]
            rare = [span for at, text in inside if (span := forward_jump(at, text, last))]
            count = sum(is_operation(text) and not any(a < at < b for a, b in rare) for at, text in inside)
            if count:
                yield plain, -(-count // 2) if BY_TWOS in plain else count


def backward_jump(at: int, text: str, start: int) -> tuple[int, int] | None:
    """The loop that a jump closes."""
    target = re.match(r"j\w+ +([0-9a-f]+) ", text)
    if target is None or not start <= int(target[1], 16) <= at:
        return None
    return int(target[1], 16), at


def forward_jump(at: int, text: str, last: int) -> tuple[int, int] | None:
    """What a conditional jump leaves out: the part of a loop that is for rare arguments."""
    target = re.match(r"j(?!mp)\w+ +([0-9a-f]+) ", text)
    if target is None or not at < int(target[1], 16) <= last:
        return None
    return at, int(target[1], 16)


def is_operation(text: str) -> bool:
    """Whether an instruction computes on a whole register."""
    return "%zmm" in text and not re.match(r"vmov\w+ +(.*\),%zmm|%zmm\d+,.*\))", text)


if __name__ == "__main__":
    sys.exit(main())
