"""NumPy twins of the norms of a sum: the norms of `norms` on ``summed = x + alpha * residual``.

With ds the gradient that the norm's backward gives for the sum, ``dx = ds + dsummed`` and ``dresidual = alpha
* dx``.
"""

from __future__ import annotations

import numpy as np

from .._arguments.rules import Axes
from .._typing import Array
from ._results import result
from .norms import affine, average, factor, from_rows, normalise, parameter_gradient, to_rows


def add_layer_norm(
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
    out: tuple[Array, Array] | None,
) -> tuple[Array, Array]:
    """Twin of `fastnorm.add_layer_norm`."""
    y, summed = norm_of_sum(x, residual, weight, bias, alpha, axes, eps, centre=True)
    to_y, to_summed = (None, None) if out is None else out
    return result(y, x, to_y), result(summed, x, to_summed)


def add_layer_norm_backward(
    dy: Array | None,
    dsummed: Array | None,
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Twin of `fastnorm.add_layer_norm_backward`."""
    dx, dresidual, dweight, dbias = norm_of_sum_backward(
        dy, dsummed, x, residual, weight, bias, alpha, axes, eps, centre=True
    )
    return (
        dx,
        dresidual,
        axes.user_order(dweight),
        axes.user_order(dbias),
    )


def add_rms_norm(
    x: Array,
    residual: Array,
    weight: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
    weight_offset: float,
    out: tuple[Array, Array] | None,
) -> tuple[Array, Array]:
    """Twin of `fastnorm.add_rms_norm`."""
    y, summed = norm_of_sum(x, residual, weight, None, alpha, axes, eps, weight_offset, centre=False)
    to_y, to_summed = (None, None) if out is None else out
    return result(y, x, to_y), result(summed, x, to_summed)


def add_rms_norm_backward(
    dy: Array | None,
    dsummed: Array | None,
    x: Array,
    residual: Array,
    weight: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
    weight_offset: float,
) -> tuple[Array, Array, Array | None]:
    """Twin of `fastnorm.add_rms_norm_backward`."""
    dx, dresidual, dweight, _ = norm_of_sum_backward(
        dy, dsummed, x, residual, weight, None, alpha, axes, eps, weight_offset, centre=False
    )
    return dx, dresidual, axes.user_order(dweight)


def deep_norm(
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
    out: Array | None = None,
) -> Array:
    """Twin of `fastnorm.deep_norm`."""
    y, _ = norm_of_sum(x, residual, weight, bias, alpha, axes, eps, centre=True)
    return result(y, x, out)


def deep_norm_backward(
    dy: Array,
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: Axes,
    eps: float,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Twin of `fastnorm.deep_norm_backward`."""
    dx, dresidual, dweight, dbias = norm_of_sum_backward(
        dy, None, x, residual, weight, bias, alpha, axes, eps, centre=True
    )
    return (
        dx,
        dresidual,
        axes.user_order(dweight),
        axes.user_order(dbias),
    )


def scale(alpha: float, x: Array) -> np.float64:
    """Return alpha rounded to the type that the op computes in."""
    with np.errstate(all="ignore"):
        return np.float64(alpha if x.dtype == np.float64 else np.float32(alpha))


def add(x: Array, residual: Array, alpha: float) -> Array:
    """Return the sum in float64."""
    with np.errstate(all="ignore"):
        total: Array = x.astype(np.float64) + scale(alpha, x) * residual.astype(np.float64)
    return total


def norm_of_sum(
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: tuple[int, ...],
    eps: float,
    weight_offset: float = 0.0,
    *,
    centre: bool,
) -> tuple[Array, Array]:
    """Return y and the sum in float64."""
    summed = add(x, residual, alpha)
    with np.errstate(all="ignore"):
        xhat, _, _ = normalise(to_rows(summed, axes), eps, centre=centre)
        return from_rows(affine(xhat, factor(weight, weight_offset), bias), x.shape, axes), summed


def norm_of_sum_backward(
    dy: Array | None,
    dsummed: Array | None,
    x: Array,
    residual: Array,
    weight: Array | None,
    bias: Array | None,
    alpha: float,
    axes: tuple[int, ...],
    eps: float,
    weight_offset: float = 0.0,
    *,
    centre: bool,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Return dx, dresidual, dweight and dbias, the latter two with ascending axes."""
    rows = to_rows(add(x, residual, alpha), axes)
    dx, dy_rows, xhat = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    with np.errstate(all="ignore"):
        if dy is not None:
            dy_rows = to_rows(dy, axes)
            xhat, _, rstd = normalise(rows, eps, centre=centre)
            h = dy_rows * factor(weight, weight_offset)
            dx = rstd * (h - (average(h) if centre else 0.0) - xhat * average(h * xhat))
        if dsummed is not None:
            dx = dx + to_rows(dsummed, axes)
        dresidual = scale(alpha, x) * dx
        dweight = parameter_gradient(dy_rows * xhat, weight, x, axes)
        dbias = parameter_gradient(dy_rows, bias, x, axes)
    return (
        result(from_rows(dx, x.shape, axes), x),
        result(from_rows(dresidual, x.shape, axes), x),
        dweight,
        dbias,
    )
