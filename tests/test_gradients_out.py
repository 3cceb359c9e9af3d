"""Every backward leaves its gradients where `out` says: the same bits, in the arrays that were given, or
nothing at all.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from compared_calls import flat
from fastnorm._arguments.gradients import into_out
from fastnorm._specs.spec import Spec, Variant, as_tuple
from layouts import LAYOUTS, WRITABLE
from numpy.typing import NDArray
from ops import DTYPES, SPECS, label, with_variants
from tolerances import assert_same_bits

Array = NDArray[Any]
FLOAT32 = np.dtype(np.float32)
each_op = pytest.mark.parametrize("spec", SPECS, ids=label)


class Backward:
    """A backward on arguments of its own, that takes `out` as its gradients are built."""

    def __init__(
        self, spec: Spec, rng: np.random.Generator, dtype: np.dtype[Any], shape: Any, variant: Variant
    ) -> None:
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        self.dys = spec.random_output_gradients(rng, inputs, variant.keywords)
        self.spec, self.inputs = spec, inputs
        self.keywords = spec.known_to_backward(variant.keywords)
        self.gradients = self()

    def __call__(self, **out: Any) -> Any:
        return self.spec.backward(*self.dys, *self.inputs, **self.keywords, **out)


def outs_like(gradient: Any, layout: str = "contiguous") -> Any:
    """Arrays for gradients, filled with NaN."""
    if isinstance(gradient, (tuple, list)):
        return tuple(outs_like(part, layout) for part in gradient)
    if gradient is None:
        return None
    array = np.full(gradient.shape, np.nan, gradient.dtype)
    return LAYOUTS[layout](array) if layout != "contiguous" and array.ndim else array


def assert_equal(got: Any, expected: Any) -> None:
    assert isinstance(got, (tuple, list)) == isinstance(expected, (tuple, list))
    for one, gradient in zip(flat(got), flat(expected), strict=True):
        if gradient is None:
            assert one is None
        else:
            assert_same_bits(np.asarray(one), np.asarray(gradient))


def assert_filled(got: Any, out: Any, expected: Any) -> None:
    assert_equal(got, expected)
    for one, given in zip(flat(got), flat(out), strict=True):
        assert given is None or one is given


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(SPECS), ids=label)
def test_bits(
    spec: Spec, variant: Variant, dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator
) -> None:
    for shape in spec.shapes:
        backward = Backward(spec, rng, dtype, shape, variant)
        out = outs_like(backward.gradients)
        assert_filled(backward(out=out), out, backward.gradients)


@each_op
def test_layouts(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    backward = Backward(spec, rng, FLOAT32, spec.shapes[1], spec.variants[0])
    for layout in WRITABLE:
        out = outs_like(backward.gradients, layout)
        assert_filled(backward(out=out), out, backward.gradients)


@each_op
def test_some_of_them(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    """None where a gradient is to be made; a list is as good as a tuple."""
    backward = Backward(spec, rng, FLOAT32, spec.shapes[1], spec.variants[0])
    expected = backward.gradients
    assert_equal(backward(out=None), expected)
    if isinstance(expected, tuple):
        for index, gradient in enumerate(expected):
            out = [None] * len(expected)
            out[index] = outs_like(gradient)
            got = backward(out=out)
            assert_equal(got, expected)
            assert all(one is given for one, given in zip(flat(got[index]), flat(out[index]), strict=True))


def in_the_place(backward: Backward, index: int, place: int) -> Any:
    """What a backward returns that writes a gradient over an argument."""
    given = [*backward.dys, *backward.inputs]
    own = [value.copy("K") if isinstance(value, np.ndarray) else value for value in given]
    out: Any = own[place]
    if isinstance(backward.gradients, tuple):
        out = tuple(own[place] if k == index else None for k in range(len(backward.gradients)))
    got = backward.spec.backward(*own, **backward.keywords, out=out)
    assert as_tuple(got)[index] is own[place]
    return got


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize(("spec", "variant"), with_variants(SPECS), ids=label)
def test_in_place(
    spec: Spec, variant: Variant, dtype: np.dtype[Any], backend: str, rng: np.random.Generator
) -> None:
    """A gradient may take the place of any argument of its shape and type."""
    backward = Backward(spec, rng, dtype, spec.shapes[-1], variant)
    for index, gradient in enumerate(as_tuple(backward.gradients)):
        for place, argument in enumerate((*backward.dys, *backward.inputs)):
            if not (isinstance(gradient, np.ndarray) and isinstance(argument, np.ndarray)):
                continue
            if (argument.shape, argument.dtype) == (gradient.shape, gradient.dtype):
                assert_equal(in_the_place(backward, index, place), backward.gradients)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("name", ["gelu", "relu", "sigmoid", "softplus", "elu"])
def test_large_ones_in_place(name: str, dtype: np.dtype[Any], native: ModuleType) -> None:
    """Past the caches, in several threads, in C and Fortran order."""
    rng = np.random.default_rng(0)
    dy, x = (rng.standard_normal((1500, 1100)).astype(dtype) for _ in range(2))
    op = getattr(fastnorm, f"{name}_backward")
    for order in "CF":
        given = [np.asarray(array, order=order) for array in (dy, x)]
        expected = op(*given)
        for place in range(2):
            own = [array.copy("K") for array in given]
            assert op(*own, out=own[place]) is own[place]
            assert_same_bits(own[place], expected)


@each_op
def test_nothing_is_written_where_one_does_not_fit(
    spec: Spec, backend: str, rng: np.random.Generator
) -> None:
    backward = Backward(spec, rng, FLOAT32, spec.shapes[1], spec.variants[0])
    expected = backward.gradients
    leaves = [index for index, gradient in enumerate(flat(expected)) if gradient is not None]
    for index in leaves:
        gradient = flat(expected)[index]
        locked = np.full_like(gradient, math.nan)
        locked.flags.writeable = False
        read = next(value for value in (*backward.dys, *backward.inputs) if isinstance(value, np.ndarray))
        memory = np.full(gradient.size + 1, math.nan, np.float32)
        repeated = np.lib.stride_tricks.as_strided(memory, gradient.shape, (0,) * gradient.ndim)
        for bad, error in (
            *([(repeated, ValueError)] if gradient.ndim else []),
            (gradient.tolist(), TypeError),
            ("out", TypeError),
            (np.full((2, 3, 4, 5), math.nan, np.float32), ValueError),
            (np.full(gradient.shape, math.nan), ValueError),
            (locked, ValueError),
            (read[::-1] if read.ndim and len(read) > 1 else read[None], ValueError),
        ):
            before = read.copy()
            out = outs_like(expected)
            kept = flat(out)
            with pytest.raises(error, match=rf"^{spec.backward.__name__}: out"):
                backward(out=replaced(out, index, bad))
            assert all(
                np.isnan(array).all() for k, array in enumerate(kept) if k != index and array is not None
            )
            assert_same_bits(read, before)
    if isinstance(expected, tuple):
        out = outs_like(expected)
        for wrong, error in ((out[:-1], ValueError), ((*out, None), ValueError), (out[0], TypeError)):
            with pytest.raises(error, match=rf"^{spec.backward.__name__}: out"):
                backward(out=wrong)
        assert all(np.isnan(array).all() for array in flat(out) if array is not None)


def replaced(out: Any, index: int, bad: Any) -> Any:
    """The same with another leaf."""
    if not isinstance(out, tuple):
        return bad
    parts, seen = [], 0
    for part in out:
        count = len(flat(part))
        parts.append(replaced(part, index - seen, bad) if seen <= index < seen + count else part)
        seen += count
    return tuple(parts)


@pytest.mark.parametrize("name", ["layer_norm", "linear"])
def test_gradients_have_memory_of_their_own(name: str, backend: str) -> None:
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
    given = (x, x, x[0]) if name == "layer_norm" else (x, x, x)
    memory = np.full(64, np.nan, np.float32)
    first, second = memory[:16].reshape(4, 4), memory[12:]
    second = second[:4] if name == "layer_norm" else second[:16].reshape(4, 4)
    with pytest.raises(ValueError, match=rf"{name}_backward: out\[1\] overlaps out\[0\], needs memory"):
        getattr(fastnorm, f"{name}_backward")(*given, out=(first, second, None))
    assert np.isnan(memory).all()


def test_gradients_that_change_places() -> None:
    """What lies in the array of another gradient is moved out of it first."""
    first, second = np.ones(3), np.full(3, 2.0)
    for lying in (second, second[::-1]):
        second[:] = 2
        got = into_out("op", (second, None), (first, lying), ())
        assert got[0] is second
        np.testing.assert_array_equal(got, [[1, 1, 1], [2, 2, 2]])


SQUARE = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
SQUARES: dict[str, tuple[Any, ...]] = {
    "linear": (SQUARE,) * 3,
    "gated_linear": (SQUARE,) * 4,
    "attention": (SQUARE,) * 4,
    "swiglu": (SQUARE,) * 3,
    "swish": (SQUARE,) * 3,
    "add_layer_norm": (SQUARE,) * 4,
}


@pytest.mark.parametrize("name", SQUARES)
def test_gradients_of_the_same_shape(name: str, backend: str) -> None:
    """None takes the place of another's."""
    op, given = getattr(fastnorm, f"{name}_backward"), [array.copy() for array in SQUARES[name]]
    expected = op(*given)
    for index, gradient in enumerate(expected):
        if gradient is not None:
            out = tuple(outs_like(gradient) if k == index else None for k in range(len(expected)))
            assert_filled(op(*given, out=out), out, expected)


def test_a_gradient_that_is_none(backend: str) -> None:
    x, out = np.ones((2, 3), np.float32), np.full(3, np.nan, np.float32)
    with pytest.raises(ValueError, match=r"layer_norm_backward: out\[1\] .*needs None as that gradient is"):
        fastnorm.layer_norm_backward(x, x, out=(None, out, None))
    assert np.isnan(out).all()


def test_a_single_one_is_written_at_once(native: ModuleType) -> None:
    """Memory apart from all arguments takes the gradient of an element-wise op without a copy of it."""
    x = np.ones((2048, 1024), np.float32)
    out = np.empty_like(x)
    fastnorm.clear_cache()
    before = native.cache_info()
    assert fastnorm.relu_backward(x, x, out=out) is out
    assert fastnorm.layer_norm_backward(x, x, out=(out, None, None))[0] is out
    after = native.cache_info()
    assert (after["hits"], after["misses"]) == (before["hits"], before["misses"])
