"""How an op of fastnorm becomes a function of PyTorch: one mechanism, and the table of what it is told of
each.

An entry makes two operators of the library ``fastnorm``, forward and backward, which compilers, exporters and
transformations take as they are, and an `autograd.Function` around them. Both operators return a list: the
results; the gradients of those tensors that are there. Where none of these looks on, the kernels of the
operators are called without PyTorch's dispatcher.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._op import OPS

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Arguments whose name in PyTorch is another than in fastnorm.
NAMES = {
    "x": "input",
    "logits": "input",
    "keys": "key",
    "values": "value",
    "mask": "attn_mask",
    "axis": "dim",
    "dropout": "dropout_p",
}

LIBRARY: Any = torch.library.Library("fastnorm", "DEF")  # type: ignore[no-untyped-call, unused-ignore]

Shapes = Callable[[dict[str, Any]], list[Any]]


# ---- tensors and arrays


def as_array(tensor: Any) -> Any:
    """Return the array that a tensor is, without a copy where it is one; None of None."""
    if tensor is None:
        return None
    if tensor.is_neg():  # its sign is still to be changed, as in a view of a conjugate's imaginary part
        tensor = tensor.resolve_neg()
    if tensor.dtype is torch.bfloat16:
        return tensor.detach().view(torch.uint16).numpy().view(bfloat16())
    return tensor.detach().numpy()


def as_tensor(value: Any) -> Any:
    """Return the tensor that an array or a NumPy scalar is."""
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype.kind == "V":  # bfloat16
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def bfloat16() -> Any:
    """Return NumPy's type of bfloat16."""
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "fastnorm.torch needs ml_dtypes for bfloat16: pip install fastnorm-kernels[torch]"
        ) from error
    return ml_dtypes.bfloat16


def placed_like(result: Any, tensor: Any) -> Any:
    """Return a result in the type, and in the order of axes in memory, of `torch.empty_like(tensor)`."""
    if result.dtype == tensor.dtype and result.stride() == tensor.stride():
        return result
    like = torch.empty_like(tensor)
    is_alike = result.dtype == like.dtype and result.stride() == like.stride()
    return result if is_alike else like.copy_(result)


# ---- shapes of the results


def like_x(given: dict[str, Any]) -> list[Any]:
    """One result like the first tensor."""
    return [torch.empty_like(next(iter(given.values())))]


def like_both(given: dict[str, Any]) -> list[Any]:
    """Two results like the first tensor."""
    return like_x(given) + like_x(given)


def gated(given: dict[str, Any]) -> list[Any]:
    """A result like the gate, or of half its length where the tensor holds both."""
    gate, dim = given["gate"], given["axis"]
    if given["up"] is not None:
        return [torch.empty_like(gate)]
    shape = list(gate.shape)
    shape[dim] //= 2
    return [gate.new_empty(shape)]


def losses(given: dict[str, Any]) -> list[Any]:
    """A number, or one for each target."""
    logits, dim = given["logits"], given["axis"]
    reduced = given["reduction"] != "none"
    loss = logits.new_empty(() if reduced else (*logits.shape[:dim], *logits.shape[dim + 1 :]))
    return [loss, torch.empty_like(logits)] if given["return_grad"] else [loss]


def layer_outputs(given: dict[str, Any]) -> list[Any]:
    """As many features as the weight has rows."""
    x, weight = given["x"], given["weight"]
    return [x.new_empty((*x.shape[:-1], weight.shape[0]))]


def attended(given: dict[str, Any]) -> list[Any]:
    """A value for each query."""
    query, values = given["query"], given["values"]
    return [query.new_empty((*query.shape[:-1], values.shape[-1]))]


def with_running_arrays(given: dict[str, Any]) -> list[Any]:
    """One result like the first tensor, then the running arrays after an update."""
    running = (given["running_mean"], given["running_var"]) if given["training"] else ()
    return like_x(given) + [torch.empty_like(array) for array in running if array is not None]


# ---- the mechanism


class Entry:
    """What PyTorch is told of an op.

    `tensors` have gradients, in the order of fastnorm's backward; `constants` are other tensors; a name that
    ends in ? may be None. `options` are the rest, each with its type. `shapes` returns what results look
    like. `takes_y`: the backward takes the result in the place of x. `transposed` is a tensor that fastnorm
    has the other way.
    """

    def __init__(
        self,
        name: str,
        tensors: str,
        *,
        constants: str = "",
        options: str = "",
        shapes: Shapes = like_x,
        takes_y: bool = False,
        transposed: str = "",
    ) -> None:
        self.name, self.op = name, OPS[name]
        assert self.op.backward is not None
        self.backward_op = self.op.backward
        self.tensors = [tensor.removesuffix("?") for tensor in tensors.split()]
        self.constants = [tensor.removesuffix("?") for tensor in constants.split()]
        typed = [option.split(":") for option in options.split()]
        self.read = [*self.tensors, *self.constants]
        self.options = [option for option, _ in typed]
        self.names = [*self.read, *self.options]
        self.has_axes = ["axis", "int[]"] in typed
        self.shapes, self.takes_y, self.transposed = shapes, takes_y, transposed
        self.is_alike = shapes in (like_x, like_both, with_running_arrays)
        taken = inspect.signature(self.backward_op).parameters
        self.slopes = [argument for argument in taken if argument in ("dy", "dsummed", "dloss")]
        self.unused = frozenset(self.names) - frozenset(taken)  # by the backward

        given = [
            f"Tensor{'?' * n.endswith('?')} {n.removesuffix('?')}" for n in f"{tensors} {constants}".split()
        ]
        schema = ", ".join([*given, *(f"{kind} {option}" for option, kind in typed)])
        slopes = ", ".join(f"Tensor{'?' * (len(self.slopes) > 1)} {slope}" for slope in self.slopes)
        self.forward = define(name, f"({schema}) -> Tensor[]", self.run_forward, self._shaped)
        backward = f"({slopes}, {schema}) -> Tensor[]"
        self.backward = define(f"{name}_backward", backward, self.run_backward, self._shaped_backward)
        self.apply, self.plain_apply = autograd_functions(self)

    def called(self, op: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Call an op of fastnorm, whose errors name the arguments as PyTorch does."""
        try:
            return op(**arguments)
        except (TypeError, ValueError) as error:
            text = str(error).removeprefix(f"{op.__name__}: ")
            text = re.sub(r"\b(?:" + "|".join(NAMES) + r")\b", lambda found: NAMES[found[0]], text)
            raise type(error)(f"{self.name}: {text}") from None

    def arrays(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the arguments of fastnorm's op."""
        arrays: dict[str, Any] = dict(zip(self.names, values, strict=True))
        for name in self.read:
            tensor = arrays[name]
            if tensor is not None:
                arrays[name] = as_array(tensor)
        if self.has_axes:
            arrays["axis"] = tuple(arrays["axis"])
        if arrays.get("seed") is not None:
            arrays["seed"] = int(arrays["seed"])
        if self.transposed:
            arrays[self.transposed] = self._turned(arrays[self.transposed], arrays["x"])
        return arrays

    def _turned(self, weight: Any, x: Any) -> Any:
        """Return the weight of a layer as fastnorm has it; errors show PyTorch's shape."""
        if x.ndim and (weight.ndim != 2 or weight.shape[1] != x.shape[-1]):
            needed = f"(out, {x.shape[-1]}) for input of shape {x.shape}"
            raise ValueError(f"{self.name}: {self.transposed} has shape {weight.shape}, needs {needed}")
        return weight.T

    def run_forward(self, *values: Any) -> list[Any]:
        """The kernel of the forward."""
        arrays = self.arrays(values)
        beside = BESIDE.get(self.name)
        found, others = (self.called(self.op, arrays), []) if beside is None else beside(self, arrays)
        results = [as_tensor(y) for y in (found if isinstance(found, tuple) else (found,))]
        if self.is_alike or (self.shapes is gated and values[1] is not None):
            return [placed_like(result, values[0]) for result in results] + others
        if len(results) > len(self.slopes):  # the gradient of a loss
            return [results[0].contiguous(), placed_like(results[1], values[0])]
        return [result.contiguous() for result in results] + others

    def _shaped(self, *values: Any) -> list[Any]:
        return self.shapes(dict(zip(self.names, values, strict=True)))

    def run_backward(self, *values: Any) -> list[Any]:
        """The kernel of the backward."""
        count = len(self.slopes)
        arrays = self.arrays(values[count:])
        for name in self.unused:
            del arrays[name]
        arrays |= zip(self.slopes, map(as_array, values[:count]), strict=True)
        if self.takes_y:
            arrays["y"] = arrays["x"]
        found = self.called(self.backward_op, arrays)
        # A gate that holds both halves has one gradient.
        gradients = []
        given = values[count:]
        for name, tensor, gradient in zip(self.tensors, given, as_tuple(found), strict=False):
            if gradient is not None:
                turned = gradient.T if name == self.transposed else gradient
                gradients.append(placed_like(as_tensor(turned), tensor))
        return gradients

    def _shaped_backward(self, *values: Any) -> list[Any]:
        count = len(self.slopes)
        tensors = values[count : count + len(self.tensors)]
        return [torch.empty_like(tensor) for tensor in tensors if tensor is not None]


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return one result as the tuple that several are."""
    return results if isinstance(results, tuple) else (results,)


def define(name: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Make an operator with its kernel, and with the shapes of its results."""
    LIBRARY.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, run, "CPU")
    torch.library.register_fake(f"fastnorm::{name}", fake, lib=LIBRARY)
    return getattr(torch.ops.fastnorm, name).default


def autograd_functions(entry: Entry) -> tuple[Any, Any]:
    """Return how to apply the autograd function of an entry: around its operators, as transformations and
    compilers take it, and around its kernels alone, which makes a call cheaper.
    """
    forward_operator, backward_operator = entry.forward, entry.backward
    forward_kernel, backward_kernel = entry.run_forward, entry.run_backward
    tensors, constants = len(entry.tensors), len(entry.tensors) + len(entry.constants)
    results, count, takes_y = len(entry.slopes), len(entry.names), entry.takes_y
    title = "".join(part.title() for part in entry.name.split("_"))
    once = gradients_once(entry, f"{title}Backward")
    reads = READ_AGAIN.get(entry.name)

    def forward(*values: Any) -> tuple[Any, ...]:
        return tuple(forward_operator(*values))

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.set_materialize_grads(False)
        if len(output) > results:
            ctx.mark_non_differentiable(*output[results:])
        read = inputs[:constants] if reads is None else reads(inputs)
        read = output[:1] + read[1:] if takes_y else read
        # The gradient of a loss, which is there with the loss.
        ctx.save_for_backward(*read, *(output[results:] if reads is None else ()))
        ctx.options = inputs[constants:]

    def plain_forward(ctx: Any, *values: Any) -> tuple[Any, ...]:
        output = tuple(forward_kernel(*values))
        setup_context(ctx, values, output)
        return output

    def backward(ctx: Any, *slopes: Any) -> tuple[Any, ...]:
        slopes = slopes[:results]
        if slopes[0] is None and slopes[-1] is None:
            return (None,) * count
        read = ctx.saved_tensors
        if len(read) > constants and not torch.is_grad_enabled():
            return (scaled(read[-1], slopes[0], ctx.options), *(None,) * (count - 1))
        read = read[:constants]
        run = backward_kernel if is_eager() else backward_operator
        if torch.is_grad_enabled():
            run = once.apply
        found = iter(run(*slopes, *read, *ctx.options))
        gradients = [None if tensor is None else next(found) for tensor in read[:tensors]]
        return (*gradients, *(None,) * (count - tensors))

    function = autograd_function(title, forward=forward, setup_context=setup_context, backward=backward)
    plain = autograd_function(title, forward=plain_forward, backward=backward)
    # What `apply` of the class does first is for transformations.
    return function.apply, super(torch.autograd.Function, plain).apply


def scaled(gradient: Any, slope: Any, options: Sequence[Any]) -> Any:
    """Return the gradient of a loss times the gradient with respect to the loss: itself where that is 1."""
    if slope.dim() > 0:
        return gradient * slope.unsqueeze(options[-2])  # along the axis of the classes
    is_plain = type(slope) is torch.Tensor and not torch.compiler.is_compiling()
    return gradient if is_plain and slope.item() == 1 else gradient * slope


def gradients_once(entry: Entry, title: str) -> Any:
    """Make the autograd function of the gradients, which have none: without it those of higher order would be
    zeros where a graph of the gradients is asked for.
    """
    name, backward_operator = entry.name, entry.backward

    def forward(*values: Any) -> tuple[Any, ...]:
        return tuple(backward_operator(*values))

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        pass

    def backward(ctx: Any, *slopes: Any) -> Any:
        raise RuntimeError(f"{name}: there are no gradients of its gradients")

    return autograd_function(title, forward=forward, setup_context=setup_context, backward=backward)


def autograd_function(title: str, **parts: Callable[..., Any]) -> Any:
    """Make a subclass of `torch.autograd.Function`."""
    body = {name: staticmethod(part) for name, part in parts.items()}
    return type(title, (torch.autograd.Function,), body)


def is_eager() -> bool:
    """Tell whether nothing looks on: no compiler, transformation or mode that has to see operators."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
    )


def call(entry: Entry, *values: Any) -> list[Tensor] | tuple[Tensor, ...]:
    """Run an entry, recorded by autograd where a gradient is wanted, and return its list of results."""
    wanted, plain = False, True
    for name, value in zip(entry.read, values, strict=False):
        kind = type(value)
        if kind is torch.Tensor or kind is torch.nn.Parameter or isinstance(value, torch.Tensor):
            if not (value.is_cpu and value.layout is torch.strided and value.dtype in FLOATS):
                check(entry, name, value)
            if value.requires_grad:
                wanted = True
                if name in entry.constants:
                    shown = NAMES.get(name, name)
                    found = "requires a gradient, which there is none of"
                    raise ValueError(f"{entry.name}: {shown} {found}; needs {shown}.detach()")
            if (kind is not torch.Tensor and kind is not torch.nn.Parameter) or not value.is_cpu:
                plain = False
        elif value is not None or name == entry.read[0]:
            shown = NAMES.get(name, name)
            raise TypeError(f"{entry.name}: {shown} has type {kind.__name__}, needs a tensor")
    # Forward-mode differentiation, which the autograd function refuses and the operator alone would ignore.
    recorded = (wanted and torch.is_grad_enabled()) or forward_ad._current_level >= 0
    if plain and is_eager():
        run = entry.plain_apply if recorded else entry.run_forward
    else:
        run = entry.apply if recorded else entry.forward
    results: list[Tensor] | tuple[Tensor, ...] = run(*values)
    return results


def check(entry: Entry, name: str, tensor: Any) -> None:
    """Refuse a tensor that the kernels cannot read."""
    shown = NAMES.get(name, name)
    if tensor.device.type not in ("cpu", "meta"):
        needed = f"one on the CPU ({shown}.cpu() copies it)"
        raise TypeError(f"{entry.name}: {shown} is a tensor on {tensor.device}, needs {needed}")
    if tensor.layout is not torch.strided:
        needed = f"a dense one ({shown}.to_dense() makes it)"
        raise TypeError(f"{entry.name}: {shown} is a tensor of layout {tensor.layout}, needs {needed}")
    if name in entry.tensors and tensor.dtype not in FLOATS:
        needed = "float32, float64, float16 or bfloat16"
        raise TypeError(f"{entry.name}: {shown} has dtype {tensor.dtype}, needs {needed}")


# ---- the table


def batch_norm_beside_running_arrays(entry: Entry, arrays: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the result, and running arrays that are updated copies: an operator that changes its arguments
    cannot return a list.
    """
    updated = []
    if arrays["training"]:
        for name in ("running_mean", "running_var"):
            if arrays[name] is not None:
                arrays[name] = arrays[name].copy()
                updated.append(arrays[name])
    return entry.called(entry.op, arrays), [as_tensor(array) for array in updated]


def without_running_arrays(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what the backward reads: while training no running arrays, which change with the next batch."""
    *tensors, mean, var, training, _, _ = inputs
    return (*tensors, None, None) if training else (*tensors, mean, var)


# What an op of the table has for itself: its results beside others, and what its backward reads.
BESIDE = {"batch_norm": batch_norm_beside_running_arrays}
READ_AGAIN = {"batch_norm": without_running_arrays}


def entries() -> dict[str, Entry]:
    """Make all of them."""
    norm = "axis:int[] eps:float"
    residual = "axis:int[] eps:float alpha:float"
    made = (
        Entry("layer_norm", "x weight? bias?", options=norm),
        Entry("rms_norm", "x weight?", options=norm),
        Entry("group_norm", "x weight? bias?", options="num_groups:int eps:float"),
        Entry(
            "batch_norm",
            "x weight? bias?",
            constants="running_mean? running_var?",
            options="training:bool momentum:float eps:float",
            shapes=with_running_arrays,
        ),
        Entry("add_layer_norm", "x residual weight? bias?", options=residual, shapes=like_both),
        Entry("add_rms_norm", "x residual weight?", options=residual, shapes=like_both),
        Entry("gelu", "x", options="approximate:str"),
        Entry("silu", "x"),
        Entry("swiglu", "gate up?", options="beta:float axis:int", shapes=gated),
        Entry("geglu", "gate up?", options="approximate:str axis:int", shapes=gated),
        Entry("softmax", "x", options="axis:int", takes_y=True),
        Entry("log_softmax", "x", options="axis:int", takes_y=True),
        Entry(
            "cross_entropy",
            "logits",
            constants="target weight?",
            options="label_smoothing:float ignore_index:int reduction:str axis:int return_grad:bool",
            shapes=losses,
        ),
        Entry("linear", "x weight bias?", shapes=layer_outputs, transposed="weight"),
        Entry(
            "attention",
            "query keys values",
            constants="mask? seed?",  # a tensor, as programs that are compiled draw it
            options="is_causal:bool scale:float? enable_gqa:bool dropout:float",
            shapes=attended,
        ),
    )
    return {entry.name: entry for entry in made}


TABLE = entries()
