"""What holds for any shape, axis, view of memory and value, with examples that hypothesis makes up."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import fastnorm
import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from fastnorm._specs.spec import Spec, Variant, as_tuple, present
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label
from tolerances import assert_same_bits, assert_within

Array = NDArray[Any]

common = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def views(draw: st.DrawFn, dtype: np.dtype[Any], max_dims: int = 4) -> Array:
    """A view of a larger array of normal numbers: steps, reversals, offsets, and axes in any order."""
    shape = draw(npst.array_shapes(max_dims=max_dims, max_side=20))
    steps = [draw(st.sampled_from((1, 1, 1, 2, 3, -1, -2))) for _ in shape]
    starts = [draw(st.integers(0, 3)) for _ in shape]
    size = [start + length * abs(step) for start, length, step in zip(starts, shape, steps, strict=True)]
    order = draw(st.permutations(range(len(shape))))
    large = np.random.default_rng(draw(SEEDS)).standard_normal([size[axis] for axis in order])
    large = (large + draw(st.sampled_from((0.0, 0.5, 30.0)))).astype(dtype).transpose(np.argsort(order))
    parts = []
    for start, length, step in zip(starts, shape, steps, strict=True):
        part = slice(start, start + length * abs(step), abs(step))
        parts.append(
            part if step > 0 else slice(start + (length - 1) * -step, start - 1 if start else None, step)
        )
    view = large[tuple(parts)]
    assert view.shape == shape
    return view


@st.composite
def axes(draw: st.DrawFn, ndim: int) -> Any:
    """An axis, or several in any order, some counted from the end."""
    chosen = draw(st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True))
    signed = tuple(axis - ndim * draw(st.integers(0, 1)) for axis in chosen)
    return signed[0] if len(signed) == 1 and draw(st.booleans()) else signed


@pytest.mark.parametrize("spec", NORMS, ids=label)
@given(data=st.data())
@common
def test_norms(spec: Spec, implementation: str, data: st.DataObject) -> None:
    """Any view, any axes, any parameters: within the bounds, forward and backward, and the bits of a dense
    copy.
    """
    dtype = data.draw(st.sampled_from(list(DTYPES.values())))
    x = data.draw(views(dtype))
    keywords: dict[str, Any] = {"axis": data.draw(axes(x.ndim))}
    if spec.name == "rms_norm":
        keywords["fraction"] = data.draw(st.one_of(st.none(), st.floats(1e-3, 1)))
        keywords["weight_offset"] = data.draw(st.sampled_from((0.0, 1.0)))
    variant = Variant(
        "drawn", tuple(name for name in ("weight", "bias") if data.draw(st.booleans())), keywords
    )
    rng = np.random.default_rng(data.draw(SEEDS))
    _, *parameters = spec.make_inputs(rng, x.shape, dtype, variant)
    inputs = (x, *parameters)
    dy = rng.standard_normal(x.shape).astype(dtype)
    y = spec.forward(*inputs, **keywords)
    assert_within(y, spec.exact(inputs, keywords)[0], spec.forward_bounds(inputs, keywords)[0])
    assert_same_bits(spec.forward(x.copy(order="C"), *parameters, **keywords), y)
    results = spec.backward(dy, *inputs, **keywords)
    assert [gradient is None for gradient in results] == [value is None for value in inputs]
    exact = spec.exact_gradients((dy,), inputs, keywords)
    bounds = spec.backward_bounds((dy,), inputs, keywords)
    for got, expected, bound in zip(present(results), exact, bounds, strict=True):
        assert_within(got, expected, bound)


@pytest.mark.parametrize("spec", [spec for spec in IN_DEPTH if "axis" not in spec.keywords], ids=label)
@given(data=st.data())
@common
def test_activations(spec: Spec, implementation: str, data: st.DataObject) -> None:
    """Any view; any element, alone in its array, has the same bits on the native backend."""
    dtype = data.draw(st.sampled_from(list(DTYPES.values())))
    x = data.draw(views(dtype))
    variant = data.draw(st.sampled_from(spec.variants))
    y = spec.forward(x, **variant.keywords)
    (exact,), (bound,) = spec.exact((x,), variant.keywords), spec.forward_bounds((x,), variant.keywords)
    assert_within(y, exact, bound)
    assert_same_bits(spec.forward(x.copy(order="C"), **variant.keywords), y)
    if implementation != "reference":
        place = tuple(data.draw(st.integers(0, size - 1)) for size in x.shape)
        assert_same_bits(spec.forward(x[place][()], **variant.keywords), np.asarray(y[place]))


@given(values=npst.arrays(np.float32, st.integers(1, 70), elements=st.floats(width=32)))
@common
def test_any_floats(implementation: str, values: Array) -> None:
    """No value makes an op fail; NaN stays NaN; nothing finite becomes NaN in gelu; norms of finite rows are
    finite.
    """
    y = fastnorm.gelu(values)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(values))
    dx = fastnorm.gelu_backward(np.ones_like(values), values)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(values))
    for spec in NORMS:
        z = spec.forward(values)
        assert np.isfinite(z).all() or not np.isfinite(values).all()
        if np.isfinite(values).all():
            inputs = (values, None, None)
            assert_within(z, spec.exact(inputs, {})[0], spec.forward_bounds(inputs, {})[0])


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
@given(data=st.data())
@common
def test_overlapping_out(spec: Spec, implementation: str, data: st.DataObject) -> None:
    """x and `out` anywhere in the same memory: refused with nothing written, or right."""
    shape = data.draw(st.sampled_from(((6,), (2, 5), (3, 4), (2, 2, 3))))

    def view(memory: Array) -> Array:
        strides = [4 * data.draw(st.sampled_from((-8, -5, -2, -1, 0, 1, 2, 3, 4, 5, 8, 12))) for _ in shape]
        low = sum(min(0, stride * (size - 1)) for stride, size in zip(strides, shape, strict=True)) // 4
        high = sum(max(0, stride * (size - 1)) for stride, size in zip(strides, shape, strict=True)) // 4
        start = data.draw(st.integers(-low, memory.size - 1 - high))
        return np.lib.stride_tricks.as_strided(memory[start:], shape, strides)

    memory = np.random.default_rng(data.draw(SEEDS)).standard_normal(120).astype(np.float32)
    x, out = view(memory), view(memory)
    expected, before = spec.forward(x.copy()), memory.copy()
    try:
        spec.forward(x, out=out)
    except ValueError as error:
        assert "out " in str(error)  # noqa: PT017  # both ends are right
        assert_same_bits(memory, before)
    else:
        assert_same_bits(out.copy(), expected)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.tuples(st.integers(-4, 4)),
    st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
    st.lists(st.floats(), max_size=5),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    npst.arrays(st.sampled_from((np.float32, np.float64)), st.sampled_from(((2, 3), (3,), (2,), ()))),
    st.sampled_from((1e-5, "none", "tanh", "sigmoid", (-1,), 0, np.float32(1), np.int8(1), object, Ellipsis)),
)


@pytest.mark.parametrize("is_backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
@given(data=st.data())
@settings(common, max_examples=300)
def test_junk(spec: Spec, is_backward: bool, native: ModuleType, data: st.DataObject) -> None:
    """Anything as any argument: both backends take it or both raise the same error."""
    op = spec.backward if is_backward else spec.forward
    names = [*(["dy"] if is_backward else []), *spec.positional]
    keywords = spec.backward_keywords if is_backward else spec.keywords
    good: dict[str, Any] = {name: np.ones((2, 3), np.float32) for name in ("dy", "x") if name in names}
    spoilt = data.draw(st.lists(st.sampled_from([*names, *keywords]), min_size=1, max_size=3, unique=True))
    arguments = good | {name: data.draw(JUNK, label=name) for name in spoilt}
    outcomes = []
    for name in ("native", "reference"):
        with fastnorm.backend(name), np.errstate(all="ignore"):
            try:
                outcomes.append([result.shape for result in as_tuple(op(**arguments)) if result is not None])
            except (TypeError, ValueError) as error:
                outcomes.append([type(error), str(error)])
    assert outcomes[0] == outcomes[1]


@given(weight_offset=st.floats(-1e3, 1e3), eps=st.floats(0, 1e3), fraction=st.floats(1e-6, 1))
@common
def test_numbers_of_rms_norm(implementation: str, weight_offset: float, eps: float, fraction: float) -> None:
    x = np.linspace(-2, 3, 45, dtype=np.float32).reshape(3, 15)
    keywords = {"weight_offset": weight_offset, "eps": eps, "fraction": fraction}
    inputs = (x, np.full(15, 0.25, np.float32), None)
    spec = NORMS[1]
    (exact,), (bound,) = spec.exact(inputs, keywords), spec.forward_bounds(inputs, keywords)
    assert_within(spec.forward(*inputs, **keywords), exact, bound)
    counted = math.ceil(15 * fraction)
    rstd = spec.forward(*inputs, **keywords, return_stats=True)[1]
    np.testing.assert_allclose(
        rstd, 1 / np.sqrt(np.mean(x[:, :counted].astype(float) ** 2, axis=1) + eps), rtol=1e-6
    )
