"""Networks whose parameters are arrays of others, in any order in memory."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

SIZES = ((3, 4, 1), (7, 33, 20, 5), (64, 130, 17, 16))
OPTIMIZERS = (fastnorm.SGD(0.1, momentum=0.9), fastnorm.Adam(), fastnorm.RMSprop(), fastnorm.Lion())


def assert_agree(got: Array, expected: Array, backend: str) -> None:
    """The kernels give the same bits; NumPy's products go by the order in memory."""
    if backend == "native":
        assert_same_bits(got, expected)
    else:
        np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=1e-9)


def arrays(rng: np.random.Generator, sizes: tuple[int, ...], dtype: Any) -> tuple[list[Array], list[Array]]:
    """Weights as (out, in), and biases."""
    weights = [rng.standard_normal((m, n)).astype(dtype) / dtype.type(n) for n, m in pairwise(sizes)]
    return weights, [rng.standard_normal(m).astype(dtype) for m in sizes[1:]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_training_has_the_bits_of_any_order_in_memory(
    sizes: tuple[int, ...], dtype: Any, backend: str, rng: np.random.Generator
) -> None:
    dtype = np.dtype(dtype)
    x, target = rng.standard_normal((60, sizes[0])), rng.standard_normal((60, sizes[-1]))
    x, target = x.astype(dtype), target.astype(dtype)
    for optimizer in OPTIMIZERS:
        weights, biases = arrays(rng, sizes, dtype)
        own = fastnorm.MLP.from_parameters(
            [np.array(w.T, order="C") for w in weights], [*map(np.copy, biases)]
        )
        shared = fastnorm.MLP.from_parameters([w.T for w in weights], biases)
        first, second = copy.copy(optimizer), copy.copy(optimizer)
        options: Any = {"epochs": 2, "batch_size": 25, "shuffle": False, "max_norm": 0.5}
        for mlp, opt in ((own, first), (shared, second)):
            mlp.step(x, target, optimizer=opt)
            mlp.fit(x, target, optimizer=opt, **options)
        for got, weight, expected in zip(shared.weights, weights, own.weights, strict=True):
            assert np.shares_memory(got, weight)
            assert_agree(weight, np.ascontiguousarray(expected.T), backend)
        for bias, expected in zip(biases, own.biases, strict=True):
            assert expected is not None
            assert_agree(bias, expected, backend)
        assert_agree(shared(x), own(x), backend)
        # The state does not know of the order, so it goes from one network to the other.
        for key, value in first.state_dict().items():
            assert_agree(second.state_dict()[key], value, backend)


def test_layers_without_biases(backend: str, tmp_path: Path, rng: np.random.Generator) -> None:
    weights, biases = arrays(rng, (5, 8, 3), np.dtype(np.float64))
    some: list[Array | None] = [None, biases[1]]
    mlp = fastnorm.MLP.from_parameters([w.T for w in weights], some, activation="tanh")
    none = fastnorm.MLP.from_parameters([w.T.copy() for w in weights], activation="tanh")
    x, target = rng.standard_normal((9, 5)), rng.standard_normal((9, 3))
    before = mlp(x)
    np.testing.assert_allclose(before, np.tanh(x @ weights[0].T) @ weights[1].T + biases[1])
    np.testing.assert_allclose(none(x), before - biases[1], atol=1e-14)
    adam = fastnorm.Adam(groups=[{"names": ["biases.1"], "lr": 0.0}])
    kept = biases[1].copy()
    for network in (mlp, none):
        network.step(x, target, optimizer=adam if network is mlp else None)
    assert_same_bits(biases[1], kept)
    assert sorted(mlp.state_dict()) == ["biases.1", "weights.0", "weights.1"]
    mlp.save(tmp_path / "mlp.npz")
    for other in (fastnorm.MLP.load(tmp_path / "mlp.npz"), pickle.loads(pickle.dumps(mlp))):
        assert other.biases[0] is None
        assert_same_bits(other(x), mlp(x))
        assert other.step(x, target) > 0
    mlp.biases = [None, np.zeros(3)]
    assert not biases[1].any()
    with pytest.raises(TypeError, match=r"biases\[0\] is given, needs None"):
        mlp.biases = [np.zeros(8), np.zeros(3)]
    with pytest.raises(TypeError, match=r"biases\[1\] is None, needs an array"):
        mlp.biases = [None, None]


def test_refusals(backend: str) -> None:
    make, ones = fastnorm.MLP.from_parameters, np.ones
    shared = ones((2, 2))
    read_only = ones((2, 3))
    read_only.flags.writeable = False
    cases: list[tuple[type[Exception], str, Any, Any]] = [
        (TypeError, r"weights has type int", 3, None),
        (ValueError, r"weights is empty", [], None),
        (TypeError, r"weights\[0\] has type list", [[[1.0]]], None),
        (TypeError, r"weights\[0\] has dtype int64", [ones((2, 3), int)], None),
        (ValueError, r"weights\[0\] has shape \(3,\)", [ones(3)], None),
        (ValueError, r"weights\[0\] has shape \(0, 3\)", [ones((0, 3))], None),
        (ValueError, r"weights\[1\] has shape \(2, 2\)", [ones((2, 3)), ones((2, 2))], None),
        (TypeError, r"weights\[1\] has dtype float32", [ones((2, 3)), ones((3, 2), "f")], None),
        (ValueError, r"weights\[0\] is read-only", [read_only], None),
        (ValueError, r"weights\[0\] does not lie", [ones((2, 8))[:, ::2]], None),
        (ValueError, r"weights\[0\] overlaps weights\[1\]", [shared, shared.T], None),
        (ValueError, r"biases has 2 entries", [ones((2, 3))], [None, None]),
        (ValueError, r"biases\[0\] has shape \(2,\)", [ones((2, 3))], [ones(2)]),
        (ValueError, r"biases\[0\] has shape \(1, 3\)", [ones((2, 3))], [ones((1, 3))]),
        (TypeError, r"biases\[0\] has type float", [ones((2, 3))], [1.0]),
    ]
    for error, text, weights, biases in cases:
        with pytest.raises(error, match=text):
            make(weights, biases)
    with pytest.raises(ValueError, match="activation is 'selu'"):
        make([ones((2, 3))], activation="selu")  # type: ignore[arg-type]
