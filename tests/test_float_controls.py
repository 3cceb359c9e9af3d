"""Rounding and flushing to zero as the caller has set them for its thread: results are the same bits."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import Spec, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, SPECS, label
from tolerances import assert_same_bits

ARM = platform.machine() == "aarch64"
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the layout of fenv_t is that of glibc on x86-64 and AArch64",
)

# The word of fenv_t that is MXCSR or FPCR, and the bits in it: subnormal operands and results to zero,
# rounding, flags of what has happened.
WORD, FLUSH, UP, TOWARDS_ZERO, FLAGS = (
    (0, 1 << 24, 1 << 22, 3 << 22, 0) if ARM else (7, 0x8040, 0x4000, 0x6000, 0x3F)
)
UNMASKED = 0x1E80  # x86: trapping overflow, underflow, inexact results and denormal operands


class Controls:
    """MXCSR or FPCR of this thread, through the C library."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libm.so.6")
        self.words = (ctypes.c_uint32 * 8)()

    def get(self) -> int:
        self.library.fegetenv(self.words)
        return self.words[WORD] & ~FLAGS

    def set(self, value: int) -> None:
        self.library.fegetenv(self.words)
        self.words[WORD] = value
        self.library.fesetenv(self.words)


@contextmanager
def controls(set_bits: int, cleared: int = 0) -> Iterator[None]:
    register = Controls()
    before = register.get()
    register.set(before & ~cleared | set_bits)
    try:
        yield
        after = register.get()
    finally:
        register.set(before)
    assert after == before & ~cleared | set_bits


def subnormal(dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    smallest = float(np.finfo(dtype).smallest_subnormal)
    return (np.linspace(-900, 900, size) * smallest).astype(dtype)


@pytest.mark.parametrize("set_bits", [FLUSH, UP, TOWARDS_ZERO, FLUSH | UP])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_numbers(native: ModuleType, dtype: Any, threads: int, set_bits: int) -> None:
    x = subnormal(dtype, 1 << 18)
    with fastnorm.threads(1):
        expected = fastnorm.silu(x)
    assert np.count_nonzero(expected) > x.size * 0.9
    with fastnorm.threads(threads), controls(set_bits):
        found = fastnorm.silu(x)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("op", SPECS, ids=label)
def test_every_op(op: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[-2], DTYPES["float32"], variant)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)

    def results() -> tuple[Any, ...]:
        return (
            *as_tuple(op.forward(*inputs, **variant.keywords)),
            *op.gradients(dys, inputs, variant.keywords),
        )

    expected = results()
    with controls(FLUSH | UP):
        found = results()
    for got, wanted in zip(found, expected, strict=True):
        assert_same_bits(got, wanted)


@pytest.mark.skipif(ARM, reason="few Arm processors can trap")
def test_nothing_traps(native: ModuleType) -> None:
    """A caller that has exceptions trapped gets results all the same."""
    x = np.array([1e-45, 3e38, -3e38, np.inf, np.nan, 0.1], np.float32)
    expected = fastnorm.softplus(x)
    with controls(0, cleared=UNMASKED):
        found = fastnorm.softplus(x)
    assert_same_bits(found, expected)


def test_of_a_new_thread(native: ModuleType) -> None:
    """The workers begin when a thread with settings of its own makes the first large call."""
    x = subnormal(np.dtype(np.float32), 1 << 18)
    with fastnorm.threads(1):
        expected = fastnorm.silu(x)
    found = []

    def work() -> None:
        with controls(FLUSH), fastnorm.threads(13):
            found.append(fastnorm.silu(x))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with fastnorm.threads(13):
        found.append(fastnorm.silu(x))
    for result in found:
        assert_same_bits(result, expected)
