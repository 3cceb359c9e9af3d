"""What holds for every op: values, gradients, layouts, `out`, equal bits, array-likes, errors, memory.

The ops whose mechanisms the others share (layer_norm, rms_norm, gelu) are tested in depth in the other files.
"""

from __future__ import annotations

import gc
import math
import sys
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from fastnorm._specs.spec import BATCH, Spec, Variant, as_tuple, is_float_array, mapped, widened
from instruction_sets import FUSED, target
from layouts import LAYOUTS, WRITABLE
from numpy.typing import NDArray
from ops import DTYPES, SPECS, label, relaid, with_variants
from tolerances import assert_same_bits, assert_within

Array = NDArray[Any]
FLOAT32 = DTYPES["float32"]
HALVES = [dtype for name, dtype in DTYPES.items() if name in ("float16", "bfloat16")]

each_op = pytest.mark.parametrize("op", SPECS, ids=label)
each_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)


each_variant = pytest.mark.parametrize(("op", "variant"), with_variants(SPECS), ids=label)


def everything(op: Spec, inputs: Any, dys: Any, keywords: Any) -> tuple[Array, ...]:
    """All results of the forward and the backward."""
    return (*as_tuple(op.forward(*inputs, **keywords)), *op.gradients(dys, inputs, keywords))


def assert_all_same_bits(got: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert_same_bits(np.asarray(one), np.asarray(other))


# Values


@each_dtype
@each_variant
def test_forward(
    op: Spec, variant: Variant, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Each result within its bound of the twin in float64, and of the dtype of the inputs."""
    for shape in op.shapes:
        inputs = op.make_inputs(rng, shape, dtype, variant)
        results = as_tuple(op.forward(*inputs, **variant.keywords))
        bounds = op.forward_bounds(inputs, variant.keywords)
        for got, exact, bound in zip(results, op.exact(inputs, variant.keywords), bounds, strict=True):
            assert got.dtype in (dtype, FLOAT32)
            assert_within(got, np.asarray(exact), bound)
        assert results[0].dtype == dtype


@each_dtype
@each_variant
def test_backward(
    op: Spec, variant: Variant, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    for shape in op.shapes:
        inputs = op.make_inputs(rng, shape, dtype, variant)
        dys = op.random_output_gradients(rng, inputs, variant.keywords)
        gradients = op.gradients(dys, inputs, variant.keywords)
        exact = op.exact_gradients(dys, inputs, variant.keywords)
        bounds = op.backward_bounds(dys, inputs, variant.keywords)
        for got, expected, bound in zip(gradients, exact, bounds, strict=True):
            assert_within(got, np.asarray(expected), bound)
        assert len({id(gradient) for gradient in gradients}) == len(gradients)


FROM_RESULT = [op for op in SPECS if op.takes_result]


@each_dtype
@pytest.mark.parametrize("op", FROM_RESULT, ids=str)
def test_backward_from_the_result(
    op: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Given y, what the formula gives for it; the values of x are not read."""
    assert op.bounds_from_result is not None
    for shape in op.shapes:
        (x,) = op.make_inputs(rng, shape, dtype, op.variants[0])
        y = op.forward(x)
        dy = rng.standard_normal(shape).astype(dtype)
        (bound,) = op.bounds_from_result((dy,), y, {})
        dx = op.backward(dy, x, y=y)
        assert dx.dtype == dtype
        assert_within(dx, op.twin_backward(widened(dy), widened(x), y=widened(y)), bound)
        assert_same_bits(op.backward(dy, np.full_like(x, np.nan), y=y), dx)
        if fastnorm.get_backend() == "native":
            assert_same_bits(op.backward(np.asfortranarray(dy), x, y=np.flip(np.flip(y).copy())), dx)


STEP = UNIT_ROUNDOFF["float64"] ** (1 / 5)
STEP_ERROR = 200 * UNIT_ROUNDOFF["float64"] ** (4 / 5)


@each_variant
def test_twin_against_differences(op: Spec, variant: Variant, rng: np.random.Generator) -> None:
    """<dy, J v> of the forward, by five points along random directions v of each argument, is <gradient,
    v>.
    """
    inputs = op.make_inputs(rng, op.shapes[1], DTYPES["float64"], variant)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)
    gradients = list(op.exact_gradients(dys, inputs, variant.keywords))
    length = op.bending(inputs, variant.keywords)
    step = STEP * length
    values = [(op.positional.index(name), inputs[op.positional.index(name)]) for name in op.differentiable]
    given = [(index, value) for index, value in values if value is not None]
    if any(isinstance(value, list) for _, value in given):
        pytest.skip("lists of arrays are tested with their op")
    assert len(gradients) == len(given)
    for (index, value), gradient in zip(given, gradients, strict=True):
        value64 = np.asarray(value, np.float64)
        assert gradient.shape == value64.shape
        for _ in range(4):
            v = np.asarray(rng.standard_normal(value64.shape))
            v /= np.linalg.norm(v)

            def along(t: float, v: Array = v, index: int = index, value: Array = value64) -> float:
                moved = (*inputs[:index], value + t * v, *inputs[index + 1 :])
                results = as_tuple(op.twin(*moved, **variant.keywords))
                return sum(float(np.vdot(dy, y)) for dy, y in zip(dys, results, strict=False))

            near, far = along(step) - along(-step), along(2 * step) - along(-2 * step)
            left, right = (8 * near - far) / (12 * step), float(np.vdot(gradient, v))
            scale = sum(float(np.linalg.norm(dy)) for dy in dys) / length
            assert abs(left - right) <= STEP_ERROR * scale


@each_op
def test_empty(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """A problem without rows gives what the twin's formula gives: results of the right shape and no error."""
    for variant in op.variants:
        for shape in op.empty:
            inputs = op.make_inputs(rng, shape, FLOAT32, variant)
            for got, expected in zip(
                as_tuple(op.forward(*inputs, **variant.keywords)),
                op.exact(inputs, variant.keywords),
                strict=True,
            ):
                np.testing.assert_array_equal(got, expected)
            dys = op.random_output_gradients(rng, inputs, variant.keywords)
            for got, expected in zip(
                op.gradients(dys, inputs, variant.keywords),
                op.exact_gradients(dys, inputs, variant.keywords),
                strict=True,
            ):
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", HALVES, ids=label)
@each_op
def test_half_results_are_rounded_once(
    op: Spec, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    """A result of half arrays is that of the same values in float32, rounded."""
    for variant in op.variants:
        inputs = op.make_inputs(rng, op.shapes[-2], dtype, variant)
        single = tuple(mapped(value, lambda array: array.astype(np.float32)) for value in inputs)
        results = as_tuple(op.forward(*inputs, **variant.keywords))
        for got, wide in zip(results, as_tuple(op.forward(*single, **variant.keywords)), strict=True):
            assert_same_bits(np.asarray(got), np.asarray(wide).astype(got.dtype))


# Layouts and `out`


@each_dtype
@each_variant
def test_layouts(
    op: Spec, variant: Variant, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    """The same bits for arrays in any layout of memory, all of them at once and each by itself."""
    for shape in (op.shapes[1], op.shapes[3], op.shapes[-1]):
        inputs = op.make_inputs(rng, shape, dtype, variant)
        dys = op.random_output_gradients(rng, inputs, variant.keywords)
        expected = everything(op, inputs, dys, variant.keywords)
        for relay in LAYOUTS.values():
            mixture = tuple(relaid(value, relay) for value in inputs)
            others = tuple(relaid(value, relay) for value in dys)
            assert_all_same_bits(everything(op, mixture, others, variant.keywords), expected)
            alone = (mixture[0], *inputs[1:])
            assert_all_same_bits(everything(op, alone, dys, variant.keywords), expected)


@each_op
def test_out(op: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """`out` in any layout is returned itself and holds the bits of a fresh result."""
    if "out" not in op.keywords:
        pytest.skip("no out")
    variant = op.variants[0]
    for dtype in DTYPES.values():
        for shape in op.shapes:
            inputs = op.make_inputs(rng, shape, dtype, variant)
            expected = as_tuple(op.forward(*inputs, **variant.keywords))
            for layout in WRITABLE:
                outs = tuple(LAYOUTS[layout](np.full(y.shape, np.nan, y.dtype)) for y in expected)
                got = op.forward(*inputs, **variant.keywords, out=outs if len(outs) > 1 else outs[0])
                for one, out, y in zip(as_tuple(got), outs, expected, strict=True):
                    assert one is out
                    assert_same_bits(np.asarray(out), y)


@each_op
def test_in_place(op: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """`out` may be the first input where it has the result's shape."""
    if "out" not in op.keywords:
        pytest.skip("no out")
    for variant in op.variants:
        inputs = op.make_inputs(rng, op.shapes[3], FLOAT32, variant)
        expected = as_tuple(op.forward(*inputs, **variant.keywords))
        if expected[0].shape != inputs[0].shape:
            continue
        copied = inputs[0].copy()
        others = tuple(np.empty_like(y) for y in expected[1:])
        got = as_tuple(
            op.forward(copied, *inputs[1:], **variant.keywords, out=(copied, *others) if others else copied)
        )
        assert got[0] is copied
        assert_all_same_bits(got, expected)


@each_op
def test_results_are_new(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """Results share no memory with the arguments or each other, can be written, and follow the layout of
    x.
    """
    inputs = op.make_inputs(rng, op.shapes[-1], FLOAT32, op.variants[0])
    dys = op.random_output_gradients(rng, inputs, op.variants[0].keywords)
    results = [y for y in everything(op, inputs, dys, op.variants[0].keywords) if isinstance(y, np.ndarray)]
    arrays = [value for value in (*inputs, *dys) if isinstance(value, np.ndarray)]
    for index, y in enumerate(results):
        assert y.flags.writeable
        assert not any(np.shares_memory(y, other) for other in (*arrays, *results[:index]))
    if op.dense_results:
        x = relaid(inputs[0], LAYOUTS["column_major"])
        y = as_tuple(op.forward(x, *inputs[1:], **op.variants[0].keywords))[0]
        if y.shape == x.shape:
            assert y.strides == np.empty_like(x).strides


# Equal bits


@each_dtype
@each_op
def test_threads(op: Spec, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator) -> None:
    variant = op.variants[0]
    for shape in op.large:
        inputs = op.make_inputs(rng, shape, dtype, variant)
        dys = op.random_output_gradients(rng, inputs, variant.keywords) if dtype == FLOAT32 else ()
        work = (
            everything if dys else lambda op, inputs, _, keywords: as_tuple(op.forward(*inputs, **keywords))
        )
        with fastnorm.threads(1):
            expected = work(op, inputs, dys, variant.keywords)
        for count in (2, 5):
            with fastnorm.threads(count):
                assert_all_same_bits(work(op, inputs, dys, variant.keywords), expected)


@each_variant
def test_a_row_does_not_depend_on_the_others(
    op: Spec, variant: Variant, native: ModuleType, rng: np.random.Generator
) -> None:
    if not op.batches or variant.keywords.get("dropout"):  # whose mask goes by the place in the batch
        pytest.skip("depends on the batch by nature")
    for dtype in (FLOAT32, DTYPES["float16"]):
        for problem in op.batches:
            inputs = op.make_inputs(rng, problem, dtype, variant)
            whole = as_tuple(op.forward(*inputs, **variant.keywords))
            dys = op.random_output_gradients(rng, inputs, variant.keywords)
            full = op.gradients(dys, inputs, variant.keywords)
            for chosen in (slice(0, 1), slice(36, 37), slice(3, 8), slice(5, 22)):

                def part(value: Any, chosen: slice = chosen) -> Any:
                    has_rows = isinstance(value, np.ndarray) and value.ndim and value.shape[0] == BATCH
                    return value[chosen] if has_rows else value

                got = as_tuple(op.forward(*map(part, inputs), **variant.keywords))
                for one, y in zip(got, whole, strict=True):
                    assert_same_bits(np.asarray(one), np.asarray(part(y)))
                some = op.gradients(tuple(map(part, dys)), tuple(map(part, inputs)), variant.keywords)
                assert_same_bits(some[0], part(full[0]))


@pytest.mark.skipif(len(FUSED) < 2, reason="needs two instruction sets with fused multiply-add")
@each_dtype
@each_variant
def test_targets(
    op: Spec, variant: Variant, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    for shape in op.shapes:
        inputs = op.make_inputs(rng, shape, dtype, variant)
        dys = op.random_output_gradients(rng, inputs, variant.keywords)
        results = []
        for name in FUSED:
            with target(name):
                results.append(everything(op, inputs, dys, variant.keywords))
        for other in results[1:]:
            assert_all_same_bits(other, results[0])


# Arguments


class Exporter:
    """An array of another library, known only through DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@each_op
def test_array_likes(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """Arrays of other libraries are taken as the same arrays; lists of numbers as float64."""
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)
    expected = everything(op, inputs, dys, variant.keywords)
    foreign = [tuple(mapped(value, Exporter) for value in group) for group in (inputs, dys)]
    assert_all_same_bits(everything(op, foreign[0], foreign[1], variant.keywords), expected)
    wide = tuple(map(widened, inputs))
    listed = tuple(mapped(value, lambda array: array.tolist()) for value in wide)
    for got, wanted in zip(
        as_tuple(op.forward(*listed, **variant.keywords)),
        as_tuple(op.forward(*wide, **variant.keywords)),
        strict=True,
    ):
        assert_same_bits(np.asarray(got), np.asarray(wanted))


class Unconvertible:
    """An object whose conversion to an array fails."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise OSError("no such array")


def bad_values(value: Array, *, integers: bool = False) -> list[tuple[Any, type[Exception]]]:
    """What must not stand in the place of a float32 array, or of one of integers where that may be too."""
    shape = value.shape
    return [
        *((bad, TypeError) for bad in ("text", object(), {"a": 1}, Unconvertible(), [[1.0, 2.0], [3.0]])),
        *((np.ones(shape, kind), TypeError) for kind in (complex, object, "U3", "M8[s]", "V4")),
        *(() if integers else ((np.ones(shape, int), TypeError),)),
        (np.ma.masked_array(np.ones(shape, np.float32)), TypeError),
    ]


def refused(function: Any, argument: str, error: type[Exception], *args: Any, **keywords: Any) -> None:
    """Assert that a call raises this error, which names the op and the argument and says what is needed."""
    try:
        result = function(*args, **keywords)
    except (TypeError, ValueError) as found:
        text = f"{argument}: {found!r}"
        assert type(found) is error, text  # noqa: PT017  # every bad call is tried
        assert str(found).startswith(f"{function.__name__}: "), text  # noqa: PT017
        assert argument in str(found), text  # noqa: PT017
        assert "needs" in str(found), text  # noqa: PT017
    else:
        raise AssertionError(f"{function.__name__}: a bad {argument} was taken: {result!r}")


@each_op
def test_bad_arguments(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """Every array argument of a wrong kind, gradients of a wrong shape or dtype, and what the op itself
    refuses.
    """
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)
    backward = op.known_to_backward(variant.keywords)
    for index, (name, value) in enumerate(zip(op.positional, inputs, strict=True)):
        if not is_float_array(value):
            continue
        for bad, error in bad_values(value, integers=name in op.integer_arrays):
            mixture = (*inputs[:index], bad, *inputs[index + 1 :])
            refused(op.forward, name, error, *mixture, **variant.keywords)
            refused(op.backward, name, error, *dys, *mixture, **backward)
    for index, (name, dy) in enumerate(zip(op.output_gradients, dys, strict=True)):
        wrong = [
            *bad_values(dy),
            (dy.astype(np.float64), TypeError),
            (np.ones((3, 1, 2), np.float32), ValueError),
        ]
        for bad, error in wrong:
            refused(op.backward, name, error, *dys[:index], bad, *dys[index + 1 :], *inputs, **backward)
    for name, bad, error in op.bad:
        if name in op.positional:
            index = op.positional.index(name)
            refused(op.forward, name, error, *inputs[:index], bad, *inputs[index + 1 :], **variant.keywords)
        else:
            refused(op.forward, name, error, *inputs, **{**variant.keywords, name: bad})


@each_op
def test_bad_out(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """Nothing is written into an `out` that cannot take the result."""
    if "out" not in op.keywords:
        pytest.skip("no out")
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
    results = as_tuple(op.forward(*inputs, **variant.keywords))
    for index, y in enumerate(results):
        locked = np.full(y.shape, math.nan, y.dtype)
        locked.flags.writeable = False
        memory = np.full(y.size + 1, math.nan, np.float32)
        table: list[tuple[Any, type[Exception]]] = [
            (y.tolist(), TypeError),
            ("out", TypeError),
            (np.full((2, 3, 4, 5), math.nan, np.float32), ValueError),
            (np.full(y.shape, math.nan), ValueError),
            (np.full(y.shape, math.nan, np.float16), ValueError),
            (locked, ValueError),
            (np.lib.stride_tricks.as_strided(memory, y.shape, (0,) * y.ndim), ValueError),
        ]
        for bad, error in table:
            outs = tuple(
                bad if k == index else np.full(z.shape, math.nan, z.dtype) for k, z in enumerate(results)
            )
            refused(
                op.forward, "out", error, *inputs, **variant.keywords, out=outs if len(outs) > 1 else outs[0]
            )
            for out in outs:
                if isinstance(out, np.ndarray):
                    assert np.isnan(out).all()


@each_op
@pytest.mark.usefixtures("native")
def test_parser_of_the_extension(op: Spec, rng: np.random.Generator) -> None:
    """Arguments by keyword, unknown and repeated ones, and too many."""
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
    function = op.forward.native
    expected = as_tuple(function(*inputs, **variant.keywords))
    named = dict(zip(op.positional, inputs, strict=True))
    assert_all_same_bits(as_tuple(function(**named, **variant.keywords)), expected)
    for args, keywords in (
        ((), {}),
        (inputs, {"unknown": 1}),
        (inputs * 9, {}),
        (inputs, {op.positional[0]: 1}),
    ):
        with pytest.raises(TypeError):
            function(*args, **keywords)


# Memory


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
@each_op
def test_references(op: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """No call keeps a reference to its arguments or loses one."""
    variant = op.variants[0]
    inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)
    watched = [value for value in (*inputs, *dys) if isinstance(value, np.ndarray)]
    watched += [FLOAT32, None, True]  # type: ignore[list-item]

    def calls() -> None:
        everything(op, inputs, dys, variant.keywords)
        for bad in (object(), np.ones(3, complex)):
            with pytest.raises(TypeError):
                op.forward(bad, *inputs[1:], **variant.keywords)

    calls()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    for _ in range(100):
        calls()
    gc.collect()
    after = [sys.getrefcount(thing) for thing in watched]
    assert all(abs(b - a) < 50 for a, b in zip(before, after, strict=True))


@each_op
def test_vjp(op: Spec, backend: str, rng: np.random.Generator) -> None:
    """The pullback gives what the backward gives."""
    for variant in op.variants:
        inputs = op.make_inputs(rng, op.shapes[1], FLOAT32, variant)
        dys = op.random_output_gradients(rng, inputs, variant.keywords)
        results, pullback = fastnorm.vjp(op.forward, *inputs, **variant.keywords)
        assert_all_same_bits(as_tuple(results), as_tuple(op.forward(*inputs, **variant.keywords)))
        expected = op.backward(*dys, *inputs, **op.known_to_backward(variant.keywords))
        for got, wanted in zip(as_tuple(pullback(*dys)), as_tuple(expected), strict=True):
            assert (got is None) == (wanted is None)
            if isinstance(wanted, np.ndarray):
                assert got.shape == wanted.shape
                bound = 64 * UNIT_ROUNDOFF["float32"] * (np.abs(wanted).max(initial=0) + 1)
                assert_within(got, wanted.astype(np.float64), np.full(wanted.shape, bound))
