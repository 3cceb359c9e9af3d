"""One specification of each op, which the tests, the benchmarks and ``python -m fastnorm`` read.

The specification of an op stands under the op's name in the file of its family; which ops there are,
`fastnorm` says. Not imported by ``import fastnorm``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

import fastnorm

from .activations import HAS_ERF
from .sample import Call, Sample, flat, make_sample
from .spec import (
    Array,
    Contract,
    Draw,
    Spec,
    Variant,
    Workload,
    as_tuple,
    backward_name,
    is_float_array,
    mapped,
    widened,
)

__all__ = [
    "Array",
    "Call",
    "Contract",
    "Draw",
    "Sample",
    "Spec",
    "Variant",
    "Workload",
    "as_tuple",
    "backward_name",
    "calls",
    "dtypes",
    "family_of",
    "flat",
    "formula_of",
    "is_float_array",
    "make_sample",
    "mapped",
    "spec_of",
    "specs",
    "widened",
]


def specs() -> tuple[Spec, ...]:
    """Return the specifications of all ops: of the public functions that have a backward."""
    names = [name for name in fastnorm.__all__ if not name.endswith("_backward")]
    return tuple(spec_of(name) for name in names if backward_name(name) in fastnorm.__all__)


def calls() -> list[tuple[Spec, bool]]:
    """Return every op, forward and then backward."""
    return [(spec, backward) for spec in specs() for backward in (False, True)]


@functools.cache
def spec_of(op: str) -> Spec:
    """Return the specification of an op."""
    family = family_of(op)
    found = getattr(importlib.import_module(f"{__name__}.{family}"), op, None)
    if not isinstance(found, Spec) or found.name != op:
        raise LookupError(f"{op} has no specification in {__name__}.{family}")
    return found


@functools.cache
def family_of(op: str) -> str:
    """Return the family that an op belongs to."""
    module: str = getattr(fastnorm, op).__module__
    return module.rpartition(".")[2]


def dtypes() -> list[np.dtype[Any]]:
    """Return the types that ops take, bfloat16 where ml_dtypes is installed."""
    found: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)]
    with suppress(ImportError):
        found.append(np.dtype(importlib.import_module("ml_dtypes").bfloat16))
    return found


def formula_of(
    spec: Spec, keywords: Mapping[str, Any], *, backward: bool = False
) -> Callable[..., Any] | None:
    """Return the NumPy formula of an op or its backward, None where there is none or it needs SciPy's erf and
    SciPy is not installed.
    """
    words = {**spec.keywords, **keywords}
    needs_erf = words.get("approximate") == "none" or any(
        isinstance(word, str) and word == "gelu" for word in keywords.values()
    )
    return None if needs_erf and not HAS_ERF else spec.backward_formula if backward else spec.formula
