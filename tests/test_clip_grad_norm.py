"""clip_grad_norm against the formula, PyTorch and itself in other layouts, and its bad arguments."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from layouts import LAYOUTS, WRITABLE
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

SHAPES = ((3, 5), (1,), (), (0,), (33, 40), (70_001,))


def drawn(rng: np.random.Generator, dtype: Any) -> list[Array]:
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


def exact_norm(gradients: list[Array]) -> float:
    return math.hypot(*(float(v) for g in gradients for v in g.astype(np.float64).ravel()))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 100, 1e9, math.inf])
def test_against_the_formula(
    max_norm: float, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    gradients = drawn(rng, dtype)
    before = [g.copy() for g in gradients]
    norm = fastnorm.clip_grad_norm([*gradients[:3], None, *gradients[3:]], max_norm)
    exact = exact_norm(before)
    assert type(norm) is float
    assert abs(norm - exact) <= 1e-14 * exact
    scale = min(1.0, max_norm / (norm + 1e-6))
    unit = max(UNIT_ROUNDOFF[dtype.name], 2**-53)
    for got, given in zip(gradients, before, strict=True):
        if scale == 1:
            assert_same_bits(got, given)
        wanted = given.astype(np.float64) * scale
        smallest = 0.0 if dtype.itemsize > 2 else 2.0**-24
        np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=3 * unit, atol=smallest)
    assert exact_norm(gradients) <= max(max_norm, 0) * (1 + 4 * unit + 1e-14)


def test_same_bits(native: ModuleType, rng: np.random.Generator) -> None:
    for dtype in DTYPES.values():
        gradients = [rng.standard_normal(shape).astype(dtype) for shape in ((7, 9), (300_001,), (5,))]
        results = []
        for threads, layout in [(1, ""), (2, ""), (3, ""), *((2, name) for name in WRITABLE)]:
            mine = [LAYOUTS[layout](g) if layout else g.copy() for g in gradients]
            with fastnorm.threads(threads):
                norm = fastnorm.clip_grad_norm(mine, 0.25)
            results.append([np.float64(norm), *map(np.ascontiguousarray, mine)])
        for other in results[1:]:
            for got, wanted in zip(other, results[0], strict=True):
                assert_same_bits(got, wanted)


@pytest.mark.parametrize("max_norm", [0.3, 1e6])
def test_against_torch(max_norm: float, native: ModuleType, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    gradients = drawn(rng, np.float32)
    theirs = [torch.nn.Parameter(torch.zeros(g.shape)) for g in gradients]
    for parameter, g in zip(theirs, gradients, strict=True):
        parameter.grad = torch.tensor(g.copy())
    norm = fastnorm.clip_grad_norm(gradients, max_norm)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)), rel=1e-5)
    for g, parameter in zip(gradients, theirs, strict=True):
        np.testing.assert_allclose(g, parameter.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("size", [1e200, 1e-200, 5e-324, 3e307])
def test_squares_beyond_the_range(size: float, backend: str) -> None:
    gradients = [np.full(3, size), np.array([-size])]
    assert fastnorm.clip_grad_norm(gradients, 1.0) == pytest.approx(2 * size, rel=1e-15)
    assert exact_norm(gradients) <= 1 + 1e-15
    single = [np.full(4, 1e38, np.float32)]
    assert fastnorm.clip_grad_norm(single, 1.0) == pytest.approx(2e38)
    np.testing.assert_allclose(single[0], 0.5, rtol=1e-6)


def test_what_is_not_finite(backend: str) -> None:
    gradients = [np.array([1.0, math.nan]), np.ones(2)]
    assert math.isnan(fastnorm.clip_grad_norm(gradients, 1.0))
    np.testing.assert_array_equal(gradients, math.nan)
    gradients = [np.array([1.0, -math.inf]), np.ones(2)]
    assert fastnorm.clip_grad_norm(gradients, math.inf) == math.inf
    np.testing.assert_array_equal(gradients, [[1, -math.inf], [1, 1]])
    assert fastnorm.clip_grad_norm(gradients, 1.0) == math.inf
    np.testing.assert_array_equal(gradients, [[0, math.nan], [0, 0]])


@pytest.mark.parametrize("gradients", [[], (), [None], [np.ones((0, 3))], [np.zeros(3)]], ids=repr)
def test_nothing(gradients: Any, backend: str) -> None:
    assert fastnorm.clip_grad_norm(gradients, 1.0) == 0.0


SHARED = np.ones(6)
LOCKED = np.ones(3)
LOCKED.flags.writeable = False
BAD: list[tuple[str, Any, Any, type[Exception]]] = [
    ("gradients", np.ones(3), 1.0, TypeError),
    ("gradients", [[1.0]], 1.0, TypeError),
    ("gradients", [np.ones(3, int)], 1.0, TypeError),
    ("gradients", [np.ones(3, ">f8")], 1.0, TypeError),
    ("gradients", [LOCKED], 1.0, ValueError),
    ("gradients", [np.broadcast_to(np.ones(1), 3)], 1.0, ValueError),
    ("gradients", [SHARED[:4], SHARED[3:]], 1.0, ValueError),
    ("gradients", [SHARED, SHARED], 1.0, ValueError),
    *(("max_norm", [np.ones(3)], value, ValueError) for value in (-1, -math.inf, math.nan)),
    *(("max_norm", [np.ones(3)], value, TypeError) for value in (None, "1", True, np.ones(1))),
]


@pytest.mark.parametrize(("argument", "gradients", "max_norm", "error"), BAD, ids=str)
def test_bad_arguments(
    argument: str, gradients: Any, max_norm: Any, error: type[Exception], backend: str
) -> None:
    with pytest.raises(error, match=rf"^clip_grad_norm: {argument}.*needs"):
        fastnorm.clip_grad_norm(gradients, max_norm)
    np.testing.assert_array_equal(np.asarray(gradients[0]), 1)
