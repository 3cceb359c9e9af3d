"""The same values in other layouts of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def offset(x: Array, count: int = 1) -> Array:
    """Aligned for the type but not for a vector: starts `count` elements into its block of memory."""
    flat = np.empty(x.size + count, x.dtype)[count:]
    return _filled(flat.reshape(x.shape), x)


def misaligned(x: Array, count: int = 1) -> Array:
    """Starts `count` bytes into its block of memory, so that no element is aligned."""
    raw = np.empty(x.nbytes + count, np.uint8)[count:]
    return _filled(raw.view(x.dtype).reshape(x.shape), x)


def every_other(x: Array) -> Array:
    """Every second element along each axis."""
    large = np.zeros(tuple(2 * size for size in x.shape), x.dtype)
    return _filled(large[(slice(None, None, 2),) * x.ndim], x)


def reversed_axes(x: Array) -> Array:
    """Negative strides along each axis."""
    backwards = (slice(None, None, -1),) * x.ndim
    return _filled(np.empty(x.shape, x.dtype)[backwards], x)


def gaps(x: Array) -> Array:
    """Rows that are apart from each other."""
    wide = np.zeros((*x.shape[:-1], x.shape[-1] + 3), x.dtype)
    return _filled(wide[..., : x.shape[-1]], x)


def column_major(x: Array) -> Array:
    """Fortran order."""
    return x.copy(order="F")


def transposed(x: Array) -> Array:
    """The last two axes exchanged in memory, the others in order."""
    if x.ndim < 2:
        return x.copy()
    return _filled(np.empty((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype).swapaxes(-1, -2), x)


def read_only(x: Array) -> Array:
    """Not to be written."""
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def swapped(x: Array) -> Array:
    """The other byte order."""
    return x.astype(x.dtype.newbyteorder())


class Subclass(np.ndarray[Any, Any]):
    """An ndarray with another name."""


def subclass(x: Array) -> Array:
    """An instance of a subclass of ndarray."""
    return x.copy().view(Subclass)


def _filled(target: Array, x: Array) -> Array:
    target[...] = x
    return target


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    function.__name__: function
    for function in (
        offset,
        misaligned,
        every_other,
        reversed_axes,
        gaps,
        column_major,
        transposed,
        read_only,
        swapped,
        subclass,
    )
}
WRITABLE = tuple(name for name in LAYOUTS if name not in ("read_only", "swapped"))
