"""The compiled extension: every op under its public name and signature, and what `runtime` is made of."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

from ._arguments.mlp import Loss
from ._arguments.optim import Rule
from ._typing import Approximation, Array, ArrayLike, Axis, DenseActivation, Gate, LossResult, Reduction

def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]: ...
def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[Array, Array | None, Array | None]: ...
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    eps: float = 1e-6,
    weight_offset: float = 0.0,
    fraction: float | None = None,
    stats: ArrayLike | None = None,
) -> tuple[Array, Array | None, Array | None]: ...
def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-5,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]: ...
def add_layer_norm_backward(
    dy: ArrayLike | None,
    dsummed: ArrayLike | None,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array | None, Array | None]: ...
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-6,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]: ...
def add_rms_norm_backward(
    dy: ArrayLike | None,
    dsummed: ArrayLike | None,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    axis: Axis = -1,
    eps: float = 1e-6,
) -> tuple[Array, Array, Array | None]: ...
def deep_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float,
    axis: Axis = -1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array: ...
def deep_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    alpha: float,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array | None, Array | None]: ...
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    running_correction: int = 1,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array, Array]: ...
def batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    *,
    training: bool = False,
    eps: float = 1e-5,
    axis: int = 1,
    stats: tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[Array, Array | None, Array | None]: ...
def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: Array | None = None,
) -> Array: ...
def group_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
) -> tuple[Array, Array | None, Array | None]: ...
def instance_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    out: Array | None = None,
) -> Array: ...
def instance_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
) -> tuple[Array, Array | None, Array | None]: ...
def gated_linear(
    x: ArrayLike,
    w_gate: ArrayLike,
    w_up: ArrayLike,
    b_gate: ArrayLike | None = None,
    b_up: ArrayLike | None = None,
    *,
    gate: Gate | None = "swish",
    beta: float = 1.0,
    out: Array | None = None,
) -> Array: ...
def gated_linear_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w_gate: ArrayLike,
    w_up: ArrayLike,
    b_gate: ArrayLike | None = None,
    b_up: ArrayLike | None = None,
    *,
    gate: Gate | None = "swish",
    beta: float = 1.0,
) -> tuple[Array, Array, Array, Array | None, Array | None]: ...
def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: DenseActivation | None = None,
    out: Array | None = None,
) -> Array: ...
def linear_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: DenseActivation | None = None,
) -> tuple[Array, Array, Array | None]: ...
def gelu(x: ArrayLike, *, approximate: Approximation = "none", out: Array | None = None) -> Array: ...
def gelu_backward(dy: ArrayLike, x: ArrayLike, *, approximate: Approximation = "none") -> Array: ...
def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def mse_loss_backward(
    dloss: ArrayLike,
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
) -> Array: ...
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def sigmoid_focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
) -> Array: ...
def poly_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def poly_focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
) -> Array: ...
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def cross_entropy_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
) -> Array: ...
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def focal_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
) -> Array: ...
def poly_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
    return_grad: bool = False,
) -> LossResult | tuple[LossResult, Array]: ...
def poly_loss_backward(
    dloss: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: SupportsIndex = -1,
) -> Array: ...
def softmax(x: ArrayLike, *, axis: SupportsIndex = -1, out: Array | None = None) -> Array: ...
def softmax_backward(dy: ArrayLike, x: ArrayLike, *, axis: SupportsIndex = -1) -> Array: ...
def log_softmax(x: ArrayLike, *, axis: SupportsIndex = -1, out: Array | None = None) -> Array: ...
def log_softmax_backward(dy: ArrayLike, x: ArrayLike, *, axis: SupportsIndex = -1) -> Array: ...
def glu(x: ArrayLike, *, axis: SupportsIndex = -1, out: Array | None = None) -> Array: ...
def glu_backward(dy: ArrayLike, x: ArrayLike, *, axis: SupportsIndex = -1) -> Array: ...
def swiglu(
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
def swiglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    axis: SupportsIndex = -1,
) -> Array | tuple[Array, Array]: ...
def geglu(
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
    out: Array | None = None,
) -> Array: ...
def geglu_backward(
    dy: ArrayLike,
    gate: ArrayLike,
    up: ArrayLike | None = None,
    *,
    approximate: Approximation = "none",
    axis: SupportsIndex = -1,
) -> Array | tuple[Array, Array]: ...
def reglu(
    gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None
) -> Array: ...
def reglu_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1
) -> Array | tuple[Array, Array]: ...
def bilinear(
    gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1, out: Array | None = None
) -> Array: ...
def bilinear_backward(
    dy: ArrayLike, gate: ArrayLike, up: ArrayLike | None = None, *, axis: SupportsIndex = -1
) -> Array | tuple[Array, Array]: ...
def relu(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def relu_backward(dy: ArrayLike, x: ArrayLike) -> Array: ...
def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def sigmoid_backward(dy: ArrayLike, x: ArrayLike) -> Array: ...
def silu(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def silu_backward(dy: ArrayLike, x: ArrayLike) -> Array: ...
def swish(x: ArrayLike, beta: ArrayLike = 1.0, *, out: Array | None = None) -> Array: ...
def swish_backward(dy: ArrayLike, x: ArrayLike, beta: ArrayLike = 1.0) -> tuple[Array, Array]: ...
def tanh(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def tanh_backward(dy: ArrayLike, x: ArrayLike) -> Array: ...
def mlp_forward(
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    *,
    activation: DenseActivation | None = "relu",
    output_activation: DenseActivation | None = None,
) -> Array: ...
def mlp_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    *,
    activation: DenseActivation | None = "relu",
    output_activation: DenseActivation | None = None,
) -> tuple[Array, list[Array], list[Array | None] | None]: ...
def attention(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    scale: float = 1.0,
    linear: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
def attention_backward(
    dy: ArrayLike,
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    scale: float = 1.0,
    linear: bool = False,
) -> tuple[Array, Array, Array]: ...
def memory_read(
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
    return_weights: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]: ...
def memory_read_backward(
    dy: ArrayLike,
    query: ArrayLike,
    keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    linear: bool = False,
) -> tuple[Array, Array, Array]: ...

# What the statistics are made of, as in reference.STATISTICS.
def moments(x: ArrayLike, axis: Axis | None = None) -> tuple[int, Array, Array]: ...

# What MLP, MemN2N and the optimisers are made of, as in reference.TRAINING.
def embedding_sums(
    tables: Sequence[ArrayLike], words: ArrayLike, encoding: ArrayLike
) -> tuple[Array, ...]: ...
def embedding_sums_backward(
    dys: Sequence[ArrayLike], tables: Sequence[ArrayLike], words: ArrayLike, encoding: ArrayLike
) -> tuple[Array, ...]: ...
def mlp_gradients(
    x: ArrayLike,
    target: ArrayLike,
    sample_weight: Array | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str | Loss,
    penalty: float,
) -> tuple[float, list[Array], list[Array | None] | None]: ...
def mlp_train(
    x: ArrayLike,
    target: ArrayLike,
    sample_weight: Array | None,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike | None] | None,
    activation: DenseActivation | None,
    output_activation: DenseActivation | None,
    loss: str | Loss,
    penalty: float,
    rule: Rule,
    order: Array | None,
    batch_size: int,
) -> float: ...
def optimizer_update(
    parameters: Sequence[Array], gradients: Sequence[ArrayLike | None], rule: Rule
) -> None: ...

# The setting of the process, and the limit of the calling thread (0: none), which returns the one before.
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def swap_thread_limit(n: int) -> int: ...

# Instruction sets, the best first. set_target is for tests.
def available_targets() -> tuple[str, ...]: ...
def active_target() -> str: ...
def set_target(name: str) -> None: ...

# The cache of large results: limit_bytes, held_bytes, hits and misses.
def clear_cache() -> None: ...
def cache_info() -> dict[str, int]: ...

# Bytes of l1d, l2 and l3; compiler, version and flags.
def cache_sizes() -> dict[str, int]: ...
def build_info() -> dict[str, Any]: ...

# GB/s (read plus written) of a copy past the caches between blocks of so many bytes: the yardstick of
# benchmarks.
def copy_bandwidth(n_bytes: int, threads: int) -> float: ...
