"""batch_norm, group_norm and instance_norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..reference.channel_norms import from_groups, to_groups
from .bounds import last_rounding, norm_bound, summed
from .spec import (
    GRADIENT,
    NORM,
    Arguments,
    Array,
    Bad,
    Bounds,
    Draw,
    Pair,
    Shape,
    Spec,
    Variant,
    Workload,
    wide,
)

# Columns (fewer than 16 values beyond the channels) and planes, short and long, whole vectors and broken
# ones.
EMPTY = ((0, 4), (3, 4, 0))  # of samples, of values
SHAPES = ((5, 16), (3, 7), (70, 33), (3, 4, 5), (4, 3, 130), (2, 5, 4, 9), (3, 4, 17), (2, 18, 2, 3))
IMAGES = (
    (5, 16, 16),
    (3, 7, 5),
    (7, 33, 2),
    (3, 4, 5, 3),
    (4, 3, 130),
    (2, 5, 4, 9),
    (3, 4, 17),
    (2, 18, 2, 3),
)
LARGE = ((513, 770), (5, 7, 10_001), (20_011, 13), (3, 40, 17, 50))


def place_of(name: str, inputs: Arguments) -> int:
    """Where weight stands among the positional arguments: after num_groups, where there is one."""
    return 2 if name == "group_norm" else 1


def channel_inputs(name: str, draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, for group_norm the number of groups, weight and bias, for batch_norm the running arrays."""
    x = draw.x(shape, mean=0.5)
    channels = shape[variant.keywords.get("axis", 1)]
    weight = draw.normal((channels,), mean=1.0) if "weight" in variant.given else None
    bias = draw.normal((channels,)) if "bias" in variant.given else None
    if name == "group_norm":
        factor = next((k for k in range(2, channels + 1) if channels % k == 0), 1)
        return x, variant.numbers.get("num_groups", factor), weight, bias
    if name == "instance_norm":
        return x, weight, bias
    if "running" not in variant.given:
        return x, weight, bias, None, None
    kind = np.dtype(np.float64 if draw.dtype == np.float64 else np.float32)
    mean = (draw.mean or 0.0) + draw.rng.standard_normal((channels,))
    return x, weight, bias, mean.astype(kind), (0.5 + draw.rng.random(channels)).astype(kind)


class Parts(NamedTuple):
    """What the bounds are made of, in float64 and broadcasting against x."""

    x: Array
    xhat: Array
    rstd: Array
    weight: Array
    bias: Array
    others: tuple[int, ...]  # the axes that are not the channels'
    length: int  # values that are normalised jointly
    through: bool  # the statistics are functions of x
    average: Callable[[Array], Array]  # over what is normalised jointly


def parts_of(name: str, inputs: Arguments, keywords: Mapping[str, Any]) -> Parts:
    """The parts of a result, by the formulas of a textbook."""
    x = wide(inputs[0])
    axis = keywords.get("axis", 1) % x.ndim
    others = tuple(other for other in range(x.ndim) if other != axis)
    place = place_of(name, inputs)
    weight, bias = (
        np.full((1,) * x.ndim, absent) if value is None else np.expand_dims(value.astype(np.float64), others)
        for value, absent in zip(inputs[place : place + 2], (1.0, 0.0), strict=True)
    )
    if name == "batch_norm":
        running = inputs[3] is not None and not keywords.get("training", False)
        count = x.size // max(x.shape[axis], 1)

        def average(values: Array) -> Array:
            return np.asarray(np.mean(values, axis=others, keepdims=True))
    else:
        running, num_groups = False, inputs[1] if name == "group_norm" else x.shape[axis]
        count = to_groups(x, num_groups, axis)[0, 0].size

        def average(values: Array) -> Array:
            groups = to_groups(np.broadcast_to(values, x.shape), num_groups, axis)
            means = np.broadcast_to(np.mean(groups, axis=(2, 3), keepdims=True), groups.shape)
            return np.asarray(from_groups(np.ascontiguousarray(means), x.shape, axis))

    mean = np.expand_dims(wide(inputs[3]), others) if running else average(x)
    variance = np.expand_dims(wide(inputs[4]), others) if running else average(np.square(x - mean))
    rstd = 1 / np.sqrt(variance + keywords.get("eps", 1e-5))
    return Parts(x, (x - mean) * rstd, rstd, weight, bias, others, count, not running, average)


def xhat_error(parts: Parts, dtype: np.dtype[Any]) -> Array:
    """Bound on the error of xhat in float64, from rounding the mean, the sum of squares and the root.

    In float32 the statistics are float64, whose errors the contract leaves out.
    """
    if dtype != np.float64:
        return np.zeros_like(parts.xhat)
    magnitude = parts.average(np.abs(parts.x)) * parts.rstd if parts.through else 0.0
    return summed(magnitude + np.abs(parts.xhat), parts.length if parts.through else 1, dtype)


def forward_bounds(name: str) -> Callable[[Arguments, Mapping[str, Any]], Bounds]:
    """The contract for y, with what float64 statistics and the rounding to a half type add to it."""

    def bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = parts_of(name, inputs, keywords)
            product = parts.xhat * parts.weight
            contract = norm_bound(product, parts.weight, parts.bias, dtype)
            statistics = xhat_error(parts, dtype) * np.abs(parts.weight)
            return (np.asarray(contract + statistics + last_rounding(product + parts.bias, dtype)),)

    return bounds


def backward_bounds(name: str) -> Callable[[Arguments, Arguments, Mapping[str, Any]], Bounds]:
    """Bounds on dx, dweight and dbias: a chain of roundings of each of the terms they are sums of."""

    def bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = parts_of(name, inputs, keywords)
            dy = dys[0].astype(np.float64)
            h, xhat = (
                np.abs(dy * parts.weight),
                np.abs(parts.xhat) + 1,
            )  # the error of xhat is relative to both
            wobble = xhat_error(parts, dtype)
            terms, statistics = parts.rstd * h, parts.rstd * h * wobble / xhat
            if parts.through:
                terms = parts.rstd * (h + parts.average(h) + xhat * parts.average(h * xhat))
                statistics = statistics + parts.rstd * (
                    wobble * parts.average(h * xhat) + xhat * parts.average(h * wobble)
                )
            dx = summed(terms, parts.length, dtype) + 2 * statistics + last_rounding(terms, dtype)
            length = dy.size // max(dy.shape[keywords.get("axis", 1)], 1)
            dweight = summed(np.sum(np.abs(dy) * xhat, axis=parts.others), length, dtype)
            dweight = dweight + np.sum(np.abs(dy) * wobble, axis=parts.others)
            dbias = summed(np.sum(np.abs(dy), axis=parts.others), length, dtype)
        place = place_of(name, inputs)
        given = [value is not None for value in inputs[place : place + 2]]
        return (
            np.asarray(dx),
            *(bound for bound, wanted in zip((dweight, dbias), given, strict=True) if wanted),
        )

    return bounds


def smallest_deviation(name: str) -> Callable[[Arguments, Mapping[str, Any]], float]:
    """How far values may move for differences to be derivatives."""
    return lambda inputs, keywords: float(1 / np.max(parts_of(name, inputs, keywords).rstd, initial=1.0))


def numpy_batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
) -> Array:
    """Batch norm as a chain of array operations."""
    others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
    if running_mean is None or running_var is None or training:
        mean, variance = x.mean(axis=others, keepdims=True), x.var(axis=others, keepdims=True)
        if running_mean is not None and running_var is not None:
            count = x.size // running_mean.size
            running_mean += momentum * (mean.ravel() - running_mean)
            running_var += momentum * (variance.ravel() * count / (count - 1) - running_var)
    else:
        mean, variance = np.expand_dims(running_mean, others), np.expand_dims(running_var, others)
    y: Array = (x - mean) / np.sqrt(variance + eps)
    if weight is not None:
        y = y * np.expand_dims(weight, others)
    if bias is not None:
        y = y + np.expand_dims(bias, others)
    return y


def numpy_batch_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    stats: Pair,
    training: bool = False,
    axis: int = 1,
) -> tuple[Array | None, ...]:
    """Gradients of `batch_norm` from the statistics of the forward."""
    others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
    mean, rstd = (
        values.reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)]) for values in stats
    )
    xhat = (x - mean) * rstd
    dweight, dbias = (dy * xhat).sum(axis=others, keepdims=True), dy.sum(axis=others, keepdims=True)
    count = x.size // x.shape[axis]
    dx = dy - dbias / count - xhat * (dweight / count) if training else dy
    dx = dx * (rstd if weight is None else rstd * weight.reshape(rstd.shape))
    return dx, None if weight is None else dweight.ravel(), None if bias is None else dbias.ravel()


def numpy_group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Group norm of channels along axis 1 as a chain of array operations."""
    groups = x.reshape(x.shape[0], num_groups, -1)
    mean, variance = groups.mean(axis=-1, keepdims=True), groups.var(axis=-1, keepdims=True)
    y: Array = ((groups - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    beyond = (-1,) + (1,) * (x.ndim - 2)
    if weight is not None:
        y = y * weight.reshape(beyond)
    if bias is not None:
        y = y + bias.reshape(beyond)
    return y


def numpy_group_norm_backward(
    dy: Array,
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array | None, ...]:
    """Gradients of `group_norm` of channels along axis 1."""
    groups = x.reshape(x.shape[0], num_groups, -1)
    rstd = 1 / np.sqrt(groups.var(axis=-1, keepdims=True) + eps)
    xhat = (groups - groups.mean(axis=-1, keepdims=True)) * rstd
    h = dy if weight is None else dy * weight.reshape((-1,) + (1,) * (x.ndim - 2))
    h = h.reshape(groups.shape)
    dx = rstd * (h - h.mean(axis=-1, keepdims=True) - xhat * (h * xhat).mean(axis=-1, keepdims=True))
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    dweight = None if weight is None else (dy * xhat.reshape(x.shape)).sum(axis=others)
    dbias = None if bias is None else dy.sum(axis=others)
    return dx.reshape(x.shape), dweight, dbias


def numpy_instance_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Array:
    """Instance norm of channels along axis 1 as a chain of array operations."""
    return numpy_group_norm(x, x.shape[1], weight, bias, eps=eps)


def numpy_instance_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> tuple[Array | None, ...]:
    """Gradients of `instance_norm` of channels along axis 1."""
    return numpy_group_norm_backward(dy, x, x.shape[1], weight, bias, eps=eps)


def channel_op(name: str, variants: tuple[Variant, ...], **more: Any) -> Spec:
    """One of the three."""
    return Spec(
        name,
        partial(channel_inputs, name),
        variants,
        ("x", "weight", "bias"),
        NORM,
        GRADIENT,
        forward_bounds(name),
        backward_bounds(name),
        large=LARGE,
        bending=smallest_deviation(name),
        **more,
    )


BOTH = ("weight", "bias")
ALL = (*BOTH, "running")
BAD: tuple[Bad, ...] = (
    ("axis", 9, ValueError),
    ("axis", (0,), TypeError),
    ("axis", True, TypeError),
    ("eps", -1.0, ValueError),
    ("eps", "small", TypeError),
    ("weight", np.ones(3, np.float32), ValueError),
    ("bias", np.ones((7, 1), np.float32), ValueError),
)


EVALUATION = Variant("evaluation", ALL)
TRAINING = Variant("training", ALL, {"training": True})
NHWC = Variant("nhwc", ALL, {"training": True, "axis": -1})
GROUPS = Variant("32 groups", BOTH, numbers={"num_groups": 32})
# A small call, rows of features, images of a small and of a large net; the images with the channels last.
TIMED = ((8, 64), (256, 128), (65536, 128), (8, 256, 28, 28), (32, 64, 56, 56))
TIMED_IMAGES, TIMED_NHWC = TIMED[3:], ((8, 28, 28, 256), (32, 56, 56, 64))


batch_norm = channel_op(
    "batch_norm",
    (
        Variant("training", BOTH, {"training": True}),
        EVALUATION,
        Variant("batch statistics"),
        Variant("channels last", BOTH, {"training": True, "axis": -1, "eps": 0.5}),
        Variant("channels first", ("weight", "running"), {"axis": 0}),
        Variant("bias", ("bias",), {"training": True}),
        Variant("constants", ("running",)),
    ),
    formula=numpy_batch_norm,
    backward_formula=numpy_batch_norm_backward,
    workloads=(
        Workload(TRAINING, shapes=TIMED),
        Workload(EVALUATION, "evaluation", TIMED, backward=False),
        Workload(NHWC, "nhwc", TIMED_NHWC),
    ),
    axes=2,
    rowwise=False,
    shapes=SHAPES,
    empty=EMPTY,
    batches=(),
    bad=(
        *BAD,
        ("training", 1, TypeError),
        ("momentum", 1.5, ValueError),
        ("momentum", -0.1, ValueError),
        ("momentum", None, TypeError),
        ("running_correction", 2, ValueError),
        ("running_correction", 1.0, TypeError),
        ("return_stats", 0, TypeError),
        ("stats", np.ones((2, 7), np.float32), TypeError),
        ("stats", (np.ones(7, np.float32),), ValueError),
        ("stats", (np.ones(7, np.float32), np.ones(7, np.float16)), TypeError),
        ("stats", (np.ones(7, np.float32), np.ones(3, np.float32)), ValueError),
        ("running_mean", np.ones(7, np.float32), ValueError),  # without the other
        ("running_var", np.ones(7, np.float32), ValueError),
    ),
)


group_norm = channel_op(
    "group_norm",
    (
        Variant("groups", BOTH),
        Variant("one group", ("weight",), numbers={"num_groups": 1}),
        Variant("channels last", BOTH, {"axis": -1, "eps": 0.5}),
        Variant("plain"),
    ),
    formula=numpy_group_norm,
    backward_formula=numpy_group_norm_backward,
    workloads=(Workload(GROUPS, shapes=TIMED_IMAGES),),
    axes=2,
    shapes=SHAPES,
    empty=EMPTY,
    bad=(*BAD, ("num_groups", 2, ValueError), ("num_groups", 0, ValueError), ("num_groups", 1.0, TypeError)),
)


instance_norm = channel_op(
    "instance_norm",
    (
        Variant("weight and bias", BOTH),
        Variant("plain"),
        Variant("channels last", BOTH, {"axis": -1, "eps": 0.5}),
    ),
    formula=numpy_instance_norm,
    backward_formula=numpy_instance_norm_backward,
    workloads=(Workload(Variant("weight and bias", BOTH), shapes=TIMED_IMAGES),),
    axes=3,
    shapes=IMAGES,
    empty=((0, 4, 3), (3, 4, 0), (5, 0, 8)),  # of samples, of values, of channels
    bad=BAD,
)
