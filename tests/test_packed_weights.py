"""Packed weights: the bits of products with the weight itself, and an object as NumPy's users expect."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from typing import Any

import fastnorm
import layouts
import numpy as np
import pytest
from instruction_sets import TARGETS, target
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

# Around registers, panels (8 to 64 columns), blocks of 256 terms, strips of 6 rows and blocks of 48.
SHAPES = [
    (rows, depth, cols)
    for rows in (0, 1, 5, 6, 7, 49)
    for depth, cols in ((1, 1), (3, 16), (255, 63), (256, 64), (257, 65), (513, 130), (20, 300))
]


def layer(rng: np.random.Generator, rows: int, depth: int, cols: int, dtype: Any) -> tuple[Array, ...]:
    return tuple(
        rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (depth, cols), (cols,))
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_products_have_the_bits_of_the_weight_itself(
    dtype: str, threads: int, rng: np.random.Generator
) -> None:
    with fastnorm.threads(threads):
        for shape in SHAPES:
            x, weight, bias = layer(rng, *shape, dtype)
            packed = fastnorm.pack(weight)
            for activation in (None, "gelu"):
                assert_same_bits(
                    fastnorm.linear(x, packed, bias, activation=activation),
                    fastnorm.linear(x, weight, bias, activation=activation),
                )
            assert_same_bits(
                fastnorm.gated_linear(x, packed, weight, bias),
                fastnorm.gated_linear(x, weight, weight, bias),
            )
            assert_same_bits(
                fastnorm.gated_linear(x, weight, packed), fastnorm.gated_linear(x, weight, weight)
            )
            assert_same_bits(
                fastnorm.mlp_forward(x, [packed, weight.T.copy()], None),
                fastnorm.mlp_forward(x, [weight, weight.T], None),
            )
            assert_same_bits(
                fastnorm.mlp_forward(x, [weight, fastnorm.pack(weight.T)], [bias, None]),
                fastnorm.mlp_forward(x, [weight, weight.T], [bias, None]),
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TARGETS)
def test_the_weight_comes_back(dtype: str, name: str, rng: np.random.Generator) -> None:
    with target(name):
        for _, depth, cols in SHAPES[:7]:
            weight = rng.standard_normal((depth, cols)).astype(dtype)
            weight.flat[:3] = np.nan, -0.0, np.inf
            for lay in (
                np.copy,
                layouts.every_other,
                layouts.reversed_axes,
                layouts.transposed,
                layouts.misaligned,
            ):
                packed = fastnorm.pack(lay(weight))
                assert packed.shape == weight.shape
                assert packed.dtype == dtype
                assert packed.ndim == 2
                assert packed.nbytes >= weight.nbytes
                back = np.asarray(packed)
                assert_same_bits(back, weight)
                assert back.flags.owndata
                assert back.flags.writeable


def test_empty_weights(rng: np.random.Generator) -> None:
    for depth, cols in ((0, 3), (3, 0), (0, 0)):
        packed = fastnorm.pack(np.ones((depth, cols), np.float32))
        assert np.asarray(packed).shape == (depth, cols)
        y = fastnorm.linear(np.ones((2, depth), np.float32), packed, np.ones(cols, np.float32))
        np.testing.assert_array_equal(y, np.ones((2, cols)))


def test_half_types_take_a_packed_weight_of_float32(rng: np.random.Generator) -> None:
    x, weight, _ = layer(rng, 7, 70, 33, np.float32)
    for dtype in DTYPES:
        if np.dtype(dtype).itemsize == 2:
            half = x.astype(dtype)
            assert_same_bits(fastnorm.linear(half, fastnorm.pack(weight)), fastnorm.linear(half, weight))


def test_other_layouts_of_x_and_out(rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 12, 100, 64, np.float32)
    packed, expected = fastnorm.pack(weight), fastnorm.linear(x, weight, bias)
    for lay in (layouts.every_other, layouts.reversed_axes, layouts.transposed, layouts.misaligned):
        assert_same_bits(fastnorm.linear(lay(x), packed, bias), expected)
        out = lay(np.zeros_like(expected))
        assert fastnorm.linear(x, packed, bias, out=out) is out
        assert_same_bits(out.copy(), expected)
    stacked = x.reshape(3, 2, 2, 100)[:, ::-1]
    assert_same_bits(fastnorm.linear(stacked, packed, bias), fastnorm.linear(stacked, weight, bias))
    assert_same_bits(
        fastnorm.linear(x.tolist(), fastnorm.pack(weight.astype(float))),
        fastnorm.linear(x.tolist(), weight.astype(float)),
    )


def test_few_columns_many_rows(rng: np.random.Generator) -> None:
    for cols in (1, 3, 15, 16, 17):
        x, weight, bias = layer(rng, 1000, 300, cols, np.float32)
        assert_same_bits(fastnorm.linear(x, fastnorm.pack(weight), bias), fastnorm.linear(x, weight, bias))


def test_it_stays_what_it_was(rng: np.random.Generator) -> None:
    x, weight, _ = layer(rng, 3, 40, 50, np.float32)
    packed, before = fastnorm.pack(weight), fastnorm.linear(x, weight)
    weight[:] = 0
    assert_same_bits(fastnorm.linear(x, packed), before)
    np.asarray(packed)[:] = 0
    assert_same_bits(fastnorm.linear(x, packed), before)


def test_packed_on_another_target(rng: np.random.Generator) -> None:
    x, weight, _ = layer(rng, 9, 300, 70, np.float32)
    for packs in TARGETS:
        with target(packs):
            packed = fastnorm.pack(weight)
        for runs in TARGETS:
            with target(runs):
                assert_same_bits(fastnorm.linear(x, packed), fastnorm.linear(x, weight))
                assert_same_bits(np.asarray(packed), weight)


def test_copies_and_pickles(rng: np.random.Generator) -> None:
    weight = rng.standard_normal((30, 20)).astype(np.float32)
    packed = fastnorm.pack(weight)
    assert copy.copy(packed) is packed
    assert copy.deepcopy([packed])[0] is packed
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(packed, protocol))
        assert type(again) is fastnorm.PackedWeight
        assert_same_bits(np.asarray(again), weight)
    assert repr(packed) == "PackedWeight(shape=(30, 20), dtype=float32)"
    assert_same_bits(np.asarray(fastnorm.pack(packed)), weight)
    np.testing.assert_array_equal(np.asarray(packed, dtype=np.float64), weight)
    with pytest.raises(ValueError, match="copy"):
        np.array(packed, copy=False)
    with pytest.raises(AttributeError):
        packed.shape = (1, 2)


def test_it_is_freed_with_its_last_use() -> None:
    packed = fastnorm.pack(np.ones((3, 3)))
    seen = weakref.ref(packed)
    bound = [packed]
    del packed
    assert seen() is not None
    bound.clear()
    gc.collect()
    assert seen() is None


def test_many_threads(rng: np.random.Generator) -> None:
    x, weight, _ = layer(rng, 20, 300, 200, np.float32)
    packed, expected = fastnorm.pack(weight), fastnorm.linear(x, weight)
    same: list[bool] = []

    def work() -> None:
        same.extend(bool(np.array_equal(fastnorm.linear(x, packed), expected)) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same)
    assert len(same) == 300


def test_gradients_unpack_it(rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 6, 30, 20, np.float32)
    packed, dy = fastnorm.pack(weight), np.ones((6, 20), np.float32)
    for a, b in zip(
        fastnorm.linear_backward(dy, x, packed, bias, activation="tanh"),
        fastnorm.linear_backward(dy, x, weight, bias, activation="tanh"),
        strict=True,
    ):
        assert_same_bits(a, b)
    for a, b in zip(
        fastnorm.gated_linear_backward(dy, x, packed, packed),
        fastnorm.gated_linear_backward(dy, x, weight, weight),
        strict=True,
    ):
        assert (a is None) == (b is None)
        if a is not None:
            assert_same_bits(a, b)
    dx, dweights, _ = fastnorm.mlp_backward(dy, x, [packed], [bias])
    other, others, _ = fastnorm.mlp_backward(dy, x, [weight], [bias])
    assert_same_bits(dx, other)
    assert_same_bits(dweights[0], others[0])
    y, pullback = fastnorm.vjp(fastnorm.linear, x, packed)
    assert_same_bits(y, fastnorm.linear(x, weight))
    assert_same_bits(pullback(dy)[1], fastnorm.linear_backward(dy, x, weight)[1])


def test_twins_take_it(rng: np.random.Generator) -> None:
    x, weight, bias = layer(rng, 6, 30, 20, np.float32)
    packed = fastnorm.pack(weight)
    with fastnorm.backend("reference"):
        assert_same_bits(fastnorm.linear(x, packed, bias), fastnorm.linear(x, weight, bias))
        assert_same_bits(fastnorm.mlp_forward(x, [packed], [bias]), fastnorm.mlp_forward(x, [weight], [bias]))
        assert_same_bits(np.asarray(fastnorm.pack(weight)), weight)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.ones(3), ValueError, r"pack: weight has shape \(3,\), needs two axes, \(in, out\)"),
        (np.ones((2, 3, 4)), ValueError, "pack: weight has shape"),
        (np.ones((2, 3), int), TypeError, "pack: weight has dtype int64"),
        (np.ones((2, 3), complex), TypeError, "pack: weight has dtype complex128"),
        (np.ma.ones((2, 3)), TypeError, "pack: weight is a masked array"),
        (None, TypeError, "pack: weight"),
        ("weight", TypeError, "pack: weight"),
        (np.broadcast_to(np.float32(1), (2**30, 2**20)), ValueError, "pack: weight has shape"),
    ],
)
def test_bad_weights(bad: Any, error: type[Exception], message: str, backend: str) -> None:
    with pytest.raises(error, match=message):
        fastnorm.pack(bad)


def test_a_packed_weight_that_does_not_fit(backend: str) -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(TypeError, match="linear: weight has dtype float64, needs float32 as x"):
        fastnorm.linear(x, fastnorm.pack(np.ones((3, 2))))
    with pytest.raises(ValueError, match=r"linear: weight has shape \(4, 2\), needs \(3, out\)"):
        fastnorm.linear(x, fastnorm.pack(np.ones((4, 2), np.float32)))
    with pytest.raises(TypeError, match="linear: x has dtype object"):
        fastnorm.linear(np.array([[object()]]), fastnorm.pack(np.ones((1, 1))))
    packed = fastnorm.pack(np.ones((3, 2), np.float32))
    with pytest.raises(TypeError, match="out has type PackedWeight"):
        fastnorm.linear(x, packed, out=packed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mlp_forward: weights"):
        fastnorm.mlp_forward(x, [packed, packed], None)


def test_making_one_otherwise() -> None:
    made = fastnorm.PackedWeight([[1.0, 2.0]])
    assert made.shape == (1, 2)
    base: Any = fastnorm.PackedWeight.__mro__[1]
    for bad in ((), (1,), (np.ones(3),), (np.ones((2, 2), int),)):
        with pytest.raises(TypeError):
            base(*bad)


def test_no_memory() -> None:
    with pytest.raises((MemoryError, ValueError)):
        fastnorm.pack(np.broadcast_to(np.float32(1), (2**24, 2**23)))
