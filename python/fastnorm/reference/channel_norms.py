"""NumPy twins of the norms over channels.

batch_norm sees x in float64 as (channels, values), group_norm as (samples, groups, channels of a group,
values). With d = x - mean, rstd = 1/sqrt(mean(d^2) + eps), xhat = d * rstd, h = dy * weight, means over what
is normalised jointly:

    y       = xhat * weight + bias
    dx      = rstd * (h - mean(h) - xhat * mean(h * xhat))      rstd * h with statistics that are
                                                                given for good
    dweight = sum of dy * xhat over all values of a channel
    dbias   = sum of dy over the same
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arguments.channel_norms import BatchNorm, BatchNormBackward
from .._arguments.rules import Axes
from .._typing import Array
from ..channel_norms import Moments
from ._results import result, statistic
from .norms import average, column, normalise


def batch_norm(*arguments: Any) -> Array | tuple[Array, Array, Array]:
    """Twin of `fastnorm.batch_norm`."""
    given = BatchNorm._make(arguments)
    with np.errstate(all="ignore"):
        rows = to_channels(given.x, given.axis)
        if given.stats is not None:
            mean, rstd = map(column, given.stats)
            xhat = (rows - mean) * rstd
        elif given.running_mean is not None and given.running_var is not None and not given.training:
            mean, rstd = (
                column(given.running_mean),
                reciprocal_deviation(column(given.running_var), given.eps),
            )
            xhat = (rows - mean) * rstd
        else:
            xhat, mean, rstd = normalise_channels(rows, given.eps)
            update(given, rows, mean)
        y = xhat * column_of(given.weight, 1.0) + column_of(given.bias, 0.0)
    y = result(from_channels(y, given.x.shape, given.axis), given.x, given.out)
    return (y, statistic(mean[:, 0], given.x), statistic(rstd[:, 0], given.x)) if given.return_stats else y


def update(given: BatchNorm, rows: Array, mean: Array) -> None:
    """Move the running arrays towards the moments of a batch, as PyTorch does."""
    count = rows.shape[1]
    if given.running_mean is None or given.running_var is None or count == 0:
        return
    m2 = np.sum(np.square(rows - mean), axis=1)
    for running, new in (
        (given.running_mean, mean[:, 0]),
        (given.running_var, m2 / (count - given.running_correction)),
    ):
        running[...] = (1 - given.momentum) * running.astype(np.float64) + given.momentum * new


def batch_norm_backward(*arguments: Any) -> tuple[Array, Array | None, Array | None]:
    """Twin of `fastnorm.batch_norm_backward`."""
    given = BatchNormBackward._make(arguments)
    through = given.training or (given.stats is None and given.running_mean is None)
    with np.errstate(all="ignore"):
        rows, dy_rows = to_channels(given.x, given.axis), to_channels(given.dy, given.axis)
        if given.stats is not None:
            mean, rstd = map(column, given.stats)
            d = rows - mean
            # The mean of a batch has been rounded: what it lacks is the mean of the deviations.
            xhat = (d - average(d) if through else d) * rstd
        elif through:
            xhat, _, rstd = normalise_channels(rows, given.eps)
        else:
            assert given.running_mean is not None
            assert given.running_var is not None
            rstd = reciprocal_deviation(column(given.running_var), given.eps)
            xhat = (rows - column(given.running_mean)) * rstd
        h = dy_rows * column_of(given.weight, 1.0)
        dx = rstd * (h - average(h) - xhat * average(h * xhat)) if through else rstd * h
        dweight = None if given.weight is None else statistic(np.sum(dy_rows * xhat, axis=1), given.x)
        dbias = None if given.bias is None else statistic(np.sum(dy_rows, axis=1), given.x)
    return result(from_channels(dx, given.x.shape, given.axis), given.x), dweight, dbias


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    axis: int,
    out: Array | None = None,
) -> Array:
    """Twin of `fastnorm.group_norm`."""
    with np.errstate(all="ignore"):
        groups = to_groups(x, num_groups, axis)
        xhat, _ = normalise_groups(groups, eps)
        y = xhat * factors(weight, groups, 1.0) + factors(bias, groups, 0.0)
    return result(from_groups(y, x.shape, axis), x, out)


def group_norm_backward(
    dy: Array, x: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float, axis: int
) -> tuple[Array, Array | None, Array | None]:
    """Twin of `fastnorm.group_norm_backward`."""
    with np.errstate(all="ignore"):
        groups, dy_groups = to_groups(x, num_groups, axis), to_groups(dy, num_groups, axis)
        xhat, rstd = normalise_groups(groups, eps)
        h = dy_groups * factors(weight, groups, 1.0)
        dx = rstd * (h - group_average(h) - xhat * group_average(h * xhat))
        dweight = None if weight is None else statistic(np.sum(dy_groups * xhat, axis=(0, 3)).ravel(), x)
        dbias = None if bias is None else statistic(np.sum(dy_groups, axis=(0, 3)).ravel(), x)
    return result(from_groups(dx, x.shape, axis), x), dweight, dbias


def instance_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, axis: int, out: Array | None = None
) -> Array:
    """Twin of `fastnorm.instance_norm`."""
    return group_norm(x, max(x.shape[axis], 1), weight, bias, eps=eps, axis=axis, out=out)


def instance_norm_backward(
    dy: Array, x: Array, weight: Array | None, bias: Array | None, eps: float, axis: int
) -> tuple[Array, Array | None, Array | None]:
    """Twin of `fastnorm.instance_norm_backward`."""
    return group_norm_backward(dy, x, max(x.shape[axis], 1), weight, bias, eps=eps, axis=axis)


def normalise_channels(rows: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return xhat, mean and rstd of each row; without eps the rstd of a constant one is 0, as in PyTorch."""
    xhat, mean, rstd = normalise(rows, eps, centre=True)
    constant = np.isinf(rstd)
    return np.where(constant, 0.0, xhat), mean, np.where(constant, 0.0, rstd)


def reciprocal_deviation(variance: Array, eps: float) -> Array:
    """Return 1/sqrt(variance + eps), 0 where both are 0."""
    rstd: Array = 1.0 / np.sqrt(variance + eps)
    return np.where(np.isinf(rstd), 0.0, rstd)


def to_channels(x: Array, axis: int) -> Array:
    """Return x in float64 as (channels, values)."""
    moved = np.moveaxis(x, axis, 0).astype(np.float64, order="C")
    return moved.reshape(x.shape[axis], -1 if x.size else 0)


def from_channels(rows: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Return the rows as an array of this shape, undoing `to_channels`."""
    others = tuple(size for other, size in enumerate(shape) if other != axis)
    return np.moveaxis(rows.reshape((shape[axis], *others)), 0, axis)


def column_of(parameter: Array | None, absent: float) -> Array:
    """Return weight or bias as a column."""
    return np.full((1, 1), absent) if parameter is None else column(parameter)


def to_groups(x: Array, num_groups: int, axis: int) -> Array:
    """Return x in float64 as (samples, groups, channels of a group, values): one sample without an axis of
    them.
    """
    moved = np.moveaxis(x, axis, min(axis, 1)).astype(np.float64, order="C")
    samples, channels = (1 if axis == 0 else x.shape[0]), x.shape[axis]
    return moved.reshape(samples, num_groups, channels // num_groups, -1 if x.size else 0)


def from_groups(groups: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Return the groups as an array of this shape, undoing `to_groups`."""
    place = min(axis, 1)
    moved = [size for other, size in enumerate(shape) if other != axis]
    moved.insert(place, shape[axis])
    return np.moveaxis(groups.reshape(moved), place, axis)


def normalise_groups(groups: Array, eps: float) -> tuple[Array, Array]:
    """Return xhat and rstd of each group."""
    samples, num_groups, channels, values = groups.shape
    xhat, _, rstd = normalise_channels(groups.reshape(samples * num_groups, channels * values), eps)
    return xhat.reshape(groups.shape), rstd.reshape(samples, num_groups, 1, 1)


def group_average(groups: Array) -> Array:
    """Return the mean of each group."""
    mean: Array = np.sum(groups, axis=(2, 3), keepdims=True) / np.float64(groups.shape[2] * groups.shape[3])
    return mean


def factors(parameter: Array | None, groups: Array, absent: float) -> Array:
    """Return weight or bias so that it broadcasts against the groups."""
    if parameter is None:
        return np.full((1, 1, 1, 1), absent)
    return parameter.astype(np.float64).reshape(1, groups.shape[1], groups.shape[2], 1)


def moments(x: Array, axes: Axes) -> Moments:
    """Twin of `fastnorm.moments`."""
    count = math.prod(x.shape[number] for number in axes)
    if count == 0:
        shape = tuple(size for number, size in enumerate(x.shape) if number not in axes)
        return Moments(0, np.zeros(shape), np.zeros(shape))
    with np.errstate(all="ignore"):
        values = x.astype(np.float64)
        mean = np.mean(values, axis=axes, keepdims=True)
        # The second mean is what rounding the first has left.
        rest = np.mean(values - mean, axis=axes, keepdims=True)
        m2 = np.sum(np.square(values - mean - rest), axis=axes)
        return Moments(count, np.asarray(np.squeeze(mean + rest, axes)), np.asarray(m2))
