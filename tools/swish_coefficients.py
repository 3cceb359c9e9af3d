"""Compute the table of the gradients of swish with mpmath and print it as the source holds it.

    python tools/swish_coefficients.py header    cpp/kernels/tables/swish_coefficients.h, whole
    python tools/swish_coefficients.py errors    approximation errors of the table, as powers of two
    python tools/swish_coefficients.py check     compare it with the source

What the table means is told where it is used: activations/swish_float.h.
"""

import sys

from coefficients import Piecewise, cpp_piecewise, errors, run
from logistic_coefficients import bell
from logistic_coefficients import piecewise_tables as logistic_tables


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    slope = logistic_tables()["silu_slope"][1]
    return {
        "swish_bell": (
            "S(t) (1 - S(t)), on the pieces of silu_slope and about their centers; before c0 its rest",
            slope.refitted(bell),
        ),
    }


HEADER = """\
// Table of the gradients of swish; made by `tools/swish_coefficients.py header`.
// activations/swish_float.h says what it is for.
#pragma once

#include "simd/piecewise.h"

FASTNORM_TARGET_BEGIN
"""


def header() -> str:
    tables = piecewise_tables().items()
    text = HEADER + "".join("\n" + cpp_piecewise(name, comment, table) for name, (comment, table) in tables)
    return text + "\nFASTNORM_TARGET_END\n"


OUTPUTS = {"header": header, "errors": lambda: errors(piecewise_tables())}

if __name__ == "__main__":
    sys.exit(run(__doc__, OUTPUTS, lambda: {"cpp/kernels/tables/swish_coefficients.h": [header()]}))
