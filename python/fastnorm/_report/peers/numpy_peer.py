"""NumPy as its users write the formulas, with SciPy's erf."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._specs import Call, Sample, backward_name, formula_of, specs
from . import Builder

SPINS = True  # the threads of its BLAS


def prepare(threads: int) -> None:
    """Nothing: NumPy's element-wise loops and reductions run on one thread."""


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array itself."""
    return np.asarray(array)


def _call(sample: Sample) -> Call | None:
    function = formula_of(sample.spec, sample.keywords, backward=sample.backward)
    if function is not None and sample.op == "layer_norm" and "axis" in sample.keywords:
        return sample.call_of(partial(_over_axis, function))
    return None if function is None else sample.call_of(function)


def _over_axis(
    function: Callable[..., Any], x: NDArray[Any], *parameters: NDArray[Any], axis: int
) -> NDArray[Any]:
    return np.moveaxis(function(np.moveaxis(x, axis, -1), *parameters), -1, axis)


CALLS: dict[str, Builder] = {spec.name: _call for spec in specs() if spec.formula}
CALLS |= {backward_name(spec.name): _call for spec in specs() if spec.backward_formula}
