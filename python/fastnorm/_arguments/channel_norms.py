"""The argument rules of the norms that treat channels differently: batch_norm, group_norm and
instance_norm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._typing import Array
from .rules import Axes, Rules, as_index, shares_memory, shown


class BatchNorm(NamedTuple):
    """The canonical arguments of `batch_norm`."""

    x: Array
    weight: Array | None
    bias: Array | None
    running_mean: Array | None
    running_var: Array | None
    training: bool
    momentum: float
    running_correction: int
    eps: float
    axis: int
    stats: tuple[Array, Array] | None
    return_stats: bool
    out: Array | None


class BatchNormBackward(NamedTuple):
    """The canonical arguments of `batch_norm_backward`."""

    dy: Array
    x: Array
    weight: Array | None
    bias: Array | None
    running_mean: Array | None
    running_var: Array | None
    training: bool
    eps: float
    axis: int
    stats: tuple[Array, Array] | None


def batch_norm(
    rules: Rules,
    x: object,
    weight: object,
    bias: object,
    running_mean: object,
    running_var: object,
    training: object,
    momentum: object,
    running_correction: object,
    eps: object,
    axis: object,
    stats: object,
    return_stats: object,
    out: object,
) -> tuple[object, ...]:
    """Return the canonical arguments of `batch_norm`."""
    x = rules.array("x", x)
    axes = channel_axis(rules, axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    training = rules.flag("training", training)
    momentum = rules.number("momentum", momentum, minimum=0)
    if momentum > 1:
        raise rules.value_error(
            "momentum", f"is {momentum:g}", "at most 1: it is the weight of the new batch"
        )
    correction = rules.integer("running_correction", running_correction, minimum=0)
    if correction > 1:
        raise rules.value_error("running_correction", f"is {shown(correction)}", "0 or 1")
    eps = rules.number("eps", eps, minimum=0)
    return_stats = rules.flag("return_stats", return_stats)
    given = given_statistics(rules, stats, x, axes)
    mean, var = running_arrays(rules, running_mean, running_var, x, axes, update=training)
    target = rules.out(out, x, x, weight, bias, mean, var)
    if training and given is None:
        several_values(rules, x, axes)
    if training and mean is not None and var is not None:
        updatable(rules, mean, var, x, weight, bias, target)
    return tuple(
        BatchNorm(
            x,
            weight,
            bias,
            mean,
            var,
            training,
            momentum,
            correction,
            eps,
            axes.given[0],
            given,
            return_stats,
            target,
        )
    )


def batch_norm_backward(
    rules: Rules,
    dy: object,
    x: object,
    weight: object,
    bias: object,
    running_mean: object,
    running_var: object,
    training: object,
    eps: object,
    axis: object,
    stats: object,
) -> tuple[object, ...]:
    """Return the canonical arguments of `batch_norm_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    axes = channel_axis(rules, axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    training = rules.flag("training", training)
    eps = rules.number("eps", eps, minimum=0)
    given = given_statistics(rules, stats, x, axes)
    mean, var = running_arrays(rules, running_mean, running_var, x, axes)
    if training and given is None:
        several_values(rules, x, axes)
    return tuple(BatchNormBackward(dy, x, weight, bias, mean, var, training, eps, axes.given[0], given))


def group_norm(
    rules: Rules,
    x: object,
    num_groups: object,
    weight: object,
    bias: object,
    eps: object,
    axis: object,
    out: object,
) -> tuple[Array, int, Array | None, Array | None, float, int, Array | None]:
    """Return the canonical arguments of `group_norm`."""
    x = rules.array("x", x)
    axes = channel_axis(rules, axis, x)
    num_groups = groups(rules, num_groups, x, axes)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    return x, num_groups, weight, bias, eps, axes.given[0], rules.out(out, x, x, weight, bias)


def group_norm_backward(
    rules: Rules,
    dy: object,
    x: object,
    num_groups: object,
    weight: object,
    bias: object,
    eps: object,
    axis: object,
) -> tuple[Array, Array, int, Array | None, Array | None, float, int]:
    """Return the canonical arguments of `group_norm_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    axes = channel_axis(rules, axis, x)
    num_groups = groups(rules, num_groups, x, axes)
    weight, bias = rules.parameters(x, axes, weight, bias)
    return dy, x, num_groups, weight, bias, rules.number("eps", eps, minimum=0), axes.given[0]


def instance_norm(
    rules: Rules, x: object, weight: object, bias: object, eps: object, axis: object, out: object
) -> tuple[Array, Array | None, Array | None, float, int, Array | None]:
    """Return the canonical arguments of `instance_norm`."""
    x = rules.array("x", x)
    axes = channel_axis(rules, axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    eps = rules.number("eps", eps, minimum=0)
    return x, weight, bias, eps, axes.given[0], rules.out(out, x, x, weight, bias)


def instance_norm_backward(
    rules: Rules, dy: object, x: object, weight: object, bias: object, eps: object, axis: object
) -> tuple[Array, Array, Array | None, Array | None, float, int]:
    """Return the canonical arguments of `instance_norm_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    axes = channel_axis(rules, axis, x)
    weight, bias = rules.parameters(x, axes, weight, bias)
    return dy, x, weight, bias, rules.number("eps", eps, minimum=0), axes.given[0]


def channel_axis(rules: Rules, value: object, x: Array) -> Axes:
    """Return the axis of the channels, one int."""
    if as_index(value) is None:
        raise rules.type_error("axis", f"is {shown(value)}", "an int, the axis of the channels")
    if x.ndim == 0 or (x.ndim == 1 and as_index(value) == 1):
        raise rules.value_error("x", f"has shape {x.shape}", "two axes at least, of samples and of channels")
    return rules.axes(as_index(value), x)


def groups(rules: Rules, value: object, x: Array, axes: Axes) -> int:
    """Return the number of groups, which divides that of the channels."""
    number = rules.integer("num_groups", value, minimum=1)
    channels = x.shape[axes.given[0]]
    if channels % number:
        raise rules.value_error(
            "num_groups", f"is {shown(number)}", f"a divisor of the number of channels, {channels}"
        )
    return number


def given_statistics(rules: Rules, stats: object, x: Array, axes: Axes) -> tuple[Array, Array] | None:
    """Return None, or mean and rstd of each channel: of the type of statistics or, unrounded, float64."""
    if stats is None:
        return None
    if not isinstance(stats, (tuple, list)):
        raise rules.type_error("stats", f"has type {type(stats).__name__}", "a tuple (mean, rstd)")
    if len(stats) != 2:
        raise rules.value_error("stats", f"has {len(stats)} entries", "two, (mean, rstd)")
    kinds = {np.dtype(np.float64), statistic_dtype(x)}
    found = []
    for name, value in zip(("mean in stats", "rstd in stats"), stats, strict=True):
        array = rules.array(name, value, like=np.empty(0, statistic_dtype(x)))
        if array.dtype not in kinds:
            needed = " or ".join(sorted(map(str, kinds)))
            raise rules.type_error(name, f"has dtype {array.dtype}", f"{needed} for x of dtype {x.dtype}")
        array = per_channel(rules, name, array, x, axes)
        found.append(array if array.flags.aligned else array.copy())
    return found[0], found[1]


def running_arrays(
    rules: Rules, mean: object, var: object, x: Array, axes: Axes, *, update: bool = False
) -> tuple[Array, Array] | tuple[None, None]:
    """Return the two running arrays, both or neither; they are the caller's own where they are NumPy
    arrays.
    """
    if mean is None and var is None:
        return None, None
    if mean is None or var is None:
        missing, given = ("running_mean", "running_var") if mean is None else ("running_var", "running_mean")
        raise rules.value_error(missing, f"is None where {given} is given", "both running arrays or neither")
    found = []
    for name, value in (("running_mean", mean), ("running_var", var)):
        array = rules.array(name, value, like=np.empty(0, statistic_dtype(x)))
        if array.dtype != statistic_dtype(x):
            needed = f"{statistic_dtype(x)} for x of dtype {x.dtype}"
            raise rules.type_error(name, f"has dtype {array.dtype}", needed)
        if update and (
            isinstance(value, (float, list, tuple)) or getattr(value, "dtype", array.dtype) != array.dtype
        ):
            raise rules.type_error(
                name, f"has type {type(value).__name__}", "a native array, which training updates"
            )
        found.append(per_channel(rules, name, array, x, axes))
    return found[0], found[1]


def updatable(rules: Rules, mean: Array, var: Array, *others: Array | None) -> None:
    """Raise where training could not update the running arrays, or would change another array by it."""
    for name, array in (("running_mean", mean), ("running_var", var)):
        if not array.flags.writeable:
            raise rules.value_error(name, "is read-only", "an array that training can update")
        for other in others:
            if other is not None and shares_memory(array, other):
                raise rules.value_error(
                    name, "overlaps another array", "memory of its own: training updates it"
                )
    if shares_memory(mean, var):
        raise rules.value_error(
            "running_var", "overlaps running_mean", "memory of its own: training updates it"
        )


def per_channel(rules: Rules, name: str, array: Array, x: Array, axes: Axes) -> Array:
    """Return an array of one number for each channel."""
    shape = (x.shape[axes.given[0]],)
    if array.shape != shape:
        raise rules.value_error(name, f"has shape {array.shape}", f"{shape}, one number for each channel")
    return array


def several_values(rules: Rules, x: Array, axes: Axes) -> None:
    """Raise where a batch has no variance."""
    if math.prod(size for axis, size in enumerate(x.shape) if axis != axes.given[0]) == 1:
        found = f"has shape {x.shape}, one value for each channel"
        raise rules.value_error("x", found, "more than one value for each channel in training")


def statistic_dtype(x: Array) -> np.dtype[np.floating]:
    """Return the dtype of statistics and parameter gradients."""
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def moments(rules: Rules, x: object, axis: object) -> tuple[Array, Axes]:
    """Return the canonical arguments of `moments`: the axes that are kept are neighbours."""
    x = rules.array("x", x)
    if x.ndim == 0:
        x = x.reshape(1)
    axes = rules.axes(tuple(range(x.ndim)) if axis is None else axis, x)
    kept = [number for number in range(x.ndim) if number not in axes]
    if kept and kept[-1] - kept[0] != len(kept) - 1:
        x, axes = np.moveaxis(x, axes, range(len(axes))), Axes(range(len(axes)))
    return x, axes
