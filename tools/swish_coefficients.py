"""Compute the tables of the gradients of swish with mpmath and print them as the source holds them.

    python tools/swish_coefficients.py header    cpp/kernels/tables/swish_coefficients.h, whole
    python tools/swish_coefficients.py errors    approximation errors of the tables, as powers of two
    python tools/swish_coefficients.py check     compare them with the source

What the tables mean is told where they are used: activations/swish_float.h.
"""

import sys

from coefficients import Piecewise, Quadratic, cpp_piecewise, errors, run
from logistic_coefficients import bell, slope, zero


def piecewise_tables() -> dict[str, tuple[str, Piecewise]]:
    # Beyond the last t, 20, exp(-t) and its square differ by a factor of 2^-28.
    table = Piecewise(slope, "20", Quadratic(42, -1), zero=zero(), companion=bell)
    return {
        "swish_slope": ("D(t) = S - t S (1 - S)", table),
        "swish_bell": (
            "S(t) (1 - S(t)), on the same pieces and about the same centers",
            table.refitted(bell),
        ),
    }


HEADER = """\
// Tables of the gradients of swish; made by `tools/swish_coefficients.py header`.
// activations/swish_float.h says what they are for.
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
