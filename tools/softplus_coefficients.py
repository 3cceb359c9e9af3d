"""Compute the table of softplus with mpmath and print it as the source holds it.

    python tools/softplus_coefficients.py header    cpp/kernels/tables/softplus_coefficients.h, whole
    python tools/softplus_coefficients.py errors    approximation errors of the pieces, as powers of two
    python tools/softplus_coefficients.py check     compare it with the source

What it is for is told where it is used: softplus.h.
"""

import sys

import mpmath as mp
from coefficients import Piecewise, Quadratic, cpp_piecewise, errors, run
from mpmath import mpf


def softplus(x: mpf) -> mpf:
    return mp.log1p(mp.exp(x))


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    # Before the first t e^x is below 2^-20; after the last one softplus rounds to x.
    table = Piecewise(softplus, "14.6", Quadratic(34, -1), first_t="-14", across=True)
    return {"softplus_pieces": ("log(1 + e^t)", table)}


HEADER = """\
// The table of softplus; made by `tools/softplus_coefficients.py header`. softplus.h says what it is for.
#pragma once

#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN

"""


def header() -> str:
    text = HEADER
    for name, (comment, table) in piecewise_tables().items():
        text += cpp_piecewise(name, comment, table)
    return text + "\nFASTNORM_TARGET_END\n"


OUTPUTS = {"header": header, "errors": lambda: errors(piecewise_tables())}

if __name__ == "__main__":
    sys.exit(run(__doc__, OUTPUTS, lambda: {"cpp/kernels/tables/softplus_coefficients.h": [header()]}))
