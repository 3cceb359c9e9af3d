"""The argument rules of the losses of each element."""

from __future__ import annotations

from typing import get_args

import numpy as np

from .._typing import Array, BatchReduction, Reduction
from .activations import factor
from .class_losses import reduction_of
from .rules import Rules, shown

BATCH_REDUCTIONS: tuple[str, ...] = get_args(BatchReduction)


def mse_loss(
    rules: Rules, prediction: object, target: object, reduction: object, return_grad: object
) -> tuple[Array, Array, Reduction, bool]:
    """Return the canonical arguments of `mse_loss`."""
    array = rules.array("prediction", prediction)
    goal = rules.second("target", target, array, "prediction")
    return array, goal, reduction_of(rules, reduction), rules.flag("return_grad", return_grad)


def mse_loss_backward(
    rules: Rules, dloss: object, prediction: object, target: object, reduction: object
) -> tuple[Array | float, Array, Array, Reduction]:
    """Return the canonical arguments of `mse_loss_backward`."""
    array = rules.array("prediction", prediction)
    goal = rules.second("target", target, array, "prediction")
    reduced = reduction_of(rules, reduction)
    return loss_gradient(rules, dloss, array, "prediction", reduced), array, goal, reduced


l1_loss, l1_loss_backward = mse_loss, mse_loss_backward


def huber_loss(
    rules: Rules, prediction: object, target: object, delta: object, reduction: object, return_grad: object
) -> tuple[Array, Array, float, Reduction, bool]:
    """Return the canonical arguments of `huber_loss`."""
    array, goal, reduced, wants = mse_loss(rules, prediction, target, reduction, return_grad)
    return array, goal, limit(rules, "delta", delta, array), reduced, wants


def huber_loss_backward(
    rules: Rules, dloss: object, prediction: object, target: object, delta: object, reduction: object
) -> tuple[Array | float, Array, Array, float, Reduction]:
    """Return the canonical arguments of `huber_loss_backward`."""
    gradient, array, goal, reduced = mse_loss_backward(rules, dloss, prediction, target, reduction)
    return gradient, array, goal, limit(rules, "delta", delta, array), reduced


def smooth_l1_loss(
    rules: Rules, prediction: object, target: object, beta: object, reduction: object, return_grad: object
) -> tuple[Array, Array, float, Reduction, bool]:
    """Return the canonical arguments of `smooth_l1_loss`."""
    array, goal, reduced, wants = mse_loss(rules, prediction, target, reduction, return_grad)
    return array, goal, rules.number("beta", beta, minimum=0, like=array), reduced, wants


def smooth_l1_loss_backward(
    rules: Rules, dloss: object, prediction: object, target: object, beta: object, reduction: object
) -> tuple[Array | float, Array, Array, float, Reduction]:
    """Return the canonical arguments of `smooth_l1_loss_backward`."""
    gradient, array, goal, reduced = mse_loss_backward(rules, dloss, prediction, target, reduction)
    return gradient, array, goal, rules.number("beta", beta, minimum=0, like=array), reduced


def limit(rules: Rules, name: str, value: object, x: Array) -> float:
    """Return a number of more than 0 in the type that x is computed in."""
    number = rules.number(name, value, minimum=0, like=x)
    if (number if x.dtype == np.float64 else np.float32(number)) == 0:
        raise rules.value_error(name, f"is {shown(value)}", "a number of more than 0")
    return number


def bce_with_logits(
    rules: Rules,
    logits: object,
    target: object,
    weight: object,
    pos_weight: object,
    reduction: object,
    return_grad: object,
) -> tuple[Array, Array, Array | None, Array | None, Reduction, bool]:
    """Return the canonical arguments of `bce_with_logits`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    weights = loss_weights(rules, array, weight, pos_weight)
    return array, labels, *weights, reduction_of(rules, reduction), rules.flag("return_grad", return_grad)


def bce_with_logits_backward(
    rules: Rules,
    dloss: object,
    logits: object,
    target: object,
    weight: object,
    pos_weight: object,
    reduction: object,
) -> tuple[Array | float, Array, Array, Array | None, Array | None, Reduction]:
    """Return the canonical arguments of `bce_with_logits_backward`."""
    array = rules.array("logits", logits)
    labels = binary_target(rules, target, array)
    weights = loss_weights(rules, array, weight, pos_weight)
    reduced = reduction_of(rules, reduction)
    return loss_gradient(rules, dloss, array, "logits", reduced), array, labels, *weights, reduced


def kl_div(
    rules: Rules,
    log_probabilities: object,
    target: object,
    reduction: object,
    log_target: object,
    return_grad: object,
) -> tuple[Array, Array, str, bool, bool]:
    """Return the canonical arguments of `kl_div`."""
    array = rules.array("log_probabilities", log_probabilities)
    goal = rules.second("target", target, array, "log_probabilities")
    reduced, logs = (
        rules.choice("reduction", reduction, BATCH_REDUCTIONS),
        rules.flag("log_target", log_target),
    )
    return array, goal, reduced, logs, rules.flag("return_grad", return_grad)


def kl_div_backward(
    rules: Rules,
    dloss: object,
    log_probabilities: object,
    target: object,
    reduction: object,
    log_target: object,
) -> tuple[Array | float, Array, Array, str, bool]:
    """Return the canonical arguments of `kl_div_backward`."""
    name = "log_probabilities"
    array = rules.array(name, log_probabilities)
    goal = rules.second("target", target, array, name)
    reduced = rules.choice("reduction", reduction, BATCH_REDUCTIONS)
    logs = rules.flag("log_target", log_target)
    return loss_gradient(rules, dloss, array, name, reduced), array, goal, reduced, logs


def loss_weights(
    rules: Rules, logits: Array, weight: object, pos_weight: object
) -> tuple[Array | None, Array | None]:
    """Return the weights of the losses and of the targets 1, in the type that logits are computed in."""
    return (
        None if weight is None else factor(rules, weight, logits, "weight", "logits"),
        None if pos_weight is None else factor(rules, pos_weight, logits, "pos_weight", "logits"),
    )


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
    return rules.second("target", value, logits, "logits")


def class_share(rules: Rules, value: object) -> float | None:
    """Return alpha: None where it is None or negative, else a number of at most 1."""
    if value is None:
        return None
    share = rules.number("alpha", value)
    if share > 1:
        raise rules.value_error("alpha", f"is {shown(value)}", "at most 1")
    return share if share >= 0 else None


def loss_gradient(rules: Rules, value: object, x: Array, of: str, reduction: str) -> Array | float:
    """Return the gradient of the loss: an array like x without a reduction, else a float."""
    if reduction == "none":
        return rules.gradient("dloss", value, x, of)
    return float(rules.gradient("dloss", value, np.empty((), x.dtype), "the loss"))
