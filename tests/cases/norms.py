"""layer_norm and rms_norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from fastnorm import reference
from tolerances import last_rounding, norm_bound, summed

from .case import Array, Case, Inputs, Variant, Work, normal, wide


def axes_of(keywords: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """The normalised axes in the caller's order, none negative."""
    axis = keywords.get("axis", -1)
    return tuple(number % ndim for number in (axis if isinstance(axis, tuple) else (axis,)))


def norm_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Inputs:
    """x with a mean of about half its deviation, a weight around 1 and a bias around 0."""
    x = normal(rng, shape, dtype, mean=0.5)
    parameter_shape = tuple(shape[axis] for axis in axes_of(variant.keywords, len(shape)))
    weight = normal(rng, parameter_shape, dtype, mean=1.0) if "weight" in variant.given else None
    bias = normal(rng, parameter_shape, dtype) if "bias" in variant.given else None
    return x, weight, bias


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


def norm_parts(op: str, inputs: Inputs, keywords: Mapping[str, Any]) -> Parts:
    """The parts of a norm's result, from its twin."""
    x, weight, bias = map(wide, inputs)
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


def norm_forward_bound(op: str) -> Callable[[Inputs, Mapping[str, Any]], Array]:
    """The contract for y, with what float64 statistics and the rounding to a half type add to it."""

    def bound(inputs: Inputs, keywords: Mapping[str, Any]) -> Array:
        assert inputs[0] is not None
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            product = parts.xhat * parts.weight
            contract = norm_bound(product, parts.weight, parts.bias, dtype)
            statistics = xhat_error(parts, dtype) * np.abs(parts.weight)
            return np.asarray(contract + statistics + last_rounding(product + parts.bias, dtype))

    return bound


def norm_backward_bounds(op: str) -> Callable[[Array, Inputs, Mapping[str, Any]], tuple[Array, ...]]:
    """Bounds on dx, dweight and dbias: a chain of roundings of each of the terms they are sums of."""

    def bounds(dy: Array, inputs: Inputs, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        assert inputs[0] is not None
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            return gradient_bounds(dy, parts, xhat_error(parts, dtype), keywords, dtype)

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


def norm_work(shape: tuple[int, ...], itemsize: int, is_backward: bool) -> Work:
    """x read and y written, or dy and x read and dx written; about eight operations an element each way."""
    size = math.prod(shape)
    return Work((3 if is_backward else 2) * size * itemsize, (14 if is_backward else 8) * size)


BOTH = ("weight", "bias")

LAYER_NORM = Case(
    "layer_norm",
    norm_inputs,
    (
        Variant("weight and bias", BOTH),
        Variant("plain"),
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("large eps", BOTH, {"eps": 0.5}),
    ),
    ("x", "weight", "bias"),
    has_axis=True,
    forward_bound=norm_forward_bound("layer_norm"),
    backward_bounds=norm_backward_bounds("layer_norm"),
    work=norm_work,
)

RMS_NORM = Case(
    "rms_norm",
    norm_inputs,
    (
        Variant("weight and bias", BOTH),
        Variant("plain"),
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("weight offset", BOTH, {"weight_offset": 1.0}),
        Variant("offset without weight", ("bias",), {"weight_offset": 3.0}),
        Variant("fraction", BOTH, {"fraction": 0.3}),
        Variant("fraction and offset", ("weight",), {"fraction": 0.0625, "weight_offset": 1.0, "eps": 1e-3}),
    ),
    ("x", "weight", "bias"),
    has_axis=True,
    forward_bound=norm_forward_bound("rms_norm"),
    backward_bounds=norm_backward_bounds("rms_norm"),
    work=norm_work,
)

CASES = (LAYER_NORM, RMS_NORM)
