"""fastnorm.torch: its functions beside PyTorch's, under autograd, compilers and transformations, and adopted
networks.
"""

from __future__ import annotations

import doctest
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import fastnorm
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ml_dtypes")
functional, nn = torch.nn.functional, torch.nn

# The modules of PyTorch warn of what they replace themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

from fastnorm import torch as ft  # noqa: E402
from fastnorm.torch._library import TABLE, call, check  # noqa: E402

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Case(NamedTuple):
    """A call: ours and PyTorch's, of tensors of these shapes; `constants` follow them."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    constants: Callable[[], tuple[Any, ...]] = tuple


def rms(x: Any, weight: Any) -> Any:
    return functional.rms_norm(x, (7,), weight)


def residual(norm: Callable[..., Any]) -> Callable[..., Any]:
    def both(x: Any, r: Any, *parameters: Any) -> Any:
        summed = x + 0.5 * r
        return norm(summed, (7,), *parameters), summed

    return both


def halves(act: Callable[..., Any]) -> Callable[..., Any]:
    def gate(x: Any) -> Any:
        a, b = x.chunk(2, 1)
        return act(a) * b

    return gate


def classes() -> tuple[Any, ...]:
    return (torch.tensor([2, 0, -100, 3, 1]),)


def pixel_classes() -> tuple[Any, ...]:
    return (torch.arange(12).reshape(2, 6) % 4,)


def mask() -> tuple[Any, ...]:
    return (torch.arange(5 * 6).reshape(5, 6) % 3 > 0,)


def running() -> tuple[Any, ...]:
    return torch.arange(3, dtype=torch.float64), 1 + torch.arange(3, dtype=torch.float64)


def case(name: str, ours: Any, theirs: Any, *shapes: tuple[int, ...], constants: Any = tuple) -> Case:
    return Case(name, ours, theirs, shapes, constants)


F = functional
HEADS = ((2, 3, 5, 8), (2, 3, 6, 8), (2, 3, 6, 4))
CASES = (
    case(
        "layer_norm",
        lambda x, w, b: ft.layer_norm(x, (5, 7), w, b),
        lambda x, w, b: F.layer_norm(x, (5, 7), w, b),
        (2, 5, 7),
        (5, 7),
        (5, 7),
    ),
    case(
        "layer_norm bias",
        lambda x, b: ft.layer_norm(x, 7, None, b),
        lambda x, b: F.layer_norm(x, (7,), None, b),
        (4, 7),
        (7,),
    ),
    case("rms_norm", lambda x, w: ft.rms_norm(x, [7], w), rms, (4, 7), (7,)),
    case(
        "rms_norm plain", lambda x: ft.rms_norm(x, 7, eps=0.1), lambda x: F.rms_norm(x, (7,), eps=0.1), (4, 7)
    ),
    case(
        "group_norm",
        lambda x, w, b: ft.group_norm(x, 2, w, b),
        lambda x, w, b: F.group_norm(x, 2, w, b),
        (3, 4, 5),
        (4,),
        (4,),
    ),
    case(
        "batch_norm",
        lambda x, w, b: ft.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        (6, 3, 4),
        (3,),
        (3,),
    ),
    case(
        "batch_norm running",
        lambda x, w, m, v: ft.batch_norm(x, m, v, w),
        lambda x, w, m, v: F.batch_norm(x, m.to(x.dtype), v.to(x.dtype), w),
        (6, 3),
        (3,),
        constants=running,
    ),
    case(
        "add_layer_norm",
        lambda x, r, w, b: ft.add_layer_norm(x, r, 7, w, b, alpha=0.5),
        residual(F.layer_norm),
        (4, 7),
        (4, 7),
        (7,),
        (7,),
    ),
    case(
        "add_rms_norm",
        lambda x, r, w: ft.add_rms_norm(x, r, 7, w, alpha=0.5),
        residual(F.rms_norm),
        (4, 7),
        (4, 7),
        (7,),
    ),
    case("gelu", ft.gelu, F.gelu, (3, 5)),
    case(
        "gelu tanh", lambda x: ft.gelu(x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh"), (3, 5)
    ),
    case("silu", ft.silu, F.silu, (3, 5)),
    case("swiglu", ft.swiglu, lambda a, b: F.silu(a) * b, (3, 5), (3, 5)),
    case("swiglu halves", lambda x: ft.swiglu(x, dim=1), halves(F.silu), (3, 6, 2)),
    case("geglu", ft.geglu, lambda a, b: F.gelu(a) * b, (3, 5), (3, 5)),
    case(
        "geglu halves",
        lambda x: ft.geglu(x, approximate="tanh", dim=1),
        halves(lambda a: F.gelu(a, approximate="tanh")),
        (3, 6),
    ),
    case("softmax", lambda x: ft.softmax(x, 1), lambda x: F.softmax(x, 1), (3, 5, 2)),
    case("log_softmax", lambda x: ft.log_softmax(x, -1), lambda x: F.log_softmax(x, -1), (3, 5)),
    case("cross_entropy", ft.cross_entropy, F.cross_entropy, (5, 4), constants=classes),
    case(
        "cross_entropy none",
        lambda x, t: ft.cross_entropy(x, t, reduction="none", label_smoothing=0.1),
        lambda x, t: F.cross_entropy(x, t, reduction="none", label_smoothing=0.1),
        (2, 4, 6),
        constants=pixel_classes,
    ),
    case(
        "cross_entropy sum",
        lambda x, t: 3 * ft.cross_entropy(x, t, torch.ones(4, dtype=x.dtype), reduction="sum"),
        lambda x, t: 3 * F.cross_entropy(x, t, torch.ones(4, dtype=x.dtype), reduction="sum"),
        (5, 4),
        constants=classes,
    ),
    case("linear", ft.linear, F.linear, (3, 2, 5), (4, 5), (4,)),
    case("attention", ft.attention, F.scaled_dot_product_attention, *HEADS),
    case(
        "attention mask",
        lambda q, k, v, m: ft.attention(q, k, v, m, scale=0.3),
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=0.3),
        *HEADS,
        constants=mask,
    ),
    case(
        "attention causal",
        lambda q, k, v: ft.attention(q, k, v, is_causal=True),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        *HEADS,
    ),
    case(
        "attention groups",
        lambda q, k, v: ft.attention(q, k, v, enable_gqa=True),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        (2, 4, 5, 8),
        (2, 2, 6, 8),
        (2, 2, 6, 8),
    ),
)
NAMES = [entry.name for entry in CASES]


def drawn(given: Case, dtype: Any = torch.float64, requires_grad: bool = True) -> list[Any]:
    """Tensors for a case; parameters of variances are far enough from 0."""
    generator = torch.Generator().manual_seed(7)
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in given.shapes
    ]
    return [tensor.requires_grad_(requires_grad) for tensor in tensors]


def summed(results: Any) -> Any:
    """A number whose gradient with respect to each result differs from element to element."""
    parts = results if isinstance(results, tuple) else (results,)
    return sum(
        (part * torch.arange(1.0, part.numel() + 1, dtype=part.dtype).reshape(part.shape)).sum()
        for part in parts
    )


def test_cases_are_all_functions() -> None:
    assert {name.split()[0] for name in NAMES} == set(TABLE)
    assert set(ft.__all__) == set(TABLE) | {"adopt", "to_module"}


@pytest.mark.parametrize("given", CASES, ids=NAMES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_values_and_gradients_are_those_of_torch(given: Case, dtype: Any) -> None:
    ours, theirs = drawn(given, dtype), drawn(given, torch.float64)
    for our, their in zip(ours, theirs, strict=True):
        their.data.copy_(our.data)
    constants = given.constants()
    if dtype is not torch.float64:
        constants = tuple(c.to(torch.float32) if c.dtype is torch.float64 else c for c in constants)
    y = given.ours(*ours, *constants)
    expected = given.theirs(*theirs, *given.constants())
    eps = torch.finfo(dtype).eps
    options = {"rtol": 16 * eps, "atol": 32 * eps}
    for got, want in zip(*((r if isinstance(r, tuple) else (r,)) for r in (y, expected)), strict=True):
        assert got.dtype is dtype
        torch.testing.assert_close(got.double(), want, **options)
    summed(expected).backward()
    parts = y if isinstance(y, tuple) else (y,)
    torch.autograd.backward(
        parts, [torch.arange(1.0, p.numel() + 1, dtype=dtype).reshape(p.shape) for p in parts]
    )
    for our, their in zip(ours, theirs, strict=True):
        assert our.grad.dtype is dtype
        assert our.grad.shape == our.shape
        scale = float(their.grad.abs().max()) + 1
        torch.testing.assert_close(our.grad.double() / scale, their.grad / scale, rtol=0, atol=64 * eps)


@pytest.mark.parametrize("given", CASES, ids=NAMES)
def test_gradcheck(given: Case) -> None:
    assert torch.autograd.gradcheck(lambda *leaves: given.ours(*leaves, *given.constants()), drawn(given))


@pytest.mark.parametrize("given", CASES, ids=NAMES)
def test_compiled(given: Case) -> None:
    def program(*tensors: Any) -> Any:
        return summed(given.ours(*tensors)).sin()

    torch.compiler.reset()
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    leaves, others = drawn(given), drawn(given)
    constants = given.constants()
    value, expected = compiled(*leaves, *constants), program(*others, *constants)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    value.backward()
    expected.backward()
    for leaf, other in zip(leaves, others, strict=True):
        torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("given", CASES, ids=NAMES)
def test_transformed(given: Case) -> None:
    """Gradients of functions, and refusals where the bridge would have to be silent or wrong."""
    leaves, constants = drawn(given, requires_grad=False), given.constants()

    def value(x: Any) -> Any:
        return summed(given.ours(x, *leaves[1:], *constants))

    x = leaves[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(x), x)
    torch.testing.assert_close(torch.func.grad(value)(leaves[0]), expected)
    with pytest.raises(RuntimeError, match="no gradients of its gradients"):
        torch.func.grad(lambda x: torch.func.grad(value)(x).square().sum())(leaves[0])
    (first,) = torch.autograd.grad(value(x), x, create_graph=True)
    torch.testing.assert_close(first, expected)
    with pytest.raises(RuntimeError, match="no gradients of its gradients"):
        first.square().sum().backward()
    with pytest.raises(Exception, match=r"forward mode|jvp"):
        torch.func.jvp(value, (leaves[0],), (leaves[0],))


@pytest.mark.parametrize("given", CASES, ids=NAMES)
def test_operators(given: Case) -> None:
    """Both operators of each entry hold to their schemas and shapes, in any layout."""
    entry = TABLE[given.name.split()[0]]
    called: list[tuple[Any, tuple[Any, ...]]] = []

    leaves = drawn(given)

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc, name-defined, unused-ignore]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "fastnorm":
                called.append((func, args))
            return func(*args, **(kwargs or {}))

    with Watch():
        summed(given.ours(*leaves, *given.constants())).backward()
    assert [func for func, _ in called] == [entry.forward, entry.backward] or given.name.startswith(
        "cross_entropy"
    )
    for func, args in called:
        for turn in (lambda t: t, turned, spread, expanded):
            given_args = tuple(turn(a.detach()) if isinstance(a, torch.Tensor) else a for a in args)
            torch.library.opcheck(func, given_args)


def turned(tensor: Any) -> Any:
    """The same values, with the order of axes in memory reversed."""
    return tensor.permute(*range(tensor.dim())[::-1]).contiguous().permute(*range(tensor.dim())[::-1])


def spread(tensor: Any) -> Any:
    """The same values with gaps between them."""
    return torch.stack([tensor, tensor], -1)[..., 0]


def expanded(tensor: Any) -> Any:
    """The first row for each row."""
    return tensor[:1].expand(tensor.shape) if tensor.dim() > 1 and tensor.is_floating_point() else tensor


def test_export() -> None:
    class Block(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8))
            self.inner = nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            return ft.softmax(ft.linear(ft.gelu(ft.rms_norm(x, 8, self.weight)), self.inner.weight), -1)

    block, x = Block(), torch.randn(3, 8)
    batch = torch.export.Dim("batch")
    program = torch.export.export(block, (x,), dynamic_shapes={"x": {0: batch}})
    more = torch.randn(5, 8)
    torch.testing.assert_close(program.module()(more), block(more))
    assert "fastnorm" in str(program.graph)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default compiler needs one of C++")
def test_inductor() -> None:
    x = torch.randn(6, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 4, 0])

    def program(x: Any) -> Any:
        return ft.cross_entropy(ft.layer_norm(x, 5).exp(), target)

    value = torch.compile(program, fullgraph=True)(x)
    (gradient,) = torch.autograd.grad(value, x)
    (expected,) = torch.autograd.grad(program(x), x)
    torch.testing.assert_close(gradient, expected)


def test_no_graph_where_no_gradient_is_wanted() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    with torch.no_grad():
        assert ft.gelu(x).grad_fn is None
    with torch.inference_mode():
        assert ft.layer_norm(torch.ones(3, 4), 4).is_inference()
    assert ft.gelu(x.detach()).grad_fn is None
    y = ft.gelu(x)
    assert "Gelu" in type(y.grad_fn).__name__
    weight = torch.ones(4, requires_grad=True)
    ft.layer_norm(x.detach(), 4, weight).sum().backward()
    assert weight.grad is not None


def test_bits_are_those_of_fastnorm() -> None:
    x, dy = torch.randn(64, 33), torch.randn(64, 33)
    leaf = x.clone().requires_grad_()
    y = ft.layer_norm(leaf, 33)
    y.backward(dy)
    np.testing.assert_array_equal(y.detach().numpy(), fastnorm.layer_norm(x.numpy()))
    dx, *_ = fastnorm.layer_norm_backward(dy.numpy(), x.numpy())
    np.testing.assert_array_equal(leaf.grad.numpy(), dx)


def test_changes_between_forward_and_backward_are_noticed() -> None:
    for function in (ft.gelu, lambda x: ft.softmax(x, -1)):
        x = torch.randn(3, 4, requires_grad=True).clone()
        y = function(x)
        (x if function is ft.gelu else y).data.add_(0)
        (x if function is ft.gelu else y).detach().add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_losses_are_scaled() -> None:
    """The gradient that the forward has made is not changed by what is done with it."""
    x, target = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 1, 2, 3, 0])
    loss = ft.cross_entropy(x, target)
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    kept = once.clone()
    loss.backward(retain_graph=True)
    x.grad.mul_(7)
    (again,) = torch.autograd.grad(loss, x, torch.tensor(2.0), retain_graph=True)
    torch.testing.assert_close(again, 2 * kept)
    (again,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(again, kept)
    half = torch.randn(5, 4, dtype=torch.float16, requires_grad=True)
    (65536.0 * ft.cross_entropy(half, target, reduction="none")).float().mean().backward()
    assert torch.isfinite(half.grad).all()


def test_running_arrays() -> None:
    ours, theirs = (nn.BatchNorm1d(3, dtype=torch.float64) for _ in range(2))
    for _ in range(2):
        x = torch.randn(6, 3, 4, dtype=torch.float64)
        given = (ours.running_mean, ours.running_var, ours.weight, ours.bias)
        y = ft.batch_norm(x, *given, training=True)
        torch.testing.assert_close(y, theirs(x))
        # Two forwards before the backward, as of two views of a batch.
        z = ft.batch_norm(2 * x, *given, training=True)
        theirs(2 * x)
        (y.sum() + z.sum()).backward()
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)

    def program(x: Any, mean: Any, var: Any) -> Any:
        return ft.batch_norm(x, mean, var, training=True)

    mean, var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    torch.compile(program, fullgraph=True, backend="aot_eager")(x, mean, var)
    assert mean.abs().max() > 0


def test_rms_norm_has_the_default_eps_of_torch() -> None:
    for dtype in FLOATS:
        x = torch.full((2, 8), 1e-4, dtype=dtype)
        expected = functional.rms_norm(x, (8,))
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(ft.rms_norm(x, 8), expected, rtol=4 * eps, atol=0)


def test_dropout_of_attention_goes_by_the_seed_of_torch() -> None:
    q, k, v = (torch.randn(2, 16, 8, requires_grad=True) for _ in range(3))

    def program(q: Any, k: Any, v: Any) -> Any:
        return ft.attention(q, k, v, dropout_p=0.5)

    torch.compiler.reset()
    found = []
    for run in (program, program, torch.compile(program, fullgraph=True, backend="aot_eager")):
        torch.manual_seed(3)
        y = run(q, k, v)
        found.append((y, *torch.autograd.grad(y.square().sum(), (q, k, v))))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
    assert not torch.equal(program(q, k, v), found[0][0])
    leaves = [t.detach().double().requires_grad_() for t in (q[:, :4], k, v)]
    seed = torch.randint(2**62, ())

    def seeded(q: Any, k: Any, v: Any) -> Any:
        given = (q, k, v, None, seed, False, None, False, 0.25)
        return call(TABLE["attention"], *given)[0]

    assert torch.autograd.gradcheck(seeded, leaves)


X = torch.ones(3, 4)
REFUSALS: tuple[tuple[type[Exception], str, Callable[[], Any]], ...] = (
    (
        TypeError,
        "gelu: input has dtype torch.int64, needs float32",
        lambda: ft.gelu(torch.ones(3, dtype=torch.long)),
    ),
    (
        TypeError,
        "gelu: input has dtype torch.complex64",
        lambda: ft.gelu(torch.ones(3, dtype=torch.complex64)),
    ),
    (TypeError, "gelu: input has type ndarray, needs a tensor", lambda: ft.gelu(np.ones(3))),
    (TypeError, "layer_norm: input has type list", lambda: ft.layer_norm([1.0], 1)),
    (TypeError, "layer_norm: weight has type int, needs a tensor", lambda: ft.layer_norm(X, 4, 3)),
    (
        TypeError,
        "silu: input is a tensor of layout torch.sparse_coo, needs a dense one",
        lambda: ft.silu(X.to_sparse()),
    ),
    (
        ValueError,
        r"layer_norm: normalized_shape is 3 for an input of shape \(3, 4\)",
        lambda: ft.layer_norm(X, 3),
    ),
    (
        ValueError,
        r"layer_norm: weight has shape \(3,\), needs \(4,\) to match input.shape",
        lambda: ft.layer_norm(X, 4, torch.ones(3)),
    ),
    (
        TypeError,
        "layer_norm: weight has dtype float64, needs float32",
        lambda: ft.layer_norm(X, 4, torch.ones(4).double()),
    ),
    (
        ValueError,
        r"linear: weight has shape \(4, 3\), needs \(out, 4\) for input of shape \(3, 4\)",
        lambda: ft.linear(X, torch.ones(4, 3)),
    ),
    (ValueError, r"linear: weight has shape \(4,\), needs \(out, 4\)", lambda: ft.linear(X, torch.ones(4))),
    (ValueError, "softmax: dim is 2, needs -2 to 1", lambda: ft.softmax(X, 2)),
    (ValueError, "gelu: approximate is 'erf'", lambda: ft.gelu(X, "erf")),
    (
        ValueError,
        "cross_entropy: weight requires a gradient",
        lambda: ft.cross_entropy(X, torch.zeros(3, dtype=torch.long), torch.ones(4, requires_grad=True)),
    ),
    (
        ValueError,
        "cross_entropy: target requires a gradient",
        lambda: ft.cross_entropy(X, torch.ones(3, 4, requires_grad=True)),
    ),
    (ValueError, "cross_entropy: target has .*needs", lambda: ft.cross_entropy(X, torch.tensor([0, 1, 7]))),
    (ValueError, "batch_norm: training is False, needs running_mean", lambda: ft.batch_norm(X, None, None)),
    (
        ValueError,
        "attention: attn_mask requires a gradient",
        lambda: ft.attention(X, X, X, torch.ones(3, 3, requires_grad=True)),
    ),
    (ValueError, r"attention: dropout_p is 1\.5", lambda: ft.attention(X, X, X, dropout_p=1.5)),
    (ValueError, r"attention: key has shape", lambda: ft.attention(X, torch.ones(3, 5), X)),
)


@pytest.mark.parametrize(("error", "text", "call"), REFUSALS, ids=[text for _, text, _ in REFUSALS])
def test_refusals(error: type[Exception], text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_tensor_whose_sign_is_still_to_be_changed() -> None:
    """As the imaginary part of a conjugate is, a view that NumPy cannot take."""
    x = torch.randn(3, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    torch.testing.assert_close(ft.gelu(x), ft.gelu(x.clone().contiguous()), rtol=0, atol=0)


def test_meta_tensors_have_shapes() -> None:
    y = ft.linear(torch.ones(2, 3, device="meta"), torch.ones(5, 3, device="meta"))
    assert y.shape == (2, 5)
    assert y.is_meta


def test_other_devices_are_refused() -> None:
    """There is none here, so one is claimed."""

    class Elsewhere:
        device, is_cpu, layout, dtype = torch.device("cuda:1"), False, torch.strided, torch.float32

    with pytest.raises(
        TypeError, match=r"gelu: input is a tensor on cuda:1, needs one on the CPU \(input.cpu\(\)"
    ):
        check(TABLE["gelu"], "x", Elsewhere())


def test_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport fastnorm\n"
    code += "try:\n import fastnorm.torch\nexcept ImportError as e: print(e)\n"
    code += "try:\n fastnorm.MLP([1, 1]).to_torch()\nexcept ImportError as e: print(e)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["fastnorm.torch needs PyTorch: pip install fastnorm-kernels[torch]"] * 2


# ---- networks


def network(dtype: Any = torch.float32, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(5, 16), nn.Tanh())
    return nn.Sequential(inner, nn.Identity(), nn.Linear(16, 8, bias=False), nn.Tanh(), nn.Linear(8, 2)).to(
        dtype
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_adopted_networks_share_memory(dtype: Any) -> None:
    module = network(dtype)
    mlp = ft.adopt(module)
    x, target = torch.randn(9, 5).to(dtype), torch.randn(9, 2).to(dtype)
    array, wanted = (
        t.view(torch.uint16).numpy().view(mlp.dtype) if dtype is torch.bfloat16 else t.numpy()
        for t in (x, target)
    )
    before = [parameter.clone() for parameter in module.parameters()]
    loss = mlp.step(array, wanted, optimizer=fastnorm.SGD(0.5))
    assert loss > 0
    assert all((p != b).any() for p, b in zip(module.parameters(), before, strict=True))
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(mlp(array).astype(float), module(x).detach().double().numpy(), atol=32 * eps)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert not mlp(array).astype(float).any()


def test_steps_are_those_of_torch() -> None:
    """Equal losses over steps of Adam, each framework on its own copy."""
    module, other = network(torch.float64), network(torch.float64)
    mlp, adam = ft.adopt(module), fastnorm.Adam(lr=1e-2)
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-2)
    x, target = torch.randn(32, 5, dtype=torch.float64), torch.randn(32, 2, dtype=torch.float64)
    for _ in range(50):
        optimizer.zero_grad()
        loss = functional.mse_loss(other(x), target)
        loss.backward()
        optimizer.step()
        assert mlp.step(x, target, optimizer=adam) == pytest.approx(loss.item(), rel=1e-9)
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_copies() -> None:
    module = network()
    mlp = fastnorm.MLP.from_torch(module)
    x = torch.randn(4, 5)
    before = mlp(x).copy()
    with torch.no_grad():
        module[0][0].weight.zero_()
    np.testing.assert_array_equal(mlp(x), before)
    back = mlp.to_torch()
    assert back[2].bias is None
    torch.testing.assert_close(back(x).detach().numpy(), before)
    mlp.weights[0][...] = 0
    torch.testing.assert_close(back(x).detach().numpy(), before)
    back(x).sum().backward()
    with pytest.raises(TypeError, match=r"to_module: mlp has type builtins\.int"):
        ft.to_module(3)


@pytest.mark.parametrize("activation", [None, *ft._networks.ACTIVATIONS])
def test_activations(activation: Any) -> None:
    mlp = fastnorm.MLP([3, 5, 4, 2], activation=activation, output_activation=activation, seed=1)
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    module = mlp.to_torch()
    torch.testing.assert_close(
        module(torch.from_numpy(x)).detach(), torch.from_numpy(mlp(x)), rtol=1e-5, atol=1e-6
    )
    again = ft.adopt(module)
    assert (again.activation, again.output_activation) == (activation, activation)
    np.testing.assert_array_equal(again(x), mlp(x))


def test_dropout() -> None:
    layers = (nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.25), nn.Linear(32, 1))
    mlp = ft.adopt(nn.Sequential(*layers))
    assert mlp.dropout == 0.25
    x, target = np.ones((2, 8, 4), np.float32)
    still = fastnorm.SGD(lr=0.0)
    losses = {mlp.step(x, target[:, :1], optimizer=still) for _ in range(4)}
    assert len(losses) > 1
    assert mlp.to_torch()[2].p == 0.25
    assert ft.adopt(nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0), nn.ReLU())).dropout == 0


def linear(*sizes: int) -> Any:
    return nn.Linear(*sizes)


class Special(nn.Linear):  # type: ignore[misc, name-defined, unused-ignore]
    pass


def hooked() -> Any:
    layer = linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def frozen() -> Any:
    return linear(2, 2).requires_grad_(False)


def tied() -> list[Any]:
    first, second = linear(2, 2), linear(2, 2)
    second.weight = first.weight
    return [first, nn.ReLU(), second]


RELU = nn.ReLU()
MODULES: tuple[tuple[str, Callable[[], list[Any]]], ...] = (
    ("module has no Linear", list),
    (r"0 is ReLU\(\) before a Linear", lambda: [RELU, linear(2, 2)]),
    (r"2 is Tanh\(\) after an activation or Dropout", lambda: [linear(2, 2), nn.ReLU(), nn.Tanh()]),
    ("has Dropout of 0.5 after its layers", lambda: [linear(2, 2), nn.Dropout()]),
    (r"0 is Dropout\(p=0.5, inplace=False\) before a Linear", lambda: [nn.Dropout(), linear(2, 2)]),
    (r"2 is ReLU\(\) after an activation or D", lambda: [linear(2, 2), nn.Dropout(), RELU, linear(2, 2)]),
    (r"2 is Dropout", lambda: [linear(2, 2), nn.Dropout(), nn.Dropout(), linear(2, 2)]),
    (
        "has Dropout of 0.5, 0.25, 0.0 after its layers",
        lambda: [linear(2, 2), nn.Dropout(), linear(2, 2), nn.Dropout(0.25), linear(2, 2)],
    ),
    (r"1 is LayerNorm", lambda: [linear(2, 2), nn.LayerNorm(2)]),
    (
        r"1 is LeakyReLU\(negative_slope=0.2\), needs the options of",
        lambda: [linear(2, 2), nn.LeakyReLU(0.2)],
    ),
    (r"1 is ELU\(alpha=2.0\)", lambda: [linear(2, 2), nn.ELU(2.0)]),
    (r"1 is Softplus\(beta=2.0", lambda: [linear(2, 2), nn.Softplus(2.0)]),
    (
        "module has the activations relu, tanh between",
        lambda: [linear(2, 2), nn.ReLU(), linear(2, 2), nn.Tanh(), linear(2, 2)],
    ),
    (
        "module has the activations None, tanh between",
        lambda: [linear(2, 2), linear(2, 2), nn.Tanh(), linear(2, 2)],
    ),
    ("0 is Special", lambda: [Special(2, 2)]),
    ("0 has hooks", lambda: [hooked()]),
    ("0.weight does not require a gradient", lambda: [frozen()]),
    ("0.weight is on meta", lambda: [nn.Linear(2, 2, device="meta")]),
    ("0.weight has dtype torch.complex64", lambda: [nn.Linear(2, 2, dtype=torch.complex64)]),
    (r"weights\[\d\] overlaps weights\[\d\]", tied),
    ("module has a module twice", lambda: [linear(2, 2), RELU, linear(2, 2), RELU]),
    (r"weights\[1\] has dtype float64", lambda: [linear(2, 2), linear(2, 2).double()]),
    (r"weights\[1\] has shape \(3, 2\)", lambda: [linear(2, 2), linear(3, 2)]),
)


@pytest.mark.parametrize(("text", "parts"), MODULES, ids=[text for text, _ in MODULES])
def test_modules_that_are_refused(text: str, parts: Callable[[], list[Any]]) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        ft.adopt(nn.Sequential(*parts()))


def test_examples_of_docstrings() -> None:
    failed, attempted = doctest.testmod(ft._networks)
    assert failed == 0
    assert attempted > 5


def test_other_modules_are_refused() -> None:
    with pytest.raises(
        TypeError, match=r"module has type torch.nn.modules.linear.Linear, needs a torch.nn.Seq"
    ):
        ft.adopt(linear(2, 2))
    parametrized = nn.Sequential(nn.utils.parametrizations.weight_norm(linear(2, 2)))
    with pytest.raises(TypeError, match="0 is ParametrizedLinear"):
        ft.adopt(parametrized)
