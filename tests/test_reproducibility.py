"""Equal bits: for any number of threads, any other rows, from run to run, and on every CPU with fused
multiply-add.

Layouts, alignment and `out` are in test_layouts.py. The promises are those of the native backend.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import Spec, Variant, as_tuple
from instruction_sets import FUSED, target
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label, with_variants
from tolerances import assert_same_bits

Array = NDArray[Any]

LARGE = ((513, 770), (5, 70_001), (20_011, 13), (64, 4096), (400_003,))


def everything(spec: Spec, variant: Variant, inputs: Any, dy: Array) -> tuple[Any, ...]:
    """All results of the forward and the backward, the latter with and without given statistics."""
    y = spec.forward(*inputs, **variant.keywords)
    gradients = as_tuple(spec.backward(dy, *inputs, **variant.keywords))
    if not spec.has_stats:
        return (y, *gradients)
    _, *stats = results = spec.forward(*inputs, **variant.keywords, return_stats=True)
    given = tuple(stats) if len(stats) > 1 else stats[0]
    return (y, *results, *gradients, *spec.backward(dy, *inputs, **variant.keywords, stats=given))


def assert_all_same_bits(got: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for one, other in zip(got, expected, strict=True):
        if other is None:
            assert one is None
        else:
            assert_same_bits(one, other)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_threads(spec: Spec, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator) -> None:
    variant = spec.variants[0]
    for shape in LARGE:
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        dy = rng.standard_normal(shape).astype(dtype)
        with fastnorm.threads(1):
            expected = everything(spec, variant, inputs, dy)
        for count in range(2, 9):
            with fastnorm.threads(count):
                assert_all_same_bits(everything(spec, variant, inputs, dy), expected)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_threads_with_other_axes(spec: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    for shape, axis in (((40, 300, 50), 1), ((600, 700), 0), ((30, 40, 50, 6), (1, 3))):
        variant = Variant("axes", ("weight", "bias"), {"axis": axis})
        inputs = spec.make_inputs(rng, shape, DTYPES["float32"], variant)
        dy = rng.standard_normal(shape).astype(np.float32)
        with fastnorm.threads(1):
            expected = everything(spec, variant, inputs, dy)
        for count in (2, 3, 8):
            with fastnorm.threads(count):
                assert_all_same_bits(everything(spec, variant, inputs, dy), expected)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(IN_DEPTH), ids=label)
def test_a_row_does_not_depend_on_the_others(
    spec: Spec, variant: Variant, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    """Alone, in any part of the batch, and in any order; y, statistics and dx."""
    for cols in (1, 2, 5, 8, 31, 64, 100, 127, 129, 257, 600, 1025, 4100):
        inputs = spec.make_inputs(rng, (37, cols), dtype, variant)
        x, *parameters = inputs
        assert x is not None
        dy = rng.standard_normal(x.shape).astype(dtype)

        def rows(chosen: Any, x: Array = x, dy: Array = dy, parameters: Any = parameters) -> list[Array]:
            results = as_tuple(spec.forward(x[chosen], *parameters, **variant.keywords))
            if spec.has_stats:
                results = spec.forward(x[chosen], *parameters, **variant.keywords, return_stats=True)
            return [
                *results,
                as_tuple(spec.backward(dy[chosen], x[chosen], *parameters, **variant.keywords))[0],
            ]

        whole = rows(slice(None))
        order = rng.permutation(37)
        parts: list[Any] = [slice(i, i + 1) for i in range(37)]
        for chosen in [*parts, slice(0, 2), slice(3, 8), slice(5, 22), order]:
            for part, full in zip(rows(chosen), whole, strict=True):
                assert_same_bits(part, full[chosen])


@pytest.mark.parametrize("spec", [spec for spec in IN_DEPTH if "axis" not in spec.keywords], ids=label)
def test_an_element_does_not_depend_on_its_place(
    spec: Spec, native: ModuleType, rng: np.random.Generator
) -> None:
    for dtype in DTYPES.values():
        for variant in spec.variants:
            x = spec.make_inputs(rng, (1500,), dtype, variant)[0]
            assert x is not None
            y = spec.forward(x, **variant.keywords)
            dx = spec.backward(x, x, **variant.keywords)
            for index in range(0, 1500, 7):
                for count in (1, 3, 9, 40):
                    part = slice(index, index + count)
                    assert_same_bits(spec.forward(x[part], **variant.keywords), y[part])
                    assert_same_bits(spec.backward(x[part], x[part], **variant.keywords), dx[part])


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_runs(spec: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """The same call again, also after others and with large results from recycled memory."""
    variant = spec.variants[0]
    for shape in ((7, 100), *LARGE):
        inputs = spec.make_inputs(rng, shape, DTYPES["float32"], variant)
        dy = rng.standard_normal(shape).astype(np.float32)
        expected = everything(spec, variant, inputs, dy)
        for _ in range(5):
            assert_all_same_bits(everything(spec, variant, inputs, dy), expected)


@pytest.mark.skipif(len(FUSED) < 2, reason="needs two instruction sets with fused multiply-add")
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(IN_DEPTH), ids=label)
def test_targets(
    spec: Spec, variant: Variant, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    for shape in ((1, 1), (3, 7), (5, 64), (9, 100), (4, 257), (2, 1025), (130, 33), (3, 5000)):
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        dy = rng.standard_normal(shape).astype(dtype)
        results = []
        for name in FUSED:
            with target(name):
                results.append(everything(spec, variant, inputs, dy))
        for other in results[1:]:
            assert_all_same_bits(other, results[0])


@pytest.mark.skipif(len(FUSED) < 2, reason="needs two instruction sets with fused multiply-add")
def test_targets_on_many_floats(native: ModuleType) -> None:
    x = np.arange(0, 2**32, 65_537, dtype=np.uint32).view(np.float32)
    for form in ("none", "tanh", "sigmoid"):
        results = []
        for name in FUSED:
            with target(name):
                y = fastnorm.gelu(x, approximate=form)
                results.append((y, fastnorm.gelu_backward(np.ones_like(x), x, approximate=form)))
        finite = ~np.isnan(x)
        for other in results[1:]:
            for one, two in zip(other, results[0], strict=True):
                assert_same_bits(one[finite], two[finite])


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_many_python_threads(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    """Calls from eight Python threads at once, each on its own arrays, give what they give one after
    another.
    """
    variant = spec.variants[0]
    jobs = []
    for index in range(12):
        shape = ((5, 64), (200, 700), (2000, 30))[index % 3]
        inputs = spec.make_inputs(rng, shape, DTYPES["float32"], variant)
        jobs.append((inputs, rng.standard_normal(shape).astype(np.float32)))
    expected = [everything(spec, variant, *job) for job in jobs]

    def work(job: Any) -> list[tuple[Any, ...]]:
        return [everything(spec, variant, *job) for _ in range(2)]

    contexts = [copy_context() for _ in jobs]  # the backend is that of the context
    with ThreadPoolExecutor(8) as executor:
        results_of_jobs = executor.map(lambda context, job: context.run(work, job), contexts, jobs)
        for found, wanted in zip(results_of_jobs, expected, strict=True):
            for results in found:
                assert_all_same_bits(results, wanted)
