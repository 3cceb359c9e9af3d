"""The argument rules of the optimisers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, ArrayLike
from .rules import Rules, is_float, is_half, is_same, may_overlap_itself, shares_memory

MOST_STEPS = 2**62  # beyond which counting could overflow

# What an optimiser hands to `optimizer_update` and `mlp_train` beside parameters and gradients:
#   ("sgd", own, lr, momentum, weight_decay, nesterov, steps, velocities),
#   ("adam", own, lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, steps, first, second),
#   ("rmsprop", own, lr, alpha, eps, weight_decay, momentum, steps, second, first, velocities) or
#   ("lion", own, lr, beta1, beta2, weight_decay, steps, first).
# own is None, or has a pair for each parameter, its own rate and weight decay, each None where the rule's
# holds. steps is an int64 array that counts the updates of each parameter, what follows are tuples of one
# array of the compute type for each, contiguous, or None where the rule has no such state. Updates change all
# in place.
Rule = tuple[Any, ...]
STATE = {
    "sgd": ("velocity",),
    "adam": ("first_moment", "second_moment"),
    "rmsprop": ("second_moment", "first_moment", "velocity"),
    "lion": ("first_moment",),
}


class Group(NamedTuple):
    """Parameters with settings of their own, None where those of the optimiser hold."""

    indices: tuple[int, ...] | None
    names: tuple[str, ...] | None
    lr: float | None
    weight_decay: float | None


def groups(rules: Rules, value: object) -> tuple[Group, ...]:
    """Return the groups of parameters that an optimiser is given, of which each is a dict."""
    if not isinstance(value, (list, tuple)):
        raise rules.type_error("groups", f"has type {type(value).__name__}", "a list of dicts")
    return tuple(_group(rules, f"groups[{i}]", entry) for i, entry in enumerate(value))


def _group(rules: Rules, name: str, given: object) -> Group:
    if isinstance(given, Group):  # as the attribute has it
        given = {key: entry for key, entry in given._asdict().items() if entry is not None}
    if not isinstance(given, Mapping):
        raise rules.type_error(name, f"has type {type(given).__name__}", "a dict")
    entries = sorted(given, key=str)
    chosen, settings = {"indices", "names"} & set(given), {"lr", "weight_decay"} & set(given)
    if len(chosen) != 1 or not settings or len(entries) > 1 + len(settings):
        needed = "'indices' or 'names', and 'lr', 'weight_decay' or both"
        raise rules.value_error(name, f"has the entries {entries}", needed)
    numbers = {key: rules.number(f"{name}[{key!r}]", given[key], minimum=0) for key in settings}
    key = chosen.pop()
    listed = given[key]
    if not isinstance(listed, (list, tuple)):
        raise rules.type_error(f"{name}[{key!r}]", f"has type {type(listed).__name__}", "a list")
    if not listed:
        raise rules.value_error(f"{name}[{key!r}]", "is empty", "at least one parameter")
    indices = names = None
    if key == "indices":
        indices = tuple(rules.integer(f"{name}['indices'][{k}]", n, minimum=0) for k, n in enumerate(listed))
    else:
        for k, text in enumerate(listed):
            if not isinstance(text, str):
                raise rules.type_error(f"{name}['names'][{k}]", f"has type {type(text).__name__}", "a str")
        names = tuple(str(text) for text in listed)
    return Group(indices, names, numbers.get("lr"), numbers.get("weight_decay"))


def own_settings(
    rules: Rules, given: tuple[Group, ...], count: int, names: Sequence[str] | None
) -> tuple[tuple[float | None, float | None], ...] | None:
    """Return rate and weight decay of each of `count` parameters, as a rule has them."""
    if not given:
        return None
    owner: dict[int, int] = {}
    for g, group in enumerate(given):
        for member in _members(rules, f"groups[{g}]", group, count, names):
            if owner.setdefault(member, g) != g:
                found = f"has parameter {member}, as groups[{owner[member]}] has"
                raise rules.value_error(f"groups[{g}]", found, "parameters of no other group")
    nobody = Group(None, None, None, None)
    groups_of = [given[owner[i]] if i in owner else nobody for i in range(count)]
    return tuple((group.lr, group.weight_decay) for group in groups_of)


def _members(rules: Rules, name: str, group: Group, count: int, names: Sequence[str] | None) -> set[int]:
    if group.indices is not None:
        if max(group.indices) >= count:
            found = f"has {max(group.indices)}"
            raise rules.value_error(
                f"{name}['indices']", found, f"less than {count}, the number of parameters"
            )
        return set(group.indices)
    assert group.names is not None
    if names is None:
        needed = "parameters with names, as a network has them; else 'indices'"
        raise rules.value_error(name, "has 'names'", needed)
    found_all: set[int] = set()
    for text in group.names:
        found_here = {i for i, known in enumerate(names) if text in (known, known.rpartition(".")[0])}
        if not found_here:
            raise rules.value_error(f"{name}['names']", f"has {text!r}", f"names of {', '.join(names)}")
        found_all |= found_here
    return found_all


def optimizer_update(
    _: Rules, parameters: object, gradients: object, rule: Rule
) -> tuple[tuple[Array, ...], tuple[Array | None, ...], Rule]:
    """Return the canonical arguments of `optimizer_update`; gradients may be None."""
    rules = Rules("update")
    arrays = parameter_arrays(rules, parameters)
    listed = sequence(rules, "gradients", gradients)
    if len(listed) != len(arrays):
        raise rules.value_error(
            "gradients", f"has {len(listed)} entries", f"{len(arrays)}, one for each parameter"
        )
    checked = tuple(
        None if value is None else gradient(rules, f"gradients[{i}]", value, arrays[i])
        for i, value in enumerate(listed)
    )
    written = [(f"parameters[{i}]", array) for i, array in enumerate(arrays)]
    read = [
        (f"gradients[{i}]", value)
        for i, (value, array) in enumerate(zip(checked, arrays, strict=True))
        if value is not None and not (value.dtype == array.dtype and is_same(value, array))
    ]
    apart(rules, [*written, *state_arrays(rules, arrays, rule)], read)
    return arrays, checked, rule


def state_arrays(rules: Rules, parameters: Sequence[Array], rule: Rule) -> list[tuple[str, Array]]:
    """Return the arrays of the state with their names; they must be writeable, and fit the parameters."""
    slots = STATE[rule[0]]
    steps, *state = rule[-len(slots) - 1 :]
    named = [("steps", steps)]
    for slot, arrays in zip(slots, state, strict=True):
        for i, (array, parameter) in enumerate(zip(arrays or (), parameters, strict=False)):
            if array.size != parameter.size or array.dtype != state_dtype(parameter):
                found = f"has shape {parameter.shape} and dtype {parameter.dtype}"
                raise rules.value_error(f"parameters[{i}]", found, "those of the first update")
            named.append((f"{slot}[{i}]", array))
    for name, array in named:
        rules.writeable(name, array, "state that can be written")
    return named


def state_dtype(parameter: Array) -> np.dtype[Any]:
    """Return the dtype of a parameter's state, that which it is updated in."""
    return np.dtype(np.float64 if parameter.dtype == np.float64 else np.float32)


def apart(rules: Rules, written: list[tuple[str, Array]], read: list[tuple[str, Array]]) -> None:
    """Raise where an array that is written shares memory with another, written or read."""
    places = [(*extent(array), name, array, True) for name, array in written]
    places += [(*extent(array), name, array, False) for name, array in read]
    near: list[tuple[int, int, str, Array, bool]] = []
    for place in sorted(places, key=lambda place: place[0]):
        begin, _, name, array, is_written = place
        near = [other for other in near if other[1] > begin]
        for _, _, other_name, other, other_is_written in near:
            if (is_written or other_is_written) and shares_memory(array, other):
                first, second = (name, other_name) if is_written < other_is_written else (other_name, name)
                raise rules.value_error(first, f"overlaps {second}", "memory apart from it")
        near.append(place)


def extent(array: Array) -> tuple[int, int]:
    """Return where the memory of an array begins and ends."""
    begin = end = array.__array_interface__["data"][0]
    if array.size == 0:
        return begin, end
    for stride, size in zip(array.strides, array.shape, strict=True):
        begin += min(stride * (size - 1), 0)
        end += max(stride * (size - 1), 0)
    return begin, end + array.itemsize


def taken_state(rules: Rules, state: Mapping[str, ArrayLike], expected: dict[str, Array]) -> dict[str, Array]:
    """Return the entries that an optimiser takes over, which are like those that it has; none where the other
    had not made an update.
    """
    if not isinstance(state, Mapping):
        raise rules.type_error("state", f"has type {type(state).__name__}", "a dict, as state_dict returns")
    if set(state) not in ({"steps"}, set(expected)):
        raise rules.value_error("state", f"has the entries {sorted(state, key=str)}", f"{sorted(expected)}")
    steps = rules.ndarray("steps", state["steps"])
    if steps.dtype.kind not in "iu":
        raise rules.type_error("steps", f"has dtype {steps.dtype}", "integers")
    count = len(expected["steps"])
    steps = steps.reshape(1) if steps.ndim == 0 else steps
    needs_counts = len(state) > 1 and count > 0
    if steps.shape not in ((1,), (count,)) and (steps.shape != (0,) or needs_counts):
        raise rules.value_error("steps", f"has shape {steps.shape}", f"({count},), one for each parameter")
    if steps.size and not 0 <= int(steps.min()) <= int(steps.max()) <= MOST_STEPS:
        raise rules.value_error(
            "steps", f"has counts from {steps.min()} to {steps.max()}", f"0 to {MOST_STEPS}"
        )
    if set(state) < set(expected) and steps.any():
        raise rules.value_error("state", "has the entries ['steps']", f"{sorted(expected)}")
    given = {"steps": steps} if steps.size else {}
    for name, value in state.items():
        if name == "steps":
            continue
        array = rules.array(name, value)
        if array.shape != expected[name].shape:
            raise rules.value_error(name, f"has shape {array.shape}", f"{expected[name].shape}")
        with np.errstate(over="ignore"):
            given[name] = array.astype(expected[name].dtype, copy=False)
    return given


def lent_state(
    rules: Rules, state: object, slots: Sequence[str], parameters: Sequence[Array]
) -> tuple[Array, dict[str, tuple[Array, ...]]]:
    """Return the counts and the arrays of a state that is updated where it lies."""
    if not isinstance(state, Mapping):
        raise rules.type_error("state", f"has type {type(state).__name__}", "a dict, as new_state returns")
    names = {slot: [f"{slot}.{i}" for i in range(len(parameters))] for slot in slots}
    expected = {"steps", *(name for of_slot in names.values() for name in of_slot)}
    if set(state) != expected:
        found = f"has the entries {sorted(state, key=str)}"
        raise rules.value_error("state", found, f"{sorted(expected)}")

    def entry(key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        name, array = f"state[{key!r}]", state[key]
        if type(array) is not np.ndarray or array.dtype != dtype:
            found = (
                f"dtype {array.dtype}" if isinstance(array, np.ndarray) else f"type {type(array).__name__}"
            )
            raise rules.type_error(name, f"has {found}", f"a NumPy array of dtype {dtype}")
        if array.shape != shape:
            raise rules.value_error(name, f"has shape {array.shape}", f"{shape}")
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise rules.value_error(name, "has gaps or lies askew", "aligned and C-contiguous memory")
        rules.writeable(name, array, "state that can be written")
        return array

    steps = entry("steps", (len(parameters),), np.dtype(np.int64))
    if steps.size and not 0 <= int(steps.min()) <= int(steps.max()) <= MOST_STEPS:
        found = f"has counts from {steps.min()} to {steps.max()}"
        raise rules.value_error("state['steps']", found, f"0 to {MOST_STEPS}")
    return steps, {
        slot: tuple(
            entry(name, parameter.shape, state_dtype(parameter))
            for name, parameter in zip(of_slot, parameters, strict=True)
        )
        for slot, of_slot in names.items()
    }


def clip_grad_norm(
    rules: Rules, gradients: object, max_norm: object
) -> tuple[tuple[Array | None, ...], float]:
    """Return the canonical arguments of `clip_grad_norm`: gradients may be None, max_norm infinite."""
    listed = sequence(rules, "gradients", gradients)
    arrays = tuple(
        None if value is None else updated_array(rules, f"gradients[{i}]", value)
        for i, value in enumerate(listed)
    )
    apart(rules, [(f"gradients[{i}]", array) for i, array in enumerate(arrays) if array is not None], [])
    return arrays, largest_norm(rules, max_norm)


def largest_norm(rules: Rules, max_norm: object) -> float:
    """Return a number that is not negative and may be infinite."""
    unlimited = isinstance(max_norm, (float, np.floating)) and max_norm == math.inf
    return math.inf if unlimited else rules.number("max_norm", max_norm, minimum=0)


def parameter_arrays(rules: Rules, parameters: object, name: str = "parameters") -> tuple[Array, ...]:
    """Return the parameters, which are updated in place: ndarrays of a float type that can be written."""
    listed = sequence(rules, name, parameters)
    return tuple(updated_array(rules, f"{name}[{i}]", value) for i, value in enumerate(listed))


def float_arrays(rules: Rules, parameters: object) -> tuple[Array, ...]:
    """Return the parameters, to which the state of an optimiser belongs: ndarrays of a float type."""
    listed = sequence(rules, "parameters", parameters)
    return tuple(float_array(rules, f"parameters[{i}]", value) for i, value in enumerate(listed))


def updated_array(rules: Rules, name: str, value: object) -> Array:
    """Return an ndarray of a float type that can be updated where it lies."""
    array = float_array(rules, name, value)
    rules.writeable(name, array)
    if may_overlap_itself(array):
        raise rules.value_error(name, "has elements that share memory", "an element of memory for each")
    return array


def float_array(rules: Rules, name: str, value: object) -> Array:
    """Return an ndarray of a float type, and nothing that would have to be converted."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        needed = "a NumPy array, which is updated in place"
        raise rules.type_error(name, f"has type {type(value).__name__}", needed)
    if not is_float(value.dtype):
        raise rules.type_error(name, f"has dtype {value.dtype}", "float32, float64, float16 or bfloat16")
    if not value.dtype.isnative:
        raise rules.type_error(name, f"has dtype {value.dtype}", "native byte order")
    return rules.countable(name, np.ndarray.view(value, np.ndarray))


def gradient(rules: Rules, name: str, value: object, parameter: Array) -> Array:
    """Return the gradient of a parameter: of its shape and dtype, or float32 for a half type."""
    array = rules.array(name, value, like=parameter)
    if array.dtype != parameter.dtype and not (array.dtype == np.float32 and is_half(parameter.dtype)):
        needed = (
            f"{parameter.dtype} or float32"
            if is_half(parameter.dtype)
            else f"{parameter.dtype} as the parameter"
        )
        raise rules.type_error(name, f"has dtype {array.dtype}", needed)
    if array.shape != parameter.shape:
        raise rules.value_error(name, f"has shape {array.shape}", f"{parameter.shape} as the parameter")
    return array


def sequence(rules: Rules, name: str, value: object) -> tuple[object, ...]:
    """Return the entries of a list or tuple."""
    if not isinstance(value, (list, tuple)):
        raise rules.type_error(name, f"has type {type(value).__name__}", "a list or a tuple of arrays")
    return tuple(value)
