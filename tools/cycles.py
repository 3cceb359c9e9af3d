"""Cycles for 16 floats of the innermost vector loops of the kernels, by llvm-mca, for each processor.

::

    python tools/cycles.py build/cp311-cp311-linux_x86_64 --family activations,norms
    python tools/cycles.py build/cp311-cp311-linux_x86_64 --markdown docs/cycles.md
    python tools/cycles.py build/cp311-cp311-linux_x86_64 --function tanh_forward --show

Of each function over floats in the objects of a build folder the loop with the most vector arithmetic is
taken that has no loop inside. A number is the larger of what the busiest port and the front end need, which
iterations that overlap approach; loads are counted as from the first-level cache. Where a loop has a part for
rare arguments, that part is counted too. Compare versions with it, not clocks: beside a Zen 4 it is 22 to
27 % too fast for functions of look-ups and 18 % too slow for the tile of a product. Needs llvm-objdump,
llvm-cxxfilt and llvm-mca of LLVM 19 or later.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Which target's object a processor runs.
PROCESSORS = {
    "znver4": "avx512",
    "icelake-server": "avx512",
    "sapphirerapids": "avx512",
    "znver3": "avx2",
    "haswell": "avx2",
    "neoverse-v1": "neon",
    "neoverse-v2": "neon",
    "apple-m1": "neon",
}
ELEMENTS = 16
ITERATIONS = 200
Instructions = list[tuple[int, str]]  # address and text

BRANCH = re.compile(r"^(j\w+|b\.?\w*|cbn?z|tbn?z)\b.*?\b(?:0x)?([0-9a-f]+) <")
LEAVES = re.compile(r"^(retq?|br)\b")
JUMP = re.compile(r"^(jmpq?|b)\b(?!\.)\s+(?:0x)?([0-9a-f]+)")
VECTOR = re.compile(r"^v(?!mov|zero)|^(f|z|u|s|t|b[is])\w*\s+v\d+\.")
STEP = re.compile(r"^(add|sub|inc|dec)[lq]?\s+(?:\$(-?0x[0-9a-f]+), )?(%r\w+)$")
COPY = re.compile(r"^movq?\s+(%r\w+), (%r\w+)$")
PLACE = re.compile(r"\((%\w+)?(?:, ?(%\w+)(?:, ?(\d))?)?\)")
ARM_STEP = re.compile(r"^(add|sub)s?\s+(x\d+), (x\d+), #(0x[0-9a-f]+|\d+)")
ARM_PLACE = re.compile(r"\[(x\d+)(?:, (?:(x\d+)(?:, lsl #(\d))?|#-?\w+))?\](?:, #(-?(?:0x)?[0-9a-f]+))?")


@dataclass(frozen=True)
class Loop:
    """A loop of a kernel: whose it is, its instructions, and how many floats an iteration takes."""

    family: str
    name: str
    target: str
    code: tuple[str, ...]
    elements: int

    @property
    def arithmetic(self) -> int:
        """How many of the instructions compute on vectors."""
        return sum(bool(VECTOR.match(text)) for text in self.code)


@cache
def program(name: str) -> str:
    """Return the path of a program of LLVM, the newest that is installed.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    """
    for version in (*(f"-{number}" for number in range(25, 18, -1)), ""):
        if found := shutil.which(name + version):
            return found
    raise FileNotFoundError(f"{name} is not installed")


def run(name: str, *arguments: str, text: str | None = None) -> str:
    """Return what a program of LLVM prints."""
    command = [program(name), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


def functions(path: Path) -> Iterator[tuple[str, Instructions]]:
    """Functions of an object, names as written in C++ without namespaces."""
    text = run("llvm-objdump", "-d", "--no-show-raw-insn", str(path))
    text = run("llvm-cxxfilt", text=re.sub(r"^[0-9a-f]+ <(.+)>:$", r"@ \1", text, flags=re.MULTILINE))
    for part in re.split(r"^@ ", text, flags=re.MULTILINE)[1:]:
        name, *lines = part.splitlines()
        body = []
        for line in lines:
            if code := re.match(r"^\s*([0-9a-f]+):\s+(\S.*)$", line):
                body.append((int(code[1], 16), " ".join(code[2].split())))
        yield re.sub(r"fastnorm::(\w+::)?|\(anonymous namespace\)::", "", name), body


def leaves(text: str, first: int, last: int) -> bool:
    """Whether an instruction leaves a loop whatever happens: it is no loop then."""
    jump = JUMP.match(text)
    return bool(LEAVES.match(text)) or (jump is not None and not first <= int(jump[2], 16) <= last)


def innermost(body: Instructions) -> Iterator[list[str]]:
    """Loops that are left by branches alone and have no other inside."""
    place = {address: index for index, (address, _) in enumerate(body)}
    ends: dict[int, int] = {}
    for index, (_, text) in enumerate(body):
        branch = BRANCH.match(text)
        begin = place.get(int(branch[2], 16), index + 1) if branch else index + 1
        if begin <= index:
            ends[begin] = max(ends.get(begin, 0), index)
    whole = [
        (a, b)
        for a, b in ends.items()
        if not any(leaves(text, body[a][0], body[b][0]) for _, text in body[a:b])
    ]
    for a, b in whole:
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in whole):
            yield [text for _, text in body[a : b + 1]]


def elements_of(code: Sequence[str], arm: bool) -> int:
    """Floats an iteration takes, by the bytes that the addresses of its vectors move; 0 where none tell."""
    steps: dict[str, int] = {}
    for text in code:
        if arm and (step := ARM_STEP.match(text)) and step[2] == step[3]:
            steps[step[2]] = int(step[4], 0) * (-1 if step[1] == "sub" else 1)
        elif not arm and (step := STEP.match(text)):
            steps[step[3]] = (int(step[2], 16) if step[2] else 1) * (-1 if step[1] in ("sub", "dec") else 1)
    for text in code:
        if not arm and (copy := COPY.match(text)) and copy[1] in steps:
            steps.setdefault(copy[2], steps[copy[1]])
    moved = [0]
    for text in code:
        if arm and (place := ARM_PLACE.search(text)) and text.startswith(("ld", "st")):
            by_index = steps.get(place[2] or "", 0) << int(place[3] or 0)
            moved.append(steps.get(place[1], 0) + by_index + int(place[4] or "0", 0))
        elif not arm and re.search(r"%[xyz]mm", text) and (place := PLACE.search(text)):
            by_index = steps.get(place[2] or "", 0) * int(place[3] or 1)
            moved.append(steps.get(place[1] or "", 0) + by_index)
    elements = max(map(abs, moved)) // 4
    return elements if elements & (elements - 1) == 0 else 0  # else addresses do not move evenly


def label_of(name: str) -> str | None:
    """The function that a loop is for, None where it is not over floats: of a loop over vectors what it is
    applied to.
    """
    if not re.search(r"[<, ]float\b", name) or re.search(r"<[^(]*(float16|double|bfloat16)", name):
        return None
    if applied := re.match(r"void apply_vectors<(.*)", name):
        inner = re.search(r"(\w+)<[^<>()]*float>\(", applied[1])
        return inner[1] if inner else None
    plain, before = name, ""
    while plain != before:
        plain, before = re.sub(r"<[^<>]*>", "", plain), plain
    outer = re.search(r"([\w:]+)\(", plain)
    return outer[1] if outer else None


def loops(build: Path, target: str, families: Sequence[str]) -> Iterator[Loop]:
    """The loop with the most vector arithmetic of each function of a target."""
    for path in sorted(build.rglob(f"fastnorm_{target}_*.dir/**/*.cpp.o")):
        family = path.name.removesuffix(".cpp.o")
        if families and family not in families:
            continue
        arm = "aarch64" in run("llvm-objdump", "-f", str(path))[:400]
        best: dict[str, Loop] = {}
        for name, body in functions(path):
            label = label_of(name)
            for code in innermost(body) if label else ():
                assert label is not None
                loop = Loop(family, label, target, tuple(code), elements_of(code, arm))
                if loop.elements and loop.arithmetic > (best[label].arithmetic if label in best else 2):
                    best[label] = loop
        yield from best.values()


def assembly(loop: Loop) -> str:
    """What llvm-mca is asked about: the loop without jumps out of it and calls."""
    arm = loop.target == "neon"
    lines = ["top:"]
    for text in loop.code:
        if BRANCH.match(text) or re.match(r"^(call|bl)\w*\b", text):
            continue
        plain = re.sub(r"\s*//.*$" if arm else r"\s*#.*$", "", text)
        lines.append(re.sub(r"\s*<.*$", "", plain))
    return "\n".join([*lines, "b.ne top" if arm else "jne top", ""])


def cycles(loop: Loop, processor: str) -> float | None:
    """Cycles for 16 floats, None where llvm-mca cannot tell."""
    triple = "aarch64" if loop.target == "neon" else "x86_64"
    options = (f"-mtriple={triple}-linux-gnu", f"-mcpu={processor}", f"-iterations={ITERATIONS}")
    told = run("llvm-mca", *options, "-instruction-info=false", text=assembly(loop))
    uops = re.search(r"Total uOps:\s+(\d+)", told)
    width = re.search(r"Dispatch Width:\s+(\d+)", told)
    pressure = re.search(r"Resource pressure per iteration:\n.*\n(.*)\n", told)
    if not (uops and width and pressure):
        return None
    ports = [float(value) for value in re.findall(r"\d+\.\d+", pressure[1])]
    needed = max(*ports, int(uops[1]) / ITERATIONS / int(width[1]))
    return needed * ELEMENTS / loop.elements


def rows(build: Path, families: Sequence[str], function: str) -> dict[tuple[str, str], dict[str, float]]:
    """Cycles by family and function, and by processor."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for target in dict.fromkeys(PROCESSORS.values()):
        for loop in loops(build, target, families):
            if function not in loop.name:
                continue
            for processor in (name for name, runs in PROCESSORS.items() if runs == target):
                needed = cycles(loop, processor)
                if needed is not None:
                    found.setdefault((loop.family, loop.name), {})[processor] = needed
    return dict(sorted(found.items()))


def table(found: dict[tuple[str, str], dict[str, float]]) -> str:
    """Return a table in Markdown; processors without an object have no column."""
    known = [name for name in PROCESSORS if any(name in each for each in found.values())]
    lines = [f"| family | loop | {' | '.join(known)} |", "|---|---|" + "---|" * len(known)]
    for (family, name), each in found.items():
        cells = (f"{each[processor]:.1f}" if processor in each else "" for processor in known)
        lines.append(f"| {family} | `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="the build folder, for the objects")
    parser.add_argument("--family", default="", help="families of kernels (default: all)")
    parser.add_argument("--function", default="", help="part of the name of a function (default: all)")
    parser.add_argument("--markdown", type=Path, help="write the table into a page, after its last paragraph")
    parser.add_argument("--show", action="store_true", help="print the loops of the widest target too")
    options = parser.parse_args(arguments)
    families = [name for name in options.family.split(",") if name]
    found = rows(options.build, families, options.function)
    if not found:
        parser.error("no such loop in the objects of that folder")
    if options.show:
        target = next(iter(PROCESSORS.values()))
        for loop in loops(options.build, target, families):
            if options.function in loop.name:
                print(f"{loop.name}, {loop.elements} floats\n  " + "\n  ".join(loop.code))
    if options.markdown:
        words = options.markdown.read_text(encoding="utf-8").split("| family |")[0].rstrip()
        options.markdown.write_text(f"{words}\n\n{table(found)}\n", encoding="utf-8")
    else:
        print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
