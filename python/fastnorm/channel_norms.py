"""Normalisation with a weight for each channel (batch_norm, group_norm, instance_norm), forward and backward,
and the moments of parts of a batch.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import numpy as np

from ._op import op
from ._typing import Array, ArrayLike, Axis

__all__ = [
    "Moments",
    "batch_norm",
    "batch_norm_backward",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "moments",
]


@overload
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    running_correction: int = 1,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    running_correction: int = 1,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Array, Array]: ...
@overload
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    running_correction: int = 1,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    return_stats: bool,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]: ...
@op
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    running_correction: int = 1,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]:
    """Normalise each channel by its mean and deviation over the batch, or by running statistics.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias`` with one mean and variance (biased) for each channel:
    those of x where `training` or where there are no running statistics, else ``running_mean`` and
    ``running_var``.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides: (N, C), (N, C, L), (N, C, H, W), ... or, with
        ``axis=-1``, (N, H, W, C), ....
    weight, bias : array_like, optional
        One number for each channel; of x's dtype, or float32 where x is a half type. Left out, they count as
        1 and 0.
    running_mean, running_var : ndarray, optional
        Both or neither: one number for each channel, float64 for float64 and float32 for the others. Training
        updates them in place, ``running = (1 - momentum) * running + momentum * new``; then they must be
        writeable and share no memory with another array.
    training : bool, default False
        Whether to normalise by the statistics of x and to update the running ones.
    momentum : float, default 0.1
        Weight of the new batch, from 0 to 1, as in PyTorch. Flax, Keras and ONNX weigh the old value: their
        0.9 is 0.1.
    running_correction : int, default 1
        Degrees of freedom that the running variance leaves out: 1 (unbiased) as PyTorch, 0 as Flax, Keras and
        ONNX.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's (Keras: 1e-3).
    axis : int, default 1
        The axis of the channels; all others are averaged over.
    stats : tuple of array_like, optional
        ``(mean, rstd)``, one number for each channel, to normalise by instead: such as the merged `moments`
        of data spread over several machines. Of the type of statistics, or float64. The running arrays stay
        as they are.
    return_stats : bool, default False
        Whether to return the statistics that were used too, for the backward.
    out : ndarray, optional
        Takes the result: of x's shape and dtype, and exactly one of the inputs or overlapping none of them.

    Returns
    -------
    y : ndarray
        Of x's shape, dtype and order of axes in memory; `out` where it was given. An empty x gives an empty
        result, NaN statistics of its own, and leaves the running arrays as they are.
    mean, rstd : ndarray
        Only with `return_stats`: the mean and ``1 / sqrt(var + eps)`` of each channel (rstd is 0 where both
        var and eps are); float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape; for one of the running arrays
        without the other; for a single value for each channel in training. `out` and the running arrays are
        then untouched.

    Notes
    -----
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * (abs(xhat * weight) + abs(weight) + abs(bias))``
    with ``xhat = (x - mean) * rstd``, also where the mean of a channel is a million times its deviation.
    Moments are float64 and are merged by the rule of Chan, Golub and LeVeque. Half types are computed in
    float32 and rounded once.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add. In training a result depends on the whole batch and on the order of its values.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", arXiv:1502.03167 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> fastnorm.batch_norm(x, running_mean=mean, running_var=var, training=True).ravel().round(4)
    array([-1.3416, -0.4472,  0.4472,  1.3416])
    >>> mean.round(4), var.round(4)
    (array([0.25]), array([1.0667]))
    """


@op
def batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `batch_norm` with respect to x, weight and bias.

    With ``xhat = (x - mean) * rstd``, means and sums being those of a channel:
    ``dx = weight * rstd * (dy - mean(dy) - xhat * mean(dy * xhat))`` where the statistics are those of x,
    ``dx = weight * rstd * dy`` where they are given for good; ``dweight = sum(dy * xhat)``, ``dbias =
    sum(dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, weight, bias, running_mean, running_var : array_like
        The arguments of the forward. Of `bias` only matters whether it was given. The running arrays are read
        in evaluation only, and never changed.
    training : bool, default False
        As in the forward. With ``training=True`` given `stats` count as those of x, so the gradient goes
        through them.
    eps : float, default 1e-5
        As in the forward; not used where `stats` are given.
    axis : int, default 1
        As in the forward.
    stats : tuple of array_like, optional
        ``(mean, rstd)`` as the forward returns them with ``return_stats=True``. Left out, they are computed
        again. What the mean of a batch lost when it was rounded is made good. Without `training` they count
        as constants.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        One number for each channel, None where the parameter was None; float64 for float64 and float32 for
        the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is at most 1e-6.

    Reproducibility: as the forward.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", arXiv:1502.03167 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> dy = np.array([[1.0], [0.0], [0.0], [0.0]])
    >>> dx, dweight, dbias = fastnorm.batch_norm_backward(dy, x, np.ones(1), training=True)
    >>> dx.ravel().round(4)
    array([ 0.2683, -0.3578, -0.0894,  0.1789])
    >>> print(dbias)
    None
    """


@op
def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: Array | None = None,
) -> Array:
    """Normalise groups of neighbouring channels of each sample by their joint mean and deviation.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``; mean and var (biased) are taken over the channels of
    a group and over all axes but the first and that of the channels.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides: (N, C, ...) or, with ``axis=-1``, (N, ...,
        C). The first axis holds the samples, unless it is that of the channels: then there is one sample.
    num_groups : int
        A divisor of the number of channels. With 1 all channels of a sample are normalised jointly, with as
        many groups as channels each by itself (`instance_norm`).
    weight, bias : array_like, optional
        One number for each channel; of x's dtype, or float32 where x is a half type. Left out, they count as
        1 and 0.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's and ONNX's (Flax: 1e-6).
    axis : int, default 1
        The axis of the channels.
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
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * (abs(xhat * weight) + abs(weight) + abs(bias))``
    with ``xhat = (x - mean) * rstd``, also where the mean is a million times the deviation. Half types are
    computed in float32 and rounded once.

    Reproducibility: a sample has the same bits for any number of threads, any other samples, any strides and
    alignment, and any CPU with fused multiply-add.

    References
    ----------
    Wu and He, "Group Normalization", arXiv:1803.08494 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[[1.0, 2.0], [3.0, 4.0], [10.0, 10.0], [10.0, 14.0]]])
    >>> fastnorm.group_norm(x, 2).round(3)
    array([[[-1.342, -0.447],
            [ 0.447,  1.342],
            [-0.577, -0.577],
            [-0.577,  1.732]]])
    """


@op
def group_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `group_norm` with respect to x, weight and bias.

    With ``xhat = (x - mean) * rstd`` and ``h = dy * weight``, the means being those of a group and the sums
    those of a channel: ``dx = rstd * (h - mean(h) - xhat * mean(h * xhat))``, ``dweight = sum(dy * xhat)``,
    ``dbias = sum(dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, num_groups, weight, bias
        The arguments of the forward. Of `bias` only matters whether it was given.
    eps, axis
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        One number for each channel, None where the parameter was None; float64 for float64 and float32 for
        the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is at most 1e-6.

    Reproducibility: dx as the forward. dweight and dbias have the same bits for any number of threads; they
    depend on all samples and on their order.

    References
    ----------
    Wu and He, "Group Normalization", arXiv:1803.08494 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    >>> dy = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    >>> dx, dweight, dbias = fastnorm.group_norm_backward(dy, x, 1, np.ones(2))
    >>> dx.round(4)
    array([[[ 0.2683, -0.3578],
            [-0.0894,  0.1789]]])
    """


@op
def instance_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: Array | None = None,
) -> Array:
    """Normalise each channel of each sample by its own mean and deviation: `group_norm` of groups of one.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``; mean and var (biased) are taken over all axes but
    the first and that of the channels.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides: (N, C, ...) or, with ``axis=-1``, (N, ...,
        C). The first axis holds the samples, unless it is that of the channels: then there is one sample.
    weight, bias : array_like, optional
        One number for each channel; of x's dtype, or float32 where x is a half type. Left out, they count as
        1 and 0.
    eps : float, default 1e-5
        Added to the variance; the default is PyTorch's.
    axis : int, default 1
        The axis of the channels.
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
    Accuracy: in float32 ``abs(y - exact) <= 4 * 2**-24 * (abs(xhat * weight) + abs(weight) + abs(bias))``
    with ``xhat = (x - mean) * rstd``, also where the mean is a million times the deviation. Half types are
    computed in float32 and rounded once.

    Reproducibility: a sample has the same bits for any number of threads, any other samples, any strides and
    alignment, and any CPU with fused multiply-add.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization",
    arXiv:1607.08022 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[[1.0, 2.0, 3.0, 4.0], [10.0, 10.0, 10.0, 14.0]]])
    >>> fastnorm.instance_norm(x).round(3)
    array([[[-1.342, -0.447,  0.447,  1.342],
            [-0.577, -0.577, -0.577,  1.732]]])
    """


@op
def instance_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `instance_norm` with respect to x, weight and bias.

    With ``xhat = (x - mean) * rstd`` and ``h = dy * weight``, the means being those of a channel of a sample
    and the sums those of a channel: ``dx = rstd * (h - mean(h) - xhat * mean(h * xhat))``, ``dweight = sum(dy
    * xhat)``, ``dbias = sum(dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to y, of x's shape and dtype.
    x, weight, bias : array_like
        The arguments of the forward. Of `bias` only matters whether it was given.
    eps, axis
        As in the forward.
    out : tuple of ndarray or None, optional
        Take the gradients, in their order: each of the shape and dtype of its gradient, exactly an input or
        apart from all, and apart from the others. None for one that is made.

    Returns
    -------
    dx : ndarray
        Of x's shape, dtype and order of axes in memory.
    dweight, dbias : ndarray or None
        One number for each channel, None where the parameter was None; float64 for float64 and float32 for
        the others.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: in float32 the relative error of each gradient (norm of the difference) is at most 1e-6.

    Reproducibility: dx as the forward. dweight and dbias have the same bits for any number of threads; they
    depend on all samples and on their order.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization",
    arXiv:1607.08022 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> dy = np.array([[[1.0, 0.0, 0.0, 0.0]]])
    >>> dx, dweight, dbias = fastnorm.instance_norm_backward(dy, x, np.ones(1))
    >>> dx.round(4)
    array([[[ 0.2683, -0.3578, -0.0894,  0.1789]]])
    """


class Moments(NamedTuple):
    """Number of values, their mean, and the sum of their squared deviations from it, in float64.

    What machines that each hold a part of a batch exchange: the merged moments are those of the whole batch.

    Parameters
    ----------
    count : int
        How many values were averaged.
    mean, m2 : ndarray
        float64; 0 where there were no values.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> a = fastnorm.moments(np.array([1.0, 2.0, 3.0]), 0)
    >>> b = fastnorm.moments(np.array([4.0, 5.0, 6.0, 7.0]), 0)
    >>> merged = fastnorm.Moments.merge(a, b)
    >>> merged.count, float(merged.mean), float(merged.m2)
    (7, 4.0, 28.0)
    """

    count: int  # type: ignore[assignment]  # hides the method of tuples
    mean: Array
    m2: Array

    @staticmethod
    def merge(a: Moments, b: Moments) -> Moments:
        """Return the moments of the values of `a` and `b` together.

        With ``d = b.mean - a.mean`` and ``n = a.count + b.count``: ``mean = a.mean + d * b.count / n`` and
        ``m2 = a.m2 + b.m2 + d**2 * a.count * b.count / n``. The order of several merges matters to rounding
        only.

        Parameters
        ----------
        a, b : Moments
            Moments of the same shape; either may be of no values.

        Raises
        ------
        ValueError
            If the shapes differ.

        References
        ----------
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"
        (1979).
        """
        if np.shape(a.mean) != np.shape(b.mean):
            raise ValueError(f"merge: b has shape {np.shape(b.mean)}, needs {np.shape(a.mean)} as a")
        if a.count == 0 or b.count == 0:
            return b if a.count == 0 else a
        count = a.count + b.count
        share = b.count / count
        with np.errstate(all="ignore"):
            d = b.mean - a.mean
            return Moments(count, a.mean + d * share, a.m2 + (b.m2 + np.square(d) * (a.count * share)))

    def stats(self, eps: float = 1e-5) -> tuple[Array, Array]:
        """Return ``(mean, rstd)`` for `batch_norm`'s `stats`, with ``rstd = 1 / sqrt(m2 / count + eps)``.

        Parameters
        ----------
        eps : float, default 1e-5
            Added to the variance, as in `batch_norm`.
        """
        with np.errstate(all="ignore"):
            return self.mean, 1.0 / np.sqrt(self.m2 / np.float64(self.count) + eps)


@op
def moments(x: ArrayLike, axis: Axis | None = None) -> Moments:
    """Return count, mean and sum of squared deviations of the values along some axes.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    axis : int, tuple of int or None, default None
        The axes that are averaged over, as in NumPy; None means all. For batch_norm all but that of the
        channels.

    Returns
    -------
    Moments
        ``(count, mean, m2)`` in float64, mean and m2 shaped like x without those axes.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value.

    Notes
    -----
    Accuracy: parts of some thousand values are summed in float64 around one of the values and merged, so the
    relative error of m2 is about ``1e-13 + 2**-51 * abs(mean) / deviation``.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with
    fused multiply-add.

    References
    ----------
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"
    (1979).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 13.0]])
    >>> count, mean, m2 = fastnorm.moments(x, 0)
    >>> count, mean, m2
    (3, array([ 2., 11.]), array([2., 6.]))
    """
