"""The argument rules of every op: what is taken, what it becomes, and which error says what is wrong.

`<op>(<positional arguments>, <keywords in the order of the signature>)`, all given by position, returns the
same arguments in canonical form or raises. Both backends call it, the extension only for arguments that it
does not take straight away, so both give the same errors. Canonical means:

- arrays are exact ndarrays of a supported dtype in native byte order, with any strides and alignment;
- `axis` is a tuple of non-negative axes in ascending order, and weight and bias have their axes in that
  order;
- numbers are finite floats, flags bools, `stats` arrays of the statistics' shape and dtype;
- `out` can be written, and is exactly one of the inputs or shares memory with none.
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
from .memory import embedding_sums, embedding_sums_backward
from .mlp import mlp_backward, mlp_forward, mlp_gradients, mlp_train
from .norms import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from .optim import optimizer_update
from .residual_norms import (
    add_layer_norm,
    add_layer_norm_backward,
    add_rms_norm,
    add_rms_norm_backward,
    deep_norm,
    deep_norm_backward,
)
from .rules import user_order
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
    "embedding_sums",
    "embedding_sums_backward",
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
    "mlp_gradients",
    "mlp_train",
    "moments",
    "mse_loss",
    "mse_loss_backward",
    "optimizer_update",
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
    "user_order",
]
