"""PyTorch, compiled: the calls of the eager peer through ``torch.compile``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from fastnorm._report.peers import Builder
from fastnorm._specs import Call, Sample

from peers import torch_peer
from peers.torch_peer import SPINS, prepare, to_numpy

__all__ = ["CALLS", "SPINS", "prepare", "to_numpy"]


def _compiled(build: Builder) -> Builder:
    def builder(sample: Sample) -> Call | None:
        call = build(sample)
        if call is None or call.function is torch.autograd.grad:  # a graph that eager calls have built
            return None
        eager = call.function

        def run(*arguments: Any, **keywords: Any) -> Any:  # what is compiled has to be a Python function
            return eager(*arguments, **keywords)

        return replace(call, function=torch.compile(run, dynamic=False))

    return builder


CALLS: dict[str, Builder] = {name: _compiled(build) for name, build in torch_peer.CALLS.items()}
