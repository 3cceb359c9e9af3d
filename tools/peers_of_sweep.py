"""The activations of other libraries, for tools/sweep.py: functions from a float32 array to the results for
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from fastnorm import activations
from fastnorm._specs import spec_of
from fastnorm._specs.spec import EXACT
from numpy.typing import NDArray

Array = NDArray[np.float32]
Function = Callable[[Array], Array]


def is_unary(name: str) -> bool:
    """Whether it is an activation of x alone, in one form, that rounds."""
    if name.endswith("_backward"):
        return False
    spec = spec_of(name)
    return spec.differentiable == ("x",) and len(spec.variants) == 1 and spec.contract is not EXACT


UNARY = tuple(filter(is_unary, activations.__all__))


def torch_functions() -> dict[str, Function]:
    """PyTorch, eager; derivatives by the kernels behind autograd, which take x or, for sigmoid and tanh,
    y.
    """
    import torch
    from torch.nn import functional

    aten = torch.ops.aten
    torch.set_num_threads(1)

    def call(function: Callable[[torch.Tensor], torch.Tensor]) -> Function:
        return lambda x: function(torch.from_numpy(x)).numpy()

    def slope(kernel: Callable[..., torch.Tensor]) -> Function:
        return call(lambda x: kernel(torch.ones_like(x), x))

    found: dict[str, Function] = {}
    for name in UNARY:
        forward = getattr(torch, name, None) or getattr(functional, name, None)
        if forward is None:
            continue
        found[name] = call(forward)
        if not hasattr(aten, f"{name}_backward"):
            continue
        kernel = getattr(aten, f"{name}_backward")
        takes_result = name in ("sigmoid", "tanh")
        found[f"{name} derivative"] = (
            call(lambda x, kernel=kernel, forward=forward: kernel(torch.ones_like(x), forward(x)))
            if takes_result
            else slope(kernel)
        )
    return {
        **found,
        "gelu": call(functional.gelu),
        "gelu derivative": slope(aten.gelu_backward),
        "gelu tanh": call(lambda x: functional.gelu(x, approximate="tanh")),
        "gelu tanh derivative": slope(lambda dy, x: aten.gelu_backward(dy, x, approximate="tanh")),
    }


def jax_functions() -> dict[str, Function]:
    """JAX under jit; derivatives by grad."""
    import jax

    forward = {
        **{name: getattr(jax.nn, name) for name in UNARY if hasattr(jax.nn, name)},
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "gelu tanh": lambda x: jax.nn.gelu(x, approximate=True),
    }

    def call(function: Callable[[jax.Array], jax.Array]) -> Function:
        compiled = jax.jit(function)
        return lambda x: np.asarray(compiled(x))

    return {
        **{name: call(function) for name, function in forward.items()},
        **{f"{name} derivative": call(jax.vmap(jax.grad(function))) for name, function in forward.items()},
    }


def scipy_functions() -> dict[str, Function]:
    """SciPy's expit and erf in the formulas that NumPy users write; NumPy's tanh."""
    from scipy.special import erf, expit

    def gelu_derivative(x: Array) -> Array:
        density = np.exp(np.float32(-0.5) * x * x) * np.float32(1 / math.sqrt(2 * math.pi))
        return np.float32(0.5) * (1 + erf(x * np.float32(math.sqrt(0.5)))) + x * density

    return {
        "sigmoid": expit,
        "sigmoid derivative": lambda x: expit(x) * (1 - expit(x)),
        "tanh": np.tanh,
        "tanh derivative": lambda x: 1 - np.tanh(x) ** 2,
        "silu": lambda x: x * expit(x),
        "silu derivative": lambda x: expit(x) * (1 + x * (1 - expit(x))),
        "gelu": lambda x: np.float32(0.5) * x * (1 + erf(x * np.float32(math.sqrt(0.5)))),
        "gelu derivative": gelu_derivative,
    }


def onnxruntime_functions() -> dict[str, Function]:
    """ONNX Runtime, models of one node; it has no derivatives on CPUs."""
    import onnxruntime
    from onnx import TensorProto, helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def call(node: str, opset: int, **attributes: str) -> Function:
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
        graph = helper.make_graph([helper.make_node(node, ["x"], ["y"], **attributes)], node, [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda x: session.run(None, {"x": x})[0]

    return {
        "sigmoid": call("Sigmoid", 13),
        "tanh": call("Tanh", 13),
        "silu": call("Swish", 24),
        "gelu": call("Gelu", 20),
        "gelu tanh": call("Gelu", 20, approximate="tanh"),
    }


PEERS = {
    "PyTorch": ("torch", torch_functions),
    "JAX": ("jax", jax_functions),
    "SciPy": ("scipy", scipy_functions),
    "ONNX Runtime": ("onnxruntime", onnxruntime_functions),
}
