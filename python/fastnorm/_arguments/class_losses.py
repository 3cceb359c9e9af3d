"""The argument rules of the losses over classes."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np

from .._typing import Array, Reduction
from .linear import layer, result_like
from .rules import Axes, Rules, shown

REDUCTIONS: tuple[str, ...] = get_args(Reduction)
Coefficients = tuple[float, ...]


def cross_entropy(
    rules: Rules,
    logits: object,
    target: object,
    weight: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
    axis: object,
    return_grad: object,
) -> tuple[Array, Array, Array | None, float, int, Reduction, int, bool]:
    """Return the canonical arguments of `cross_entropy`."""
    logits, one_axis = classes(rules, logits, axis)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, one_axis, ignored)
    weight, _ = rules.parameters(logits, Axes((one_axis,)), weight, None, "logits")
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    return logits, target, weight, share, ignored, reduced, one_axis, rules.flag("return_grad", return_grad)


def cross_entropy_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    weight: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
    axis: object,
) -> tuple[Array | float, Array, Array, Array | None, float, int, Reduction, int]:
    """Return the canonical arguments of `cross_entropy_backward`."""
    logits, one_axis = classes(rules, logits, axis)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, one_axis, ignored)
    weight, _ = rules.parameters(logits, Axes((one_axis,)), weight, None, "logits")
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    return (
        loss_gradient(rules, dloss, logits, one_axis, reduced),
        logits,
        target,
        weight,
        share,
        ignored,
        reduced,
        one_axis,
    )


def focal_loss(
    rules: Rules,
    logits: object,
    target: object,
    gamma: object,
    reduction: object,
    axis: object,
    return_grad: object,
) -> tuple[Array, Array, float, Reduction, int, bool]:
    """Return the canonical arguments of `focal_loss`."""
    logits, one_axis = classes(rules, logits, axis)
    target = class_target(rules, target, logits, one_axis, None, probabilities=False)
    power = rules.number("gamma", gamma, minimum=0, like=logits)
    reduced = reduction_of(rules, reduction)
    return logits, target, power, reduced, one_axis, rules.flag("return_grad", return_grad)


def focal_loss_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    gamma: object,
    reduction: object,
    axis: object,
) -> tuple[Array | float, Array, Array, float, Reduction, int]:
    """Return the canonical arguments of `focal_loss_backward`."""
    logits, one_axis = classes(rules, logits, axis)
    target = class_target(rules, target, logits, one_axis, None, probabilities=False)
    power = rules.number("gamma", gamma, minimum=0, like=logits)
    reduced = reduction_of(rules, reduction)
    return loss_gradient(rules, dloss, logits, one_axis, reduced), logits, target, power, reduced, one_axis


def nll_loss(
    rules: Rules,
    log_probabilities: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    axis: object,
    return_grad: object,
) -> tuple[Array, Array, Array | None, int, Reduction, int, bool]:
    """Return the canonical arguments of `nll_loss`."""
    x, labels, weight, ignored, reduced, one_axis = labelled(
        rules, log_probabilities, target, weight, ignore_index, reduction, axis
    )
    return x, labels, weight, ignored, reduced, one_axis, rules.flag("return_grad", return_grad)


def nll_loss_backward(
    rules: Rules,
    dloss: object,
    log_probabilities: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    axis: object,
) -> tuple[Array | float, Array, Array, Array | None, int, Reduction, int]:
    """Return the canonical arguments of `nll_loss_backward`."""
    x, labels, weight, ignored, reduced, one_axis = labelled(
        rules, log_probabilities, target, weight, ignore_index, reduction, axis
    )
    slope = loss_gradient(rules, dloss, x, one_axis, reduced, of="log_probabilities")
    return slope, x, labels, weight, ignored, reduced, one_axis


def labelled(
    rules: Rules,
    x: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    axis: object,
) -> tuple[Array, Array, Array | None, int, Reduction, int]:
    """Return log probabilities, their classes, and what `nll_loss` and its backward share besides."""
    name = "log_probabilities"
    x, one_axis = classes(rules, x, axis, name)
    ignored = ignored_class(rules, ignore_index)
    labels = class_target(rules, target, x, one_axis, ignored, probabilities=False, of=name)
    weight, _ = rules.parameters(x, Axes((one_axis,)), weight, None, name)
    return x, labels, weight, ignored, reduction_of(rules, reduction), one_axis


def linear_cross_entropy(
    rules: Rules,
    x: object,
    weight: object,
    target: object,
    bias: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
    return_grad: object,
) -> tuple[Array, Array, Array, Array | None, float, int, Reduction, bool]:
    """Return the canonical arguments of `linear_cross_entropy`."""
    x, weight, bias, logits = classifier(rules, x, weight, bias)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, x.ndim - 1, ignored, probabilities=False)
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    return x, weight, target, bias, share, ignored, reduced, rules.flag("return_grad", return_grad)


def linear_cross_entropy_backward(
    rules: Rules,
    dloss: object,
    x: object,
    weight: object,
    target: object,
    bias: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
) -> tuple[Array | float, Array, Array, Array, Array | None, float, int, Reduction]:
    """Return the canonical arguments of `linear_cross_entropy_backward`."""
    x, weight, bias, logits = classifier(rules, x, weight, bias)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, x.ndim - 1, ignored, probabilities=False)
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    dloss = loss_gradient(rules, dloss, logits, x.ndim - 1, reduced, of="x")
    return dloss, x, weight, target, bias, share, ignored, reduced


def poly_loss(
    rules: Rules,
    logits: object,
    target: object,
    epsilon: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
    axis: object,
    return_grad: object,
) -> tuple[Array, Array, Coefficients, float, int, Reduction, int, bool]:
    """Return the canonical arguments of `poly_loss`."""
    logits, one_axis = classes(rules, logits, axis)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, one_axis, ignored)
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    powers = coefficients(rules, epsilon, logits)
    return logits, target, powers, share, ignored, reduced, one_axis, rules.flag("return_grad", return_grad)


def poly_loss_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    epsilon: object,
    label_smoothing: object,
    ignore_index: object,
    reduction: object,
    axis: object,
) -> tuple[Array | float, Array, Array, Coefficients, float, int, Reduction, int]:
    """Return the canonical arguments of `poly_loss_backward`."""
    logits, one_axis = classes(rules, logits, axis)
    ignored = ignored_class(rules, ignore_index)
    target = class_target(rules, target, logits, one_axis, ignored)
    share = smoothing(rules, label_smoothing)
    reduced = reduction_of(rules, reduction)
    powers = coefficients(rules, epsilon, logits)
    return (
        loss_gradient(rules, dloss, logits, one_axis, reduced),
        logits,
        target,
        powers,
        share,
        ignored,
        reduced,
        one_axis,
    )


def classes(rules: Rules, logits: object, axis: object, name: str = "logits") -> tuple[Array, int]:
    """Return the logits and their class axis, which has at least one class."""
    array = rules.array(name, logits)
    one_axis = rules.axis(axis, array, name)
    if array.shape[one_axis] == 0:
        raise rules.value_error(name, f"has shape {array.shape}", f"at least one class along axis {one_axis}")
    return array, one_axis


def classifier(
    rules: Rules, x: object, weight: object, bias: object
) -> tuple[Array, Array, Array | None, Array]:
    """Return x, the layer of at least one class, and an array like its outputs, which takes no memory."""
    x, weight, bias = layer(rules, x, weight, bias)
    if weight.shape[1] == 0:
        raise rules.value_error("weight", f"has shape {weight.shape}", "at least one class along axis 1")
    return x, weight, bias, result_like(x, weight)


def class_target(
    rules: Rules,
    target: object,
    logits: Array,
    axis: int,
    ignored: int | None,
    *,
    probabilities: bool = True,
    of: str = "logits",
) -> Array:
    """Return class indices as contiguous int64, or probabilities like the logits; `of` is their name."""
    array = rules.ndarray("target", target)
    if array.dtype.kind in "iu":
        shape = tuple(size for number, size in enumerate(logits.shape) if number != axis)
        if array.shape != shape:
            needed = f"{shape}, the shape {logits.shape} of {of} without axis {axis}"
            raise rules.value_error("target", f"has shape {array.shape}", needed)
        count = logits.shape[axis]
        bad = (array < 0) | (array >= count)
        if ignored is not None:
            bad &= array != ignored
        if bad.any():
            also = "" if ignored is None else f", or ignore_index {ignored}"
            raise rules.value_error("target", f"has the class {array[bad][0]}", f"0 to {count - 1}{also}")
        return np.ascontiguousarray(array, np.int64).reshape(shape)
    if not probabilities:
        raise rules.type_error("target", f"has dtype {array.dtype}", "integer classes")
    if array.dtype.kind not in "fV" or array.dtype.kind == "b":
        raise rules.type_error(
            "target", f"has dtype {array.dtype}", f"integer classes or {logits.dtype} probabilities"
        )
    array = rules.operand("target", target, logits, "logits, or integer classes")
    if array.shape != logits.shape:
        raise rules.value_error(
            "target", f"has shape {array.shape}", f"{logits.shape} as logits for probabilities"
        )
    return array


def smoothing(rules: Rules, value: object) -> float:
    """Return a share in [0, 1]."""
    share = rules.number("label_smoothing", value, minimum=0)
    if share > 1:
        raise rules.value_error("label_smoothing", f"is {shown(value)}", "at most 1")
    return share


def ignored_class(rules: Rules, value: object) -> int:
    """Return an int that fits int64."""
    return rules.integer("ignore_index", value, -(2**63))


def reduction_of(rules: Rules, value: object) -> Reduction:
    """Return the name of a reduction."""
    return cast(Reduction, rules.choice("reduction", value, REDUCTIONS))


def coefficients(rules: Rules, value: object, logits: Array) -> Coefficients:
    """Return the coefficients of poly_loss: a number, or a sequence of them."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(rules.number("epsilon", number, like=logits) for number in value)
    return (rules.number("epsilon", value, like=logits),)


def loss_gradient(
    rules: Rules, value: object, logits: Array, axis: int, reduction: Reduction, of: str = "logits"
) -> Array | float:
    """Return the gradient of the loss: an array for each row without a reduction, else a float."""
    array = rules.exactly("dloss", value, logits, of)
    shape: tuple[int, ...] = ()
    if reduction == "none":
        shape = tuple(size for number, size in enumerate(logits.shape) if number != axis)
    if array.shape != shape:
        raise rules.value_error("dloss", f"has shape {array.shape}", f"{shape} as the loss")
    return array if reduction == "none" else float(array)
