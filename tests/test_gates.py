"""Gated units: packed arrays along any axis, special values, golden numbers."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import as_tuple
from layouts import LAYOUTS, WRITABLE
from numpy.typing import NDArray
from ops import DTYPES, label
from tolerances import assert_same_bits

Array = NDArray[Any]
UNITS = ("bilinear", "geglu", "reglu", "swiglu")  # of two arrays or a packed one
each_unit = pytest.mark.parametrize("name", UNITS)


def forward_of(name: str) -> Any:
    return getattr(fastnorm, name)


def backward_of(name: str) -> Any:
    return getattr(fastnorm, f"{name}_backward")


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@each_unit
def test_packed_along_every_axis(
    name: str, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """A packed array in any layout gives the bits of its halves as arrays of their own; so does a packed
    gradient.
    """
    for shape in ((6,), (4, 34), (2, 18, 6), (2, 2, 2, 40)):
        packed = (2 * rng.standard_normal(shape)).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            gate, up = (half.copy() for half in np.split(packed, 2, axis))
            dy = rng.standard_normal(gate.shape).astype(dtype)
            y, gradients = forward_of(name)(gate, up), backward_of(name)(dy, gate, up)
            for relay in (np.copy, *LAYOUTS.values()):
                other = relay(packed)
                assert_same_bits(forward_of(name)(other, axis=axis), y)
                gradient = backward_of(name)(relay(dy), other, axis=axis)
                assert_same_bits(gradient, np.concatenate(gradients, axis))


@each_unit
def test_packed_large(name: str, backend: str, rng: np.random.Generator) -> None:
    """Several threads and, in the extension, stores past the caches."""
    for shape, axis in (((700, 3000), -1), ((700, 3002), 1), ((700, 3000), 0)):
        packed = rng.standard_normal(shape).astype(np.float32)
        gate, up = (half.copy() for half in np.split(packed, 2, axis))
        for _ in range(2):  # the second result goes into used memory
            y = forward_of(name)(packed, axis=axis)
            assert_same_bits(y, forward_of(name)(gate, up))
            gradient = backward_of(name)(gate, packed, axis=axis)
            assert_same_bits(gradient, np.concatenate(backward_of(name)(gate, gate, up), axis))


@each_unit
def test_out_of_halved_shape(name: str, backend: str, rng: np.random.Generator) -> None:
    packed = rng.standard_normal((4, 10, 6)).astype(np.float32)
    for axis, shape in ((0, (2, 10, 6)), (1, (4, 5, 6)), (2, (4, 10, 3))):
        y = forward_of(name)(packed, axis=axis)
        assert y.shape == shape
        for layout in WRITABLE:
            out = LAYOUTS[layout](np.empty(shape, np.float32))
            assert forward_of(name)(packed, axis=axis, out=out) is out
            assert_same_bits(np.asarray(out), y)
        for half in np.split(packed, 2, axis):
            before = packed.copy()
            with pytest.raises(ValueError, match=f"{name}: out overlaps"):
                forward_of(name)(packed, axis=axis, out=half)
            assert_same_bits(packed, before)
        with pytest.raises(ValueError, match=f"{name}: out has shape"):
            forward_of(name)(packed, axis=axis, out=np.empty_like(packed))


@each_unit
def test_out_is_an_input(name: str, backend: str, rng: np.random.Generator) -> None:
    """`out` may be the gate, or up, or either half of other memory."""
    for shape in ((5, 7), (300, 500)):
        gate, up = rng.standard_normal((2, *shape)).astype(np.float32)
        y = forward_of(name)(gate, up)
        for index in (0, 1):
            arrays = [gate.copy(), up.copy()]
            forward_of(name)(*arrays, out=arrays[index])
            assert_same_bits(arrays[index], y)
            assert_same_bits(arrays[1 - index], (gate, up)[1 - index])


@each_unit
def test_bad_splits(name: str, backend: str) -> None:
    packed = np.ones((3, 4), np.float32)
    for op, arguments in ((forward_of(name), ()), (backward_of(name), (packed[:, :2],))):
        for x, axis, error, text in (
            (
                packed,
                0,
                ValueError,
                r"gate has shape \(3, 4\), of odd length along axis 0, needs an even length",
            ),
            (packed, 2, ValueError, r"axis is 2, needs -2 to 1"),
            (packed, (1,), TypeError, r"axis is \(1,\), needs an int"),
            (packed, True, TypeError, r"axis is True, needs an int"),
            (np.float32(1), -1, ValueError, r"gate has no axes, needs at least one"),
        ):
            with pytest.raises(error, match=f"{op.__name__}: {text}"):
                op(*arguments, x, axis=axis)
    with pytest.raises(ValueError, match=r"dy has shape \(3, 4\), needs \(3, 2\) as a half of gate"):
        backward_of(name)(packed, packed)
    with pytest.raises(TypeError, match=r"up has dtype float64, needs float32 as gate"):
        forward_of(name)(packed, np.ones((3, 4)))


@each_unit
def test_scalars_and_empty(name: str, backend: str) -> None:
    assert forward_of(name)(1.0, 2.0).shape == ()
    assert [g.shape for g in backward_of(name)(1.0, 1.0, 2.0)] == [(), ()]
    for shape, axis, halved in (((0, 4), 1, (0, 2)), ((0, 4), 0, (0, 4)), ((3, 0), 1, (3, 0))):
        x = np.ones(shape, np.float32)
        assert forward_of(name)(x, axis=axis).shape == halved
        assert backward_of(name)(np.ones(halved, np.float32), x, axis=axis).shape == shape


@each_unit
def test_layout_of_results(name: str, backend: str, rng: np.random.Generator) -> None:
    """Results have their axes in memory in the order of gate's, a packed gradient in that of the packed
    array.
    """
    packed = rng.standard_normal((4, 6, 8)).astype(np.float32)
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        x = packed.transpose(order)
        y = forward_of(name)(x, axis=1)
        assert y.strides == np.empty_like(x[:, ::2]).strides
        assert backward_of(name)(y, x, axis=1).strides == np.empty_like(x).strides


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@each_unit
def test_nan(name: str, dtype: np.dtype[Any], implementation: str) -> None:
    """NaN in, NaN out, wherever it enters; no floating-point error is reported."""
    nan, one = np.full(5, math.nan).astype(dtype), np.ones(5, dtype)
    with np.errstate(all="raise"):
        assert np.isnan(forward_of(name)(nan, one).astype(float)).all()
        assert np.isnan(forward_of(name)(one, nan).astype(float)).all()
        derivative_has_gate = name != "bilinear"
        for values, spoiled in (
            ((nan, one, one), (True, True)),
            ((one, nan, one), (derivative_has_gate, True)),
            ((one, one, nan), (True, False)),
        ):
            gradients = backward_of(name)(*values)
            assert tuple(bool(np.isnan(g.astype(float)).all()) for g in gradients) == spoiled


def test_glu_is_swapped(implementation: str, rng: np.random.Generator) -> None:
    """glu(x) is sigmoid of the second half times the first, along any axis; each twin rounds to float32 only
    once.
    """
    dtype = np.float64 if implementation == "reference" else np.float32
    x = rng.standard_normal((4, 6, 8)).astype(dtype)
    for axis in range(-3, 3):
        up, gate = np.split(x, 2, axis)
        y = fastnorm.glu(x, axis=axis)
        assert_same_bits(y, fastnorm.sigmoid(gate) * up)
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected = np.concatenate(
            [dy * fastnorm.sigmoid(gate), fastnorm.sigmoid_backward(dy * up, gate)], axis
        )
        assert_same_bits(fastnorm.glu_backward(dy, x, axis=axis), expected)


def test_beta_of_swiglu(implementation: str) -> None:
    """Any finite number; rounded to the type computed in; 0 halves, a huge one makes reglu."""
    gate = np.array([-3.0, -1e-30, 0.0, 1e-30, 2.5, math.inf], np.float32)
    up = np.array([1.0, 2.0, 3.0, 1.0, -2.0, 1.0], np.float32)
    np.testing.assert_array_equal(fastnorm.swiglu(gate, up, beta=0), gate / 2 * up)
    huge = fastnorm.swiglu(gate[[0, 2, 4]], up[[0, 2, 4]], beta=1e300)
    np.testing.assert_array_equal(huge, fastnorm.reglu(gate[[0, 2, 4]], up[[0, 2, 4]]))
    assert_same_bits(
        fastnorm.swiglu(gate, up, beta=0.1), fastnorm.swiglu(gate, up, beta=float(np.float32(0.1)))
    )
    assert_same_bits(fastnorm.swiglu(gate, up, beta=1), fastnorm.swiglu(gate, up))
    for beta, error in ((None, TypeError), ("1", TypeError), (True, TypeError), (math.nan, ValueError)):
        with pytest.raises(error, match="swiglu: beta"):
            fastnorm.swiglu(gate, up, beta=beta)  # type: ignore[arg-type]


def test_a_closed_gate_passes_nothing(implementation: str) -> None:
    """The derivative of reglu is selected: an infinite dy or up makes no NaN where the gate is closed."""
    dy, gate, up = np.array([[math.inf, 1.0, 1.0], [-1.0, -0.0, 0.0], [1.0, math.inf, -math.inf]], np.float32)
    dgate, _ = fastnorm.reglu_backward(dy, gate, up)
    np.testing.assert_array_equal(dgate, np.zeros(3))


class TestGolden:
    """Independently computed numbers, to all their digits."""

    def test_geglu(self, backend: str) -> None:
        y = fastnorm.geglu(np.array([1.0, -1.0]), np.array([2.0, 4.0]))
        np.testing.assert_allclose(y, [2 * 0.841344746068543, -4 * 0.158655253931457], rtol=1e-14)
        dgate, dup = as_tuple(fastnorm.geglu_backward(np.ones(1), np.ones(1), np.full(1, 2.0)))
        np.testing.assert_allclose([dgate[0], dup[0]], [2 * 1.08331547058769, 0.841344746068543], rtol=1e-14)

    def test_swiglu_and_glu(self, backend: str) -> None:
        """From the values and derivatives of swish with beta."""
        gate, up = np.array([2.0, 2.0]), np.array([1.0, 3.0])
        expected = {
            0.0: (1, 0.5),
            1.0: (1.761594155956, 1.09078424878),
            1.702: (1.93565862314, 1.07381535431),
        }
        for beta, (value, slope) in expected.items():
            np.testing.assert_allclose(fastnorm.swiglu(gate, up, beta=beta), value * up, rtol=1e-11)
            dgate, dup = as_tuple(fastnorm.swiglu_backward(np.ones(2), gate, up, beta=beta))
            np.testing.assert_allclose(dgate, slope * up, rtol=1e-11)
            np.testing.assert_allclose(dup, [value, value], rtol=1e-11)
        y = fastnorm.swiglu(np.full(1, -2.0), np.ones(1), beta=2.0)
        np.testing.assert_allclose(y, -0.0359724199242, rtol=1e-11)
        # up * sigmoid(gate), the gate behind
        np.testing.assert_allclose(fastnorm.glu(np.array([2.0, 1.0])), [2 * 0.731058578630], rtol=1e-11)
        packed = fastnorm.glu_backward(np.ones(1), np.array([2.0, 1.0]))
        np.testing.assert_allclose(packed, [0.731058578630, 2 * 0.196611933241], rtol=1e-11)

    def test_exact_units(self, backend: str) -> None:
        gate, up, dy = np.array([3.0, -2.0]), np.array([0.5, 5.0]), np.array([2.0, 7.0])
        np.testing.assert_array_equal(fastnorm.reglu(gate, up), [1.5, 0])
        np.testing.assert_array_equal(fastnorm.reglu_backward(dy, gate, up), [[1, 0], [6, 0]])
        np.testing.assert_array_equal(fastnorm.bilinear(gate, up), [1.5, -10])
        np.testing.assert_array_equal(fastnorm.bilinear_backward(dy, gate, up), [[1, 35], [6, -14]])
