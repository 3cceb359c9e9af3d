"""Activations, element by element: forward and backward."""

from __future__ import annotations

from ._op import op
from ._typing import Approximation, Array, ArrayLike

__all__ = [
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hardswish",
    "hardswish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "mish",
    "mish_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "swish",
    "swish_backward",
    "tanh",
    "tanh_backward",
]


@op
def gelu(x: ArrayLike, *, approximate: Approximation = "none", out: Array | None = None) -> Array:
    """Gaussian error linear unit, element by element.

    ``y = x * Phi(x)``, Phi being the distribution function of the standard normal distribution.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
        The form: ``'none'`` is exact; ``'tanh'`` is ``0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 *
        x**3)))``, at most 4.8e-4 away from it; ``'sigmoid'`` is ``x * sigmoid(1.702 * x)``, at most 2.1e-2
        away. The default is PyTorch's; JAX and Gemma use ``'tanh'``.
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
    Accuracy: below 1 ULP in float32 for every input, the negative tail included, and below 2 ULP in float64.
    Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

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


@op
def gelu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    approximate: Approximation = "none",
    out: Array | None = None,
) -> Array:
    """Gradient of `gelu` with respect to x.

    ``dx = dy * (Phi(x) + x * phi(x))``, phi being the density of the standard normal distribution; the
    derivative of the same form as in the forward for the two approximations.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    approximate : {'none', 'tanh', 'sigmoid'}, default 'none'
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail and around its zero near -0.75
    too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

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


@op
def hardswish(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Hardswish, silu in straight pieces, element by element.

    ``y = x * min(max(x + 3, 0), 6) / 6``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
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
    Accuracy: below 1 ULP in float32 for every input, and below 2 ULP in float64. Half types are the float32
    result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    hardswish_backward : The gradient.
    silu : The smooth function.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", arXiv:1905.02244 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.hardswish(np.array([-4.0, -1.5, 0.0, 1.5, 4.0]))
    array([-0.   , -0.375,  0.   ,  1.125,  4.   ])
    """


@op
def hardswish_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of `hardswish` with respect to x.

    ``dx = dy * (2 * x + 3) / 6`` for ``-3 < x < 3``, 0 below and dy above.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, around its zero at -1.5 too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    hardswish : The forward.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", arXiv:1905.02244 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.hardswish_backward(np.ones(4), np.array([-4.0, -1.5, 0.0, 4.0]))
    array([0. , 0. , 0.5, 1. ])
    """


@op
def elu(x: ArrayLike, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Exponential linear unit, element by element.

    ``y = x`` where ``x >= 0``, else ``alpha * (exp(x) - 1)``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    alpha : float, default 1.0
        What is approached far below 0, negated: a finite number, in the type that x is computed in (float32
        for half types).
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

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
    Accuracy: below 1 ULP in float32 over all inputs, also near 0, and in float64 on dense samples; below 2
    where alpha is no power of two. Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    elu_backward : The gradient.
    relu : Of alpha 0.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units
    (ELUs)", arXiv:1511.07289 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.elu(np.array([-2.0, 0.0, 2.0])).round(4)
    array([-0.8647,  0.    ,  2.    ])
    """


@op
def elu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    alpha: float = 1.0,
    out: Array | None = None,
) -> Array:
    """Gradient of `elu` with respect to x.

    ``dx = dy`` where ``x > 0``, else ``dy * alpha * exp(x)``; NaN where x is.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    alpha : float, default 1.0
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
    Accuracy: the derivative is below 2 ULP in float32 over all inputs and in float64 on dense samples. Half
    types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    elu : The forward.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units
    (ELUs)", arXiv:1511.07289 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.elu_backward(np.ones(3), np.array([-2.0, 0.0, 2.0])).round(4)
    array([0.1353, 1.    , 1.    ])
    """


@op
def leaky_relu(x: ArrayLike, *, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Leaky rectified linear unit, element by element.

    ``y = x`` where ``x > 0``, else ``negative_slope * x``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    negative_slope : float, default 0.01
        The slope below 0: a finite number, in the type that x is computed in (float32 for half types).
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

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
    Accuracy: one product, correctly rounded in float32 and float64. Half types are the float32 result,
    rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    leaky_relu_backward : The gradient.
    relu : Of slope 0.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.leaky_relu(np.array([-2.0, 0.0, 2.0]))
    array([-0.02,  0.  ,  2.  ])
    """


@op
def leaky_relu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    negative_slope: float = 0.01,
    out: Array | None = None,
) -> Array:
    """Gradient of `leaky_relu` with respect to x.

    ``dx = dy`` where ``x > 0``, else ``negative_slope * dy``; NaN where x is.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    negative_slope : float, default 0.01
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
    Accuracy: one product, correctly rounded in float32 and float64. Half types are the float32 result,
    rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    leaky_relu : The forward.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.leaky_relu_backward(np.ones(3), np.array([-2.0, 0.0, 2.0]))
    array([0.01, 0.01, 1.  ])
    """


@op
def logsigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Logarithm of the sigmoid, element by element.

    ``y = log(1 / (1 + exp(-x))) = -softplus(-x)``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

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
    Accuracy: below 1 ULP in float32 for every input, both tails included, and below 2 ULP in float64. Half
    types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    logsigmoid_backward : The gradient.
    softplus : The same, mirrored.

    References
    ----------
    Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package Rmpfr (2012).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.logsigmoid(np.array([-800.0, 0.0, 2.0])).round(4)
    array([-8.000e+02, -6.931e-01, -1.269e-01])
    """


@op
def logsigmoid_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of `logsigmoid` with respect to x.

    ``dx = dy * sigmoid(-x)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    logsigmoid : The forward.

    References
    ----------
    Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package Rmpfr (2012).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.logsigmoid_backward(np.ones(3), np.array([-2.0, 0.0, 2.0])).round(4)
    array([0.8808, 0.5   , 0.1192])
    """


@op
def relu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Rectified linear unit, element by element.

    ``y = max(x, 0)``.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. NaN stays NaN and -0.0
        stays -0.0.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: exact.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """


@op
def relu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of `relu` with respect to x.

    ``dx = dy`` where ``x > 0``, else 0: the derivative at 0 is 0, as in PyTorch, JAX and TensorFlow.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: exact. An infinite `dy` does not pass where the derivative is 0; where x is NaN, dx is NaN.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.relu_backward(np.full(3, 5.0), np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 5.])
    """


@op
def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Logistic sigmoid, element by element.

    ``y = 1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. The limits at -inf and inf
        are 0 and 1.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 1 ULP in float32 for every input, the negative tail included, and below 2 ULP in float64.
    Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    LeCun, Bottou, Orr and Mueller, "Efficient BackProp", in: Neural Networks: Tricks of the Trade, Springer
    (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.sigmoid(np.array([-2.0, 0.0, 2.0])).round(4)
    array([0.1192, 0.5   , 0.8808])
    >>> fastnorm.sigmoid(np.array([-700.0]))
    array([9.85967654e-305])
    """


@op
def sigmoid_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    y: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `sigmoid` with respect to x.

    ``dx = dy * y * (1 - y)``, computed from x unless y is given, whose rounding near 1 costs digits.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in both tails too. From y it is off by
    what the rounding of y is near 1, 2**-25 at most (half types: 2**-12 and 2**-9); where y is 1 it is 0.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    LeCun, Bottou, Orr and Mueller, "Efficient BackProp", in: Neural Networks: Tricks of the Trade, Springer
    (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.sigmoid_backward(np.ones(3), np.array([-2.0, 0.0, 40.0]))
    array([1.04993585e-01, 2.50000000e-01, 4.24835426e-18])
    """


@op
def silu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Sigmoid linear unit, element by element.

    ``y = x * sigmoid(x)``, also known as `swish` with ``beta = 1``.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
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
    Accuracy: below 1 ULP in float32 for every input, the negative tail included, and below 2 ULP in float64.
    Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning", arXiv:1702.03118 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.silu(np.array([-2.0, 0.0, 2.0])).round(4)
    array([-0.2384,  0.    ,  1.7616])
    """


@op
def silu_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of `silu` with respect to x.

    ``dx = dy * (s + x * s * (1 - s))`` with ``s = sigmoid(x)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail and around its zero near -1.28
    too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning", arXiv:1702.03118 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.silu_backward(np.ones(3), np.array([-2.0, 0.0, 2.0])).round(4)
    array([-0.0908,  0.5   ,  1.0908])
    """


@op
def mish(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Mish, element by element.

    ``y = x * tanh(softplus(x))`` with ``softplus(x) = log(1 + exp(x))``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
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
    Accuracy: below 1 ULP in float32 for every input, the negative tail included, and below 2 ULP in float64.
    Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", arXiv:1908.08681 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.mish(np.array([-2.0, 0.0, 2.0])).round(4)
    array([-0.2525,  0.    ,  1.944 ])
    """


@op
def mish_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of `mish` with respect to x.

    ``dx = dy * (t + x * (1 - t**2) * sigmoid(x))`` with ``t = tanh(softplus(x))``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail and around its zero near -1.19
    too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", arXiv:1908.08681 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.mish_backward(np.ones(3), np.array([-2.0, 0.0, 2.0])).round(4)
    array([-0.1084,  0.6   ,  1.0693])
    """


@op
def softplus(x: ArrayLike, *, beta: float = 1.0, threshold: float = 20.0, out: Array | None = None) -> Array:
    """Softplus, a smooth ReLU, element by element.

    ``y = log(1 + exp(beta * x)) / beta``, and x itself where ``beta * x > threshold``, as PyTorch's.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    beta : float, default 1.0
        A finite number other than 0, in the type that x is computed in (float32 for half types); the larger,
        the closer to ReLU. A negative one mirrors: ``softplus(x, beta=-b) = -softplus(-x, beta=b)``.
    threshold : float, default 20.0
        A finite number. With the default x is the rounded result there anyway; the defaults are PyTorch's.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

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
    Accuracy: with a threshold of 17 or more below 1 ULP in float32 for every input, the negative tail
    included, and below 2 ULP in float64. Half types are the float32 result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    softplus_backward : The gradient.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating Second-Order Functional Knowledge for Better
    Option Pricing", NIPS 13 (2000).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.softplus(np.array([-2.0, 0.0, 2.0])).round(4)
    array([0.1269, 0.6931, 2.1269])
    """


@op
def softplus_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    beta: float = 1.0,
    threshold: float = 20.0,
    out: Array | None = None,
) -> Array:
    """Gradient of `softplus` with respect to x.

    ``dx = dy * sigmoid(beta * x)``, and dy itself where ``beta * x > threshold``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
    beta, threshold : float
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in the tail too.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    See Also
    --------
    softplus : The forward.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating Second-Order Functional Knowledge for Better
    Option Pricing", NIPS 13 (2000).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.softplus_backward(np.ones(3), np.array([-2.0, 0.0, 2.0])).round(4)
    array([0.1192, 0.5   , 0.8808])
    """


@op
def swish(x: ArrayLike, beta: ArrayLike = 1.0, *, out: Array | None = None) -> Array:
    """Swish with a parameter beta, element by element.

    ``y = x * sigmoid(beta * x)``. ``beta = 1`` is `silu`, ``beta = 0`` is ``x / 2``, ``beta = inf`` is
    `relu`.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    beta : float or array_like, default 1.0
        A number of any sign and size, infinities included, or an array of them that broadcasts to x's shape,
        of x's dtype or, where that is a half type, float32. It does not enlarge the result.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly an input or not overlapping them.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. A zero times an infinity in
        ``beta * x`` counts as 0.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 1 ULP in float32 and below 2 ULP in float64, for every x and beta. Half types are the
    float32 result, rounded. ``beta = 1`` has the bits of `silu`, as a number and in an array.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    Ramachandran, Zoph and Le, "Searching for Activation Functions", arXiv:1710.05941 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.swish(np.array([-2.0, 0.0, 2.0]), 2.0).round(4)
    array([-0.036,  0.   ,  1.964])
    >>> fastnorm.swish(np.array([[-1.0, 1.0], [-1.0, 1.0]]), np.array([[0.0], [np.inf]]))
    array([[-0.5,  0.5],
           [-0. ,  1. ]])
    """


@op
def swish_backward(
    dy: ArrayLike,
    x: ArrayLike,
    beta: ArrayLike = 1.0,
    *,
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Array, Array]:
    """Gradients of `swish` with respect to x and beta.

    ``dx = dy * (s + z * s * (1 - s))`` and ``dbeta = sum(dy * x**2 * s * (1 - s))`` over the elements that
    share a beta, with ``z = beta * x`` and ``s = sigmoid(z)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The first argument of the forward.
    beta : float or array_like, default 1.0
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dbeta : ndarray
        Of the shape of beta, () for a number; float32 where x is of a half type, else of x's dtype.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: the derivative is below 2 ULP in float32 for every x and beta, around its zero near ``z =
    -1.28`` too. dbeta is summed in float64.

    Reproducibility: the same bits for any number of threads and any strides, and on any CPU with fused
    multiply-add; an element of dx has them wherever it stands.

    References
    ----------
    Ramachandran, Zoph and Le, "Searching for Activation Functions", arXiv:1710.05941 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> dx, dbeta = fastnorm.swish_backward(np.ones(3), np.array([-2.0, 0.0, 2.0]), 0.5)
    >>> dx.round(4)
    array([0.0723, 0.5   , 0.9277])
    >>> print(dbeta.round(4))
    1.5729
    """


@op
def tanh(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Hyperbolic tangent, element by element.

    ``y = tanh(x)``.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly x or not overlapping it.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. The limits at -inf and inf
        are -1 and 1, and -0.0 stays -0.0.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape. `out` is then untouched.

    Notes
    -----
    Accuracy: below 1 ULP in float32 for every input, and below 2 ULP in float64. Half types are the float32
    result, rounded.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    LeCun, Bottou, Orr and Mueller, "Efficient BackProp", in: Neural Networks: Tricks of the Trade, Springer
    (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.tanh(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.7616,  0.    ,  0.7616])
    """


@op
def tanh_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    y: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `tanh` with respect to x.

    ``dx = dy * (1 - y**2)``, computed as ``1 / cosh(x)**2`` from x unless y is given, whose rounding near 1
    costs digits.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x : array_like
        The argument of the forward.
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
    Accuracy: the derivative is below 2 ULP in float32 for every x, in both tails too. From y it is off by
    twice what the rounding of y is near 1 and -1, 2**-24 at most (half types: 2**-11 and 2**-8); where y is
    one of them it is 0.

    Reproducibility: an element has the same bits wherever it stands, for any number of threads and on any CPU
    with fused multiply-add.

    References
    ----------
    LeCun, Bottou, Orr and Mueller, "Efficient BackProp", in: Neural Networks: Tricks of the Trade, Springer
    (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.tanh_backward(np.ones(3), np.array([-1.0, 0.0, 20.0]))
    array([4.19974342e-01, 1.00000000e+00, 1.69934170e-17])
    """
