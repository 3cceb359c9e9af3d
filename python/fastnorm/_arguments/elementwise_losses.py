"""The argument rules of the losses of each element."""

from __future__ import annotations

import numpy as np

from .._typing import Array, Reduction
from .class_losses import reduction_of
from .rules import Rules, shown


def mse_loss(
    rules: Rules, prediction: object, target: object, reduction: object, return_grad: object
) -> tuple[Array, Array, Reduction, bool]:
    """Return the canonical arguments of `mse_loss`."""
    array = rules.array("prediction", prediction)
    goal = rules.gradient("target", target, array, "prediction")
    return array, goal, reduction_of(rules, reduction), rules.flag("return_grad", return_grad)


def mse_loss_backward(
    rules: Rules, dloss: object, prediction: object, target: object, reduction: object
) -> tuple[Array | float, Array, Array, Reduction]:
    """Return the canonical arguments of `mse_loss_backward`."""
    array = rules.array("prediction", prediction)
    goal = rules.gradient("target", target, array, "prediction")
    reduced = reduction_of(rules, reduction)
    return loss_gradient(rules, dloss, array, "prediction", reduced), array, goal, reduced


def sigmoid_focal_loss(
    rules: Rules,
    logits: object,
    target: object,
    alpha: object,
    gamma: object,
    reduction: object,
    return_grad: object,
) -> tuple[Array, Array, float | None, float, Reduction, bool]:
    """Return the canonical arguments of `sigmoid_focal_loss`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    share, power = class_share(rules, alpha), rules.number("gamma", gamma, minimum=0, like=array)
    return array, labels, share, power, reduction_of(rules, reduction), rules.flag("return_grad", return_grad)


def sigmoid_focal_loss_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    alpha: object,
    gamma: object,
    reduction: object,
) -> tuple[Array | float, Array, Array, float | None, float, Reduction]:
    """Return the canonical arguments of `sigmoid_focal_loss_backward`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    share, power = class_share(rules, alpha), rules.number("gamma", gamma, minimum=0, like=array)
    reduced = reduction_of(rules, reduction)
    return loss_gradient(rules, dloss, array, "logits", reduced), array, labels, share, power, reduced


def poly_focal_loss(
    rules: Rules,
    logits: object,
    target: object,
    epsilon: object,
    alpha: object,
    gamma: object,
    reduction: object,
    return_grad: object,
) -> tuple[Array, Array, float, float | None, float, Reduction, bool]:
    """Return the canonical arguments of `poly_focal_loss`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    coefficient = rules.number("epsilon", epsilon, like=array)
    share, power = class_share(rules, alpha), rules.number("gamma", gamma, minimum=0, like=array)
    reduced = reduction_of(rules, reduction)
    return array, labels, coefficient, share, power, reduced, rules.flag("return_grad", return_grad)


def poly_focal_loss_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    epsilon: object,
    alpha: object,
    gamma: object,
    reduction: object,
) -> tuple[Array | float, Array, Array, float, float | None, float, Reduction]:
    """Return the canonical arguments of `poly_focal_loss_backward`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    coefficient = rules.number("epsilon", epsilon, like=array)
    share, power = class_share(rules, alpha), rules.number("gamma", gamma, minimum=0, like=array)
    reduced = reduction_of(rules, reduction)
    return (
        loss_gradient(rules, dloss, array, "logits", reduced),
        array,
        labels,
        coefficient,
        share,
        power,
        reduced,
    )


def binary_target(rules: Rules, value: object, logits: Array) -> Array:
    """Return the target in the dtype of the logits; bools and integers are classes and have to be 0 or 1."""
    array = rules.ndarray("target", value)
    if array.dtype.kind in "iub":
        if array.shape != logits.shape:
            raise rules.value_error("target", f"has shape {array.shape}", f"{logits.shape} as logits")
        bad = (array != 0) & (array != 1)
        if bad.any():
            raise rules.value_error("target", f"has the class {array[bad][0]}", "0 or 1")
        return array.astype(logits.dtype)
    return rules.gradient("target", value, logits, "logits")


def class_share(rules: Rules, value: object) -> float | None:
    """Return alpha: None where it is None or negative, else a number of at most 1."""
    if value is None:
        return None
    share = rules.number("alpha", value)
    if share > 1:
        raise rules.value_error("alpha", f"is {shown(value)}", "at most 1")
    return share if share >= 0 else None


def loss_gradient(rules: Rules, value: object, x: Array, of: str, reduction: Reduction) -> Array | float:
    """Return the gradient of the loss: an array like x without a reduction, else a float."""
    if reduction == "none":
        return rules.gradient("dloss", value, x, of)
    return float(rules.gradient("dloss", value, np.empty((), x.dtype), "the loss"))
