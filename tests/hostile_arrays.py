"""Arrays that NumPy takes and few programs expect: at the edge of readable memory, with gaps of megabytes,
without elements but with huge extents, of values and labels at the ends of their types.

As the tables of drawn_values.py: each takes the good array and returns another.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from layouts import misaligned
from numpy.typing import NDArray

Array = NDArray[Any]

PAGE = mmap.PAGESIZE
PROT_NONE = 0
GAP = 1 << 21  # bytes between elements that are far apart
FARTHEST = 1 << 30  # bytes of memory that is never touched but for its elements


def guarded(array: Array, *, at_end: bool = True) -> Array:
    """The array beside a page that can be neither read nor written: behind it, or before it.

    Arrays that such a place would change (of objects, without elements, misaligned) are returned as they are.
    """
    if not array.size or array.dtype.hasobject or PAGE % array.dtype.itemsize:
        return array
    inside = -(-array.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    anchor = ctypes.c_char.from_buffer(memory)
    start = ctypes.addressof(anchor)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for page in (start, start + PAGE + inside):
        if protect(page, PAGE, PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + (inside - array.nbytes if at_end else 0)
    placed = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    placed[...] = array
    return placed


def before_guard(array: Array) -> Array:
    return guarded(array)


def behind_guard(array: Array) -> Array:
    return guarded(array, at_end=False)


def far_apart(array: Array) -> Array:
    """Elements that are megabytes apart along the first axis."""
    if not array.ndim or not array.size or array.dtype.hasobject:
        return array
    gap = min(GAP, FARTHEST // array.shape[0] // PAGE * PAGE) + array.itemsize
    inner = array[0].size * array.itemsize
    if inner >= gap:
        return array
    memory = mmap.mmap(-1, gap * array.shape[0])
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    spread: Array = np.ndarray(array.shape, array.dtype, memory, 0, (gap, *array[0].copy().strides))
    spread[...] = array
    return spread


def far_apart_backwards(array: Array) -> Array:
    """The same, from the last one to the first."""
    return far_apart(array[::-1])[::-1] if array.ndim else array


def field(array: Array) -> Array:
    """A field of records: apart by one byte more than an element has."""
    if array.dtype.hasobject or not array.ndim:
        return array
    records = np.zeros(array.shape, [("before", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def windows(array: Array) -> Array:
    """Windows over one line of memory, which overlap."""
    if array.ndim < 2 or not array.size:
        return array
    line = np.resize(array.reshape(-1), sum(size - 1 for size in array.shape) + 1)
    return np.lib.stride_tricks.as_strided(line, array.shape, (line.itemsize,) * array.ndim)


def crooked_backwards(array: Array) -> Array:
    """Misaligned, read-only and from the last element to the first."""
    if not array.ndim or array.dtype.hasobject:
        return array
    backwards = (slice(None, None, -1),) * array.ndim
    crooked = misaligned(array[backwards])[backwards]
    crooked.flags.writeable = False
    return crooked


def filled(value: Callable[[np.dtype[Any]], Any]) -> Callable[[Array], Array]:
    """Every element the same, by the dtype; arrays of dtypes that do not have such a value as they are."""

    def change(array: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                return np.full(array.shape, value(array.dtype), array.dtype)
        except (AttributeError, ValueError, TypeError, OverflowError):  # no such value of this dtype
            return array

    return change


def placed(value: Callable[[np.dtype[Any]], Any]) -> Callable[[Array], Array]:
    """One such element in the middle."""

    def change(array: Array) -> Array:
        one = filled(value)(array)
        other = array.copy()
        other.reshape(-1)[array.size // 2 :][:1] = one.reshape(-1)[:1]
        return other

    return change


def limits(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        return np.iinfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def number(value: float) -> Callable[[np.dtype[Any]], Any]:
    """A number that floats have alone."""

    def of(dtype: np.dtype[Any]) -> Any:
        if dtype.kind in "iub":
            raise TypeError
        return dtype.type(value)

    return of


def wrapping(array: Array) -> Array:
    """Integers as uint64, the last of which is the two's complement of one that losses ignore."""
    if array.dtype.kind != "i" or not array.size:
        return array
    changed = np.maximum(array, 0).astype(np.uint64)
    changed.reshape(-1)[-1] = 2**64 - 100
    return changed


def random_bits(array: Array) -> Array:
    """Any bits, the same each time: NaN with payloads, both signs, all exponents; labels that are none."""
    if array.dtype.kind in "bO" or not array.size:
        return array
    bits = np.random.default_rng(array.size).integers(0, 256, array.nbytes, np.uint8)
    return bits.view(array.dtype).reshape(array.shape)


def emptied(huge: int, at: int) -> Callable[[Array], Array]:
    """No elements, since one axis has none; the others are as long as NumPy allows."""

    def change(array: Array) -> Array:
        if not array.ndim or array.dtype.hasobject:
            return array
        shape = [huge if array.ndim == 2 else 1 << 20 if i < 2 else 1 for i in range(array.ndim)]
        shape[at] = 0
        return np.empty(shape, array.dtype)

    return change


def lengthened(array: Array) -> Array:
    """Axes of one element in front, as many as NumPy has."""
    return array.reshape((1,) * (64 - array.ndim) + array.shape)


class Refusing:
    """An array of another library that does not give it away, or is on another device."""

    def __init__(self, device: tuple[int, int]) -> None:
        self.device = device

    def __dlpack__(self, **keywords: Any) -> Any:
        raise BufferError("not to be exported")

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Endless:
    """A sequence that claims more items than there are."""

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Any:
        raise IndexError


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    **{
        function.__name__: function
        for function in (
            before_guard,
            behind_guard,
            far_apart,
            far_apart_backwards,
            field,
            windows,
            crooked_backwards,
            wrapping,
            lengthened,
        )
    },
    "no rows of many": emptied(1 << 55, 0),
    "many rows of none": emptied(1 << 55, -1),
    "on another device": lambda array: Refusing((2, 0)),
    "not exported": lambda array: Refusing((1, 0)),
    "endless": lambda array: Endless(),
}
# Where these overflow, or which NaN they give, depends on the order of operations.
VALUES: dict[str, Callable[[Array], Any]] = {
    "random_bits": random_bits,
    "all nan": filled(number(np.nan)),
    "all infinite": filled(number(np.inf)),
    "all minus infinite": filled(number(-np.inf)),
    "all largest": filled(lambda dtype: limits(dtype).max),
    "all smallest": filled(lambda dtype: limits(dtype).smallest_subnormal),
    "all zero": filled(lambda dtype: dtype.type(0)),
    "one minus infinite": placed(number(-np.inf)),
    "one largest": placed(lambda dtype: limits(dtype).max),
    "one most negative": placed(lambda dtype: limits(dtype).min),
}
HOSTILE_ARRAYS = LAYOUTS | VALUES
