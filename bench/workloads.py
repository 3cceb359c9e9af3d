"""What is timed: every workload at every shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastnorm._report.samples import Sample, make_sample

# From one short row, where the call itself is the cost, to 256 MB, where memory is.
SHAPES = ((1, 64), (1, 768), (32, 768), (512, 768), (4096, 1024), (16384, 4096))
# Of norms over channels: a small call, rows of features, images of a small and of a large net.
CHANNEL_SHAPES = ((8, 64), (256, 128), (65536, 128), (8, 256, 28, 28), (32, 64, 56, 56))
# (heads, length, dim) and (batch, slots, dim); the last two reads as the memory networks of the paper make
# them.
ATTENTION_SHAPES = ((1, 16, 64), (8, 128, 64), (12, 512, 32), (8, 1024, 64))
READ_SHAPES = ((1, 50, 20), (32, 50, 20), (256, 50, 50))
# Of losses over classes, which are the last axis: a small call, an image classifier, a batch and a page of
# tokens.
CLASS_SHAPES = ((1, 10), (512, 1000), (64, 128256), (4096, 32000))
WITH_GRADIENT = {"reduction": "sum", "return_grad": True}
NHWC_SHAPES = ((8, 28, 28, 256), (32, 56, 56, 64))


@dataclass(frozen=True)
class Workload:
    """One op with the arguments that are left out and the keywords that are given."""

    op: str
    without: frozenset[str] = frozenset()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = SHAPES  # where "all" are asked for

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether the op can be called at this shape: groups divide the channels."""
        return len(shape) > 1 and shape[1] % self.keywords.get("num_groups", 1) == 0

    def sample(self, shape: tuple[int, ...], dtype: str) -> Sample:
        """Return its arguments; a backward gets the statistics of the forward."""
        rng = np.random.default_rng(0)
        sample = make_sample(
            self.op, shape, np.dtype(dtype), rng, without=self.without, keywords=self.keywords
        )
        return sample.with_stats()


WORKLOADS = {
    "layer_norm": Workload("layer_norm"),
    "layer_norm_plain": Workload("layer_norm", frozenset({"weight", "bias"})),
    "layer_norm_channels": Workload("layer_norm", keywords={"axis": 1}, shapes=CHANNEL_SHAPES[3:]),
    "layer_norm_backward": Workload("layer_norm_backward"),
    "rms_norm": Workload("rms_norm", frozenset({"bias"})),
    "rms_norm_backward": Workload("rms_norm_backward", frozenset({"bias"})),
    "add_layer_norm": Workload("add_layer_norm"),
    "add_layer_norm_backward": Workload("add_layer_norm_backward"),
    "add_rms_norm": Workload("add_rms_norm"),
    "add_rms_norm_backward": Workload("add_rms_norm_backward"),
    "deep_norm": Workload("deep_norm", keywords={"alpha": 3.75}),
    "deep_norm_backward": Workload("deep_norm_backward", keywords={"alpha": 3.75}),
    "batch_norm": Workload("batch_norm", keywords={"training": True}, shapes=CHANNEL_SHAPES),
    "batch_norm_backward": Workload(
        "batch_norm_backward", keywords={"training": True}, shapes=CHANNEL_SHAPES
    ),
    "batch_norm_evaluation": Workload("batch_norm", shapes=CHANNEL_SHAPES),
    "batch_norm_nhwc": Workload("batch_norm", keywords={"training": True, "axis": -1}, shapes=NHWC_SHAPES),
    "batch_norm_nhwc_backward": Workload(
        "batch_norm_backward", keywords={"training": True, "axis": -1}, shapes=NHWC_SHAPES
    ),
    "group_norm": Workload("group_norm", keywords={"num_groups": 32}, shapes=CHANNEL_SHAPES[3:]),
    "group_norm_backward": Workload(
        "group_norm_backward", keywords={"num_groups": 32}, shapes=CHANNEL_SHAPES[3:]
    ),
    "instance_norm": Workload("instance_norm", shapes=CHANNEL_SHAPES[3:]),
    "instance_norm_backward": Workload("instance_norm_backward", shapes=CHANNEL_SHAPES[3:]),
    "gelu": Workload("gelu"),
    "gelu_backward": Workload("gelu_backward"),
    "gelu_tanh": Workload("gelu", keywords={"approximate": "tanh"}),
    "gelu_tanh_backward": Workload("gelu_backward", keywords={"approximate": "tanh"}),
    "glu": Workload("glu"),
    "glu_backward": Workload("glu_backward"),
    "swiglu": Workload("swiglu"),
    "swiglu_backward": Workload("swiglu_backward"),
    "swiglu_packed": Workload("swiglu", frozenset({"up"})),
    "swiglu_packed_backward": Workload("swiglu_backward", frozenset({"up"})),
    "geglu": Workload("geglu"),
    "geglu_backward": Workload("geglu_backward"),
    "geglu_packed": Workload("geglu", frozenset({"up"})),
    "geglu_packed_backward": Workload("geglu_backward", frozenset({"up"})),
    "reglu": Workload("reglu"),
    "reglu_backward": Workload("reglu_backward"),
    "bilinear": Workload("bilinear"),
    "bilinear_backward": Workload("bilinear_backward"),
    "attention": Workload("attention", shapes=ATTENTION_SHAPES),
    "attention_backward": Workload("attention_backward", shapes=ATTENTION_SHAPES),
    "memory_read": Workload("memory_read", shapes=READ_SHAPES),
    "memory_read_backward": Workload("memory_read_backward", shapes=READ_SHAPES),
    "cross_entropy": Workload("cross_entropy", keywords=WITH_GRADIENT, shapes=CLASS_SHAPES),
    "focal_loss": Workload("focal_loss", keywords=WITH_GRADIENT, shapes=CLASS_SHAPES),
    "poly_loss": Workload("poly_loss", keywords=WITH_GRADIENT, shapes=CLASS_SHAPES),
    "mse_loss": Workload("mse_loss", keywords=WITH_GRADIENT),
    "sigmoid_focal_loss": Workload("sigmoid_focal_loss", keywords=WITH_GRADIENT),
    "poly_focal_loss": Workload("poly_focal_loss", keywords=WITH_GRADIENT),
    "linear": Workload("linear"),
    "linear_relu": Workload("linear", keywords={"activation": "relu"}),
    "linear_backward": Workload("linear_backward"),
    "gated_linear": Workload("gated_linear", frozenset({"b_gate", "b_up"})),
    "gated_linear_backward": Workload("gated_linear_backward", frozenset({"b_gate", "b_up"})),
    "mlp_forward": Workload("mlp_forward", keywords={"activation": "relu"}, shapes=SHAPES[:-1]),
    "mlp_backward": Workload("mlp_backward", keywords={"activation": "relu"}, shapes=SHAPES[:-1]),
    "softmax": Workload("softmax"),
    "softmax_backward": Workload("softmax_backward"),
    "log_softmax": Workload("log_softmax"),
    "log_softmax_backward": Workload("log_softmax_backward"),
    "relu": Workload("relu"),
    "relu_backward": Workload("relu_backward"),
    "sigmoid": Workload("sigmoid"),
    "sigmoid_backward": Workload("sigmoid_backward"),
    "silu": Workload("silu"),
    "silu_backward": Workload("silu_backward"),
    "swish": Workload("swish", frozenset({"beta"}), {"beta": 1.5}),
    "swish_backward": Workload("swish_backward", frozenset({"beta"}), {"beta": 1.5}),
    "tanh": Workload("tanh"),
    "tanh_backward": Workload("tanh_backward"),
}


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape like ``512x768``."""
    return tuple(int(part) for part in text.split("x"))


def format_shape(shape: tuple[int, ...]) -> str:
    """Write a shape like ``512x768``."""
    return "x".join(map(str, shape))
