"""Updates of a state that is kept outside of the optimiser."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import DTYPES
from test_optim import KINDS, SHAPES, make
from tolerances import assert_same_bits

Array = NDArray[Any]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_it_goes_as_the_optimisers_own(
    kind: str, settings: dict[str, Any], dtype: Any, backend: str, rng: np.random.Generator
) -> None:
    ours = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    theirs = [p.copy() for p in ours]
    own, lent = make(kind, settings), make(kind, settings)
    state = lent.new_state(theirs)
    for step in range(4):
        gradients = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
        sparse = [None if i == 1 and step == 2 else g for i, g in enumerate(gradients)]
        own.update(ours, sparse)
        lent.update(theirs, sparse, state=state)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_bits(one, other)
    for name, array in own.state_dict().items():
        assert_same_bits(state[name], array)
    assert not lent.state_dict()["steps"].size  # bound to no parameters
    lent.update([np.ones(2)], [np.ones(2)])


def test_one_optimiser_serves_several_states(backend: str) -> None:
    adam = fastnorm.Adam(lr=0.1)
    small, large = [np.ones(3)], [np.ones((4, 5), np.float32), np.ones(2)]
    states = adam.new_state(small), adam.new_state(large)
    for _ in range(3):
        adam.update(small, [np.ones(3)], state=states[0])
    adam.update(large, [np.ones((4, 5), np.float32), None], state=states[1])
    np.testing.assert_array_equal(states[0]["steps"], [3])
    np.testing.assert_array_equal(states[1]["steps"], [1, 0])


def test_replaced_arrays_are_used(backend: str) -> None:
    sgd, weight = fastnorm.SGD(lr=1.0, momentum=0.5), [np.zeros(2)]
    state = sgd.new_state(weight)
    state["velocity.0"] = memory = np.array([2.0, -2.0])
    sgd.update(weight, [np.zeros(2)], state=state)
    np.testing.assert_array_equal(memory, [1.0, -1.0])
    np.testing.assert_array_equal(weight[0], [-1.0, 1.0])


def test_groups_hold(backend: str) -> None:
    sgd = fastnorm.SGD(lr=1.0, groups=[{"indices": [1], "lr": 0.5}])
    weights = [np.zeros(2), np.zeros(2)]
    sgd.update(weights, [np.ones(2), np.ones(2)], state=sgd.new_state(weights))
    np.testing.assert_array_equal(weights, [[-1.0, -1.0], [-0.5, -0.5]])


def locked(array: Array) -> Array:
    array.flags.writeable = False
    return array


ASKEW = np.zeros(33, np.uint8)[1:25].view(np.float64)
BAD_STATES: list[tuple[Any, type[Exception], str]] = [
    ([], TypeError, "state has type list"),
    ({}, ValueError, "state has the entries"),
    ({"steps": [0]}, TypeError, r"state\['steps'\] has type list"),
    ({"steps": np.zeros(1)}, TypeError, r"state\['steps'\] has dtype float64"),
    ({"steps": np.zeros(2, np.int64)}, ValueError, r"state\['steps'\] has shape \(2,\)"),
    ({"steps": np.array([-1])}, ValueError, r"state\['steps'\] has counts from -1"),
    ({"steps": locked(np.zeros(1, np.int64))}, ValueError, r"state\['steps'\] is read-only"),
    ({"first_moment.0": np.zeros(3, np.float32)}, TypeError, r"state\['first_moment.0'\] has dtype float32"),
    ({"first_moment.0": np.zeros((3, 1))}, ValueError, r"state\['first_moment.0'\] has shape \(3, 1\)"),
    ({"first_moment.0": np.zeros(6)[::2]}, ValueError, r"state\['first_moment.0'\] has gaps"),
    ({"first_moment.0": ASKEW}, ValueError, r"state\['first_moment.0'\] has gaps or lies askew"),
    ({"other": np.zeros(3)}, ValueError, "state has the entries"),
]


@pytest.mark.parametrize(("change", "error", "match"), BAD_STATES, ids=[text for *_, text in BAD_STATES])
def test_bad_states(change: Any, error: type[Exception], match: str, backend: str) -> None:
    adam, weight = fastnorm.Adam(), np.ones(3)
    state = adam.new_state([weight])
    given = {**state, **change} if change else change
    with pytest.raises(error, match=f"^update: {match}"):
        adam.update([weight], [np.ones(3)], state=given)
    assert (weight == 1).all()
    assert not any(array.any() for array in state.values())


def test_what_shares_memory(backend: str) -> None:
    adam, weight, gradient = fastnorm.Adam(), np.ones(3), np.ones(3)
    for place in (weight, gradient, np.zeros(3)):
        state = adam.new_state([weight])
        state["first_moment.0"] = place
        if not place.any():
            state["second_moment.0"] = place
        with pytest.raises(ValueError, match=r"^update: .* overlaps "):
            adam.update([weight], [gradient], state=state)
        assert (weight == 1).all()
        assert state["steps"][0] == 0


def test_settings_beyond_the_type(backend: str) -> None:
    sgd, weight = fastnorm.SGD(lr=1e60), [np.ones(2, np.float32)]
    with pytest.raises(ValueError, match="lr is 1e"):
        sgd.new_state(weight)
    sgd.lr = 1.0
    state = sgd.new_state(weight)
    sgd.lr = 1e60
    with pytest.raises(ValueError, match="lr is 1e"):
        sgd.update(weight, [np.ones(2, np.float32)], state=state)
    assert math.isclose(weight[0][0], 1)
