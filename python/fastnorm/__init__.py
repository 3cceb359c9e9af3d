"""Fused normalisation and activation kernels for NumPy arrays, forward and backward.

Every op is a function ``y = op(x, ..., *, keywords, out=None)`` with a backward
``gradients = op_backward(dy, <the forward's positional arguments>, *, <its keywords>)``, and every name
stands here. `fastnorm.reference` holds a twin of each op in plain NumPy.
"""

from __future__ import annotations

from typing import Any

from . import _backend, _threadpoolctl, reference
from ._vjp import vjp
from .activations import (
    gelu,
    gelu_backward,
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
)
from .attention import attention, attention_backward, memory_read, memory_read_backward
from .channel_norms import (
    Moments,
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    moments,
)
from .class_losses import (
    cross_entropy,
    cross_entropy_backward,
    focal_loss,
    focal_loss_backward,
    poly_loss,
    poly_loss_backward,
)
from .elementwise_losses import (
    mse_loss,
    mse_loss_backward,
    poly_focal_loss,
    poly_focal_loss_backward,
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
)
from .gates import (
    bilinear,
    bilinear_backward,
    geglu,
    geglu_backward,
    glu,
    glu_backward,
    reglu,
    reglu_backward,
    swiglu,
    swiglu_backward,
)
from .linear import gated_linear, gated_linear_backward, linear, linear_backward
from .memory import MemN2N
from .mlp import MLP, mlp_backward, mlp_forward
from .norms import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from .optim import SGD, Adam
from .residual_norms import (
    DeepNormConstants,
    DeepNormScale,
    add_layer_norm,
    add_layer_norm_backward,
    add_rms_norm,
    add_rms_norm_backward,
    deep_norm,
    deep_norm_backward,
    deep_norm_constants,
    deep_norm_init,
)
from .runtime import (
    active_target,
    available_targets,
    backend,
    clear_cache,
    get_backend,
    get_num_threads,
    set_backend,
    set_num_threads,
    show_config,
    threads,
)
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "DeepNormConstants",
    "DeepNormScale",
    "MemN2N",
    "Moments",
    "active_target",
    "add_layer_norm",
    "add_layer_norm_backward",
    "add_rms_norm",
    "add_rms_norm_backward",
    "attention",
    "attention_backward",
    "available_targets",
    "backend",
    "batch_norm",
    "batch_norm_backward",
    "bilinear",
    "bilinear_backward",
    "clear_cache",
    "cross_entropy",
    "cross_entropy_backward",
    "deep_norm",
    "deep_norm_backward",
    "deep_norm_constants",
    "deep_norm_init",
    "focal_loss",
    "focal_loss_backward",
    "gated_linear",
    "gated_linear_backward",
    "geglu",
    "geglu_backward",
    "gelu",
    "gelu_backward",
    "get_backend",
    "get_num_threads",
    "glu",
    "glu_backward",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "memory_read",
    "memory_read_backward",
    "mlp_backward",
    "mlp_forward",
    "moments",
    "mse_loss",
    "mse_loss_backward",
    "poly_focal_loss",
    "poly_focal_loss_backward",
    "poly_loss",
    "poly_loss_backward",
    "reference",
    "reglu",
    "reglu_backward",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "set_backend",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "swiglu",
    "swiglu_backward",
    "swish",
    "swish_backward",
    "tanh",
    "tanh_backward",
    "threads",
    "vjp",
]

__version__: str


def __getattr__(name: str) -> Any:
    # Reading the metadata takes tens of milliseconds, which an import should not.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("fastnorm")
    except PackageNotFoundError:
        found = "unknown"  # a source tree that is not installed
    globals()["__version__"] = found
    return found


_backend.use_default()
_threadpoolctl.register()
