"""JAX, each formula under ``jit``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from fastnorm._report.peers import UNARY_ACTIVATIONS, Builder
from fastnorm._specs import Call, Sample, spec_of
from numpy.typing import NDArray

SPINS = True


def prepare(threads: int) -> None:
    """Allow float64; the threads follow from XLA_FLAGS and the CPU affinity, which the worker sets before."""
    jax.config.update("jax_enable_x64", True)


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array as one of NumPy."""
    return np.asarray(array)


def layer_norm(axis: int) -> Callable[..., jax.Array]:
    """Layer norm over one axis."""

    def function(x: jax.Array, weight: jax.Array | None = None, bias: jax.Array | None = None) -> jax.Array:
        x = jnp.moveaxis(x, axis, -1)
        y = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
        y = y if weight is None else y * weight
        return jnp.moveaxis(y if bias is None else y + bias, -1, axis)

    return function


def rms_norm(x: jax.Array, weight: jax.Array | None = None, bias: jax.Array | None = None) -> jax.Array:
    """Root-mean-square norm over the last axis."""
    y = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def normalize(eps: float) -> Callable[..., jax.Array]:
    """Vectors of length 1 along the last axis."""
    return lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), eps)


def batch_norm(training: bool, axis: int) -> Callable[..., Any]:
    """Batch norm; the moments and the running arrays are results, as JAX changes nothing in place."""

    def function(
        x: jax.Array, weight: jax.Array, bias: jax.Array, running_mean: jax.Array, running_var: jax.Array
    ) -> Any:
        others = tuple(other for other in range(x.ndim) if other != axis % x.ndim)
        mean, variance = (x.mean(others), x.var(others)) if training else (running_mean, running_var)
        scale = weight * jax.lax.rsqrt(variance + 1e-5)
        y = (x - jnp.expand_dims(mean, others)) * jnp.expand_dims(scale, others) + jnp.expand_dims(
            bias, others
        )
        count = x.size // mean.size
        running = (
            0.9 * running_mean + 0.1 * mean,
            0.9 * running_var + 0.1 * variance * count / max(count - 1, 1),
        )
        return (y, *running) if training else y

    return function


def group_norm(num_groups: int) -> Callable[..., jax.Array]:
    """Group norm of channels along axis 1."""

    def function(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        groups = x.reshape(x.shape[0], num_groups or x.shape[1], -1)
        y = (groups - groups.mean(-1, keepdims=True)) * jax.lax.rsqrt(groups.var(-1, keepdims=True) + 1e-5)
        beyond = (-1,) + (1,) * (x.ndim - 2)
        return y.reshape(x.shape) * weight.reshape(beyond) + bias.reshape(beyond)

    return function


def gelu(approximate: str) -> Callable[[jax.Array], jax.Array]:
    """Return GELU in the form of that name."""
    return lambda x: jax.nn.gelu(x, approximate=approximate == "tanh")


def gelu_backward(approximate: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the gradient from dy and x; a pullback kept from the forward would have the derivative at
    hand.
    """
    return lambda dy, x: jax.vjp(gelu(approximate), x)[1](dy)[0]


def pulled_back(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the gradient of a function of x from dy and x."""
    return lambda dy, x: jax.vjp(function, x)[1](dy)[0]


def _call(function: Callable[..., Any], sample: Sample) -> Call:
    compiled = jax.jit(function)
    arguments = {name: jax.tree.map(jnp.asarray, value) for name, value in sample.arrays.items()}
    if "stats" in sample.keywords:
        arguments["stats"] = jax.tree.map(jnp.asarray, sample.keywords["stats"])
    return Call(lambda: jax.block_until_ready(compiled(**arguments)))


def _call_gelu(form: Callable[[str], Callable[..., Any]], sample: Sample) -> Call | None:
    approximate = sample.keywords.get("approximate", "none")
    return None if approximate == "sigmoid" else _call(form(approximate), sample)


def gated(act: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """Return a gated unit of two arrays or a packed one."""

    def unit(gate: jax.Array, up: jax.Array | None = None) -> jax.Array:
        first, second = jnp.split(gate, 2, -1) if up is None else (gate, up)
        return act(first) * second

    return unit


def gated_backward(act: Callable[[jax.Array], jax.Array]) -> Callable[..., Any]:
    """Return the gradients of a gated unit from dy and its arguments."""

    def gradients(dy: jax.Array, **arrays: jax.Array) -> Any:
        pulled = jax.vjp(gated(act), *arrays.values())[1](dy)
        return pulled if len(pulled) > 1 else pulled[0]

    return gradients


def attention(query: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Softmax attention."""
    return jax.nn.softmax(query.shape[-1] ** -0.5 * query @ keys.swapaxes(-1, -2)) @ values


def memory_read(query: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Read a memory with one query."""
    weights = jax.nn.softmax((keys @ query[..., None])[..., 0])
    return (weights[..., None, :] @ values)[..., 0, :]


def read_backward(read: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Return the gradients of `attention` or `memory_read`."""

    def gradients(dy: jax.Array, query: jax.Array, keys: jax.Array, values: jax.Array) -> Any:
        return jax.vjp(read, query, keys, values)[1](dy)

    return gradients


def linear(activation: str | None) -> Callable[..., jax.Array]:
    """Return the dense layer with an activation."""
    act = {None: lambda z: z, "relu": jax.nn.relu, "gelu": partial(jax.nn.gelu, approximate=False)}[
        activation
    ]

    def layer(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        return act(x @ weight + bias)

    return layer


def _call_linear(sample: Sample) -> Call:
    return _call(linear(sample.keywords.get("activation")), sample)


def _call_linear_backward(sample: Sample) -> Call:
    layer = linear(sample.keywords.get("activation"))
    return _call(lambda dy, x, weight, bias: jax.vjp(layer, x, weight, bias)[1](dy), sample)


def gated_linear(x: jax.Array, w_gate: jax.Array, w_up: jax.Array) -> jax.Array:
    """Gated layer of SwiGLU without biases."""
    return jax.nn.swish(x @ w_gate) * (x @ w_up)


def gated_linear_backward(dy: jax.Array, x: jax.Array, w_gate: jax.Array, w_up: jax.Array) -> Any:
    """Gradients of it."""
    return jax.vjp(gated_linear, x, w_gate, w_up)[1](dy)


def mlp_forward(x: jax.Array, weights: list[jax.Array], biases: list[jax.Array]) -> jax.Array:
    """Network with ReLU."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = linear("relu")(x, weight, bias)
    return linear(None)(x, weights[-1], biases[-1])


def mlp_backward(dy: jax.Array, x: jax.Array, weights: list[jax.Array], biases: list[jax.Array]) -> Any:
    """Gradients of it."""
    dx, dweights, dbiases = jax.vjp(mlp_forward, x, weights, biases)[1](dy)
    return dx, *dweights, *dbiases


def row_losses(logits: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return -log p of the targets, and p."""
    surprise = -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], -1)[..., 0]
    return surprise, jnp.exp(-surprise)


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-log p."""
    return row_losses(logits, target)[0]


def focal_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-(1 - p)^2 log p."""
    surprise, p = row_losses(logits, target)
    return (1 - p) ** 2 * surprise


def poly_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-log p + (1 - p)."""
    surprise, p = row_losses(logits, target)
    return surprise + (1 - p)


def mse_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Squared differences."""
    return jnp.square(prediction - target)


def poly_focal_loss(epsilon: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the focal loss of a sigmoid with the polynomial term, as Optax writes it."""

    def function(logits: jax.Array, target: jax.Array) -> jax.Array:
        p = jax.nn.sigmoid(logits)
        surprise = -target * jax.nn.log_sigmoid(logits) - (1 - target) * jax.nn.log_sigmoid(-logits)
        wrong = target * (1 - p) + (1 - target) * p
        weight = 0.25 * target + 0.75 * (1 - target)
        return weight * (wrong**2 * surprise + epsilon * wrong**3)

    return function


def _call_loss(function: Callable[..., jax.Array], sample: Sample) -> Call:
    """The sum of the losses and its gradient."""
    x, target = sample.arrays.values()
    both = jax.jit(jax.value_and_grad(lambda x, target: function(x, target).sum()))
    arguments = (jnp.asarray(x), jnp.asarray(target))
    return Call(lambda: jax.block_until_ready(both(*arguments)))


# By their names, and called without options.
ACTIVATIONS = {name: getattr(jax.nn, name) for name in UNARY_ACTIVATIONS if hasattr(jax.nn, name)}


def _call_unary(function: Callable[..., jax.Array], sample: Sample) -> Call | None:
    return None if sample.keywords else _call(lambda **arrays: function(*arrays.values()), sample)


def _call_batch_norm(sample: Sample) -> Call:
    training = sample.keywords.get("training", False)
    call = _call(batch_norm(training, sample.keywords.get("axis", 1)), sample)
    return Call(lambda: call()[0] if training else call())


def _call_with_keywords(function: Callable[..., Any], sample: Sample) -> Call:
    keywords = {name: value for name, value in sample.keywords.items() if name != "stats"}
    return _call(partial(function, **keywords), sample)


def numpy_backward(op: str) -> Callable[..., Any]:
    """Return the NumPy formula of a backward: made of operators and methods that JAX arrays have too."""
    formula = spec_of(op).backward_formula
    assert formula is not None
    return formula


CALLS: dict[str, Builder] = {
    **{name: partial(_call_unary, function) for name, function in ACTIVATIONS.items()},
    **{
        f"{name}_backward": partial(_call_unary, pulled_back(function))
        for name, function in ACTIVATIONS.items()
    },
    "gelu": partial(_call_gelu, gelu),
    "gelu_backward": partial(_call_gelu, gelu_backward),
    "layer_norm": lambda sample: _call(layer_norm(sample.keywords.get("axis", -1)), sample),
    "layer_norm_backward": partial(_call, numpy_backward("layer_norm")),
    "rms_norm": partial(_call, rms_norm),
    "rms_norm_backward": partial(_call, numpy_backward("rms_norm")),
    "normalize": lambda sample: _call(normalize(sample.keywords.get("eps", 1e-12)), sample),
    "normalize_backward": lambda sample: _call(
        pulled_back(normalize(sample.keywords.get("eps", 1e-12))), sample
    ),
    "batch_norm": _call_batch_norm,
    "batch_norm_backward": partial(_call_with_keywords, numpy_backward("batch_norm")),
    "group_norm": lambda sample: _call(group_norm(sample.keywords["num_groups"]), sample),
    "group_norm_backward": partial(_call_with_keywords, numpy_backward("group_norm")),
    "instance_norm": partial(_call, group_norm(0)),
    "instance_norm_backward": partial(_call, numpy_backward("instance_norm")),
    "glu": partial(_call, jax.nn.glu),
    "glu_backward": partial(_call, pulled_back(jax.nn.glu)),
    "swiglu": partial(_call, gated(jax.nn.swish)),
    "swiglu_backward": partial(_call, gated_backward(jax.nn.swish)),
    "geglu": partial(_call_gelu, lambda approximate: gated(gelu(approximate))),
    "geglu_backward": partial(_call_gelu, lambda approximate: gated_backward(gelu(approximate))),
    "reglu": partial(_call, gated(jax.nn.relu)),
    "reglu_backward": partial(_call, gated_backward(jax.nn.relu)),
    "bilinear": partial(_call, gated(lambda x: x)),
    "bilinear_backward": partial(_call, gated_backward(lambda x: x)),
    "attention": partial(_call, attention),
    "attention_backward": partial(_call, read_backward(attention)),
    "memory_read": partial(_call, memory_read),
    "memory_read_backward": partial(_call, read_backward(memory_read)),
    "linear": _call_linear,
    "linear_backward": _call_linear_backward,
    "gated_linear": partial(_call, gated_linear),
    "gated_linear_backward": partial(_call, gated_linear_backward),
    "mlp_forward": partial(_call, mlp_forward),
    "mlp_backward": partial(_call, mlp_backward),
    "softmax": partial(_call, jax.nn.softmax),
    "softmax_backward": partial(_call, pulled_back(jax.nn.softmax)),
    "log_softmax": partial(_call, jax.nn.log_softmax),
    "log_softmax_backward": partial(_call, pulled_back(jax.nn.log_softmax)),
    **{
        function.__name__: partial(_call_loss, function)
        for function in (cross_entropy, focal_loss, poly_loss, mse_loss)
    },
    "sigmoid_focal_loss": partial(_call_loss, poly_focal_loss(0.0)),
    "poly_focal_loss": partial(_call_loss, poly_focal_loss(1.0)),
}
