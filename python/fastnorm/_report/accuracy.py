"""How far the results of a call are from what the op's contract promises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._specs import Array, Sample, flat
from .._specs.bounds import UNIT_ROUNDOFF, is_half, ulp


@dataclass(frozen=True)
class Outcome:
    """The largest error of some results in the unit of their contract, and what is allowed."""

    error: float
    bound: float

    @property
    def kept(self) -> bool:
        """Whether the contract holds."""
        return self.error <= self.bound


def judge(sample: Sample, results: Any, exact: Any = None) -> Outcome:
    """Compare the results of an op with its float64 twin.

    Parameters
    ----------
    sample : Sample
        The arguments.
    results : array or tuple of arrays
        What the op returned for them.
    exact : array or tuple of arrays, optional
        The results of the twin, where they are known already.
    """
    contract = sample.contract
    expected = sample.exact() if exact is None else flat(exact)
    errors = []
    for index, (result, wanted) in enumerate(zip(flat(results), expected, strict=True)):
        if result is None and wanted is None:
            continue
        if index and sample.keywords.get("return_grad"):
            # A gradient that comes along is held to the contract of the backward, in shares of its bound.
            backward = replace(sample, backward=True).contract
            errors.append(_error(backward.unit, sample, result, wanted) * contract.bound / backward.bound)
        else:
            errors.append(_error(contract.unit, sample, result, wanted))
    return Outcome(max(errors), contract.bound)


def _error(unit: str, sample: Sample, result: Array | None, exact: Array | None) -> float:
    if result is None or exact is None or result.shape != exact.shape:
        return np.inf
    if not exact.size:
        return 0.0
    result, exact = np.atleast_1d(result), np.atleast_1d(exact)
    found = result.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = exact.astype(result.dtype).astype(np.float64)
        difference = np.abs(found - exact)
    computed_in = result.dtype
    if is_half(result.dtype):
        computed_in = np.dtype(np.float32)
        difference = np.maximum(difference - 0.5 * ulp(exact, result.dtype), 0.0)
    # Infinities and NaN have no distance: right or wrong.
    special = ~np.isfinite(expected) | ~np.isfinite(found)
    right = (found == expected) | (np.isnan(found) & np.isnan(expected))
    difference[special] = np.where(right, 0.0, np.inf)[special]
    if unit == "relative":
        total = float(np.linalg.norm(np.where(special, 0.0, exact)))
        return float(np.linalg.norm(difference)) / total if total else float(difference.max())
    size = ulp(exact, computed_in) if unit == "ULP" else _norm_unit(sample, computed_in, exact)
    with np.errstate(all="ignore"):
        units = np.where(difference == 0, 0.0, difference / size)
    return float(np.nan_to_num(units, nan=np.inf, posinf=np.inf).max())


def _norm_unit(sample: Sample, dtype: np.dtype[Any], exact: Array) -> Array:
    """Return 2^-24 * (|xhat * weight| + |weight| + |bias|), where xhat * weight is what the bias was added
    to.
    """
    weight = sample.arrays.get("weight")
    bias = np.asarray(sample.arrays.get("bias", 0.0)).astype(np.float64)
    factor = (
        np.ones(1)
        if weight is None
        else weight.astype(np.float64) + sample.keywords.get("weight_offset", 0.0)
    )
    # With the axes that come after that of the parameters.
    beyond = (1,) * (exact.ndim - 1 - sample.axis % exact.ndim)
    factor, bias = factor.reshape(factor.shape + beyond), bias.reshape(bias.shape + beyond)
    unit: Array = np.abs(exact - bias) + np.abs(factor) + np.abs(bias)
    return unit * UNIT_ROUNDOFF[dtype.name]
