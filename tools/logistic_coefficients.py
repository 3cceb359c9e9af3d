"""Compute the tables of sigmoid, tanh and silu with mpmath and print them as the sources hold them.

    python tools/logistic_coefficients.py header    cpp/kernels/tables/logistic_coefficients.h, whole
    python tools/logistic_coefficients.py errors    approximation errors of the piecewise tables, as powers of
                                                    two
    python tools/logistic_coefficients.py check     compare them with the source

What the tables mean is told where they are used: logistic_double.h and logistic_float.h.
"""

import sys
from typing import Any

import mpmath as mp
from coefficients import Function, Leading, Piecewise, cpp_piecewise, cpp_split, errors, run
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
    # Pieces are 1/4 wide up to t = 3 and 1/2 up to 12.5 (silu_slope: 2.15 and 13.15); the last one reaches as
    # far as f counts beside 1 for positive x. tanh is 1 from 9.02 on.
    def of(f: Function, beta: str = "13", **options: Any) -> Piecewise:
        return Piecewise(f, "20", Leading(beta, 18), degree=5, wide=True, **options)

    return {
        "logistic_tail": ("S(t)", of(tail)),
        "logistic_bell": ("S(t) (1 - S(t))", of(bell, packed=18)),
        "silu_tail": ("2 t S(t)", of(lambda t: 2 * t * tail(t), linear=True)),
        # The sum puts the zero into the middle of a piece.
        "silu_slope": ("D(t)", of(slope, "13.847", zero=zero(), packed=18, beside="0.2")),
        "tanh_pieces": (
            "tanh(t)",
            Piecewise(mp.tanh, "9.02", Leading("0.625", 21, 16), linear=True, packed=16),
        ),
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
