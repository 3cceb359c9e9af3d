"""embedding: ids of any kind, rows that many places share, tables that lie anyhow."""

from __future__ import annotations

import re
from typing import Any

import fastnorm
import numpy as np
import pytest
from layouts import LAYOUTS
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_ids_of_any_integer_type(kind: str, backend: str, rng: np.random.Generator) -> None:
    table, ids = rng.standard_normal((100, 5)), rng.integers(0, 100, (4, 6))
    for relay in LAYOUTS.values():
        assert_same_bits(fastnorm.embedding(relay(ids.astype(kind)), table), table[ids])


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_ids_of_any_shape(shape: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    table, ids = rng.standard_normal((7, 5)), rng.integers(0, 7, shape)
    y = fastnorm.embedding(ids, table)
    assert_same_bits(y, table[ids])
    dtable = fastnorm.embedding_backward(y, ids, table)
    counts = np.bincount(ids.ravel(), minlength=7)
    np.testing.assert_allclose(dtable, counts[:, None] * table, rtol=1e-15)


@pytest.mark.parametrize("shape", [(0, 5), (7, 0), (0, 0)])
def test_empty_tables(shape: tuple[int, int], backend: str) -> None:
    table, ids = np.ones(shape, np.float32), np.zeros(0, int)
    assert fastnorm.embedding(ids, table).shape == (0, shape[1])
    np.testing.assert_array_equal(
        fastnorm.embedding_backward(np.ones((0, shape[1]), np.float32), ids, table), np.zeros(shape)
    )
    if shape[0] == 0:
        with pytest.raises(ValueError, match=r"ids has 0 at \(0,\), needs 0 to -1, the rows of table"):
            fastnorm.embedding([0], table)


@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
@pytest.mark.parametrize("value", [-1, 7, 2**62, -(2**63)])
def test_errors_show_value_and_place(value: int, place: tuple[int, int], backend: str) -> None:
    ids, table = np.zeros((2, 3), np.int64), np.ones((7, 4))
    ids[place] = value
    found = re.escape(f"ids has {value} at {place}, needs 0 to 6, the rows of table")
    out = np.full((2, 3, 4), 5.0)
    with pytest.raises(ValueError, match=f"^embedding: {found}"):
        fastnorm.embedding(ids, table, out=out)
    assert (out == 5).all()
    with pytest.raises(ValueError, match=f"^embedding_backward: {found}"):
        fastnorm.embedding_backward(out, ids, table)
    with pytest.raises(ValueError, match=f"^embedding: ids has {value}, needs"):
        fastnorm.embedding(value, table)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_bits_of_the_table_stay(dtype: np.dtype[Any], backend: str, rng: np.random.Generator) -> None:
    """NaNs with a payload, negative zeros and subnormal numbers are copied."""
    kind = np.dtype(f"u{dtype.itemsize}")
    table = rng.integers(0, np.iinfo(kind).max, (50, 33), kind, endpoint=True).view(dtype)
    ids = rng.integers(0, 50, 80)
    for relay in LAYOUTS.values():
        y = fastnorm.embedding(ids, relay(table))
        np.testing.assert_array_equal(y.view(kind), table.view(kind)[ids])


def test_a_row_of_many_places(backend: str, rng: np.random.Generator) -> None:
    """Sums are float64, whatever their length, and those of half types float32."""
    ids = np.where(rng.random(30_000) < 0.9, 3, rng.integers(0, 5, 30_000))
    for dtype in DTYPES.values():
        dy = (1 + rng.random((30_000, 3))).astype(dtype)
        dtable = fastnorm.embedding_backward(dy, ids, np.zeros((6, 3), dtype))
        exact = np.stack([dy[ids == row].astype(np.float64).sum(axis=0) for row in range(6)])
        assert dtable.dtype == (np.float64 if dtype == np.float64 else np.float32)
        np.testing.assert_allclose(dtable, exact, rtol=1e-12 if dtype == np.float64 else 6e-8)


def test_padding_has_no_gradient(backend: str, rng: np.random.Generator) -> None:
    table = rng.standard_normal((6, 5))
    ids, dy = rng.integers(0, 6, (7, 8)), rng.standard_normal((7, 8, 5))
    dy[ids == 2] = np.nan
    for padding in (2, -4, np.int8(2)):
        assert_same_bits(fastnorm.embedding(ids, table, padding_id=padding), table[ids])
        dtable = fastnorm.embedding_backward(dy, ids, table, padding_id=padding)
        assert np.isfinite(dtable).all()
        assert (dtable[2] == 0).all()
        expected = fastnorm.embedding_backward(dy, ids, table)
        expected[2] = 0
        assert_same_bits(dtable, expected)


def test_out(backend: str, rng: np.random.Generator) -> None:
    table, ids = rng.standard_normal((6, 6)).astype(np.float32), np.array([5, 0, 0, 3, 1, 2])
    expected = table[ids]
    for relay in (np.asfortranarray, np.flip, np.ascontiguousarray):
        own = relay(table.copy())
        expected = own[ids]
        assert fastnorm.embedding(ids, own, out=own) is own
        np.testing.assert_array_equal(own, expected)
    for integer in (np.int64, np.int32, np.uint8):  # those that are converted too
        memory = np.zeros((3, 2))
        with pytest.raises(ValueError, match="out overlaps an input, needs exactly an input or memory apart"):
            fastnorm.embedding(memory.view(integer)[0, :2], np.ones((1, 2)), out=memory[:2])
        assert (memory == 0).all()
