"""What attention and memory_read have beyond the other ops: masks, weights, a memory of fixed size, shared
heads.
"""

from __future__ import annotations

import math
import re
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import reference
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits, relative_error

Array = NDArray[Any]
RELATIVE = {"float32": 2e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}

each_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)


def heads(
    rng: np.random.Generator, lead: tuple[int, ...], lengths: tuple[int, int, int, int], dtype: Any
) -> Any:
    """Query, keys and values for (queries, slots, dim, width)."""
    queries, slots, dim, width = lengths
    shapes = ((queries, dim), (slots, dim), (slots, width))
    return tuple(np.asarray(rng.standard_normal((*lead, *shape))).astype(dtype) for shape in shapes)


def masks(
    rng: np.random.Generator, lead: tuple[int, ...], queries: int, slots: int, dtype: Any
) -> dict[str, Array]:
    """Masks in every form: boolean and additive, the same for all queries, all heads, all slots."""
    computed = np.float64 if dtype == np.float64 else np.float32
    full = rng.random((*lead, queries, slots)) < 0.6
    additive = np.where(full, rng.standard_normal(full.shape), -np.inf).astype(computed)
    return {
        "boolean": full,
        "padding": full[:, :, :1],
        "causal": np.tri(queries, slots, dtype=bool),
        "one": np.array(True),
        "additive": additive,
        "bias": additive[0, 0, :1],
        "strided": additive[..., ::-1],
        "a query": full[..., :1],
    }


@each_dtype
@pytest.mark.parametrize("linear", [False, True], ids=["softmax", "linear"])
@pytest.mark.parametrize("lengths", [(3, 5, 4, 2), (35, 70, 9, 10), (1, 130, 6, 20)], ids=str)
def test_masks(
    dtype: np.dtype[Any], linear: bool, lengths: tuple[int, int, int, int], implementation: str, rng: Any
) -> None:
    arrays = heads(rng, (2, 3), lengths, dtype)
    wide = [array.astype(np.float64) for array in arrays]
    for name, mask in masks(rng, (2, 3), lengths[0], lengths[1], dtype).items():
        exact_mask = mask if mask.dtype == bool else mask.astype(np.float64)
        options = {"scale": 0.5, "linear": linear}
        results = fastnorm.attention(*arrays, mask=mask, **options, return_weights=True)
        exact = reference.attention(*wide, mask=exact_mask, **options, return_weights=True)
        dy = np.asarray(rng.standard_normal(results[0].shape)).astype(dtype)
        results += fastnorm.attention_backward(dy, *arrays, mask=mask, **options)
        exact += reference.attention_backward(dy.astype(np.float64), *wide, mask=exact_mask, **options)
        for got, expected in zip(results, exact, strict=True):
            assert np.linalg.norm(got.astype(float) - expected) <= RELATIVE[dtype.name] * np.linalg.norm(
                expected
            ), name
        assert_same_bits(fastnorm.attention(*arrays, mask=mask, **options), results[0])


@pytest.mark.parametrize("is_causal", [True, "lower_right"])
@pytest.mark.parametrize("linear", [False, True], ids=["softmax", "linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
def test_causal_is_a_mask(dtype: Any, linear: bool, is_causal: Any, implementation: str, rng: Any) -> None:
    """It has the bits of a triangular mask, alone or in another one; forward, weights and gradients."""
    for lengths in ((1, 70, 8, 8), (64, 64, 8, 9), (150, 150, 20, 4), (40, 200, 6, 6), (200, 40, 6, 6)):
        arrays = heads(rng, (2, 3), lengths, dtype)
        queries, slots = lengths[:2]
        dy = np.asarray(rng.standard_normal((2, 3, queries, lengths[3]))).astype(dtype)
        seen = np.tri(queries, slots, slots - queries if is_causal == "lower_right" else 0, dtype=bool)
        for name, mask in ({"none": np.array(True)} | masks(rng, (2, 3), queries, slots, dtype)).items():
            both = seen & mask if mask.dtype == bool else np.where(seen, mask, -np.inf).astype(dtype)
            options = {"linear": linear, "return_weights": True}
            got = fastnorm.attention(*arrays, mask=mask, is_causal=is_causal, **options)
            got += fastnorm.attention_backward(dy, *arrays, mask=mask, is_causal=is_causal, linear=linear)
            expected = fastnorm.attention(*arrays, mask=both, **options)
            expected += fastnorm.attention_backward(dy, *arrays, mask=both, linear=linear)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


def test_causal_errors(implementation: str) -> None:
    x, out = np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"^attention: is_causal is 'upper', needs True, False or 'lower"):
        fastnorm.attention(x, x, x, is_causal="upper", out=out)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^attention: is_causal has type int, needs a bool or 'lower_right'"):
        fastnorm.attention(x, x, x, is_causal=1, out=out)  # type: ignore[call-overload]
    assert not out.any()


@pytest.mark.parametrize("is_causal", [True, "lower_right"])
def test_hidden_slots_of_what_is_not_a_number(is_causal: Any, implementation: str, rng: Any) -> None:
    """A query of NaN gives slots that it does not see no weight."""
    arrays = heads(rng, (1,), (70, 70, 8, 8), np.float32)
    arrays[0][0, 3] = np.nan
    y, weights = fastnorm.attention(*arrays, is_causal=is_causal, return_weights=True)
    assert np.isnan(y[0, 3]).all()
    assert np.isfinite(np.delete(y, 3, axis=1)).all()
    assert not weights[0, 3, 4:].any()
    _, _, dvalues = fastnorm.attention_backward(np.ones_like(y), *arrays, is_causal=is_causal)
    assert np.isfinite(dvalues[0, 4:]).all()
    assert np.isnan(dvalues[0, :4]).all()


def test_a_mask_against_the_slots_alone(implementation: str, rng: np.random.Generator) -> None:
    """Slots that take no part are as good as absent."""
    query, keys, values = heads(rng, (2,), (5, 40, 8, 3), np.float64)
    kept = rng.random(40) < 0.5
    got = fastnorm.attention(query, keys, values, mask=kept)
    np.testing.assert_allclose(got, fastnorm.attention(query, keys[:, kept], values[:, kept]), rtol=1e-13)


@pytest.mark.parametrize("dim", [0, 1, 3, 8, 24, 64, 80])
def test_the_scale_of_its_own(dim: int, implementation: str, rng: np.random.Generator) -> None:
    """dim ** -0.5, which counts for nothing where there is no dim."""
    arrays = heads(rng, (2,), (5, 7, dim, 3), np.float64)
    dy = rng.standard_normal((2, 5, 3))
    scale = dim**-0.5 if dim else 0.0
    assert_same_bits(fastnorm.attention(*arrays), fastnorm.attention(*arrays, scale=scale))
    for got, expected in zip(
        fastnorm.attention_backward(dy, *arrays),
        fastnorm.attention_backward(dy, *arrays, scale=scale),
        strict=True,
    ):
        assert_same_bits(got, expected)


@each_dtype
def test_nothing_to_attend_to_gives_zeros(
    dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    query, keys, values = heads(rng, (2,), (4, 70, 8, 3), dtype)
    mask = np.ones((4, 70), bool)
    mask[1] = False
    y, weights = fastnorm.attention(query, keys, values, mask=mask, return_weights=True)
    for result in (y, weights):
        assert not result[:, 1].astype(float).any()
        assert np.isfinite(result.astype(float)).all()
    none = fastnorm.memory_read(query[:, 0], keys, values, mask=np.zeros(70, bool))
    assert not none.astype(float).any()
    for gradient in fastnorm.attention_backward(np.ones_like(y), query, keys, values, mask=mask):
        assert np.isfinite(gradient.astype(float)).all()
    assert not fastnorm.attention(query, keys[:, :0], values[:, :0]).astype(float).any()


@pytest.mark.parametrize("order", ["rising", "falling", "peak"])
def test_scores_of_any_size(order: str, implementation: str) -> None:
    """Finite scores up to the largest float give finite results: the largest score takes all."""
    scores = np.linspace(-3e38, 3e38, 150).astype(np.float32)
    scores = {"rising": scores, "falling": scores[::-1], "peak": np.roll(scores, 70)}[order]
    values = np.arange(150, dtype=np.float32)[:, None]
    winner = values[np.argmax(scores)]
    y = fastnorm.attention(np.ones((2, 1), np.float32), scores[:, None], values)
    np.testing.assert_array_equal(y, np.broadcast_to(winner, (2, 1)))
    np.testing.assert_array_equal(
        fastnorm.memory_read(np.ones(1, np.float32), scores[:, None], values), winner
    )


def test_the_lowest_scores_count_in_every_block(implementation: str) -> None:
    """The lowest number is a score like any other, though the search for the largest starts there."""
    scores = np.full((150, 1), np.finfo(np.float32).min)
    values = np.arange(150, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        fastnorm.memory_read(np.ones(1, np.float32), scores, values), [74.5], rtol=1e-6
    )
    np.testing.assert_allclose(
        fastnorm.attention(np.ones((2, 1), np.float32), scores, values), 74.5, rtol=1e-6
    )


def test_not_a_number_stays(implementation: str) -> None:
    keys = np.array([[0.0], [math.nan]], np.float32)
    assert np.isnan(fastnorm.attention(np.ones((3, 1), np.float32), keys, keys[::-1])).all()
    assert np.isnan(fastnorm.memory_read(np.ones(1, np.float32), keys, keys[::-1])).all()


@each_dtype
@pytest.mark.parametrize("linear", [False, True], ids=["softmax", "linear"])
def test_a_query_alone_has_the_same_bits(dtype: np.dtype[Any], linear: bool, backend: str, rng: Any) -> None:
    """One query, a few, a tile and more; as attention and as memory_read; with the weights and without."""
    if backend == "reference":
        pytest.skip("the twin's products come from BLAS")
    for lengths in ((40, 7, 5, 18), (40, 64, 20, 20), (40, 150, 50, 33)):
        query, keys, values = heads(rng, (2,), lengths, dtype)
        mask = rng.random((2, 1, lengths[1])) < 0.7
        y, weights = fastnorm.attention(
            query, keys, values, mask=mask, scale=1.0, linear=linear, return_weights=True
        )
        for chosen in (slice(0, 1), slice(3, 5), slice(0, 16), slice(7, 39)):
            some = fastnorm.attention(
                query[:, chosen], keys, values, mask=mask, scale=1.0, linear=linear, return_weights=True
            )
            assert_same_bits(some[0], y[:, chosen])
            assert_same_bits(some[1], weights[:, chosen])
        one = fastnorm.memory_read(
            query[:, 9], keys, values, mask=mask[:, 0], linear=linear, return_weights=True
        )
        assert_same_bits(one[0], y[:, 9])
        assert_same_bits(one[1], weights[:, 9])
        assert_same_bits(
            fastnorm.memory_read(query[1, 9], keys[1], values[1], mask=mask[1, 0], linear=linear), y[1, 9]
        )


@each_dtype
@pytest.mark.parametrize("linear", [False, True], ids=["softmax", "linear"])
def test_the_gradient_of_a_query_alone_has_the_same_bits(
    dtype: np.dtype[Any], linear: bool, backend: str, rng: Any
) -> None:
    """A single query takes a kernel of its own."""
    if backend == "reference":
        pytest.skip("the twin's products come from BLAS")
    for lengths in ((40, 7, 5, 18), (40, 64, 20, 20), (40, 150, 50, 33)):
        query, keys, values = heads(rng, (2,), lengths, dtype)
        dy = np.asarray(rng.standard_normal((2, 40, lengths[3]))).astype(dtype)
        mask = rng.random((2, 1, lengths[1])) < 0.7
        dquery, _, _ = fastnorm.attention_backward(
            dy, query, keys, values, mask=mask, scale=1.0, linear=linear
        )
        alone, _, _ = fastnorm.memory_read_backward(
            dy[:, 9], query[:, 9], keys, values, mask=mask[:, 0], linear=linear
        )
        assert_same_bits(alone, dquery[:, 9])


def test_heads_are_views(backend: str, rng: np.random.Generator) -> None:
    """(batch, length, heads, dim) seen as (batch, heads, length, dim); the result lies in memory as the query
    does.
    """
    packed = rng.standard_normal((2, 9, 3, 4, 8)).astype(np.float32)
    query, keys, values = (packed[:, :, which].transpose(0, 2, 1, 3) for which in range(3))
    y = fastnorm.attention(query, keys, values)
    dense = fastnorm.attention(*map(np.ascontiguousarray, (query, keys, values)))
    np.testing.assert_array_equal(y, dense)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous
    shared = np.broadcast_to(keys[:, :1], keys.shape)
    np.testing.assert_array_equal(
        fastnorm.attention(query, shared, values), fastnorm.attention(query, shared.copy(), values)
    )


@pytest.mark.parametrize("which", [0, 1, 2])
def test_out_may_be_any_input(which: int, backend: str, rng: np.random.Generator) -> None:
    arrays = heads(rng, (2,), (70, 70, 20, 20), np.float32)
    expected = fastnorm.attention(*arrays)
    assert fastnorm.attention(*arrays, out=arrays[which]) is arrays[which]
    assert_same_bits(arrays[which], expected)


def test_causal_against_torch(backend: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    arrays = heads(rng, (2, 3), (70, 70, 16, 24), np.float32)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, arrays), is_causal=True
    )
    assert relative_error(fastnorm.attention(*arrays, is_causal=True), expected.numpy()) < 1e-6


def test_against_torch(backend: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    query, keys, values = heads(rng, (2, 3), (33, 70, 16, 24), np.float32)
    mask = rng.random((33, 70)) < 0.8
    tensors = [torch.from_numpy(array).requires_grad_() for array in (query, keys, values)]
    y = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=torch.from_numpy(mask))
    got = fastnorm.attention(query, keys, values, mask=mask)
    assert relative_error(got, y.detach().numpy()) < 1e-6
    y.backward(torch.ones_like(y))
    gradients = fastnorm.attention_backward(np.ones_like(got), query, keys, values, mask=mask)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert relative_error(gradient, tensor.grad.numpy()) < 2e-6


# ---- heads that are shared -------------------------------------------------------------------------------


def shared_heads(rng: Any, group: int, lengths: tuple[int, int, int, int], dtype: Any) -> Any:
    """Query of 2 x 2 * group heads, keys and values of 2 x 2, and dy."""
    query, _, _ = heads(rng, (2, 2 * group), lengths, dtype)
    _, keys, values = heads(rng, (2, 2), lengths, dtype)
    dy = np.asarray(rng.standard_normal((*query.shape[:-1], lengths[3]))).astype(dtype)
    return query, keys, values, dy


def repeated(array: Array, group: int) -> Array:
    """The same heads, each as often as it is shared."""
    return np.repeat(array, group, axis=-3)


def shared_options(rng: Any, lead: tuple[int, ...], lengths: tuple[int, int, int, int], dtype: Any) -> Any:
    """Every mask, with causality and linear weights in turn."""
    modes = ((False, False), (True, False), ("lower_right", True))
    for index, mask in enumerate(masks(rng, lead, *lengths[:2], dtype).values()):
        is_causal, linear = modes[index % len(modes)]
        yield {"mask": mask, "is_causal": is_causal, "linear": linear}


SHARED_LENGTHS = ((1, 70, 8, 8), (5, 9, 4, 3), (33, 70, 9, 5), (70, 130, 20, 24), (130, 65, 6, 6))


@each_dtype
@pytest.mark.parametrize("group", [1, 2, 3])
def test_shared_heads_are_repeated_heads(
    dtype: np.dtype[Any], group: int, implementation: str, rng: Any
) -> None:
    """The bits of heads that are copied: results, weights and the gradient of query."""
    for lengths in SHARED_LENGTHS:
        query, keys, values, dy = shared_heads(rng, group, lengths, dtype)
        given = (query, keys, values)
        copies = (query, repeated(keys, group), repeated(values, group))
        for options in shared_options(rng, (2, 2 * group), lengths, dtype):
            got = fastnorm.attention(*given, **options, enable_gqa=True, return_weights=True)
            got += fastnorm.attention_backward(dy, *given, **options, enable_gqa=True)[:1]
            expected = fastnorm.attention(*copies, **options, return_weights=True)
            expected += fastnorm.attention_backward(dy, *copies, **options)[:1]
            for a, b in zip(got, expected, strict=True):
                assert_same_bits(a, b)


@each_dtype
@pytest.mark.parametrize("group", [2, 3])
def test_gradients_of_shared_heads(dtype: np.dtype[Any], group: int, implementation: str, rng: Any) -> None:
    """The sums of those of repeated heads, in float64."""
    for lengths in SHARED_LENGTHS:
        query, keys, values, dy = shared_heads(rng, group, lengths, dtype)
        wide = [array.astype(np.float64) for array in (dy, query, keys, values)]
        copies = (*wide[:2], repeated(wide[2], group), repeated(wide[3], group))
        for options in shared_options(rng, (2, 2 * group), lengths, dtype):
            got = fastnorm.attention_backward(dy, query, keys, values, **options, enable_gqa=True)
            mask = options["mask"]
            exact_mask = mask if mask.dtype == bool else mask.astype(np.float64)
            exact = list(reference.attention_backward(*copies, **{**options, "mask": exact_mask}))
            for index in (1, 2):
                exact[index] = exact[index].reshape(2, 2, group, *exact[index].shape[-2:]).sum(axis=2)
            for a, b in zip(got, exact, strict=True):
                assert a.shape == b.shape
                assert np.linalg.norm(a.astype(float) - b) <= RELATIVE[dtype.name] * np.linalg.norm(b)


@pytest.mark.parametrize("dtype", [np.float32, np.float16], ids=str)
def test_gradients_of_shared_heads_by_head_and_by_tile(dtype: Any, native: Any, rng: Any) -> None:
    """Few heads go by tile where threads are many, by head where there is one: the same bits."""
    for lengths in (*SHARED_LENGTHS, (500, 500, 16, 16), (40, 4200, 4, 4)):
        query, keys, values, dy = shared_heads(rng, 3, lengths, dtype)
        for is_causal in (False, True):
            options: Any = {"is_causal": is_causal, "enable_gqa": True}
            with fastnorm.threads(1):
                expected = fastnorm.attention_backward(dy, query, keys, values, **options)
            for count in (2, 3, 8):
                with fastnorm.threads(count):
                    got = fastnorm.attention_backward(dy, query, keys, values, **options)
                for a, b in zip(got, expected, strict=True):
                    assert_same_bits(a, b)
            # A batch by itself.
            got = fastnorm.attention_backward(dy[1], query[1], keys[1], values[1], **options)
            for a, b in zip(got, expected, strict=True):
                assert_same_bits(a, b[1])


def test_shared_heads_are_views(backend: str, rng: np.random.Generator) -> None:
    """Heads between features, backwards, in other orders and broadcast, as `out` of any layout too."""
    packed = rng.standard_normal((2, 9, 10, 8)).astype(np.float32).transpose(0, 2, 1, 3)
    mask = np.broadcast_to(rng.random((1, 6, 9, 1)) < 0.8, (2, 6, 9, 9))
    for query, keys, values in (
        (packed[:, :6], packed[:, 6:8], packed[:, 8:]),
        (packed[:, 5::-1], packed[:, 7:5:-1, ::-1], packed[..., ::-1][:, 8:]),
        (packed[:, :6].swapaxes(0, 1).copy("F").swapaxes(0, 1), packed[:, 6::2], packed[:, 7::2]),
        (
            np.broadcast_to(packed[:, :1], (2, 6, 9, 8)),
            packed[:, 6:9],
            np.broadcast_to(packed[:1, :1], (2, 3, 9, 8)),
        ),
    ):
        given = (query, keys, values)
        dense = tuple(map(np.ascontiguousarray, given))
        options: Any = {"mask": mask, "enable_gqa": True}
        y = fastnorm.attention(*given, **options)
        np.testing.assert_array_equal(y, fastnorm.attention(*dense, **{**options, "mask": mask.copy()}))
        out = np.zeros((2, 9, 6, 8), np.float32).transpose(0, 2, 1, 3)
        assert fastnorm.attention(*given, **options, out=out) is out
        np.testing.assert_array_equal(out, y)
        got = fastnorm.attention_backward(y, *given, **options)
        for a, b in zip(got, fastnorm.attention_backward(y, *dense, **options), strict=True):
            np.testing.assert_array_equal(a, b)


def test_out_over_the_query_of_shared_heads(backend: str, rng: np.random.Generator) -> None:
    """What keys are a part of is refused."""
    query, keys, values, _ = shared_heads(rng, 3, (70, 70, 20, 20), np.float32)
    expected = fastnorm.attention(query, keys, values, enable_gqa=True)
    before = query.copy()
    with pytest.raises(ValueError, match=r"^attention: out "):
        fastnorm.attention(before, query[:, :2], values, enable_gqa=True, out=query)
    assert_same_bits(query, before)
    assert fastnorm.attention(query, keys, values, enable_gqa=True, out=query) is query
    assert_same_bits(query, expected)


@pytest.mark.parametrize("extents", [(0, 5, 4, 3), (5, 0, 4, 3), (5, 7, 0, 3), (5, 7, 4, 0)], ids=str)
def test_nothing_in_shared_heads(
    extents: tuple[int, int, int, int], implementation: str, rng: np.random.Generator
) -> None:
    query, keys, values, dy = shared_heads(rng, 2, extents, np.float32)
    y = fastnorm.attention(query, keys, values, enable_gqa=True)
    assert y.shape == dy.shape
    gradients = fastnorm.attention_backward(dy, query, keys, values, enable_gqa=True)
    for gradient, array in zip(gradients, (query, keys, values), strict=True):
        assert gradient.shape == array.shape
    alone = query[0, 0], keys[0, 0], values[0, 0]
    assert_same_bits(fastnorm.attention(*alone, enable_gqa=True), fastnorm.attention(*alone))
    none = fastnorm.attention(query[:, :0], keys[:, :0], values[:, :0], enable_gqa=True)
    assert none.shape == (2, 0, *y.shape[2:])


def test_many_axes_before_shared_heads(implementation: str, rng: np.random.Generator) -> None:
    """As many as an array of any NumPy can have."""
    query, keys, values, dy = shared_heads(rng, 3, (5, 7, 4, 3), np.float64)
    arrays = [array.reshape(*(1,) * 28, *array.shape) for array in (dy, query, keys, values)]
    got = fastnorm.attention_backward(*arrays, enable_gqa=True)
    expected = fastnorm.attention_backward(dy, query, keys, values, enable_gqa=True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a.reshape(b.shape), b)
    y = fastnorm.attention(*arrays[1:], enable_gqa=True)
    np.testing.assert_array_equal(
        y.reshape(dy.shape), fastnorm.attention(query, keys, values, enable_gqa=True)
    )


def test_errors_of_shared_heads(backend: str) -> None:
    query, keys, out = np.ones((6, 3, 4)), np.ones((2, 5, 4)), np.zeros((6, 3, 4))
    dy = np.ones_like(out)
    for given, options, text in (
        ((query, keys, keys), {}, "keys has shape (2, 5, 4), needs (6, slots, 4) to match query"),
        (
            (query, np.ones((4, 5, 4)), np.ones((4, 5, 4))),
            {"enable_gqa": True},
            "keys has 4 heads (shape (4, 5, 4)), needs a number that divides the 6 of query",
        ),
        (
            (query, np.ones((12, 5, 4)), np.ones((12, 5, 4))),
            {"enable_gqa": True},
            "keys has 12 heads (shape (12, 5, 4)), needs a number that divides the 6 of query",
        ),
        (
            (query, np.ones((0, 5, 4)), np.ones((0, 5, 4))),
            {"enable_gqa": True},
            "keys has 0 heads (shape (0, 5, 4)), needs a number that divides the 6 of query",
        ),
        (
            (query, keys, np.ones((3, 5, 4))),
            {"enable_gqa": True},
            "values has shape (3, 5, 4), needs (2, 5, ",
        ),
        ((query, keys[0], keys[0]), {"enable_gqa": True}, "keys has shape (5, 4), needs (6, slots, 4) "),
        (
            (query, keys, keys),
            {"enable_gqa": True, "mask": np.ones((2, 3, 5), bool)},
            "mask has shape (2, 3, 5), needs one that broadcasts to (6, 3, 5)",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(f'attention: {text}')}"):
            fastnorm.attention(*given, **options, out=out)
        with pytest.raises(ValueError, match=f"^{re.escape(f'attention_backward: {text}')}"):
            fastnorm.attention_backward(dy, *given, **options)
    for bad in (1, None, "yes"):
        with pytest.raises(TypeError, match=r"^attention: enable_gqa has type \w+, needs a bool"):
            fastnorm.attention(query, keys, keys, enable_gqa=bad, out=out)  # type: ignore[call-overload]
    assert not out.any()


@pytest.mark.parametrize("group", [2, 3])
def test_shared_heads_against_torch(group: int, backend: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    query, keys, values, dy = shared_heads(rng, group, (33, 70, 16, 24), np.float32)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (query, keys, values)]
    y = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True, enable_gqa=True)
    options: Any = {"is_causal": True, "enable_gqa": True}
    assert relative_error(fastnorm.attention(query, keys, values, **options), y.detach().numpy()) < 1e-6
    y.backward(torch.from_numpy(dy))
    gradients = fastnorm.attention_backward(dy, query, keys, values, **options)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert relative_error(gradient, tensor.grad.numpy()) < 2e-6
