"""Moments of parts of a batch, and how they are merged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._backend import active
from ._typing import Array, ArrayLike, Axis

__all__ = ["Moments", "moments"]


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
    >>> a, b = fastnorm.moments(np.array([1.0, 2.0, 3.0]), 0), fastnorm.moments(np.array([4.0, 5.0, 6.0, 7.0]), 0)
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
        ``m2 = a.m2 + b.m2 + d**2 * a.count * b.count / n``. The order of several merges matters to rounding only.

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
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
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
        """Return ``(mean, rstd)``, which `batch_norm` takes as `stats`: ``rstd = 1 / sqrt(m2 / count + eps)``.

        Parameters
        ----------
        eps : float, default 1e-5
            Added to the variance, as in `batch_norm`.
        """
        with np.errstate(all="ignore"):
            return self.mean, 1.0 / np.sqrt(self.m2 / np.float64(self.count) + eps)


def moments(x: ArrayLike, axis: Axis | None = None) -> Moments:
    """Return count, mean and sum of squared deviations of the values along some axes.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16, with any strides.
    axis : int, tuple of int or None, default None
        The axes that are averaged over, as in NumPy; None means all. For batch_norm all but that of the channels.

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
    Accuracy: parts of some thousand values are summed in float64 around one of the values and merged, so the relative
    error of m2 is about ``1e-13 + 2**-51 * abs(mean) / deviation``.

    Reproducibility: the same bits for any number of threads, any strides and alignment, and any CPU with fused
    multiply-add.

    References
    ----------
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 13.0]])
    >>> count, mean, m2 = fastnorm.moments(x, 0)
    >>> count, mean, m2
    (3, array([ 2., 11.]), array([2., 6.]))
    """
    return Moments(*active.moments(x, axis))
