"""The encoder of examples/sentence_embeddings.py in other libraries, from the same weights.

Each function takes the example's `SentenceEncoder` and returns a function of tokens and mask, as its `embed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Embed = Callable[[Array, Array], Array]


def arrays(encode: Any) -> dict[str, Array]:
    """Return the weights, packed or not, as arrays."""
    return {name: np.asarray(weight) for name, weight in encode.weights.items()}


def numpy_encoder(encode: Any) -> Embed:
    """NumPy alone, in place where it can be; SciPy's erf."""
    from scipy.special import erf

    weights, config = arrays(encode), encode.config
    heads, eps = config["num_attention_heads"], np.float32(encode.eps)

    def linear(x: Array, name: str) -> Array:
        # One large product: for a stack NumPy would run one small product a sentence.
        y: Array = (x.reshape(-1, x.shape[-1]) @ weights[f"{name}.weight"]).reshape(*x.shape[:-1], -1)
        y += weights[f"{name}.bias"]
        return y

    def layer_norm(x: Array, name: str) -> Array:
        x -= x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
        x *= weights[f"{name}.weight"]
        x += weights[f"{name}.bias"]
        return x

    def attention(x: Array, excluded: Array, name: str) -> Array:
        batch, tokens, features = x.shape
        joined = linear(x, name).reshape(batch, tokens, 3, heads, features // heads)
        query, keys, values = joined.transpose(2, 0, 3, 1, 4)
        scores = (query * np.float32((features / heads) ** -0.5)) @ keys.swapaxes(-1, -2)
        scores += excluded
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.asarray((scores @ values).swapaxes(1, 2).reshape(batch, tokens, features))

    def embed(ids: Array, mask: Array) -> Array:
        x = weights["embeddings.word_embeddings.weight"][ids]
        x += encode.places[: ids.shape[1]]
        x = layer_norm(x, "embeddings.LayerNorm")
        excluded = np.where(mask, np.float32(0), np.float32(-np.inf))[:, None, None, :]
        for layer in encode.layers:
            attended = linear(
                attention(x, excluded, f"{layer}.attention.self"), f"{layer}.attention.output.dense"
            )
            attended += x
            x = layer_norm(attended, f"{layer}.attention.output.LayerNorm")
            inner = linear(x, f"{layer}.intermediate.dense")
            inner *= 0.5 * (1 + erf(inner * np.float32(0.5**0.5)))
            outer = linear(inner, f"{layer}.output.dense")
            outer += x
            x = layer_norm(outer, f"{layer}.output.LayerNorm")
        kept = mask.astype(np.float32)
        mean: Array = np.einsum("btd,bt->bd", x, kept)  # its length is set below
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        return mean

    return embed


def torch_encoder(encode: Any, compiled: bool = False) -> Embed:
    """PyTorch in inference mode, eager or compiled (for any number of tokens)."""
    import torch
    from torch.nn import functional

    config = encode.config
    heads, features = config["num_attention_heads"], config["hidden_size"]
    weights = {
        # PyTorch's own layout: (out, in)
        name: torch.from_numpy(np.ascontiguousarray(weight.T) if name.startswith("encoder.") else weight)
        for name, weight in arrays(encode).items()
    }
    places = torch.from_numpy(encode.places)

    def linear(x: Any, name: str) -> Any:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def layer_norm(x: Any, name: str) -> Any:
        return functional.layer_norm(
            x, (features,), weights[f"{name}.weight"], weights[f"{name}.bias"], encode.eps
        )

    def run(ids: Any, kept: Any) -> Any:
        words = functional.embedding(ids, weights["embeddings.word_embeddings.weight"])
        x = layer_norm(words + places[: ids.shape[1]], "embeddings.LayerNorm")
        for layer in encode.layers:
            joined = linear(x, f"{layer}.attention.self").unflatten(-1, (3, heads, -1))
            query, keys, values = joined.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=kept[:, None, None, :]
            )
            attended = linear(attended.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
            x = layer_norm(attended + x, f"{layer}.attention.output.LayerNorm")
            inner = functional.gelu(linear(x, f"{layer}.intermediate.dense"))
            x = layer_norm(linear(inner, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
        mean = (x * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)
        return functional.normalize(mean, dim=1)

    runs = torch.compile(run) if compiled else run

    def embed(ids: Array, mask: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(runs(torch.from_numpy(ids), torch.from_numpy(mask)))

    return embed


def onnx_model(encode: Any) -> bytes:
    """Return a model of ONNX with the fused operators that ONNX Runtime's optimiser puts in."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {
        **arrays(encode),
        "places": encode.places,
        "zero": np.zeros(1, np.int64),
        "first": np.array([1]),
    }
    constants["second"] = np.array([2])

    def node(kind: str, inputs: str, **attributes: Any) -> str:
        output = f"{kind}_{len(nodes)}"
        domain = "com.microsoft" if kind in ("Attention", "SkipLayerNormalization", "BiasGelu") else ""
        nodes.append(helper.make_node(kind, inputs.split(), [output], domain=domain, **attributes))
        return output

    def parameters(name: str) -> str:
        return f"{name}.weight {name}.bias"

    words = node("Gather", "embeddings.word_embeddings.weight ids")
    tokens = node("Shape", "ids", start=1, end=2)
    places = node("Slice", f"places zero {tokens} zero")
    norm = parameters("embeddings.LayerNorm")
    x = node("LayerNormalization", f"{node('Add', f'{words} {places}')} {norm}", axis=-1, epsilon=encode.eps)
    kept = node("Cast", "mask", to=TensorProto.INT32)
    for layer in encode.layers:
        own = parameters(f"{layer}.attention.self")
        attended = node("Attention", f"{x} {own} {kept}", num_heads=encode.config["num_attention_heads"])
        for dense in (f"{layer}.attention.output", f"{layer}.output"):
            if dense == f"{layer}.output":
                inner = node("MatMul", f"{x} {layer}.intermediate.dense.weight")
                attended = node("BiasGelu", f"{inner} {layer}.intermediate.dense.bias")
            outer = node("MatMul", f"{attended} {dense}.dense.weight")
            norm = parameters(f"{dense}.LayerNorm")
            x = node("SkipLayerNormalization", f"{outer} {x} {norm} {dense}.dense.bias", epsilon=encode.eps)
    present = node("Cast", "mask", to=TensorProto.FLOAT)
    weighted = node("Mul", f"{x} {node('Unsqueeze', f'{present} second')}")
    pooled = node("ReduceSum", f"{weighted} first", keepdims=0)  # its length is set next
    result = node("LpNormalization", pooled, axis=-1, p=2)

    tensors = [
        numpy_helper.from_array(value, name)
        for name, value in constants.items()
        if any(name in made.input for made in nodes)
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", "tokens"]),
        ],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return made


def onnxruntime_encoder(encode: Any, threads: int) -> Embed:
    """ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(encode), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: np.asarray(session.run(None, {"ids": ids, "mask": mask})[0])


def openvino_encoder(encode: Any, threads: int) -> Embed:
    """OpenVINO, in float32, without copies of inputs and results."""
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.compile_model(openvino.Core().read_model(onnx_model(encode)), "CPU", options)
    request = model.create_infer_request()
    return lambda ids, mask: np.asarray(
        request.infer({"ids": ids, "mask": mask}, share_inputs=True, share_outputs=True)[0]
    )
