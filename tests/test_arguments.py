"""Bad arguments: the stated error on both backends, which names op and argument, and nothing is written."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.spec import Spec
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label
from tolerances import assert_same_bits

Array = NDArray[Any]

SHAPE = (3, 4)
F32 = np.float32
X = np.linspace(-1, 1, 12, dtype=F32).reshape(SHAPE)
HALF = X.astype(np.float16)
NAN = math.nan


class Bad(NamedTuple):
    """A value that an argument must not have."""

    argument: str
    value: Any
    error: type[Exception]
    with_x: Any = X


class Unconvertible:
    """An object whose conversion to an array fails."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise OSError("no such array")


def writable(*shape: int, dtype: Any = F32) -> Array:
    return np.full(shape, NAN, dtype)


def locked() -> Array:
    out = writable(*SHAPE)
    out.flags.writeable = False
    return out


# Objects that are not arrays of a float type.
NOT_FLOAT_ARRAYS: tuple[Any, ...] = (
    None,
    "text",
    object(),
    {"a": 1},
    {1.0, 2.0},
    (value for value in (1.0, 2.0)),
    Unconvertible(),
    [[1.0, 2.0], [3.0]],
    np.ones(SHAPE, int),
    np.ones(SHAPE, bool),
    np.ones(SHAPE, complex),
    np.ones(SHAPE, np.complex64),
    np.ones(SHAPE, object),
    np.ones(SHAPE, "U3"),
    np.ones(SHAPE, "S3"),
    np.ones(SHAPE, "M8[s]"),
    np.ones(SHAPE, "V4"),
    np.ones(SHAPE, [("re", F32), ("im", F32)]),
    np.ma.masked_array(np.ones(SHAPE)),
    [[1, 2, 3, 4]] * 3,
)
NOT_FLOAT_ARRAYS += () if np.longdouble(1).dtype == np.float64 else (np.ones(SHAPE, np.longdouble),)

X_TABLE = [Bad("x", value, TypeError) for value in NOT_FLOAT_ARRAYS]

# Values of dy, beside an x of dtype float32 or as stated.
DY_TABLE = [Bad("dy", value, TypeError) for value in NOT_FLOAT_ARRAYS] + [
    Bad("dy", X.astype(np.float64), TypeError),
    Bad("dy", HALF, TypeError),
    Bad("dy", X, TypeError, HALF),
    Bad("dy", X, TypeError, X.astype(np.float64)),
    Bad("dy", X[:2], ValueError),
    Bad("dy", X[None], ValueError),
    Bad("dy", X.T, ValueError),
    Bad("dy", X[0], ValueError),
    Bad("dy", F32(1), ValueError),
]

RESULT_TABLE = [bad._replace(argument="y") for bad in DY_TABLE if bad.with_x is X and bad.value is not None]


def out_table() -> Iterator[Bad]:
    """Values of out: made anew for each test, since a bad one could be written."""
    yield Bad("out", [[0.0] * 4] * 3, TypeError)
    yield Bad("out", 1.0, TypeError)
    yield Bad("out", "out", TypeError)
    yield Bad("out", True, TypeError)
    yield Bad("out", (writable(*SHAPE),), TypeError)
    yield Bad("out", np.ma.masked_array(writable(*SHAPE)), TypeError)
    yield Bad("out", writable(4, 3), ValueError)
    yield Bad("out", writable(1, 3, 4), ValueError)
    yield Bad("out", writable(12), ValueError)
    yield Bad("out", writable(2, 4), ValueError)
    yield Bad("out", writable(), ValueError)
    yield Bad("out", writable(*SHAPE, dtype=np.float64), ValueError)
    yield Bad("out", writable(*SHAPE, dtype=np.float16), ValueError)
    yield Bad("out", np.zeros(SHAPE, int), ValueError)
    yield Bad("out", np.zeros(SHAPE, ">f4" if np.little_endian else "<f4"), ValueError)
    yield Bad("out", writable(*SHAPE), ValueError, HALF)
    yield Bad("out", locked(), ValueError)
    yield Bad("out", np.broadcast_to(writable(4), SHAPE), ValueError)
    # Overlaps: shifted, reversed, of another step, transposed; with itself.
    memory = np.ones(60, F32)
    x = memory[:12].reshape(SHAPE)
    yield Bad("out", memory[1:13].reshape(SHAPE), ValueError, x)
    yield Bad("out", memory[4:16].reshape(SHAPE), ValueError, x)
    yield Bad("out", memory[:24:2].reshape(SHAPE), ValueError, x)
    yield Bad("out", x[::-1], ValueError, x)
    yield Bad("out", x[:, ::-1], ValueError, x)
    square = np.ones((4, 4), F32)
    yield Bad("out", square.T, ValueError, square)
    yield Bad("out", np.lib.stride_tricks.as_strided(memory, SHAPE, (4, 4)), ValueError)
    yield Bad("out", np.lib.stride_tricks.as_strided(memory, SHAPE, (0, 4)), ValueError)


NOT_NUMBERS = (
    None,
    "1e-5",
    b"1",
    [1e-5],
    (1e-5,),
    np.array(1e-5),
    np.array([1e-5]),
    1j,
    True,
    np.True_,
    object(),
)


def number_table(argument: str, bad_values: tuple[float, ...]) -> list[Bad]:
    return [
        Bad(argument, value, TypeError)
        for value in NOT_NUMBERS
        if not (argument == "fraction" and value is None)
    ] + [
        Bad(argument, value, ValueError)
        for value in (NAN, math.inf, -math.inf, 10**400, np.float64(NAN), *bad_values)
    ]


KEYWORD_TABLES: dict[str, list[Bad]] = {
    "axis": [
        *(
            Bad("axis", value, ValueError)
            for value in (2, -3, 10**30, (0, 2), (-3,), (), (0, 0), (1, -1), (0, 1, 0))
        ),
        *(
            Bad("axis", value, TypeError)
            for value in (1.0, "1", "last", [0], [0, 1], (0, 1.0), (None,), ("0",))
        ),
        *(
            Bad("axis", value, TypeError)
            for value in (True, (0, True), np.True_, np.array([0, 1]), {0, 1}, slice(1))
        ),
    ],
    "eps": number_table("eps", (-1e-5, -5e-324)),
    "weight_offset": number_table("weight_offset", ()),
    "fraction": number_table("fraction", (0, 0.0, -0.5, 1.0000001, 2)),
    "return_stats": [
        Bad("return_stats", value, TypeError) for value in (None, 0, 1, "yes", np.array(True), [True])
    ],
    "approximate": [
        *(
            Bad("approximate", value, ValueError)
            for value in ("", "exact", "None", "TANH", "tanh ", "quick", "n\0one")
        ),
        *(Bad("approximate", value, TypeError) for value in (None, True, False, 0, b"tanh", ["tanh"])),
    ],
}

PARAMETER_TABLE = [
    bad
    for name in ("weight", "bias")
    for bad in [
        *(Bad(name, value, TypeError) for value in NOT_FLOAT_ARRAYS if value is not None),
        Bad(name, np.ones(4, int), TypeError),
        Bad(name, [1, 1, 1, 1], TypeError),
        Bad(name, np.ones(4), TypeError),
        Bad(name, np.ones(4), TypeError, HALF),
        Bad(name, np.ones(3, F32), ValueError),
        Bad(name, np.ones(1, F32), ValueError),
        Bad(name, np.ones((2, 4), F32), ValueError),
        Bad(name, np.ones((4, 1), F32), ValueError),
        Bad(name, np.ones(SHAPE, F32), ValueError),
        Bad(name, F32(1), ValueError),
        Bad(name, 1.0, ValueError),
        Bad(name, [1.0] * 5, ValueError),
        Bad(name, np.ones(0, F32), ValueError),
    ]
]

ROWS = np.ones(3, F32)
BAD_STATISTICS = (
    ("text", TypeError),
    (object(), TypeError),
    (np.ones(3, int), TypeError),
    (np.ones(3), TypeError),
    (np.ones(3, np.float16), TypeError),
    (np.ones(4, F32), ValueError),
    (np.ones((3, 1), F32), ValueError),
    (F32(1), ValueError),
    ([1.0, 2.0], ValueError),
)


def stats_table(spec: Spec) -> list[Bad]:
    if spec.name == "rms_norm":
        return [Bad("stats", value, error) for value, error in BAD_STATISTICS] + [
            Bad("stats", (ROWS, ROWS), ValueError)
        ]
    pairs = [
        *((value, ROWS, error) for value, error in (*BAD_STATISTICS, (None, TypeError))),
        *((ROWS, value, error) for value, error in (*BAD_STATISTICS, (None, TypeError))),
    ]
    return [
        *(Bad("stats", (mean, rstd), error) for mean, rstd, error in pairs),
        *(
            Bad("stats", value, TypeError)
            for value in (ROWS, 1.0, "ab", True, {"mean": ROWS}, np.ones((2, 3), F32))
        ),
        *(Bad("stats", value, ValueError) for value in ((), (ROWS,), (ROWS, ROWS, ROWS))),
    ]


def bad_calls(spec: Spec, *, is_backward: bool) -> Iterator[Bad]:
    """Everything that this op, or its backward, must refuse."""
    yield from X_TABLE
    if "weight" in spec.positional:
        yield from PARAMETER_TABLE
    keywords = spec.backward_keywords if is_backward else spec.keywords
    for name, table in KEYWORD_TABLES.items():
        if name in keywords:
            yield from table
    if is_backward:
        yield from DY_TABLE
        if "stats" in keywords:
            yield from stats_table(spec)
        if spec.takes_result:
            yield from RESULT_TABLE
    else:
        yield from out_table()


def prepared(spec: Spec, bad: Bad, *, is_backward: bool) -> tuple[list[Any], dict[str, Any]]:
    """Good arguments beside the bad one."""
    x = bad.with_x
    shape = SHAPE if x is None else x.shape
    arguments: dict[str, Any] = {"x": x}
    if "weight" in spec.positional:
        arguments |= {
            name: None if x is None else np.ones(shape[-1:], x.dtype) for name in ("weight", "bias")
        }
    arguments = {"dy": x, **arguments} if is_backward else arguments
    keywords: dict[str, Any] = {}
    if bad.argument in arguments:
        if bad.argument == "x" and is_backward and bad.with_x is None:
            arguments["dy"] = bad.value
        arguments[bad.argument] = bad.value
    else:
        keywords[bad.argument] = bad.value
    return list(arguments.values()), keywords


@pytest.mark.parametrize("is_backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_bad_arguments(spec: Spec, is_backward: bool, backend: str) -> None:
    op = spec.backward if is_backward else spec.forward
    for bad in bad_calls(spec, is_backward=is_backward):
        positional, keywords = prepared(spec, bad, is_backward=is_backward)
        untouched = None
        if not is_backward:
            dtype = getattr(bad.with_x, "dtype", F32)
            out = keywords.setdefault("out", writable(*getattr(bad.with_x, "shape", SHAPE), dtype=dtype))
            untouched = out.copy() if isinstance(out, np.ndarray) else None
        try:
            result = op(*positional, **keywords)
        except (TypeError, ValueError) as error:
            assert type(error) is bad.error, f"{bad}: {error!r}"  # noqa: PT017  # every bad call is tried
            assert str(error).startswith(f"{op.__name__}: "), f"{bad}: {error!r}"  # noqa: PT017
            assert bad.argument in str(error), f"{bad}: {error!r}"  # noqa: PT017
            assert "needs" in str(error), f"{bad}: {error!r}"  # noqa: PT017
        else:
            raise AssertionError(f"{bad} was taken: {result!r}")
        if untouched is not None:
            assert_same_bits(np.asarray(keywords["out"]), np.asarray(untouched))


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_text_of_errors(spec: Spec, backend: str) -> None:
    """What it got and what it needs."""
    with pytest.raises(ValueError, match=rf"{spec.name}: out has shape \(2,\), needs \(3, 4\)"):
        spec.forward(X, out=np.empty(2, F32))
    with pytest.raises(
        TypeError, match=rf"{spec.name}: x has dtype int64, needs float32, float64, float16 or bfloat16"
    ):
        spec.forward(np.ones(3, np.int64))
    with pytest.raises(TypeError, match=rf"{spec.name}_backward: dy has dtype float64, needs float32"):
        spec.backward(X.astype(np.float64), X)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_text_of_parameter_errors(spec: Spec, backend: str) -> None:
    with pytest.raises(
        ValueError, match=r"weight has shape \(3,\), needs \(4,\) to match x.shape \(3, 4\) along axis"
    ):
        spec.forward(X, np.ones(3, F32))
    with pytest.raises(ValueError, match=r"axis is 5, needs -2 to 1"):
        spec.forward(X, axis=5)
    with pytest.raises(ValueError, match=r"eps is -1.0, needs a finite number of at least 0"):
        spec.forward(X, eps=-1.0)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_out_must_not_overlap_a_parameter(spec: Spec, backend: str) -> None:
    memory = np.ones(40, F32)
    for start in (0, 1, 5, 8, 11):
        out = memory[:12].reshape(SHAPE)
        for name in ("weight", "bias"):
            before = memory.copy()
            with pytest.raises(ValueError, match="out overlaps"):
                spec.forward(X, **{name: memory[start : start + 4]}, out=out)
            assert_same_bits(memory, before)
    spec.forward(X, memory[12:16], out=memory[:12].reshape(SHAPE))


def test_interleaved_out(backend: str) -> None:
    """Arrays whose ranges of addresses overlap but not their elements."""
    for spec in IN_DEPTH:
        memory = np.linspace(-1, 1, 24, dtype=F32).reshape(3, 8)
        y = spec.forward(memory[:, ::2].copy())
        spec.forward(memory[:, ::2], out=memory[:, 1::2])
        assert_same_bits(memory[:, 1::2], y)


GOOD: dict[str, tuple[Any, ...]] = {
    "axis": (1, -1, np.int64(1), np.uint8(1), (1,), (np.int32(-1),)),
    "eps": (1e-5, np.float32(1e-5), np.float64(1e-5), 0, 0.0, 1, np.int32(1), 5e-324),
    "weight_offset": (0, 1, -1.0, np.float16(0.5)),
    "fraction": (None, 1, 1.0, 1e-300, np.float32(0.5)),
    "return_stats": (True, False, np.True_),
    "approximate": ("none", "tanh", np.str_("tanh")),
}


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_good_arguments(spec: Spec, backend: str) -> None:
    """Values of other types that mean the same."""
    for name, values in GOOD.items():
        if name in spec.keywords:
            for value in values:
                spec.forward(X, **{name: value})
        if name in spec.backward_keywords:
            for value in values:
                spec.backward(X, X, **{name: value})


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_equal_arguments_of_other_types(spec: Spec, backend: str) -> None:
    for name, value, other in (
        ("axis", -1, (np.int8(1),)),
        ("eps", 0.5, np.float32(0.5)),
        ("fraction", 1.0, 1),
    ):
        if name in spec.keywords:
            assert_same_bits(spec.forward(X, **{name: value}), spec.forward(X, **{name: other}))


@pytest.mark.parametrize(
    "op", [op for spec in IN_DEPTH for op in (spec.forward, spec.backward)], ids=lambda op: op.__name__
)
def test_signature_errors(op: Callable[..., Any], backend: str) -> None:
    """Arguments that the signature does not have."""
    once = (X, X) if op.__name__.endswith("backward") else (X,)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        (once, {"unknown": 1}),
        ((X,) * 9, {}),
        (once, {"x": X}),
    ]
    for positional, keywords in calls:
        with pytest.raises(TypeError):
            op(*positional, **keywords)


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
@pytest.mark.usefixtures("native")
def test_parser_of_the_extension(spec: Spec) -> None:
    """The extension's own parser, below the Python functions: each argument by position where allowed, by
    keyword.
    """
    function = spec.forward.native
    count = len(spec.positional)
    y = spec.forward(X)
    assert_same_bits(function(X), y)
    assert_same_bits(function(x=X), y)
    assert_same_bits(function(X, *[None] * (count - 1)), y)
    assert_same_bits(function(out=None, x=X), y)
    for name in spec.keywords:  # a string that is equal to the name and not the same object
        assert_same_bits(function(X, **{"".join(list(name)): spec.keywords[name]}), y)
    for positional, keywords in (
        ((), {}),
        ((), {"out": None}),
        ((X,) * (count + 1), {}),
        ((X,), {"x": X}),
        ((X,), {"y": X}),
        ((X,), {"": X}),
        ((X,), {"é": X}),
        ((X,), {"outt": None}),
    ):
        with pytest.raises(TypeError):
            function(*positional, **keywords)
    backward = spec.backward.native
    for positional, keywords in (
        ((), {}),
        ((X,), {}),
        ((X,) * (count + 2), {}),
        ((X, X), {"outt": X}),
        ((X, X), {"dy": X}),
    ):
        with pytest.raises(TypeError):
            backward(*positional, **keywords)


def test_errors_of_both_backends_are_the_same(native: ModuleType) -> None:
    """The text too, for one call of each kind."""
    for spec in IN_DEPTH:
        for bad in bad_calls(spec, is_backward=False):
            positional, keywords = prepared(spec, bad, is_backward=False)
            texts = []
            for name in ("native", "reference"):
                with fastnorm.backend(name), pytest.raises((TypeError, ValueError)) as caught:
                    spec.forward(*positional, **keywords)
                texts.append(str(caught.value))
            if " at 0x" not in texts[0]:
                assert texts[0] == texts[1]


def test_half_and_float32_need_the_same_dtype_of_dy(backend: str) -> None:
    for dtype in DTYPES.values():
        for other in DTYPES.values():
            if dtype != other:
                for spec in IN_DEPTH:
                    with pytest.raises(TypeError, match="dy"):
                        spec.backward(X.astype(other), X.astype(dtype))


def test_case_knows_every_keyword() -> None:
    """A keyword without a table of bad values would be untested."""
    for spec in IN_DEPTH:
        assert set(spec.keywords) - {"out"} <= set(KEYWORD_TABLES)
        assert set(spec.keywords) - {"out"} <= set(GOOD)


class Reduction(str, enum.Enum):
    SUM = "sum"
    GELU = "gelu"


def test_words_of_an_enumeration(backend: str) -> None:
    assert fastnorm.mse_loss(X, X + 1, reduction=Reduction.SUM) == X.size  # type: ignore[arg-type]
    weight = np.ones((4, 2), F32)
    np.testing.assert_array_equal(
        fastnorm.linear(X, weight, activation=Reduction.GELU),  # type: ignore[arg-type]
        fastnorm.linear(X, weight, activation="gelu"),
    )


class Exhausted:
    """An object for whose conversion there is no memory."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise MemoryError


def test_no_memory_for_a_conversion(backend: str) -> None:
    with pytest.raises(MemoryError):
        fastnorm.relu(Exhausted())  # type: ignore[arg-type]


LABELS = np.zeros(3, np.int64)
SCALARS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("attention", "scale", (X, X, X)),
    ("rms_norm", "weight_offset", (X, np.ones(4, F32))),
    ("add_layer_norm", "alpha", (X, X)),
    ("add_rms_norm", "alpha", (X, X)),
    ("deep_norm", "alpha", (X, X)),
    ("focal_loss", "gamma", (X, LABELS)),
    ("poly_loss", "epsilon", (X, LABELS)),
    ("sigmoid_focal_loss", "gamma", (X, np.abs(X))),
    ("poly_focal_loss", "epsilon", (X, np.abs(X))),
]


@pytest.mark.parametrize(("name", "argument", "given"), SCALARS, ids=[name for name, *_ in SCALARS])
@pytest.mark.parametrize("kind", [float, np.float64])
def test_numbers_beyond_float32(
    name: str, argument: str, given: tuple[Any, ...], kind: type[float], backend: str
) -> None:
    op = getattr(fastnorm, name)
    with pytest.raises(
        ValueError, match=rf"^{name}: {argument} is .*, needs a number in the range of float32$"
    ):
        op(*given, **{argument: kind(3.5e38)})
    wide = [array.astype(np.float64) if array.dtype == F32 else array for array in given]
    op(*wide, **{argument: kind(3.5e38)})


class Disguised(np.ndarray[Any, Any]):
    """A subclass that says of itself what is not so."""

    dtype = property(lambda self: np.dtype(F32))  # type: ignore[assignment]

    def view(self, *_: Any, **__: Any) -> Any:
        return None

    def __array_function__(self, *_: Any) -> Any:
        raise RuntimeError("not for you")


def test_subclasses_are_taken_for_what_they_are(backend: str) -> None:
    out = np.ndarray.view(np.zeros(SHAPE, np.int16), Disguised)
    with pytest.raises(ValueError, match="relu: out has dtype int16, needs float32"):
        fastnorm.relu(X, out=out)
    assert not np.asarray(out).any()
    given, target = X.view(Disguised), np.zeros(SHAPE, F32).view(Disguised)
    assert fastnorm.relu(given, out=target) is target
    np.testing.assert_array_equal(np.asarray(target), np.maximum(X, 0))


def test_arrays_on_a_device_are_refused(backend: str) -> None:
    """Also where NumPy would fetch them."""

    class Elsewhere:
        def __init__(self, device: int) -> None:
            self.device = device

        def __dlpack__(self, **_: Any) -> Any:
            return np.ones(3).__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.device, 0

        def __array__(self, *_: Any, **__: Any) -> Any:
            return np.ones(3)

    for device in (2, 10, 14):  # of CUDA, ROCm and oneAPI
        with pytest.raises(
            TypeError, match=r"gelu: x is a .*Elsewhere on a device, needs an array on the CPU"
        ):
            fastnorm.gelu(Elsewhere(device))
    for device in (1, 3):
        fastnorm.gelu(Elsewhere(device))
