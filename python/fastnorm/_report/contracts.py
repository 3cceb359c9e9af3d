"""What every op promises about its accuracy, and how far a result is from it.

An error is counted in units, one for each element, and compared with a bound:

- activations: ULP, the distance between two neighbouring numbers of the result's type;
- norms: 2^-24 * (|xhat * weight| + |weight| + |bias|), since a small result of a cancellation between the
  product and the bias cannot have more correct digits than they have;
- losses: ULP too, and their gradients ULP or relative as stated;
- gradients of norms and parameters: norm of the error relative to the norm of the gradient; so for everything
  in float64, where the twin, which computes in float64 too, is no more exact than the op.

float16 and bfloat16 compute in float32 and round once at the end: of their errors half an ULP is taken off,
and what is left is held to the float32 bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .samples import Sample, as_tuple, parameter_axis

Array = NDArray[Any]
Float64Array = NDArray[np.float64]
Variants = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Contract:
    """The promise of one op.

    Attributes
    ----------
    unit : str
        ``"ULP"``, ``"norm"`` or ``"relative"``.
    bound : float
        Largest error of float32 and half results in this unit.
    variants : tuple of mappings
        Keywords with which the op is tried.
    axes : int
        The least number of axes that x needs.
    rowwise : bool
        Whether a row of the results that are shaped like x depends on no other row.
    """

    unit: str
    bound: float
    variants: Variants = ({},)
    axes: int = 1
    rowwise: bool = True


_RMS_VARIANTS: Variants = ({}, {"weight_offset": 1.0}, {"fraction": 0.25})
_ATTENTION_VARIANTS: Variants = ({}, {"linear": True})
_SUM_VARIANTS: Variants = ({}, {"alpha": 2.5})
_GELU_VARIANTS: Variants = ({"approximate": "none"}, {"approximate": "tanh"}, {"approximate": "sigmoid"})
_BETA_VARIANTS: Variants = ({}, {"beta": 1.5}, {"beta": -0.5})
_DENSE_VARIANTS: Variants = ({}, {"activation": "relu"}, {"activation": "gelu"})
_NETWORK_VARIANTS: Variants = ({"activation": "gelu"}, {"activation": "tanh", "output_activation": "sigmoid"})
_GATE_VARIANTS: Variants = ({}, {"gate": "gelu"})
_LOSS_VARIANTS: Variants = ({"reduction": "none"}, {"reduction": "sum", "return_grad": True})
_LOSS_BACKWARD_VARIANTS: Variants = ({"reduction": "none"},)

DOUBLE_BOUND = 1e-14  # relative, for everything in float64
_BATCH_VARIANTS: Variants = ({"training": True}, {}, {"training": True, "axis": -1})
_GROUP_VARIANTS: Variants = ({"num_groups": 1}, {"num_groups": 1, "axis": -1})
_CHANNEL_VARIANTS: Variants = ({}, {"axis": -1})
CONTRACTS: dict[str, Contract] = {
    "attention": Contract("relative", 5e-6, _ATTENTION_VARIANTS, rowwise=False),
    "attention_backward": Contract("relative", 1e-5, _ATTENTION_VARIANTS, rowwise=False),
    "memory_read": Contract("relative", 5e-6, _ATTENTION_VARIANTS, rowwise=False),
    "memory_read_backward": Contract("relative", 1e-5, _ATTENTION_VARIANTS, rowwise=False),
    "batch_norm": Contract("norm", 4.0, _BATCH_VARIANTS, axes=2, rowwise=False),
    "batch_norm_backward": Contract("relative", 1e-6, _BATCH_VARIANTS, axes=2, rowwise=False),
    "group_norm": Contract("norm", 4.0, _GROUP_VARIANTS, axes=2),
    "group_norm_backward": Contract("relative", 1e-6, _GROUP_VARIANTS, axes=2),
    "instance_norm": Contract("norm", 4.0, _CHANNEL_VARIANTS, axes=3),
    "instance_norm_backward": Contract("relative", 1e-6, _CHANNEL_VARIANTS, axes=3),
    "layer_norm": Contract("norm", 4.0),
    "layer_norm_backward": Contract("relative", 1e-6),
    "rms_norm": Contract("norm", 4.0, _RMS_VARIANTS),
    "rms_norm_backward": Contract("relative", 1e-6, _RMS_VARIANTS),
    "add_layer_norm": Contract("norm", 4.0, _SUM_VARIANTS),
    "add_layer_norm_backward": Contract("relative", 1e-6, _SUM_VARIANTS),
    "add_rms_norm": Contract("norm", 4.0, _SUM_VARIANTS),
    "add_rms_norm_backward": Contract("relative", 1e-6, _SUM_VARIANTS),
    "deep_norm": Contract("norm", 4.0, ({"alpha": 3.75},)),
    "deep_norm_backward": Contract("relative", 1e-6, ({"alpha": 3.75},)),
    "gelu": Contract("ULP", 1.0, _GELU_VARIANTS),
    "gelu_backward": Contract("ULP", 2.0, _GELU_VARIANTS),
    "glu": Contract("ULP", 2.5),
    "glu_backward": Contract("ULP", 5.5),
    "swiglu": Contract("ULP", 2.5, _BETA_VARIANTS),
    "swiglu_backward": Contract("ULP", 5.5, _BETA_VARIANTS),
    "geglu": Contract("ULP", 2.5, _GELU_VARIANTS),
    "geglu_backward": Contract("ULP", 5.5, _GELU_VARIANTS),
    "reglu": Contract("ULP", 0.5),
    "reglu_backward": Contract("ULP", 0.5),
    "bilinear": Contract("ULP", 0.5),
    "bilinear_backward": Contract("ULP", 0.5),
    "linear": Contract("relative", 1e-6, _DENSE_VARIANTS),
    "linear_backward": Contract("relative", 1e-6, _DENSE_VARIANTS),
    "gated_linear": Contract("relative", 1e-6, _GATE_VARIANTS),
    "gated_linear_backward": Contract("relative", 1e-6, _GATE_VARIANTS),
    "mlp_forward": Contract("relative", 1e-6, _NETWORK_VARIANTS),
    "mlp_backward": Contract("relative", 1e-6, _NETWORK_VARIANTS),
    "softmax": Contract("ULP", 4.0),
    "softmax_backward": Contract("relative", 1e-6),
    "log_softmax": Contract("ULP", 3.0),
    "log_softmax_backward": Contract("relative", 1e-6),
    "relu": Contract("ULP", 0.0),
    "relu_backward": Contract("ULP", 0.0),
    "sigmoid": Contract("ULP", 1.0),
    "sigmoid_backward": Contract("ULP", 2.0),
    "silu": Contract("ULP", 1.0),
    "silu_backward": Contract("ULP", 2.0),
    "swish": Contract("ULP", 1.0),
    "swish_backward": Contract("relative", 1e-6),
    "tanh": Contract("ULP", 1.0),
    "tanh_backward": Contract("ULP", 2.0),
    "cross_entropy": Contract("ULP", 4.0, _LOSS_VARIANTS),
    "cross_entropy_backward": Contract("relative", 1e-6, _LOSS_BACKWARD_VARIANTS),
    "focal_loss": Contract("ULP", 16.0, _LOSS_VARIANTS),
    "focal_loss_backward": Contract("relative", 2e-6, _LOSS_BACKWARD_VARIANTS),
    "poly_loss": Contract("ULP", 4.0, _LOSS_VARIANTS),
    "poly_loss_backward": Contract("relative", 1e-6, _LOSS_BACKWARD_VARIANTS),
    "mse_loss": Contract("ULP", 3.0, _LOSS_VARIANTS),
    "mse_loss_backward": Contract("ULP", 3.0, _LOSS_BACKWARD_VARIANTS),
    "sigmoid_focal_loss": Contract("ULP", 16.0, _LOSS_VARIANTS),
    "sigmoid_focal_loss_backward": Contract("ULP", 16.0, _LOSS_BACKWARD_VARIANTS),
    "poly_focal_loss": Contract("ULP", 16.0, _LOSS_VARIANTS),
    "poly_focal_loss_backward": Contract("ULP", 16.0, _LOSS_BACKWARD_VARIANTS),
}


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
    contract = CONTRACTS[sample.op]
    dtype = sample.x.dtype
    bound = bound_of(contract, dtype)
    expected = sample.exact() if exact is None else as_tuple(exact)
    errors = []
    for index, (result, wanted) in enumerate(zip(as_tuple(results), expected, strict=True)):
        if result is None and wanted is None:
            continue
        if index and sample.keywords.get("return_grad"):
            # A gradient that comes along is held to the contract of the backward, in shares of its bound.
            backward = CONTRACTS[f"{sample.op}_backward"]
            errors.append(_error(backward, sample, result, wanted) * bound / bound_of(backward, dtype))
        else:
            errors.append(_error(contract, sample, result, wanted))
    return Outcome(max(errors), bound)


def unit_of(contract: Contract, dtype: np.dtype[Any]) -> str:
    """Return the unit in which the errors of results of x's type are counted."""
    return "relative" if dtype == np.float64 else contract.unit


def bound_of(contract: Contract, dtype: np.dtype[Any]) -> float:
    """Return the bound for results of x's type, in their unit."""
    return DOUBLE_BOUND if dtype == np.float64 else contract.bound


def _error(contract: Contract, sample: Sample, result: Array | None, exact: Array | None) -> float:
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
    if result.dtype.itemsize == 2:
        computed_in = np.dtype(np.float32)
        difference = np.maximum(difference - 0.5 * _ulp(exact, result.dtype), 0.0)
    # Infinities and NaN have no distance: right or wrong.
    special = ~np.isfinite(expected) | ~np.isfinite(found)
    right = (found == expected) | (np.isnan(found) & np.isnan(expected))
    difference[special] = np.where(right, 0.0, np.inf)[special]
    unit_name = unit_of(contract, sample.x.dtype)
    if unit_name == "relative":
        total = float(np.linalg.norm(np.where(special, 0.0, exact)))
        return float(np.linalg.norm(difference)) / total if total else float(difference.max())
    unit = _ulp(exact, computed_in) if unit_name == "ULP" else _norm_unit(sample, computed_in, exact)
    with np.errstate(all="ignore"):
        units = np.where(difference == 0, 0.0, difference / unit)
    return float(np.nan_to_num(units, nan=np.inf, posinf=np.inf).max())


def _norm_unit(sample: Sample, dtype: np.dtype[Any], exact: Float64Array) -> Float64Array:
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
    beyond = (1,) * (exact.ndim - 1 - parameter_axis(sample.op, sample.keywords) % exact.ndim)
    factor, bias = factor.reshape(factor.shape + beyond), bias.reshape(bias.shape + beyond)
    unit: Float64Array = np.abs(exact - bias) + np.abs(factor) + np.abs(bias)
    return unit * 2.0 ** -(_mantissa_bits(dtype) + 1)


def _ulp(exact: Float64Array, dtype: np.dtype[Any]) -> Float64Array:
    """Return the distance between neighbouring numbers of a type at some values, subnormals included."""
    bits = _mantissa_bits(dtype)
    lowest = -126 if dtype.name == "bfloat16" else int(np.finfo(dtype).minexp)
    _, exponent = np.frexp(np.where(np.isfinite(exact) & (exact != 0), exact, np.ldexp(1.0, lowest)))
    ulp: Float64Array = np.ldexp(1.0, np.maximum(exponent - 1, lowest) - bits)
    return ulp


def _mantissa_bits(dtype: np.dtype[Any]) -> int:
    """Return the stored mantissa bits; bfloat16, which `numpy.finfo` does not know, has 7."""
    return 7 if dtype.name == "bfloat16" else int(np.finfo(dtype).nmant)
