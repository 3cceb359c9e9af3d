"""Dtypes of results, half types, and what counts as an array."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._arguments.activations import gelu as gelu_rule
from fastnorm._arguments.rules import Rules
from fastnorm._specs.bounds import SMALLEST, UNIT_ROUNDOFF
from fastnorm._specs.spec import Spec, Variant, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label
from tolerances import assert_same_bits

Array = NDArray[Any]
HALVES = [dtype for name, dtype in DTYPES.items() if name in ("float16", "bfloat16")]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_dtypes_of_results(spec: Spec, dtype: np.dtype[Any], backend: str, rng: np.random.Generator) -> None:
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    for variant in spec.variants:
        inputs = spec.make_inputs(rng, (4, 10), dtype, variant)
        assert spec.forward(*inputs, **variant.keywords).dtype == dtype
        if spec.has_stats:
            y, *stats = spec.forward(*inputs, **variant.keywords, return_stats=True)
            assert y.dtype == dtype
            assert {statistic.dtype for statistic in stats} == {wide}
        dx, *others = as_tuple(spec.backward(inputs[0], *inputs, **variant.keywords))
        assert dx.dtype == dtype
        assert {other.dtype for other in others if other is not None} <= {wide}


@pytest.mark.parametrize("dtype", HALVES, ids=label)
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_half_results_are_rounded_once(
    spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """The result of a half array is that of the same values in float32, rounded; the twin rounds its float64
    result.
    """
    for variant in spec.variants:
        inputs = spec.make_inputs(rng, (6, 200), dtype, variant)
        single = tuple(None if array is None else array.astype(np.float32) for array in inputs)
        y, expected = spec.forward(*inputs, **variant.keywords), spec.forward(*single, **variant.keywords)
        dx = as_tuple(spec.backward(inputs[0], *inputs, **variant.keywords))[0]
        dx_expected = as_tuple(spec.backward(single[0], *single, **variant.keywords))[0]
        for got, wanted in ((y, expected), (dx, dx_expected)):
            if implementation == "reference":
                error = np.abs(got.astype(np.float64) - wanted)
                allowed = UNIT_ROUNDOFF[dtype.name] + UNIT_ROUNDOFF["float32"]
                assert (error <= allowed * np.abs(wanted) + SMALLEST[dtype.name]).all()
            else:
                assert_same_bits(got, wanted.astype(dtype))


@pytest.mark.parametrize("dtype", HALVES, ids=label)
@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_float32_parameters_of_half_inputs(
    spec: Spec, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """Parameters in float32 keep their digits; any mixture of the two types is taken."""
    x, weight, bias = spec.make_inputs(rng, (9, 70), dtype, Variant("half", ("weight", "bias")))
    assert x is not None
    assert weight is not None
    assert bias is not None
    wide_weight, wide_bias = weight.astype(np.float32), bias.astype(np.float32)
    y = spec.forward(x, weight, bias)
    gradients = spec.backward(x, x, weight, bias)
    for mixture in ((wide_weight, wide_bias), (weight, wide_bias), (wide_weight, bias)):
        assert_same_bits(spec.forward(x, *mixture), y)
        for got, expected in zip(spec.backward(x, x, *mixture), gradients, strict=True):
            assert_same_bits(got, expected)
    fine = np.full(70, 1 + 2.0**-20, np.float32)
    (exact,) = spec.exact((x, fine, None), {})
    error = np.abs(spec.forward(x, fine).astype(np.float64) - exact)
    assert (
        error <= (UNIT_ROUNDOFF[dtype.name] + 8 * UNIT_ROUNDOFF["float32"]) * np.abs(exact) + 2.0**-20
    ).all()


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_lists(spec: Spec, backend: str) -> None:
    """Lists and numbers count as float64, or as the dtype of x where they stand beside one."""
    values = [[0.5, 1.5, -2.0], [4.0, 0.25, 1.0]]
    assert_same_bits(spec.forward(values), spec.forward(np.array(values)))
    x = np.array(values, np.float32)
    for got, expected in zip(as_tuple(spec.backward(values, x)), as_tuple(spec.backward(x, x)), strict=True):
        if expected is not None:
            assert_same_bits(got, expected)
    if "weight" in spec.positional:
        weight = [1.0, 2.0, 3.0]
        assert_same_bits(spec.forward(x, weight), spec.forward(x, np.array(weight, np.float32)))
        _, *stats = spec.forward(x, return_stats=True)
        lists = tuple(statistic.tolist() for statistic in stats)
        dx = spec.backward(x, x, stats=tuple(stats) if len(stats) > 1 else stats[0])[0]
        assert_same_bits(spec.backward(x, x, stats=lists if len(lists) > 1 else lists[0])[0], dx)


class Exporter:
    """An array of another library, known only through DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Refusing:
    """An array that DLPack cannot describe, as bfloat16 is, but that converts itself."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        raise BufferError("not this dtype")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array


class Nowhere(Refusing):
    """An array that nothing can convert."""

    dtype = "torch.bfloat16"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise RuntimeError("on another device")


@pytest.mark.parametrize("kind", [Exporter, Refusing])
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_arrays_of_other_libraries(spec: Spec, kind: Any, backend: str, rng: np.random.Generator) -> None:
    variant = spec.variants[0]
    inputs = spec.make_inputs(rng, (3, 20), DTYPES["float32"], variant)
    foreign = tuple(None if array is None else kind(array) for array in inputs)
    assert_same_bits(spec.forward(*foreign, **variant.keywords), spec.forward(*inputs, **variant.keywords))
    expected = as_tuple(spec.backward(inputs[0], *inputs, **variant.keywords))
    for got, wanted in zip(
        as_tuple(spec.backward(foreign[0], *foreign, **variant.keywords)), expected, strict=True
    ):
        assert_same_bits(got, wanted)


def test_other_libraries_are_not_copied() -> None:
    x = np.ones(5, np.float32)
    for foreign in (Exporter(x), Refusing(x), x[...], x.view(np.recarray)):
        assert np.shares_memory(gelu_rule(Rules("gelu"), foreign, "none", None)[0], x)


def test_unconvertible_array(backend: str) -> None:
    with pytest.raises(TypeError, match=r"gelu: x is a .*Nowhere .*another device.*bfloat16"):
        fastnorm.gelu(Nowhere(np.ones(3)))


def test_memory_map(backend: str, tmp_path: Any) -> None:
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r")
    assert_same_bits(fastnorm.gelu(mapped), fastnorm.gelu(x))


def test_ml_dtypes_is_not_imported() -> None:
    code = (
        "import sys, fastnorm, numpy as np; fastnorm.gelu(np.ones(3)); assert 'ml_dtypes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif("bfloat16" not in DTYPES, reason="needs ml_dtypes")
def test_ml_dtypes_may_be_imported_late(backend: str) -> None:
    """bfloat16 is recognised also where ml_dtypes comes after fastnorm and after the first call."""
    code = f"""
import fastnorm, numpy as np
fastnorm.set_backend({backend!r})
fastnorm.gelu(np.ones(3, np.float32))
import ml_dtypes
assert fastnorm.gelu(np.ones(3, ml_dtypes.bfloat16)).dtype == ml_dtypes.bfloat16
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
