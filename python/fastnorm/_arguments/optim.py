"""The argument rules of the optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from .rules import Rules, is_float, is_half, may_overlap_itself

# What an optimiser hands to `optimizer_update` and `mlp_train` beside parameters and gradients:
#   ("sgd", lr, momentum, nesterov, weight_decay, velocities), velocities None without momentum;
#   ("adam", lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, steps, first, second), steps an
# int64 array
#   of one element that counts the updates, first and second the moments.
# State is one array of the compute type for each parameter, contiguous; updates change it in place.
Rule = tuple[Any, ...]


def optimizer_update(
    _: Rules, parameters: object, gradients: object, rule: Rule
) -> tuple[tuple[Array, ...], tuple[Array, ...], Rule]:
    """Return the canonical arguments of `optimizer_update`, without the parameters that have no gradient."""
    rules = Rules("update")
    arrays = parameter_arrays(rules, parameters)
    listed = sequence(rules, "gradients", gradients)
    if len(listed) != len(arrays):
        raise rules.value_error(
            "gradients", f"has {len(listed)} entries", f"{len(arrays)}, one for each parameter"
        )
    checked = [
        None if value is None else gradient(rules, f"gradients[{i}]", value, arrays[i])
        for i, value in enumerate(listed)
    ]
    kept = [i for i, value in enumerate(checked) if value is not None]
    if len(kept) < len(arrays):
        rule = tuple(tuple(entry[i] for i in kept) if isinstance(entry, tuple) else entry for entry in rule)
    return tuple(arrays[i] for i in kept), tuple(value for value in checked if value is not None), rule


def parameter_arrays(rules: Rules, parameters: object) -> tuple[Array, ...]:
    """Return the parameters, which are updated in place: ndarrays of a float type that can be written."""
    arrays = []
    for i, value in enumerate(sequence(rules, "parameters", parameters)):
        name = f"parameters[{i}]"
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise rules.type_error(
                name, f"has type {type(value).__name__}", "a NumPy array, which is updated in place"
            )
        if not is_float(value.dtype):
            raise rules.type_error(name, f"has dtype {value.dtype}", "float32, float64, float16 or bfloat16")
        if not value.dtype.isnative:
            raise rules.type_error(name, f"has dtype {value.dtype}", "native byte order")
        if not value.flags.writeable:
            raise rules.value_error(name, "is read-only", "an array that can be written")
        if may_overlap_itself(value):
            raise rules.value_error(name, "has elements that share memory", "an element of memory for each")
        arrays.append(value.view(np.ndarray))
    return tuple(arrays)


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
