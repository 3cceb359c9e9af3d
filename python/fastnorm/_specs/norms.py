"""layer_norm, rms_norm and normalize."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from .bounds import NORM_ROUNDINGS, last_rounding, norm_bound, summed
from .spec import (
    GRADIENT,
    NORM,
    Arguments,
    Array,
    Bad,
    Bounds,
    Contract,
    Draw,
    Pair,
    Shape,
    Spec,
    Variant,
    Workload,
    wide,
)


def axes_of(keywords: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """The normalised axes in the caller's order, none negative."""
    axis = keywords.get("axis", -1)
    if axis is None:
        return tuple(range(ndim))
    return tuple(number % ndim for number in (axis if isinstance(axis, tuple) else (axis,)))


def norm_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x with a mean of about half its deviation, a weight around 1 and a bias around 0."""
    x = draw.x(shape, mean=0.5)
    parameter_shape = tuple(shape[axis] for axis in axes_of(variant.keywords, len(shape)))
    weight = draw.normal(parameter_shape, mean=1.0) if "weight" in variant.given else None
    return x, weight, draw.normal(parameter_shape) if "bias" in variant.given else None


class Parts(NamedTuple):
    """What the bounds of a norm are made of, each in float64 and broadcasting against x."""

    x: Array
    xhat: Array
    rstd: Array
    weight: Array  # with its offset
    bias: Array
    axes: tuple[int, ...]
    rows: int
    cols: int


def norm_parts(op: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Parts:
    """The parts of a norm's result, from its twin."""
    x, weight, bias = (None if value is None else wide(value) for value in inputs)
    assert x is not None
    axes = axes_of(keywords, x.ndim)
    unweighted = {name: value for name, value in keywords.items() if name in ("axis", "eps", "fraction")}
    xhat, *_, rstd = getattr(reference, op)(x, return_stats=True, **unweighted)

    def align(parameter: Array) -> Array:
        shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        return parameter.transpose(np.argsort(axes)).reshape(shape)

    full_weight = (
        np.ones((1,) * x.ndim) if weight is None else align(weight) + keywords.get("weight_offset", 0.0)
    )
    full_bias = np.zeros((1,) * x.ndim) if bias is None else align(bias)
    cols = math.prod(x.shape[axis] for axis in axes)
    rows = math.prod(size for axis, size in enumerate(x.shape) if axis not in axes)
    return Parts(x, xhat, np.expand_dims(rstd, axes), full_weight, full_bias, axes, rows, cols)


def xhat_error(parts: Parts, dtype: np.dtype[Any]) -> Array:
    """Bound on the error of xhat in float64, which rounding the mean, the sum of squares and eps + variance
    gives.

    In float32 the statistics are float64 sums, whose errors the contract leaves out.
    """
    if dtype != np.float64:
        return np.zeros_like(parts.xhat)
    magnitude = np.mean(np.abs(parts.x), axis=parts.axes, keepdims=True)
    return summed(magnitude * parts.rstd + np.abs(parts.xhat), parts.cols, dtype)


def norm_forward_bounds(op: str) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    """The contract for y, with what float64 statistics and the rounding to a half type add to it."""

    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            product = parts.xhat * parts.weight
            contract = norm_bound(product, parts.weight, parts.bias, dtype)
            statistics = xhat_error(parts, dtype) * np.abs(parts.weight)
            return (contract + statistics + last_rounding(product + parts.bias, dtype),)

    return bounds


def norm_backward_bounds(op: str) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    """Bounds on dx, dweight and dbias: a chain of roundings of each of the terms they are sums of."""

    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            found = gradient_bounds(dys[0], parts, xhat_error(parts, dtype), keywords, dtype)
        return tuple(bound for bound, value in zip(found, inputs, strict=True) if value is not None)

    return bounds


def gradient_bounds(
    dy: Array, parts: Parts, wobble: Array, keywords: Mapping[str, Any], dtype: np.dtype[Any]
) -> tuple[Array, ...]:
    """Bounds on dx, dweight and dbias where xhat is off by at most `wobble`."""
    dy64 = dy.astype(np.float64)
    h = np.abs(dy64 * parts.weight)
    xhat = np.abs(parts.xhat) + 1  # the error of xhat is relative to both
    scale = parts.cols / max(1, math.ceil(parts.cols * (keywords.get("fraction") or 1)))

    def mean(values: Array) -> Array:
        return np.asarray(np.mean(values, axis=parts.axes, keepdims=True))

    terms = parts.rstd * (h + mean(h) + scale * xhat * mean(h * xhat))
    statistics = parts.rstd * scale * (wobble * mean(h * xhat) + xhat * mean(h * wobble))
    statistics += parts.rstd * wobble / xhat * h
    dx = summed(terms, parts.cols, dtype) + 2 * statistics + last_rounding(terms, dtype)
    rows = tuple(axis for axis in range(dy.ndim) if axis not in parts.axes)
    order = np.argsort(np.argsort(parts.axes))
    dweight_terms = np.sum(np.abs(dy64) * xhat, axis=rows)
    dweight = summed(dweight_terms, parts.rows, dtype) + np.sum(np.abs(dy64) * wobble, axis=rows)
    dbias = summed(np.sum(np.abs(dy64), axis=rows), parts.rows, dtype)
    return dx, dweight.transpose(order), dbias.transpose(order)


def smallest_deviation(op: str) -> Callable[[Arguments, Mapping[str, Any]], float]:
    """How far values may move for differences to be derivatives."""

    def length(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
        *_, rstd = getattr(reference, op)(*inputs, **keywords, return_stats=True)
        return float(1 / np.max(rstd, initial=1.0))

    return length


def numpy_layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Array:
    """Layer norm as a chain of array operations."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    y: Array = (x - mean) / np.sqrt(variance + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def numpy_layer_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, stats: Pair
) -> tuple[Array | None, ...]:
    """Gradients of `layer_norm` from the statistics of the forward."""
    mean, rstd = (values[..., None] for values in stats)
    xhat = (x - mean) * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    dweight = None if weight is None else (dy * xhat).sum(axis=rows)
    dbias = None if bias is None else dy.sum(axis=rows)
    return dx, dweight, dbias


def numpy_rms_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-6
) -> Array:
    """Root-mean-square norm as a chain of array operations."""
    y: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def numpy_rms_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, stats: Array
) -> tuple[Array | None, ...]:
    """Gradients of `rms_norm` from the statistics of the forward."""
    rstd = stats[..., None]
    xhat = x * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    dweight = None if weight is None else (dy * xhat).sum(axis=rows)
    dbias = None if bias is None else dy.sum(axis=rows)
    return dx, dweight, dbias


def norm_op(name: str, variants: tuple[Variant, ...], **more: Any) -> Spec:
    """One of the two."""
    return Spec(
        name,
        norm_inputs,
        variants,
        ("x", "weight", "bias"),
        NORM,
        GRADIENT,
        norm_forward_bounds(name),
        norm_backward_bounds(name),
        bending=smallest_deviation(name),
        **more,
    )


BOTH = ("weight", "bias")
GIVEN, PLAIN = Variant("weight and bias", BOTH), Variant("plain")
CHANNELS = Workload(
    Variant("channels", BOTH, {"axis": 1}), "channels", ((8, 256, 28, 28), (32, 64, 56, 56)), backward=False
)


layer_norm = norm_op(
    "layer_norm",
    (
        GIVEN,
        PLAIN,
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("large eps", BOTH, {"eps": 0.5}),
    ),
    formula=numpy_layer_norm,
    backward_formula=numpy_layer_norm_backward,
    workloads=(Workload(GIVEN), Workload(PLAIN, "plain", backward=False), CHANNELS),
)
rms_norm = norm_op(
    "rms_norm",
    (
        GIVEN,
        PLAIN,
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("weight offset", BOTH, {"weight_offset": 1.0}),
        Variant("offset without weight", ("bias",), {"weight_offset": 3.0}),
        Variant("fraction", BOTH, {"fraction": 0.3}),
        Variant("fraction and offset", ("weight",), {"fraction": 0.0625, "weight_offset": 1.0, "eps": 1e-3}),
    ),
    formula=numpy_rms_norm,
    backward_formula=numpy_rms_norm_backward,
    workloads=(Workload(Variant("weight", ("weight",))),),
)


UNIT_LENGTH = Contract("ULP", NORM_ROUNDINGS)


def vectors(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """Rows of any length."""
    return (draw.x(shape, deviation=10.0 ** draw.rng.uniform(-1, 1.5, (*shape[:-1], 1))),)


def lengths(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array, int]:
    """The lengths that x is divided by and those that it has, broadcasting against x, and of how many
    elements.
    """
    x, axes = wide(x), axes_of(keywords, x.ndim)
    peak = np.max(np.abs(x), axis=axes, keepdims=True, initial=0)
    scale = np.where((peak > 0) & np.isfinite(peak), peak, 1)
    length = scale * np.sqrt(np.sum(np.square(x / scale), axis=axes, keepdims=True))
    cols = math.prod(x.shape[axis] for axis in axes)
    return np.maximum(length, keywords.get("eps", 1e-12)), length, cols


def normalize_bound(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract, whose roundings count by y alone, and in float64 those of the length."""
    (x,) = inputs
    with np.errstate(all="ignore"):
        divisor, _, cols = lengths(x, keywords)
        y = np.abs(wide(x)) / divisor
        bound = norm_bound(y, np.zeros(1), np.zeros(1), x.dtype) + last_rounding(y, x.dtype)
        return (bound + (summed(y, cols, x.dtype) if x.dtype == np.float64 else 0),)


def normalize_backward_bound(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """A chain of roundings of each of the terms of dx, and of the length, which is in one of them three
    times.
    """
    (x,) = inputs
    with np.errstate(all="ignore"):
        dy, axes = np.abs(wide(dys[0])), axes_of(keywords, x.ndim)
        divisor, _, cols = lengths(x, keywords)
        y = np.abs(wide(x)) / divisor
        terms = (dy + y * np.sum(dy * y, axis=axes, keepdims=True)) / divisor
        roundings = 3 if x.dtype == np.float64 else 1
        return (roundings * summed(terms, cols, x.dtype) + last_rounding(terms, x.dtype),)


def shortest(inputs: Arguments, keywords: Mapping[str, Any]) -> float:
    """How far values may move for differences to be derivatives: by a share of the length, and not across
    eps.
    """
    divisor, length, cols = lengths(inputs[0], keywords)
    moves = np.minimum(divisor, np.abs(length - keywords.get("eps", 1e-12)))
    return float(np.min(moves / math.sqrt(max(cols, 1)), initial=1.0))


def numpy_normalize(x: Array, *, eps: float = 1e-12) -> Array:
    """Unit vectors as a chain of array operations."""
    y: Array = x / np.maximum(np.sqrt(np.sum(x * x, axis=-1, keepdims=True)), eps)
    return y


def numpy_normalize_backward(dy: Array, x: Array, *, eps: float = 1e-12) -> Array:
    """Gradient of `normalize` from its argument, where no length is less than eps."""
    length = np.maximum(np.sqrt(np.sum(x * x, axis=-1, keepdims=True)), eps)
    y = x / length
    dx: Array = (dy - y * np.sum(dy * y, axis=-1, keepdims=True)) / length
    return dx


BAD_NORMALIZE: tuple[Bad, ...] = (
    ("axis", 2, ValueError),
    ("axis", (0, 0), ValueError),
    ("axis", (), ValueError),
    ("axis", 1.0, TypeError),
    ("eps", -1e-12, ValueError),
    ("eps", math.nan, ValueError),
    ("eps", math.inf, ValueError),
    ("eps", "1e-12", TypeError),
    ("eps", True, TypeError),
)


normalize = Spec(
    "normalize",
    vectors,
    (Variant("last"), Variant("large eps", keywords={"eps": 6.0})),
    ("x",),
    UNIT_LENGTH,
    GRADIENT,
    normalize_bound,
    normalize_backward_bound,
    numpy_normalize,
    numpy_normalize_backward,
    bending=shortest,
    bad=BAD_NORMALIZE,
)
