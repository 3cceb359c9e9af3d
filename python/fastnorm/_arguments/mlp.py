"""The argument rules of networks of dense layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np

from .._typing import Array, DenseActivation
from .optim import Rule, apart, largest_norm, parameter_arrays, sequence, state_arrays, updated_array
from .rules import Rules, as_index, is_float, shown, without_leading_ones

ACTIVATIONS: tuple[DenseActivation, ...] = get_args(DenseActivation)
# Losses of a training step by the kind of their target: numbers like the outputs, or classes.
SCIKIT_LEARN_LOSSES = ("squared_error", "poisson", "binary_cross_entropy", "binary_poly", "binary_focal")
CLASS_LOSSES = ("cross_entropy", "poly", "focal")
MLP_LOSSES = ("mse", "l1", "huber", "smooth_l1", "bce", *CLASS_LOSSES)
NUMBER_LOSSES = (*SCIKIT_LEARN_LOSSES, "mse", "l1", "huber", "smooth_l1", "bce")
# epsilon of poly, gamma of focal, delta of huber, beta of smooth_l1
OPTIONS = {
    "poly": 1.0,
    "focal": 2.0,
    "binary_poly": 1.0,
    "binary_focal": 2.0,
    "huber": 1.0,
    "smooth_l1": 1.0,
}

Layers = tuple[tuple[Array, ...], tuple[Array | None, ...]]
Batch = tuple[
    Array,
    Array,
    Array | None,
    tuple[Array, ...],
    tuple[Array | None, ...] | None,
    DenseActivation | None,
    DenseActivation | None,
    str,
    float,
]


def mlp_forward(
    rules: Rules, x: object, weights: object, biases: object, activation: object, output_activation: object
) -> tuple[
    Array, tuple[Array, ...], tuple[Array | None, ...] | None, DenseActivation | None, DenseActivation | None
]:
    """Return the canonical arguments of `mlp_forward`."""
    x, weights, biases = network(rules, x, weights, biases)
    return x, weights, biases, *activations(rules, activation, output_activation)


def mlp_backward(
    rules: Rules,
    dy: object,
    x: object,
    weights: object,
    biases: object,
    activation: object,
    output_activation: object,
) -> tuple[
    Array,
    Array,
    tuple[Array, ...],
    tuple[Array | None, ...] | None,
    DenseActivation | None,
    DenseActivation | None,
]:
    """Return the canonical arguments of `mlp_backward`."""
    x, weights, biases = network(rules, x, weights, biases)
    activation, output_activation = activations(rules, activation, output_activation)
    dy = rules.exactly("dy", dy, x)
    shape = (*x.shape[:-1], weights[-1].shape[1])
    if dy.shape != shape:
        raise rules.value_error("dy", f"has shape {dy.shape}", f"{shape} as the output")
    return dy, x, weights, biases, activation, output_activation


def mlp_gradients(
    _: Rules,
    x: object,
    target: object,
    sample_weight: object,
    weights: object,
    biases: object,
    activation: object,
    output_activation: object,
    loss: object,
    penalty: float,
    option: object,
) -> tuple[Any, ...]:
    """Return the canonical arguments of `mlp_gradients`."""
    checked = batch(
        Rules("step"), x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty
    )
    return *checked, loss_option(checked[7], option)


def mlp_train(
    rules: Rules,
    x: object,
    target: object,
    sample_weight: object,
    weights: object,
    biases: object,
    activation: object,
    output_activation: object,
    loss: object,
    penalty: float,
    rule: Rule,
    order: Array | None,
    batch_size: int,
    option: object,
    rates: Array | None,
    max_norm: float | None,
    dropout: tuple[float, int] | None,
) -> tuple[Any, ...]:
    """Return the canonical arguments of `mlp_train`."""
    rules = Rules("step") if rules.op == "mlp_train" else rules
    checked = batch(
        rules, x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty
    )
    if order is not None:
        order = np.require(order, np.int64, ("C", "ALIGNED", "ENSUREARRAY"))
    x, target, sample_weight, weights, biases = checked[:5]
    parameters = [(f"weights[{i}]", weight) for i, weight in enumerate(weights)]
    parameters += [(f"biases[{i}]", bias) for i, bias in enumerate(biases or ()) if bias is not None]
    for name, array in parameters:
        updated_where_it_lies(rules, name, array)
    read = {"x": x, "target": target, "sample_weight": sample_weight, "order": order}
    apart(
        rules,
        [*parameters, *state_arrays(rules, [array for _, array in parameters], rule)],
        [(name, array) for name, array in read.items() if array is not None],
    )
    return *checked, rule, order, batch_size, loss_option(checked[7], option), rates, max_norm, dropout


def dropout_share(rules: Rules, dropout: object) -> float:
    """Return a share of at least 0 and below 1."""
    share = rules.number("dropout", dropout, minimum=0)
    if share >= 1:
        raise rules.value_error("dropout", f"is {shown(dropout)}", "at least 0 and below 1")
    return share


def updated_where_it_lies(rules: Rules, name: str, array: Array) -> None:
    """Raise where a training step cannot update an array where it lies."""
    rules.writeable(name, array)
    if not (array.flags.forc and array.flags.aligned):
        needed = "a contiguous array or the transposed view of one"
        raise rules.value_error(name, "does not lie in memory element by element", needed)


def outside_network(
    rules: Rules, weights: object, biases: object
) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
    """Return the parameters of a network as the arrays that they are, to be updated where they lie."""
    arrays = parameter_arrays(rules, weights, "weights")
    if not arrays:
        raise rules.value_error("weights", "is empty", "at least one layer")
    for name, array in ((f"weights[{i}]", array) for i, array in enumerate(arrays)):
        if array.ndim != 2 or 0 in array.shape:
            raise rules.value_error(name, f"has shape {array.shape}", "two axes, (in, out), of at least 1")
    given = (None,) * len(arrays) if biases is None else sequence(rules, "biases", biases)
    offsets = tuple(
        None if bias is None else updated_array(rules, f"biases[{i}]", bias) for i, bias in enumerate(given)
    )
    named = [(f"weights[{i}]", array) for i, array in enumerate(arrays)]
    named += [(f"biases[{i}]", bias) for i, bias in enumerate(offsets) if bias is not None]
    for name, array in named:
        rules.exactly(name, array, arrays[0], of="weights[0]")
        updated_where_it_lies(rules, name, array)
    network(rules, np.empty((0, arrays[0].shape[0]), arrays[0].dtype), arrays, offsets)
    for i, (weight, bias) in enumerate(zip(arrays, offsets, strict=True)):
        if bias is not None and bias.ndim != 1:
            raise rules.value_error(f"biases[{i}]", f"has shape {bias.shape}", f"({weight.shape[1]},)")
    apart(rules, named, [])
    return arrays, offsets


def stopping(
    rules: Rules, early_stopping: object, validation: object, max_norm: object
) -> tuple[int | None, float | None]:
    """Return patience and the largest norm of gradients, None where there are none."""
    patience = None if early_stopping is None else rules.integer("early_stopping", early_stopping, minimum=1)
    if patience is not None and validation is None:
        raise rules.value_error("early_stopping", f"is {patience}", "validation beside it")
    largest = math.inf if max_norm is None else largest_norm(rules, max_norm)
    return patience, None if largest == math.inf else largest


def schedule(rules: Rules, learning_rate: object) -> Callable[[int], float] | None:
    """Return the function of the step that an argument is."""
    if learning_rate is not None and not callable(learning_rate):
        found = f"has type {type(learning_rate).__name__}"
        raise rules.type_error("learning_rate", found, "a function of the step, or None for the optimiser's")
    return learning_rate


def step_rates(
    rules: Rules, rate: Callable[[int], float] | None, steps: range, parameters: tuple[Array, ...]
) -> Array | None:
    """Return the learning rates of steps."""
    if rate is None:
        return None
    like = parameters[0]
    rates = [rules.number(f"learning_rate({k})", rate(k), minimum=0, like=like) for k in steps]
    return np.array(rates, np.float64)


def row_weights(rules: Rules, sample_weight: object) -> Array | None:
    """Return the weights of rows, which are finite and not negative, as they are given."""
    if sample_weight is None:
        return None
    weights = _not_negative(rules, "sample_weight", sample_weight)
    if weights.size:
        has_share(rules, "sample_weight", weights)
    return weights


def class_weights(
    rules: Rules, class_weight: object, target: Array, outputs: int
) -> Callable[[Array, Array | None], Array | None]:
    """Return the function that multiplies weights of rows, None where all are 1, by their classes' ones."""
    if class_weight is None:
        return lambda target, share: share
    if target.dtype.kind != "i":
        raise rules.value_error("class_weight", "is given", "integer classes as the target")
    if isinstance(class_weight, str):
        rules.choice("class_weight", class_weight, ("balanced",))
        counts = np.bincount(target, minlength=outputs)
        weights = len(target) / (np.count_nonzero(counts) * np.maximum(counts, 1.0))
    elif isinstance(class_weight, Mapping):
        weights = np.ones(outputs)
        for key, value in class_weight.items():
            number = as_index(key)
            if number is None or not 0 <= number < outputs:
                needed = f"0 to {outputs - 1}, the outputs of the network"
                raise rules.value_error("class_weight", f"has the class {shown(key)}", needed)
            weights[number] = rules.number(f"class_weight[{number}]", value, minimum=0)
    else:
        weights = _not_negative(rules, "class_weight", class_weight)
        if weights.ndim == 0:
            found = f"has type {type(class_weight).__name__}"
            raise rules.type_error("class_weight", found, "'balanced', a dict or an array")
        if weights.shape != (outputs,):
            needed = f"({outputs},) as the outputs"
            raise rules.value_error("class_weight", f"has shape {weights.shape}", needed)

    def weigh(target: Array, share: Array | None) -> Array | None:
        with np.errstate(all="ignore"):
            return weights[target] if share is None else share * weights[target]

    return weigh


def has_share(rules: Rules, name: str, weights: Array, rows: str = "the rows") -> None:
    """Raise where weights of rows have no sum to divide by."""
    with np.errstate(all="ignore"):
        total = float(np.sum(weights))
        usable = math.isfinite(total) and total > 0 and math.isfinite(1 / total)
    if not usable:
        raise rules.value_error(name, f"gives {rows} {total} together", "a finite sum above 0")


def _not_negative(rules: Rules, name: str, value: object) -> Array:
    array = rules.ndarray(name, value)
    if array.dtype.kind not in "biu" and not is_float(array.dtype):
        raise rules.type_error(name, f"has dtype {array.dtype}", "numbers")
    values: Array = array.astype(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise rules.value_error(name, f"has {values[place]} at {place}", "finite numbers of at least 0")
    return values


def held_out(
    rules: Rules, validation: object, rows: int, network: tuple[Any, ...], loss: str
) -> tuple[Array, Array] | int | None:
    """Return what is held out for validation: x and target, or how many of the rows."""
    if validation is None:
        return None
    if isinstance(validation, (tuple, list)):
        if len(validation) != 2:
            raise rules.value_error(
                "validation", f"has {len(validation)} entries", "x and target, or a share"
            )
        beside = Rules(f"{rules.op}: validation")
        x, target, *_ = batch(beside, validation[0], validation[1], None, *network, loss, 0.0)  # type: ignore[call-arg]
        finite(beside, "x", x)
        finite(beside, "target", target)
        return x, target
    share = rules.number("validation", validation)
    if not 0 < share < 1:
        raise rules.value_error("validation", f"is {shown(validation)}", "a share above 0 and below 1")
    held = math.ceil(rows * share)
    if held >= rows:
        found = f"is {shown(validation)}, all of {rows} rows"
        raise rules.value_error("validation", found, "a share that leaves a row to learn from")
    return held


def batch(
    rules: Rules,
    x: object,
    target: object,
    sample_weight: object,
    weights: object,
    biases: object,
    activation: object,
    output_activation: object,
    loss: object,
    penalty: float,
) -> Batch:
    """Return what a training step takes: rows, what they should become, the network and the loss."""
    if isinstance(weights, (list, tuple)) and weights and isinstance(weights[0], np.ndarray):
        x = rules.array("x", x, like=weights[0])
        if x.dtype != weights[0].dtype:
            raise rules.type_error("x", f"has dtype {x.dtype}", f"{weights[0].dtype} as the network")
    x, weights, biases = network(rules, x, weights, biases)
    activation, output_activation = activations(rules, activation, output_activation)
    if x.ndim != 2:
        raise rules.value_error("x", f"has shape {x.shape}", "two axes, (rows, features)")
    if x.shape[0] == 0:
        raise rules.value_error("x", "has no rows", "at least one to learn from")
    loss = rules.choice("loss", loss, (*NUMBER_LOSSES, *CLASS_LOSSES))
    outputs = weights[-1].shape[1]
    target = targets(rules, target, x, outputs, loss)
    if sample_weight is not None:
        share = rules.ndarray("sample_weight", sample_weight)
        if share.shape != x.shape[:1]:
            raise rules.value_error(
                "sample_weight", f"has shape {share.shape}", f"{x.shape[:1]} as rows of x"
            )
        sample_weight = np.require(share, np.float64, ("C", "ALIGNED"))
    return x, target, sample_weight, weights, biases, activation, output_activation, loss, penalty


def loss_option(loss: str, option: object) -> float:
    """Return the number that a loss takes, 0.0 where it takes none."""
    return OPTIONS.get(loss, 0.0) if option is None else Rules("step").number("option", option)


def targets(rules: Rules, target: object, x: Array, outputs: int, loss: str) -> Array:
    """Return the targets of a batch: (rows, outputs) of x's dtype, or for losses over classes (rows,) of
    int64.
    """
    rows = x.shape[0]
    classes = loss in CLASS_LOSSES
    array = rules.ndarray("target", target) if classes else None
    if array is not None and array.dtype.kind in "iu":
        if array.shape != (rows,):
            raise rules.value_error(
                "target", f"has shape {array.shape}", f"({rows},), one class for each row of x"
            )
        if array.size and not (int(array.min()) >= 0 and int(array.max()) < outputs):
            found = f"has classes from {array.min()} to {array.max()}"
            raise rules.value_error("target", found, f"0 to {outputs - 1}, the outputs of the network")
        return np.require(array, np.int64, ("C", "ALIGNED"))
    if array is not None and loss == "focal":
        raise rules.type_error("target", f"has dtype {array.dtype}", "integers, the classes")
    values = rules.operand("target", target, x, "x, or integer classes" if classes else "x")
    if values.shape == (rows,) and outputs == 1:
        values = values[:, None]
    if values.shape != (rows, outputs):
        raise rules.value_error("target", f"has shape {values.shape}", f"({rows}, {outputs}) as the outputs")
    return values


def network(
    rules: Rules, x: object, weights: object, biases: object
) -> tuple[Array, tuple[Array, ...], tuple[Array | None, ...] | None]:
    """Return the input and the layers, whose sizes must chain: weights (in, out), biases (out,) or None."""
    x = rules.array("x", x)
    if x.ndim == 0:
        raise rules.value_error("x", "has no axes", "at least one, the features")
    listed = sequence(rules, "weights", weights)
    if not listed:
        raise rules.value_error("weights", "is empty", "at least one layer")
    offsets = (None,) * len(listed) if biases is None else sequence(rules, "biases", biases)
    if len(offsets) != len(listed):
        raise rules.value_error(
            "biases", f"has {len(offsets)} entries", f"{len(listed)}, one (or None) for each layer"
        )
    size = x.shape[-1]
    checked_weights: list[Array] = []
    checked_biases: list[Array | None] = []
    for i, (weight, bias) in enumerate(zip(listed, offsets, strict=True)):
        name = f"weights[{i}]"
        array = rules.parameter(name, weight, x)
        if array.ndim != 2:
            raise rules.value_error(name, f"has shape {array.shape}", "two axes, (in, out)")
        if array.shape[0] != size:
            source = (
                f"x of shape {x.shape}"
                if i == 0
                else f"weights[{i - 1}] of shape {checked_weights[-1].shape}"
            )
            raise rules.value_error(name, f"has shape {array.shape}", f"({size}, out) after {source}")
        size = array.shape[1]
        checked_weights.append(array)
        if bias is None:
            checked_biases.append(None)
            continue
        given = rules.parameter(f"biases[{i}]", bias, x)
        offset = without_leading_ones(given, 1)
        if offset.shape != (size,):
            raise rules.value_error(
                f"biases[{i}]", f"has shape {given.shape}", f"({size},) as the outputs of {name}"
            )
        checked_biases.append(offset)
    return x, tuple(checked_weights), None if biases is None else tuple(checked_biases)


def activations(
    rules: Rules, activation: object, output_activation: object
) -> tuple[DenseActivation | None, DenseActivation | None]:
    """Return the names of the two activations."""
    return tuple(  # type: ignore[return-value]  # a pair
        None if value is None else rules.choice(name, value, ACTIVATIONS)
        for name, value in (("activation", activation), ("output_activation", output_activation))
    )


def float_dtype(rules: Rules, dtype: Any) -> np.dtype[Any]:
    """Return one of the float dtypes; 'bfloat16' imports ml_dtypes."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        from ml_dtypes import bfloat16 as dtype
    needed = "float32, float64, float16 or bfloat16"
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except Exception as error:  # NumPy parses texts and asks objects
        raise rules.type_error("dtype", f"is {shown(dtype)}", needed) from error
    if dtype is None or not is_float(found):
        raise rules.type_error("dtype", "is None" if dtype is None else f"is {found}", needed)
    return found if found.isnative else found.newbyteorder("=")


def finite(rules: Rules, name: str, values: Array) -> None:
    """Raise where data to learn from hold NaN or infinity."""
    if values.dtype.kind in "iu":
        return
    with np.errstate(all="ignore"):  # finite numbers may have no finite sum
        total = np.sum(values, dtype=np.float64)
    if not math.isfinite(float(total)):
        bad = ~np.isfinite(values.astype(np.float64))
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise rules.value_error(name, f"has {values[place]} at {place}", "finite numbers")
