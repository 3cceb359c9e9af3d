"""Each op as NumPy users write it: the float32 speed peer of ``python -m fastnorm`` and of the benchmarks.

The functions of `FORMULAS` take the arguments of the op of their name, over the last axis. They are not the
reference twins, which compute in float64 to be right and would be an unfair peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import numpy_losses

try:
    from scipy.special import erf
except ImportError:  # NumPy has no erf
    erf = None

Array = NDArray[Any]
Pair = tuple[Array, Array]


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Array:
    """Layer norm as a chain of array operations."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    y: Array = (x - mean) / np.sqrt(variance + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, stats: Pair
) -> tuple[Array | None, ...]:
    """Gradients of `layer_norm` from the statistics of the forward."""
    mean, rstd = (values[..., None] for values in stats)
    xhat = (x - mean) * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    dweight = None if weight is None else (dy * xhat).sum(axis=rows)
    dbias = None if bias is None else dy.sum(axis=rows)
    return dx, dweight, dbias


def rms_norm(x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-6) -> Array:
    """Root-mean-square norm as a chain of array operations."""
    y: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def rms_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, stats: Array
) -> tuple[Array | None, ...]:
    """Gradients of `rms_norm` from the statistics of the forward."""
    rstd = stats[..., None]
    xhat = x * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    dweight = None if weight is None else (dy * xhat).sum(axis=rows)
    dbias = None if bias is None else dy.sum(axis=rows)
    return dx, dweight, dbias


def add_layer_norm(
    x: Array,
    residual: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    alpha: float = 1.0,
    eps: float = 1e-5,
) -> Pair:
    """Add, then `layer_norm`."""
    summed = x + alpha * residual if alpha != 1 else x + residual
    return layer_norm(summed, weight, bias, eps=eps), summed


def add_rms_norm(
    x: Array, residual: Array, weight: Array | None = None, *, alpha: float = 1.0, eps: float = 1e-6
) -> Pair:
    """Add, then `rms_norm`."""
    summed = x + alpha * residual if alpha != 1 else x + residual
    return rms_norm(summed, weight, eps=eps), summed


def deep_norm(
    x: Array, residual: Array, weight: Array | None = None, bias: Array | None = None, *, alpha: float
) -> Array:
    """`layer_norm` of a sum."""
    return layer_norm(alpha * residual + x, weight, bias)


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
) -> Array:
    """Batch norm as a chain of array operations."""
    others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
    if running_mean is None or running_var is None or training:
        mean, variance = x.mean(axis=others, keepdims=True), x.var(axis=others, keepdims=True)
        if running_mean is not None and running_var is not None:
            count = x.size // running_mean.size
            running_mean += momentum * (mean.ravel() - running_mean)
            running_var += momentum * (variance.ravel() * count / (count - 1) - running_var)
    else:
        mean, variance = np.expand_dims(running_mean, others), np.expand_dims(running_var, others)
    y: Array = (x - mean) / np.sqrt(variance + eps)
    if weight is not None:
        y = y * np.expand_dims(weight, others)
    if bias is not None:
        y = y + np.expand_dims(bias, others)
    return y


def batch_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    stats: Pair,
    training: bool = False,
    axis: int = 1,
) -> tuple[Array | None, ...]:
    """Gradients of `batch_norm` from the statistics of the forward."""
    others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
    mean, rstd = (
        values.reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)]) for values in stats
    )
    xhat = (x - mean) * rstd
    dweight, dbias = (dy * xhat).sum(axis=others, keepdims=True), dy.sum(axis=others, keepdims=True)
    count = x.size // x.shape[axis]
    dx = dy - dbias / count - xhat * (dweight / count) if training else dy
    dx = dx * (rstd if weight is None else rstd * weight.reshape(rstd.shape))
    return dx, None if weight is None else dweight.ravel(), None if bias is None else dbias.ravel()


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Group norm of channels along axis 1 as a chain of array operations."""
    groups = x.reshape(x.shape[0], num_groups, -1)
    mean, variance = groups.mean(axis=-1, keepdims=True), groups.var(axis=-1, keepdims=True)
    y: Array = ((groups - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    beyond = (-1,) + (1,) * (x.ndim - 2)
    if weight is not None:
        y = y * weight.reshape(beyond)
    if bias is not None:
        y = y + bias.reshape(beyond)
    return y


def group_norm_backward(
    dy: Array,
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array | None, ...]:
    """Gradients of `group_norm` of channels along axis 1."""
    groups = x.reshape(x.shape[0], num_groups, -1)
    rstd = 1 / np.sqrt(groups.var(axis=-1, keepdims=True) + eps)
    xhat = (groups - groups.mean(axis=-1, keepdims=True)) * rstd
    h = dy if weight is None else dy * weight.reshape((-1,) + (1,) * (x.ndim - 2))
    h = h.reshape(groups.shape)
    dx = rstd * (h - h.mean(axis=-1, keepdims=True) - xhat * (h * xhat).mean(axis=-1, keepdims=True))
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    dweight = None if weight is None else (dy * xhat.reshape(x.shape)).sum(axis=others)
    dbias = None if bias is None else dy.sum(axis=others)
    return dx.reshape(x.shape), dweight, dbias


def instance_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Array:
    """Instance norm of channels along axis 1 as a chain of array operations."""
    return group_norm(x, x.shape[1], weight, bias, eps=eps)


def instance_norm_backward(
    dy: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> tuple[Array | None, ...]:
    """Gradients of `instance_norm` of channels along axis 1."""
    return group_norm_backward(dy, x, x.shape[1], weight, bias, eps=eps)


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """Gaussian error linear unit in its three forms; the exact one needs SciPy for erf."""
    if approximate == "none":
        y: Array = 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))
    elif approximate == "tanh":
        y = 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    else:
        y = x / (1.0 + np.exp(-1.702 * x))
    return y


def gelu_backward(dy: Array, x: Array, *, approximate: str = "none") -> Array:
    """Gradient of `gelu`."""
    if approximate == "none":
        density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        derivative = 0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * density
    elif approximate == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        t = np.tanh(scale * (x + 0.044715 * x * x * x))
        derivative = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * scale * (1.0 + 3 * 0.044715 * x * x)
    else:
        s = 1.0 / (1.0 + np.exp(-1.702 * x))
        derivative = s + 1.702 * x * s * (1.0 - s)
    dx: Array = dy * derivative
    return dx


def halves(gate: Array, up: Array | None) -> Pair:
    """Return gate and up, which are the halves of a packed array where there is no up."""
    if up is not None:
        return gate, up
    first, second = np.split(gate, 2, axis=-1)
    return first, second


def like_inputs(dgate: Array, dup: Array, up: Array | None) -> Array | Pair:
    """Return the gradients of a gated unit, packed where its inputs are."""
    return (dgate, dup) if up is not None else np.concatenate([dgate, dup], axis=-1)


def glu(x: Array) -> Array:
    """First half of x times the sigmoid of the second."""
    up, gate = halves(x, None)
    y: Array = up / (1.0 + np.exp(-gate))
    return y


def glu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `glu`."""
    up, gate = halves(x, None)
    s = 1.0 / (1.0 + np.exp(-gate))
    return np.concatenate([dy * s, dy * up * s * (1.0 - s)], axis=-1)


def swiglu(gate: Array, up: Array | None = None) -> Array:
    """Silu of the gate times up."""
    first, second = halves(gate, up)
    y: Array = first / (1.0 + np.exp(-first)) * second
    return y


def swiglu_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `swiglu`."""
    first, second = halves(gate, up)
    s = 1.0 / (1.0 + np.exp(-first))
    return like_inputs(dy * second * (s + first * s * (1.0 - s)), dy * first * s, up)


def geglu(gate: Array, up: Array | None = None, *, approximate: str = "none") -> Array:
    """Gelu of the gate times up."""
    first, second = halves(gate, up)
    return gelu(first, approximate=approximate) * second


def geglu_backward(
    dy: Array, gate: Array, up: Array | None = None, *, approximate: str = "none"
) -> Array | Pair:
    """Gradients of `geglu`."""
    first, second = halves(gate, up)
    dgate = gelu_backward(dy * second, first, approximate=approximate)
    return like_inputs(dgate, dy * gelu(first, approximate=approximate), up)


def reglu(gate: Array, up: Array | None = None) -> Array:
    """Positive part of the gate times up."""
    first, second = halves(gate, up)
    y: Array = np.maximum(first, 0) * second
    return y


def reglu_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `reglu`."""
    first, second = halves(gate, up)
    return like_inputs(dy * second * (first > 0), dy * np.maximum(first, 0), up)


def bilinear(gate: Array, up: Array | None = None) -> Array:
    """Product of gate and up."""
    first, second = halves(gate, up)
    return first * second


def bilinear_backward(dy: Array, gate: Array, up: Array | None = None) -> Array | Pair:
    """Gradients of `bilinear`."""
    first, second = halves(gate, up)
    return like_inputs(dy * second, dy * first, up)


def softmax(x: Array) -> Array:
    """Exponentials of what lies below the maximum, divided by their sum."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = e / e.sum(axis=-1, keepdims=True)
    return y


def softmax_backward(dy: Array, x: Array) -> Array:
    """Gradient of `softmax` from its argument."""
    y = softmax(x)
    dx: Array = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    return dx


def log_softmax(x: Array) -> Array:
    """What lies below the maximum less the logarithm of the sum of its exponentials."""
    shifted = x - x.max(axis=-1, keepdims=True)
    y: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y


def log_softmax_backward(dy: Array, x: Array) -> Array:
    """Gradient of `log_softmax` from its argument."""
    dx: Array = dy - softmax(x) * dy.sum(axis=-1, keepdims=True)
    return dx


def relu(x: Array) -> Array:
    """Rectified linear unit."""
    y: Array = np.maximum(x, 0)
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu`."""
    dx: Array = dy * (x > 0)
    return dx


def sigmoid(x: Array) -> Array:
    """Logistic sigmoid."""
    y: Array = 1.0 / (1.0 + np.exp(-x))
    return y


def sigmoid_backward(dy: Array, x: Array) -> Array:
    """Gradient of `sigmoid`."""
    y = sigmoid(x)
    return dy * y * (1.0 - y)


def silu(x: Array) -> Array:
    """Sigmoid linear unit."""
    y: Array = x / (1.0 + np.exp(-x))
    return y


def silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `silu`."""
    s = sigmoid(x)
    return dy * s * (1.0 + x * (1.0 - s))


def swish(x: Array, beta: Any = 1.0) -> Array:
    """Swish with a parameter beta."""
    y: Array = x / (1.0 + np.exp(-beta * x))
    return y


def swish_backward(dy: Array, x: Array, beta: Any = 1.0) -> Pair:
    """Gradients of `swish` with respect to x and beta, one for all or one a column."""
    s = sigmoid(beta * x)
    slope = s * (1.0 - s)
    rows = tuple(range(x.ndim - np.ndim(beta)))
    return dy * (s + beta * x * slope), (dy * x * x * slope).sum(axis=rows)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    y: Array = np.tanh(x)
    return y


def tanh_backward(dy: Array, x: Array) -> Array:
    """Gradient of `tanh`."""
    y = np.tanh(x)
    dx: Array = dy * (1.0 - y * y)
    return dx


def attention(query: Array, keys: Array, values: Array, *, scale: float = 1.0) -> Array:
    """Softmax attention."""
    scores = scale * (query @ np.swapaxes(keys, -1, -2))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    y: Array = (weights / weights.sum(axis=-1, keepdims=True)) @ values
    return y


def attention_backward(
    dy: Array, query: Array, keys: Array, values: Array, *, scale: float = 1.0
) -> tuple[Array, Array, Array]:
    """Gradients of `attention`."""
    scores = scale * (query @ np.swapaxes(keys, -1, -2))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    dweights = dy @ np.swapaxes(values, -1, -2)
    dscores = scale * weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    return dscores @ keys, np.swapaxes(dscores, -1, -2) @ query, np.swapaxes(weights, -1, -2) @ dy


def memory_read(query: Array, keys: Array, values: Array) -> Array:
    """Read a memory with one query."""
    y: Array = attention(query[..., None, :], keys, values)[..., 0, :]
    return y


def memory_read_backward(dy: Array, query: Array, keys: Array, values: Array) -> tuple[Array, Array, Array]:
    """Gradients of `memory_read`."""
    dquery, dkeys, dvalues = attention_backward(dy[..., None, :], query[..., None, :], keys, values)
    return dquery[..., 0, :], dkeys, dvalues


def linear(x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None) -> Array:
    """Dense layer by BLAS, then bias and activation."""
    z: Array = x @ weight if bias is None else x @ weight + bias
    return z if activation is None else _ACTIVATIONS[activation](z)


def linear_backward(
    dy: Array, x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None
) -> tuple[Array | None, ...]:
    """Gradients of `linear` by BLAS."""
    if activation is not None:
        dy = _DERIVATIVES[activation](dy, x @ weight if bias is None else x @ weight + bias)
    rows, rows_of_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, rows.T @ rows_of_dy, None if bias is None else rows_of_dy.sum(axis=0)


def gated_linear(
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None = None,
    b_up: Array | None = None,
    *,
    gate: str = "swish",
) -> Array:
    """Gated layer by BLAS."""
    return np.multiply(_ACTIVATIONS[gate](linear(x, w_gate, b_gate)), linear(x, w_up, b_up))


def gated_linear_backward(
    dy: Array,
    x: Array,
    w_gate: Array,
    w_up: Array,
    b_gate: Array | None = None,
    b_up: Array | None = None,
    *,
    gate: str = "swish",
) -> tuple[Array | None, ...]:
    """Gradients of `gated_linear` by BLAS."""
    z, up = linear(x, w_gate, b_gate), linear(x, w_up, b_up)
    dx_of_gate, dw_gate, db_gate = linear_backward(_DERIVATIVES[gate](dy * up, z), x, w_gate, b_gate)
    dx_of_up, dw_up, db_up = linear_backward(dy * _ACTIVATIONS[gate](z), x, w_up, b_up)
    assert dx_of_gate is not None
    assert dx_of_up is not None
    return dx_of_gate + dx_of_up, dw_gate, dw_up, db_gate, db_up


def mlp_forward(
    x: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str | None = "relu"
) -> Array:
    """Network by BLAS, layer by layer."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = linear(x, weight, bias, activation=activation)
    return linear(x, weights[-1], biases[-1])


def mlp_backward(
    dy: Array, x: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str | None = "relu"
) -> tuple[Array, list[Array], list[Array]]:
    """Gradients of `mlp_forward` by BLAS."""
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(linear(inputs[-1], weight, bias, activation=activation))
    dweights: list[Array] = []
    dbiases: list[Array] = []
    for index in reversed(range(len(weights))):
        name = None if index == len(weights) - 1 else activation
        g, dweight, dbias = linear_backward(dy, inputs[index], weights[index], biases[index], activation=name)
        assert g is not None
        assert dweight is not None
        assert dbias is not None
        dy, dweights, dbiases = g, [dweight, *dweights], [dbias, *dbiases]
    return dy, dweights, dbiases


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": relu, "gelu": gelu, "swish": silu}
_DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "relu": relu_backward,
    "gelu": gelu_backward,
    "swish": silu_backward,
}

FORMULAS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        layer_norm,
        layer_norm_backward,
        rms_norm,
        rms_norm_backward,
        batch_norm,
        batch_norm_backward,
        group_norm,
        group_norm_backward,
        instance_norm,
        instance_norm_backward,
        gelu,
        gelu_backward,
        glu,
        glu_backward,
        swiglu,
        swiglu_backward,
        geglu,
        geglu_backward,
        reglu,
        reglu_backward,
        bilinear,
        bilinear_backward,
        linear,
        linear_backward,
        gated_linear,
        gated_linear_backward,
        mlp_forward,
        mlp_backward,
        softmax,
        softmax_backward,
        log_softmax,
        log_softmax_backward,
        relu,
        relu_backward,
        sigmoid,
        sigmoid_backward,
        silu,
        silu_backward,
        swish,
        swish_backward,
        tanh,
        tanh_backward,
        attention,
        attention_backward,
        memory_read,
        memory_read_backward,
        add_layer_norm,
        add_rms_norm,
        deep_norm,
    )
}
FORMULAS |= numpy_losses.FORMULAS


def formula(op: str, keywords: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the NumPy formula of an op, None where there is none or it needs SciPy and SciPy is not
    installed.
    """
    needs_erf = ("gelu" in op or "geglu" in op) and keywords.get("approximate", "none") == "none"
    needs_erf = needs_erf or "gelu" in keywords.values()
    return None if needs_erf and erf is None else FORMULAS.get(op)
