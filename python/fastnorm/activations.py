"""Activations: gelu, forward and backward."""

from __future__ import annotations

from ._backend import active
from ._typing import Approximation, Array, ArrayLike

__all__ = ["gelu", "gelu_backward"]


def gelu(x: ArrayLike, *, approximate: Approximation = "none", out: Array | None = None) -> Array:
    """Gaussian error linear unit, element by element.

    ``y = x * Phi(x)``, Phi being the distribution function of the standard normal distribution.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        The form: ``'none'`` is exact; ``'tanh'`` is ``0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))``, at
        most 4.8e-4 away from it; ``'sigmoid'`` is ``x * sigmoid(1.702 * x)``, at most 2.1e-2 away. The default is
        PyTorch's; JAX and Gemma use ``'tanh'``.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. The limit at -inf is -0.0.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 1 ULP in float32 for every input, the negative tail included, and below 2 ULP in float64. Half
    types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU with
    fused multiply-add.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.gelu(np.array([-8.0, -1.0, 0.0, 1.0])).round(4)
    array([-0.    , -0.1587,  0.    ,  0.8413])
    >>> fastnorm.gelu(np.array([1.0]), approximate="sigmoid").round(4)
    array([0.8458])
    """
    return active.gelu(x, approximate=approximate, out=out)


def gelu_backward(dy: ArrayLike, x: ArrayLike, *, approximate: Approximation = "none") -> Array:
    """Gradient of `gelu` with respect to x.

    ``dx = dy * (Phi(x) + x * phi(x))``, phi being the density of the standard normal distribution; the derivative of
    the same form as in the forward for the two approximations.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        As in the forward.

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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail and around its zero near -0.75 too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU with
    fused multiply-add.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.0833,  0.5   ,  1.0833])
    """
    return active.gelu_backward(dy, x, approximate=approximate)
