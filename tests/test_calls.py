"""The rules for arguments stand once: drawn calls, good and bad, of every op.

What the extension takes without asking the rules can only be what they take too. So both backends, of which
the twins always ask, have to accept the same calls, refuse the others with the same error, and give the same
results; and the extension has to give the same bits for the same values in a form for which it has to ask. A
refused call changes nothing, an accepted one only what it is meant to.

The calls follow from the signatures (drawn_calls.py) and the types of the arguments (drawn_values.py).
FASTNORM_EXAMPLES sets how many are drawn for each op and direction.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import fastnorm
import numpy as np
import pytest
from bits.calls import op_names
from bits.kinds import DENSE
from conftest import REFERENCE_ONLY
from drawn_calls import Array, Call, Plan, make, plans, single_changes, subject
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FASTNORM_EXAMPLES", "100"))
common = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# Of the largest magnitude of a result; both compute half types in a wider one and round once.
CLOSE = {"float32": 2e-4, "float64": 1e-9, "float16": 4e-3, "bfloat16": 3e-2}
# Values for which overflow decides, which happens elsewhere in float64.
EXTREME = {"large", "larger", "large int", "subnormal", "zero", "negative zero"}
UPDATED = ("running_mean", "running_var", "out")


class Outcome(NamedTuple):
    """What a call gave, and its arrays before and after."""

    results: tuple[Any, ...]
    error: Exception | None
    before: dict[str, Array]
    after: dict[str, Array]


def run(call: Call, backend: str) -> Outcome:
    """Make a call on a backend."""
    arrays = call.arrays()
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
    return Outcome(results, error, before, {k: np.array(array) for k, array in arrays.items()})


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def flat(results: Any) -> list[Any]:
    """Return all arrays, numbers and None of nested results."""
    if isinstance(results, (tuple, list)):
        return [part for value in results for part in flat(value)]
    return [results]


def assert_alike(got: Any, expected: Any, *, bits: bool, values: bool = True) -> None:
    """Assert equal structure, types and shapes, and equal bits or close values."""
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
            x, y = a.astype(np.float64), b.astype(np.float64)
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
            finite = np.isfinite(x) & np.isfinite(y)
            np.testing.assert_array_equal(x[~finite], y[~finite])
            bound = CLOSE[a.dtype.name] * (1 + np.abs(y[finite]).max(initial=0))
            np.testing.assert_allclose(x[finite], y[finite], rtol=0, atol=bound)


def assert_same_error(got: Outcome, expected: Outcome, name: str) -> None:
    """Assert that both calls are accepted or both are refused, with the same text where it is the rules'."""
    assert type(got.error) is type(expected.error), f"{got.error!r} instead of {expected.error!r}"
    if str(expected.error).startswith(f"{name}: "):
        assert str(got.error) == str(expected.error)


def assert_untouched(outcome: Outcome) -> None:
    """Assert that a refused call changed nothing, and another one only what it returns or updates."""
    for place, array in outcome.before.items():
        changed = outcome.error is None and any(name in place for name in UPDATED)
        assert changed or same_bits(array, outcome.after[place]), f"{place} changed"


def check(plan: Plan) -> None:
    """Make the call on both backends, and with arguments that need rules."""
    call = make(plan)
    name = call.function.__name__
    native, twin = run(call, "native"), run(make(plan), "reference")
    assert twin.error is None or type(twin.error) in (TypeError, ValueError), repr(twin.error)
    assert_same_error(native, twin, name)
    slow = run(make(plan).otherwise(), "native")
    assert type(slow.error) is type(native.error), f"{slow.error!r} instead of {native.error!r}"
    if native.error is not None:
        for outcome in (native, twin, slow):
            assert_untouched(outcome)
        return
    values = not any(change in EXTREME for _, change in plan.changes)
    assert_alike(native.results, twin.results, bits=False, values=values)
    assert_alike(list(native.after.values()), list(twin.after.values()), bits=False, values=values)
    assert_alike(slow.results, native.results, bits=True)
    assert_alike(list(slow.after.values()), list(native.after.values()), bits=True)


needs_both = pytest.mark.skipif(REFERENCE_ONLY, reason="compares the backends")
each_direction = pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
each_op = pytest.mark.parametrize("name", op_names())


@needs_both
@each_direction
@each_op
def test_each_change(name: str, backward: bool) -> None:
    failed = []
    for plan in single_changes(subject(name, backward)):
        if is_known(plan):
            continue
        try:
            check(plan)
        except AssertionError as error:
            failed.append(f"{plan}: {error}")
    assert not failed, "\n".join(failed)


@needs_both
@each_direction
@each_op
@given(data=st.data())
@common
def test_drawn_calls(name: str, backward: bool, data: st.DataObject) -> None:
    plan = data.draw(plans(subject(name, backward)))
    assume(not is_known(plan))
    check(plan)


# Faults that are known, each with its smallest call; `is_known` keeps the drawn calls from them.


def is_known(plan: Plan) -> bool:
    """Tell whether a plan may meet one of the faults below."""
    changes = {change for _, change in plan.changes}
    names = {path[0] for path, change in plan.changes if change == "nan"}
    return ("repeated" in changes and plan.subject.op.kind is DENSE) or (
        "weight" in names and plan.subject.op.name == "cross_entropy"
    )


@needs_both
@pytest.mark.xfail(reason="a weight whose rows share memory is taken for one that is packed", strict=True)
def test_product_with_repeated_rows() -> None:
    memory = np.full((16, 16), np.nan, np.float32)
    memory[0] = 1
    with fastnorm.backend("native"):
        y = fastnorm.linear(np.ones((1, 16), np.float32), np.broadcast_to(memory[0], (16, 16)))
    np.testing.assert_array_equal(y, np.full((1, 16), 16, np.float32))


@needs_both
@pytest.mark.xfail(reason="dkeys and dvalues are not written where there are no queries", strict=True)
def test_attention_without_queries() -> None:
    none, slots = np.ones((0, 4), np.float32), np.ones((6, 4), np.float32)
    for _ in range(20):
        dirt = [np.full((6, 4), np.nan, np.float32) for _ in range(50)]
        del dirt
        with fastnorm.backend("native"):
            _, dkeys, dvalues = fastnorm.attention_backward(none, none, slots, slots)
        np.testing.assert_array_equal(dkeys, 0)
        np.testing.assert_array_equal(dvalues, 0)


@needs_both
@pytest.mark.xfail(
    reason="the loss leaves out NaN as the weight of another class, its gradient not", strict=True
)
def test_weight_of_another_class() -> None:
    weight = np.array([np.nan, 1, 1], np.float32)
    with fastnorm.backend("native"):
        loss, dlogits = fastnorm.cross_entropy(
            np.zeros((1, 3), np.float32), np.array([1]), weight=weight, return_grad=True
        )
    assert np.isnan(loss) == np.isnan(dlogits).any()
