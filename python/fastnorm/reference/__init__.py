"""The NumPy twin of every op, under the same name and with the same signature.

The twins compute in float64 and round once to the dtype of the result. They are written to be read and to be
right: the native kernels are tested against them, and they run where the extension cannot
(`fastnorm.set_backend`).
"""

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
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    moments,  # noqa: F401
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
from .memory import embedding_sums, embedding_sums_backward  # noqa: F401
from .mlp import mlp_backward, mlp_forward, mlp_gradients, mlp_train  # noqa: F401
from .norms import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from .optim import optimizer_update  # noqa: F401
from .residual_norms import (
    add_layer_norm,
    add_layer_norm_backward,
    add_rms_norm,
    add_rms_norm_backward,
    deep_norm,
    deep_norm_backward,
)
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

__all__ = [
    "add_layer_norm",
    "add_layer_norm_backward",
    "add_rms_norm",
    "add_rms_norm_backward",
    "attention",
    "attention_backward",
    "batch_norm",
    "batch_norm_backward",
    "bilinear",
    "bilinear_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "deep_norm",
    "deep_norm_backward",
    "focal_loss",
    "focal_loss_backward",
    "gated_linear",
    "gated_linear_backward",
    "geglu",
    "geglu_backward",
    "gelu",
    "gelu_backward",
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
    "mse_loss",
    "mse_loss_backward",
    "poly_focal_loss",
    "poly_focal_loss_backward",
    "poly_loss",
    "poly_loss_backward",
    "reglu",
    "reglu_backward",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
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
]

# The training of networks: functions of a backend behind `MLP`, `MemN2N` and the optimisers.
TRAINING = ("embedding_sums", "embedding_sums_backward", "mlp_gradients", "mlp_train", "optimizer_update")
# Statistics: functions of a backend that have no backward.
STATISTICS = ("moments",)
