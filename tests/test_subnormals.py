"""Gradients that go into products, and the state of optimisers, hold no subnormal numbers.

They take some processors a hundred cycles in each operation, and a state that decays would keep them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: fastnorm.SGD(0.01, momentum=0.5),
    "nesterov": lambda: fastnorm.SGD(0.01, momentum=0.5, nesterov=True),
    "AdamW": lambda: fastnorm.AdamW(0.01, betas=(0.5, 0.5)),
    "RMSprop": lambda: fastnorm.RMSprop(0.01, alpha=0.5, momentum=0.5, centered=True),
    "Lion": lambda: fastnorm.Lion(0.01, betas=(0.5, 0.5)),
}


def subnormal(a: Array) -> NDArray[np.bool_]:
    return (a != 0) & (np.abs(a) < np.finfo(a.dtype).smallest_normal)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_without_gradients_ends_at_zero(name: str, dtype: type, implementation: str) -> None:
    optimizer, parameter = OPTIMIZERS[name](), [np.linspace(-1, 1, 40).astype(dtype)]
    state = optimizer.new_state(parameter)
    optimizer.update(parameter, [np.linspace(-2, 2, 40).astype(dtype)], state=state)
    for _ in range(1200 if dtype == np.float64 else 200):
        optimizer.update(parameter, [np.zeros(40, dtype)], state=state)
        for kept in held(state):
            assert not subnormal(kept).any()
    assert all(not kept.any() for kept in held(state))
    rested = parameter[0].copy()
    optimizer.update(parameter, [np.zeros(40, dtype)], state=state)
    if name != "AdamW":  # whose weights decay by themselves
        np.testing.assert_array_equal(parameter[0], rested)


def held(state: dict[str, Array]) -> list[Array]:
    return [array for array in state.values() if array.dtype.kind == "f"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_of_logits_that_go_into_products(dtype: type, native: Any) -> None:
    """Probabilities from 1 to far below the smallest number, in steps that leave some subnormal."""
    depth = 760 if dtype == np.float64 else 110
    weight = np.linspace(0, -depth, 2000).astype(dtype)[None]
    x, target = np.ones((1, 1), dtype), np.array([0])
    probabilities = fastnorm.softmax(weight)
    assert subnormal(probabilities).sum() > 50
    dweight = fastnorm.linear_cross_entropy(x, weight, target, return_grad=True)[2]
    net = fastnorm.MLP.from_parameters([weight.copy()], [np.zeros(2000, dtype)])
    net.step(x, target, loss="cross_entropy", optimizer=fastnorm.SGD(1.0))
    for gradient in (dweight, net.biases[0]):
        assert not subnormal(gradient).any()
        assert np.count_nonzero(gradient) > 1000
        expected = np.where(subnormal(probabilities), 0, probabilities).ravel()[1:]
        np.testing.assert_allclose(
            np.abs(gradient.ravel()[1:]), expected, rtol=1e-5, atol=2 * np.finfo(dtype).smallest_normal
        )
