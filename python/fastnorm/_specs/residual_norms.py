"""add_layer_norm, add_rms_norm and deep_norm: norms of a sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .bounds import last_rounding, norm_bound, roundoff
from .norms import Parts, gradient_bounds, norm_parts, numpy_layer_norm, numpy_rms_norm, xhat_error
from .spec import GRADIENT, NORM, Arguments, Array, Bad, Bounds, Draw, Pair, Shape, Spec, Variant

FAR_MEAN = 2.0  # in deviations: rows whose mean is further away are summed in double
AT_THE_LIMIT = 1e-3  # the kernel compares a rounded mean with it


def sum_inputs(parameters: tuple[str, ...], draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, residual and the op's parameters, None where the variant does not give them."""
    x = draw.x(shape, mean=30.0 if "far" in variant.label else 0.5)
    residual = draw.normal(shape)
    given = [draw.normal(shape[-1:], mean=1.0) if name in variant.given else None for name in parameters]
    return x, residual, *given


def total(inputs: Arguments, keywords: Mapping[str, Any]) -> Array:
    """The sum in float64."""
    return np.asarray(
        inputs[0].astype(np.float64) + keywords.get("alpha", 1.0) * inputs[1].astype(np.float64)
    )


def total_error(inputs: Arguments, keywords: Mapping[str, Any]) -> Array:
    """Bound on the error of the sum, of its twin too."""
    product = np.abs(keywords.get("alpha", 1.0) * inputs[1].astype(np.float64))
    return np.asarray(2 * roundoff(inputs[0].dtype) * (np.abs(total(inputs, keywords)) + product))


def parts_and_wobble(norm: str, inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Parts, Array]:
    """The parts of the norm, and how far xhat may be off for the errors of the sum and of the statistics."""
    dtype = inputs[0].dtype
    summed = total(inputs, keywords)
    eps = keywords.get("eps", 1e-5 if norm == "layer_norm" else 1e-6)
    given = (summed, *inputs[2:], *[None] * (4 - len(inputs)))
    offset = keywords.get("weight_offset", 0.0)
    parts = norm_parts(norm, given, {"axis": keywords.get("axis", -1), "eps": eps, "weight_offset": offset})
    error = total_error(inputs, keywords) * parts.rstd
    mean = np.mean(summed, axis=parts.axes, keepdims=True)
    spread = np.mean(error, axis=parts.axes, keepdims=True)
    wobble = (
        error
        + spread
        + np.abs(parts.xhat) * np.mean(np.abs(parts.xhat) * error, axis=parts.axes, keepdims=True)
    )
    if norm == "layer_norm" and dtype != np.float64:
        wobble = np.where(np.abs(mean) * parts.rstd > FAR_MEAN + AT_THE_LIMIT, 0.0, wobble)
    return parts, wobble + xhat_error(parts, dtype)


def forward_bounds(norm: str, *, with_sum: bool) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    """The contract of the norm, the roundings of the sum before it, and the sum's own."""

    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts, wobble = parts_and_wobble(norm, inputs, keywords)
            product = parts.xhat * parts.weight
            y = norm_bound(product, parts.weight, parts.bias, dtype) + wobble * np.abs(parts.weight)
            y = np.asarray(y + last_rounding(product + parts.bias, dtype))
            summed = total_error(inputs, keywords) + last_rounding(total(inputs, keywords), dtype)
        return (y, summed) if with_sum else (y,)

    return bounds


def backward_bounds(
    norm: str, *, with_sum: bool
) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    """Those of the norm, and the roundings of the addition of dsummed and of the product with alpha."""

    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts, wobble = parts_and_wobble(norm, inputs, keywords)
            single = np.dtype(np.float64 if dtype == np.float64 else np.float32)
            ds, dweight, dbias = gradient_bounds(dys[0], parts, wobble, {}, single)
            size = ds / roundoff(dtype)  # at least the magnitude of the gradient
            if with_sum:
                ds = ds + roundoff(dtype) * (size + np.abs(dys[1].astype(np.float64)))
                size = size + np.abs(dys[1].astype(np.float64))
            alpha = abs(keywords.get("alpha", 1.0))
            dx = ds + last_rounding(size, dtype)
            dresidual = alpha * (ds + roundoff(dtype) * size) + last_rounding(alpha * size, dtype)
        parameters = [
            bound for bound, value in zip((dweight, dbias), inputs[2:], strict=False) if value is not None
        ]
        return (dx, dresidual, *parameters)

    return bounds


def smallest_deviation(norm: str) -> Callable[[Arguments, Mapping[str, Any]], float]:
    """Over which length the norm bends, for a residual that counts alpha times."""

    def length(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
        parts, _ = parts_and_wobble(norm, inputs, keywords)
        return float(1 / np.max(parts.rstd, initial=1.0) / max(1.0, abs(keywords.get("alpha", 1.0))))

    return length


def numpy_add_layer_norm(
    x: Array,
    residual: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    alpha: float = 1.0,
    eps: float = 1e-5,
) -> Pair:
    """Add, then `layer_norm`."""
    summed = x + alpha * residual if alpha != 1 else x + residual
    return numpy_layer_norm(summed, weight, bias, eps=eps), summed


def numpy_add_rms_norm(
    x: Array,
    residual: Array,
    weight: Array | None = None,
    *,
    alpha: float = 1.0,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
) -> Pair:
    """Add, then `rms_norm`."""
    summed = x + alpha * residual if alpha != 1 else x + residual
    factor = weight + weight.dtype.type(weight_offset) if weight is not None and weight_offset else weight
    return numpy_rms_norm(summed, factor, eps=eps), summed


def numpy_deep_norm(
    x: Array, residual: Array, weight: Array | None = None, bias: Array | None = None, *, alpha: float
) -> Array:
    """`layer_norm` of a sum."""
    return numpy_layer_norm(alpha * residual + x, weight, bias)


ROW = np.ones(1, np.float32)
BAD: tuple[Bad, ...] = (
    ("residual", ROW, ValueError),
    ("residual", None, TypeError),
    ("weight", ROW, ValueError),
    ("alpha", "2", TypeError),
    ("alpha", None, TypeError),
    ("alpha", True, TypeError),
    ("alpha", float("inf"), ValueError),
    ("eps", -1.0, ValueError),
    ("axis", 7, ValueError),
    ("axis", 1.0, TypeError),
)
BAD_PAIR: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("out", ROW, TypeError),
    ("out", (ROW,), ValueError),
    ("out", (None, None), TypeError),
)
BOTH = ("weight", "bias")


def sum_op(name: str, norm: str, variants: tuple[Variant, ...], *, with_sum: bool, **more: Any) -> Spec:
    """An op of this family, over `norm`."""
    parameters = ("weight",) if norm == "rms_norm" else BOTH
    return Spec(
        name,
        partial(sum_inputs, parameters),
        variants,
        ("x", "residual", *parameters),
        NORM,
        GRADIENT,
        forward_bounds(norm, with_sum=with_sum),
        backward_bounds(norm, with_sum=with_sum),
        bending=smallest_deviation(norm),
        bad=(*BAD, *(BAD_PAIR if with_sum else ())),
        **more,
    )


add_layer_norm = sum_op(
    "add_layer_norm",
    "layer_norm",
    (
        Variant("weight and bias", BOTH),
        Variant("plain", (), {"alpha": -0.75}),
        Variant("weight", ("weight",), {"alpha": 2.5, "eps": 0.5}),
        Variant("bias", ("bias",)),
        Variant("far mean", BOTH, {"alpha": 2.5}),
    ),
    with_sum=True,
    formula=numpy_add_layer_norm,
)
add_rms_norm = sum_op(
    "add_rms_norm",
    "rms_norm",
    (
        Variant("weight", ("weight",)),
        Variant("plain", (), {"alpha": 2.5, "eps": 1e-3}),
        Variant("weight offset", ("weight",), {"weight_offset": 1.0}),
    ),
    with_sum=True,
    formula=numpy_add_rms_norm,
)
deep_norm = sum_op(
    "deep_norm",
    "layer_norm",
    (Variant("weight and bias", BOTH, {"alpha": 3.75}), Variant("far mean", (), {"alpha": 1.5})),
    with_sum=False,
    formula=numpy_deep_norm,
)
