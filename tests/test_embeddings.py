"""Sums of embeddings, which memory networks are made of: values, layouts, threads, bad arguments,
references.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import fastnorm
import layouts
import numpy as np
import pytest
from fastnorm._specs.bounds import roundoff
from fastnorm.memory import embedding_sums, embedding_sums_backward
from numpy.typing import NDArray
from tolerances import assert_same_bits

Array = NDArray[Any]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# (leading axes of the words, positions, rows, dim): as in memory networks, and around the widths of
# registers.
SHAPES = (
    ((3, 5), 7, 20, 20),
    ((4,), 3, 9, 1),
    ((), 2, 5, 33),
    ((2, 1, 3), 1, 4, 16),
    ((6,), 0, 3, 5),
    ((0, 3), 2, 3, 5),
    ((2,), 2, 3, 0),
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def problem(
    rng: np.random.Generator, shape: Any, dtype: Any, tables: int = 2
) -> tuple[list[Array], Array, Array]:
    """Tables, words and the encoding."""
    lead, positions, rows, dim = shape
    words = rng.integers(0, rows, (*lead, positions))
    return (
        [rng.standard_normal((rows, dim)).astype(dtype) for _ in range(tables)],
        words,
        rng.standard_normal((positions, dim)).astype(dtype),
    )


def gradients(rng: np.random.Generator, tables: list[Array], words: Array) -> list[Array]:
    return [rng.standard_normal((*words.shape[:-1], t.shape[1])).astype(t.dtype) for t in tables]


@each_dtype
@each_shape
def test_values(shape: Any, dtype: Any, implementation: str, rng: np.random.Generator) -> None:
    """The forward rounds once a word; the backward adds in double and rounds once."""
    tables, words, encoding = problem(rng, shape, dtype)
    unit = roundoff(dtype)
    results = embedding_sums(tables, words, encoding)
    for table, y in zip(tables, results, strict=True):
        assert y.dtype == dtype
        assert y.shape == (*words.shape[:-1], table.shape[1])
        for index in np.ndindex(y.shape):
            terms = [
                Fraction(float(encoding[j, index[-1]])) * Fraction(float(table[word, index[-1]]))
                for j, word in enumerate(words[index[:-1]])
            ]
            bound = 2 * (len(terms) + 1) * unit * float(sum(map(abs, terms)))
            assert abs(float(y[index]) - float(sum(terms))) <= bound
    dys = gradients(rng, tables, words)
    for table, dy, dtable in zip(
        tables, dys, embedding_sums_backward(dys, tables, words, encoding), strict=True
    ):
        assert dtable.dtype == dtype
        assert dtable.shape == table.shape
        for row, column in np.ndindex(table.shape):
            terms = [
                Fraction(float(encoding[place[-1], column])) * Fraction(float(dy[(*place[:-1], column)]))
                for place in map(tuple, np.argwhere(words == row))
            ]
            exact = float(sum(terms))
            bound = unit * abs(exact) + 2 * (len(terms) + 1) * roundoff(DTYPES[1]) * float(
                sum(map(abs, terms))
            )
            assert abs(float(dtable[row, column]) - exact) <= bound


@each_dtype
def test_bits(dtype: Any, native: ModuleType, rng: np.random.Generator) -> None:
    """They depend neither on threads, nor on layouts, nor on the other tables and sentences."""
    tables, words, encoding = problem(rng, ((40, 50), 7, 60, 50), dtype)
    words[:, :30] = 0
    dys = gradients(rng, tables, words)

    def both(relay: Callable[[Array], Array] = np.copy) -> list[Array]:
        relaid = [relay(table) for table in tables]
        forward = embedding_sums(relaid, relay(words), relay(encoding))
        backward = embedding_sums_backward([relay(dy) for dy in dys], relaid, relay(words), relay(encoding))
        return [*forward, *backward]

    with fastnorm.threads(1):
        expected = both()
    for count in (2, 3):
        with fastnorm.threads(count):
            for _ in range(5):
                for a, b in zip(both(), expected, strict=True):
                    assert_same_bits(a, b)
    for relay in (layouts.every_other, layouts.reversed_axes, layouts.misaligned, layouts.column_major):
        for a, b in zip(both(relay), expected, strict=True):
            assert_same_bits(a, b)
    for kind in (np.int8, np.uint16, np.int32):
        (y,) = embedding_sums(tables[1:], words.astype(kind), encoding)
        assert_same_bits(y, expected[1])
    (alone,) = embedding_sums(tables[:1], words[7, 3], encoding)
    assert_same_bits(alone, expected[0][7, 3])
    (gradient,) = embedding_sums_backward(dys[1:], tables[1:], words, encoding)
    assert_same_bits(gradient, expected[3])


def test_only_its_words_matter(implementation: str, rng: np.random.Generator) -> None:
    """NaN in a row that no sentence has stays there; a word that nobody uses has gradient 0."""
    tables, words, encoding = problem(rng, ((5,), 3, 8, 18), np.float32, tables=1)
    words[words == 6] = 5
    tables[0][6] = math.nan
    (y,) = embedding_sums(tables, words, encoding)
    assert np.isfinite(y).all()
    (dtable,) = embedding_sums_backward([y], tables, words, encoding)
    assert not dtable[6].any()
    y[2] = math.inf
    (dtable,) = embedding_sums_backward([y], tables, words, encoding)
    reached = np.isin(np.arange(8), words[2])
    assert (np.isfinite(dtable).all(axis=1) == ~reached).all()


def test_bad_arguments(backend: str, rng: np.random.Generator) -> None:
    tables, words, encoding = problem(rng, ((5,), 3, 8, 4), np.float32)
    dys = gradients(rng, tables, words)
    high, low = words.copy(), words.copy()
    high[4, 2], low[0, 0] = 8, -1
    calls: list[tuple[type[Exception], str, Any, Any, Any]] = [
        (ValueError, "words has id 8, needs ids from 0 to 7", tables, high, encoding),
        (ValueError, "words has id -1", tables, low, encoding),
        (ValueError, "words has id 18446744073709551615", tables, low.astype(np.uint64), encoding),
        (TypeError, "words has dtype float64", tables, words * 1.0, encoding),
        (TypeError, "words has dtype bool", tables, words > 0, encoding),
        (ValueError, "words has no axes", tables, 3, encoding),
        (ValueError, "words has id 0", [np.zeros((0, 4), np.float32)], words * 0, encoding),
        (TypeError, "tables has type ndarray", tables[0], words, encoding),
        (ValueError, "tables is empty", [], words, encoding),
        (ValueError, r"tables\[0\] has shape \(4,\)", [tables[0][0]], words, encoding),
        (ValueError, r"tables\[1\] has shape \(7, 4\)", [tables[0], tables[1][1:]], words, encoding),
        (TypeError, r"tables\[1\] has dtype float64", [tables[0], tables[1].astype(float)], words, encoding),
        (TypeError, r"tables\[0\] has dtype float16", [tables[0].astype(np.float16)], words, encoding),
        (TypeError, r"tables\[0\] has dtype int64", [words], words, encoding),
        (ValueError, r"encoding has shape \(2, 4\)", tables, words, encoding[1:]),
        (TypeError, "encoding has dtype float64", tables, words, encoding.astype(float)),
    ]
    for error, message, *arguments in calls:
        with pytest.raises(error, match=message):
            embedding_sums(*arguments)
        with pytest.raises(error, match=message):
            embedding_sums_backward(dys, *arguments)
    for error, message, wrong in (
        (ValueError, "dys has 1 entries, needs 2, one for each table", dys[:1]),
        (ValueError, r"dys\[1\] has shape \(4, 4\)", [dys[0], dys[1][1:]]),
        (TypeError, r"dys\[0\] has dtype float64", [dys[0].astype(float), dys[1]]),
    ):
        with pytest.raises(error, match=message):
            embedding_sums_backward(wrong, tables, words, encoding)


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="needs reference counts")
def test_references(native: ModuleType, rng: np.random.Generator) -> None:
    """Nothing of a call is kept, whether it was taken, converted or refused."""
    tables, words, encoding = problem(rng, ((5,), 3, 8, 4), np.float32)
    dys = gradients(rng, tables, words)
    narrow, wrong = words.astype(np.int32), words + 8
    watched = [*tables, words, narrow, wrong, encoding, *dys, DTYPES[0]]
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    for _ in range(100):
        embedding_sums(tables, words, encoding[:, ::-1])
        embedding_sums(tables, narrow, encoding)
        embedding_sums_backward(dys, tables, words, encoding)
        embedding_sums_backward(dys, tables, narrow, encoding)
        with pytest.raises(ValueError, match="id"):
            embedding_sums_backward(dys, tables, wrong, encoding)
    gc.collect()
    assert [sys.getrefcount(thing) for thing in watched] == before
