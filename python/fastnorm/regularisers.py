"""Regularisation by chance (dropout), forward and backward, without a mask that is stored."""

from __future__ import annotations

from ._op import op
from ._typing import Array, ArrayLike

__all__ = ["dropout", "dropout_backward"]


@op
def dropout(x: ArrayLike, *, p: float = 0.5, seed: int, out: Array | None = None) -> Array:
    """Set a random share of the elements to 0 and scale the others, so that the mean stays.

    ``y = x / (1 - p)`` where an element is kept, and 0 where it is dropped, whatever x was there. Whether it
    is dropped depends on the seed and on its place in C order alone: no mask is stored, and the backward
    makes the same again. Take another seed for each call, as a number counted up.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    p : float, default 0.5
        The share that is dropped, at least 0 and below 1. It is rounded to a multiple of 2^-16, in the scale
        too, so that the mean of y is that of x exactly. Multiples of 1/256 take a third less time.
    seed : int
        From 0 to 2^64 - 1: the key of the generator.
    out : ndarray, optional
        Where the result is written: of its shape and dtype, either exactly x or apart from it.

    Returns
    -------
    y : ndarray
        Of x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        For an argument of a wrong type or dtype, or of a wrong value or shape.

    Notes
    -----
    Accuracy: one product with ``1 / (1 - p)`` in the type that x is computed in, which half types are rounded
    from.

    Reproducibility: the same elements are dropped, and the results have the same bits, for any strides and
    number of threads and on any CPU. The random bits are those of Philox 4x32-10.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014).
    Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> y = fastnorm.dropout(np.ones((4, 250)), p=0.2, seed=7)
    >>> np.unique(y).round(2), (y == 0).mean().round(2)
    (array([0.  , 1.25]), np.float64(0.2))
    """


@op
def dropout_backward(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    p: float = 0.5,
    seed: int,
    out: Array | None = None,
) -> Array:
    """Gradient of `dropout` with respect to x.

    ``dx = dy / (1 - p)`` where the forward kept an element, else 0: `dropout` of dy with the same seed.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the result, of x's shape and dtype.
    x, p, seed
        As in the forward. Of x shape, dtype and layout count.
    out : ndarray, optional
        Takes the gradient: of its shape and dtype, and exactly an input or apart from all.

    Returns
    -------
    dx : ndarray
        Of x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        As in the forward.

    Notes
    -----
    Accuracy: as in the forward.

    Reproducibility: as in the forward.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.ones(1000)
    >>> y, dx = fastnorm.dropout(x, seed=3), fastnorm.dropout_backward(x, x, seed=3)
    >>> np.array_equal(y, dx)
    True
    """
