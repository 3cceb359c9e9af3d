"""Dropout of the hidden layers of MLP: the mask, its gradient, where it goes on, and where there is none."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm.reference.mlp import dropout_masks
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]
SQUARE = 16
ACTIVATIONS = ["relu", "tanh", "gelu", "silu", None]


def masks_of(seed: int, rows: int, units: list[int], p: float) -> list[Array]:
    """Those of the layers by `dropout` itself: layer 0 has the numbers of an array in squares."""
    squares = -(-rows // SQUARE), -(-units[0] // SQUARE)
    ones = np.ones((*squares, SQUARE, SQUARE))
    whole = fastnorm.dropout(ones, p=p, seed=seed).transpose(0, 2, 1, 3)
    first = whole.reshape(squares[0] * SQUARE, squares[1] * SQUARE)[:rows, : units[0]]
    others = dropout_masks(rows, units, p, seed)[1:]
    return [first, *others]


def seed_of(mlp: fastnorm.MLP) -> int:
    """That of the next step."""
    drawn = mlp._drawn()
    assert drawn is not None
    return drawn[1]


def copies(mlp: fastnorm.MLP) -> list[Array]:
    return [array.copy() for array in (*mlp.weights, *mlp.biases)]


@pytest.mark.parametrize("p", [0.25, 0.3])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize(
    ("rows", "sizes"), [(1, [3, 5, 1]), (50, [7, 20, 33, 2]), (130, [4, 64, 1])], ids=str
)
def test_a_step_is_that_of_a_masked_network(
    rows: int, sizes: list[int], activation: Any, p: float, backend: str, rng: np.random.Generator
) -> None:
    """Loss and update of the network written out, with the mask of `dropout` after each activation."""
    mlp = fastnorm.MLP(sizes, activation=activation, dtype=np.float64, seed=3, dropout=p)
    x, target = rng.standard_normal((rows, sizes[0])), rng.standard_normal((rows, sizes[-1]))
    masks = masks_of(seed_of(mlp), rows, sizes[1:-1], p)
    function = {"relu": fastnorm.relu, "tanh": fastnorm.tanh, "gelu": fastnorm.gelu, "silu": fastnorm.silu}
    a, pulls = x, []
    for layer, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        a, pull = fastnorm.vjp(fastnorm.linear, a, weight, bias)
        pulls.append(pull)
        if layer < len(masks):
            if activation is not None:
                a, pull = fastnorm.vjp(function[activation], a)
                pulls.append(pull)
            a = a * masks[layer]
            pulls.append(lambda g, mask=masks[layer]: g * mask)
    loss, g = fastnorm.mse_loss(a, target, return_grad=True)
    gradients: list[tuple[Array, Array]] = []
    for pull in reversed(pulls):
        found = pull(g)
        g = found if isinstance(found, np.ndarray) else found[0]
        if not isinstance(found, np.ndarray):
            gradients.insert(0, found[1:])
    before = copies(mlp)
    value = mlp.step(x, target, optimizer=fastnorm.SGD(lr=1.0))
    assert value == pytest.approx(float(loss), rel=1e-12)
    expected = [d for d, _ in gradients] + [d for _, d in gradients]
    for array, old, slope in zip(copies(mlp), before, expected, strict=True):
        np.testing.assert_allclose(array, old - slope, rtol=1e-11, atol=1e-12 * np.abs(slope).max(initial=1))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_threads(dtype: np.dtype[Any], native: ModuleType, rng: np.random.Generator) -> None:
    x, target = rng.standard_normal((700, 9)).astype(dtype), rng.standard_normal((700, 2)).astype(dtype)
    results = []
    for threads in (1, 2, 5):
        with fastnorm.threads(threads):
            mlp = fastnorm.MLP([9, 40, 24, 2], dtype=dtype, seed=1, dropout=0.4, activation="gelu")
            losses = [epoch.loss for epoch in mlp.fit(x, target, epochs=2, batch_size=300)]
            results.append((losses, copies(mlp)))
    for losses, parameters in results[1:]:
        assert losses == results[0][0]
        for one, other in zip(parameters, results[0][1], strict=True):
            assert_same_bits(one, other)


def test_fit_takes_the_masks_of_as_many_steps(backend: str, rng: np.random.Generator) -> None:
    x, target = rng.standard_normal((50, 4)), rng.standard_normal((50, 1))
    one, other = (fastnorm.MLP([4, 20, 1], dtype=np.float64, seed=2, dropout=0.5) for _ in range(2))
    one.fit(x, target, epochs=2, batch_size=20, shuffle=False)
    for _ in range(2):
        for begin in range(0, 50, 20):
            other.step(x[begin : begin + 20], target[begin : begin + 20])
    for mine, theirs in zip(copies(one), copies(other), strict=True):
        assert_same_bits(mine, theirs)
    assert one._drawn() == other._drawn()


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "file"])
def test_copies_go_on_with_the_same_masks(
    way: str, tmp_path: Path, backend: str, rng: np.random.Generator
) -> None:
    x, target = (
        rng.standard_normal((30, 4)).astype(np.float32),
        rng.standard_normal((30, 1)).astype(np.float32),
    )
    mlp = fastnorm.MLP([4, 20, 1], seed=2, dropout=0.5)
    for _ in range(3):
        mlp.step(x, target)
    if way == "file":
        mlp.save(tmp_path / "network.npz")
        other = fastnorm.MLP.load(tmp_path / "network.npz")
    else:
        other = pickle.loads(pickle.dumps(mlp)) if way == "pickle" else copy.deepcopy(mlp)
    assert other.dropout == 0.5
    for _ in range(3):
        assert other.step(x, target) == mlp.step(x, target)
    for one, two in zip(copies(mlp), copies(other), strict=True):
        assert_same_bits(one, two)


def test_files_without_dropout_are_as_before(tmp_path: Path) -> None:
    fastnorm.MLP([2, 3, 1]).save(tmp_path / "network.npz")
    with np.load(tmp_path / "network.npz") as file:
        assert "dropout" not in file.files
    assert fastnorm.MLP.load(tmp_path / "network.npz").dropout == 0


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("dropout", np.array(1.5)),
        ("dropout", np.array("half")),
        ("dropout", np.array([0.5])),
        ("masks", np.array([1, 2, 3], np.uint64)),
        ("masks", np.array([0.5, 1.0])),
        ("masks", None),
    ],
    ids=str,
)
def test_bad_files(entry: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    fastnorm.MLP([2, 3, 1], dropout=0.5).save(path)
    with np.load(path) as file:
        entries = dict(file)
    entries[entry] = value
    np.savez(path, **{name: array for name, array in entries.items() if array is not None})
    with pytest.raises(ValueError, match=r"dropout|masks"):
        fastnorm.MLP.load(path)


def test_reading_drops_nothing(backend: str, rng: np.random.Generator) -> None:
    mlp, plain = (fastnorm.MLP([4, 20, 1], dtype=np.float64, seed=2, dropout=p) for p in (0.5, 0.0))
    x, dy = rng.standard_normal((9, 4)), rng.standard_normal((9, 1))
    assert_same_bits(mlp(x), plain(x))
    for one, other in zip(mlp.backward(dy)[1], plain.backward(dy)[1], strict=True):
        assert_same_bits(one, other)
    target = rng.standard_normal((9, 1))
    mlp.dropout = 0.0
    assert mlp.step(x, target) == plain.step(x, target)
    assert "dropout" not in repr(mlp)
    mlp.dropout = 0.25
    assert "dropout=0.25" in repr(mlp)


def test_other_seeds_and_steps_drop_others(backend: str, rng: np.random.Generator) -> None:
    x, target = np.ones((64, 2)), np.zeros((64, 1))
    losses = set()
    for seed in range(3):
        mlp = fastnorm.MLP([2, 64, 1], dtype=np.float64, seed=seed, dropout=0.5)
        mlp.weights = [np.ones((2, 64)), np.ones((64, 1))]
        losses |= {mlp.step(x, target, optimizer=fastnorm.SGD(lr=0.0)) for _ in range(4)}
    assert len(losses) == 12


def test_it_keeps_the_mean(backend: str) -> None:
    """Of what 4,000 masks leave of a linear network, whose mean is what is without one."""
    mlp = fastnorm.MLP([1, 50, 1], activation=None, dtype=np.float64, seed=0, dropout=0.3)
    mlp.weights = [np.full((1, 50), 0.1), np.full((50, 1), 0.2)]
    total = sum(
        mlp.step(np.ones((400, 1)), np.zeros((400, 1)), optimizer=fastnorm.SGD(lr=0.0)) for _ in range(10)
    )
    variance = 50 * 0.02**2 * 0.3 / 0.7  # y = 0.02 * sum of 50 masks over 0.7
    assert total / 10 == pytest.approx(1 + variance, abs=6 * 2 * math.sqrt(variance / 4000))


@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan, "half", None, True], ids=str)
def test_bad_shares(value: Any) -> None:
    error = ValueError if isinstance(value, float) else TypeError
    with pytest.raises(error, match="MLP: dropout "):
        fastnorm.MLP([2, 3, 1], dropout=value)
    mlp = fastnorm.MLP([2, 3, 1], dropout=0.5)
    with pytest.raises(error, match="MLP: dropout "):
        mlp.dropout = value
    assert mlp.dropout == 0.5


def test_a_refused_step_takes_no_masks(backend: str) -> None:
    mlp = fastnorm.MLP([2, 3, 1], dropout=0.5, seed=0)
    first, state = mlp._drawn(), mlp._rng.bit_generator.state
    with pytest.raises(ValueError, match="step: "):
        mlp.step(np.ones((3, 5), np.float32), np.ones((3, 1), np.float32))
    assert mlp._drawn() == first
    assert mlp._rng.bit_generator.state == state
