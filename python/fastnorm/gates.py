"""Gated linear units: glu, swiglu, geglu, reglu and bilinear, forward and backward.

Each is an activation of a gate times a linear part. The two are separate arrays or the halves of one packed array, in
which the gate is the first half; only in `glu`, which follows PyTorch, it is the second.
"""

from __future__ import annotations

from typing import SupportsIndex, overload

from ._backend import active
from ._typing import Approximation, Array, ArrayLike

__all__ = ["bilinear", "bilinear_backward", "geglu", "geglu_backward", "reglu", "reglu_backward"]


def geglu(
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Multiply by a gelu gate: GEGLU.

    ``y = gelu(gate) * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate` is a
        packed array: its first half along `axis` is the gate, its second half `up`. The halves are not copied.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        The form of gelu, as in `gelu`. Shazeer's GEGLU is exact; Gemma uses ``'tanh'``.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 2.5 ULP in float32 and 4.5 ULP in float64: gelu within its own bound times two at most, and one
    rounded product. Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.geglu(np.array([1.0, -2.0]), np.array([3.0, 0.5])).round(4)
    array([ 2.524 , -0.0228])
    >>> fastnorm.geglu(np.array([1.0, -2.0, 3.0, 0.5])).round(4)  # the same, packed
    array([ 2.524 , -0.0228])
    """
    return active.geglu(gate, up, approximate=approximate, axis=axis, out=out)


@overload
def geglu_backward(
    dy: ArrayLike, gate: ArrayLike, up: None = None, *, approximate: Approximation = "none", axis: SupportsIndex = -1
) -> Array: ...
@overload
def geglu_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike, *, approximate: Approximation = "none", axis: SupportsIndex = -1
) -> tuple[Array, Array]: ...
def geglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
) -> Array | tuple[Array, Array]:
    """Gradients of `geglu` with respect to gate and up.

    ``dgate = dy * up * gelu'(gate)`` and ``dup = dy * gelu(gate)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    gate, up : array_like
        The arguments of the forward.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        As in the forward.
    axis : int, default -1
        As in the forward.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array, which holds
        both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: dup as y in the forward; dgate below 5.5 ULP in float32, as long as the product dy * up, which is formed
    first, neither overflows nor is subnormal.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dgate, dup = fastnorm.geglu_backward(np.ones(2), np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    >>> dgate.round(4)
    array([ 3.2499, -0.0426])
    >>> fastnorm.geglu_backward(np.ones(2), np.array([1.0, -2.0, 3.0, 0.5])).round(4)  # packed
    array([ 3.2499, -0.0426,  0.8413, -0.0455])
    """
    return active.geglu_backward(dy, gate, up, approximate=approximate, axis=axis)


def reglu(gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None) -> Array:
    """Multiply by a rectified gate: ReGLU.

    ``y = max(gate, 0) * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate` is a
        packed array: its first half along `axis` is the gate, its second half `up`. The halves are not copied.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: correctly rounded. A NaN in either gives NaN.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.reglu(np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    array([3., 0.])
    >>> fastnorm.reglu(np.array([1.0, -2.0, 3.0, 0.5]))  # the same, packed
    array([3., 0.])
    """
    return active.reglu(gate, up, axis=axis, out=out)


@overload
def reglu_backward(dy: ArrayLike, gate: ArrayLike, up: None = None, *, axis: SupportsIndex = -1) -> Array: ...
@overload
def reglu_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike, *, axis: SupportsIndex = -1
) -> tuple[Array, Array]: ...
def reglu_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1
) -> Array | tuple[Array, Array]:
    """Gradients of `reglu` with respect to gate and up.

    ``dgate = dy * up`` where gate is positive and 0 elsewhere, ``dup = dy * max(gate, 0)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    gate, up : array_like
        The arguments of the forward.
    axis : int, default -1
        As in the forward.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array, which holds
        both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: correctly rounded. A NaN in `gate` gives NaN in both.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dgate, dup = fastnorm.reglu_backward(np.ones(2), np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    >>> dgate
    array([3., 0.])
    >>> fastnorm.reglu_backward(np.ones(2), np.array([1.0, -2.0, 3.0, 0.5]))  # packed
    array([3., 0., 1., 0.])
    """
    return active.reglu_backward(dy, gate, up, axis=axis)


def bilinear(
    gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None
) -> Array:
    """Multiply by a gate without an activation: the bilinear layer.

    ``y = gate * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate` is a
        packed array: its first half along `axis` is the gate, its second half `up`. The halves are not copied.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: correctly rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.bilinear(np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    array([ 3., -1.])
    >>> fastnorm.bilinear(np.array([1.0, -2.0, 3.0, 0.5]))  # the same, packed
    array([ 3., -1.])
    """
    return active.bilinear(gate, up, axis=axis, out=out)


@overload
def bilinear_backward(dy: ArrayLike, gate: ArrayLike, up: None = None, *, axis: SupportsIndex = -1) -> Array: ...
@overload
def bilinear_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike, *, axis: SupportsIndex = -1
) -> tuple[Array, Array]: ...
def bilinear_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1
) -> Array | tuple[Array, Array]:
    """Gradients of `bilinear` with respect to gate and up.

    ``dgate = dy * up`` and ``dup = dy * gate``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    gate, up : array_like
        The arguments of the forward.
    axis : int, default -1
        As in the forward.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array, which holds
        both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: correctly rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads and on
    any CPU with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dgate, dup = fastnorm.bilinear_backward(np.ones(2), np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    >>> dgate
    array([3. , 0.5])
    >>> fastnorm.bilinear_backward(np.ones(2), np.array([1.0, -2.0, 3.0, 0.5]))  # packed
    array([ 3. ,  0.5,  1. , -2. ])
    """
    return active.bilinear_backward(dy, gate, up, axis=axis)
