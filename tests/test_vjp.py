"""vjp gives what the forward and the backward give."""

from __future__ import annotations

import functools
from typing import Any

import fastnorm
import numpy as np
import pytest
from drawn_values import Exporter
from fastnorm import reference
from fastnorm._specs.spec import Spec, Variant, as_tuple
from numpy.typing import NDArray
from ops import DTYPES, IN_DEPTH, NORMS, label, with_variants, without_addresses
from tolerances import assert_same_bits

Array = NDArray[Any]


@pytest.mark.parametrize(("spec", "variant"), with_variants(IN_DEPTH), ids=label)
def test_against_the_backward(spec: Spec, variant: Variant, backend: str, rng: np.random.Generator) -> None:
    """The same bits as the forward, and as the backward with the forward's statistics or result."""
    for dtype in DTYPES.values():
        inputs = spec.make_inputs(rng, (4, 50), dtype, variant)
        dy = rng.standard_normal((4, 50)).astype(dtype)
        y, pullback = fastnorm.vjp(spec.forward, *inputs, **variant.keywords)
        assert_same_bits(y, spec.forward(*inputs, **variant.keywords))
        keywords = dict(variant.keywords)
        if spec.has_stats:
            _, *stats = spec.forward(*inputs, **variant.keywords, return_stats=True)
            keywords["stats"] = tuple(stats) if len(stats) > 1 else stats[0]
        if spec.takes_result:
            keywords["y"] = y
        expected = spec.backward(dy, *inputs, **keywords)
        for _ in range(2):  # a pullback can be called again
            gradients = pullback(dy)
            assert isinstance(gradients, tuple) == isinstance(expected, tuple)
            for got, wanted in zip(as_tuple(gradients), as_tuple(expected), strict=True):
                if wanted is None:
                    assert got is None
                else:
                    assert_same_bits(got, wanted)


@pytest.mark.parametrize("spec", NORMS, ids=label)
def test_statistics_are_kept(spec: Spec, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward is given them; the user sees them where asked for."""
    x = np.arange(6.0).reshape(2, 3)
    given = {}

    backward = spec.forward.backward

    @functools.wraps(backward)
    def spy(*args: Any, stats: Any = None, **keywords: Any) -> Any:
        given["stats"] = stats
        return backward(*args, stats=stats, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(spec.forward, "backward", spy)
        y, pullback = fastnorm.vjp(spec.forward, x)
        pullback(x)
    assert isinstance(y, np.ndarray)
    wanted = spec.forward(x, return_stats=True)
    for got, expected in zip(as_tuple(given["stats"]), wanted[1:], strict=True):
        assert_same_bits(got, expected)
    results, pullback = fastnorm.vjp(spec.forward, x, return_stats=True)
    for got, expected in zip(results, wanted, strict=True):
        assert_same_bits(got, expected)
    assert_same_bits(pullback(x)[0], spec.backward(x, x)[0])


def test_arguments_by_keyword(backend: str) -> None:
    x, weight = np.arange(6.0).reshape(2, 3), np.ones(3)
    _, pullback = fastnorm.vjp(fastnorm.layer_norm, bias=weight, x=x, axis=(-1,))
    dx, dweight, dbias = pullback(x)
    assert dweight is None
    assert_same_bits(dbias, x.sum(axis=0))
    assert_same_bits(dx, fastnorm.layer_norm_backward(x, x, None, weight)[0])


def test_lists(backend: str) -> None:
    y, pullback = fastnorm.vjp(fastnorm.gelu, [1.0, 2.0])
    assert_same_bits(pullback([1.0, 1.0]), fastnorm.gelu_backward([1.0, 1.0], [1.0, 2.0]))
    assert y.shape == (2,)


def test_twins() -> None:
    """The twins follow the rule too."""
    x = np.arange(6.0).reshape(2, 3)
    y, pullback = fastnorm.vjp(reference.gelu, x)
    assert_same_bits(y, reference.gelu(x))
    assert_same_bits(pullback(x), reference.gelu_backward(x, x))
    _, pullback = fastnorm.vjp(reference.rms_norm, x)
    assert_same_bits(pullback(x)[0], reference.rms_norm_backward(x, x)[0])


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_out(spec: Spec, backend: str) -> None:
    x = np.arange(6.0).reshape(2, 3)
    out = np.empty_like(x)
    y, pullback = fastnorm.vjp(spec.forward, x, out=out)
    assert y is out
    assert_same_bits(out, spec.forward(x))
    assert_same_bits(as_tuple(pullback(x))[0], as_tuple(spec.backward(x, x))[0])
    with pytest.raises(ValueError, match="vjp: out overlaps x"):
        fastnorm.vjp(spec.forward, x, out=x)
    assert x[1, 2] == 5


@pytest.mark.parametrize(
    "op",
    [
        None,
        3,
        "gelu",
        np.add,
        np.exp,
        print,
        lambda x: x,
        fastnorm.gelu_backward,
        fastnorm.set_num_threads,
        fastnorm.vjp,
        fastnorm,
        int,
    ],
    ids=without_addresses,
)
def test_not_an_op(op: Any) -> None:
    with pytest.raises(TypeError, match=r"vjp: op is .* needs an op of fastnorm"):
        fastnorm.vjp(op, np.ones(3))


def test_errors_are_those_of_the_op(backend: str) -> None:
    with pytest.raises(ValueError, match="layer_norm: axis"):
        fastnorm.vjp(fastnorm.layer_norm, np.ones(3), axis=2)
    with pytest.raises(TypeError, match="unknown"):
        fastnorm.vjp(fastnorm.layer_norm, np.ones(3), unknown=2)
    _, pullback = fastnorm.vjp(fastnorm.layer_norm, np.ones(3))
    with pytest.raises(ValueError, match="layer_norm_backward: dy has shape"):
        pullback(np.ones(4))


@pytest.mark.parametrize("given", [memoryview, Exporter])
def test_out_over_what_is_no_array(given: Any, backend: str) -> None:
    x = np.array([-1.0, 2, 3])
    with pytest.raises(ValueError, match=r"^vjp: out overlaps x, needs memory of its own"):
        fastnorm.vjp(fastnorm.gelu, given(x), out=x)
    np.testing.assert_array_equal(x, [-1, 2, 3])
    b = np.ones((3, 3))
    with pytest.raises(ValueError, match=r"^vjp: out overlaps stats, needs memory of its own"):
        fastnorm.vjp(fastnorm.batch_norm, b.copy(), stats=(b[0], b[1]), out=b)


def test_what_has_a_backward_but_is_no_op() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> None: ...

        def backward(self) -> None: ...

    for op in (Unhashable(), fastnorm.MLP):
        with pytest.raises(TypeError, match=r"^vjp: op is "):
            fastnorm.vjp(op, np.ones(3))
    with pytest.raises(TypeError, match=r"^relu\(\) "):
        fastnorm.vjp(fastnorm.relu)
