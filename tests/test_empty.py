"""Arrays with an axis of length 0, in a process of their own: what is out of place in memory may end it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BACKENDS
from fastnorm._specs import spec_of
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from fastnorm._specs.spec import Shape, Spec, Variant, as_tuple, present, widened
from numpy.typing import NDArray
from ops import DTYPES, SPECS
from processes import run

Array = NDArray[Any]
LENGTHS = (0, 1, 2, 70)  # one query takes kernels of its own, as do widths and lengths of one register


def with_empty_axes(shapes: tuple[Shape, ...]) -> Iterator[Shape]:
    """Each shape with each of its axes empty."""
    for shape in shapes:
        for axis in range(len(shape)):
            yield (*shape[:axis], 0, *shape[axis + 1 :])


def assert_near(got: Array, exact: Array, dtype: np.dtype[Any]) -> None:
    """Assert that they are equal but for the roundings of short sums."""
    bound = 128 * UNIT_ROUNDOFF[dtype.name] * (np.abs(exact).max(initial=0, where=np.isfinite(exact)) + 1)
    assert got.shape == exact.shape
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=0, atol=bound)


def refusal(function: Any, *arguments: Any, **keywords: Any) -> str | None:
    """Return the message of the error that a call raises."""
    try:
        function(*arguments, **keywords)
    except ValueError as error:
        return str(error)
    return None


def check(op: Spec, variant: Variant, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Forward and backward are those of the twin, or both refuse in the same words."""
    rng = np.random.default_rng(1)
    inputs, keywords = op.make_inputs(rng, shape, dtype, variant), variant.keywords
    refused = refusal(op.twin, *inputs, **keywords)
    if refused is not None:
        assert refusal(op.forward, *inputs, **keywords) == refused
        return
    dys = op.random_output_gradients(rng, inputs, keywords)
    for got, exact in zip(
        (*as_tuple(op.forward(*inputs, **keywords)), *op.gradients(dys, inputs, keywords)),
        (*op.exact(inputs, keywords), *op.exact_gradients(dys, inputs, keywords)),
        strict=True,
    ):
        assert_near(np.asarray(got), np.asarray(exact), dtype)


def check_ops() -> None:
    """Check every op at every problem that has an empty axis, in all variants and types."""
    for op in SPECS:
        print(op.name, flush=True)
        for variant in op.variants:
            for shape in with_empty_axes((op.shapes[1], op.shapes[-1])):
                for dtype in DTYPES.values():
                    check(op, variant, shape, dtype)


def check_attention() -> None:
    """Check attention and memory_read with masks and weights, several extents being 0 at once."""
    rng = np.random.default_rng(1)
    for op in (spec_of("attention"), spec_of("memory_read")):
        for queries, slots, dim, width in itertools.product(LENGTHS, repeat=4):
            one_query = op.name == "memory_read"
            if 0 not in (queries, slots, dim, width) or (one_query and queries != 1):
                continue
            print(op.name, queries, slots, dim, width, flush=True)
            rows = () if one_query else (queries,)
            for dtype, linear, masked in itertools.product(DTYPES.values(), (False, True), (False, True)):
                query, keys, values = (
                    rng.standard_normal((2, *shape)).astype(dtype)
                    for shape in ((*rows, dim), (slots, dim), (slots, width))
                )
                mask = rng.random((2, *rows, slots)) < 0.5
                keywords = {"mask": mask if masked else None, "linear": linear}
                got = op.forward(query, keys, values, **keywords, return_weights=True)
                exact = op.exact((query, keys, values), {**keywords, "return_weights": True})
                dy = rng.standard_normal(exact[0].shape).astype(dtype)
                gradients = op.backward(dy, query, keys, values, **keywords)
                expected = op.twin_backward(*map(widened, (dy, query, keys, values)), **keywords)
                for one, other in zip((*got, *gradients), (*exact, *present(expected)), strict=True):
                    assert_near(one, other, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("check", ["check_ops", "check_attention"])
def test_empty_axes(check: str, backend: str) -> None:
    """The process says at what it ended."""
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_empty; test_empty.{check}()"
    done = run(code, FASTNORM_BACKEND=backend)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
