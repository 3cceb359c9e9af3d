"""ONNX Runtime: each op as a model of one node, run with NumPy arrays. It has no backward ops on CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from fastnorm._report.samples import Sample
from fastnorm._report.timing import Call
from numpy.typing import NDArray
from onnx import helper

from peers import Builder

SPINS = True

_options = onnxruntime.SessionOptions()


def prepare(threads: int) -> None:
    """Use that many threads in every session from here on."""
    _options.intra_op_num_threads = threads


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array itself."""
    return np.asarray(array)


def _call(sample: Sample, node: str, opset: int, **attributes: Any) -> Call:
    kind = helper.np_dtype_to_tensor_dtype(sample.arrays["x"].dtype)
    inputs = [helper.make_tensor_value_info(name, kind, array.shape) for name, array in sample.arrays.items()]
    output = helper.make_tensor_value_info("y", kind, sample.arrays["x"].shape)
    graph = helper.make_graph(
        [helper.make_node(node, list(sample.arrays), ["y"], **attributes)], node, inputs, [output]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), _options, providers=["CPUExecutionProvider"])
    return Call(session.run, (None, dict(sample.arrays)))


def layer_norm(sample: Sample) -> Call | None:
    """Operator LayerNormalization, which needs a weight."""
    return _call(sample, "LayerNormalization", 17, axis=-1, epsilon=1e-5) if "weight" in sample.arrays else None


def rms_norm(sample: Sample) -> Call | None:
    """Operator RMSNormalization, which needs a weight and has no bias."""
    if "weight" not in sample.arrays or "bias" in sample.arrays:
        return None
    return _call(sample, "RMSNormalization", 23, axis=-1, epsilon=1e-6)


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


CALLS: dict[str, Builder] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "gelu": gelu,
    "softmax": softmax,
    "log_softmax": log_softmax,
}
