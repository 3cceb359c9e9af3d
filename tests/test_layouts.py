"""Any layout of memory gives the bits of the contiguous one, for inputs and for `out`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fastnorm._specs.spec import Spec, Variant, as_tuple
from layouts import LAYOUTS, WRITABLE, misaligned, offset
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label
from processes import succeeds
from tolerances import assert_same_bits

Array = NDArray[Any]
SHAPES = ((7,), (5, 33), (3, 4, 70))


def relaid(inputs: tuple[Array | None, ...], layout: str) -> tuple[Array | None, ...]:
    return tuple(None if array is None else LAYOUTS[layout](array) for array in inputs)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_inputs(
    spec: Spec, layout: str, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Each argument alone, and all of them, in this layout."""
    variant = spec.variants[0]
    for shape in SHAPES:
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        dy = rng.standard_normal(shape).astype(dtype)
        y = spec.forward(*inputs, **variant.keywords)
        gradients = as_tuple(spec.backward(dy, *inputs, **variant.keywords))
        other = relaid(inputs, layout)
        mixtures = [other] + [(*inputs[:i], other[i], *inputs[i + 1 :]) for i in range(len(inputs))]
        for mixture in mixtures:
            result = spec.forward(*mixture, **variant.keywords)
            assert type(result) is np.ndarray
            assert_same_bits(result, y)
            for dy_other in (dy, LAYOUTS[layout](dy)):
                for got, expected in zip(
                    as_tuple(spec.backward(dy_other, *mixture, **variant.keywords)), gradients, strict=True
                ):
                    assert_same_bits(got, expected)


@pytest.mark.parametrize("axis", [0, 1, (0, 1), (2, 0), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_axes(spec: Spec, axis: Any, implementation: str, rng: np.random.Generator) -> None:
    """Layouts of arrays that are normalised over other axes than the last."""
    variant = Variant("axes", ("weight", "bias"), {"axis": axis})
    inputs = spec.make_inputs(rng, (4, 19, 6), DTYPES["float32"], variant)
    dy = rng.standard_normal((4, 19, 6)).astype(np.float32)
    results = spec.forward(*inputs, axis=axis, return_stats=True)
    gradients = spec.backward(dy, *inputs, axis=axis)
    for layout in LAYOUTS:
        others = relaid(inputs, layout)
        for got, expected in zip(spec.forward(*others, axis=axis, return_stats=True), results, strict=True):
            assert_same_bits(got, expected)
        for got, expected in zip(
            spec.backward(LAYOUTS[layout](dy), *others, axis=axis), gradients, strict=True
        ):
            assert_same_bits(got, expected)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_layout_of_statistics(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    variant = spec.variants[0]
    for dtype in DTYPES.values():
        inputs = spec.make_inputs(rng, (6, 5, 40), dtype, variant)
        _, *stats = spec.forward(*inputs, return_stats=True)
        expected = spec.backward(inputs[0], *inputs, stats=tuple(stats) if len(stats) > 1 else stats[0])
        for relay in LAYOUTS.values():
            others = tuple(map(relay, stats))
            gradients = spec.backward(inputs[0], *inputs, stats=others if len(others) > 1 else others[0])
            for got, wanted in zip(gradients, expected, strict=True):
                assert_same_bits(got, wanted)


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_broadcast_inputs(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """Strides of zero, along rows, along columns and along all axes."""
    variant = spec.variants[0]
    for dtype in DTYPES.values():
        for small in ((1, 40), (6, 1), (1, 1)):
            shape = (6, 40)
            inputs = spec.make_inputs(rng, shape, dtype, variant)
            x = np.broadcast_to(rng.standard_normal(small).astype(dtype), shape)
            mixture = (x, *inputs[1:])
            assert_same_bits(
                spec.forward(*mixture, **variant.keywords),
                spec.forward(x.copy(), *inputs[1:], **variant.keywords),
            )
            dense = as_tuple(spec.backward(x.copy(), *inputs, **variant.keywords))
            for got, expected in zip(
                as_tuple(spec.backward(x, *inputs, **variant.keywords)), dense, strict=True
            ):
                assert_same_bits(got, expected)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_broadcast_parameters(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 6, 40)).astype(np.float32)
    one = np.broadcast_to(np.float32(1.5), (40,))
    assert_same_bits(spec.forward(x, one, one), spec.forward(x, one.copy(), one.copy()))
    for got, expected in zip(spec.backward(dy, x, one), spec.backward(dy, x, one.copy()), strict=True):
        if expected is not None:
            assert_same_bits(got, expected)


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_every_misalignment(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """All offsets of bytes and of elements within the widest vector, for x, dy and out."""
    variant = spec.variants[0]
    for dtype in DTYPES.values():
        inputs = spec.make_inputs(rng, (3, 70), dtype, variant)
        x = inputs[0]
        assert x is not None
        y = spec.forward(*inputs, **variant.keywords)
        dx = as_tuple(spec.backward(x, *inputs, **variant.keywords))[0]
        for shift, count in [(misaligned, n) for n in range(1, 9)] + [(offset, n) for n in range(1, 17)]:
            other = shift(x, count)
            out = shift(np.empty_like(x), count)
            assert_same_bits(spec.forward(other, *inputs[1:], **variant.keywords, out=out), y)
            assert_same_bits(as_tuple(spec.backward(other, other, *inputs[1:], **variant.keywords))[0], dx)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_out(spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """`out` in any layout is returned itself, holds the bits of a fresh result, and nothing around it is
    written.
    """
    variant = spec.variants[0]
    for shape in SHAPES:
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        y = spec.forward(*inputs, **variant.keywords)
        for layout in WRITABLE:
            out = LAYOUTS[layout](np.full(shape, np.nan, dtype))
            assert spec.forward(*inputs, **variant.keywords, out=out) is out
            assert_same_bits(np.asarray(out), y)
        for axis in range(len(shape)):
            wide = np.full([size + 4 if a == axis else size for a, size in enumerate(shape)], 7, dtype)
            inside = tuple(slice(2, -2) if a == axis else slice(None) for a in range(len(shape)))
            spec.forward(*inputs, **variant.keywords, out=wide[inside])
            assert_same_bits(wide[inside], y)
            wide[inside] = 7
            assert (wide == 7).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_in_place(spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator) -> None:
    """`out` may be x itself, in any layout, or another view of exactly x."""
    variant = spec.variants[0]
    for shape in (*SHAPES, (300, 600)):
        inputs = spec.make_inputs(rng, shape, dtype, variant)
        y = spec.forward(*inputs, **variant.keywords)
        for layout in WRITABLE:
            for is_view in (False, True):
                x = LAYOUTS[layout](inputs[0])  # type: ignore[arg-type]
                out = x[...] if is_view else x
                assert spec.forward(x, *inputs[1:], **variant.keywords, out=out) is out
                assert_same_bits(np.asarray(x), y)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_out_is_a_parameter(spec: Spec, implementation: str, rng: np.random.Generator) -> None:
    """`out` may be the weight or the bias where these have the shape of x."""
    for shape, axis in (((70,), 0), ((3, 5), (0, 1)), ((3, 5), (1, 0))):
        variant = Variant("parameter", ("weight", "bias"), {"axis": axis})
        inputs = spec.make_inputs(rng, shape, DTYPES["float32"], variant)
        y = spec.forward(*inputs, axis=axis)
        if axis != (1, 0):
            for index in (1, 2):
                copies = [array.copy() for array in inputs if array is not None]
                spec.forward(*copies, axis=axis, out=copies[index])
                assert_same_bits(copies[index], y)
        together = spec.forward(*[inputs[0]] * 3, axis=0) if shape == (70,) else None
        if together is not None:
            x = inputs[0].copy()  # type: ignore[union-attr]
            assert_same_bits(spec.forward(x, x, x, axis=0, out=x), together)


def test_layout_of_results(backend: str) -> None:
    """New results are dense and have their axes in memory in the order of x's, as those of NumPy's ufuncs."""
    for spec in IN_DEPTH:
        for order in ((0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)):
            x = np.ones((3, 4, 5), np.float32).transpose(order)
            for view in (x, x[::2, 1:], x[:, ::-1]):
                results = (spec.forward(view), as_tuple(spec.backward(x, x))[0])
                for result, like in zip(results, (view, x), strict=True):
                    assert result.strides == np.empty_like(like).strides
                    assert result.flags.writeable
                    assert result.flags.aligned


def test_a_long_row_is_packed_alone(native: ModuleType) -> None:
    """What strided rows take besides arguments and results follows their number: a tile of sixteen of these
    would be a gigabyte for each array.
    """
    succeeds(
        """if True:
        import resource
        import fastnorm
        import numpy as np

        x = np.zeros((1, 1 << 25), np.float32)[:, ::2]
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))
        fastnorm.set_num_threads(1)
        label = np.zeros(1, np.int64)
        for op in (fastnorm.softmax, fastnorm.log_softmax):
            assert op(x).shape == op.backward(x, x).shape == x.shape
        assert not fastnorm.layer_norm(x).any()
        assert not fastnorm.rms_norm(x).any()
        assert not fastnorm.layer_norm_backward(x, x)[0].any()
        assert not fastnorm.add_layer_norm_backward(x, None, x, x)[0].any()
        assert not fastnorm.deep_norm(x, x, alpha=1.0).any()
        assert not fastnorm.group_norm(x[:, None], 1).any()
        assert not fastnorm.group_norm_backward(x[:, None], x[:, None], 1)[0].any()
        assert fastnorm.cross_entropy(x, label, return_grad=True)[0] > 16
        """,
        FASTNORM_CACHE_MB="0",
    )
