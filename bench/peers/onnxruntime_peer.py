"""ONNX Runtime: each op as a model of one node, run with NumPy arrays. It has no backward ops on CPUs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from fastnorm._report.peers import UNARY_ACTIVATIONS, Builder
from fastnorm._specs import Call, Sample
from fastnorm._specs.activations import GATE_SPECS
from numpy.typing import NDArray
from onnx import defs, helper

SPINS = True

_options = onnxruntime.SessionOptions()


def prepare(threads: int) -> None:
    """Use that many threads in every session from here on."""
    _options.intra_op_num_threads = threads


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array itself."""
    return np.asarray(array)


def _call(sample: Sample, node: str, opset: int, **attributes: Any) -> Call:
    return _call_nodes(sample, [helper.make_node(node, list(sample.arrays), ["y"], **attributes)], opset)


def _call_nodes(sample: Sample, nodes: list[Any], opset: int) -> Call:
    kind = helper.np_dtype_to_tensor_dtype(sample.x.dtype)
    inputs = [helper.make_tensor_value_info(name, kind, array.shape) for name, array in sample.arrays.items()]
    output = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, nodes[0].op_type, inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), _options, providers=["CPUExecutionProvider"]
    )
    return Call(session.run, (None, dict(sample.arrays)))


def layer_norm(sample: Sample) -> Call | None:
    """Operator LayerNormalization over the last axis, which needs a weight."""
    if "weight" not in sample.arrays or sample.keywords.get("axis", -1) != -1:
        return None
    return _call(sample, "LayerNormalization", 17, axis=-1, epsilon=1e-5)


def rms_norm(sample: Sample) -> Call | None:
    """Operator RMSNormalization, which needs a weight and has no bias."""
    if "weight" not in sample.arrays or "bias" in sample.arrays:
        return None
    return _call(sample, "RMSNormalization", 23, axis=-1, epsilon=1e-6)


def batch_norm(sample: Sample) -> Call | None:
    """Operator BatchNormalization with the channels along axis 1, in evaluation: training is for its own
    trainer.
    """
    if sample.keywords.get("training") or sample.keywords.get("axis", 1) != 1:
        return None
    return _call(sample, "BatchNormalization", 15, epsilon=1e-5)


def group_norm(sample: Sample) -> Call:
    """Operator GroupNormalization."""
    return _call(sample, "GroupNormalization", 21, num_groups=sample.keywords["num_groups"], epsilon=1e-5)


def instance_norm(sample: Sample) -> Call:
    """Operator InstanceNormalization."""
    return _call(sample, "InstanceNormalization", 6, epsilon=1e-5)


def gelu(sample: Sample) -> Call | None:
    """Operator Gelu."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return _call(sample, "Gelu", 20, **sample.keywords)


def softmax(sample: Sample) -> Call:
    """Operator Softmax."""
    return _call(sample, "Softmax", 13, axis=-1)


def log_softmax(sample: Sample) -> Call:
    """Operator LogSoftmax."""
    return _call(sample, "LogSoftmax", 13, axis=-1)


def _gated(sample: Sample, *activation: Any) -> Call | None:
    """The nodes of an activation, the last of which makes "act", and the product with up."""
    if "up" not in sample.arrays:
        return None
    return _call_nodes(sample, [*activation, helper.make_node("Mul", ["act", "up"], ["y"])], 20)


def swiglu(sample: Sample) -> Call | None:
    """Operators Sigmoid and Mul, which the runtime fuses to its QuickGelu."""
    sigmoid = helper.make_node("Sigmoid", ["gate"], ["s"])
    return _gated(sample, sigmoid, helper.make_node("Mul", ["gate", "s"], ["act"]))


def geglu(sample: Sample) -> Call | None:
    """Operators Gelu and Mul."""
    if sample.keywords.get("approximate") == "sigmoid":
        return None
    return _gated(sample, helper.make_node("Gelu", ["gate"], ["act"], **sample.keywords))


def reglu(sample: Sample) -> Call | None:
    """Operators Relu and Mul."""
    return _gated(sample, helper.make_node("Relu", ["gate"], ["act"]))


def bilinear(sample: Sample) -> Call | None:
    """Operator Mul."""
    return _call(sample, "Mul", 14) if "up" in sample.arrays else None


def linear(sample: Sample) -> Call | None:
    """Operator Gemm, which takes matrices, and the activation."""
    activation = sample.keywords.get("activation")
    if sample.x.ndim != 2 or activation not in (None, "relu"):
        return None
    layer = helper.make_node("Gemm", ["x", "weight", "bias"], ["z" if activation else "y"])
    return _call_nodes(sample, [layer, *([helper.make_node("Relu", ["z"], ["y"])] if activation else [])], 13)


# Operators of x alone, by the names of the ops, or of the gates that they are.
GATE_NAMES = {spec.name: gate for gate, spec in GATE_SPECS.items()}
NODES = {name: GATE_NAMES.get(name, name).capitalize() for name in UNARY_ACTIVATIONS}


def unary(node: str, sample: Sample) -> Call | None:
    """An operator of x alone, which takes no bfloat16 on CPUs."""
    if sample.keywords or sample.x.dtype.name == "bfloat16":
        return None
    return _call(sample, node, defs.get_schema(node).since_version)


CALLS: dict[str, Builder] = {
    **{name: partial(unary, node) for name, node in NODES.items() if defs.has(node)},
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "gelu": gelu,
    "swiglu": swiglu,
    "geglu": geglu,
    "reglu": reglu,
    "bilinear": bilinear,
    "linear": linear,
    "softmax": softmax,
    "log_softmax": log_softmax,
}
