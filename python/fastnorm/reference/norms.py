"""NumPy twins of the norms.

All work on `rows`, x in float64 with shape (rows, cols): the normalised axes are the columns, flattened in C
order. With d = x - mean (d = x in rms_norm), rstd = 1/sqrt(mean(d^2) + eps), xhat = d * rstd, and h = dy *
weight:

    y       = xhat * weight + bias
    dx      = rstd * (h - mean(h) - xhat * mean(h * xhat))      without mean(h) in rms_norm
    dweight = sum of dy * xhat over the rows
    dbias   = sum of dy over the rows

normalize has rstd = 1 / max(sqrt(sum(x^2)), eps) and sums for means, and is x / eps where that is more.
"""

from __future__ import annotations

import math

import numpy as np

from .._arguments.rules import Axes
from .._typing import Array
from ._results import result, statistic


def layer_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    axes: Axes,
    eps: float,
    return_stats: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]:
    """Twin of `fastnorm.layer_norm`."""
    with np.errstate(all="ignore"):
        xhat, mean, rstd = normalise(to_rows(x, axes), eps, centre=True)
        y = from_rows(affine(xhat, factor(weight), bias), x.shape, axes)
    y = result(y, x, out)
    return (y, one_per_row(mean, x, axes), one_per_row(rstd, x, axes)) if return_stats else y


def layer_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    axes: Axes,
    eps: float,
    stats: tuple[Array, Array] | None,
) -> tuple[Array, Array | None, Array | None]:
    """Twin of `fastnorm.layer_norm_backward`."""
    with np.errstate(all="ignore"):
        rows, dy_rows = to_rows(x, axes), to_rows(dy, axes)
        if stats is None:
            xhat, _, rstd = normalise(rows, eps, centre=True)
        else:
            mean, rstd = map(column, stats)
            # The mean has been rounded: what it lacks is the mean of the deviations.
            xhat = ((rows - mean) - average(rows - mean)) * rstd
        h = dy_rows * factor(weight)
        dx = rstd * (h - average(h) - xhat * average(h * xhat))
        dweight = parameter_gradient(dy_rows * xhat, weight, x, axes)
        dbias = parameter_gradient(dy_rows, bias, x, axes)
    return (
        result(from_rows(dx, x.shape, axes), x),
        axes.user_order(dweight),
        axes.user_order(dbias),
    )


def rms_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    axes: Axes,
    eps: float,
    weight_offset: float,
    fraction: float | None,
    return_stats: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Twin of `fastnorm.rms_norm`."""
    with np.errstate(all="ignore"):
        xhat, _, rstd = normalise(to_rows(x, axes), eps, centre=False, fraction=fraction)
        y = from_rows(affine(xhat, factor(weight, weight_offset), bias), x.shape, axes)
    y = result(y, x, out)
    return (y, one_per_row(rstd, x, axes)) if return_stats else y


def rms_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    axes: Axes,
    eps: float,
    weight_offset: float,
    fraction: float | None,
    stats: Array | None,
) -> tuple[Array, Array | None, Array | None]:
    """Twin of `fastnorm.rms_norm_backward`."""
    with np.errstate(all="ignore"):
        rows, dy_rows = to_rows(x, axes), to_rows(dy, axes)
        if stats is None:
            xhat, _, rstd = normalise(rows, eps, centre=False, fraction=fraction)
        else:
            rstd = column(stats)
            xhat = rows * rstd
        h = dy_rows * factor(weight, weight_offset)
        # Only the columns that enter the mean square pass the gradient of rstd on.
        counted = count(rows, fraction)
        dx = rstd * h
        dx[:, :counted] -= rstd * xhat[:, :counted] * (np.sum(h * xhat, axis=1, keepdims=True) / counted)
        dweight = parameter_gradient(dy_rows * xhat, weight, x, axes)
        dbias = parameter_gradient(dy_rows, bias, x, axes)
    return (
        result(from_rows(dx, x.shape, axes), x),
        axes.user_order(dweight),
        axes.user_order(dbias),
    )


def normalize(x: Array, axes: Axes, eps: float, out: Array | None = None) -> Array:
    """Twin of `fastnorm.normalize`."""
    with np.errstate(all="ignore"):
        y, _, _ = to_unit_length(to_rows(x, axes), eps)
    return result(from_rows(y, x.shape, axes), x, out)


def normalize_backward(dy: Array, x: Array, axes: Axes, eps: float) -> Array:
    """Twin of `fastnorm.normalize_backward`."""
    with np.errstate(all="ignore"):
        dy_rows = to_rows(dy, axes)
        y, rstd, clamped = to_unit_length(to_rows(x, axes), eps)
        along = np.where(clamped, 0.0, y * np.sum(dy_rows * y, axis=1, keepdims=True))
        dx = rstd * (dy_rows - along)
    return result(from_rows(dx, x.shape, axes), x)


def to_unit_length(rows: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return the rows divided by the larger of their length and `eps`, its inverse as a column, and whether
    it is `eps`.

    Each row is divided by a power of two near its largest element or `eps`, as in `normalise`.
    """
    peak = np.max(np.abs(rows), axis=1, keepdims=True, initial=eps)
    exponent = np.where(np.isfinite(peak), np.frexp(peak)[1], 0)
    scaled, least = np.ldexp(rows, -exponent), np.ldexp(eps, -exponent)
    length = np.sqrt(np.sum(np.square(scaled), axis=1, keepdims=True))
    clamped = length < least
    length = np.where(clamped, least, length)
    return scaled / length, np.ldexp(1.0 / length, -exponent), clamped


def normalise(
    rows: Array, eps: float, *, centre: bool, fraction: float | None = None
) -> tuple[Array, Array, Array]:
    """Return xhat, mean and rstd of each row, the latter two as columns (the mean is 0 without `centre`).

    Each row is divided by a power of two near its largest element, so that no square overflows or vanishes.
    """
    peak = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    exponent = np.where(np.isfinite(peak), np.frexp(peak)[1], 0)
    scaled = np.ldexp(rows, -exponent)
    mean = np.zeros_like(peak)
    if centre:
        mean = average(scaled)
        # The second subtraction removes what rounding the mean has left.
        scaled = scaled - mean
        mean = mean + average(scaled)
        scaled = scaled - average(scaled)
    rms = np.sqrt(average(np.square(scaled[:, : count(rows, fraction)])))
    spread = np.hypot(rms, np.ldexp(math.sqrt(eps), -exponent))
    return scaled / spread, np.ldexp(mean, exponent), np.ldexp(1.0 / spread, -exponent)


def average(rows: Array) -> Array:
    """Return the mean of each row as a column, NaN for rows of no columns."""
    mean: Array = np.sum(rows, axis=1, keepdims=True) / np.float64(rows.shape[1])
    return mean


def count(rows: Array, fraction: float | None) -> int:
    """Return how many columns enter the mean square."""
    cols: int = rows.shape[1]
    return cols if fraction is None else math.ceil(cols * fraction)


def factor(weight: Array | None, weight_offset: float = 0.0) -> Array:
    """Return what xhat is multiplied by, one number for each column or 1 for all."""
    return np.ones(1) if weight is None else weight_offset + weight.astype(np.float64).ravel()


def affine(xhat: Array, weight: Array, bias: Array | None) -> Array:
    """Return y for each row."""
    y: Array = xhat * weight
    return y if bias is None else y + bias.astype(np.float64).ravel()


def to_rows(x: Array, axes: tuple[int, ...]) -> Array:
    """Return x in float64 as (rows, cols), the normalised axes being the columns."""
    cols = math.prod(x.shape[axis] for axis in axes)
    rows = math.prod(size for axis, size in enumerate(x.shape) if axis not in axes)
    return np.moveaxis(x, axes, range(-len(axes), 0)).astype(np.float64, order="C").reshape(rows, cols)


def from_rows(rows: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return the rows as an array of this shape, undoing `to_rows`."""
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return np.moveaxis(rows.reshape(kept + tuple(shape[axis] for axis in axes)), range(-len(axes), 0), axes)


def column(values: Array) -> Array:
    """Return a statistic in float64 with one row for each row of x."""
    return values.astype(np.float64).reshape(-1, 1)


def one_per_row(values: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """Return a column of statistics in the shape of x without the normalised axes."""
    kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    return statistic(values.reshape(kept), x)


def parameter_gradient(
    terms: Array, parameter: Array | None, x: Array, axes: tuple[int, ...]
) -> Array | None:
    """Return the sum of the terms over the rows in the shape of the parameter, None where there is no
    parameter.
    """
    if parameter is None:
        return None
    shape = tuple(x.shape[axis] for axis in axes)
    return statistic(np.sum(terms, axis=0).reshape(shape), x)
