"""Norms of a sum with a residual: add_layer_norm, add_rms_norm and deep_norm, forward and backward."""

from __future__ import annotations

from ._backend import active
from ._typing import Array, ArrayLike, Axis

__all__ = [
    "add_layer_norm",
    "add_layer_norm_backward",
    "add_rms_norm",
    "add_rms_norm_backward",
    "deep_norm",
    "deep_norm_backward",
]


def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-5,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Add a residual and normalise the sum as `layer_norm` does, in one pass.

    ``summed = x + alpha * residual`` and ``y = layer_norm(summed, weight, bias, axis=axis, eps=eps)``. A pre-norm block
    of a transformer reads y and passes `summed` on.

    Parameters
    ----------
    x, residual : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, of at least one dimension, with any strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half type.
        Left out, they count as 1 and 0.
    alpha : float, default 1.0
        Factor of the residual, rounded to the type that is computed in (float32, or float64 for float64).
    axis : int or tuple of int, default -1
        The axes that are normalised jointly. The default is the last axis, as in NumPy.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's (ONNX Runtime's SkipLayerNormalization has 1e-12).
    out : tuple of ndarray, optional
        ``(y, summed)`` take the results: each of x's shape and dtype, exactly x or residual or overlapping no input,
        and apart from each other.

    Returns
    -------
    y, summed : ndarray
        Of x's shape, dtype and order of axes in memory; the arrays of `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: as for `layer_norm`, with one rounding more, that of the sum to float32 (float64 for float64), where the
    mean of the row is within two deviations of 0; rows further away are summed in float64. For half types y is computed
    from the unrounded sum, not from the half type of `summed`.

    Reproducibility: as for `layer_norm`.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1, 2, 3, 4]], dtype=np.float32)
    >>> residual = np.array([[3, 2, 1, 4]], dtype=np.float32)
    >>> y, summed = fastnorm.add_layer_norm(x, residual)
    >>> summed
    array([[4., 4., 4., 8.]], dtype=float32)
    >>> y.round(3)
    array([[-0.577, -0.577, -0.577,  1.732]], dtype=float32)
    """
    return active.add_layer_norm(x, residual, weight, bias, alpha=alpha, axis=axis, eps=eps, out=out)


def add_layer_norm_backward(
    dy: ArrayLike | None,
    dsummed: ArrayLike | None,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `add_layer_norm` with respect to x, residual, weight and bias, in one pass.

    With ds the gradient that `layer_norm_backward` gives for the sum: ``dx = ds + dsummed``,
    ``dresidual = alpha * dx``. The sum is made again from x and residual.

    Parameters
    ----------
    dy, dsummed : array_like or None
        Gradients of the loss with respect to y and to the sum, of x's shape and dtype. None stands for zeros; one of
        the two must be given.
    x, residual, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    alpha, axis, eps
        As in the forward.

    Returns
    -------
    dx, dresidual : ndarray
        Two arrays of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        Of the parameter's shape, None where it was None; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: as for `layer_norm_backward`.

    Reproducibility: as for `layer_norm_backward`.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dy = np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> dx, dresidual, dweight, dbias = fastnorm.add_layer_norm_backward(dy, dy, x, np.zeros_like(x), alpha=2.0)
    >>> dx.round(4)
    array([[ 1.2683, -0.3578, -0.0894,  0.1789]])
    >>> bool((dresidual == 2 * dx).all())
    True
    """
    return active.add_layer_norm_backward(dy, dsummed, x, residual, weight, bias, alpha=alpha, axis=axis, eps=eps)


def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-6,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Add a residual and normalise the sum as `rms_norm` does, in one pass.

    ``summed = x + alpha * residual`` and ``y = rms_norm(summed, weight, axis=axis, eps=eps)``. A block of LLaMA and its
    successors reads y and passes `summed` on.

    Parameters
    ----------
    x, residual : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, of at least one dimension, with any strides.
    weight : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half type.
        Left out, it counts as 1.
    alpha : float, default 1.0
        Factor of the residual, rounded to the type that is computed in (float32, or float64 for float64).
    axis : int or tuple of int, default -1
        The axes that are normalised jointly. The default is the last axis, as in NumPy.
    eps : float, default 1e-6
        Added to the mean square inside the root; the default is LLaMA's.
    out : tuple of ndarray, optional
        ``(y, summed)`` take the results: each of x's shape and dtype, exactly x or residual or overlapping no input,
        and apart from each other.

    Returns
    -------
    y, summed : ndarray
        Of x's shape, dtype and order of axes in memory; the arrays of `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: as for `rms_norm`, with one rounding more, that of the sum to float32 (float64 for float64). For half
    types y is computed from the float32 sum, before that is rounded to the half type of `summed`, and the weight is
    applied before y is rounded (LLaMA rounds before it applies the weight).

    Reproducibility: as for `rms_norm`.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1, 2, 3, 4]], dtype=np.float32)
    >>> y, summed = fastnorm.add_rms_norm(x, x, alpha=-0.5)
    >>> summed
    array([[0.5, 1. , 1.5, 2. ]], dtype=float32)
    >>> y.round(3)
    array([[0.365, 0.73 , 1.095, 1.461]], dtype=float32)
    """
    return active.add_rms_norm(x, residual, weight, alpha=alpha, axis=axis, eps=eps, out=out)


def add_rms_norm_backward(
    dy: ArrayLike | None,
    dsummed: ArrayLike | None,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-6,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `add_rms_norm` with respect to x, residual and weight, in one pass.

    With ds the gradient that `rms_norm_backward` gives for the sum: ``dx = ds + dsummed``, ``dresidual = alpha * dx``.
    The sum is made again from x and residual.

    Parameters
    ----------
    dy, dsummed : array_like or None
        Gradients of the loss with respect to y and to the sum, of x's shape and dtype. None stands for zeros; one of
        the two must be given.
    x, residual, weight : array_like
        The arguments of the forward.
    alpha, axis, eps
        As in the forward.

    Returns
    -------
    dx, dresidual : ndarray
        Two arrays of x's shape, dtype and order of axes in memory.
    dweight : ndarray or None
        Of the weight's shape, None where it was None; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: as for `rms_norm_backward`.

    Reproducibility: as for `rms_norm_backward`.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dy = np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> dx, dresidual, dweight = fastnorm.add_rms_norm_backward(dy, None, x, np.zeros_like(x))
    >>> dx.round(4)
    array([[ 0.353 , -0.0243, -0.0365, -0.0487]])
    """
    return active.add_rms_norm_backward(dy, dsummed, x, residual, weight, alpha=alpha, axis=axis, eps=eps)


def deep_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float,
    axis: Axis = -1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array:
    """Normalise a sum in which the residual counts `alpha` times: the norm after each sub-layer of DeepNet.

    ``y = layer_norm(alpha * residual + x, weight, bias, axis=axis, eps=eps)`` with ``x = f(residual)``, f being the
    sub-layer. `deep_norm_constants` gives alpha for a depth, and beta for `deep_norm_init`.

    Parameters
    ----------
    x, residual : array_like
        The result of the sub-layer and what went into it: float32, float64, float16 or bfloat16, of one shape and
        dtype, of at least one dimension, with any strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half type.
        Left out, they count as 1 and 0.
    alpha : float
        Factor of the residual, not of x; rounded to the type that is computed in (float32, or float64 for float64).
    axis : int or tuple of int, default -1
        The axes that are normalised jointly. The default is the last axis, as in NumPy.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: as for `add_layer_norm`, of which this is the first result.

    Reproducibility: as for `add_layer_norm`.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> alpha, beta = fastnorm.deep_norm_constants(encoder_layers=6).encoder
    >>> residual = np.array([[1, 2, 3, 4]], dtype=np.float32)
    >>> fastnorm.deep_norm(np.zeros_like(residual), residual, alpha=alpha).round(3)
    array([[-1.342, -0.447,  0.447,  1.342]], dtype=float32)
    """
    return active.deep_norm(x, residual, weight, bias, alpha=alpha, axis=axis, eps=eps, out=out)


def deep_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `deep_norm` with respect to x, residual, weight and bias, in one pass.

    dx is what `layer_norm_backward` gives for the sum; ``dresidual = alpha * dx``, to which the gradient that goes
    through the sub-layer is to be added.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, residual, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    alpha, axis, eps
        As in the forward.

    Returns
    -------
    dx, dresidual : ndarray
        Two arrays of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        Of the parameter's shape, None where it was None; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: as for `layer_norm_backward`.

    Reproducibility: as for `layer_norm_backward`.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> residual = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dy = np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> dx, dresidual, _, _ = fastnorm.deep_norm_backward(dy, np.zeros_like(residual), residual, alpha=2.0)
    >>> dresidual.round(4)
    array([[ 0.2683, -0.3578, -0.0894,  0.1789]])
    """
    return active.deep_norm_backward(dy, x, residual, weight, bias, alpha=alpha, axis=axis, eps=eps)
