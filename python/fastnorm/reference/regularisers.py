"""NumPy twins of regularisation, with the random numbers of the kernels."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ._results import result

GROUP, BLOCKS = 256, 16  # elements whose numbers come from so many counters
SQUARE = 16  # rows and columns of a matrix that is dropped by groups
LEVELS = 65536


def dropout(x: Array, p: float, seed: int, out: Array | None) -> Array:
    """Twin of `fastnorm.dropout`."""
    return result(_dropped(x, p, seed), x, out)


def dropout_backward(dy: Array, x: Array, p: float, seed: int) -> Array:
    """Twin of `fastnorm.dropout_backward`."""
    return result(_dropped(dy, p, seed), x)


def _dropped(x: Array, p: float, seed: int) -> Array:
    """Return x, scaled, with 0 where the number of an element is one of those that drop it."""
    dropped = round(p * LEVELS)
    scale = LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0
    if x.dtype != np.float64:
        scale = float(np.float32(scale))
    kept = numbers(x.size, seed).reshape(x.shape) >= dropped
    with np.errstate(all="ignore"):
        return np.where(kept, x.astype(np.float64) * scale, 0.0)


def numbers(count: int, seed: int, stream: int = 0) -> Array:
    """Return a number of 16 bits for each of the first elements: a byte of each of two streams."""
    groups = -(-count // GROUP)
    first = np.arange(groups * BLOCKS, dtype=np.uint64)
    upper, lower = (_bytes(philox(first, 2 * stream + part, seed)) for part in (0, 1))
    return (upper * 256 + lower)[:count]


def _bytes(words: Array) -> Array:
    """Return the bytes of four words of each counter in the order of the elements."""
    # Of a group: (block, half, word of the half) -> 64 words, (half, block, word of the half).
    grouped = words.reshape(-1, BLOCKS, 2, 2).transpose(0, 2, 1, 3).reshape(-1, 4, 16)
    shifted = [(grouped >> (8 * byte)) & 255 for byte in range(4)]
    return np.stack(shifted, axis=2).reshape(-1).astype(np.int64)


def philox(counter: Array, stream: int, key: int) -> Array:
    """Return the four words, (counters, 4), of Philox 4x32-10; `stream` is the third word of the counters."""
    return _rounds(
        [counter & 0xFFFFFFFF, counter >> 32, np.full_like(counter, stream), np.zeros_like(counter)], key
    )


def _rounds(words: list[Array], key: int) -> Array:
    """Ten rounds, each of two products of 32 bits whose halves are swapped and mixed with a key."""
    c0, c1, c2, c3 = words
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (p1 >> 32) ^ c1 ^ np.uint64(k0), p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ np.uint64(k1), p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)
