"""The rules that the ops share, one method for each kind of argument."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from .._typing import Array

OVERLAP_WORK = (
    10_000  # candidate solutions after which a test for shared memory gives up and counts as shared
)

LARGEST_SINGLE = float(np.finfo(np.float32).max)
SHOWN = 80  # characters of a value in an error
MOST_ELEMENTS = 2**48  # of an array, with lengths of 0 counted as 1: no size of planning overflows
# Devices of the DLPack protocol whose memory is here: the CPU, and what CUDA and ROCm have pinned.
CPU, PINNED = 1, (3, 11)


class Axes(tuple[int, ...]):
    """The axes that are normalised jointly, not negative and ascending.

    `given` has them in the caller's order, in which weight and bias have their axes.
    """

    given: tuple[int, ...]

    def __new__(cls, given: Iterable[int]) -> Axes:
        """Take the axes in the caller's order."""
        given = tuple(given)
        axes = super().__new__(cls, sorted(given))
        axes.given = given
        return axes

    def user_order(self, gradient: Array | None) -> Array | None:
        """Return a parameter's gradient, whose axes are ascending, in the caller's order."""
        return gradient if gradient is None else gradient.transpose(np.argsort(np.argsort(self.given)))


class Rules:
    """The rules for the arguments of one op.

    Each method takes the name and the value of an argument and returns the value in canonical form. Errors
    read `<op>: <argument> <what it is>, needs <what it should be>`.
    """

    def __init__(self, op: str) -> None:
        self.op = op
        self._given: list[Array] = []  # as they came: what is widened is copied

    def type_error(self, name: str, found: str, needed: str) -> TypeError:
        """Return the error for an argument of the wrong type or dtype."""
        return TypeError(f"{self.op}: {name} {found}, needs {needed}")

    def value_error(self, name: str, found: str, needed: str) -> ValueError:
        """Return the error for an argument of the wrong value or shape."""
        return ValueError(f"{self.op}: {name} {found}, needs {needed}")

    # Arrays

    def array(self, name: str, value: object, like: Array | None = None) -> Array:
        """Return an array of one of the float types. Python floats and lists of them take the dtype of
        `like`.
        """
        array = self.ndarray(name, value)
        if like is not None and array.dtype == np.float64 and isinstance(value, (float, list, tuple)):
            with np.errstate(over="ignore"):
                array = array.astype(like.dtype)
        if not is_float(array.dtype):
            raise self.type_error(name, f"has dtype {array.dtype}", "float32, float64, float16 or bfloat16")
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def ndarray(self, name: str, value: object) -> Array:
        """Return an array of any dtype."""
        self._given.append(self._taken(name, value))
        return self.countable(name, self._given[-1])

    def countable(self, name: str, array: Array) -> Array:
        """Return an array whose elements, and lengths beside 0, can be counted in planning."""
        if math.prod(max(length, 1) for length in array.shape) > MOST_ELEMENTS:
            raise self.value_error(name, f"has shape {array.shape}", "at most 2**48 elements")
        return array

    def writeable(self, name: str, array: Array, needed: str = "an array that can be written") -> None:
        """Raise where an array cannot be updated where it lies."""
        if not array.flags.writeable:
            raise self.value_error(name, "is read-only", needed)

    def _taken(self, name: str, value: object) -> Array:
        if type(value) is np.ndarray:
            return value
        if isinstance(value, np.ma.MaskedArray):
            raise self.type_error(name, "is a masked array", "a plain one (its filled() gives one)")
        if isinstance(value, np.ndarray):
            return np.ndarray.view(value, np.ndarray)  # a subclass may have another view of its own
        self._is_here(name, value)
        try:
            if hasattr(value, "__dlpack__"):
                try:
                    return np.from_dlpack(value)
                except (BufferError, RuntimeError, TypeError, ValueError):
                    # Refused, as bfloat16 is: some libraries convert such arrays themselves.
                    return np.asarray(value)
            return np.asarray(value)
        except MemoryError:
            raise
        except Exception as error:
            advice = ""
            if "bfloat16" in str(getattr(value, "dtype", "")):
                advice = (
                    " (a bfloat16 tensor of PyTorch: x.view(torch.uint16).numpy().view(ml_dtypes.bfloat16))"
                )
            found = f"is a {type(value).__module__}.{type(value).__name__} that NumPy cannot take ({error})"
            raise self.type_error(name, found, f"an array on the CPU{advice}") from error

    def _is_here(self, name: str, value: object) -> None:
        """Raise where an array is not in this machine's memory, which NumPy might fetch unasked."""
        if type(value).__module__.partition(".")[0] == "dask":
            found = f"is a Dask {type(value).__name__}"
            raise self.type_error(name, found, "what compute() gives, or fastnorm.dask, which goes by chunks")
        try:
            device = int(value.__dlpack_device__()[0])  # type: ignore[attr-defined]
        except Exception:
            return
        if device not in (CPU, *PINNED):
            found = f"is a {type(value).__module__}.{type(value).__name__} on a device"
            raise self.type_error(name, found, "an array on the CPU")

    def exactly(self, name: str, value: object, x: Array, of: str = "x") -> Array:
        """Return an array of the dtype of `x`, as gradients and results have; `of` is x's name."""
        array = self.array(name, value, like=x)
        if array.dtype != x.dtype:
            needed = f"{x.dtype} as {of} (astype('{x.dtype}') casts it)"
            raise self.type_error(name, f"has dtype {array.dtype}", needed)
        return array

    def operand(self, name: str, value: object, x: Array, of: str = "x") -> Array:
        """Return an array of the dtype of `x`, widened to it from a narrower one, as operands may have."""
        array = self.array(name, value, like=x)
        if array.dtype.itemsize < x.dtype.itemsize:
            return widened(array, x.dtype)
        return self.exactly(name, array, x, of)

    def second(self, name: str, value: object, x: Array, of: str = "x") -> Array:
        """Return a second operand of the shape of `x`."""
        return self.shaped(name, self.operand(name, value, x, of), x, of)

    def parameter(self, name: str, value: object, x: Array, of: str = "x") -> Array:
        """Return an array of the dtype of `x` or of that which it is computed in, widened to the latter from
        other ones that are narrower.
        """
        array, computed = self.array(name, value, like=x), compute_dtype(x.dtype)
        if array.dtype in (x.dtype, computed):
            return array
        if array.dtype.itemsize < computed.itemsize:
            return widened(array, computed)
        kinds = f"{x.dtype} or float32" if is_half(x.dtype) else f"{x.dtype} as {of}"
        needed = f"{kinds} (astype('{computed}') casts it)"
        raise self.type_error(name, f"has dtype {array.dtype}", needed)

    def gradient(self, name: str, value: object, x: Array, of: str = "x") -> Array:
        """Return an array of the shape and dtype of `x`, as the gradient with respect to it has."""
        return self.shaped(name, self.exactly(name, value, x, of), x, of)

    def shaped(self, name: str, array: Array, x: Array, of: str) -> Array:
        """Return the array if it has the shape of `x`."""
        if array.shape != x.shape:
            raise self.value_error(name, f"has shape {array.shape}", f"{x.shape} as {of}")
        return array

    def forward_result(self, y: object, x: Array) -> Array | None:
        """Return the result of a forward of the shape and dtype of `x`, if it is given."""
        return None if y is None else self.gradient("y", y, x)

    def parameters(
        self, x: Array, axes: Axes, weight: object, bias: object, of: str = "x"
    ) -> tuple[Array | None, Array | None]:
        """Return `weight` and `bias` in one dtype: where one is float32 and the other a half type, both are
        float32; `of` is x's name.
        """
        weight = self._parameter("weight", weight, x, axes, of)
        bias = self._parameter("bias", bias, x, axes, of)
        if weight is not None and bias is not None and weight.dtype != bias.dtype:
            weight, bias = weight.astype(np.float32, copy=False), bias.astype(np.float32, copy=False)
        return weight, bias

    def _parameter(self, name: str, value: object, x: Array, axes: Axes, of: str) -> Array | None:
        if value is None:
            return None
        shape = tuple(x.shape[axis] for axis in axes.given)
        array = self.parameter(name, value, x)
        packed = without_leading_ones(array, len(shape))
        if packed.shape != shape:
            needed = f"{shape} to match {of}.shape {x.shape} along axis {axes.given}"
            raise self.value_error(name, f"has shape {array.shape}", needed)
        return packed.transpose(np.argsort(axes.given))

    def statistics(self, name: str, value: object, x: Array, axes: Axes) -> Array:
        """Return a statistic of the forward, of x's shape without the normalised axes and not of a half
        type.
        """
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        array = self.array(name, value, like=np.empty(0, dtype))
        if array.dtype != dtype:
            raise self.type_error(name, f"has dtype {array.dtype}", f"{dtype} for x of dtype {x.dtype}")
        shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes.given)
        if array.shape != shape:
            needed = f"{shape}, x.shape {x.shape} without axis {axes.given}"
            raise self.value_error(name, f"has shape {array.shape}", needed)
        return array

    def out(self, value: object, x: Array, *inputs: Array | None) -> Array | None:
        """Return the array for a result like `x`: exactly one of the `inputs`, or apart from them all."""
        if value is None:
            return None
        out = self.result_array("out", value, x)
        self.apart("out", out, *inputs)
        return out

    def apart(self, name: str, out: Array, *inputs: Array | None) -> None:
        """Raise unless `out` is one of the inputs, or of the arrays taken so far, or apart from them all."""
        for array in (*inputs, *self._given):
            if array is not None and not is_same(out, array) and shares_memory(out, array):
                raise self.value_error(
                    name, "overlaps an input", "exactly an input or memory apart from all inputs"
                )

    def result_array(self, name: str, value: object, like: Array) -> Array:
        """Return an array that a result of the shape and dtype of `like` can be written to."""
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise self.type_error(name, f"has type {type(value).__name__}", "a NumPy array")
        array = value if type(value) is np.ndarray else np.ndarray.view(value, np.ndarray)
        if array.dtype != like.dtype:
            raise self.value_error(name, f"has dtype {array.dtype}", f"{like.dtype} of the result")
        if array.shape != like.shape:
            raise self.value_error(name, f"has shape {array.shape}", f"{like.shape} of the result")
        self.writeable(name, array)
        if may_overlap_itself(array):
            raise self.value_error(name, "has elements that share memory", "an element of memory for each")
        return array

    # Axes

    def axes(self, value: object, x: Array) -> Axes:
        """Return the axes of `x` that are normalised jointly, given as an int or a tuple of distinct ints;
        None stands for all. An array without axes counts as one element along one.
        """
        if value is None:
            return Axes(range(x.ndim))
        numbers = value if isinstance(value, tuple) else (value,)
        if x.ndim == 0:
            if len(numbers) > 1:
                raise self.value_error("axis", f"is {shown(value)}", "0, -1 or None for x without axes")
            if numbers:
                self.axis(numbers[0], x[None])
            return Axes(())
        if not numbers:
            raise self.value_error("axis", "is ()", "at least one axis")
        given = []
        for number in numbers:
            axis = as_index(number)
            if axis is None:
                raise self.type_error("axis", f"is {shown(value)}", "an int, a tuple of ints or None")
            if not -x.ndim <= axis < x.ndim:
                raise self.value_error(
                    "axis", f"is {shown(value)}", f"{-x.ndim} to {x.ndim - 1} for x of shape {x.shape}"
                )
            given.append(axis % x.ndim)
        if len(set(given)) < len(given):
            raise self.value_error("axis", f"is {shown(value)}", "distinct axes")
        return Axes(given)

    def axis(self, value: object, x: Array, name: str = "x") -> int:
        """Return the one axis, not negative, along which the op works on `x`, whose argument has this
        name.
        """
        number = as_index(value)
        if number is None:
            raise self.type_error("axis", f"is {shown(value)}", "an int")
        if x.ndim == 0:
            raise self.value_error(name, "has no axes", "at least one")
        if not -x.ndim <= number < x.ndim:
            raise self.value_error(
                "axis", f"is {shown(value)}", f"{-x.ndim} to {x.ndim - 1} for {name} of shape {x.shape}"
            )
        return number % x.ndim

    # Numbers, flags and choices

    def number(
        self, name: str, value: object, minimum: float = -math.inf, like: Array | None = None
    ) -> float:
        """Return a finite float, at least `minimum`, which is finite in the type too that `like` is computed
        in.
        """
        if is_bool(value) or not isinstance(value, (float, int, np.floating, np.integer)):
            raise self.type_error(name, f"has type {type(value).__name__}", "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or number < minimum:
            needed = "a finite number" if minimum == -math.inf else f"a finite number of at least {minimum:g}"
            raise self.value_error(name, f"is {shown(value)}", needed)
        if like is not None and like.dtype != np.float64 and abs(number) > LARGEST_SINGLE:
            raise self.value_error(name, f"is {shown(value)}", "a number in the range of float32")
        return number

    def fraction(self, name: str, value: object) -> float | None:
        """Return None or a float in (0, 1]."""
        if value is None:
            return None
        number = self.number(name, value)
        if not 0 < number <= 1:
            raise self.value_error(name, f"is {shown(value)}", "more than 0 and at most 1")
        return number

    def integer(self, name: str, value: object, minimum: int, maximum: int = 2**63 - 1) -> int:
        """Return an int from `minimum` to `maximum`, which native code can take."""
        number = as_index(value)
        if number is None:
            raise self.type_error(name, f"has type {type(value).__name__}", "an int")
        if number < minimum:
            raise self.value_error(name, f"is {shown(number)}", f"at least {minimum}")
        if number > maximum:
            raise self.value_error(name, f"is {shown(number)}", f"at most {maximum}")
        return number

    def flag(self, name: str, value: object) -> bool:
        """Return a bool."""
        if not is_bool(value):
            raise self.type_error(name, f"has type {type(value).__name__}", "a bool")
        return bool(value)

    def choice(self, name: str, value: object, choices: Collection[str]) -> str:
        """Return one of the strings in `choices`."""
        if not isinstance(value, str):
            raise self.type_error(name, f"has type {type(value).__name__}", "a str")
        for choice in choices:
            if choice == value:
                return choice  # a subclass, as of an enumeration, may have another text
        raise self.value_error(name, f"is {shown(value)}", f"one of {', '.join(map(repr, choices))}")

    def generator(self, name: str, value: object) -> np.random.Generator:
        """Return the generator of random numbers that a seed stands for, or that is given."""
        try:
            return np.random.default_rng(value)  # type: ignore[arg-type]  # what it does not take it refuses
        except MemoryError:
            raise
        except Exception as error:  # also what showing the value in its message raises
            refusal = self.value_error if isinstance(error, ValueError) else self.type_error
            raise refusal(
                name, f"is {shown(value)}", "an int of at least 0, a numpy.random.Generator or None"
            ) from error


def shown(value: object) -> str:
    """Return a value as errors show it: its repr, shortened, or its type where it has none, as integers of
    more digits than Python prints.
    """
    try:
        text = repr(value)
    except Exception:
        return f"of type {type(value).__name__} and cannot be shown"
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 4 :]}"


def plain(array: Array, *, writeable: bool = False) -> Array:
    """Return an array as contiguous, aligned memory without a subclass: a copy only where it is not that."""
    needs = ["C", "A", "W", "E"] if writeable else ["C", "A", "E"]
    return np.require(array, requirements=needs)  # type: ignore[arg-type]  # stub: without "E"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Tell whether the dtype is float16 or `ml_dtypes.bfloat16` (there is none before ml_dtypes is
    imported).
    """
    bfloat16 = getattr(sys.modules.get("ml_dtypes"), "bfloat16", None)
    return dtype.type is np.float16 or (bfloat16 is not None and dtype.type is bfloat16)


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that arrays of a dtype are computed in."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def widened(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the same values in a wider dtype; NumPy would warn of NaNs that signal."""
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def without_leading_ones(array: Array, ndim: int) -> Array:
    """Return the array without the leading axes of length 1 that it has beyond so many axes."""
    while array.ndim > ndim and array.shape[0] == 1:
        array = array.reshape(array.shape[1:])
    return array


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether the dtype is one of the four that the kernels compute in."""
    return dtype.type is np.float32 or dtype.type is np.float64 or is_half(dtype)


def is_bool(value: object) -> bool:
    """Tell whether the value is a bool, which passes for an int in Python but not here."""
    return isinstance(value, (bool, np.bool_))


def as_index(value: Any) -> int | None:
    """Return the value as an int, None where it is not one; a bool is not."""
    try:
        return None if is_bool(value) else operator.index(value)
    except TypeError:
        return None


def is_same(a: Array, b: Array) -> bool:
    """Tell whether two arrays are the same elements of memory in the same order."""
    if a.shape != b.shape or a.__array_interface__["data"][0] != b.__array_interface__["data"][0]:
        return False
    return all(p == q for p, q, size in zip(a.strides, b.strides, a.shape, strict=True) if size > 1)


def shares_memory(a: Array, b: Array) -> bool:
    """Tell whether two arrays have memory in common, or that is too hard to tell."""
    try:
        return np.shares_memory(a, b, max_work=OVERLAP_WORK)  # type: ignore[arg-type]  # stub: -1 and 0 only
    except np.exceptions.TooHardError:
        return True


def may_overlap_itself(array: Array) -> bool:
    """Tell whether two elements may share memory: false where each axis steps over all that the smaller steps
    reach, and where there are no elements.
    """
    if array.size == 0:
        return False
    reach = array.itemsize
    for stride, size in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return True
            reach += stride * (size - 1)
    return False
