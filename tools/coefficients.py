"""What the generators of coefficients share: floats, fits by Chebyshev expansion and by pieces, C++ literals.

Everything is computed at 200 bits with mpmath, so the output does not depend on the machine.
"""

import argparse
import copy
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
from mpmath import mpf

ROOT = Path(__file__).resolve().parent.parent
Function = Callable[[mpf], mpf]

mp.mp.prec = 200

# ---- numbers -----------------------------------------------------------------------------------------------


def to_float32(x: mpf) -> mpf:
    """Round to nearest float32 (by way of float64: a double rounding moves no digit that matters here)."""
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def float_bits(x: mpf) -> int:
    (bits,) = struct.unpack("<I", struct.pack("<f", float(x)))
    return int(bits)


def float_of_bits(bits: int) -> mpf:
    return mpf(struct.unpack("<f", struct.pack("<I", bits))[0])


def next_float32(x: mpf, steps: int) -> mpf:
    return float_of_bits(float_bits(x) + steps)


def hexadecimal(x: mpf, suffix: str = "") -> str:
    """A C++ hexadecimal literal without trailing zeros."""
    mantissa, _, exponent = float(x).hex().partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}{suffix}"


def split(x: mpf) -> tuple[mpf, mpf]:
    """x as the double nearest to it and the double nearest to the rest."""
    high = mpf(float(x))
    return high, mpf(float(x - high))


# ---- series over a whole interval: Chebyshev expansions, truncated -----------------------------------------


def chebyshev(f: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Chebyshev coefficients of f on [low, high]: within a small factor of the minimax polynomial."""
    count = 4 * (degree + 1)
    angles = [mp.pi * (2 * j + 1) / (2 * count) for j in range(count)]
    values = [f((low + high) / 2 + (high - low) / 2 * mp.cos(angle)) for angle in angles]
    return [
        (2 if k else 1)
        * mp.fsum(v * mp.cos(k * angle) for v, angle in zip(values, angles, strict=True))
        / count
        for k in range(degree + 1)
    ]


def powers(f: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """The same polynomial as coefficients of 1, x, x^2, ..."""
    coefficients = chebyshev(f, low, high, degree)
    scale, shift = 2 / (high - low), -(low + high) / (high - low)
    before, latest = [mpf(1)], [shift, scale]
    result = [mpf(0)] * (degree + 1)
    for k, coefficient in enumerate(coefficients):
        polynomial = before if k == 0 else latest
        for power, value in enumerate(polynomial):
            result[power] += coefficient * value
        if k:
            following = [mpf(0), *(2 * scale * v for v in latest)]
            for power, value in enumerate(latest):
                following[power] += 2 * shift * value
            for power, value in enumerate(before):
                following[power] -= value
            before, latest = latest, following
    return result


# ---- piecewise polynomials for float -----------------------------------------------------------------------


@dataclass
class Quadratic:
    """The piece of t is the integer nearest to r^2 / unit, r = alpha t + beta, modulo 32: `first` for first_t
    and then upwards, with narrower and narrower pieces, or downwards (`step` -1), with wider and wider ones.

    With `bend` it is the integer nearest to r min(r, bend): pieces of one width, and twice as many from r =
    bend on, which get wider again. With `unit` alpha is 1 and `first` the r of first_t.
    """

    first: mpf | int
    step: int
    bend: str | None = None
    unit: int | None = None

    pieces = 32
    shift = 0

    def place(self, first_t: mpf, last_t: mpf) -> tuple[list[mpf], int]:
        """The ends of the pieces, and the index of the first one; sets alpha and beta."""
        self.bend_at = to_float32(mpf(self.bend)) if self.bend else mpf(0)
        if self.unit:
            self.alpha, self.beta = mpf(1), to_float32(self.first - first_t)
            first = int(mp.nint(self.beta**2 / self.unit))
            roots = [mp.sqrt(self.unit * (first + i - mpf("0.5"))) for i in range(self.pieces + 1)]
        else:
            first = int(self.first)
            root = self.root_of(first - self.step * mpf("0.49"))  # safely nearest to `first` at first_t
            roots = [self.root_of(first + self.step * (i - mpf("0.5"))) for i in range(self.pieces + 1)]
            self.alpha = to_float32((roots[-1] - root) / ((last_t - first_t) * mpf("1.00002")))
            self.beta = to_float32(root - self.alpha * first_t)
        return [(root - self.beta) / self.alpha for root in roots], first

    def root_of(self, place: mpf) -> mpf:
        root = mp.sqrt(place)
        return place / self.bend_at if self.bend and root > self.bend_at else root


@dataclass
class Leading:
    """The piece of t is the leading bits of r = alpha t + beta, modulo `pieces`: the float r without its last
    `shift` bits. Pieces are twice as wide from each power of two on.
    """

    beta: str | mpf
    shift: int
    pieces: int = 32
    alpha: str | mpf = "1"

    bend_at = mpf(0)
    unit = 0
    step = 1

    def place(self, first_t: mpf, last_t: mpf) -> tuple[list[mpf], int]:
        self.alpha, self.beta = to_float32(mpf(self.alpha)), to_float32(mpf(self.beta))
        first = float_bits(self.alpha * first_t + self.beta) >> self.shift
        ends = [
            (float_of_bits(first + i << self.shift) - self.beta) / self.alpha for i in range(self.pieces + 1)
        ]
        return ends, first


class Piecewise:
    """f on [first_t, last_t] as polynomials c0 + d (c1 + ... + cn d^(n-1)), d = t - center, for evaluation in
    float32, with the pieces of `index`.

    f changes by a factor of at most about 0.7 to 1.4 over a piece, so c0 carries most of the value and the
    roundings of the other terms do not show. With `wide` the last piece is as wide as it takes to reach
    last_t, and the error there counts beside 1 instead of f. With `packed` the last coefficient is what the
    bits of the one before are as a float, moved up by so many places: one number of the table holds both.
    With `beside` the pieces beside that of the zero are expanded about a place so far from their edges there,
    as a part of their width: c0 is then not much larger than the value, whose rounding would show.
    """

    def __init__(
        self,
        f: Function,
        last_t: str,
        index: Quadratic | Leading,
        zero: mpf | None = None,
        linear: bool = False,
        first_t: str = "0",
        across: bool = False,
        degree: int = 6,
        wide: bool = False,
        packed: int = 0,
        beside: str | None = None,
    ) -> None:
        self.f, self.zero, self.linear, self.index, self.degree = f, zero, linear, index, degree
        self.across, self.wide, self.packed, self.beside = across, wide, packed, beside
        self.rests: list[mpf] = []
        self.first_t, self.last_t = to_float32(mpf(first_t)), to_float32(mpf(last_t))
        self.edges, self.first = index.place(self.first_t, self.last_t)
        self.edges[0] = self.first_t
        self.last_root = mpf(0)
        self.far_t = self.last_t
        if wide:
            # An r within the last piece whatever the roundings, and the last t of the others.
            self.last_root = to_float32(self.index.alpha * self.edges[-2] + self.index.beta + mpf(2) ** -6)
            self.far_t = to_float32(self.edges[-2] - mpf(2) ** -18)
            self.edges[-1] = self.last_t
        assert self.edges[-1] >= self.last_t
        self.pieces = [
            self.fit(i, low, high) for i, (low, high) in enumerate(zip(self.edges, self.edges[1:]))
        ]
        if wide:
            # Whatever is larger takes the value at the last t: the last one of no error.
            self.last_t = self.last_crossing(self.edges[-2], self.last_t)

    def last_crossing(self, low: mpf, high: mpf) -> mpf:
        """Where the last piece meets f last."""
        center, *c = self.pieces[-1]
        signs = [
            mp.sign(mp.polyval(c[::-1], t - center) - self.f(t))
            for t in (high - (high - low) * i / 1000 for i in range(1000))
        ]
        crossing = next(i for i in range(999) if signs[i] != signs[i + 1])
        return to_float32(high - (high - low) * (crossing + mpf("0.5")) / 1000)

    def weight(self, piece: int, t: mpf) -> mpf:
        return mpf(1) if self.wide and piece == self.index.pieces - 1 else 1 / abs(self.f(t))

    def fit(self, piece: int, low: mpf, high: mpf) -> list[mpf]:
        """[center, c0, ..., cn], rounded to float32 one by one, each time refitting those that follow."""
        low, high, nodes = self.nodes(low, high)
        if self.linear and piece == 0:
            # f(t) = t + c2 t^2 + ...: the kernel takes t itself for c0 (the least of t and the table's c0)
            fixed = [mpf(1) * 2**20, mpf(0)]
            rest = [self.f(t) - t for t in nodes]
            return [mpf(0), *self.complete(fixed, [t / self.f(t) for t in nodes], nodes, rest, skip=1)]
        if self.zero is not None and low < self.zero < high:
            center, fixed = self.center_at_zero(self.zero)
            distances = [t - center for t in nodes]
            weights = [1 / abs(d) for d in distances]
        else:
            center, fixed = self.best_center(piece, low, high, nodes)
            assert not self.linear or fixed[0] <= low, "the kernel would take t for c0"
            distances = [t - center for t in nodes]
            weights = [self.weight(piece, t) for t in nodes]
        values = [self.f(t) - fixed[0] for t in nodes]
        return [center, *self.complete(fixed, weights, distances, values)]

    def nodes(self, low: mpf, high: mpf) -> tuple[mpf, mpf, list[mpf]]:
        """A piece and a little beyond, and the Chebyshev nodes there."""
        margin = (high - low) * mpf("1e-4")
        low, high = max(low - margin, self.first_t), high + margin
        count = 3 * self.degree + 6
        return (
            low,
            high,
            [
                (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * j + 1) / (2 * count))
                for j in range(count)
            ],
        )

    def refitted(self, f: Function) -> "Piecewise":
        """The table of another function with the same pieces and centers: one index and one distance serve
        both. c0 is not nearly a float there; its rest takes the place of the center.
        """
        table = copy.copy(self)
        table.f, table.zero, table.packed, table.pieces, table.rests = f, None, 0, [], []
        for (center, *_), bottom, top in zip(self.pieces, self.edges, self.edges[1:]):
            _, _, nodes = self.nodes(bottom, top)
            distances, weights = [t - center for t in nodes], [1 / abs(f(t)) for t in nodes]
            values = [f(t) for t in nodes]
            exact = least_squares(distances, values, range(self.degree + 1), weights)[0]
            c0 = to_float32(exact)
            table.rests.append(to_float32(exact - c0))
            rest = [v - c0 - table.rests[-1] for v in values]
            table.pieces.append([center, *table.complete([c0], weights, distances, rest)])
        return table

    def complete(
        self, fixed: list[mpf], weights: list[mpf], distances: list[mpf], values: list[mpf], skip: int = 0
    ) -> list[mpf]:
        """Append the coefficients that follow `fixed`; `values` are without c0, `skip` extra weights of d.

        Of packed ones the last is the low bits of the one before, which are first found, being coarse.
        """
        known = dict(enumerate(fixed))

        def next_of(powers: Sequence[int]) -> mpf:
            """The first of the coefficients of `powers`, fitted beside those that are known."""
            left = [
                v - sum(c * d**k for k, c in known.items() if k)
                for v, d in zip(values, distances, strict=True)
            ]
            scaled = [w / abs(d) ** skip for w, d in zip(weights, distances, strict=True)]
            return least_squares(distances, left, powers, scaled)[0]

        rest = list(range(len(fixed), self.degree + 1))
        if self.packed:
            last, before = rest.pop(), rest[-1]
            word = float_bits(next_of([last, *rest])) + (1 << self.packed - 1) >> self.packed
            known[last] = float_of_bits(word << self.packed)
            rest.pop()
            span = 1 << 32 - self.packed
            nearest = float_bits(next_of([before, *rest])) - word
            known[before] = float_of_bits((nearest + span // 2) // span * span + word)
        while rest:
            known[rest[0]] = to_float32(next_of(rest))
            rest.pop(0)
        return [known[power] for power in range(self.degree + 1)]

    def best_center(self, piece: int, low: mpf, high: mpf, nodes: list[mpf]) -> tuple[mpf, list[mpf]]:
        """The float near the middle at which c0 and c1 happen to be nearly floats: their rounding then costs
        nothing.
        """
        middle = (low + high) / 2
        if self.linear and self.f(middle) > low:
            middle = mp.findroot(lambda t: self.f(t) - low, middle) * mpf("0.999")
        if self.beside and self.zero and max(low - self.zero, self.zero - high) < high - low:
            inwards = mpf(self.beside) * (high - low)
            middle = low + inwards if low > self.zero else high - inwards
        middle = to_float32(middle)
        weights = [self.weight(piece, t) for t in nodes]
        base = least_squares(
            [t - middle for t in nodes], [self.f(t) for t in nodes], range(self.degree + 1), weights
        )
        fine = [next_float32(middle, steps) for steps in range(-2000, 2001)]
        # Where f hardly changes only a center far away will do, beyond the piece even.
        coarse = [to_float32(low + (high - low) * i / 100) for i in range(1, 800)]
        # Where c0 - center hardly changes, as that of a function that tends to t, any place in the middle
        # half.
        across = [to_float32(low + (high - low) * mpf(i) / 4000) for i in range(1000, 3001) if self.across]
        for centers in (fine, across, coarse):
            candidates = []
            for center in centers:
                c0, c1 = mp.polyval(base[::-1], center - middle, derivative=True)
                c0_error = abs((to_float32(c0) - c0) / c0)
                if c0_error > mpf(2) ** -29:
                    continue
                reach = max(high - center, center - low)
                error = 2 * c0_error + abs((to_float32(c1) - c1) / c0) * reach
                candidates.append((error, center, [to_float32(c0), to_float32(c1)]))
            if candidates:
                return min(candidates)[1:]
        raise ValueError("no center")

    def center_at_zero(self, zero: mpf) -> tuple[mpf, list[mpf]]:
        """The zero's nearest float or a neighbour, so that c0 is tiny and the value relatively accurate
        through the zero.

        The best is the one for which the rounding of c0 and c1 matters least at the floats next to the zero.
        """
        nearest = to_float32(zero)
        neighbours = [next_float32(nearest, steps) for steps in range(-6, 7)]
        candidates = []
        for center in neighbours[3:-3]:
            fixed = [to_float32(self.f(center)), to_float32(mp.diff(self.f, center))]
            error = max(abs((fixed[0] + fixed[1] * (t - center)) / self.f(t) - 1) for t in neighbours)
            candidates.append((error, center, fixed))
        return min(candidates)[1:]

    def rows(self) -> list[list[mpf]]:
        """In the order of the index modulo the number of pieces."""
        count = self.index.pieces
        pieces = [[rest, *piece[1:]] for rest, piece in zip(self.rests, self.pieces)] or self.pieces
        return [pieces[self.index.step * (row - self.first) % count] for row in range(count)]

    def errors(self) -> list[mpf]:
        """Largest error of each piece as it was fitted, relative but for a wide piece, before the roundings
        of its evaluation.
        """
        result = []
        for i, (piece, low, high) in enumerate(zip(self.pieces, self.edges, self.edges[1:])):
            worst = mpf(0)
            for step in range(1, 64):
                t = low + (high - low) * step / 64
                c0 = min(piece[1], t) if self.linear else piece[1]
                rest = self.rests[i] if self.rests else 0
                value = c0 + rest + sum(c * (t - piece[0]) ** k for k, c in enumerate(piece[2:], start=1))
                worst = max(worst, abs(value - self.f(t)) * self.weight(i, t))
            result.append(worst)
        return result


def least_squares(xs: list[mpf], ys: list[mpf], exponents: Sequence[int], weights: list[mpf]) -> list[mpf]:
    """Coefficients of x^k, k in exponents; at Chebyshev nodes this is close to the minimax fit."""
    size = len(exponents)
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    for x, y, weight in zip(xs, ys, weights, strict=True):
        row = [x**k * weight for k in exponents]
        for i in range(size):
            right[i] += row[i] * y * weight
            for j in range(size):
                matrix[i, j] += row[i] * row[j]
    return list(mp.lu_solve(matrix, right))


# ---- printing ----------------------------------------------------------------------------------------------


def cpp_array(name: str, values: list[mpf], element: str = "double") -> str:
    if element == "float":
        literals = [hexadecimal(to_float32(v), "f") for v in values]
    else:
        literals = [hexadecimal(v) for v in values]
    lines = "".join(f"    {literal},\n" for literal in literals)
    return f"constexpr {element} {name}[] = {{\n{lines}}};\n"


def cpp_split(name: str, value: mpf) -> str:
    high, low = split(value)
    return f"    static constexpr SplitConstant {name} = {{{hexadecimal(high)}, {hexadecimal(low)}}};\n"


def cpp_piecewise(name: str, comment: str, table: Piecewise) -> str:
    index = table.index
    kind = f"{index.pieces}, {table.degree}" + (f", {table.packed}" if table.packed else "")
    head = f"// {comment}\nconstexpr PiecewiseTable<{kind}> {name} = {{\n    {{\n"
    numbers = [index.alpha, index.beta, table.first_t, table.last_t, table.far_t, table.last_root]
    tail = ", ".join(hexadecimal(v, "f") for v in numbers)
    tail += f", {hexadecimal(index.bend_at, 'f')}, {index.unit or 1}, {index.shift}"
    rows = ""
    for row in table.rows():
        texts = [hexadecimal(v, "f") for v in (row[:-1] if table.packed else row)]
        rows += "        {" + ", ".join(texts[:4]) + ",\n         " + ", ".join(texts[4:]) + "},\n"
    return head + rows + f"    }},\n    {tail}}};\n"


def errors(tables: dict[str, tuple[str, Piecewise]]) -> str:
    """Approximation errors of the pieces of each table as powers of two, and where the pieces end."""
    text = ""
    for name, (_, table) in tables.items():
        text += f"{name}: " + " ".join(mp.nstr(mp.log(e, 2), 3) for e in table.errors()) + "\n"
        text += "  edges " + " ".join(mp.nstr(t, 3) for t in table.edges) + "\n"
    return text


def check(sources: dict[str, list[str]]) -> bool:
    """True if every block of text stands in its file, whatever its layout."""

    def squeezed(text: str) -> str:
        return "".join(text.split())

    good = True
    for path, blocks in sources.items():
        text = squeezed((ROOT / path).read_text(encoding="utf-8"))
        same = all(squeezed(block) in text for block in blocks)
        print(f"{path}: {'as computed' if same else 'DIFFERS'}")
        good = good and same
    return good


def run(
    description: str | None,
    outputs: dict[str, Callable[[], str]],
    sources: Callable[[], dict[str, list[str]]],
) -> int:
    """The command line of a generator: print one of the outputs, or check the sources."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=(*outputs, "check"))
    what = parser.parse_args().what
    if what == "check":
        return 0 if check(sources()) else 1
    print(outputs[what](), end="")
    return 0
