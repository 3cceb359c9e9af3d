"""NumPy as its users write the formulas, with SciPy's erf."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from fastnorm._report.numpy_formulas import FORMULAS, formula
from fastnorm._report.samples import Sample
from fastnorm._report.timing import Call
from numpy.typing import NDArray

from peers import Builder

SPINS = False


def prepare(threads: int) -> None:
    """Nothing: NumPy's element-wise loops and reductions run on one thread."""


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array itself."""
    return np.asarray(array)


def _call(sample: Sample) -> Call | None:
    function = formula(sample.op, sample.keywords)
    if function is not None and sample.op == "layer_norm" and "axis" in sample.keywords:
        return sample.call_of(partial(_over_axis, function))
    return None if function is None else sample.call_of(function)


def _over_axis(
    function: Callable[..., Any], x: NDArray[Any], *parameters: NDArray[Any], axis: int
) -> NDArray[Any]:
    return np.moveaxis(function(np.moveaxis(x, axis, -1), *parameters), -1, axis)


CALLS: dict[str, Builder] = dict.fromkeys(FORMULAS, _call)
