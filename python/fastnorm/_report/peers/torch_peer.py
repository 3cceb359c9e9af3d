"""PyTorch, eager: the ops that people use most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..._specs import Call, Sample
from ..._specs.activations import GATE_SPECS
from . import UNARY_ACTIVATIONS, Builder

SPINS = True


def prepare(threads: int) -> None:
    """Use that many threads and build no graph unless a call asks for one."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def to_numpy(array: torch.Tensor) -> NDArray[Any]:
    """View a tensor as an array."""
    return np.asarray(array.float() if array.dtype == torch.bfloat16 else array)


def tensor(array: NDArray[Any] | None) -> Any:
    """View an array as a tensor; PyTorch does not know NumPy's bfloat16 by name."""
    if array is None:
        return None
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def tensors(sample: Sample, *names: str) -> list[Any]:
    """Return arrays of a sample as tensors, None for those that it has not."""
    return [tensor(sample.arrays.get(name)) for name in names]


def activation(name: str) -> Callable[..., Any]:
    """Return an activation by its name."""
    function: Callable[..., Any] = getattr(torch, name, None) or getattr(functional, name)
    return function


def unary(name: str, sample: Sample) -> Call | None:
    """An activation of x alone, by its name."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return Call(activation(name), (*tensors(sample, "x"),), sample.keywords)


def layer_norm(sample: Sample) -> Call | None:
    """``F.layer_norm`` over the last axis."""
    if sample.keywords.get("axis", -1) != -1:
        return None
    x, weight, bias = tensors(sample, "x", "weight", "bias")
    return Call(functional.layer_norm, (x, x.shape[-1:], weight, bias), {"eps": 1e-5})


def rms_norm(sample: Sample) -> Call | None:
    """``F.rms_norm``, which has no bias."""
    x, weight, bias = tensors(sample, "x", "weight", "bias")
    return Call(functional.rms_norm, (x, x.shape[-1:], weight), {"eps": 1e-6}) if bias is None else None


def normalize(sample: Sample) -> Call:
    """``F.normalize`` over the last axis."""
    eps = sample.keywords.get("eps", 1e-12)
    return Call(functional.normalize, (*tensors(sample, "x"),), {"dim": -1, "eps": eps})


def add_norm(norm: Builder, sample: Sample) -> Call:
    """``torch.add``, then the norm: PyTorch has no kernel for both."""
    built = norm(sample)
    assert built is not None
    alpha = sample.keywords.get("alpha", 1.0)

    def run(x: torch.Tensor, residual: torch.Tensor, *parameters: Any) -> tuple[torch.Tensor, ...]:
        summed = torch.add(x, residual, alpha=alpha)
        return built.function(summed, *parameters, **built.keywords), summed

    return Call(run, (*tensors(sample, "x", "residual"), *built.arguments[1:]))


def softmax(function: Callable[..., Any], sample: Sample) -> Call:
    """``F.softmax`` or ``F.log_softmax`` over the last axis."""
    return Call(function, (*tensors(sample, "x"), -1))


def gated(act: Callable[..., torch.Tensor], sample: Sample) -> Call | None:
    """The activation times up, of two arrays or the halves of one."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    gate, up = tensors(sample, "gate", "up")
    act = partial(act, **sample.keywords) if sample.keywords else act
    if up is None:
        return Call(lambda packed: torch.mul(act(packed.chunk(2, -1)[0]), packed.chunk(2, -1)[1]), (gate,))
    return Call(lambda gate, up: act(gate) * up, (gate, up))


def linear(sample: Sample) -> Call:
    """``F.linear``, whose weight is the transpose of ours, and the activation."""
    x, weight, bias = tensors(sample, "x", "weight", "bias")
    name = sample.keywords.get("activation")
    act: Callable[..., Any] = activation(name) if name else lambda z: z
    return Call(lambda x, weight, bias: act(functional.linear(x, weight, bias)), (x, weight.T, bias))


def embedding(sample: Sample) -> Call:
    """``F.embedding``."""
    return Call(functional.embedding, (*tensors(sample, "ids", "table"),))


def with_gradient(loss: Callable[..., torch.Tensor], sample: Sample) -> Call:
    """Run the sum of the losses and its graph backwards; PyTorch's own losses add up by themselves."""
    x, target = map(tensor, sample.arrays.values())
    x.requires_grad_()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            value = loss(x, target).sum()
        return value.detach(), torch.autograd.grad(value, x)[0]

    return Call(run)


def graph_backward(build: Builder, sample: Sample) -> Call | None:
    """Run the graph of a forward backwards."""
    keywords = {name: value for name, value in sample.keywords.items() if name != "stats"}
    forward = build(replace(sample, keywords=keywords))
    if forward is None:
        return None
    given = (value for value in forward.arguments if isinstance(value, torch.Tensor))
    inputs = [value.requires_grad_() for value in given if value.is_floating_point()]
    gradients = [dy for dy in tensors(sample, *sample.spec.output_gradients) if dy is not None]
    with torch.enable_grad():
        results = forward()
    return Call(torch.autograd.grad, (results, inputs, gradients), {"retain_graph": True})


FORWARD: dict[str, Builder] = {
    name: partial(unary, name)
    for name in ("gelu", *UNARY_ACTIVATIONS)
    if hasattr(torch, name) or hasattr(functional, name)
}
FORWARD |= {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
    "add_layer_norm": partial(add_norm, layer_norm),
    "add_rms_norm": partial(add_norm, rms_norm),
    "softmax": partial(softmax, functional.softmax),
    "log_softmax": partial(softmax, functional.log_softmax),
    "swiglu": partial(gated, activation(GATE_SPECS["swish"].name)),
    "geglu": partial(gated, functional.gelu),
    "reglu": partial(gated, functional.relu),
    "embedding": embedding,
}
CALLS: dict[str, Builder] = {
    **FORWARD,
    **{f"{name}_backward": partial(graph_backward, build) for name, build in FORWARD.items()},
    "linear": linear,
    "cross_entropy": partial(with_gradient, partial(functional.cross_entropy, reduction="sum")),
}
