"""The calls that are timed against each other, once they are found to compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .. import _backend
from .._specs import Array, Call, Sample, flat
from .peers import Peer, largest_difference
from .timing import time_in_turns

FASTNORM, ADD = "fastnorm", "np.add"
PEER_TOLERANCE = 1e-3  # a peer computes the same function, if not as exactly
HALF_PEER_TOLERANCE = 3e-2


def peer_calls(
    sample: Sample, ours: Sequence[Array | None], found: Mapping[str, Peer]
) -> tuple[dict[str, Call], dict[str, str]]:
    """Return the calls of the peers and, for those that are left out, the reason; `ours` are the results."""
    calls: dict[str, Call] = {}
    left_out: dict[str, str] = {}
    expected = [widened(array) for array in ours if array is not None]
    tolerance = PEER_TOLERANCE if sample.x.dtype.itemsize > 2 else HALF_PEER_TOLERANCE
    for name, peer in found.items():
        build = peer.CALLS.get(sample.op)
        try:
            call = build(sample) if build else None
            results = call() if call else None
        except Exception as error:  # a peer that fails, say on a type it does not know, stops nobody else
            left_out[name] = f"failed ({type(error).__name__}: {str(error).splitlines()[0][:100]})"
            continue
        if call is None:
            left_out[name] = "has no such op"
            continue
        theirs = [widened(peer.to_numpy(result)) for result in flat(results) if result is not None]
        difference = largest_difference(theirs, expected)
        if difference > tolerance:
            left_out[name] = f"computes something else: differs by {difference:.1e}"
        else:
            calls[name] = replace(call, spins=peer.SPINS)
    return calls, left_out


def widened(array: Array) -> Array:
    """Return half-precision arrays in float32, others as they are."""
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def copy_rates(n_bytes: int, threads: int) -> dict[str, float]:
    """Return bytes a second, read and written, of copying an array of `n_bytes` in warm memory, by what
    copies it.

    np.copyto is faster where the arrays fit in a cache, fastnorm's copy past the caches where they do not.
    """
    source = np.ones(max(n_bytes // 8, 1))
    copy = Call(np.copyto, (np.empty_like(source), source))
    rates = {"np.copyto": 2 * source.nbytes / time_in_turns({"copy": copy}, seconds=0.05)["copy"].best}
    if _backend.name() == "native":
        rates["fastnorm"] = float(_backend.load_extension().copy_bandwidth(n_bytes, threads)) * 1e9
    return rates
