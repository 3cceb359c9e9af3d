"""Losses of each element: of numbers, squared, absolute and Huber's; of yes and no, the cross entropy and the
focal loss of a sigmoid. Each comes with its gradient in one pass.
"""

from __future__ import annotations

from typing import Literal, overload

from ._op import op
from ._typing import Array, ArrayLike, BatchReduction, LossResult, Reduction

__all__ = [
    "bce_with_logits",
    "bce_with_logits_backward",
    "huber_loss",
    "huber_loss_backward",
    "kl_div",
    "kl_div_backward",
    "l1_loss",
    "l1_loss_backward",
    "mse_loss",
    "mse_loss_backward",
    "poly_focal_loss",
    "poly_focal_loss_backward",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_backward",
    "smooth_l1_loss",
    "smooth_l1_loss_backward",
]


@overload
def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Mean squared error.

    ``mean((prediction - target)**2)``.

    Parameters
    ----------
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of prediction, as `numpy.sum` gives; with ``'none'`` an array like
        prediction. A mean over no elements is NaN, as in PyTorch.
    dprediction : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and squared exactly for the sum, which is taken in float64, so a
    float32 loss is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded
    once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The loss of least squares; defaults as in ``torch.nn.functional.mse_loss``. (scikit-learn's has half of
    it.)

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> prediction, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0])
    >>> loss, dprediction = fastnorm.mse_loss(prediction, target, return_grad=True)
    >>> print(loss.round(4), dprediction.round(4))
    1.4167 [ 0.     -0.3333  1.3333]
    """


@op
def mse_loss_backward(
    dloss: ArrayLike,
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    out: Array | None = None,
) -> Array:
    """Gradient of `mse_loss` with respect to prediction.

    ``dprediction = dloss * 2 * (prediction - target) / size``.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dprediction : ndarray
        Of the shape, dtype and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and squared exactly for the sum, which is taken in float64, so a
    float32 loss is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded
    once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The loss of least squares; defaults as in ``torch.nn.functional.mse_loss``. (scikit-learn's has half of
    it.)

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.mse_loss_backward(1.0, np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0]), reduction="sum")
    array([ 0., -1.,  4.])
    """


@overload
def kl_div(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    reduction: BatchReduction = "mean",
    log_target: bool = False,
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def kl_div(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    reduction: BatchReduction = "mean",
    log_target: bool = False,
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def kl_div(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    reduction: BatchReduction = "mean",
    log_target: bool = False,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def kl_div(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    reduction: BatchReduction = "mean",
    log_target: bool = False,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Kullback-Leibler divergence of probabilities from those of a model.

    ``mean(target * (log(target) - log_probabilities))``; a target of 0 adds 0.

    Parameters
    ----------
    log_probabilities : array_like
        float32, float64, float16 or bfloat16, of any shape and strides: logarithms of the model's
        probabilities.
    target : array_like
        Probabilities, of the shape and dtype of log_probabilities, or their logarithms. One below 0 gives
        NaN.
    reduction : {'mean', 'sum', 'none', 'batchmean'}, default 'mean'
        ``'mean'`` divides by the number of elements, as PyTorch; ``'batchmean'`` by the length of the first
        axis, which is the divergence where a row is a distribution.
    log_target : bool, default False
        Whether target holds logarithms.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of log_probabilities, as `numpy.sum` gives; with ``'none'`` an array like
        log_probabilities. A mean over no elements is NaN, as in PyTorch.
    dlog_probabilities : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of log_probabilities. Targets get none.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the loss of an element is within 4 ULP of what it is the difference of,
    ``target * (abs(log(target)) + abs(log_probabilities))``. Sums are taken in float64. Half types are
    computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Kullback and Leibler, "On Information and Sufficiency", 1951; defaults as in
    ``torch.nn.functional.kl_div``, where a target of 0 beside a probability of 0 gives NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> model, target = np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([[1.0, 0.0], [0.5, 0.5]])
    >>> print(fastnorm.kl_div(model, target, reduction="batchmean").round(4))
    0.602
    >>> fastnorm.kl_div(model, target, reduction="none").sum(axis=1).round(4)
    array([0.6931, 0.5108])
    """


@op
def kl_div_backward(
    dloss: ArrayLike,
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    reduction: BatchReduction = "mean",
    log_target: bool = False,
    out: Array | None = None,
) -> Array:
    """Gradient of `kl_div` with respect to log_probabilities.

    ``-target``, or ``-exp(target)`` of logarithms, times dloss and the share of the mean.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    log_probabilities : array_like
        float32, float64, float16 or bfloat16, of any shape and strides: logarithms of the model's
        probabilities.
    target : array_like
        Probabilities, of the shape and dtype of log_probabilities, or their logarithms. One below 0 gives
        NaN.
    reduction : {'mean', 'sum', 'none', 'batchmean'}, default 'mean'
        ``'mean'`` divides by the number of elements, as PyTorch; ``'batchmean'`` by the length of the first
        axis, which is the divergence where a row is a distribution.
    log_target : bool, default False
        Whether target holds logarithms.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlog_probabilities : ndarray
        Of the shape, dtype and order of axes of log_probabilities.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 within 4 ULP. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The gradient of ``torch.nn.functional.kl_div`` with respect to its first argument.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.kl_div_backward(1.0, np.log([0.5, 0.5]), [0.25, 0.75], reduction="sum")
    array([-0.25, -0.75])
    """


@overload
def l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Mean absolute error.

    ``mean(abs(prediction - target))``.

    Parameters
    ----------
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of prediction, as `numpy.sum` gives; with ``'none'`` an array like
        prediction. A mean over no elements is NaN, as in PyTorch.
    dprediction : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and taken in float64 for the sum, so a float32 loss is good to 3
    ULP, and the gradient is rounded once. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The loss of least absolute deviations; defaults as in ``torch.nn.functional.l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> prediction, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0])
    >>> loss, dprediction = fastnorm.l1_loss(prediction, target, return_grad=True)
    >>> print(loss.round(4), dprediction.round(4))
    0.8333 [ 0.     -0.3333  0.3333]
    """


@op
def l1_loss_backward(
    dloss: ArrayLike,
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    out: Array | None = None,
) -> Array:
    """Gradient of `l1_loss` with respect to prediction.

    ``dprediction = dloss * sign(prediction - target) / size``, 0 where they are equal.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dprediction : ndarray
        Of the shape, dtype and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and taken in float64 for the sum, so a float32 loss is good to 3
    ULP, and the gradient is rounded once. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The loss of least absolute deviations; defaults as in ``torch.nn.functional.l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.l1_loss_backward(1.0, np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0]), reduction="sum")
    array([ 0., -1.,  1.])
    """


@overload
def huber_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def huber_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def huber_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def huber_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Huber loss: half the squared error of small differences, linear in large ones.

    The mean of ``d**2 / 2`` where ``abs(d) <= delta`` and ``delta * (abs(d) - delta / 2)`` elsewhere, d being
    ``prediction - target``.

    Parameters
    ----------
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    delta : float, default 1.0
        The difference up to which the loss is quadratic, more than 0.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of prediction, as `numpy.sum` gives; with ``'none'`` an array like
        prediction. A mean over no elements is NaN, as in PyTorch.
    dprediction : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and everything else taken in float64 for the sum, so a float32 loss
    is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964); defaults
    as in ``torch.nn.functional.huber_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> prediction, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0])
    >>> loss, dprediction = fastnorm.huber_loss(prediction, target, return_grad=True)
    >>> print(loss.round(4), dprediction.round(4))
    0.5417 [ 0.     -0.1667  0.3333]
    """


@op
def huber_loss_backward(
    dloss: ArrayLike,
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    out: Array | None = None,
) -> Array:
    """Gradient of `huber_loss` with respect to prediction.

    ``dprediction = dloss * clip(prediction - target, -delta, delta) / size``.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    delta : float, default 1.0
        The difference up to which the loss is quadratic, more than 0.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dprediction : ndarray
        Of the shape, dtype and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and everything else taken in float64 for the sum, so a float32 loss
    is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964); defaults
    as in ``torch.nn.functional.huber_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.huber_loss_backward(
    ...     1.0, np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0]), delta=1.5, reduction="sum"
    ... )
    array([ 0. , -0.5,  1.5])
    """


@overload
def smooth_l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def smooth_l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def smooth_l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def smooth_l1_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Absolute error, rounded off to a square where it is small: `huber_loss` with delta = beta, over beta.

    The mean of ``d**2 / (2 * beta)`` where ``abs(d) <= beta`` and ``abs(d) - beta / 2`` elsewhere, d being
    ``prediction - target``.

    Parameters
    ----------
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    beta : float, default 1.0
        The difference up to which the loss is quadratic, at least 0; with 0 it is `l1_loss`.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of prediction, as `numpy.sum` gives; with ``'none'`` an array like
        prediction. A mean over no elements is NaN, as in PyTorch.
    dprediction : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and everything else taken in float64 for the sum, so a float32 loss
    is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Girshick, "Fast R-CNN", arXiv:1504.08083 (2015); defaults as in ``torch.nn.functional.smooth_l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> prediction, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0])
    >>> loss, dprediction = fastnorm.smooth_l1_loss(prediction, target, beta=0.5, return_grad=True)
    >>> print(loss.round(4), dprediction.round(4))
    0.6667 [ 0.     -0.3333  0.3333]
    """


@op
def smooth_l1_loss_backward(
    dloss: ArrayLike,
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    out: Array | None = None,
) -> Array:
    """Gradient of `smooth_l1_loss` with respect to prediction.

    ``dprediction = dloss * clip((prediction - target) / beta, -1, 1) / size``.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    prediction : array_like
        float32, float64, float16 or bfloat16, of any shape and strides.
    target : array_like
        Of the shape and dtype of prediction.
    beta : float, default 1.0
        The difference up to which the loss is quadratic, at least 0; with 0 it is `l1_loss`.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dprediction : ndarray
        Of the shape, dtype and order of axes of prediction.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: a difference is rounded once and everything else taken in float64 for the sum, so a float32 loss
    is good to 3 ULP, and so is the gradient. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Girshick, "Fast R-CNN", arXiv:1504.08083 (2015); defaults as in ``torch.nn.functional.smooth_l1_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.smooth_l1_loss_backward(
    ...     1.0, np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.0]), beta=2.0, reduction="sum"
    ... )
    array([ 0.  , -0.25,  1.  ])
    """


@overload
def bce_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def bce_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def bce_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def bce_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Binary cross entropy of logits.

    The mean of ``weight * -(pos_weight * target * log(p) + (1 - target) * log(1 - p))``, p being
    ``sigmoid(logits)``.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    weight : array_like, optional
        Of the loss of each element: a number or an array that broadcasts to the shape of logits, of their
        dtype or float32 for a half type. A mean is still over the number of elements.
    pos_weight : array_like, optional
        Of the targets 1, in the same forms: one for each class along the last axis has shape (classes,).
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array like
        logits. A mean over no elements is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target other than 0
        and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels: loss and gradient are good to 4 ULP in both tails, where
    the loss vanishes and where it grows; each weight adds a rounding. Weights are applied in the type that is
    computed in: where the loss without them is subnormal, or overflows, they do not mend it. Sums are
    taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The log-loss of logistic regression; defaults as in
    ``torch.nn.functional.binary_cross_entropy_with_logits``. Infinite logits give the limit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> logits, target = np.array([[2.0, -1.0], [0.5, 3.0]]), np.array([[1, 0], [0, 1]])
    >>> loss, dlogits = fastnorm.bce_with_logits(logits, target, pos_weight=[1.0, 3.0], return_grad=True)
    >>> print(loss.round(4), dlogits.round(4).tolist())
    0.39 [[-0.0298, 0.0672], [0.1556, -0.0356]]
    """


@op
def bce_with_logits_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: Array | None = None,
) -> Array:
    """Gradient of `bce_with_logits` with respect to logits.

    ``dlogits = dloss * weight * ((1 - target) * p - pos_weight * target * (1 - p)) / size``, p being
    ``sigmoid(logits)``.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    weight : array_like, optional
        Of the loss of each element: a number or an array that broadcasts to the shape of logits, of their
        dtype or float32 for a half type. A mean is still over the number of elements.
    pos_weight : array_like, optional
        Of the targets 1, in the same forms: one for each class along the last axis has shape (classes,).
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all elements; ``'none'`` returns the loss of each.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target other than 0
        and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels: loss and gradient are good to 4 ULP in both tails, where
    the loss vanishes and where it grows; each weight adds a rounding. Weights are applied in the type that is
    computed in: where the loss without them is subnormal, or overflows, they do not mend it. Sums are
    taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    The log-loss of logistic regression; defaults as in
    ``torch.nn.functional.binary_cross_entropy_with_logits``. Infinite logits give the limit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> logits, target = np.array([2.0, -1.0, 0.5]), np.array([True, False, False])
    >>> fastnorm.bce_with_logits_backward(1.0, logits, target, reduction="sum").round(4)
    array([-0.1192,  0.2689,  0.6225])
    """


@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Focal loss of a sigmoid, for each element.

    ``-alpha * (1 - p)**gamma * log(p)``, p being ``sigmoid(logits)`` for a target 1; with ``1 - p`` for p and
    ``1 - alpha`` for alpha for a target 0.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    alpha : float or None, default 0.25
        Weight of the targets 1, that of the targets 0 being ``1 - alpha``; None or a negative number weighs
        nothing.
    gamma : float, default 2.0
        The exponent, at least 0.
    reduction : {'mean', 'sum', 'none'}, default 'none'
        Over all elements; ``'none'`` returns the loss of each, as torchvision.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array like logits. A
        mean over no elements is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target
        other than 0 and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels: loss and gradient are good to
    ``4 * (2 + gamma)`` ULP in both tails, where the loss vanishes and where it grows. Sums are taken in
    float64. Half types are computed in float32 and rounded once. In float64 a gamma that is not a whole
    number up to 8 costs ``gamma * abs(log(1 - p))`` roundings more.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002 (2017); defaults as in
    ``torchvision.ops.sigmoid_focal_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> print(fastnorm.sigmoid_focal_loss(np.array([2.0, 2.0, -1.0]), [1, 0, 0]).round(4))
    [5.0000e-04 1.2376e+00 1.7000e-02]
    >>> logits = np.array([2.0, 2.0])
    >>> loss, dlogits = fastnorm.sigmoid_focal_loss(logits, [1, 0], reduction="sum", return_grad=True)
    >>> print(loss.round(4), dlogits.round(4))
    1.238 [-0.0012  0.8075]
    """


@op
def sigmoid_focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    out: Array | None = None,
) -> Array:
    """Gradient of `sigmoid_focal_loss` with respect to logits.

    ``dlogits = dloss * alpha * (1 - p)**gamma * (gamma * p * log(p) - (1 - p))`` for a target 1, and the same
    of -logits with the opposite sign for a target 0.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    alpha : float or None, default 0.25
        Weight of the targets 1, that of the targets 0 being ``1 - alpha``; None or a negative number weighs
        nothing.
    gamma : float, default 2.0
        The exponent, at least 0.
    reduction : {'mean', 'sum', 'none'}, default 'none'
        Over all elements; ``'none'`` returns the loss of each, as torchvision.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target
        other than 0 and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels: loss and gradient are good to
    ``4 * (2 + gamma)`` ULP in both tails, where the loss vanishes and where it grows. Sums are taken in
    float64. Half types are computed in float32 and rounded once. In float64 a gamma that is not a whole
    number up to 8 costs ``gamma * abs(log(1 - p))`` roundings more.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002 (2017); defaults as in
    ``torchvision.ops.sigmoid_focal_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.sigmoid_focal_loss_backward(np.ones(2), np.array([2.0, 2.0]), [1, 0]).round(4)
    array([-0.0012,  0.8075])
    """


@overload
def poly_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def poly_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def poly_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def poly_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Focal loss of a sigmoid with PolyLoss's first term, for each element.

    ``alpha * (-(1 - p)**gamma * log(p) + epsilon * (1 - p)**(gamma + 1))``, p being ``sigmoid(logits)`` for a
    target 1; with ``1 - p`` for p and ``1 - alpha`` for alpha for a target 0. epsilon 0 gives
    `sigmoid_focal_loss`.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    epsilon : float, default 1.0
        Coefficient of the polynomial term, at least -1 to keep the leading term of the series from turning
        negative.
    alpha : float or None, default 0.25
        Weight of the targets 1, that of the targets 0 being ``1 - alpha``; None or a negative number weighs
        nothing.
    gamma : float, default 2.0
        The exponent, at least 0.
    reduction : {'mean', 'sum', 'none'}, default 'none'
        Over all elements; ``'none'`` returns the loss of each, as torchvision.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array like logits. A
        mean over no elements is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target
        other than 0 and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels where epsilon is at least -1: loss and gradient are good to
    ``4 * (2 + gamma)`` ULP in both tails, where the loss vanishes and where it grows. Sums are taken in
    float64. Half types are computed in float32 and rounded once. In float64 a gamma that is not a whole
    number up to 8 costs ``gamma * abs(log(1 - p))`` roundings more.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions",
    arXiv:2204.12511 (2022); as in the authors' code, alpha weighs both terms.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.poly_focal_loss(np.array([0.5, 2.0, -1.0]), [1, 0, 0]).round(4)
    array([0.0303, 1.7501, 0.0316])
    """


@op
def poly_focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    out: Array | None = None,
) -> Array:
    """Gradient of `poly_focal_loss` with respect to logits.

    That of `sigmoid_focal_loss` and ``-dloss * alpha * epsilon * (gamma + 1) * (1 - p)**(gamma + 1) * p`` for
    a target 1, and the same of -logits with the opposite sign for a target 0.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, of any shape and strides; one score z for each independent yes
        or no.
    target : array_like
        1 for yes, 0 for no, of the shape of logits: bools or integers, or numbers of the dtype of logits,
        which may also lie between (that they do is not checked).
    epsilon : float, default 1.0
        Coefficient of the polynomial term, at least -1 to keep the leading term of the series from turning
        negative.
    alpha : float or None, default 0.25
        Weight of the targets 1, that of the targets 0 being ``1 - alpha``; None or a negative number weighs
        nothing.
    gamma : float, default 2.0
        The exponent, at least 0.
    reduction : {'mean', 'sum', 'none'}, default 'none'
        Over all elements; ``'none'`` returns the loss of each, as torchvision.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; an integer target
        other than 0 and 1 among them.

    Notes
    -----
    Accuracy: for targets 0 and 1 nothing cancels where epsilon is at least -1: loss and gradient are good to
    ``4 * (2 + gamma)`` ULP in both tails, where the loss vanishes and where it grows. Sums are taken in
    float64. Half types are computed in float32 and rounded once. In float64 a gamma that is not a whole
    number up to 8 costs ``gamma * abs(log(1 - p))`` roundings more.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; the losses and gradients of the elements do not depend on each other.

    References
    ----------
    Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions",
    arXiv:2204.12511 (2022); as in the authors' code, alpha weighs both terms.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.poly_focal_loss_backward(np.ones(2), np.array([2.0, 2.0]), [1, 0]).round(4)
    array([-0.0023,  0.9908])
    """
