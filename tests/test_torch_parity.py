"""The conventions of torch.nn.functional, and its tensors as arguments. Runs where PyTorch is installed."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from fastnorm._specs.spec import Spec, Variant, as_tuple
from ops import IN_DEPTH, label

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def leaf(array: Any) -> Any:
    return torch.from_numpy(array.copy()).requires_grad_()


@pytest.mark.parametrize("given", [(), ("weight",), ("weight", "bias"), ("bias",)], ids=str)
@pytest.mark.parametrize("axes", [1, 2], ids=["last axis", "last two axes"])
def test_layer_norm(axes: int, given: tuple[str, ...], backend: str, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 5, 6, 33))
    parameters = {name: rng.standard_normal(x.shape[-axes:]) for name in given}
    axis = tuple(range(-axes, 0))
    tensors = {name: leaf(value) for name, value in {"x": x, **parameters}.items()}
    expected = functional.layer_norm(
        tensors["x"], x.shape[-axes:], tensors.get("weight"), tensors.get("bias")
    )
    expected.backward(torch.from_numpy(dy))
    close(fastnorm.layer_norm(x, axis=axis, **parameters), expected.detach())
    gradients = fastnorm.layer_norm_backward(dy, x, axis=axis, **parameters)
    for name, gradient in zip(("x", "weight", "bias"), gradients, strict=True):
        if name in tensors:
            close(gradient, tensors[name].grad)
        else:
            assert gradient is None


def close(got: Any, expected: Any) -> None:
    scale = float(expected.abs().max())
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1000 * UNIT_ROUNDOFF["float64"] * scale)


@pytest.mark.skipif(not hasattr(functional, "rms_norm"), reason="needs torch.nn.functional.rms_norm")
def test_rms_norm(backend: str, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 7, 33))
    weight = rng.standard_normal(33)
    tensors = leaf(x), leaf(weight)
    expected = functional.rms_norm(tensors[0], (33,), tensors[1], eps=1e-6)
    expected.backward(torch.from_numpy(dy))
    close(fastnorm.rms_norm(x, weight), expected.detach())
    dx, dweight, _ = fastnorm.rms_norm_backward(dy, x, weight)
    close(dx, tensors[0].grad)
    close(dweight, tensors[1].grad)


@pytest.mark.parametrize("eps", [1e-12, 5.0], ids=str)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_normalize(axis: int, eps: float, backend: str, rng: np.random.Generator) -> None:
    """Rows of zeros too, and with the larger eps some that it is the divisor of."""
    x, dy = rng.standard_normal((2, 7, 33))
    x *= 10.0 ** rng.uniform(-1, 1, (7, 1))
    x[:, 3] = x[2] = 0
    tensor = leaf(x)
    expected = functional.normalize(tensor, dim=axis, eps=eps)
    expected.backward(torch.from_numpy(dy))
    close(fastnorm.normalize(x, axis=axis, eps=eps), expected.detach())
    got = fastnorm.normalize_backward(dy, x, axis=axis, eps=eps)
    # Gradients of zeros are 10^12 times those of other rows.
    for part in (np.abs(tensor.grad.numpy()) > 1e9, np.abs(tensor.grad.numpy()) <= 1e9):
        close(np.where(part, got, 0), torch.where(torch.from_numpy(part), tensor.grad, 0))


@pytest.mark.parametrize("row", [[np.inf, 1, -2], [np.inf, -np.inf, 0], [np.nan, 1, 0], [0, 0, 0]], ids=str)
def test_normalize_what_is_not_finite(row: list[float], backend: str) -> None:
    x = np.array([row], float)
    np.testing.assert_array_equal(
        fastnorm.normalize(x), functional.normalize(torch.from_numpy(x), dim=-1).numpy()
    )


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu(form: Any, backend: str, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 5000))
    tensor = leaf(x)
    expected = functional.gelu(tensor, approximate=form)
    expected.backward(torch.from_numpy(dy))
    close(fastnorm.gelu(x, approximate=form), expected.detach())
    close(fastnorm.gelu_backward(dy, x, approximate=form), tensor.grad)


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding(padding: int | None, backend: str, rng: np.random.Generator) -> None:
    ids, table, dy = rng.integers(0, 7, (5, 6)), rng.standard_normal((7, 9)), rng.standard_normal((5, 6, 9))
    tensor = leaf(table)
    expected = functional.embedding(torch.from_numpy(ids), tensor, padding_idx=padding)
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_array_equal(fastnorm.embedding(ids, table, padding_id=padding), expected.detach())
    close(fastnorm.embedding_backward(dy, ids, table, padding_id=padding), tensor.grad)


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_tensors_as_arguments(spec: Spec, backend: str, rng: np.random.Generator) -> None:
    inputs = spec.make_inputs(rng, (4, 20), np.dtype(np.float32), Variant("torch", ("weight", "bias")))
    tensors = [torch.from_numpy(array) for array in inputs if array is not None]
    np.testing.assert_array_equal(spec.forward(*tensors), spec.forward(*inputs))
    expected = as_tuple(spec.backward(inputs[0], *inputs))
    for got, wanted in zip(as_tuple(spec.backward(tensors[0], *tensors)), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_tensors_that_numpy_cannot_take(backend: str) -> None:
    with pytest.raises(TypeError, match=r"gelu: x is a torch.Tensor .*detach"):
        fastnorm.gelu(torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match=r"gelu: x is a torch.Tensor .*view\(torch.uint16\)"):
        fastnorm.gelu(torch.ones(3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=r"gelu: x is a torch.Tensor .*cpu"):
        fastnorm.gelu(torch.ones(3, device="meta"))


def test_the_way_for_bfloat16_tensors(backend: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensor = torch.linspace(-3, 3, 50).to(torch.bfloat16)
    x = tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    got = fastnorm.gelu(x).astype(np.float32)
    exact = functional.gelu(tensor.to(torch.float64)).numpy()
    np.testing.assert_allclose(got, exact, rtol=1.01 * UNIT_ROUNDOFF["bfloat16"])
