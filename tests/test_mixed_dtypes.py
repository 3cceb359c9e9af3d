"""Programs as they are: parameters, masks and operands of a narrower type than x, parameters with axes of
length 1 in front, all axes at once, and single numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import Spec, Variant, as_tuple, is_float_array, mapped
from numpy.typing import NDArray
from ops import DTYPES, SPECS, label, with_variants
from tolerances import assert_same_bits

Array = NDArray[Any]
UPDATED = ("running_mean", "running_var")  # in place, so that they have the type of statistics
NARROWER = [
    (DTYPES["float32"], DTYPES["float16"]),
    (DTYPES["float64"], DTYPES["float32"]),
    (DTYPES["float64"], DTYPES["float16"]),
]
NARROWER += [(wide, DTYPES["bfloat16"]) for wide, _ in NARROWER[:2] if "bfloat16" in DTYPES]


def arrays_of(value: Any) -> list[Array]:
    """The arrays of a result, lists of them included."""
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in arrays_of(part)]
    return [] if value is None else [np.asarray(value)]


def assert_same(got: Any, expected: Any) -> None:
    for one, other in zip(arrays_of(got), arrays_of(expected), strict=True):
        assert_same_bits(one, other)


def main_argument(op: Spec, inputs: tuple[Any, ...]) -> str:
    """The argument whose type that of the results is."""
    return next(name for name, value in zip(op.positional, inputs, strict=True) if is_float_array(value))


@pytest.mark.parametrize(("wide", "narrow"), NARROWER, ids=label)
@pytest.mark.parametrize(("op", "variant"), with_variants(SPECS), ids=label)
def test_narrower_arguments_are_widened(
    op: Spec,
    variant: Variant,
    wide: np.dtype[Any],
    narrow: np.dtype[Any],
    backend: str,
    rng: np.random.Generator,
) -> None:
    """Each by itself and all of them: the bits of what a cast by hand gives."""
    inputs = op.make_inputs(rng, op.shapes[1], wide, variant)
    first = main_argument(op, inputs)
    names = [n for n, v in zip(op.positional, inputs, strict=True) if n not in (first, *UPDATED)]

    def cast(value: Any) -> Any:
        return mapped(value, lambda array: array.astype(narrow))

    def back(value: Any) -> Any:
        return mapped(value, lambda array: array.astype(wide))

    backward = op.known_to_backward(variant.keywords)
    dys = op.random_output_gradients(rng, inputs, variant.keywords)
    for chosen in (*([name] for name in names), names):
        narrowed = tuple(
            cast(value) if name in chosen else value
            for name, value in zip(op.positional, inputs, strict=True)
        )
        widened = tuple(map(back, narrowed))

        def call(given: tuple[Any, ...]) -> Any:
            own = (
                mapped(v, np.copy) if n in UPDATED else v for n, v in zip(op.positional, given, strict=True)
            )
            return op.forward(*own, **variant.keywords)

        assert_same(call(narrowed), call(widened))
        expected = op.backward(*dys, *widened, **backward)
        assert_same(op.backward(*dys, *narrowed, **backward), expected)


@pytest.mark.parametrize(("op", "variant"), with_variants(SPECS), ids=label)
def test_narrower_arguments_are_apart_from_out(
    op: Spec, variant: Variant, backend: str, rng: np.random.Generator
) -> None:
    """Widened they are copies, and yet what the caller gave would be written over."""
    wide, narrow = NARROWER[0]
    inputs = op.make_inputs(rng, op.shapes[3], wide, variant)
    first = main_argument(op, inputs)
    results = as_tuple(op.forward(*inputs, **variant.keywords))
    names = [
        name
        for name, value in zip(op.positional, inputs, strict=True)
        if name not in (first, *UPDATED) and is_float_array(value) and value.size
    ]
    if "out" not in op.keywords or not names or not results[0].size:
        pytest.skip("no out, or no second operand")
    for name in names:
        value = inputs[op.positional.index(name)]
        memory = np.zeros(results[0].nbytes + value.size * narrow.itemsize, np.uint8)
        out = memory[: results[0].nbytes].view(wide).reshape(results[0].shape)
        begin = out.nbytes - narrow.itemsize  # one element lies in out
        shared = memory[begin : begin + value.size * narrow.itemsize].view(narrow).reshape(value.shape)
        shared[...] = value
        given = tuple(shared if n == name else v for n, v in zip(op.positional, inputs, strict=True))
        before = memory.copy()
        outs = (out, *map(np.empty_like, results[1:])) if len(results) > 1 else out
        with pytest.raises(ValueError, match=rf"^{op.name}: .*overlaps"):
            op.forward(*given, **variant.keywords, out=outs)
        np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
def test_parameters_of_any_half_type(dtype: np.dtype[Any], backend: str, rng: np.random.Generator) -> None:
    """What is narrower than the type that is computed in, beside x of another half type too."""
    x = rng.standard_normal((3, 8)).astype(dtype)
    for other in DTYPES.values():
        weight = rng.standard_normal(8).astype(other)
        if other == np.float64 and dtype != np.float64:
            with pytest.raises(
                TypeError, match=r"weight has dtype float64, needs .*astype\('float32'\) casts"
            ):
                fastnorm.rms_norm(x, weight)
            continue
        computed = np.float64 if dtype == np.float64 else np.float32
        got = fastnorm.rms_norm(x, weight)
        assert got.dtype == dtype
        assert_same_bits(got, fastnorm.rms_norm(x, weight.astype(computed)))


WIDER: list[tuple[str, Callable[[Array, Array], Any]]] = [
    ("weight", lambda x, w: fastnorm.layer_norm(x, w[0])),
    ("residual", fastnorm.add_rms_norm),
    ("up", fastnorm.swiglu),
    ("target", fastnorm.mse_loss),
    ("keys", lambda x, w: fastnorm.attention(x, w, x)),
    ("mask", lambda x, w: fastnorm.attention(x, x, x, mask=w)),
    ("weight", fastnorm.linear),
    ("bias", lambda x, w: fastnorm.linear(x, x, w[0])),
    ("weights", lambda x, w: fastnorm.mlp_forward(x, [w], None)),
    ("beta", fastnorm.swish),
    ("cos", lambda x, w: fastnorm.rotary_embedding(x, w[:, :2], w[:, :2])),
    ("dy", lambda x, w: fastnorm.embedding_backward(w, [0, 1, 2, 3], x)),
]


@pytest.mark.parametrize(("name", "call"), WIDER)
def test_wider_arguments_say_how_to_cast(
    name: str, call: Callable[[Array, Array], Any], backend: str
) -> None:
    """NumPy 2 widens by accident: `x * np.sqrt(64)`."""
    with pytest.raises(TypeError, match=rf"{name}.* has dtype float64, needs .*astype\('float32'\) casts it"):
        call(np.ones((4, 4), np.float32), np.ones((4, 4)))


@pytest.mark.parametrize("lead", [(1,), (1, 1), (1, 1, 1)], ids=str)
def test_parameters_with_axes_in_front(lead: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    x, dy, weight, bias = rng.standard_normal((4, 5, 5))
    w, b = weight[0], bias[0]
    long_w, long_b = w.reshape(*lead, 5), b.reshape(*lead, 5)
    labels = np.arange(5)
    for op, given, longer in [
        (fastnorm.layer_norm, (x, w, b), (x, long_w, long_b)),
        (fastnorm.rms_norm, (x, w, b), (x, long_w, long_b)),
        (fastnorm.add_layer_norm, (x, dy, w, b), (x, dy, long_w, long_b)),
        (fastnorm.batch_norm, (x, w, b), (x, long_w, long_b)),
        (fastnorm.linear, (x, weight, b), (x, weight, long_b)),
        (fastnorm.gated_linear, (x, weight, bias, w, b), (x, weight, bias, long_w, long_b)),
        (fastnorm.linear_cross_entropy, (x, weight, labels, b), (x, weight, labels, long_b)),
        (fastnorm.mlp_forward, (x, [weight], [b]), (x, [weight], [long_b])),
    ]:
        y, pullback = fastnorm.vjp(op, *given)
        longer_y, longer_pullback = fastnorm.vjp(op, *longer)
        assert_same(longer_y, y)
        dys = [np.ones_like(part) for part in as_tuple(y)]
        assert_same(longer_pullback(*dys), pullback(*dys))
    assert_same(
        fastnorm.cross_entropy(x, labels, weight=long_w**2), fastnorm.cross_entropy(x, labels, weight=w**2)
    )
    with pytest.raises(ValueError, match="weight has shape"):
        fastnorm.layer_norm(x, np.ones((2, 5)))
    with pytest.raises(ValueError, match="bias has shape"):
        fastnorm.linear(x, weight, np.ones((5, 1)))


NORMS = ("layer_norm", "rms_norm", "normalize", "softmax", "log_softmax")


@pytest.mark.parametrize("name", NORMS)
def test_several_axes(name: str, backend: str, rng: np.random.Generator) -> None:
    op = getattr(fastnorm, name)
    x, dy = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    whole = op(x.reshape(1, -1)).reshape(x.shape)
    dx = as_tuple(op.backward(dy.reshape(1, -1), x.reshape(1, -1)))[0].reshape(x.shape)
    for axis in (None, (0, 1, 2), (-1, 0, 1)):
        assert_same_bits(op(x, axis=axis), whole)
        assert_same_bits(as_tuple(op.backward(dy, x, axis=axis))[0], dx)
    rows = np.ascontiguousarray(np.moveaxis(x, 1, 0)).reshape(4, 15)
    expected = np.moveaxis(op(rows).reshape(4, 3, 5), 0, 1)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        assert_same_bits(op(layout(x), axis=(0, 2)), expected)
        assert_same_bits(op(layout(x), axis=(2, 0)), expected)
        out = layout(np.empty_like(x))
        assert_same_bits(op(x, axis=(0, -1), out=out), expected)
    if "softmax" in name:
        y = op(x, axis=(0, 2))
        dx = op.backward(dy, x, axis=(0, 2))
        np.testing.assert_allclose(op.backward(dy, x, axis=(0, 2), y=y), dx, rtol=1e-4, atol=1e-6)


def test_all_axes_with_parameters(backend: str, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 4))
    y, summed = fastnorm.add_rms_norm(x, x, weight, axis=None)
    assert_same_bits(summed, 2 * x)
    assert_same_bits(y, fastnorm.rms_norm(2 * x, weight, axis=(0, 1)))
    gradients = fastnorm.layer_norm_backward(x, x, weight, axis=None)
    assert_same(gradients, fastnorm.layer_norm_backward(x, x, weight, axis=(0, 1)))


@pytest.mark.parametrize("one", [np.float32(1.5), np.array(1.5, np.float32), np.float16(1.5)], ids=repr)
@pytest.mark.parametrize("name", [*NORMS, "gelu", "silu", "swish", "deep_norm", "mse_loss"])
def test_single_numbers(name: str, one: Any, backend: str) -> None:
    """As an array of one element along one axis."""
    op: Any = getattr(fastnorm, name)
    more = (one,) if name in ("deep_norm", "mse_loss") else ()
    keywords = {"alpha": 1.5} if name == "deep_norm" else {}
    line = [np.reshape(value, 1) for value in (one, *more)]
    y = np.asarray(op(one, *more, **keywords))
    assert y.shape == ()
    assert y.dtype == one.dtype
    expected = op(*line, **keywords)
    assert y == np.reshape(expected, ())
    if name != "mse_loss":
        dx = np.asarray(as_tuple(op.backward(y, one, *more, **keywords))[0])
        assert dx.shape == ()
        assert dx == as_tuple(op.backward(expected, *line, **keywords))[0][0]
    if name in NORMS:
        for axis in (None, (), 0, (0,), (-1,)):
            assert op(one, axis=axis) == y
        for axis in (1, (0, 0), "0"):
            with pytest.raises((TypeError, ValueError), match="axis"):
                op(one, axis=axis)


def test_a_single_number_has_single_parameters(backend: str) -> None:
    y, pullback = fastnorm.vjp(fastnorm.rms_norm, np.float64(2), np.float64(3), np.array([1.0]))
    np.testing.assert_allclose(y, 4, rtol=1e-6)
    assert [gradient.shape for gradient in pullback(np.float64(1))] == [(), (), ()]
