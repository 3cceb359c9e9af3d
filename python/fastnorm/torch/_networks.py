"""Networks of PyTorch as networks of fastnorm, and back."""

from __future__ import annotations

from typing import Any, get_args

from torch import nn

from .._typing import DenseActivation
from ..mlp import MLP
from ._library import FLOATS, as_array, as_tensor

# What is made for each activation, with the options that its class must have.
ACTIVATIONS: dict[DenseActivation, Any] = {
    "relu": nn.ReLU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "leaky_relu": nn.LeakyReLU(),
    "hardswish": nn.Hardswish(),
    "logsigmoid": nn.LogSigmoid(),
    "elu": nn.ELU(),
}
assert ACTIVATIONS.keys() == set(get_args(DenseActivation))
OPTIONS = ("approximate", "beta", "threshold", "negative_slope", "alpha")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def adopt(module: Any) -> MLP:
    """Return a network whose parameters are those of a module of PyTorch, in the same memory.

    What either trains the other has. It stays so until the module's parameters are replaced, as moving them
    to another device or type, or assigning to ``.data``, does. PyTorch does not notice that they change: a
    graph that was recorded before a step must not be run backward after it.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of `Linear`, with one activation after each but the last, which may have another, and the same
        `Dropout` after each but the last, which steps apply; `Identity`, and `Sequential` of these; all
        parameters of one type, on the CPU, and to be trained.

    Raises
    ------
    TypeError, ValueError
        For anything that the network could not do as the module does. The error names it.

    Examples
    --------
    >>> import torch
    >>> import fastnorm
    >>> import fastnorm.torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> mlp = fastnorm.torch.adopt(module)
    >>> x, target = torch.randn(16, 3), torch.randn(16, 1)
    >>> loss = mlp.step(x, target, optimizer=fastnorm.Adam())
    >>> torch.allclose(torch.from_numpy(mlp(x)), module(x), atol=1e-6)
    True
    """
    if type(module) is not nn.Sequential:
        raise _refusal("module", f"has type {_type(module)}", "a torch.nn.Sequential")
    layers: list[Any] = []
    follow: list[DenseActivation | None] = []
    dropped: list[float] = []
    has_activation = True
    for name, part in _parts(module, ""):
        if type(part) is nn.Linear:
            _check_parameters(name, part)
            layers.append(part)
            follow.append(None)
            dropped.append(0.0)
            has_activation = False
        elif type(part) is nn.Identity:
            continue
        elif type(part) is nn.Dropout and layers and not dropped[-1]:
            dropped[-1], has_activation = part.p, part.p > 0 or has_activation
        elif has_activation:
            where = "after an activation or Dropout" if layers else "before a Linear"
            raise _refusal(name, f"is {part} {where}", "a Linear")
        else:
            follow[-1], has_activation = _activation(name, part), True
    if not layers:
        raise _refusal("module", "has no Linear", "at least one")
    hidden = sorted(set(follow[:-1]), key=str)
    if len(hidden) > 1:
        found = f"has the activations {', '.join(map(str, hidden))} between its layers"
        raise _refusal("module", found, "the same between all")
    shares = sorted(set(dropped[:-1])) or [0.0]
    if len(shares) > 1 or dropped[-1]:
        found = f"has Dropout of {', '.join(map(str, dropped))} after its layers"
        raise _refusal("module", found, "the same after all but the last")
    return MLP.from_parameters(
        [as_array(layer.weight).T for layer in layers],
        [None if layer.bias is None else as_array(layer.bias) for layer in layers],
        activation=hidden[0] if hidden else None,
        output_activation=follow[-1],
        dropout=shares[0],
    )


def to_module(mlp: MLP) -> Any:
    """Return a module of PyTorch with copies of a network's parameters: `Linear`, activations and `Dropout`.

    Raises
    ------
    TypeError
        For what is no `MLP`.

    Examples
    --------
    >>> import fastnorm
    >>> import fastnorm.torch
    >>> fastnorm.torch.to_module(fastnorm.MLP([3, 8, 1]))
    Sequential(
      (0): Linear(in_features=3, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=1, bias=True)
    )
    """
    if not isinstance(mlp, MLP):
        raise TypeError(f"to_module: mlp has type {_type(mlp)}, needs a fastnorm.MLP")
    parts: list[Any] = []
    for i, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        values = as_tensor(weight.T.copy(order="C"))
        layer = nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None, device="meta")
        layer.weight = nn.Parameter(values)
        if bias is not None:
            layer.bias = nn.Parameter(as_tensor(bias.copy()))
        parts.append(layer)
        is_last = i == len(mlp.weights) - 1
        activation = mlp.output_activation if is_last else mlp.activation
        if activation is not None:
            like = ACTIVATIONS[activation]
            parts.append(type(like)(**{name: getattr(like, name) for name in OPTIONS if hasattr(like, name)}))
        if mlp.dropout and not is_last:
            parts.append(nn.Dropout(mlp.dropout))
    return nn.Sequential(*parts)


def _parts(module: Any, prefix: str) -> list[tuple[str, Any]]:
    """Return the modules in their order with their names."""
    if any(getattr(module, hooks) for hooks in HOOKS):
        raise _refusal(prefix or "module", "has hooks, which would not be called", "none")
    if type(module) is not nn.Sequential:
        return [(prefix, module)]
    inner = module.named_children()
    # A module may stand there twice, of which named_children gives one.
    if len(list(inner)) != len(module):
        raise _refusal(prefix or "module", "has a module twice", "a module for each place")
    dot = f"{prefix}." if prefix else ""
    return [part for name, child in module.named_children() for part in _parts(child, f"{dot}{name}")]


def _check_parameters(name: str, layer: Any) -> None:
    """Refuse a layer that cannot be trained in shared memory."""
    for kind, parameter in layer.named_parameters():
        full = f"{name}.{kind}"
        if parameter.device.type != "cpu":
            raise _refusal(full, f"is on {parameter.device}", "a parameter on the CPU")
        if parameter.dtype not in FLOATS:
            raise _refusal(full, f"has dtype {parameter.dtype}", "float32, float64, float16 or bfloat16")
        if not parameter.requires_grad:
            found = "does not require a gradient, but a step trains all parameters"
            raise ValueError(f"adopt: {full} {found}; needs requires_grad_()")
    if 0 in layer.weight.shape:
        found = f"has a weight of shape {tuple(layer.weight.shape)}"
        raise ValueError(f"adopt: {name} {found}, needs inputs and outputs")


def _activation(name: str, part: Any) -> DenseActivation:
    """Return the name of an activation."""
    near = None
    for activation, like in ACTIVATIONS.items():
        if type(part) is not type(like):
            continue
        near = like
        if all(getattr(part, option, None) == getattr(like, option, None) for option in OPTIONS):
            return activation
    if near is None:
        raise _refusal(
            name, f"is {part}", f"Linear or an activation that has an equal: {', '.join(ACTIVATIONS)}"
        )
    raise ValueError(f"adopt: {name} is {part}, needs the options of {near}")


def _refusal(name: str, found: str, needed: str) -> TypeError:
    return TypeError(f"adopt: {name} {found}, needs {needed}")


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"
