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

import fastnorm
import numpy as np
import pytest
from bits.calls import op_names
from compared_calls import EXTREME, agree
from conftest import REFERENCE_ONLY
from drawn_calls import Plan, make, plans, single_changes, subject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FASTNORM_EXAMPLES", "100"))
common = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def check(plan: Plan) -> None:
    agree(lambda: make(plan), values=not any(change in EXTREME for _, change in plan.changes))


needs_both = pytest.mark.skipif(REFERENCE_ONLY, reason="compares the backends")
each_direction = pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
each_op = pytest.mark.parametrize("name", op_names())


@needs_both
@each_direction
@each_op
def test_each_change(name: str, backward: bool) -> None:
    failed = []
    for plan in single_changes(subject(name, backward)):
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
    check(plan)


# Faults of the past, each with its smallest call.


@needs_both
def test_product_with_repeated_rows() -> None:
    memory = np.full((16, 16), np.nan, np.float32)
    memory[0] = 1
    with fastnorm.backend("native"):
        y = fastnorm.linear(np.ones((1, 16), np.float32), np.broadcast_to(memory[0], (16, 16)))
    np.testing.assert_array_equal(y, np.full((1, 16), 16, np.float32))


@needs_both
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
def test_weight_of_another_class() -> None:
    weight = np.array([np.nan, 1, 1], np.float32)
    with fastnorm.backend("native"):
        loss, dlogits = fastnorm.cross_entropy(
            np.zeros((1, 3), np.float32), np.array([1]), weight=weight, return_grad=True
        )
    assert np.isnan(loss) == np.isnan(dlogits).any()
