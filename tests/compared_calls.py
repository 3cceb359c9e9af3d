"""Runs of a call on the backends, and comparisons of what they gave."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from drawn_calls import Array, Call
from hostile_arrays import VALUES

# Of the largest magnitude of a result; both compute half types in a wider one and round once.
CLOSE = {"float32": 2e-4, "float64": 1e-9, "float16": 4e-3, "bfloat16": 3e-2}
UPDATED = ("running_mean", "running_var", "out", "parameters", "state")
# Values for which overflow decides, which happens elsewhere in float64, or that lie outside their domain.
EXTREME = {"large", "larger", "large int", "subnormal", "zero", "negative zero", *VALUES, "another argument"}


class Outcome(NamedTuple):
    """What a call gave, and its arrays before and after."""

    results: tuple[Any, ...]
    error: Exception | None
    before: dict[str, Array]
    after: dict[str, Array]
    updated: frozenset[str]  # the places of arrays that an accepted call may change


def run(call: Call, backend: str) -> Outcome:
    """Make a call on a backend."""
    arrays = call.arrays() | dict(call.state)
    before = {place: np.array(array) for place, array in arrays.items()}
    error: Exception | None = None
    results: tuple[Any, ...] = ()
    with fastnorm.backend(backend):  # type: ignore[arg-type]
        try:
            found = call.function(*call.args, **call.keywords)
        except Exception as caught:
            error = caught
        else:
            results = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    targets = [array for place, array in arrays.items() if any(name in place for name in UPDATED)]
    updated = {
        place
        for place, array in arrays.items()
        if any(np.may_share_memory(array, target) for target in targets)
    }
    after = {place: np.array(array) for place, array in arrays.items()}
    return Outcome(results, error, before, after, frozenset(updated))


def is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def same_bits(a: Array, b: Array) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.size == 0:  # NumPy walks its other axes all the same
        return True
    if a.dtype.kind == "O" or a.dtype == np.longdouble:  # bytes are places in memory, or nobody's
        return all(
            p is q or p == q or (is_nan(p) and is_nan(q))
            for p, q in zip(a.reshape(-1), b.reshape(-1), strict=True)
        )
    return a.tobytes() == b.tobytes()


def flat(results: Any) -> list[Any]:
    """Return all arrays, numbers and None of nested results."""
    if isinstance(results, (tuple, list)):
        return [part for value in results for part in flat(value)]
    return [results]


def assert_alike(got: Any, expected: Any, *, bits: bool, values: bool = True, dtype: str = "float64") -> None:
    """Assert equal structure, types and shapes, and equal bits or close values.

    `dtype` is the one that was computed in where results are of a wider one.
    """
    assert len(flat(got)) == len(flat(expected))
    for one, other in zip(flat(got), flat(expected), strict=True):
        assert (one is None) == (other is None)
        if one is None:
            continue
        assert isinstance(one, np.ndarray) == isinstance(other, np.ndarray)
        a, b = np.asarray(one), np.asarray(other)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if bits:
            assert same_bits(a, b), f"{a} instead of {b}"
        elif values and a.dtype.name in CLOSE:
            with np.errstate(invalid="ignore"):  # signalling NaN
                x, y = a.astype(np.float64), b.astype(np.float64)
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
            finite = np.isfinite(x) & np.isfinite(y)
            np.testing.assert_array_equal(x[~finite], y[~finite])
            bound = max(CLOSE[a.dtype.name], CLOSE[dtype]) * (1 + np.abs(y[finite]).max(initial=0))
            np.testing.assert_allclose(x[finite], y[finite], rtol=0, atol=bound)


def assert_same_error(got: Outcome, expected: Outcome, name: str) -> None:
    """Assert that both calls are accepted or both are refused, with the same text where it is the rules'."""
    assert type(got.error) is type(expected.error), f"{got.error!r} instead of {expected.error!r}"
    if str(expected.error).startswith(f"{name}: "):
        assert str(got.error) == str(expected.error)


def assert_our_words(error: Exception | None) -> None:
    """Assert that an error is one of the contract: `<op>: <argument> ...` or `<op>() ...`, not NumPy's."""
    assert error is None or type(error) in (TypeError, ValueError), repr(error)
    assert error is None or re.match(r"\w+(: |\(\) )", str(error)), repr(error)


def assert_untouched(outcome: Outcome) -> None:
    """Assert that a refused call changed nothing, and another one only what it returns or updates."""
    for place, array in outcome.before.items():
        free = outcome.error is None and place in outcome.updated
        assert free or same_bits(array, outcome.after[place]), f"{place} changed"


def agree(make: Callable[[], Call], *, values: bool = True, dtype: str = "float64") -> None:
    """Make a call on both backends, and with arguments that need rules, and assert that all agree.

    `values` says whether results are compared, or their types and shapes alone.
    """
    call = make()
    native, twin = run(call, "native"), run(make(), "reference")
    if isinstance(twin.error, MemoryError):  # it has temporaries, the native call may have none
        return
    assert_our_words(twin.error)
    assert_same_error(native, twin, call.function.__name__)
    slow = run(make().otherwise(), "native")
    assert type(slow.error) is type(native.error), f"{slow.error!r} instead of {native.error!r}"
    for outcome in (native, twin, slow):
        assert_untouched(outcome)
    if native.error is not None:
        return
    assert_alike(native.results, twin.results, bits=False, values=values, dtype=dtype)
    after = [list(outcome.after.values()) for outcome in (native, twin, slow)]
    assert_alike(after[0], after[1], bits=False, values=values, dtype=dtype)
    assert_alike(slow.results, native.results, bits=True)
    assert_alike(after[2], after[0], bits=True)
