"""Compute the tables of sigmoid, tanh and silu with mpmath and print them as the sources hold them.

    python tools/logistic_coefficients.py header    cpp/kernels/tables/logistic_coefficients.h, whole
    python tools/logistic_coefficients.py errors    approximation errors of the piecewise tables, as powers of
                                                    two
    python tools/logistic_coefficients.py check     compare them with the source

What the tables mean is told where they are used: logistic_double.h and logistic_float.h.
"""

import sys

import mpmath as mp
from coefficients import Piecewise, cpp_piecewise, cpp_split, errors, run
from mpmath import mpf


def tail(t: mpf) -> mpf:
    """S(t) = sigmoid(-t)."""
    return 1 / (1 + mp.exp(t))


def bell(t: mpf) -> mpf:
    """S (1 - S), the derivative of sigmoid."""
    return tail(t) * tail(-t)


def slope(t: mpf) -> mpf:
    """D = S - t S (1 - S), the derivative of silu at -t."""
    return tail(t) - t * bell(t)


def zero() -> mpf:
    """t0, where D vanishes."""
    return mp.findroot(slope, mpf("1.278"))


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    # Beyond the last t, 20, S is exp(-t) but for 2^-28 of it; tanh is 1 from 9.02 on.
    return {
        "logistic_tail": ("S(t)", Piecewise(tail, "20", 64, -1)),
        "logistic_bell": ("S(t) (1 - S(t))", Piecewise(bell, "20", 64, -1)),
        # Its first piece ends below t = 0.51, where the slope is at least -1/4 and so is rounded at half the
        # size.
        "silu_tail": ("2 t S(t)", Piecewise(lambda t: 2 * t * tail(t), "20", 50, -1, linear=True)),
        "silu_slope": ("D(t)", Piecewise(slope, "20", 42, -1, zero=zero())),
        "tanh_pieces": ("tanh(t)", Piecewise(mp.tanh, "9.02", 40, -1, linear=True)),
    }


HEADER = """\
// Tables of sigmoid, tanh and silu; made by `tools/logistic_coefficients.py header`. logistic_double.h and
// logistic_float.h say what they are for.
#pragma once

#include "simd/math.h"
#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN

"""


def header() -> str:
    text = HEADER + "// t0, where D(t) vanishes, and exp(-t0)\nstruct SiluZero {\n"
    text += cpp_split("t", zero()) + cpp_split("e", mp.exp(-zero())) + "};\n"
    for name, (comment, table) in piecewise_tables().items():
        text += "\n" + cpp_piecewise(name, comment, table)
    return text + "\nFASTNORM_TARGET_END\n"


OUTPUTS = {"header": header, "errors": lambda: errors(piecewise_tables())}

if __name__ == "__main__":
    sys.exit(run(__doc__, OUTPUTS, lambda: {"cpp/kernels/tables/logistic_coefficients.h": [header()]}))
