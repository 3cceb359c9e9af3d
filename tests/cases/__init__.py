"""One Op for each op, which test_ops.py runs over, and a Case for those whose mechanisms are tested in
depth.
"""

from __future__ import annotations

from . import (
    activations,
    attention,
    channel_norms,
    class_losses,
    elementwise_losses,
    gates,
    linear,
    mlp,
    norms,
    residual_norms,
    softmax,
)
from .case import DTYPES, Array, Case, Inputs, Variant, Work, as_tuple, label, wide
from .op import Op, op_of

__all__ = [
    "CASES",
    "DTYPES",
    "LIBRARY",
    "NORMS",
    "OPS",
    "Array",
    "Case",
    "Inputs",
    "Op",
    "Variant",
    "Work",
    "as_tuple",
    "case_and_variant",
    "label",
    "wide",
]

NORMS: tuple[Case, ...] = norms.CASES  # layer_norm and rms_norm, whose statistics are those of rows
CASES: tuple[Case, ...] = (*norms.CASES, *activations.CASES)
LIBRARY: dict[str, Case] = {case.name: case for case in CASES}
OPS: tuple[Op, ...] = (
    *map(op_of, CASES),
    *activations.OPS,
    *attention.OPS,
    *channel_norms.OPS,
    *elementwise_losses.OPS,
    *gates.OPS,
    *class_losses.OPS,
    *linear.OPS,
    *mlp.OPS,
    *softmax.OPS,
    *residual_norms.OPS,
)


def case_and_variant() -> list[tuple[Case, Variant]]:
    """Every op in every variant."""
    return [(case, variant) for case in CASES for variant in case.variants]
