"""What is timed: every workload at every shape, as the specifications of the ops have them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._specs import Sample, Spec, Variant, backward_name, make_sample, specs


@dataclass(frozen=True)
class Workload:
    """An op or its backward in one variant, and the shapes at which it is timed where "all" are asked for."""

    spec: Spec
    backward: bool
    variant: Variant
    shapes: tuple[tuple[int, ...], ...]

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether the op can be called at this shape.

        Groups divide the channels, and a channel has several values where their statistics are taken.
        """
        groups: Any = self.variant.numbers.get("num_groups", 1)
        if len(shape) < 2 or shape[1] % groups:
            return False
        keywords = self.variant.keywords
        taken = keywords.get("training") or "running" not in self.variant.given
        if self.spec.name != "batch_norm" or not taken:
            return True
        axis: int = keywords.get("axis", 1)
        return math.prod(shape) > shape[axis]

    def sample(self, shape: tuple[int, ...], dtype: str) -> Sample:
        """Return its arguments; a backward gets the statistics of the forward."""
        rng = np.random.default_rng(0)
        sample = make_sample(self.spec, shape, np.dtype(dtype), rng, self.variant, backward=self.backward)
        return sample.with_stats()


def _workloads() -> Iterator[tuple[str, Workload]]:
    for spec in specs():
        for timed in spec.timed:
            name = "_".join(filter(None, (spec.name, timed.suffix)))
            for backward in (False, True) if timed.backward else (False,):
                workload = Workload(spec, backward, timed.variant, timed.shapes)
                yield backward_name(name) if backward else name, workload


WORKLOADS = dict(_workloads())


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape like ``512x768``; ValueError where it is none, or empty."""
    shape = tuple(int(part) for part in text.split("x"))
    if min(shape) < 1:
        raise ValueError(f"{text} is no shape")
    return shape


def format_shape(shape: tuple[int, ...]) -> str:
    """Write a shape like ``512x768``."""
    return "x".join(map(str, shape))
