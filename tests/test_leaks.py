"""No reference and no byte is lost or gained, on the way of success and on that of every error."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import Spec, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, label

Array = NDArray[Any]
STATM = Path("/proc/self/statm")
PAGE = 4096
needs_refcount = pytest.mark.skipif(
    sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="counts references",
)


def calls(spec: Spec, rng: np.random.Generator) -> tuple[list[Any], list[Callable[[], Any]]]:
    """Arguments of an op, and calls with them: good ones through every path, and ones that fail at every
    stage.
    """
    inputs = spec.make_inputs(rng, (6, 40), DTYPES["float32"], spec.variants[0])
    x = inputs[0]
    assert x is not None
    out, small = np.empty_like(x), np.empty(3, np.float32)
    double, half = x.astype(np.float64), [None if a is None else a.astype(np.float16) for a in inputs]
    listed, strided = x.tolist(), x[:, ::2]
    spoilt = [np.int64(3), *inputs[1:]]
    good: list[Callable[[], Any]] = [
        lambda: spec.forward(*inputs),
        lambda: spec.forward(*inputs, out=out),
        lambda: spec.forward(x),
        lambda: spec.forward(strided),
        lambda: spec.forward(listed),
        lambda: spec.forward(*half),
        lambda: spec.backward(x, *inputs),
        lambda: spec.backward(listed, x),
    ]
    bad: list[Callable[[], Any]] = [
        lambda: spec.forward(*spoilt),
        lambda: spec.forward(*inputs, out=small),
        lambda: spec.forward(*inputs, out=double),
        lambda: spec.forward(*inputs, unknown=out),
        lambda: spec.backward(double, *inputs),
        lambda: spec.backward(small, *inputs),
        lambda: spec.backward(x),
    ]
    if spec.has_stats:
        _, *stats = spec.forward(*inputs, return_stats=True)
        given = tuple(stats) if len(stats) > 1 else stats[0]
        good += [
            lambda: spec.forward(*inputs, return_stats=True),
            lambda: spec.backward(x, *inputs, stats=given),
            lambda: spec.forward(x, axis=(0, 1)),
            lambda: spec.backward(x, x, x, axis=(0, 1)),
            lambda: spec.backward(x, x, x.T, axis=(1, 0)),
        ]
        bad += [
            lambda: spec.forward(x, axis=3),
            lambda: spec.forward(*inputs, eps=-1.0),
            lambda: spec.forward(x, small),
            lambda: spec.backward(x, *inputs, stats=small),
        ]
    else:
        bad += [lambda: spec.forward(x, approximate="never"), lambda: spec.backward(x, x, approximate=None)]
    watched = [
        *inputs,
        x,
        out,
        small,
        double,
        *half,
        strided,
        listed,
        DTYPES["float32"],
        DTYPES["float16"],
        None,
        True,
    ]
    return watched, [*good, *(lambda call=call: _failing(call) for call in bad)]


def _failing(call: Callable[[], Any]) -> None:
    with suppress(TypeError, ValueError):
        call()
        raise AssertionError("a bad call was taken")


@pytest.fixture
def settled() -> Iterator[None]:
    """Collections see new objects only, which makes them fast.

    What is counted is counted between collections: garbage in cycles, such as the frames of an exception,
    holds what it has until it is collected, whenever that is, and a collection empties the interpreter's
    lists of free objects.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@needs_refcount
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_references(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    watched, all_calls = calls(spec, rng)
    for call in all_calls:
        call()
    for call in all_calls:
        gc.collect()
        before = [sys.getrefcount(thing) for thing in watched]
        for _ in range(100):
            call()
        gc.collect()
        after = [sys.getrefcount(thing) for thing in watched]
        # The interpreter itself holds some of them for a while, None above all; a loss would show a hundred
        # times.
        assert all(abs(b - a) < 50 for a, b in zip(before, after, strict=True)), call


@needs_refcount
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_results_belong_to_the_caller(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    inputs = spec.make_inputs(rng, (6, 40), DTYPES["float32"], spec.variants[0])
    y = spec.forward(*inputs)
    alone = sys.getrefcount(np.empty(3).view())
    assert sys.getrefcount(y) <= alone + 1
    for gradient in as_tuple(spec.backward(inputs[0], *inputs)):
        assert not np.shares_memory(gradient, inputs[0])
    assert not any(np.shares_memory(y, array) for array in inputs if array is not None)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_python_memory(spec: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """Objects and NumPy's memory, as tracemalloc counts them."""
    _, all_calls = calls(spec, rng)
    rounds = 300
    for call in all_calls:
        grown = []
        tracemalloc.start()
        try:
            for _ in range(3):
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(rounds):
                    call()
                gc.collect()
                grown.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
        # Caches fill and then stop; a loss goes on. The smallest object has 16 bytes.
        assert min(grown) < 16 * rounds, (call, grown)


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_resident_memory(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    """All memory of the process, over many calls."""
    _, all_calls = calls(spec, rng)
    rounds = 100_000 // len(all_calls) if backend == "native" else 50

    def resident() -> int:
        gc.collect()
        return int(STATM.read_text().split()[1]) * PAGE

    for call in all_calls * 20:
        call()
    before = resident()
    for _ in range(rounds):
        for call in all_calls:
            call()
    assert resident() - before < 16 * rounds + 2**20


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_large_results_are_returned(native: ModuleType) -> None:
    """Two hundred results of 8 MB, one after another, take the memory of a few."""
    fastnorm.clear_cache()
    x = np.ones((1000, 2000), np.float32)
    fastnorm.gelu(x)
    before = int(STATM.read_text().split()[1]) * PAGE
    for _ in range(100):
        fastnorm.gelu(x)
        fastnorm.gelu_backward(x, x)
    grown = int(STATM.read_text().split()[1]) * PAGE - before
    assert grown < 10 * x.nbytes
    fastnorm.clear_cache()
