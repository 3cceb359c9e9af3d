"""The libraries that fastnorm is timed against, one module each.

A peer module has `SPINS`, whether its threads may keep running after a call, `prepare(threads)`, called
before anything runs, `to_numpy(array)`, and in `CALLS`, by the name of the op, functions that turn a `Sample`
into the `Call` that a user of the library would write. They return None where the library cannot do what the
sample asks for. Arrays are converted before the timing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ... import activations
from ..._specs import Call, Sample, spec_of

Builder = Callable[[Sample], Call | None]
PEERS = ("numpy", "torch")

# Those of x alone, with options or without, which other libraries mostly have under the same names.
UNARY_ACTIVATIONS = tuple(
    name
    for name in activations.__all__
    if not name.endswith("_backward") and spec_of(name).differentiable == ("x",)
)


class Peer(Protocol):
    """What a peer module offers."""

    SPINS: bool
    CALLS: Mapping[str, Builder]

    def prepare(self, threads: int) -> None:
        """Fix the number of threads."""

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """View an array of the library as one of NumPy."""


def load(
    names: Sequence[str], threads: int, package: str = __name__
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Import and prepare peers; return them, and for those that are not installed the reason."""
    peers: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            peer = cast("Peer", importlib.import_module(f"{package}.{name}_peer"))
            peer.prepare(threads)
            peers[name] = peer
        except ImportError as error:
            missing[name] = f"not installed ({error.name})"
    return peers, missing


def largest_difference(theirs: Sequence[NDArray[Any]], ours: Sequence[NDArray[Any]]) -> float:
    """Return the largest difference of some results, relative to the largest result of each array."""
    differences = []
    for a, b in zip(theirs, ours, strict=True):
        if a.shape != b.shape:
            return float("inf")
        scale = float(np.abs(b).max(initial=0.0))
        differences.append(float(np.abs(a - b).max(initial=0.0)) / scale if scale else 0.0)
    return max(differences)
