"""What is special to elu: near 0, where e^x - 1 cancels, and far below."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import ulp
from tolerances import assert_same_bits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("alpha", "most"), [(1.0, 1), (0.25, 1), (0.75, 2), (-1.75, 2)])
def test_digits(alpha: float, most: int, dtype: Any, native: ModuleType, rng: np.random.Generator) -> None:
    """Against exact values: of numbers as small as there are, and where 2^n changes."""
    mp = pytest.importorskip("mpmath")
    spread = -np.exp(rng.uniform(math.log(np.finfo(dtype).tiny), 4.5, 400))
    x = np.concatenate([spread, rng.uniform(-3, 0, 400), [-np.finfo(dtype).smallest_subnormal]]).astype(dtype)
    y, dx = fastnorm.elu(x, alpha=alpha), fastnorm.elu_backward(np.ones_like(x), x, alpha=alpha)
    for value, got, slope in zip(x, y, dx, strict=True):
        with mp.workprec(200):
            exact = mp.mpf(alpha) * mp.expm1(mp.mpf(float(value)))
            error = abs(float(exact - mp.mpf(float(got))))
            assert error <= most * ulp(np.float64(exact), np.dtype(dtype)), value
            exact = mp.mpf(alpha) * mp.exp(mp.mpf(float(value)))
            error = abs(float(exact - mp.mpf(float(slope))))
            assert error <= 2 * ulp(np.float64(exact), np.dtype(dtype)), value


def test_ends(implementation: str) -> None:
    x = np.array([-math.inf, -1e4, -0.0, 0.0, math.inf, math.nan])
    y = fastnorm.elu(x, alpha=1.5)
    assert_same_bits(y, np.array([-1.5, -1.5, -0.0, 0.0, math.inf, math.nan]))
    np.testing.assert_array_equal(
        fastnorm.elu_backward(np.ones(6), x, alpha=1.5), [0, 0, 1.5, 1.5, 1, math.nan]
    )


def test_as_pytorch(implementation: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x, dy = rng.standard_normal((2, 1000))
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    expected = torch.nn.functional.elu(tensor, alpha=1.3)
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(fastnorm.elu(x, alpha=1.3), expected.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(fastnorm.elu_backward(dy, x, alpha=1.3), tensor.grad.numpy(), rtol=1e-14)
