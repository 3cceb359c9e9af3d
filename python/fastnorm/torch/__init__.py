"""fastnorm for PyTorch on the CPU: functions of its tensors, and its small networks trained in shared memory.

The functions have PyTorch's names, arguments and defaults, take part in autograd, and may stand in programs
that `torch.compile` and `torch.export` take. `adopt` makes an `MLP` of an `nn.Sequential`, in its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    import torch as _torch
    from torch import Tensor
except ImportError as error:
    raise ImportError("fastnorm.torch needs PyTorch: pip install fastnorm-kernels[torch]") from error

from ._library import TABLE, call
from ._networks import adopt, to_module

__all__ = [
    "add_layer_norm",
    "add_rms_norm",
    "adopt",
    "attention",
    "batch_norm",
    "cross_entropy",
    "geglu",
    "gelu",
    "group_norm",
    "layer_norm",
    "linear",
    "log_softmax",
    "rms_norm",
    "silu",
    "softmax",
    "swiglu",
    "to_module",
]

_layer_norm, _rms_norm = TABLE["layer_norm"], TABLE["rms_norm"]
_group_norm, _batch_norm = TABLE["group_norm"], TABLE["batch_norm"]
_add_layer_norm, _add_rms_norm = TABLE["add_layer_norm"], TABLE["add_rms_norm"]
_gelu, _silu, _swiglu, _geglu = TABLE["gelu"], TABLE["silu"], TABLE["swiglu"], TABLE["geglu"]
_softmax, _log_softmax = TABLE["softmax"], TABLE["log_softmax"]
_cross_entropy, _linear, _attention = TABLE["cross_entropy"], TABLE["linear"], TABLE["attention"]


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.layer_norm`: `fastnorm.layer_norm` over the last axes."""
    axes = _last_axes("layer_norm", input, normalized_shape)
    return call(_layer_norm, input, weight, bias, axes, eps)[0]


def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """`torch.nn.functional.rms_norm`: `fastnorm.rms_norm` over the last axes.

    eps is that of the type which is computed in, 2**-23 or 2**-52, where it is not given.
    """
    axes = _last_axes("rms_norm", input, normalized_shape)
    return call(_rms_norm, input, weight, axes, _epsilon(input) if eps is None else eps)[0]


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.group_norm`: `fastnorm.group_norm` of channels along axis 1."""
    return call(_group_norm, input, weight, bias, num_groups, eps)[0]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`: `fastnorm.batch_norm` of channels along axis 1.

    While training the running arrays are updated in place.
    """
    if not training and (running_mean is None or running_var is None):
        raise ValueError("batch_norm: training is False, needs running_mean and running_var")
    given = (input, weight, bias, running_mean, running_var, training, momentum, eps)
    y, *updated = call(_batch_norm, *given)
    if updated and running_mean is not None and running_var is not None:
        with _torch.no_grad():
            running_mean.copy_(updated[0])
            running_var.copy_(updated[1])
    return y


def add_layer_norm(
    input: Tensor,
    residual: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """`fastnorm.add_layer_norm`: ``summed = input + alpha * residual`` and its `layer_norm`.

    Returns ``(y, summed)``.
    """
    axes = _last_axes("add_layer_norm", input, normalized_shape)
    y, summed = call(_add_layer_norm, input, residual, weight, bias, axes, eps, alpha)
    return y, summed


def add_rms_norm(
    input: Tensor,
    residual: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """`fastnorm.add_rms_norm`: ``summed = input + alpha * residual`` and its `rms_norm`.

    Returns ``(y, summed)``; eps as in `rms_norm`.
    """
    axes = _last_axes("add_rms_norm", input, normalized_shape)
    eps = _epsilon(input) if eps is None else eps
    y, summed = call(_add_rms_norm, input, residual, weight, axes, eps, alpha)
    return y, summed


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`torch.nn.functional.gelu`, also with approximate='sigmoid': `fastnorm.gelu`."""
    return call(_gelu, input, approximate)[0]


def silu(input: Tensor) -> Tensor:
    """`torch.nn.functional.silu`: `fastnorm.silu`."""
    return call(_silu, input)[0]


def swiglu(gate: Tensor, up: Tensor | None = None, beta: float = 1.0, dim: int = -1) -> Tensor:
    """`fastnorm.swiglu`: ``swish(gate) * up``; without `up` the gate holds both, halves along `dim`."""
    return call(_swiglu, gate, up, beta, dim)[0]


def geglu(gate: Tensor, up: Tensor | None = None, approximate: str = "none", dim: int = -1) -> Tensor:
    """`fastnorm.geglu`: ``gelu(gate) * up``; without `up` the gate holds both, halves along `dim`."""
    return call(_geglu, gate, up, approximate, dim)[0]


def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`torch.softmax`: `fastnorm.softmax`, of the input in another type where `dtype` is given."""
    return call(_softmax, input if dtype is None else input.to(dtype), dim)[0]


def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`torch.log_softmax`: `fastnorm.log_softmax`, of the input in another type where `dtype` is given."""
    return call(_log_softmax, input if dtype is None else input.to(dtype), dim)[0]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`torch.nn.functional.cross_entropy`: `fastnorm.cross_entropy` of classes along axis 1, or the only one.

    A gradient of the target, or of the weight, is refused.
    """
    axis, keeps = 1, False
    if isinstance(input, Tensor):
        axis = 0 if input.dim() == 1 else 1
        # One pass gives loss and gradient; that of a half type could vanish before it is scaled.
        keeps = input.requires_grad and _torch.is_grad_enabled() and input.dtype.itemsize > 2
    given = (input, target, weight, label_smoothing, ignore_index, reduction, axis, keeps)
    return call(_cross_entropy, *given)[0]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: `fastnorm.linear` with the weight (out, in)."""
    return call(_linear, input, weight, bias)[0]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`: `fastnorm.attention`.

    A query with nothing to attend to gives zeros. What is dropped depends on PyTorch's seed, as
    `torch.manual_seed` sets it. A gradient of `attn_mask` is refused.
    """
    seed = None if dropout_p == 0 else _torch.randint(2**62, ())
    given = (query, key, value, attn_mask, seed, is_causal, scale, enable_gqa, dropout_p)
    return call(_attention, *given)[0]


def _last_axes(name: str, input: Tensor, normalized_shape: int | Sequence[int]) -> list[int]:
    """Return the axes that a shape stands for."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: input has type {type(input).__name__}, needs a tensor")
    if not shape or len(shape) > input.dim() or tuple(input.shape[-len(shape) :]) != shape:
        found = f"is {normalized_shape} for an input of shape {tuple(input.shape)}"
        raise ValueError(f"{name}: normalized_shape {found}, needs the input's last axes")
    return list(range(-len(shape), 0))


def _epsilon(input: Tensor) -> float:
    """Return the machine epsilon of the type that a tensor is computed in."""
    return 2.0**-52 if input.dtype == _torch.float64 else 2.0**-23
