"""Dense layers: linear with a fused bias and activation, and the gated layers of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _backend
from ._arguments.linear import packable
from ._arguments.rules import Rules
from ._op import op
from ._typing import Array, ArrayLike, DenseActivation, Gate

__all__ = [
    "PackedWeight",
    "gated_linear",
    "gated_linear_backward",
    "linear",
    "linear_backward",
    "pack",
]


@op
def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: DenseActivation | None = None,
    out: Array | None = None,
) -> Array:
    """Dense layer over the last axis, with bias and activation in the same pass.

    ``y = activation(x @ weight + bias)``

    Parameters
    ----------
    x : array_like
        (..., in), float32, float64, float16 or bfloat16, with any strides.
    weight : array_like or PackedWeight
        (in, out), of x's dtype or float32 where that is a half type; a transposed view is taken as it is, and
        one that `pack` has packed with fewer steps.
    bias : array_like, optional
        (out,), of the same dtypes.
    activation : str, optional
        ``'relu'``, ``'sigmoid'``, ``'tanh'``, ``'gelu'``, ``'gelu_tanh'`` (`gelu` with
        ``approximate='tanh'``), ``'silu'``, ``'mish'``, ``'softplus'``, ``'leaky_relu'``, ``'hardswish'``,
        ``'logsigmoid'`` or ``'elu'``, with its defaults, applied to each element.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or not overlapping any.

    Returns
    -------
    y : ndarray
        (..., out), of x's dtype; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    The weight lies as (in, out), as in scikit-learn, Keras and Flax; PyTorch's is its transpose, ``weight.T``
    here.

    Accuracy: a sum of n = in products errs by at most (256 + n / 256) * 2^-24 of the sum of their magnitudes
    in float32 (2^-53 in float64), typically by a few units; half types add in float32 and round once at the
    end.

    Reproducibility: every element is one chain of multiply-adds over the terms in their order, cut into
    blocks of 256. A row has the same bits in any batch and at any place, for any number of threads, any
    strides, and on any CPU with fused multiply-add.

    References
    ----------
    Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3) (2008).

    See Also
    --------
    pack : a weight for many calls.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, -2.0], [0.5, 3.0]])
    >>> weight = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.5]])
    >>> fastnorm.linear(x, weight, np.array([0.5, 0.0, 0.0]), activation="relu")
    array([[0., 0., 0.],
           [7., 3., 1.]])
    """


@op
def linear_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: DenseActivation | None = None,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `linear`.

    With ``z = x @ weight + bias`` and ``dz = dy * activation'(z)``: ``dx = dz @ weight.T``, ``dweight = x.T @
    dz`` and ``dbias = dz.sum(rows)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and x's dtype.
    x, weight, bias : array_like
        The arguments of the forward.
    activation : str, optional
        As in the forward; z is computed again where it is needed.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight : ndarray
        (in, out), float32 where x is of a half type, else of x's dtype.
    dbias : ndarray or None
        (out,), of the same dtype; None without a bias.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    The derivative of ``'relu'`` is 0 at 0, as in PyTorch.

    Accuracy: sums as in `linear`, those of dweight over the rows; dbias is added in float64 after every 32
    rows.

    Reproducibility: the order of each sum depends on the shape alone.

    References
    ----------
    Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3) (2008).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, weight = np.array([[1.0, -2.0]]), np.array([[1.0], [2.0]])
    >>> dy, bias = np.array([[1.0]]), np.array([5.0])
    >>> dx, dweight, dbias = fastnorm.linear_backward(dy, x, weight, bias, activation="relu")
    >>> dx, dweight, dbias
    (array([[1., 2.]]), array([[ 1.],
           [-2.]]), array([1.]))
    """


@op
def gated_linear(
    x: ArrayLike,
    w_gate: ArrayLike,
    w_up: ArrayLike,
    b_gate: ArrayLike | None = None,
    b_up: ArrayLike | None = None,
    *,
    gate: Gate | None = "swish",
    beta: float = 1.0,
    out: Array | None = None,
) -> Array:
    """Gated dense layer: the product of two layers of which one passes through the gate.

    ``y = gate(x @ w_gate + b_gate) * (x @ w_up + b_up)``

    Parameters
    ----------
    x : array_like
        (..., in), float32, float64, float16 or bfloat16, with any strides.
    w_gate, w_up : array_like or PackedWeight
        (in, out), of x's dtype or float32 where that is a half type.
    b_gate, b_up : array_like, optional
        (out,), of the same dtypes.
    gate : {'swish', 'sigmoid', 'tanh', 'gelu', 'gelu_tanh', 'relu', None}, default 'swish'
        SwiGLU, GLU, a tanh gate, GEGLU in two forms, ReGLU, and for None the bilinear layer.
    beta : float, default 1.0
        Of ``swish(z) = z * sigmoid(beta * z)``.
    out : ndarray, optional
        Takes the result: of its shape and dtype, and exactly one of the inputs or not overlapping any.

    Returns
    -------
    y : ndarray
        (..., out), of x's dtype; `out` where it was given.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: each product as in `linear`; the gate stays in the compute type, and the result is rounded once.

    Reproducibility: as in `linear`.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, w_gate, w_up = np.array([[1.0, 2.0]]), np.array([[0.5], [-1.0]]), np.array([[2.0], [1.0]])
    >>> fastnorm.gated_linear(x, w_gate, w_up, gate="relu")
    array([[0.]])
    >>> fastnorm.gated_linear(x, w_gate, w_up).round(4)
    array([[-1.0946]])
    """


@op
def gated_linear_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w_gate: ArrayLike,
    w_up: ArrayLike,
    b_gate: ArrayLike | None = None,
    b_up: ArrayLike | None = None,
    *,
    gate: Gate | None = "swish",
    beta: float = 1.0,
    out: tuple[Array | None, Array | None, Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array, Array | None, Array | None]:
    """Gradients of `gated_linear`.

    With ``g = x @ w_gate + b_gate``, ``u = x @ w_up + b_up``, ``dg = dy * u * gate'(g)`` and ``du = dy *
    gate(g)``: ``dx = dg @ w_gate.T + du @ w_up.T``, and the gradients of the parameters as in
    `linear_backward`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of y's shape and x's dtype.
    x, w_gate, w_up, b_gate, b_up : array_like
        The arguments of the forward.
    gate : {'swish', 'sigmoid', 'tanh', 'gelu', 'gelu_tanh', 'relu', None}, default 'swish'
        As in the forward; g and u are computed again.
    beta : float, default 1.0
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dw_gate, dw_up : ndarray
        (in, out), float32 where x is of a half type, else of x's dtype.
    db_gate, db_up : ndarray or None
        (out,), of the same dtype; None where that bias was.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: each product as in `linear`.

    Reproducibility: the order of each sum depends on the shape alone.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, w = np.array([[1.0, 2.0]]), np.ones((2, 1))
    >>> dx, dw_gate, dw_up, *_ = fastnorm.gated_linear_backward(np.array([[1.0]]), x, w, 2 * w, gate=None)
    >>> dx, dw_gate.ravel(), dw_up.ravel()
    (array([[12., 12.]]), array([ 6., 12.]), array([3., 6.]))
    """


class InterpretedWeight:
    """What `_core.PackedWeight` is where the extension is not loaded: the twins have nothing to pack."""

    __slots__ = ("_array",)
    _array: Array

    def __new__(cls, array: Array) -> Any:
        """Take a copy of a weight."""
        self = super().__new__(cls)
        self._array = array.copy()
        return self

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    nbytes = property(lambda self: self._array.nbytes)

    def unpack(self) -> Array:
        """Return the weight as a new array."""
        return self._array.copy()


if TYPE_CHECKING:
    _Weight = InterpretedWeight
else:
    _Weight = InterpretedWeight if _backend.extension is None else _backend.extension.PackedWeight


class PackedWeight(_Weight):
    """A weight of a dense layer, copied once into the order in which products read it.

    `pack` makes it, and `linear`, `gated_linear` and `mlp_forward` take it wherever they take a weight, with
    the same bits; their backwards take it too, and unpack it. It does not change: what is written into the
    array afterwards stays out of it. Any number of threads can use it, it pickles, and `numpy.asarray` gives
    the weight back.

    Attributes
    ----------
    shape : tuple of int
        (in, out), as of the weight.
    dtype : numpy.dtype
        That of the weight.
    nbytes : int
        What the copy takes: half types are kept as float32, and columns are padded to cache lines.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> packed = fastnorm.pack(np.array([[1.0, 0.0], [2.0, 1.0]]))
    >>> packed
    PackedWeight(shape=(2, 2), dtype=float64)
    >>> np.asarray(packed)
    array([[1., 0.],
           [2., 1.]])
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, weight: ArrayLike) -> PackedWeight:
        """Pack a weight."""
        packed: PackedWeight = super().__new__(cls, packable(Rules("pack"), weight))
        return packed

    @property
    def ndim(self) -> int:
        """The number of axes: 2."""
        return 2

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the weight as a new array."""
        if copy is False:
            raise ValueError("a PackedWeight gives its weight back as a copy only")
        array = self.unpack()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __copy__(self) -> PackedWeight:
        """Return the same object, which does not change."""
        return self

    def __deepcopy__(self, memo: Any) -> PackedWeight:
        """Return the same object, which does not change."""
        return self

    def __reduce__(self) -> tuple[Any, tuple[Array]]:
        """Pickle the weight: panels are those of one processor."""
        return type(self), (self.unpack(),)

    def __repr__(self) -> str:
        """Show shape and dtype."""
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


def pack(weight: ArrayLike) -> PackedWeight:
    """Copy a weight into the order in which products read it, for many of them.

    Each product of more than a few rows copies its weight first. A weight that serves many calls, as in
    inference, is copied here once.

    Parameters
    ----------
    weight : array_like
        (in, out), float32, float64, float16 or bfloat16, with any strides; ``weight.T`` of a weight that lies
        as (out, in).

    Returns
    -------
    PackedWeight
        To be given to `linear`, `gated_linear` or `mlp_forward` in place of the weight.

    Raises
    ------
    TypeError, ValueError
        For a weight of a wrong dtype, or without exactly two axes.

    Notes
    -----
    Reproducibility: the products have the bits that they have with the weight itself.

    References
    ----------
    Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3) (2008).

    See Also
    --------
    linear, gated_linear, mlp_forward

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> weight = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.5]])
    >>> packed = fastnorm.pack(weight)
    >>> fastnorm.linear(np.array([[1.0, -2.0]]), packed)
    array([[-3., -2., -2.]])
    """
    return PackedWeight(weight)
