"""Compute the tables of mish with mpmath and print them as the source holds them.

    python tools/mish_coefficients.py header    cpp/kernels/tables/mish_coefficients.h, whole
    python tools/mish_coefficients.py twin      the constants in python/fastnorm/reference/activations.py
    python tools/mish_coefficients.py errors    approximation errors of the piecewise tables, as powers of two
    python tools/mish_coefficients.py check     compare all of them with the sources

What the tables mean is told where they are used: mish.h and reference/activations.py.
"""

import sys

import mpmath as mp
from coefficients import Piecewise, Quadratic, cpp_piecewise, cpp_split, errors, run, split
from mpmath import mpf


def gate(x: mpf) -> mpf:
    """tanh(log(1 + e^x)) = q/(q + 2), q = w (w + 2), w = e^x."""
    w = mp.exp(x)
    q = w * (w + 2)
    return q / (q + 2)


def slope(x: mpf) -> mpf:
    """The derivative of x gate(x)."""
    w = mp.exp(x)
    q = w * (w + 2)
    return w * ((w + 2) * (q + 2) + 4 * x * (1 + w)) / (q + 2) ** 2


def zero() -> mpf:
    """x0, where the slope vanishes."""
    return mp.findroot(slope, mpf("-1.192"))


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    # The poles at log(2)/2 +- 3 pi/4 i want narrow pieces around 0. Before the first t e^x is below 2^-17;
    # after the last one gate and slope round to 1. The bends put the zero of the slope in the middle of a
    # piece.
    return {
        "mish_gate": (
            "tanh(log(1 + e^t))",
            Piecewise(gate, "9.3", Quadratic(33, -1, bend="4.65"), first_t="-12.5"),
        ),
        "mish_slope": (
            "its product with t, differentiated",
            Piecewise(slope, "10.2", Quadratic(33, -1, bend="4.68"), zero=zero(), first_t="-12.2"),
        ),
    }


def series() -> dict[str, mpf]:
    """w0 = e^x0 and the coefficients of the powers of m in N."""
    x, w = zero(), mp.exp(zero())
    return {
        "w": w,
        "linear": w * (w * (3 * w + 8) + 6 + 4 * x),
        "quadratic": w * w * (3 * w + 4),
        "cubic": w**3,
    }


HEADER = """\
// Tables of mish; made by `tools/mish_coefficients.py header`. mish.h says what they are for.
#pragma once

#include "simd/math.h"
#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN

"""


def header() -> str:
    text = HEADER + "// x0, where the derivative vanishes, w0 = e^x0, and N as a polynomial of m\n"
    text += "struct MishZero {\n" + cpp_split("x", zero())
    text += "".join(cpp_split(name, value) for name, value in series().items()) + "};\n"
    for name, (comment, table) in piecewise_tables().items():
        text += "\n" + cpp_piecewise(name, comment, table)
    return text + "\nFASTNORM_TARGET_END\n"


def twin() -> str:
    high, low = split(zero())
    text = f"MISH_ZERO = {float(high)!r}\nMISH_ZERO_REST = {float(low)!r}\n"
    powers = {name: value for name, value in series().items() if name != "w"}
    return text + "".join(f"MISH_{name.upper()} = {float(value)!r}\n" for name, value in powers.items())


def sources() -> dict[str, list[str]]:
    return {
        "cpp/kernels/tables/mish_coefficients.h": [header()],
        "python/fastnorm/reference/activations.py": [twin()],
    }


OUTPUTS = {"header": header, "twin": twin, "errors": lambda: errors(piecewise_tables())}

if __name__ == "__main__":
    sys.exit(run(__doc__, OUTPUTS, sources))
