"""DeepNet's constants and initialisation, for stacks of `deep_norm`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._typing import Array

__all__ = ["DeepNormConstants", "DeepNormScale", "deep_norm_constants", "deep_norm_init"]


class DeepNormScale(NamedTuple):
    """The constants of the encoder or of the decoder.

    Attributes
    ----------
    alpha : float
        Factor of the residual in every `deep_norm`.
    beta : float
        Gain of the feed-forward, value and output weights in `deep_norm_init`; query and key weights keep gain 1.

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


def deep_norm_constants(encoder_layers: int | None = None, decoder_layers: int | None = None) -> DeepNormConstants:
    """Return alpha and beta of DeepNet for a depth.

    ===================  =========================  ==========================  ==============  ================
    layers               encoder alpha              encoder beta                decoder alpha   decoder beta
    ===================  =========================  ==========================  ==============  ================
    N, no decoder        ``(2 N)**(1/4)``           ``(8 N)**(-1/4)``
    no encoder, M                                                               ``(2 M)**(1/4)``  ``(8 M)**(-1/4)``
    N and M              ``0.81 (N**4 M)**(1/16)``  ``0.87 (N**4 M)**(-1/16)``  ``(3 M)**(1/4)``  ``(12 M)**(-1/4)``
    ===================  =========================  ==========================  ==============  ================

    Parameters
    ----------
    encoder_layers, decoder_layers : int, optional
        Layers of the encoder and of the decoder, 1 or more; left out, the model has none. One layer is an attention
        and a feed-forward sub-layer (in a decoder with an encoder also the attention to that), each with its norm.
        A stack of feed-forward blocks alone has half as many layers as blocks.

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
    0.81 and 0.87 are the paper's, rounded from 27**(-1/16) and 27**(1/16) / sqrt(2). Some implementations divide the
    encoder's weights by a number that is to be multiplied with; the paper's table is the reference here.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555 (2022).

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
        raise ValueError("deep_norm_constants: encoder_layers and decoder_layers are None, needs at least one of them")
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

    Mean 0 and deviation ``beta * sqrt(2 / (fan_in + fan_out))``: `xavier_normal_` with this gain, as in the paper.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the numbers.
    shape : sequence of int
        ``(..., fan_in, fan_out)``: a matrix that rows are multiplied with, ``x @ weight``; leading axes stack several.
        A matrix of the transposed layout has the same distribution.
    beta : float
        The gain: beta of `deep_norm_constants` for feed-forward, value and output weights, 1 for query and key weights.
    dtype : dtype, default float32
        A float type.

    Returns
    -------
    weight : ndarray
        Of this shape and dtype. The numbers are drawn in float64 and rounded.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type, or a shape of fewer than two axes, a beta that is negative or not finite.

    References
    ----------
    Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000 Layers", arXiv:2203.00555 (2022),
    figure 2. Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> beta = fastnorm.deep_norm_constants(encoder_layers=100).encoder.beta
    >>> weight = fastnorm.deep_norm_init(np.random.default_rng(0), (64, 128), beta)
    >>> weight.shape, weight.dtype
    ((64, 128), dtype('float32'))
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"deep_norm_init: rng has type {type(rng).__name__}, needs a numpy.random.Generator")
    lengths = _shape(shape)
    if isinstance(beta, bool) or not isinstance(beta, (int, float, np.floating, np.integer)):
        raise TypeError(f"deep_norm_init: beta has type {type(beta).__name__}, needs a number")
    if not np.isfinite(beta) or beta < 0:
        raise ValueError(f"deep_norm_init: beta is {beta!r}, needs a finite number of at least 0")
    if not np.issubdtype(dtype, np.floating) and np.dtype(dtype).name != "bfloat16":
        raise TypeError(f"deep_norm_init: dtype is {np.dtype(dtype)}, needs a float type")
    deviation = float(beta) * np.sqrt(2 / max(lengths[-2] + lengths[-1], 1))
    weight: Array = (deviation * rng.standard_normal(lengths)).astype(dtype)
    return weight


def _layers(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        layers = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        layers = None
    if layers is None:
        raise TypeError(f"deep_norm_constants: {name} has type {type(value).__name__}, needs an int or None")
    if layers < 1:
        raise ValueError(f"deep_norm_constants: {name} is {layers}, needs at least 1")
    return layers


def _one_stack(layers: int | None) -> DeepNormScale | None:
    return None if layers is None else DeepNormScale((2 * layers) ** (1 / 4), (8 * layers) ** (-1 / 4))


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(operator.index(length) for length in shape)
    except TypeError:
        raise TypeError(f"deep_norm_init: shape is {shape!r}, needs a sequence of ints") from None
    if len(lengths) < 2 or min(lengths) < 0:
        raise ValueError(f"deep_norm_init: shape is {shape!r}, needs two axes or more, of no negative length")
    return lengths
