"""The instruction sets of the native backend that this processor can run, and what they have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import fastnorm
import numpy as np

TARGETS = fastnorm.available_targets()


@contextmanager
def target(name: str) -> Iterator[None]:
    """Run the native backend on an instruction set."""
    from fastnorm import _core

    before = fastnorm.active_target()
    _core.set_target(name)
    try:
        yield
    finally:
        _core.set_target(before)


def is_fused() -> bool:
    """Return whether the active target adds a product without rounding it: a^2 minus a^2 rounded is then
    what the rounding took off, else 0.
    """
    a = np.float32(1 + 2**-12)
    (difference,) = fastnorm.linear.native(np.array([-a * a, a]), np.array([[1], [a]], np.float32))
    return bool(difference != 0)


def _fused() -> Iterator[str]:
    for name in TARGETS:
        with target(name):
            if is_fused():
                yield name


FUSED = tuple(_fused())  # their results have the same bits
