"""PyTorch, eager."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from fastnorm._specs import Call, Sample
from fastnorm._specs.activations import GATE_SPECS
from numpy.typing import NDArray
from torch.nn import functional

from peers import UNARY_ACTIVATIONS, Builder

SPINS = True

aten = torch.ops.aten
HEADS = ("query", "keys", "values")


def prepare(threads: int) -> None:
    """Use that many threads and build no graph unless a call asks for one."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def to_numpy(array: torch.Tensor) -> NDArray[Any]:
    """View a tensor as an array."""
    return np.asarray(array.float() if array.dtype == torch.bfloat16 else array)


def tensor(array: NDArray[Any] | None) -> torch.Tensor | None:
    """View an array as a tensor; PyTorch does not know NumPy's bfloat16 by name."""
    if array is None:
        return None
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def tensors(sample: Sample) -> dict[str, Any]:
    """Return the arrays of a sample as tensors, None for the others."""
    names = ("dy", "dsummed", "x", "residual", "weight", "bias", "gate", "up", "running_mean", "running_var")
    return {name: tensor(sample.arrays.get(name)) for name in (*names, *HEADS)}


def channels_first(t: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """Return the tensors with the channels along axis 1: without a copy, which PyTorch knows as
    channels_last.
    """
    axis = sample.keywords.get("axis", 1)
    return {
        name: value.movedim(axis, 1) if value is not None and value.ndim > 2 else value
        for name, value in t.items()
    }


def moved(sample: Sample, *results: Any) -> list[Any]:
    """Return results with the channels where the sample has them."""
    axis = sample.keywords.get("axis", 1)
    return [value.movedim(1, axis) if value is not None and value.ndim > 2 else value for value in results]


def batch_norm(sample: Sample) -> Call:
    """``F.batch_norm``."""
    t = channels_first(tensors(sample), sample)
    arguments = (t["x"], t["running_mean"], t["running_var"], t["weight"], t["bias"])
    training = sample.keywords.get("training", False)
    return Call(lambda: moved(sample, functional.batch_norm(*arguments, training=training))[0])


def batch_norm_backward(sample: Sample) -> Call:
    """Call the kernel behind autograd, with the statistics of the forward."""
    t = channels_first(tensors(sample), sample)
    mean, rstd = map(tensor, sample.keywords["stats"])
    wanted = [True, t["weight"] is not None, t["bias"] is not None]
    running = (t["running_mean"], t["running_var"], mean, rstd)
    arguments = (t["dy"], t["x"], t["weight"], *running, sample.keywords.get("training", False), 1e-5, wanted)
    return Call(lambda: moved(sample, *aten.native_batch_norm_backward.default(*arguments)))


def group_norm(sample: Sample) -> Call:
    """``F.group_norm``."""
    t = tensors(sample)
    return Call(
        functional.group_norm, (t["x"], sample.keywords["num_groups"], t["weight"], t["bias"]), {"eps": 1e-5}
    )


def group_norm_backward(sample: Sample) -> Call:
    """Call the kernel behind autograd, with the statistics of the forward."""
    t, groups = tensors(sample), sample.keywords["num_groups"]
    samples, channels = t["x"].shape[:2]
    size = (samples, channels, t["x"].numel() // (samples * channels), groups)
    _, mean, rstd = aten.native_group_norm(t["x"], t["weight"], t["bias"], *size, 1e-5)
    wanted = [True, t["weight"] is not None, t["bias"] is not None]
    arguments = (t["dy"], t["x"], mean, rstd, t["weight"], *size, wanted)
    return Call(aten.native_group_norm_backward.default, arguments)


def instance_norm(sample: Sample) -> Call:
    """``F.instance_norm``."""
    t = tensors(sample)
    return Call(functional.instance_norm, (t["x"],), {"weight": t["weight"], "bias": t["bias"], "eps": 1e-5})


def instance_norm_backward(sample: Sample) -> Call:
    """Run the graph of ``F.instance_norm`` backwards."""
    t = tensors(sample)
    inputs = tuple(t[name].requires_grad_() for name in ("x", "weight", "bias") if t[name] is not None)
    with torch.enable_grad():
        y = functional.instance_norm(t["x"], weight=t["weight"], bias=t["bias"], eps=1e-5)
    return Call(torch.autograd.grad, (y, inputs, t["dy"]), {"retain_graph": True})


def layer_norm(sample: Sample) -> Call:
    """``F.layer_norm`` over the last axis, around which any other is permuted: back again as a view, without
    a copy.
    """
    t, axis = tensors(sample), sample.keywords.get("axis", -1)
    x, weight, bias = t["x"], t["weight"], t["bias"]
    if axis == -1:
        return Call(functional.layer_norm, (x, x.shape[-1:], weight, bias), {"eps": 1e-5})
    shape = (x.shape[axis],)
    return Call(
        lambda: functional.layer_norm(x.movedim(axis, -1), shape, weight, bias, 1e-5).movedim(-1, axis)
    )


def layer_norm_backward(sample: Sample) -> Call:
    """Call the kernel behind autograd, with the statistics of the forward."""
    t = tensors(sample)
    _, mean, rstd = aten.native_layer_norm(t["x"], t["x"].shape[-1:], t["weight"], t["bias"], 1e-5)
    wanted = [True, t["weight"] is not None, t["bias"] is not None]
    arguments = (t["dy"], t["x"], t["x"].shape[-1:], mean, rstd, t["weight"], t["bias"], wanted)
    return Call(aten.native_layer_norm_backward.default, arguments)


def rms_norm(sample: Sample) -> Call | None:
    """``F.rms_norm``, which has no bias."""
    t = tensors(sample)
    if t["bias"] is not None:
        return None
    return Call(functional.rms_norm, (t["x"], t["x"].shape[-1:], t["weight"]), {"eps": 1e-6})


def rms_norm_backward(sample: Sample) -> Call | None:
    """Run the graph of ``F.rms_norm`` backwards: PyTorch has no kernel of its own for it on CPUs."""
    t = tensors(sample)
    if t["bias"] is not None:
        return None
    inputs = tuple(t[name].requires_grad_() for name in ("x", "weight") if t[name] is not None)
    with torch.enable_grad():
        y = functional.rms_norm(t["x"], t["x"].shape[-1:], t["weight"], 1e-6)
    return Call(torch.autograd.grad, (y, inputs, t["dy"]), {"retain_graph": True})


def _add_layer_norm(t: dict[str, Any], alpha: float) -> tuple[torch.Tensor, ...]:
    summed = torch.add(t["x"], t["residual"], alpha=alpha)
    return functional.layer_norm(summed, summed.shape[-1:], t["weight"], t["bias"], 1e-5), summed


def _add_rms_norm(t: dict[str, Any], alpha: float) -> tuple[torch.Tensor, ...]:
    summed = torch.add(t["x"], t["residual"], alpha=alpha)
    return functional.rms_norm(summed, summed.shape[-1:], t["weight"], 1e-6), summed


def _deep_norm(t: dict[str, Any], alpha: float) -> tuple[torch.Tensor, ...]:
    return _add_layer_norm(t, alpha)[:1]


Composition = Callable[[dict[str, Any], float], tuple[torch.Tensor, ...]]


def _call(function: Composition, sample: Sample) -> Call:
    """``torch.add``, then the norm: PyTorch has no kernel for both."""
    return Call(function, (tensors(sample), sample.keywords.get("alpha", 1.0)))


def _backward(function: Composition, sample: Sample) -> Call:
    """Run the graph of a forward backwards."""
    t = tensors(sample)
    inputs = [t[name].requires_grad_() for name in ("x", "residual", "weight", "bias") if t[name] is not None]
    gradients = [t[name] for name in ("dy", "dsummed") if t[name] is not None]
    with torch.enable_grad():
        results = function(t, sample.keywords.get("alpha", 1.0))
    return Call(torch.autograd.grad, (results, inputs, gradients), {"retain_graph": True})


def gelu(sample: Sample) -> Call | None:
    """``F.gelu``."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return Call(functional.gelu, (tensors(sample)["x"],), sample.keywords)


def gelu_backward(sample: Sample) -> Call | None:
    """Call the kernel behind autograd."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    t = tensors(sample)
    return Call(aten.gelu_backward.default, (t["dy"], t["x"]), sample.keywords)


def softmax(sample: Sample) -> Call:
    """``F.softmax`` over the last axis."""
    return Call(functional.softmax, (tensors(sample)["x"], -1))


def softmax_backward(sample: Sample) -> Call:
    """From dy and x, as the op: the forward, and the kernel behind autograd, which takes its result."""
    t = tensors(sample)
    return Call(
        lambda dy, x: aten._softmax_backward_data(dy, functional.softmax(x, -1), -1, x.dtype),
        (t["dy"], t["x"]),
    )


def log_softmax(sample: Sample) -> Call:
    """``F.log_softmax`` over the last axis."""
    return Call(functional.log_softmax, (tensors(sample)["x"], -1))


def log_softmax_backward(sample: Sample) -> Call:
    """From dy and x, as the op: the forward, and the kernel behind autograd, which takes its result."""
    t = tensors(sample)

    def run(dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return aten._log_softmax_backward_data(dy, functional.log_softmax(x, -1), -1, x.dtype)

    return Call(run, (t["dy"], t["x"]))


def activation(name: str) -> Callable[..., Any]:
    """Return an activation by its name."""
    function: Callable[..., Any] = getattr(torch, name, None) or getattr(functional, name)
    return function


def _gated(sample: Sample, act: Callable[[torch.Tensor], torch.Tensor]) -> Call:
    """The activation times up, of two arrays or the halves of one."""
    t = tensors(sample)
    if t["up"] is None:
        return Call(
            lambda packed: torch.mul(act(packed.chunk(2, -1)[0]), packed.chunk(2, -1)[1]), (t["gate"],)
        )
    return Call(lambda gate, up: act(gate) * up, (t["gate"], t["up"]))


def _gated_backward(
    sample: Sample,
    act: Callable[[torch.Tensor], torch.Tensor],
    gradient: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Call:
    """Both gradients by the kernels behind autograd, from dy and the inputs as the op."""
    t = tensors(sample)

    def run(dy: torch.Tensor, gate: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradient(dy * up, gate), dy * act(gate)

    if t["up"] is None:
        return Call(lambda dy, packed: torch.cat(run(dy, *packed.chunk(2, -1)), -1), (t["dy"], t["gate"]))
    return Call(run, (t["dy"], t["gate"], t["up"]))


def glu(sample: Sample) -> Call:
    """``F.glu``."""
    return Call(functional.glu, (tensors(sample)["x"], -1))


def glu_backward(sample: Sample) -> Call:
    """Call the kernel behind autograd."""
    t = tensors(sample)
    return Call(aten.glu_backward.default, (t["dy"], t["x"], -1))


def swiglu(sample: Sample) -> Call:
    """``swish(gate) * up``, beta being 1."""
    return _gated(sample, activation(GATE_SPECS["swish"].name))


def swiglu_backward(sample: Sample) -> Call:
    """Gradients of it."""
    name = GATE_SPECS["swish"].name
    return _gated_backward(sample, activation(name), getattr(aten, f"{name}_backward"))


def geglu(sample: Sample) -> Call | None:
    """``F.gelu(gate) * up``."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return _gated(sample, lambda x: functional.gelu(x, **sample.keywords))


def geglu_backward(sample: Sample) -> Call | None:
    """Gradients of it."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return _gated_backward(
        sample,
        lambda x: functional.gelu(x, **sample.keywords),
        lambda dy, x: aten.gelu_backward(dy, x, **sample.keywords),
    )


def reglu(sample: Sample) -> Call:
    """``F.relu(gate) * up``."""
    return _gated(sample, functional.relu)


def reglu_backward(sample: Sample) -> Call:
    """Gradients of it."""
    return _gated_backward(sample, functional.relu, lambda dy, x: aten.threshold_backward(dy, x, 0))


def bilinear(sample: Sample) -> Call:
    """``gate * up``."""
    return _gated(sample, lambda x: x)


def bilinear_backward(sample: Sample) -> Call:
    """Gradients of it."""
    return _gated_backward(sample, lambda x: x, lambda dy, x: dy)


def _attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    batched = [
        tensor[(None,) * (4 - tensor.ndim)] for tensor in (query, keys, values)
    ]  # what fused kernels ask for
    return functional.scaled_dot_product_attention(*batched, scale=1.0).view(query.shape)


def _memory_read(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax((keys @ query[..., None])[..., 0], -1)
    return (weights[..., None, :] @ values)[..., 0, :]


Read = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _read(function: Read, sample: Sample) -> Call:
    """``F.scaled_dot_product_attention``; for one query products and softmax, which are faster."""
    t = tensors(sample)
    return Call(function, tuple(t[name] for name in HEADS))


def _read_backward(function: Read, sample: Sample) -> Call:
    """Run the graph of the forward backwards."""
    t = tensors(sample)
    inputs = tuple(t[name].requires_grad_() for name in HEADS)
    with torch.enable_grad():
        y = function(*inputs)
    return Call(torch.autograd.grad, (y, inputs, t["dy"]), {"retain_graph": True})


def linear(sample: Sample) -> Call:
    """``F.linear``, whose weight is the transpose of ours, and the activation."""
    t = tensors(sample)
    name = sample.keywords.get("activation")
    act = activation(name) if name else lambda z: z
    return Call(
        lambda x, weight, bias: act(functional.linear(x, weight, bias)),
        (t["x"], t["weight"].T, t["bias"]),
    )


def mlp_forward(sample: Sample) -> Call:
    """``F.linear`` and the activation, layer by layer."""
    x, (weights, biases) = tensor(sample.arrays["x"]), _layers(sample)
    return Call(_network, (x, weights, biases))


def mlp_backward(sample: Sample) -> Call:
    """The backward of autograd, and the forward before it, which keeps what it needs."""
    x, dy, (weights, biases) = tensor(sample.arrays["x"]), tensor(sample.arrays["dy"]), _layers(sample)
    inputs = [value.detach().requires_grad_() for value in (x, *weights, *biases)]
    count = len(weights)

    def run() -> list[torch.Tensor]:
        with torch.enable_grad():
            y = _network(inputs[0], inputs[1 : count + 1], inputs[count + 1 :])
        dx, *gradients = torch.autograd.grad(y, inputs, dy)
        return [dx, *(gradient.T for gradient in gradients[:count]), *gradients[count:]]

    return Call(run)


def _layers(sample: Sample) -> tuple[list[Any], list[Any]]:
    """Weights as PyTorch has them, and biases."""
    return [tensor(w).T.contiguous() for w in sample.arrays["weights"]], [
        tensor(b) for b in sample.arrays["biases"]
    ]


def _network(x: torch.Tensor, weights: list[Any], biases: list[Any]) -> torch.Tensor:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.relu(functional.linear(x, weight, bias))
    return functional.linear(x, weights[-1], biases[-1])


def focal_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The usual composition on ``F.cross_entropy``."""
    surprise = functional.cross_entropy(logits, target, reduction="none")
    return (1 - torch.exp(-surprise)) ** 2 * surprise


def poly_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The composition of PolyLoss's authors, which PyTorch has no op for."""
    surprise = functional.cross_entropy(logits, target, reduction="none")
    return surprise + (1 - torch.exp(-surprise))


def poly_focal_loss(epsilon: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return torchvision's composition of ``sigmoid_focal_loss``, and with the polynomial term."""

    def function(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p = torch.sigmoid(logits)
        surprise = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        p_t = p * target + (1 - p) * (1 - target)
        loss = surprise * ((1 - p_t) ** 2)
        if epsilon:
            loss = loss + epsilon * (1 - p_t) ** 3
        return (0.25 * target + 0.75 * (1 - target)) * loss

    return function


def with_gradient(loss: Callable[..., torch.Tensor], sample: Sample) -> Call:
    """Run the sum of the losses and its graph backwards; PyTorch's own losses add up by themselves."""
    x, target = map(tensor, sample.arrays.values())
    assert x is not None
    x.requires_grad_()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            value = loss(x, target).sum()
        return value.detach(), torch.autograd.grad(value, x)[0]

    return Call(run)


def linear_cross_entropy(sample: Sample) -> Call:
    """The layer, the sum of the losses of its outputs, and the graph backwards."""
    x, weight, target, bias = (tensor(sample.arrays[name]) for name in ("x", "weight", "target", "bias"))
    assert x is not None
    assert weight is not None
    assert bias is not None
    parameters = [parameter.requires_grad_() for parameter in (x, weight, bias)]

    def run() -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            logits = functional.linear(x, weight.T, bias)
            value = functional.cross_entropy(logits, target, reduction="sum")
        return value.detach(), *torch.autograd.grad(value, parameters)

    return Call(run)


def unary(name: str, sample: Sample) -> Call:
    """An activation of x alone, by its name."""
    return Call(activation(name), (tensors(sample)["x"],), sample.keywords)


# What kernels behind autograd take besides, and the ops whose kernel takes what the forward keeps, y, for x.
RELU_THRESHOLD = 0
SOFTPLUS_OPTIONS = {"beta": 1.0, "threshold": 20.0}
OF_RESULT = ("sigmoid", "tanh")


def unary_backward(name: str, sample: Sample) -> Call:
    """Call the kernel behind autograd."""
    t = tensors(sample)
    if name == "relu":
        return Call(aten.threshold_backward.default, (t["dy"], t["x"], RELU_THRESHOLD))
    options = {**SOFTPLUS_OPTIONS, **sample.keywords} if name == "softplus" else {}
    kept = activation(name)(t["x"]) if name in OF_RESULT else t["x"]
    return Call(getattr(aten, f"{name}_backward").default, (t["dy"], kept, *options.values()))


CALLS: dict[str, Builder] = {
    name: partial(unary, name)
    for name in UNARY_ACTIVATIONS
    if hasattr(torch, name) or hasattr(functional, name)
}
CALLS |= {
    f"{name}_backward": partial(unary_backward, name)
    for name in CALLS
    if name == "relu" or hasattr(aten, f"{name}_backward")
}
CALLS |= {
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
        mlp_forward,
        mlp_backward,
        softmax,
        softmax_backward,
        log_softmax,
        log_softmax_backward,
    )
}
CALLS |= {
    "attention": partial(_read, _attention),
    "attention_backward": partial(_read_backward, _attention),
    "memory_read": partial(_read, _memory_read),
    "memory_read_backward": partial(_read_backward, _memory_read),
}
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": partial(functional.cross_entropy, reduction="sum"),
    "focal_loss": focal_loss,
    "poly_loss": poly_loss,
    "mse_loss": partial(functional.mse_loss, reduction="sum"),
    "sigmoid_focal_loss": poly_focal_loss(0.0),
    "poly_focal_loss": poly_focal_loss(1.0),
}
CALLS |= {name: partial(with_gradient, loss) for name, loss in LOSSES.items()}
CALLS["linear_cross_entropy"] = linear_cross_entropy
for function in (_add_layer_norm, _add_rms_norm, _deep_norm):
    op = function.__name__.lstrip("_")
    CALLS[op], CALLS[f"{op}_backward"] = partial(_call, function), partial(_backward, function)
