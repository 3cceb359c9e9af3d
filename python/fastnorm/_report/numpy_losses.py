"""The losses as NumPy users write them, with their gradients: part of `numpy_formulas`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LossAndGradient = Callable[..., tuple[Array, Array]]  # of each row or element


def _cross_entropy(logits: Array, target: Array) -> tuple[Array, Array]:
    log_p, p = _log_softmax(logits)
    surprise = -np.take_along_axis(log_p, target[..., None], -1)
    return surprise[..., 0], p - _one_hot(p, target)


def _focal_loss(logits: Array, target: Array, gamma: float = 2.0) -> tuple[Array, Array]:
    log_p, p = _log_softmax(logits)
    surprise, right = (
        -np.take_along_axis(log_p, target[..., None], -1),
        np.take_along_axis(p, target[..., None], -1),
    )
    slope = (1 - right) ** gamma + gamma * (1 - right) ** (gamma - 1) * right * surprise
    return ((1 - right) ** gamma * surprise)[..., 0], (p - _one_hot(p, target)) * slope


def _poly_loss(logits: Array, target: Array, epsilon: float = 1.0) -> tuple[Array, Array]:
    log_p, p = _log_softmax(logits)
    surprise, right = (
        -np.take_along_axis(log_p, target[..., None], -1),
        np.take_along_axis(p, target[..., None], -1),
    )
    return (surprise + epsilon * (1 - right))[..., 0], (p - _one_hot(p, target)) * (1 + epsilon * right)


def _mse_loss(prediction: Array, target: Array) -> tuple[Array, Array]:
    difference = prediction - target
    return difference * difference, 2 * difference


def _sigmoid_focal_loss(logits: Array, target: Array) -> tuple[Array, Array]:
    return _poly_focal_loss(logits, target, epsilon=0.0)


def _poly_focal_loss(
    logits: Array, target: Array, epsilon: float = 1.0, alpha: float = 0.25, gamma: float = 2.0
) -> tuple[Array, Array]:
    sign = 2 * target - 1
    right = 1 / (1 + np.exp(-sign * logits))
    surprise, wrong = np.log1p(np.exp(-sign * logits)), 1 - right
    weight = (alpha * target + (1 - alpha) * (1 - target)) * wrong**gamma
    slope = gamma * right * surprise + wrong + epsilon * (gamma + 1) * wrong * right
    return weight * (surprise + epsilon * wrong), -weight * sign * slope


def _log_softmax(logits: Array) -> tuple[Array, Array]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=-1, keepdims=True)
    return shifted - np.log(total), e / total


def _one_hot(p: Array, target: Array) -> Array:
    result = np.zeros_like(p)
    np.put_along_axis(result, target[..., None], 1, -1)
    return result


def _forward(loss: LossAndGradient, default: str) -> Callable[..., Any]:
    def function(x: Array, target: Array, *, reduction: str = default, return_grad: bool = False) -> Any:
        losses, gradient = loss(x, target)
        if reduction == "mean":
            gradient /= losses.size
        value = losses if reduction == "none" else getattr(np, reduction)(losses)
        return (value, gradient) if return_grad else value

    return function


def _backward(loss: LossAndGradient, default: str) -> Callable[..., Any]:
    def function(dloss: Array, x: Array, target: Array, *, reduction: str = default) -> Array:
        losses, gradient = loss(x, target)
        factor = dloss / losses.dtype.type(losses.size if reduction == "mean" else 1)
        dx: Array = gradient * factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim))
        return dx

    return function


LOSSES: dict[str, LossAndGradient] = {
    "cross_entropy": _cross_entropy,
    "focal_loss": _focal_loss,
    "poly_loss": _poly_loss,
    "mse_loss": _mse_loss,
    "sigmoid_focal_loss": _sigmoid_focal_loss,
    "poly_focal_loss": _poly_focal_loss,
}
FORMULAS: dict[str, Callable[..., Any]] = {}
for _name, _loss in LOSSES.items():
    _default = "none" if _name.endswith("focal_loss") and _name != "focal_loss" else "mean"
    FORMULAS[_name], FORMULAS[f"{_name}_backward"] = _forward(_loss, _default), _backward(_loss, _default)
