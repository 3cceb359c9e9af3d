"""Norms of a sum with a residual: add_layer_norm, add_rms_norm and deep_norm, forward and backward,
and DeepNet's constants and initialisation for stacks of `deep_norm`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._arguments.rules import MOST_ELEMENTS, Rules, as_index, shown
from ._op import op
from ._typing import Array, ArrayLike, Axis

__all__ = [
    "DeepNormConstants",
    "DeepNormScale",
    "add_layer_norm",
    "add_layer_norm_backward",
    "add_rms_norm",
    "add_rms_norm_backward",
    "deep_norm",
    "deep_norm_backward",
    "deep_norm_constants",
    "deep_norm_init",
]


@op
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

    ``summed = x + alpha * residual`` and ``y = layer_norm(summed, weight, bias, axis=axis, eps=eps)``. A
    pre-norm block of a transformer reads y and passes `summed` on.

    Parameters
    ----------
    x, residual : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, of at least one dimension, with any
        strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half
        type. Left out, they count as 1 and 0.
    alpha : float, default 1.0
        Factor of the residual, rounded to the type that is computed in (float32, or float64 for float64).
    axis : int, tuple of int or None, default -1
        The axes that are normalised jointly, all of them for None. The default is the last axis.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's (ONNX Runtime's SkipLayerNormalization has 1e-12).
    out : tuple of ndarray, optional
        ``(y, summed)`` take the results: each of x's shape and dtype, exactly x or residual or overlapping no
        input, and apart from each other.

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
    Accuracy: as for `layer_norm`, with one rounding more, that of the sum to float32 (float64 for float64),
    where the mean of the row is within two deviations of 0; rows further away are summed in float64. For half
    types y is computed from the unrounded sum, not from the half type of `summed`.

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


@op
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
    out: tuple[Array | None, Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `add_layer_norm` with respect to x, residual, weight and bias, in one pass.

    With ds the gradient that `layer_norm_backward` gives for the sum: ``dx = ds + dsummed``,
    ``dresidual = alpha * dx``. The sum is made again from x and residual.

    Parameters
    ----------
    dy, dsummed : array_like or None
        Gradients of the loss with respect to y and to the sum, of x's shape and dtype. None stands for zeros;
        one of the two must be given.
    x, residual, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    alpha, axis, eps
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

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
    >>> residual = np.zeros_like(x)
    >>> dx, dresidual, dweight, dbias = fastnorm.add_layer_norm_backward(dy, dy, x, residual, alpha=2.0)
    >>> dx.round(4)
    array([[ 1.2683, -0.3578, -0.0894,  0.1789]])
    >>> bool((dresidual == 2 * dx).all())
    True
    """


@op
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Add a residual and normalise the sum as `rms_norm` does, in one pass.

    ``summed = x + alpha * residual`` and ``y = rms_norm(summed, weight, axis=axis, eps=eps,
    weight_offset=weight_offset)``. A block of LLaMA and its successors reads y and passes `summed` on.

    Parameters
    ----------
    x, residual : array_like
        float32, float64, float16 or bfloat16, of one shape and dtype, of at least one dimension, with any
        strides.
    weight : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half
        type. Left out, it counts as 1.
    alpha : float, default 1.0
        Factor of the residual, rounded to the type that is computed in (float32, or float64 for float64).
    axis : int, tuple of int or None, default -1
        The axes that are normalised jointly, all of them for None. The default is the last axis.
    eps : float, default 1e-6
        Added to the mean square inside the root; the default is LLaMA's.
    weight_offset : float, default 0.0
        Added to `weight` where there is one; Gemma multiplies by ``1 + weight``.
    out : tuple of ndarray, optional
        ``(y, summed)`` take the results: each of x's shape and dtype, exactly x or residual or overlapping no
        input, and apart from each other.

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
    Accuracy: as for `rms_norm`, with one rounding more, that of the sum to float32 (float64 for float64). For
    half types y is computed from the float32 sum, before that is rounded to the half type of `summed`, and
    the weight is applied before y is rounded (LLaMA rounds before it applies the weight).

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


@op
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
    weight_offset: float = 0.0,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `add_rms_norm` with respect to x, residual and weight, in one pass.

    With ds the gradient that `rms_norm_backward` gives for the sum: ``dx = ds + dsummed``, ``dresidual =
    alpha * dx``. The sum is made again from x and residual.

    Parameters
    ----------
    dy, dsummed : array_like or None
        Gradients of the loss with respect to y and to the sum, of x's shape and dtype. None stands for zeros;
        one of the two must be given.
    x, residual, weight : array_like
        The arguments of the forward.
    alpha, axis, eps, weight_offset
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

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


@op
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

    ``y = layer_norm(alpha * residual + x, weight, bias, axis=axis, eps=eps)`` with ``x = f(residual)``, f
    being the sub-layer. `deep_norm_constants` gives alpha for a depth, and beta for `deep_norm_init`.

    Parameters
    ----------
    x, residual : array_like
        The result of the sub-layer and what went into it: float32, float64, float16 or bfloat16, of one shape
        and dtype, of at least one dimension, with any strides.
    weight, bias : array_like, optional
        Shaped like the normalised axes in the order of `axis`; of x's dtype, or float32 where x is a half
        type. Left out, they count as 1 and 0.
    alpha : float
        Factor of the residual, not of x; rounded to the type that is computed in (float32, or float64 for
        float64).
    axis : int, tuple of int or None, default -1
        The axes that are normalised jointly, all of them for None. The default is the last axis.
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
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555
    (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> alpha, beta = fastnorm.deep_norm_constants(encoder_layers=6).encoder
    >>> residual = np.array([[1, 2, 3, 4]], dtype=np.float32)
    >>> fastnorm.deep_norm(np.zeros_like(residual), residual, alpha=alpha).round(3)
    array([[-1.342, -0.447,  0.447,  1.342]], dtype=float32)
    """


@op
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
    out: tuple[Array | None, Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `deep_norm` with respect to x, residual, weight and bias, in one pass.

    dx is what `layer_norm_backward` gives for the sum; ``dresidual = alpha * dx``, to which the gradient that
    goes through the sub-layer is to be added.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, residual, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    alpha, axis, eps
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

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
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555
    (2022).

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


class DeepNormScale(NamedTuple):
    """The constants of the encoder or of the decoder.

    Attributes
    ----------
    alpha : float
        Factor of the residual in every `deep_norm`.
    beta : float
        Gain of the feed-forward, value and output weights in `deep_norm_init`; query and key weights keep
        gain 1.

    Examples
    --------
    >>> import fastnorm
    >>> alpha, beta = fastnorm.deep_norm_constants(encoder_layers=6).encoder
    >>> round(alpha, 7), round(beta, 7)
    (1.8612097, 0.3799178)
    """

    alpha: float
    beta: float


class DeepNormConstants(NamedTuple):
    """The constants of a model, None for a half that it does not have.

    Attributes
    ----------
    encoder, decoder : DeepNormScale or None
        The constants of each half.

    Examples
    --------
    >>> import fastnorm
    >>> fastnorm.deep_norm_constants(encoder_layers=6).decoder is None
    True
    """

    encoder: DeepNormScale | None
    decoder: DeepNormScale | None


def deep_norm_constants(
    encoder_layers: int | None = None, decoder_layers: int | None = None
) -> DeepNormConstants:
    """Return alpha and beta of DeepNet for a depth.

    ==========================  =========================  ==========================
    layers                      alpha                      beta
    ==========================  =========================  ==========================
    encoder, N, no decoder      ``(2 N)**(1/4)``           ``(8 N)**(-1/4)``
    decoder, M, no encoder      ``(2 M)**(1/4)``           ``(8 M)**(-1/4)``
    encoder of N and M          ``0.81 (N**4 M)**(1/16)``  ``0.87 (N**4 M)**(-1/16)``
    decoder of N and M          ``(3 M)**(1/4)``           ``(12 M)**(-1/4)``
    ==========================  =========================  ==========================

    Parameters
    ----------
    encoder_layers, decoder_layers : int, optional
        Layers of the encoder and of the decoder, 1 or more; left out, the model has none. One layer is an
        attention and a feed-forward sub-layer (in a decoder with an encoder also the attention to that), each
        with its norm. A stack of feed-forward blocks alone has half as many layers as blocks.

    Returns
    -------
    DeepNormConstants
        Named ``(encoder, decoder)``, each a named ``(alpha, beta)`` or None.

    Raises
    ------
    TypeError
        If a number of layers is not an int.
    ValueError
        If it is less than 1, or both are left out.

    Notes
    -----
    0.81 and 0.87 are the paper's, rounded from 27**(-1/16) and 27**(1/16) / sqrt(2). Some implementations
    divide the encoder's weights by a number that is to be multiplied with; the paper's table is the reference
    here.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555
    (2022).

    Examples
    --------
    >>> import fastnorm
    >>> constants = fastnorm.deep_norm_constants(encoder_layers=6, decoder_layers=6)
    >>> constants.encoder.alpha, constants.decoder.beta
    (1.417938140685523, 0.34329452398451965)
    >>> alpha, beta = fastnorm.deep_norm_constants(decoder_layers=12).decoder
    """
    encoder = _layers("encoder_layers", encoder_layers)
    decoder = _layers("decoder_layers", decoder_layers)
    if encoder is None and decoder is None:
        raise ValueError(
            "deep_norm_constants: encoder_layers and decoder_layers are None, needs at least one of them"
        )
    if encoder is not None and decoder is not None:
        depth = (encoder**4 * decoder) ** (1 / 16)
        return DeepNormConstants(
            DeepNormScale(0.81 * depth, 0.87 / depth),
            DeepNormScale((3 * decoder) ** (1 / 4), (12 * decoder) ** (-1 / 4)),
        )
    return DeepNormConstants(_one_stack(encoder), _one_stack(decoder))


def deep_norm_init(
    rng: np.random.Generator, shape: Sequence[int], beta: float, *, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Return normally distributed weights with the variance of Xavier's initialisation and gain `beta`.

    Mean 0 and deviation ``beta * sqrt(2 / (fan_in + fan_out))``: `xavier_normal_` with this gain, as in the
    paper.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the numbers.
    shape : sequence of int
        ``(..., fan_in, fan_out)``: a matrix that rows are multiplied with, ``x @ weight``; leading axes stack
        several. A matrix of the transposed layout has the same distribution.
    beta : float
        The gain: beta of `deep_norm_constants` for feed-forward, value and output weights, 1 for query and
        key weights.
    dtype : dtype, default float32
        A float type.

    Returns
    -------
    weight : ndarray
        Of this shape and dtype. The numbers are drawn in float64 and rounded.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type, or a shape of fewer than two axes, a beta that is negative or not
        finite.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555
    (2022), figure 2. Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> beta = fastnorm.deep_norm_constants(encoder_layers=100).encoder.beta
    >>> weight = fastnorm.deep_norm_init(np.random.default_rng(0), (64, 128), beta)
    >>> weight.shape, weight.dtype
    ((64, 128), dtype('float32'))
    """
    rules = Rules("deep_norm_init")
    if not isinstance(rng, np.random.Generator):
        raise rules.type_error("rng", f"has type {type(rng).__name__}", "a numpy.random.Generator")
    lengths = _shape(rules, shape)
    gain = rules.number("beta", beta, minimum=0)
    if not np.issubdtype(dtype, np.floating) and np.dtype(dtype).name != "bfloat16":
        raise rules.type_error("dtype", f"is {np.dtype(dtype)}", "a float type")
    deviation = gain * np.sqrt(2 / max(lengths[-2] + lengths[-1], 1))
    weight: Array = (deviation * rng.standard_normal(lengths)).astype(dtype)
    return weight


def _layers(name: str, value: Any) -> int | None:
    rules = Rules("deep_norm_constants")
    if value is not None and as_index(value) is None:
        raise rules.type_error(name, f"has type {type(value).__name__}", "an int or None")
    return None if value is None else rules.integer(name, value, minimum=1)


def _one_stack(layers: int | None) -> DeepNormScale | None:
    return None if layers is None else DeepNormScale((2 * layers) ** (1 / 4), (8 * layers) ** (-1 / 4))


def _shape(rules: Rules, shape: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(operator.index(length) for length in shape)
    except TypeError:
        raise rules.type_error("shape", f"is {shown(shape)}", "a sequence of ints") from None
    if len(lengths) < 2 or min(lengths) < 0:
        raise rules.value_error("shape", f"is {shown(shape)}", "two axes or more, of no negative length")
    if math.prod(lengths) > MOST_ELEMENTS:
        raise rules.value_error("shape", f"is {shown(shape)}", f"at most {MOST_ELEMENTS} elements")
    return lengths
