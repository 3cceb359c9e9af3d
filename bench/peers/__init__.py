"""The libraries that fastnorm is timed against, beside what `fastnorm._report.peers` has, which says how such
a module looks.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastnorm._report import peers
from fastnorm._report.peers import Peer

DEFAULT = (*peers.PEERS, "jax", "onnxruntime")
OPTIONAL = ("torch_compile",)  # compiles for seconds for each workload and shape


def load(names: Sequence[str], threads: int) -> tuple[dict[str, Peer], dict[str, str]]:
    """Import and prepare peers; return them, and for those that are not installed the reason."""
    ready: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        package = peers.__name__ if name == "numpy" else __name__
        found, left_out = peers.load([name], threads, package)
        ready |= found
        missing |= left_out
    return ready, missing
