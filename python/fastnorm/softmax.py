"""Probabilities from scores: softmax and log_softmax, forward and backward."""

from __future__ import annotations

from ._op import op
from ._typing import Array, ArrayLike, Axis

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


@op
def softmax(x: ArrayLike, *, axis: Axis = -1, out: Array | None = None) -> Array:
    """Exponentials along an axis, divided by their sum.

    ``y = exp(x) / sum(exp(x))``, without overflow.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of at least one dimension, with any strides.
    axis : int, tuple of int or None, default -1
        The axis or axes along which results add up to 1, all of them for None. The default is the last axis;
        SciPy's is None.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. Finite for finite x. Where
        the largest element along the axis is not finite (only -inf, or +inf), or one is NaN, all are NaN, as
        in PyTorch and SciPy; other elements of -inf give 0.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 5 ULP in float32, and below 4 unless few elements dominate a row, also where results are
    tiny; sums are folded into float64. Half types are computed in float32 and rounded once.

    Reproducibility: the results along the axis have the same bits for any number of threads, any other rows
    in the batch, any strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.softmax(np.array([[1.0, 2.0, 3.0], [1000.0, 1000.0, -np.inf]])).round(4)
    array([[0.09  , 0.2447, 0.6652],
           [0.5   , 0.5   , 0.    ]])
    """


@op
def softmax_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    axis: Axis = -1,
    y: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `softmax` with respect to x.

    ``dx = y * (dy - sum(dy * y))``; y is computed again from x unless it is given.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    axis : int, tuple of int or None, default -1
        As in the forward.
    y : array_like, optional
        The forward's result, of x's shape and dtype. With it nothing is computed again, and the values of x
        are not read.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 a few ULP of ``y * (abs(dy) + sum(abs(dy) * y))``. A given y has been
    rounded, by half a ULP: for half types, which are computed in float32, that is most of the error.

    Reproducibility: as in the forward.

    References
    ----------
    Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.softmax_backward(np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])).round(4)
    array([ 0.0819, -0.022 , -0.0599])
    """


@op
def log_softmax(x: ArrayLike, *, axis: Axis = -1, out: Array | None = None) -> Array:
    """Logarithm of `softmax`.

    ``y = x - log(sum(exp(x)))``, without overflow and without a loss of digits near 0.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of at least one dimension, with any strides.
    axis : int, tuple of int or None, default -1
        The axis along which the exponentials of the results add up to 1. The default is the last axis.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. NaN as in `softmax`; other
        elements of -inf stay -inf.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 3 ULP in float32, also for the largest element where it is near 0, which other libraries
    round to exactly 0. Half types are computed in float32 and rounded once.

    Reproducibility: as in `softmax`.

    References
    ----------
    Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.log_softmax(np.array([1.0, 2.0, 3.0])).round(4)
    array([-2.4076, -1.4076, -0.4076])
    >>> fastnorm.log_softmax(np.array([0.0, 40.0]))
    array([-4.00000000e+01, -4.24835426e-18])
    """


@op
def log_softmax_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    axis: Axis = -1,
    y: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `log_softmax` with respect to x.

    ``dx = dy - softmax(x) * sum(dy)``; softmax(x) is computed again from x, or is ``exp(y)`` if y is given.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    axis : int, tuple of int or None, default -1
        As in the forward.
    y : array_like, optional
        The forward's result, of x's shape and dtype. With it nothing is computed again, and the values of x
        are not read.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 a few ULP of ``abs(dy) + softmax(x) * sum(abs(dy))``. A given y has
    been rounded, which ``exp(y)`` magnifies ``abs(y)`` times.

    Reproducibility: as in `softmax`.

    References
    ----------
    Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.log_softmax_backward(np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])).round(4)
    array([ 0.91  , -0.2447, -0.6652])
    """
