"""Dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import reference
from .bounds import last_rounding, roundoff
from .spec import Arguments, Array, Bounds, Contract, Draw, Shape, Spec, Variant, Workload

# Scale and product are each rounded once, of which the first counts double just below a power of two.
SCALED = Contract("ULP", 1.5)


def inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """An array of any numbers."""
    return (draw.x(shape),)


def bounds(x: Array, given: Array, keywords: Mapping[str, Any]) -> Bounds:
    """Two roundings of what is kept."""
    y = reference.dropout(given.astype(np.float64), p=keywords.get("p", 0.5), seed=keywords["seed"])
    return (2 * roundoff(x.dtype) * np.abs(y) + last_rounding(y, x.dtype),)


dropout = Spec(
    "dropout",
    inputs,
    (
        Variant("p=0.5", keywords={"seed": 7}),
        Variant("p=0.1", keywords={"p": 0.1, "seed": 2**64 - 3}),
        Variant("p=0", keywords={"p": 0.0, "seed": 0}),
        Variant("p=0.9", keywords={"p": 0.9, "seed": 2**40}),
    ),
    ("x",),
    SCALED,
    SCALED,
    lambda given, keywords: bounds(given[0], given[0], keywords),
    lambda dys, given, keywords: bounds(given[0], dys[0], keywords),
    workloads=(
        Workload(Variant("p=0.5", keywords={"seed": 7})),
        Workload(Variant("p=0.1", keywords={"p": 0.1, "seed": 7}), "_p=0.1"),
    ),
    rowwise=False,  # the mask goes by the place in the whole array
    batches=(),
    axes=0,
    bad=(
        ("p", 1.0, ValueError),
        ("p", -0.1, ValueError),
        ("p", float("nan"), ValueError),
        ("p", "0.5", TypeError),
        ("p", None, TypeError),
        ("seed", -1, ValueError),
        ("seed", 2**64, ValueError),
        ("seed", 0.5, TypeError),
        ("seed", None, TypeError),
        ("seed", True, TypeError),
    ),
)
