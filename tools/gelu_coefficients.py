"""Compute every table of the gelu kernels with mpmath and print it as the sources hold it.

    python tools/gelu_coefficients.py header        cpp/kernels/tables/gelu_coefficients.h, whole
    python tools/gelu_coefficients.py exponential   the series in cpp/simd/math.h
    python tools/gelu_coefficients.py twin          the series in python/fastnorm/reference/_erf.py
    python tools/gelu_coefficients.py errors        approximation errors of the piecewise tables, as powers of
                                                    two
    python tools/gelu_coefficients.py check         compare all of them with the sources

What the tables mean is told where they are used: gelu_double.h, gelu_float.h, math.h, _erf.py.
"""

import sys

import mpmath as mp
from coefficients import (
    Function,
    Leading,
    Piecewise,
    Quadratic,
    chebyshev,
    cpp_array,
    cpp_piecewise,
    cpp_split,
    errors,
    hexadecimal,
    powers,
    run,
    split,
)
from mpmath import mpf

# ---- the functions -----------------------------------------------------------------------------------------


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


def at_q(f: Function) -> Function:
    """f as a function of q = (t - 4)/(t + 4)."""
    return lambda q: f(4 * (1 + q) / (1 - q))


def q_of(t: str) -> mpf:
    return (mpf(t) - 4) / (mpf(t) + 4)


def mills_factor(t: mpf) -> mpf:
    return mills(t) * (t + 4)


def mills_rest(u: mpf) -> mpf:
    """(1/sqrt(2 pi) - t R(t)) / u, u = 1/t^2."""
    t = 1 / mp.sqrt(u)
    return (1 / mp.sqrt(2 * mp.pi) - t * mills(t)) / u


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


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    def twice(form: Form) -> Function:
        return lambda t: 2 * t * form.tail(t)

    def falling(beta: str) -> Quadratic:
        return Quadratic(mpf(beta), 1, unit=2)

    tables = {}
    # The last t: max(x, 0) - t S(t) and 1 - D(t) round to x and to 1 from there on. S falls like exp(-t^2/2)
    # or faster in the first two forms, like exp(-1.7 t) in the third, whose pieces are those of silu. What is
    # added to t puts the zero of D into the middle of a piece.
    for name, tail_shape, slope_shape in (
        ("none", ("5.6", falling("3.97")), ("6.0", falling("4.3472"))),
        ("tanh", ("5.2", falling("4.6")), ("5.55", falling("4.147"))),
        (
            "sigmoid",
            ("10.0", Leading("13", 18, alpha="1.702")),
            ("11.6", Leading("13.847", 18, alpha="1.702")),
        ),
    ):
        form = FORMS[name]
        tables[f"{name}_tail"] = (
            f"2 t S(t), {name}",
            Piecewise(twice(form), *tail_shape, linear=True, degree=5, wide=True),
        )
        tables[f"{name}_slope"] = (
            f"D(t), {name}",
            Piecewise(form.slope, *slope_shape, zero=form.zero(), degree=5, wide=True),
        )
    return tables


def cpp_form(name: str, form: Form) -> str:
    t0 = form.zero()
    lines = cpp_split("zero", t0)
    if form is EXACT:
        lines += cpp_split("density", 1 / mp.sqrt(2 * mp.pi))
    if isinstance(form, Logistic):
        lines += cpp_split("e_at_zero", mp.exp(-form.z(t0))) + cpp_split("linear", form.a)
        if form.b:
            lines += cpp_split("cubic", form.b) + cpp_split("zero_squared", t0 * t0)
    return f"template <>\nstruct GeluForm<Approximation::{name}> {{\n{lines}}};\n"


HEADER = """\
// Tables of gelu; made by `tools/gelu_coefficients.py header`. gelu_double.h and gelu_float.h say what they
// are for.
#pragma once

#include "simd/math.h"
#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN

enum class Approximation { none, tanh, sigmoid };

// ---- double -----------------------------------------------------------------------------------------------

template <Approximation form>
struct GeluForm;
"""


def header() -> str:
    text = HEADER + "".join(cpp_form(name, form) for name, form in FORMS.items())
    last, last_short = q_of("38.8"), q_of("14.7")
    series = {
        "mills": (at_q(mills_factor), 23, 3, "R(t) (t + 4)"),
        "slope": (at_q(slope_factor), 22, 2, "U(t)"),
    }
    for name, (f, degree, exact, comment) in series.items():
        coefficients = powers(f, mpf(-1), last, degree)
        low = ", ".join(hexadecimal(split(c)[1]) for c in coefficients[:exact])
        text += (
            f"\n// {comment} as powers of q = (t - 4)/(t + 4), t in [0, 38.8]; what is "
            f"missing from the first ones;\n"
        )
        text += "// and a shorter series for t in [0, 14.7].\n"
        text += cpp_array(f"{name}_series", coefficients)
        text += f"constexpr double {name}_series_low[] = {{{low}}};\n"
        text += cpp_array(f"{name}_series_short", powers(f, mpf(-1), last_short, 12))
    text += (
        "\n// ---- float "
        "------------------------------------------------------------------------------------------------\n"
    )
    rest = powers(mills_rest, 1 / mpf(15) ** 2, 1 / mpf("4.4") ** 2, 6)
    text += "\n// 1/sqrt(2 pi) - t R(t), over u, as powers of u = 1/t^2, t in [4.4, 15].\n"
    text += cpp_array("mills_rest_series", rest, "float")
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
        text += (
            f"{name} = np.array(\n    [\n"
            + "".join(f"        {float(v)!r},\n" for v in values)
            + "    ]\n)\n"
        )
    return text


def sources() -> dict[str, list[str]]:
    return {
        "cpp/kernels/tables/gelu_coefficients.h": [header()],
        "cpp/simd/math.h": exponential().split("};\n")[:-1],
        "python/fastnorm/reference/_erf.py": twin().split("]\n)\n")[:-1],
    }


OUTPUTS = {
    "header": header,
    "exponential": exponential,
    "twin": twin,
    "errors": lambda: errors(piecewise_tables()),
}

if __name__ == "__main__":
    sys.exit(run(__doc__, OUTPUTS, sources))
