"""What may stand in the place of an argument, good or bad, by the type of the value that would be good.

Each entry of a table takes the good value and returns another; the rules say which of them are taken.
"""

from __future__ import annotations

import fractions
import math
import tempfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from hostile_arrays import HOSTILE_ARRAYS
from layouts import LAYOUTS, Subclass
from numpy.typing import NDArray

Array = NDArray[Any]
Change = Callable[[Any], Any]


class Index:
    """An int by its __index__ alone."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Index({self.value})"


class Exporter:
    """An array of another library, known only through DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Unconvertible:
    """An object whose conversion to an array fails."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise OSError("no such array")


class Unprintable:
    """An object that has no repr."""

    def __repr__(self) -> str:
        raise OSError("no repr")


class Float(float):
    """A float with another name."""


class Text(str):
    """A str with another name."""

    __slots__ = ()


def constant(value: Any) -> Change:
    """Whatever the good value is."""
    return lambda _: value


def converted(dtype: Any) -> Change:
    """The array in another dtype."""

    def change(array: Array) -> Array:
        with np.errstate(all="ignore"):
            return array.astype(dtype)

    return change


def memory_mapped(array: Array) -> Array:
    """The array in a file; bfloat16, which NumPy cannot map, as it is."""
    if not array.size or array.dtype == ml_dtypes.bfloat16:
        return array
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


def longer(array: Array) -> Array:
    """One more row, or one more element."""
    return np.concatenate([array, array[:1]]) if array.ndim and array.size else np.ones(3, array.dtype)


def swapped_axes(array: Array) -> Array:
    return array.T


def repeated(array: Array) -> Array:
    """The first row for all, in the memory of one."""
    return np.broadcast_to(array[:1], array.shape) if array.ndim else array


def same_everywhere(array: Array) -> Array:
    """One element in the place of all."""
    return np.broadcast_to(array.reshape(-1)[:1].reshape(()), array.shape) if array.size else array


def zero_strides(array: Array) -> Array:
    """One element in the place of all, which can be written."""
    return np.lib.stride_tricks.as_strided(array.copy(), array.shape, (0,) * array.ndim)


def with_nan(array: Array) -> Array:
    """An element that is not a number."""
    changed = array.copy()
    if changed.dtype.kind not in "iub":
        changed.reshape(-1)[:1] = np.nan
    return changed


def masked(array: Array) -> Array:
    return np.ma.masked_array(array)


def as_list(array: Array) -> Any:
    if max(array.shape, default=0) > 1 << 16:
        raise ValueError("a list of billions of empty lists")
    return array.tolist()


def laid_out(relay: Callable[[Array], Array]) -> Change:
    """The array in another layout of memory, those without axes as they are."""
    return lambda array: relay(array) if array.ndim else array


GOOD_ARRAYS: dict[str, Change] = {
    **{name: laid_out(relay) for name, relay in LAYOUTS.items()},
    "repeated": repeated,
    "same_everywhere": same_everywhere,
    "list": as_list,
    "tuple": lambda array: tuple(as_list(array)) if array.ndim else array.item(),
    "memmap": memory_mapped,
    "dlpack": Exporter,
    "nan": with_nan,
}
BAD_ARRAYS: dict[str, Change] = {
    **{
        f"as {np.dtype(kind).name}": converted(kind)
        for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int64, np.int32, np.uint8)
    },
    **{
        f"as {kind}": converted(kind) for kind in ("bool", "complex64", "complex128", "O", "longdouble", "U9")
    },
    "masked": masked,
    "None": constant(None),
    "number": constant(1.5),
    "int": constant(1),
    "huge int": constant(10**400),
    "unprintable int": constant(10**5000),
    "unprintable": constant(Unprintable()),
    "True": constant(True),
    "text": constant("text"),
    "bytes": constant(b"12"),
    "object": constant(Unconvertible()),
    "dict": constant({"a": 1}),
    "ragged": constant([[1.0, 2.0], [3.0]]),
    "empty list": constant([]),
    "float64 number": lambda array: np.float64(1.5),
    "first": lambda array: array[0] if len(array.shape) and len(array) else array,
    "without axes": lambda array: array.reshape(-1)[:1].reshape(()) if array.size else array,
    "longer": longer,
    "shorter": lambda array: array[:-1] if array.ndim else array,
    "one more axis": lambda array: array[..., None],
    "one more axis in front": lambda array: array[None],
    "transposed": swapped_axes,
    "flat": lambda array: array.reshape(-1),
    "no rows": lambda array: array[:0] if array.ndim else array,
    "no columns": lambda array: array[..., :0] if array.ndim else array,
    "zero strides": zero_strides,
    "negative": lambda array: array if array.dtype == bool else -array,
    "larger": lambda array: array if array.dtype == bool else array * 50,
    "datetimes": constant(np.zeros(3, "M8[s]")),
    "structure": constant(np.zeros(3, [("a", "f4")])),
}
NUMBERS: dict[str, Change] = {
    "float64": np.float64,
    "float32": np.float32,
    "longdouble": np.longdouble,
    "subclass": Float,
    "int": lambda value: int(value) if math.isfinite(value) else 1,
    "int64": np.int64,
    "integer": constant(1),
    "without axes": np.asarray,
    "list": lambda value: [value],
    "array of one": lambda value: np.array([value]),
    "zero": constant(0.0),
    "negative zero": constant(-0.0),
    "negative": constant(-0.5),
    "minus one": constant(-1),
    "large": constant(1e300),
    "larger than one": constant(1.25),
    "subnormal": constant(5e-324),
    "nan": constant(math.nan),
    "infinity": constant(math.inf),
    "float64 nan": constant(np.float64("nan")),
    "minus infinity": constant(-math.inf),
    "huge int": constant(10**400),
    "unprintable int": constant(-(10**5000)),
    "unprintable": constant(Unprintable()),
    "large int": constant(2**63),
    "True": constant(True),
    "bool_": constant(np.True_),
    "complex": constant(1j),
    "text": constant("0.5"),
    "None": constant(None),
    "fraction": constant(fractions.Fraction(1, 2)),
    "Index": constant(Index(1)),
    "object": constant(object()),
}
INTEGERS: dict[str, Change] = {
    "int64": np.int64,
    "uint8": lambda value: np.uint8(value % 128),
    "Index": Index,
    "without axes": np.asarray,
    "tuple": lambda value: (value,),
    "list": lambda value: [value],
    "empty tuple": constant(()),
    "pair": constant((0, 1)),
    "pair backwards": constant((-1, 0)),
    "pair of int64": constant((np.int64(0), np.int64(1))),
    "twice": lambda value: (value, value),
    "twice from both ends": constant((0, -2)),
    "zero": constant(0),
    "one": constant(1),
    "two": constant(2),
    "three": constant(3),
    "minus one": constant(-1),
    "minus two": constant(-2),
    "minus four": constant(-4),
    "seven": constant(7),
    "large": constant(2**31),
    "larger": constant(2**63),
    "largest": constant(10**30),
    "smallest": constant(-(10**30)),
    "unprintable int": constant(10**5000),
    "unprintable": constant(Unprintable()),
    "float": float,
    "half": constant(0.5),
    "True": constant(True),
    "bool_": constant(np.False_),
    "text": constant("1"),
    "None": constant(None),
    "nan": constant(math.nan),
}
FLAGS: dict[str, Change] = {
    "True": constant(True),
    "False": constant(False),
    "bool_": np.bool_,
    "zero": constant(0),
    "one": constant(1),
    "None": constant(None),
    "text": constant("yes"),
    "empty": constant([]),
    "array": constant(np.array([True])),
    "without axes": np.asarray,
}
WORDS: dict[str, Change] = {
    "str_": np.str_,
    "subclass": Text,
    "upper": lambda value: value.upper(),
    "bytes": lambda value: value.encode(),
    "unknown": constant("unknown"),
    "empty": constant(""),
    "none": constant("none"),
    "None": constant(None),
    "mean": constant("mean"),
    "relu": constant("relu"),
    "tanh": constant("tanh"),
    "number": constant(0),
    "list": lambda value: [value],
    "surrogate": constant("\udc80"),
    "long": constant("relu" * 1000),
    "unprintable": constant(Unprintable()),
}
SEQUENCES: dict[str, Change] = {
    "list": list,
    "tuple": tuple,
    "empty": constant(()),
    "shorter": lambda values: values[:-1],
    "longer": lambda values: (*values, values[0]),
    "first": lambda values: values[0],
    "None": constant(None),
    "Nones": lambda values: tuple(None for _ in values),
    "iterator": iter,
    "text": constant("text"),
    "number": constant(1.0),
    "dict": lambda values: dict(enumerate(values)),
}
NOTHING: dict[str, Change] = {
    "float": constant(0.5),
    "array": constant(np.ones(4, np.float32)),
    "text": constant("text"),
    "False": constant(False),
    "zero": constant(0),
    "tuple": constant(()),
}


def changes_of(value: Any) -> dict[str, Change]:
    """Return what may stand in the place of a value."""
    if isinstance(value, np.ndarray):
        return GOOD_ARRAYS | BAD_ARRAYS | HOSTILE_ARRAYS
    if isinstance(value, bool):
        return FLAGS
    if isinstance(value, int):
        return INTEGERS
    if isinstance(value, float):
        return NUMBERS
    if isinstance(value, str):
        return WORDS
    if isinstance(value, (tuple, list)):
        if value and all(isinstance(part, int) for part in value):
            return INTEGERS | {"list": list}
        return SEQUENCES
    return NOTHING


def another_way(value: Any) -> Any:
    """Return the same value in a form that needs a rule: a subclass, a NumPy scalar."""
    if type(value) is np.ndarray:
        return value.view(Subclass)
    if type(value) is bool:
        return np.bool_(value)
    if type(value) is int and abs(value) < 2**63:
        return np.int64(value)
    if type(value) is float:
        return np.float64(value)
    if type(value) is str:
        return Text(value)
    if type(value) in (tuple, list):
        return type(value)(map(another_way, value))
    return value
