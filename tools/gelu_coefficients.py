"""Compute every table of the gelu kernels with mpmath and print it as the sources hold it.

    python tools/gelu_coefficients.py header        cpp/kernels/gelu_coefficients.h, whole
    python tools/gelu_coefficients.py exponential   the series in cpp/simd/math.h
    python tools/gelu_coefficients.py twin          the series in python/fastnorm/reference/_erf.py
    python tools/gelu_coefficients.py errors        approximation errors of the piecewise tables, as powers of two
    python tools/gelu_coefficients.py check         compare all of them with the sources

What the tables mean is told where they are used: gelu_double.h, gelu_float.h, math.h, _erf.py. Everything is computed
at 200 bits from mpmath's erfc and exp, so the output does not depend on the machine.
"""

import argparse
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath as mp
from mpmath import mpf

ROOT = Path(__file__).resolve().parent.parent
Function = Callable[[mpf], mpf]

mp.mp.prec = 200

# ---- numbers -------------------------------------------------------------------------------------------------------


def to_float32(x: mpf) -> mpf:
    """Round to nearest float32 (by way of float64: a double rounding moves no digit that matters here)."""
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def next_float32(x: mpf, steps: int) -> mpf:
    (bits,) = struct.unpack("<I", struct.pack("<f", float(x)))
    return mpf(struct.unpack("<f", struct.pack("<I", bits + steps))[0])


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


# ---- the functions -------------------------------------------------------------------------------------------------


def mills(t: mpf) -> mpf:
    """R(t) = exp(t^2/2) Phi(-t)."""
    return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2


class Form:
    """One form of gelu: its tail S(t) = 1 - cdf(t) for t >= 0, and D = S + t S'."""

    tail: Function
    tail_slope: Function
    near_zero: mpf

    def slope(self, t: mpf) -> mpf:
        return self.tail(t) + t * self.tail_slope(t)

    def zero(self) -> mpf:
        """t0, where the slope vanishes."""
        return mp.findroot(self.slope, mpf("0.752"))


class Exact(Form):
    def tail(self, t: mpf) -> mpf:
        return mp.erfc(t / mp.sqrt(2)) / 2

    def tail_slope(self, t: mpf) -> mpf:
        return -mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi)


class Logistic(Form):
    """S = 1/(1 + exp(z)), z = a t + b t^3: the tanh form, and with b = 0 the sigmoid form."""

    def __init__(self, a: mpf, b: mpf) -> None:
        self.a, self.b = a, b

    def z(self, t: mpf) -> mpf:
        return self.a * t + self.b * t**3

    def tail(self, t: mpf) -> mpf:
        return 1 / (1 + mp.exp(self.z(t)))

    def tail_slope(self, t: mpf) -> mpf:
        s = self.tail(t)
        return -s * (1 - s) * (self.a + 3 * self.b * t * t)


EXACT = Exact()
TANH = Logistic(mp.sqrt(8 / mp.pi), mp.sqrt(8 / mp.pi) * mpf("0.044715"))
SIGMOID = Logistic(mpf("1.702"), mpf(0))
FORMS = {"none": EXACT, "tanh": TANH, "sigmoid": SIGMOID}

# ---- series over a whole interval: Chebyshev expansions, truncated ---------------------------------------------------


def chebyshev(f: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Chebyshev coefficients of f on [low, high]: within a small factor of the minimax polynomial."""
    count = 4 * (degree + 1)
    angles = [mp.pi * (2 * j + 1) / (2 * count) for j in range(count)]
    values = [f((low + high) / 2 + (high - low) / 2 * mp.cos(angle)) for angle in angles]
    return [
        (2 if k else 1) * mp.fsum(v * mp.cos(k * angle) for v, angle in zip(values, angles, strict=True)) / count
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


def at_q(f: Function) -> Function:
    """f as a function of q = (t - 4)/(t + 4)."""
    return lambda q: f(4 * (1 + q) / (1 - q))


def q_of(t: str) -> mpf:
    return (mpf(t) - 4) / (mpf(t) + 4)


def mills_factor(t: mpf) -> mpf:
    return mills(t) * (t + 4)


def slope_factor(t: mpf) -> mpf:
    """U(t) = (R(t) - t/sqrt(2 pi))/(t0 - t)."""
    distance = ZERO_OF_EXACT - t
    if abs(distance) < mpf(2) ** -60:
        distance = mpf(2) ** -60
        t = ZERO_OF_EXACT - distance
    return (mills(t) - t / mp.sqrt(2 * mp.pi)) / distance


ZERO_OF_EXACT = EXACT.zero()


def exponential_series(degree: int) -> list[mpf]:
    """(exp(r) - 1 - r)/r^2 for |r| <= ln(2)/2."""
    half = mp.log(2) / 2 * mpf("1.001")
    return powers(lambda r: (mp.expm1(r) - r) / r**2 if r else mpf(1) / 2, -half, half, degree)


# ---- piecewise polynomials for float -------------------------------------------------------------------------------

PIECES = 32
DEGREE = 6


class Piecewise:
    """f on [0, last_t] as 32 polynomials c0 + d (c1 + ... + c6 d^5), d = t - center, for evaluation in float32.

    The piece is the integer nearest to (alpha t + beta)^2, modulo 32: `first` for t = 0 and then upwards, with narrower
    and narrower pieces, or downwards (`step` -1), with wider and wider ones. f changes by a factor of at most about 0.7
    to 1.4 over a piece, so c0 carries most of the value and the roundings of the other terms do not show.
    """

    def __init__(
        self, f: Function, last_t: str, first: int, step: int, zero: mpf | None = None, linear: bool = False
    ) -> None:
        self.f, self.zero, self.linear, self.first, self.step = f, zero, linear, first, step
        self.last_t = to_float32(mpf(last_t))
        beta = mp.sqrt(first - step * mpf("0.49"))  # safely nearest to `first` at t = 0
        roots = [mp.sqrt(first + step * (i - mpf("0.5"))) for i in range(PIECES + 1)]
        alpha = (roots[-1] - beta) / (self.last_t * mpf("1.00002"))
        self.alpha, self.beta = to_float32(alpha), to_float32(beta)
        self.edges = [(root - self.beta) / self.alpha for root in roots]
        self.edges[0] = mpf(0)
        self.pieces = [self.fit(i, low, high) for i, (low, high) in enumerate(zip(self.edges, self.edges[1:]))]

    def fit(self, piece: int, low: mpf, high: mpf) -> list[mpf]:
        """[center, c0, ..., c6], rounded to float32 one by one, each time refitting those that follow."""
        margin = (high - low) * mpf("1e-4")
        low, high = max(low - margin, mpf(0)), high + margin
        count = 3 * DEGREE + 6
        nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
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
            center, fixed = self.best_center(low, high, nodes)
            assert not self.linear or fixed[0] <= low, "the kernel would take t for c0"
            distances = [t - center for t in nodes]
            weights = [1 / abs(self.f(t)) for t in nodes]
        values = [self.f(t) - fixed[0] for t in nodes]
        return [center, *self.complete(fixed, weights, distances, values)]

    def complete(
        self, fixed: list[mpf], weights: list[mpf], distances: list[mpf], values: list[mpf], skip: int = 0
    ) -> list[mpf]:
        """Append the coefficients that follow `fixed`; `values` are without c0, `skip` extra weights of d."""
        result = list(fixed)
        for power in range(len(fixed), DEGREE + 1):
            left = [
                v - sum(c * d**k for k, c in enumerate(result) if k) for v, d in zip(values, distances, strict=True)
            ]
            scaled = [w / abs(d) ** skip for w, d in zip(weights, distances, strict=True)]
            result.append(to_float32(least_squares(distances, left, range(power, DEGREE + 1), scaled)[0]))
        return result

    def best_center(self, low: mpf, high: mpf, nodes: list[mpf]) -> tuple[mpf, list[mpf]]:
        """The float near the middle at which c0 and c1 happen to be nearly floats: their rounding then costs nothing."""
        middle = (low + high) / 2
        if self.linear and self.f(middle) > low:
            middle = mp.findroot(lambda t: self.f(t) - low, middle) * mpf("0.999")
        middle = to_float32(middle)
        weights = [1 / abs(self.f(t)) for t in nodes]
        base = least_squares([t - middle for t in nodes], [self.f(t) for t in nodes], range(DEGREE + 1), weights)
        best = None
        for steps in range(-2000, 2001):
            center = next_float32(middle, steps)
            d = center - middle
            c0 = base[0] + d * (base[1] + d * (base[2] + d * base[3]))
            c0_error = abs((to_float32(c0) - c0) / c0)
            if c0_error > mpf(2) ** -29:
                continue
            c1 = base[1] + d * (2 * base[2] + d * (3 * base[3] + d * 4 * base[4]))
            error = 2 * c0_error + abs((to_float32(c1) - c1) / c0) * (high - low) / 2
            if best is None or error < best[0]:
                best = error, center, [to_float32(c0), to_float32(c1)]
        assert best is not None
        return best[1], best[2]

    def center_at_zero(self, zero: mpf) -> tuple[mpf, list[mpf]]:
        """The zero's nearest float or a neighbour, so that c0 is tiny and the value relatively accurate through the zero.

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
        """In the order of the index modulo 32."""
        return [self.pieces[self.step * (index - self.first) % PIECES] for index in range(PIECES)]

    def errors(self) -> list[mpf]:
        """Largest relative error of each piece, before the roundings of its evaluation."""
        result = []
        for piece, low, high in zip(self.pieces, self.edges, self.edges[1:]):
            worst = mpf(0)
            for i in range(1, 64):
                t = low + (high - low) * i / 64
                c0 = min(piece[1], t) if self.linear else piece[1]
                value = c0 + sum(c * (t - piece[0]) ** k for k, c in enumerate(piece[2:], start=1))
                worst = max(worst, abs(value / self.f(t) - 1))
            result.append(worst)
        return result


def least_squares(xs: list[mpf], ys: list[mpf], exponents: range, weights: list[mpf]) -> list[mpf]:
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


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    def twice(form: Form) -> Function:
        return lambda t: 2 * t * form.tail(t)

    tables = {}
    # The last t: max(x, 0) - t S(t) and 1 - D(t) round to x and to 1 from there on. S falls like exp(-t^2/2) or faster
    # in the first two forms, like exp(-1.7 t) in the third.
    for name, tail_shape, slope_shape in (
        ("none", ("5.6", 6, 1), ("6.0", 6, 1)),
        ("tanh", ("5.2", 6, 1), ("5.55", 6, 1)),
        ("sigmoid", ("10.0", 64, -1), ("11.6", 42, -1)),
    ):
        form = FORMS[name]
        tables[f"{name}_tail"] = f"2 t S(t), {name}", Piecewise(twice(form), *tail_shape, linear=True)
        tables[f"{name}_slope"] = f"D(t), {name}", Piecewise(form.slope, *slope_shape, zero=form.zero())
    return tables


# ---- printing ------------------------------------------------------------------------------------------------------


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


def cpp_form(name: str, form: Form) -> str:
    t0 = form.zero()
    lines = cpp_split("zero", t0)
    if isinstance(form, Logistic):
        lines += cpp_split("e_at_zero", mp.exp(-form.z(t0))) + cpp_split("linear", form.a)
        if form.b:
            lines += cpp_split("cubic", form.b) + cpp_split("zero_squared", t0 * t0)
    return f"template <>\nstruct GeluForm<Approximation::{name}> {{\n{lines}}};\n"


def cpp_piecewise(name: str, comment: str, table: Piecewise) -> str:
    head = f"// {comment}\nconstexpr PiecewiseTable {name} = {{\n    {{\n"
    tail = ", ".join(hexadecimal(v, "f") for v in (table.alpha, table.beta, table.last_t))
    rows = ""
    for row in table.rows():
        texts = [hexadecimal(v, "f") for v in row]
        rows += "        {" + ", ".join(texts[:4]) + ",\n         " + ", ".join(texts[4:]) + "},\n"
    return head + rows + f"    }},\n    {tail}}};\n"


HEADER = """\
// Tables of gelu; made by `tools/gelu_coefficients.py header`. gelu_double.h and gelu_float.h say what they are for.
#pragma once

#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN

enum class Approximation { none, tanh, sigmoid };

// ---- double --------------------------------------------------------------------------------------------------------

// Constants as hi + lo.
struct SplitConstant {
    double hi, lo;
};
template <Approximation form>
struct GeluForm;
"""


def header() -> str:
    text = HEADER + "".join(cpp_form(name, form) for name, form in FORMS.items())
    last, last_short = q_of("38.8"), q_of("14.7")
    series = {"mills": (at_q(mills_factor), 23, 3, "R(t) (t + 4)"), "slope": (at_q(slope_factor), 22, 2, "U(t)")}
    for name, (f, degree, exact, comment) in series.items():
        coefficients = powers(f, mpf(-1), last, degree)
        low = ", ".join(hexadecimal(split(c)[1]) for c in coefficients[:exact])
        text += (
            f"\n// {comment} as powers of q = (t - 4)/(t + 4), t in [0, 38.8]; what is missing from the first ones;\n"
        )
        text += "// and a shorter series for t in [0, 14.7].\n"
        text += cpp_array(f"{name}_series", coefficients)
        text += f"constexpr double {name}_series_low[] = {{{low}}};\n"
        text += cpp_array(f"{name}_series_short", powers(f, mpf(-1), last_short, 12))
    text += "\n// ---- float ---------------------------------------------------------------------------------------------------------\n"
    for name, (comment, table) in piecewise_tables().items():
        text += "\n" + cpp_piecewise(name, comment, table)
    return text + "\nFASTNORM_TARGET_END\n"


def exponential() -> str:
    return (
        cpp_array("exponential_series", exponential_series(10))
        + cpp_array("exponential_series_short", exponential_series(6))
        + cpp_array("exponential_series_single", exponential_series(5), "float")
    )


def twin() -> str:
    def in_s(f: Function) -> Function:
        """f as a function of s, w = t/(t + 4) = (s + 1)/2 * 40/44."""

        def of_s(s: mpf) -> mpf:
            w = (s + 1) / 2 * mpf(40) / 44
            return f(4 * w / (1 - w))

        return of_s

    text = ""
    for name, f, degree in (("_MILLS", mills_factor, 26), ("_SLOPE", slope_factor, 24)):
        values = chebyshev(in_s(f), mpf(-1), mpf(1), degree)
        text += f"{name} = np.array(\n    [\n" + "".join(f"        {float(v)!r},\n" for v in values) + "    ]\n)\n"
    return text


def errors() -> str:
    text = ""
    for name, (_, table) in piecewise_tables().items():
        text += f"{name}: " + " ".join(mp.nstr(mp.log(e, 2), 3) for e in table.errors()) + "\n"
        text += "  edges " + " ".join(mp.nstr(t, 3) for t in table.edges) + "\n"
    return text


def check() -> bool:
    """True if every table in the sources is the computed one, whatever its layout."""

    def squeezed(text: str) -> str:
        return "".join(text.split())

    sources = {
        "cpp/kernels/gelu_coefficients.h": [header()],
        "cpp/simd/math.h": exponential().split("};\n")[:-1],
        "python/fastnorm/reference/_erf.py": twin().split("]\n)\n")[:-1],
    }
    good = True
    for path, blocks in sources.items():
        text = squeezed((ROOT / path).read_text(encoding="utf-8"))
        same = all(squeezed(block) in text for block in blocks)
        print(f"{path}: {'as computed' if same else 'DIFFERS'}")
        good = good and same
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("header", "exponential", "twin", "errors", "check"))
    what = parser.parse_args().what
    if what == "check":
        return 0 if check() else 1
    print({"header": header, "exponential": exponential, "twin": twin, "errors": errors}[what](), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
