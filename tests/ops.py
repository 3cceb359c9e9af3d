"""The ops and types that tests run over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from fastnorm._specs import Array, Spec, Variant, dtypes, mapped, spec_of, specs

DTYPES: dict[str, np.dtype[Any]] = {dtype.name: dtype for dtype in dtypes()}
SPECS: tuple[Spec, ...] = specs()
NORMS = (spec_of("layer_norm"), spec_of("rms_norm"))  # whose statistics are those of rows
# Ops of one x whose mechanisms the others share: tested in depth besides.
IN_DEPTH = (*NORMS, spec_of("gelu"))


def with_variants(chosen: tuple[Spec, ...]) -> list[tuple[Spec, Variant]]:
    """Every op in every variant."""
    return [(spec, variant) for spec in chosen for variant in spec.variants]


def label(value: object) -> str | None:
    """A readable id for pytest."""
    return str(value) if isinstance(value, (Spec, Variant, np.dtype, tuple)) else None


def without_addresses(value: object) -> str:
    """An id for what is printed with its place in memory, as functions are: the same in every process."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))


def relaid(value: Any, relay: Callable[[Array], Array]) -> Any:
    """The same argument in another layout of memory where it is an array."""
    return mapped(value, lambda array: relay(array) if array.ndim else array, integers=True)
