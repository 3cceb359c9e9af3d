"""Numbers that are the same on every machine and with every NumPy, and digests of results.

NumPy promises neither its random streams nor its elementary functions from version to version, so inputs are
made from integers with operations that IEEE 754 fixes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from functools import cache
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
# A power of two at which numbers of a deviation of about 1 become subnormal.
SUBNORMAL = {"float32": 2.0**-128, "float64": 2.0**-1024, "float16": 2.0**-16, "bfloat16": 2.0**-128}
LARGEST = {"float32": 2.0**127, "float64": 2.0**1023, "float16": 2.0**14, "bfloat16": 2.0**127}


def bits(name: str, count: int) -> Array:
    """Return 64-bit integers that the name determines (SplitMix64)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name: str, shape: tuple[int, ...]) -> Array:
    """Return float64 numbers in [0, 1)."""
    return ((bits(name, prod(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def integers(name: str, shape: tuple[int, ...], count: int) -> Array:
    """Return int64 numbers from 0 to count - 1."""
    return (bits(name, prod(shape)) >> np.uint64(33)).astype(np.int64).reshape(shape) % max(count, 1)


def bell(name: str, shape: tuple[int, ...]) -> Array:
    """Return float64 numbers about 0 of a deviation of about 1: sums of four uniform ones."""
    a, b, c, d = uniform(name, (4, *shape))
    return np.asarray((a + b + (c + d) - 2) * 1.75)


def cast(values: Array, dtype: str) -> Array:
    """Return float64 numbers in a dtype, in bfloat16 by way of float32 (versions of ml_dtypes differ)."""
    return (values.astype(np.float32) if dtype == "bfloat16" else values).astype(DTYPES[dtype])


@cache
def plain(name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers about 0, read-only since they are shared."""
    return _frozen(cast(bell(name, shape), dtype))


@cache
def varied(name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers about 0 whose rows (along the last axis) are of several kinds: plain ones, far from 0,
    with zeros of both signs, subnormal, constant, wide.
    """
    values = bell(name, shape)
    if values.ndim and values.shape[-1]:
        rows = values.reshape(-1, values.shape[-1])
        for row in range(len(rows)):
            kind = row % 9
            if kind == 2:
                rows[row] += 1000
            elif kind == 4:
                rows[row, ::2] = 0
                rows[row, 1::4] = -0.0
            elif kind == 5:
                rows[row] *= SUBNORMAL[dtype]
            elif kind == 6:
                rows[row] = rows[row, 0]
            elif kind == 7:
                rows[row] *= 16
    return _frozen(cast(values, dtype))


@cache
def special(name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers among which are NaN, infinities and the largest, each in rows of its own."""
    values = bell(name, shape)
    with np.errstate(over="ignore"):
        if values.ndim and values.shape[-1]:
            rows = values.reshape(-1, values.shape[-1])
            for row in range(1, len(rows)):
                if row % 5 < 3:
                    rows[row, row % rows.shape[1]] = (np.nan, np.inf, -np.inf)[row % 5]
                elif row % 5 == 3:
                    rows[row] *= LARGEST[dtype] / 4
        return _frozen(cast(values, dtype))


def _frozen(value: Array) -> Array:
    array = np.asarray(value)  # NumPy makes numbers of arrays without axes
    array.flags.writeable = False
    return array


class Digest:
    """A hash over results: their structure, dtypes, shapes and bits, where all NaN count as the same."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, value: Any) -> None:
        """Add a result: an array, a number, None, or a sequence or mapping of them."""
        if value is None:
            self._hash.update(b"None")
        elif isinstance(value, dict):
            self._add_all(part for item in sorted(value.items()) for part in item)
        elif isinstance(value, (tuple, list)):
            self._add_all(value)
        elif isinstance(value, str):
            self._hash.update(value.encode())
        else:
            self._add_array(np.asarray(value))

    def text(self) -> str:
        """Return sixteen hexadecimal digits."""
        return self._hash.hexdigest()[:16]

    def _add_all(self, values: Iterable[Any]) -> None:
        self._hash.update(b"(")
        for value in values:
            self.add(value)
        self._hash.update(b")")

    def _add_array(self, array: Array) -> None:
        self._hash.update(f"{array.dtype.name}{array.shape}".encode())
        array = np.array(array, order="C")
        if array.dtype.kind not in "iub":
            with np.errstate(invalid="ignore"):  # bfloat16 complains of signalling NaN
                nan = np.isnan(array)
            if nan.any():
                array[nan] = np.nan
        self._hash.update(array.tobytes())
