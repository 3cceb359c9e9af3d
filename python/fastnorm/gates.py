"""Gated linear units: glu, swiglu, geglu, reglu and bilinear, forward and backward.

Each is an activation of a gate times a linear part. The two are separate arrays or the halves of one packed
array, in which the gate is the first half; only in `glu`, which follows PyTorch, it is the second.
"""

from __future__ import annotations

from typing import SupportsIndex, overload

from ._op import op
from ._typing import Approximation, Array, ArrayLike

__all__ = [
    "bilinear",
    "bilinear_backward",
    "geglu",
    "geglu_backward",
    "glu",
    "glu_backward",
    "reglu",
    "reglu_backward",
    "swiglu",
    "swiglu_backward",
]


@op
def glu(x: ArrayLike, *, axis: SupportsIndex = -1, out: Array | None = None) -> Array:
    """Multiply the first half of an array by the sigmoid of the second: GLU.

    ``y = up * sigmoid(gate)`` with ``up, gate = split(x, 2, axis)``. The gate is the second half, as in
    PyTorch and JAX; in the other gated units it is the first.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides. The halves are not copied.
    axis : int, default -1
        The axis along which x is split; its length must be even.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and not overlapping x.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of one half of x; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 2.5 ULP in float32 and 4.5 ULP in float64: sigmoid within its own bound times two at most,
    and one rounded product. Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083
    (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.glu(np.array([3.0, 0.5, 1.0, -2.0])).round(4)
    array([2.1932, 0.0596])
    """


@op
def glu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Gradient of `glu` with respect to x.

    The first half of dx is ``dy * sigmoid(gate)``, the second ``dy * up * sigmoid'(gate)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    x : array_like
        The argument of the forward.
    axis : int, default -1
        As in the forward.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dx : ndarray
        Of the shape, dtype and order of axes in memory of x.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: the first half as y in the forward; the second below 5.5 ULP in float32, as long as the product
    dy * up, which is formed first, neither overflows nor is subnormal.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083
    (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.glu_backward(np.ones(2), np.array([3.0, 0.5, 1.0, -2.0])).round(4)
    array([0.7311, 0.1192, 0.5898, 0.0525])
    """


@op
def swiglu(
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Multiply by a swish gate: SwiGLU.

    ``y = swish(gate) * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate`
        is a packed array: its first half along `axis` is the gate, its second half `up`. The halves are not
        copied.
    beta : float, default 1.0
        Of swish, a finite number: ``swish(x) = x * sigmoid(beta * x)``. With 1 it is SiLU, as in most
        language models.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was
        given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 2.5 ULP in float32 and 4.5 ULP in float64: swish within its own bound times two at most,
    and one rounded product. Half types are the float32 result, rounded. `beta` is rounded to the type
    computed in.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.swiglu(np.array([1.0, -2.0]), np.array([3.0, 0.5])).round(4)
    array([ 2.1932, -0.1192])
    >>> fastnorm.swiglu(np.array([1.0, -2.0, 3.0, 0.5])).round(4)  # the same, packed
    array([ 2.1932, -0.1192])
    """


@overload
def swiglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: None = None,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
@overload
def swiglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Array, Array]: ...
@op
def swiglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
    out: Array | tuple[Array | None, Array | None] | None = None,
) -> Array | tuple[Array, Array]:
    """Gradients of `swiglu` with respect to gate and up.

    ``dgate = dy * up * swish'(gate)`` and ``dup = dy * swish(gate)``. `beta` is a constant and has no
    gradient.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and dtype.
    gate, up : array_like
        The arguments of the forward.
    beta : float, default 1.0
        As in the forward.
    axis : int, default -1
        As in the forward.
    out : ndarray, or tuple of ndarray or None, optional
        Take what is returned, likewise: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array,
        which holds both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: dup as y in the forward; dgate below 5.5 ULP in float32, as long as the product dy * up, which
    is formed first, neither overflows nor is subnormal.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dgate, dup = fastnorm.swiglu_backward(np.ones(2), np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    >>> dgate.round(4)
    array([ 2.783 , -0.0454])
    >>> fastnorm.swiglu_backward(np.ones(2), np.array([1.0, -2.0, 3.0, 0.5])).round(4)  # packed
    array([ 2.783 , -0.0454,  0.7311, -0.2384])
    """


@op
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
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate`
        is a packed array: its first half along `axis` is the gate, its second half `up`. The halves are not
        copied.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        The form of gelu, as in `gelu`. Shazeer's GEGLU is exact; Gemma uses ``'tanh'``.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was
        given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 2.5 ULP in float32 and 4.5 ULP in float64: gelu within its own bound times two at most,
    and one rounded product. Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

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


@overload
def geglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
@overload
def geglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Array, Array]: ...
@op
def geglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
    out: Array | tuple[Array | None, Array | None] | None = None,
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
    out : ndarray, or tuple of ndarray or None, optional
        Take what is returned, likewise: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array,
        which holds both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: dup as y in the forward; dgate below 5.5 ULP in float32, as long as the product dy * up, which
    is formed first, neither overflows nor is subnormal.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

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


@op
def reglu(
    gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None
) -> Array:
    """Multiply by a rectified gate: ReGLU.

    ``y = max(gate, 0) * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate`
        is a packed array: its first half along `axis` is the gate, its second half `up`. The halves are not
        copied.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was
        given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: correctly rounded. A NaN in either gives NaN.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

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


@overload
def reglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: None = None,
    *,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
@overload
def reglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Array, Array]: ...
@op
def reglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    out: Array | tuple[Array | None, Array | None] | None = None,
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
    out : ndarray, or tuple of ndarray or None, optional
        Take what is returned, likewise: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array,
        which holds both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: correctly rounded. A NaN in `gate` gives NaN in both.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

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


@op
def bilinear(
    gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None
) -> Array:
    """Multiply by a gate without an activation: the bilinear layer.

    ``y = gate * up``, element by element.

    Parameters
    ----------
    gate, up : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, with any strides. Without `up`, `gate`
        is a packed array: its first half along `axis` is the gate, its second half `up`. The halves are not
        copied.
    axis : int, default -1
        The axis along which a packed array is split; its length must be even. Not used where `up` is given.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of the shape, dtype and order of axes in memory of `gate`, or of one half of it; `out` where it was
        given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: correctly rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083
    (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.bilinear(np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    array([ 3., -1.])
    >>> fastnorm.bilinear(np.array([1.0, -2.0, 3.0, 0.5]))  # the same, packed
    array([ 3., -1.])
    """


@overload
def bilinear_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: None = None,
    *,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
@overload
def bilinear_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Array, Array]: ...
@op
def bilinear_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    out: Array | tuple[Array | None, Array | None] | None = None,
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
    out : ndarray, or tuple of ndarray or None, optional
        Take what is returned, likewise: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dgate, dup : ndarray
        Of the shape, dtype and order of axes in memory of `gate` and `up`. For a packed array one array,
        which holds both as it holds gate and up.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: correctly rounded.

    Reproducibility: an element has the same bits wherever it stands, packed or not, for any number of threads
    and on any CPU with fused multiply-add.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083
    (2016).

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
