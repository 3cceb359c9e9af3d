"""Normalisation: layer_norm, rms_norm and normalize, forward and backward."""

from __future__ import annotations

from typing import Literal, overload

from ._op import op
from ._typing import Array, ArrayLike, Axis

__all__ = [
    "layer_norm",
    "layer_norm_backward",
    "normalize",
    "normalize_backward",
    "rms_norm",
    "rms_norm_backward",
]


@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Array, Array]: ...
@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    return_stats: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]: ...
@op
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]:
    """Subtract the mean and divide by the standard deviation along one or several axes.

    ``y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, where `var` is the mean of the squared
    deviations (biased, as in PyTorch).

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of at least one dimension, with any strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half
        type. Left out, they count as 1 and 0.
    axis : int, tuple of int or None, default -1
        The axes that are normalised jointly, all of them for None. The default is the last axis.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's.
    return_stats : bool, default False
        Whether to return the statistics too, for the backward.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. Rows of no elements give an
        empty result and NaN statistics.
    mean, rstd : ndarray
        Only with `return_stats`: the mean and ``1 / sqrt(var + eps)``, shaped like x without the normalised
        axes; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * (abs(xhat * weight) + abs(weight) + abs(bias))``
    with ``xhat = (x - mean) * rstd``, also where the mean is a million times the deviation and up to the
    largest float. Half types are computed in float32 and rounded once.

    Reproducibility: a row has the same bits for any number of threads, any other rows in the batch, any
    strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1, 2, 3, 4], [10, 10, 10, 14]], dtype=np.float32)
    >>> fastnorm.layer_norm(x).round(3)
    array([[-1.342, -0.447,  0.447,  1.342],
           [-0.577, -0.577, -0.577,  1.732]], dtype=float32)
    >>> y, mean, rstd = fastnorm.layer_norm(x, return_stats=True)
    >>> mean
    array([ 2.5, 11. ], dtype=float32)
    """


@op
def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `layer_norm` with respect to x, weight and bias.

    With ``xhat = (x - mean) * rstd`` and ``h = dy * weight``, the means being those of a row and the sums
    those over the rows: ``dx = rstd * (h - mean(h) - xhat * mean(h * xhat))``, ``dweight = sum(dy * xhat)``,
    ``dbias = sum(dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    axis : int, tuple of int or None, default -1
        As in the forward.
    eps : float, default 1e-5
        As in the forward; not used where `stats` are given.
    stats : tuple of array_like, optional
        ``(mean, rstd)`` as the forward returns them with ``return_stats=True``. Left out, they are computed
        again. What the mean lost when it was rounded is made good.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        Of the parameter's shape, None where it was None; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is at most 1e-6.

    Reproducibility: dx as the forward. dweight and dbias have the same bits for any number of threads; they
    depend on all rows and on the order of the rows.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dy = np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> dx, dweight, dbias = fastnorm.layer_norm_backward(dy, x, np.ones(4))
    >>> dx.round(4)
    array([[ 0.2683, -0.3578, -0.0894,  0.1789]])
    >>> print(dbias)
    None
    """


@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Array]: ...
@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    return_stats: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
@op
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Divide by the root of the mean square along one or several axes.

    ``y = x / sqrt(mean(x**2) + eps) * (weight_offset + weight) + bias``; the mean is not subtracted.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of at least one dimension, with any strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half
        type. Without `weight` the factor is 1, whatever `weight_offset` is.
    axis : int, tuple of int or None, default -1
        The axes that are normalised jointly, all of them for None. The default is the last axis.
    eps : float, default 1e-6
        Added to the mean square, inside the root, as in LLaMA and PyTorch; the default is LLaMA's.
    weight_offset : float, default 0.0
        Added to `weight`: 1.0 is Gemma's ``(1 + weight)``.
    fraction : float, optional
        More than 0 and at most 1: only the first ``ceil(n * fraction)`` of the n normalised elements, in C
        order, enter the mean square, and all are divided by its root (pRMSNorm).
    return_stats : bool, default False
        Whether to return rstd too, for the backward.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. Rows of no elements give an
        empty result and NaN statistics.
    rstd : ndarray
        Only with `return_stats`: ``1 / sqrt(mean(x**2) + eps)``, shaped like x without the normalised axes;
        float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * (abs(xhat * w) + abs(w) + abs(bias))`` with
    ``xhat = x * rstd`` and ``w = weight_offset + weight``, also up to the largest float. Half types are
    computed in float32 and rounded once, after the multiplication by the weight (LLaMA's code rounds before
    it).

    Reproducibility: a row has the same bits for any number of threads, any other rows in the batch, any
    strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[3, 4], [6, 8]], dtype=np.float32)
    >>> fastnorm.rms_norm(x).round(4)
    array([[0.8485, 1.1314],
           [0.8485, 1.1314]], dtype=float32)
    >>> fastnorm.rms_norm(x, np.zeros(2, dtype=np.float32), weight_offset=1.0, fraction=0.5).round(4)
    array([[1.    , 1.3333],
           [1.    , 1.3333]], dtype=float32)
    """


@op
def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    stats: ArrayLike | None = None,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `rms_norm` with respect to x, weight and bias.

    With ``xhat = x * rstd`` and ``h = dy * (weight_offset + weight)``, the means being those of a row and the
    sums those over the rows: ``dx = rstd * (h - xhat * mean(h * xhat))``, ``dweight = sum(dy * xhat)``,
    ``dbias = sum(dy)``. With `fraction` and ``k = ceil(n * fraction)``, the second term of dx is
    ``xhat * sum(h * xhat) / k`` in the first k elements and 0 in the others.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    axis, eps, weight_offset, fraction
        As in the forward; `eps` is not used where `stats` are given.
    stats : array_like, optional
        rstd as the forward returns it with ``return_stats=True``. Left out, it is computed again.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        Of the parameter's shape, None where it was None; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is at most 1e-6.

    Reproducibility: dx as the forward. dweight and dbias have the same bits for any number of threads; they
    depend on all rows and on the order of the rows.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dy = np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> dx, dweight, dbias = fastnorm.rms_norm_backward(dy, x, np.ones(4))
    >>> dx.round(4)
    array([[ 0.353 , -0.0243, -0.0365, -0.0487]])
    >>> dweight.round(4)
    array([0.3651, 0.    , 0.    , 0.    ])
    """


@op
def normalize(x: ArrayLike, *, axis: Axis = -1, eps: float = 1e-12, out: Array | None = None) -> Array:
    """Divide by the Euclidean length along one or several axes.

    ``y = x / max(sqrt(sum(x**2)), eps)``: vectors of length 1, whose products are cosines.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, of at least one dimension, with any strides.
    axis : int, tuple of int or None, default -1
        The axes along which the length is taken, all of them for None. The default is the last axis;
        PyTorch's is axis 1.
    eps : float, default 1e-12
        Shorter vectors are divided by it instead; the default is PyTorch's. It keeps its value for half
        types.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. Vectors of zeros stay
        zeros (with ``eps=0`` they give NaN); beside an infinity the finite elements are 0 and itself is NaN,
        as in PyTorch.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * abs(exact)``, also where squares overflow or vanish.
    Half types are computed in float32 and rounded once.

    Reproducibility: the results along the axis have the same bits for any number of threads, any other rows
    in the batch, any strides and alignment, and any CPU with fused multiply-add.

    References
    ----------
    Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", arXiv:1704.06369 (2017).

    See Also
    --------
    rms_norm : by the root of the mean square, with weight and bias.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.normalize(np.array([[3, 4], [0, 0]], dtype=np.float32))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """


@op
def normalize_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    axis: Axis = -1,
    eps: float = 1e-12,
    out: Array | None = None,
) -> Array:
    """Gradient of `normalize` with respect to x.

    ``dx = (dy - y * sum(dy * y)) / length``, and ``dy / eps`` where the length is less than `eps`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    axis, eps
        As in the forward.
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
    Accuracy: in float32 the relative error of the gradient (norm of the difference) is at most 1e-6, unless
    dy is all but parallel to x, where it cancels.

    Reproducibility: as the forward.

    References
    ----------
    Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", arXiv:1704.06369 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.normalize_backward(np.array([[1.0, 0.0]]), np.array([[3.0, 4.0]])).round(4)
    array([[ 0.128, -0.096]])
    """
