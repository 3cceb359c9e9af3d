"""Arrays of more elements than memory holds: views that repeat one, and lengths beside 0."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from processes import run

# Each ended the process where sizes in bytes wrapped around.
CALLS = [
    "cross_entropy(many(2**61, 1), many(2**61, 1))",
    "poly_loss(many(2**61, 1), many(2**61, 1))",
    "cross_entropy(many(2**61, 1), np.broadcast_to(np.int8(0), (2**61,)))",
    "mlp_forward(np.ones((1, 1), 'e'), [many(1, 2**60), many(2**60, 1)], None)",
    "attention(many(1, 2**61), many(1, 2**61), many(1, 1))",
    "memory_read(many(1, 2**61), many(1, 1, 2**61), many(1, 1, 1))",
    "relu(many(2**61, 1))",
    "embedding(np.broadcast_to(np.int8(0), 2**61), many(1, 1))",
    "layer_norm(many(2**50, 1))",
    "linear(many(2**55, 0), many(0, 2**10))",
]
CODE = """
import numpy as np
from fastnorm import *
def many(*shape):
    return np.broadcast_to(np.float16(1), shape)
try:
    {call}
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_refused(call: str, backend: str) -> None:
    done = run(CODE.format(call=call), FASTNORM_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(call.partition("(")[0] + ": "), done.stdout
    assert done.stdout.strip().endswith("needs at most 2**48 elements")


@pytest.mark.parametrize("shape", [(2**48, 0), (0, 2**40), (2**20, 0, 2**20)])
def test_lengths_beside_none(shape: tuple[int, ...], backend: str) -> None:
    x: Any = np.empty(shape, np.float32)
    assert fastnorm.relu(x).shape == shape
