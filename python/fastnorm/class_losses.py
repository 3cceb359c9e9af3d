"""Losses of scores against classes: cross entropy, also with the layer that computes the scores, focal loss
and PolyLoss, each with its gradient in the same pass; and of log probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, SupportsIndex, overload

from ._op import op
from ._typing import Array, ArrayLike, LossResult, Reduction

__all__ = [
    "cross_entropy",
    "cross_entropy_backward",
    "focal_loss",
    "focal_loss_backward",
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
    "nll_loss",
    "nll_loss_backward",
    "poly_loss",
    "poly_loss_backward",
]


@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Cross entropy of scores against classes or probabilities.

    ``-sum(q * weight * log(softmax(logits)))`` for each row, q being the target.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`; or probabilities, of the shape and
        dtype of logits.
    weight : array_like, optional
        One factor a class, for each term of the sum; of the dtype of logits, or float32 where that is a half
        type.
    label_smoothing : float, default 0.0
        The share a of the target that is spread evenly: ``q = (1 - a) * target + a / classes``.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean. Without effect on
        probabilities.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows, or by the sum of their targets' class weights, as PyTorch.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass over the logits.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array shaped like
        logits without `axis`. A mean over no rows, or only ignored ones, is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567 (2015), for
    label smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> logits = np.array([[4.0, 2.0, 1.0], [0.0, 5.0, 1.0]])
    >>> fastnorm.cross_entropy(logits, [0, 1], reduction="none").round(4)
    array([0.1698, 0.0247])
    >>> loss, dlogits = fastnorm.cross_entropy(logits, [0, 1], return_grad=True)
    >>> dlogits.round(4)
    array([[-0.0781,  0.0571,  0.021 ],
           [ 0.0033, -0.0122,  0.0089]])
    """


@op
def cross_entropy_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Gradient of `cross_entropy` with respect to logits.

    ``dlogits = softmax(logits) * sum(q * weight) - q * weight`` for each row, times dloss and the share of
    the mean.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`; or probabilities, of the shape and
        dtype of logits.
    weight : array_like, optional
        One factor a class, for each term of the sum; of the dtype of logits, or float32 where that is a half
        type.
    label_smoothing : float, default 0.0
        The share a of the target that is spread evenly: ``q = (1 - a) * target + a / classes``.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean. Without effect on
        probabilities.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows, or by the sum of their targets' class weights, as PyTorch.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567 (2015), for
    label smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.cross_entropy_backward(1.0, np.array([[4.0, 2.0, 1.0]]), [0]).round(4)
    array([[-0.1562,  0.1142,  0.042 ]])
    """


@overload
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Focal loss of scores against classes.

    ``-(1 - p)**gamma * log(p)`` for each row, p being the target's softmax.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`.
    gamma : float, default 2.0
        The exponent, at least 0; 0 gives `cross_entropy`.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass over the logits.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array shaped like
        logits without `axis`. A mean over no rows, or only ignored ones, is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.focal_loss(np.array([[4.0, 2.0, 1.0], [0.0, 5.0, 1.0]]), [0, 2], reduction="none").round(4)
    array([0.0041, 3.8822])
    """


@op
def focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Gradient of `focal_loss` with respect to logits.

    ``dlogits = (softmax - onehot) * ((1 - p)**gamma - gamma * (1 - p)**(gamma - 1) * p * log(p))`` for each
    row.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`.
    gamma : float, default 2.0
        The exponent, at least 0; 0 gives `cross_entropy`.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.focal_loss_backward(1.0, np.array([[4.0, 2.0, 1.0]]), [0]).round(4)
    array([[-0.0108,  0.0079,  0.0029]])
    """


@overload
def linear_cross_entropy(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def linear_cross_entropy(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    return_grad: Literal[True],
) -> tuple[LossResult, Array, Array, Array | None]: ...
@overload
def linear_cross_entropy(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array, Array, Array | None]: ...
@op
def linear_cross_entropy(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array, Array, Array | None]:
    """Cross entropy of a dense layer's outputs against classes, without an array of all outputs.

    ``cross_entropy(x @ weight + bias, target)``, the loss at the end of a language model.

    Parameters
    ----------
    x : array_like
        (..., in), float32, float64, float16 or bfloat16, with any strides.
    weight : array_like
        (in, classes), of x's dtype or float32 where that is a half type; a transposed view is taken as it is.
    target : array_like
        (...), classes of any integer type.
    bias : array_like, optional
        (classes,), of the same dtypes as weight.
    label_smoothing : float, default 0.0
        The share a of the target that is spread evenly: ``q = (1 - a) * target + a / classes``.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows that are not ignored.
    return_grad : bool, default False
        Whether to return the gradients too, for which no product is computed twice.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of x's dtype, as `numpy.sum` gives; with ``'none'`` an array of target's shape. A mean
        over no rows, or only ignored ones, is NaN, as in PyTorch.
    dx : ndarray
        Only with `return_grad`, as all that follow: the gradient of the loss (of its sum with ``'none'``), of
        x's shape and dtype.
    dweight : ndarray
        (in, classes), float32 where x is of a half type, else of x's dtype.
    dbias : ndarray or None
        (classes,), of the same dtype; None without a bias.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    See Also
    --------
    linear, cross_entropy : The two that it is made of.

    Notes
    -----
    Memory: beside the results 3 MiB of float32 logits, or those of 32 rows, whichever is more, and some
    copies, whatever the number of rows. The loss alone takes some columns of the logits of many rows at a
    time. With the gradients all columns of some rows are there: first of as many rows as x has features,
    where dweight will be. These are three products, as many as with an array of all logits.

    Accuracy: logits err as the outputs of `linear`; half types keep them in float32. The loss of given logits
    is as good as that of `cross_entropy`, and the gradients err as those of `linear`; a gradient of a logit
    that would be subnormal counts as 0 in them.

    Reproducibility: as in `linear` and `cross_entropy`; the loss has the same bits with and without
    gradients. The order of the sums of dweight and dbias depends on the shape alone.

    References
    ----------
    Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", arXiv:2411.09009 (2024).
    Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0], [0.0, -1.0]])
    >>> weight = np.array([[2.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    >>> fastnorm.linear_cross_entropy(x, weight, [0, 2], reduction="none").round(4)
    array([0.1698, 0.5514])
    >>> loss, dx, dweight, dbias = fastnorm.linear_cross_entropy(x, weight, [0, 2], return_grad=True)
    >>> dx.round(4)
    array([[-0.1352, -0.021 ],
           [ 0.    ,  0.2119]])
    """


@op
def linear_cross_entropy_backward(
    dloss: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `linear_cross_entropy`.

    With ``z = x @ weight + bias`` and ``dz = softmax(z) - q`` for each row, times dloss and the share of the
    mean: ``dx = dz @ weight.T``, ``dweight = x.T @ dz`` and ``dbias = dz.sum(rows)``.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    x, weight, target, bias : array_like
        The arguments of the forward.
    label_smoothing : float, default 0.0
        As in the forward, as all that follow.
    ignore_index : int, default -100
        As in the forward.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape and dtype.
    dweight : ndarray
        (in, classes), float32 where x is of a half type, else of x's dtype.
    dbias : ndarray or None
        (classes,), of the same dtype; None without a bias.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    See Also
    --------
    linear_cross_entropy : With ``return_grad=True`` it gives the same gradients with the loss, at no cost.

    Notes
    -----
    Memory: as `linear_cross_entropy` with its gradients.

    Accuracy: logits err as the outputs of `linear`; half types keep them in float32. The gradients err as
    those of `linear`; that of a logit that would be subnormal counts as 0 in them.

    Reproducibility: as in `linear` and `cross_entropy`. The order of the sums of dweight and dbias depends on
    the shape alone.

    References
    ----------
    Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", arXiv:2411.09009 (2024).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, weight = np.array([[1.0, 2.0]]), np.array([[2.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    >>> dx, dweight, dbias = fastnorm.linear_cross_entropy_backward(1.0, x, weight, [0])
    >>> dx.round(4)
    array([[-0.2704, -0.042 ]])
    """


@overload
def nll_loss(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def nll_loss(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def nll_loss(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def nll_loss(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """Negative log likelihood of classes.

    ``-weight[target] * log_probabilities[target]`` for each row. `cross_entropy` takes the logarithm of the
    softmax too, in one pass and with more digits where a probability is near 1.

    Parameters
    ----------
    log_probabilities : array_like
        float32, float64, float16 or bfloat16, with any strides; one a class along `axis`, as `log_softmax`
        gives them.
    target : array_like
        Classes, of any integer type, shaped like log_probabilities without `axis`.
    weight : array_like, optional
        One factor a class; of the dtype of log_probabilities, or float32 where that is a half type.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the sum of the weights of the rows' classes, as PyTorch.
    axis : int, default -1
        The class axis. The default is the last one, as in `cross_entropy`; PyTorch's is 1.
    return_grad : bool, default False
        Whether to return the gradient too.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of log_probabilities, as `numpy.sum` gives; with ``'none'`` an array
        shaped like log_probabilities without `axis`. A mean over no rows, or only ignored ones, is NaN, as in
        PyTorch.
    dlog_probabilities : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of log_probabilities.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: a product of two numbers for each row, in float64, as sums are; rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    The likelihood of a sample; defaults as in ``torch.nn.functional.nll_loss`` but for the axis.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> log_probabilities = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    >>> fastnorm.nll_loss(log_probabilities, [0, 1], reduction="none").round(4)
    array([0.6931, 0.2231])
    >>> loss, dlog_probabilities = fastnorm.nll_loss(log_probabilities, [0, 1], return_grad=True)
    >>> dlog_probabilities + 0.0
    array([[-0.5,  0. ,  0. ],
           [ 0. , -0.5,  0. ]])
    """


@op
def nll_loss_backward(
    dloss: ArrayLike,
    log_probabilities: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Gradient of `nll_loss` with respect to log_probabilities.

    ``-weight[target]`` at the class of each row and 0 elsewhere, times dloss and the share of the mean.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    log_probabilities : array_like
        float32, float64, float16 or bfloat16, with any strides; one a class along `axis`, as `log_softmax`
        gives them.
    target : array_like
        Classes, of any integer type, shaped like log_probabilities without `axis`.
    weight : array_like, optional
        One factor a class; of the dtype of log_probabilities, or float32 where that is a half type.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the sum of the weights of the rows' classes, as PyTorch.
    axis : int, default -1
        The class axis. The default is the last one, as in `cross_entropy`; PyTorch's is 1.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlog_probabilities : ndarray
        Of the shape, dtype and order of axes of log_probabilities.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: a product of three numbers for each row, in float64, rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    The gradient of ``torch.nn.functional.nll_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.nll_loss_backward(1.0, np.log([[0.5, 0.25, 0.25]]), [2], reduction="sum") + 0.0
    array([[ 0.,  0., -1.]])
    """


@overload
def poly_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[False] = False,
) -> LossResult: ...
@overload
def poly_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: Literal[True],
) -> tuple[LossResult, Array]: ...
@overload
def poly_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool,
) -> LossResult | tuple[LossResult, Array]: ...
@op
def poly_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]:
    """PolyLoss: cross entropy with changed leading terms of its series.

    ``-sum(q * log(p)) + sum_j epsilon_j * (1 - sum(q * p))**j`` for each row, p being the softmax and q the
    target.

    Parameters
    ----------
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`; or probabilities, of the shape and
        dtype of logits.
    epsilon : float or sequence of float, default 1.0
        The coefficient of Poly-1, or those of Poly-N from j = 1 on. Optax's default is 2.0; the authors chose
        it for each task (2 for ImageNet, -1 for COCO).
    label_smoothing : float, default 0.0
        The share a of the target that is spread evenly: ``q = (1 - a) * target + a / classes``.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean. Without effect on
        probabilities.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows that are not ignored.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    return_grad : bool, default False
        Whether to return the gradient too, from the same pass over the logits.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar of the dtype of logits, as `numpy.sum` gives; with ``'none'`` an array shaped like
        logits without `axis`. A mean over no rows, or only ignored ones, is NaN, as in PyTorch.
    dlogits : ndarray
        Only with `return_grad`: the gradient of the loss (of its sum with ``'none'``), of the shape, dtype
        and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification LossResult Functions",
    arXiv:2204.12511 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> logits = np.array([[4.0, 2.0, 1.0], [0.0, 5.0, 1.0]])
    >>> target = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, 0.2]])
    >>> fastnorm.poly_loss(logits, target, epsilon=2.0, reduction="none").round(4)
    array([0.4823, 1.2567])
    """


@op
def poly_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array:
    """Gradient of `poly_loss` with respect to logits.

    For a class ``dlogits = (p - onehot) * (1 + p_t * sum_j j * epsilon_j * (1 - p_t)**(j - 1))``, without
    smoothing.

    Parameters
    ----------
    dloss : array_like
        Gradient of what follows with respect to the loss: a number, or with ``reduction='none'`` an array
        like the loss.
    logits : array_like
        float32, float64, float16 or bfloat16, with any strides; one score a class along `axis`.
    target : array_like
        Classes, of any integer type, shaped like logits without `axis`; or probabilities, of the shape and
        dtype of logits.
    epsilon : float or sequence of float, default 1.0
        The coefficient of Poly-1, or those of Poly-N from j = 1 on. Optax's default is 2.0; the authors chose
        it for each task (2 for ImageNet, -1 for COCO).
    label_smoothing : float, default 0.0
        The share a of the target that is spread evenly: ``q = (1 - a) * target + a / classes``.
    ignore_index : int, default -100
        Rows with this class have loss and gradient 0 and do not count in the mean. Without effect on
        probabilities.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        ``'mean'`` divides by the number of rows that are not ignored.
    axis : int, default -1
        The class axis. The default is the last one, as in JAX; PyTorch's is 1.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dlogits : ndarray
        Of the shape, dtype and order of axes of logits.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; a class outside the range
        among them.

    Notes
    -----
    Accuracy: the loss of a row is summed from parts of one sign, so in float32 it is good to a few ULP at
    every size, also where the target has a probability near 1 and the loss is near 0; the gradient is good to
    a few ULP of its parts. Sums are taken in float64. Half types are computed in float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add; a row's loss and gradient do not depend on the other rows but for the mean's divisor.

    References
    ----------
    Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification LossResult Functions",
    arXiv:2204.12511 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> fastnorm.poly_loss_backward(1.0, np.array([[4.0, 2.0, 1.0]]), [0], epsilon=2.0).round(4)
    array([[-0.4198,  0.3069,  0.1129]])
    """
