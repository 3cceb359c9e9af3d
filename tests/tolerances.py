"""Assertions on values and on bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastnorm._specs.bounds import LARGEST
from numpy.typing import NDArray

Array = NDArray[Any]


def relative_error(got: Array, exact: Array) -> float:
    """Norm of the difference over the norm of the exact array, both taken in float64."""
    got = got.astype(np.float64)
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))


def assert_within(got: Array, exact: Array, bound: Array) -> None:
    """Assert that each element is within its bound of the exact value, NaN and infinity exactly where they
    belong.

    Infinity belongs also where the bound reaches beyond the largest number of the type of `got`.
    """
    largest = LARGEST[np.asarray(got).dtype.name]
    got = np.asarray(got).astype(np.float64)
    assert got.shape == exact.shape
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(got[~finite], exact[~finite])
    overflown = (got == np.copysign(np.inf, exact)) & (np.abs(exact) + bound > largest)
    error = np.abs(got - exact)
    bad = finite & ~overflown & ~(error <= bound)
    if bad.any():
        bound = np.broadcast_to(bound, exact.shape)
        worst = np.unravel_index(np.argmax(np.where(bad, error / bound, 0)), exact.shape)
        where = tuple(int(index) for index in worst)
        text = f"{got[worst]!r} instead of {exact[worst]!r}"
        text += f", off by {error[worst]:.3g}, allowed {bound[worst]:.3g}"
        raise AssertionError(
            f"{np.count_nonzero(bad)} of {exact.size} out of bounds, the worst at {where}: {text}"
        )


def assert_same_bits(got: Array, expected: Array) -> None:
    """Assert equal dtype, shape and bits, those of NaN and of the sign of zero included."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    got_bits = np.ascontiguousarray(got).view(unsigned)
    expected_bits = np.ascontiguousarray(expected).view(unsigned)
    different = np.count_nonzero(got_bits != expected_bits)
    assert not different, f"{different} of {got.size} elements differ"
