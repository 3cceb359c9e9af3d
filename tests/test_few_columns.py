"""Many rows of few columns, which are taken sixteen at a time: the bits of each row alone."""

from __future__ import annotations

import fastnorm
import numpy as np
import pytest
from ops import DTYPES
from tolerances import assert_same_bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cols", [1, 2, 3, 4, 5, 8, 31, 32, 33])
def test_many_rows_have_the_bits_of_few(cols: int, dtype: str, rng: np.random.Generator) -> None:
    """Around the rows of a band, and with a block of more rows in the backward."""
    x, dy = (rng.standard_normal((40_000, cols)).astype(dtype) for _ in range(2))
    for rows in (32, 255, 256, 257, 513, 28_672, 40_000):
        some, slopes = x[:rows], dy[:rows]
        for op in (fastnorm.layer_norm, fastnorm.rms_norm):
            y, dx = op(some), op.backward(slopes, some)[0]
            for part in (slice(0, 5), slice(rows - 5, rows)):
                assert_same_bits(op(some[part]), y[part])
                assert_same_bits(op.backward(slopes[part], some[part])[0], dx[part])
