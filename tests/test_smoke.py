"""The one file that a built wheel is tested with: every op once, forward and backward. Needs pytest and NumPy
only.
"""

from __future__ import annotations

import os
from typing import Any

import fastnorm
import numpy as np
import pytest

X = np.array([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.0, 2.0]])
DY = np.array([[1.0, 0.0, 0.0, 0.0], [0.5, -1.0, 2.0, 0.25]])
DTYPES = (np.float64, np.float32, np.float16)


def close(got: Any, expected: Any) -> bool:
    eps = float(np.finfo(got.dtype).eps)
    # The numbers that are typed in have twelve decimals.
    return bool(np.allclose(got.astype(float), expected, rtol=4 * eps, atol=max(1e-12, 8 * eps)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm(dtype: Any) -> None:
    x, dy, ones = X.astype(dtype), DY.astype(dtype), np.ones(4, dtype)
    xhat = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 1e-5)
    y, mean, rstd = fastnorm.layer_norm(x, 2 * ones, ones, return_stats=True)
    assert close(y, 2 * xhat + 1)
    assert close(mean, X.mean(1))
    dx, dweight, dbias = fastnorm.layer_norm_backward(dy, x, ones, ones, stats=(mean, rstd))
    assert close(dx[0], [0.268330303893, -0.357768372025, -0.089443434631, 0.178881502763])
    assert dweight is not None
    assert close(dweight, (DY * xhat).sum(0))
    assert dbias is not None
    assert close(dbias, DY.sum(0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm(dtype: Any) -> None:
    x, dy = X.astype(dtype), DY.astype(dtype)
    assert close(fastnorm.rms_norm(x), X / np.sqrt((X**2).mean(1, keepdims=True) + 1e-6))
    dx, dweight, dbias = fastnorm.rms_norm_backward(dy, x)
    assert close(dx[0], [0.352976737372, -0.024343219909, -0.036514829864, -0.048686439819])
    assert dweight is None
    assert dbias is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu(dtype: Any) -> None:
    x = np.array([-3, -1, 0.5, 2]).astype(dtype)
    y = np.array([-0.00404969409489029, -0.158655253931457, 0.345731230637007, 1.95449973610364])
    assert close(fastnorm.gelu(x), y)
    dx = fastnorm.gelu_backward(np.ones_like(x), x)
    assert close(dx, [-0.0119456472041839, -0.0833154705876863, 0.867495124656163, 1.08523180107820])


def test_large_and_threaded() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
    y = fastnorm.layer_norm(x)
    with fastnorm.threads(1):
        assert np.array_equal(y, fastnorm.layer_norm(x))
    assert np.array_equal(y[:3], fastnorm.layer_norm(x[:3]))


def test_runtime() -> None:
    assert fastnorm.get_backend() == os.environ.get("FASTNORM_BACKEND", "native")
    if fastnorm.get_backend() == "native":
        assert fastnorm.__version__ != "unknown"
        assert fastnorm.active_target() in fastnorm.available_targets()
    assert fastnorm.get_num_threads() >= 1
    fastnorm.show_config()
    with fastnorm.backend("reference"):
        assert close(fastnorm.gelu(np.array([1.0])), 0.841344746068543)


def test_errors() -> None:
    with pytest.raises(TypeError, match="x has dtype int64"):
        fastnorm.gelu(np.ones(3, np.int64))
    with pytest.raises(ValueError, match="weight has shape"):
        fastnorm.layer_norm(X, np.ones(3))
