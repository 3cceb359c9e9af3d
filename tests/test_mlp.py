"""Networks of dense layers against their twins, written-out training, and their bad arguments."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import fastnorm
import numpy as np
import pytest
from fastnorm import reference
from fastnorm._arguments.mlp import CLASS_LOSSES, MLP_LOSSES, NUMBER_LOSSES
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from fastnorm._typing import DenseActivation
from fastnorm.mlp import mlp_gradients, mlp_train
from layouts import LAYOUTS
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

ACTIVATIONS = (None, *get_args(DenseActivation))
# Sizes of the layers, and rows: below and above a block and a group of rows, and widths around the
# registers'.
NETWORKS = (
    ((3, 4, 1), 5),
    ((7, 33, 20, 5), 200),
    ((16, 64, 1), 49),
    ((64, 130, 17, 16), 97),
    ((2, 1), 1),
    ((5, 300), 7),
)
LOSSES = (*NUMBER_LOSSES, *CLASS_LOSSES)


def network(rng: np.random.Generator, sizes: tuple[int, ...], dtype: Any) -> tuple[list[Array], list[Array]]:
    weights = [(rng.standard_normal(size) / math.sqrt(size[0])).astype(dtype) for size in pairwise(sizes)]
    return weights, [rng.standard_normal(size).astype(dtype) for size in sizes[1:]]


def flat(results: Any) -> list[Array]:
    """The arrays in results of lists, tuples and None."""
    if isinstance(results, (list, tuple)):
        return [array for part in results for array in flat(part)]
    return [] if results is None else [results]


def assert_close(got: Any, exact: Any, dtype: np.dtype[Any], terms: int) -> None:
    """Each array within some roundings of `terms` terms, relative to its largest element."""
    for one, other in zip(flat(got), flat(exact), strict=True):
        wide = np.asarray(other, np.float64)
        unit = UNIT_ROUNDOFF["float64" if dtype == np.float64 else "float32"]
        rounding = UNIT_ROUNDOFF[dtype.name] if np.asarray(one).dtype == dtype else 0
        bound = (8 * terms * unit + 2 * rounding) * (np.abs(wide).max(initial=0) + 1)
        np.testing.assert_allclose(np.asarray(one).astype(np.float64), wide, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_and_backward(
    activation: Any, dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    for sizes, rows in NETWORKS:
        weights, biases = network(rng, sizes, dtype)
        x, dy = (rng.standard_normal((rows, n)).astype(dtype) for n in (sizes[0], sizes[-1]))
        wide = [[array.astype(np.float64) for array in group] for group in (weights, biases, [x, dy])]
        (x64, dy64), terms = wide[2], sum(sizes) + rows
        for output in (None, activation):
            names = {"activation": activation, "output_activation": output}
            y = fastnorm.mlp_forward(x, weights, biases, **names)
            gradients = fastnorm.mlp_backward(dy, x, weights, biases, **names)
            assert y.dtype == gradients[0].dtype == dtype
            assert_close(y, reference.mlp_forward(x64, *wide[:2], **names), dtype, terms)
            assert_close(gradients, reference.mlp_backward(dy64, x64, *wide[:2], **names), dtype, terms)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_differences(loss: str, activation: Any, rng: np.random.Generator) -> None:
    """The twins' gradients of every loss and activation, by a central difference along a random direction."""
    # The losses of scikit-learn are reported as means over the outputs and differentiated as sums: one output
    # there.
    outputs = 1 if loss in ("squared_error", "poisson") else 3
    weights, biases = network(rng, (4, 6, outputs), np.float64)
    x, share = rng.standard_normal((7, 4)), rng.random(7)
    target = rng.integers(0, 3, 7) if loss in CLASS_LOSSES else rng.integers(0, 2, (7, outputs)).astype(float)
    parameters = [*weights, *biases]
    direction = [rng.standard_normal(p.shape) for p in parameters]

    def along(step: float) -> Any:
        moved = [p + step * d for p, d in zip(parameters, direction, strict=True)]
        return reference.mlp_gradients(x, target, share, moved[:2], moved[2:], activation, "tanh", loss, 0.3)

    _, dweights, dbiases = along(0.0)
    slope = sum(float(np.vdot(g, d)) for g, d in zip([*dweights, *dbiases], direction, strict=True))
    h = 1e-5
    np.testing.assert_allclose(slope, (along(h)[0] - along(-h)[0]) / (2 * h), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("native")
def test_losses(loss: str, rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64, np.float16):
        weights, biases = network(rng, (8, 16, 5), dtype)
        x, share = rng.standard_normal((300, 8)).astype(dtype), rng.random(300)
        targets: list[Array] = [rng.integers(0, 2, (300, 5)).astype(dtype)]
        if loss in CLASS_LOSSES:
            probabilities = rng.random((300, 5)).astype(dtype)
            targets = [rng.integers(0, 5, 300), *([] if loss == "focal" else [probabilities])]
        for target in targets:
            arguments = (x, target, share, weights, biases, "relu", None, loss, 0.1)
            got, exact = mlp_gradients.native(*arguments), mlp_gradients.reference(*arguments)
            unit = UNIT_ROUNDOFF["float64" if dtype == np.float64 else "float32"]
            assert abs(got[0] - exact[0]) <= 64 * unit * (abs(exact[0]) + 1)
            assert_close(got[1:], exact[1:], np.dtype(np.float64 if dtype == np.float64 else np.float32), 64)


def test_losses_are_those_of_the_package(backend: str, rng: np.random.Generator) -> None:
    logits, target = rng.standard_normal((20, 4)), rng.integers(0, 4, 20)
    for name, function in (
        ("mse", "mse_loss"),
        ("l1", "l1_loss"),
        ("huber", "huber_loss"),
        ("smooth_l1", "smooth_l1_loss"),
        ("bce", "bce_with_logits"),
        ("cross_entropy",) * 2,
        ("poly", "poly_loss"),
        ("focal", "focal_loss"),
    ):
        if not hasattr(fastnorm, function):
            continue
        wanted = np.eye(4)[target] if name in NUMBER_LOSSES else target
        net = fastnorm.MLP([4, 4], dtype=np.float64)
        net.weights = [np.eye(4)]
        loss = net.step(logits, wanted, loss=name, optimizer=fastnorm.SGD(lr=0.0))
        np.testing.assert_allclose(loss, float(getattr(fastnorm, function)(logits, wanted)), rtol=1e-12)


def test_same_bits(native: ModuleType, rng: np.random.Generator) -> None:
    """For any threads, layouts of memory, and for a row whatever the other rows."""
    weights, biases = network(rng, (64, 130, 17), np.float32)
    x, dy = rng.standard_normal((1999, 64)).astype("f"), rng.standard_normal((1999, 17)).astype("f")
    with fastnorm.threads(1):
        y, gradients = fastnorm.mlp_forward(x, weights, biases), fastnorm.mlp_backward(dy, x, weights, biases)
    for count in (2, 5):
        with fastnorm.threads(count):
            assert_same_bits(fastnorm.mlp_forward(x, weights, biases), y)
            for one, other in zip(
                flat(fastnorm.mlp_backward(dy, x, weights, biases)), flat(gradients), strict=True
            ):
                assert_same_bits(one, other)
    for relay in LAYOUTS.values():
        laid = [relay(weight) for weight in weights]
        assert_same_bits(fastnorm.mlp_forward(relay(x), laid, biases), y)
        got = fastnorm.mlp_backward(relay(dy), relay(x), laid, biases)
        for one, other in zip(flat(got), flat(gradients), strict=True):
            assert_same_bits(one, other)
    for rows in (slice(0, 1), slice(47, 50), slice(1000, 1333)):
        assert_same_bits(fastnorm.mlp_forward(x[rows], weights, biases), y[rows])
        assert_same_bits(fastnorm.mlp_backward(dy[rows], x[rows], weights, biases)[0], gradients[0][rows])
    assert_same_bits(
        fastnorm.mlp_forward(x[:60].reshape(3, 20, 64), weights, biases), y[:60].reshape(3, 20, 17)
    )
    assert_same_bits(fastnorm.mlp_forward(x[0], weights, biases), y[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.usefixtures("native")
def test_layers_have_the_bits_of_linear(dtype: Any, activation: Any, rng: np.random.Generator) -> None:
    """More inputs than one block of the sum, and columns that fill no register."""
    weights, biases = network(rng, (600, 70, 5), dtype)
    x = rng.standard_normal((50, 600)).astype(dtype)
    hidden = fastnorm.linear.native(x, weights[0], biases[0], activation=activation)
    expected = fastnorm.linear.native(hidden, weights[1], biases[1])
    assert_same_bits(fastnorm.mlp_forward.native(x, weights, biases, activation=activation), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_few_rows_have_the_bits_of_many(dtype: Any, rng: np.random.Generator) -> None:
    """Few rows read weights where they lie, where rows of them are whole cache lines; many read copies."""
    for sizes in ((3, 16, 32, 1), (300, 64, 48, 10), (1, 16), (600, 512, 16)):
        weights, biases = network(rng, sizes, np.dtype(dtype))
        x = rng.standard_normal((60, sizes[0])).astype(dtype)
        expected = fastnorm.mlp_forward(x, weights, biases, activation="gelu")
        layouts = {
            "as they are": weights,
            "packed": [fastnorm.pack(weight) for weight in weights],
            "apart": [np.pad(weight, ((0, 0), (0, 3)))[:, : weight.shape[1]] for weight in weights],
            "backwards": [weight[::-1].copy()[::-1] for weight in weights],
            "columns": [np.asfortranarray(weight) for weight in weights],
            "misaligned": [unaligned(weight) for weight in weights],
        }
        for laid in layouts.values():
            for rows in (1, 2, 7, 23, 24, 25, 49):
                y = fastnorm.mlp_forward(x[:rows], laid, biases, activation="gelu")
                assert_same_bits(y, expected[:rows])


def test_without_biases_and_rows(backend: str, rng: np.random.Generator) -> None:
    weights, biases = network(rng, (3, 8, 2), np.float64)
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    zero = [np.zeros(8), np.zeros(2)]
    np.testing.assert_array_equal(
        fastnorm.mlp_forward(x, weights, None), fastnorm.mlp_forward(x, weights, zero)
    )
    assert fastnorm.mlp_backward(dy, x, weights, None)[2] is None
    _, _, some = fastnorm.mlp_backward(dy, x, weights, [biases[0], None])
    assert some is not None
    assert some[1] is None
    empty, grads, _ = fastnorm.mlp_backward(dy[:0], x[:0], weights, biases)
    assert empty.shape == (0, 3)
    assert not any(g.any() for g in grads)
    assert fastnorm.mlp_forward(x[:0], weights, biases).shape == (0, 2)
    _, pullback = fastnorm.vjp(fastnorm.mlp_forward, x, weights, biases)
    assert_same_bits(pullback(dy)[0], fastnorm.mlp_backward(dy, x, weights, biases)[0])


# Training


def test_the_two_layer_regressor(backend: str) -> None:
    """The reference spec: hundreds of steps of plain gradient descent equal a plain NumPy version to
    rounding.
    """
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)), rng.standard_normal((50, 1))
    w1, b1 = rng.standard_normal((4, 16)) * 0.01, np.zeros(16)
    w2, b2 = rng.standard_normal((16, 1)) * 0.01, np.zeros(1)
    net = fastnorm.MLP([4, 16, 1], dtype=np.float64)
    net.weights = [w1, w2]
    for _ in range(500):
        z1 = x @ w1 + b1
        a1 = np.maximum(0, z1)
        prediction = a1 @ w2 + b2
        loss = np.mean((y - prediction) ** 2)
        d = 2 / len(x) * (prediction - y)
        dz1 = d @ w2.T * (z1 > 0)
        w1, b1 = w1 - 0.01 * x.T @ dz1, b1 - 0.01 * dz1.sum(axis=0)
        w2, b2 = w2 - 0.01 * a1.T @ d, b2 - 0.01 * d.sum(axis=0)
        assert net.step(x, y) == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(net.weights[0], w1, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.biases[1], b2, rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("loss", MLP_LOSSES)
def test_step_is_forward_backward_and_update(
    loss: str, dtype: np.dtype[Any], backend: str, rng: np.random.Generator
) -> None:
    """Several steps against the same in float64 twins."""
    x = rng.standard_normal((120, 6)).astype(dtype)
    is_number = loss in NUMBER_LOSSES
    target = rng.standard_normal((120, 3)).astype(dtype) if is_number else rng.integers(0, 3, 120)
    if loss == "bce":
        target = (target > 0).astype(dtype)
    for optimizer in (
        lambda: fastnorm.SGD(0.1, 0.9, nesterov=True),
        lambda: fastnorm.Adam(0.01, weight_decay=0.1),
    ):
        net, wide = (fastnorm.MLP([6, 20, 3], dtype=kind, seed=4) for kind in (dtype, np.float64))
        wide.load_state_dict({name: a.astype(np.float64) for name, a in net.state_dict().items()})
        one, other = optimizer(), optimizer()
        x64 = x.astype(np.float64)
        wanted = target.astype(np.float64) if is_number else target
        for _ in range(3):
            got = net.step(x, target, loss=loss, optimizer=one)
            with fastnorm.backend("reference"):
                exact = wide.step(x64, wanted, loss=loss, optimizer=other)
            assert got == pytest.approx(exact, rel=300 * UNIT_ROUNDOFF[dtype.name])


def losses_of(history: list[fastnorm.Epoch]) -> Array:
    return np.array([epoch.loss for epoch in history])


def test_step_same_bits_for_any_threads(native: ModuleType, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((3000, 40)).astype("f"), rng.standard_normal((3000, 1)).astype("f")
    states = []
    for count in (1, 2, 4):
        net = fastnorm.MLP([40, 64, 1], seed=0)
        with fastnorm.threads(count):
            history = net.fit(x, y, epochs=2, batch_size=700, optimizer=fastnorm.Adam(), shuffle=False)
        states.append([losses_of(history), *net.state_dict().values()])
    for state in states[1:]:
        for one, other in zip(state, states[0], strict=True):
            assert_same_bits(one, other)


def test_fit_learns_and_repeats(backend: str) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (256, 2)).astype("f")
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    curves = []
    for _ in range(2):
        net = fastnorm.MLP([2, 32, 2], activation="gelu", seed=5)
        history = net.fit(x, y, epochs=40, loss="cross_entropy", optimizer=fastnorm.Adam(0.01))
        curves.append(losses_of(history))
    assert_same_bits(curves[0], curves[1])
    assert curves[0][-1] < 0.2
    assert (net(x).argmax(axis=1) == y).mean() > 0.95
    assert len(net.fit(x, y, epochs=1, loss="cross_entropy")) == 1


def test_backward_of_the_last_forward(backend: str, rng: np.random.Generator) -> None:
    net = fastnorm.MLP([3, 5, 2], seed=0)
    x, dy = rng.standard_normal((4, 3)).astype("f"), rng.standard_normal((4, 2)).astype("f")
    with pytest.raises(ValueError, match="needs one before it"):
        net.backward(dy)
    assert_same_bits(net.forward(x), fastnorm.mlp_forward(x, net.weights, net.biases))
    for one, other in zip(
        flat(net.backward(dy)), flat(fastnorm.mlp_backward(dy, x, net.weights, net.biases)), strict=True
    ):
        assert_same_bits(one, other)


def test_initial_weights() -> None:
    he, xavier = (
        fastnorm.MLP([400, 300, 200], seed=0),
        fastnorm.MLP([400, 300, 200], activation="tanh", seed=0),
    )
    assert abs(he.weights[0].std() / math.sqrt(2 / 400) - 1) < 0.02
    bound = math.sqrt(6 / 700)
    assert 0.99 * bound < np.abs(xavier.weights[0]).max() <= bound * 1.0001
    assert_same_bits(he.weights[0], fastnorm.MLP([400, 300, 200], seed=0).weights[0])
    assert not he.biases[0].any()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_saving(dtype: np.dtype[Any], tmp_path: Path, rng: np.random.Generator) -> None:
    net = fastnorm.MLP([3, 4, 2], activation="gelu", output_activation="tanh", dtype=dtype, seed=1)
    net.save(tmp_path / "net.npz")
    x = rng.standard_normal((5, 3)).astype(dtype)
    for other in (fastnorm.MLP.load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net))):
        assert repr(other) == repr(net)
        assert_same_bits(other(x), net(x))
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"a file that MLP\.save wrote"):
        fastnorm.MLP.load(tmp_path / "other.npz")
    for bad in ({}, {**net.state_dict(), "more": x}, {**net.state_dict(), "biases.0": np.ones(3)}):
        before = net.state_dict()
        with pytest.raises(ValueError, match="needs"):
            net.load_state_dict(bad)
        for name, array in net.state_dict().items():
            assert_same_bits(array, before[name])


INTERRUPTED = """
import os, signal, threading, numpy as np, fastnorm
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it from its start
rng = np.random.default_rng(0)
x, y = rng.standard_normal((20000, 64)).astype("f"), rng.standard_normal((20000, 1)).astype("f")
net, steps = fastnorm.MLP([64, 256, 1], seed=0), fastnorm.Adam()
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    net.fit(x, y, epochs=10**6, batch_size=32, optimizer=steps)
except KeyboardInterrupt:
    assert all(np.isfinite(w).all() for w in net.weights)
    print("stopped after", int(steps._steps[0]), net.step(x, y) > 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_interrupt(native: ModuleType) -> None:
    """Ctrl-C ends fit after a step, with valid parameters."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("stopped after"), done.stderr
    assert time.monotonic() - start < 50


def test_fit_releases_the_gil(native: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4000, 64)).astype("f"), rng.standard_normal((4000, 1)).astype("f")
    net, ticks = fastnorm.MLP([64, 256, 1], seed=0), 0
    worker = threading.Thread(target=net.fit, args=(x, y), kwargs={"epochs": 5})
    worker.start()
    while worker.is_alive():
        ticks += 1
        time.sleep(0.0005)
    assert ticks > 3


# Bad arguments

F = np.float32
X, W, B = np.ones((5, 3), F), [np.ones((3, 4), F), np.ones((4, 1), F)], [np.ones(4, F), np.ones(1, F)]
BAD_NETWORKS: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("x", {"x": np.ones((5, 3), int)}, TypeError),
    ("x", {"x": F(1)}, ValueError),
    ("weights", {"weights": []}, ValueError),
    ("weights", {"weights": np.ones((3, 4), F)}, TypeError),
    (r"weights\[1\]", {"weights": [W[0], np.ones((5, 1), F)]}, ValueError),
    (r"weights\[0\]", {"weights": [np.ones((2, 4), F), W[1]]}, ValueError),
    (r"weights\[0\]", {"weights": [np.ones(3, F), W[1]]}, ValueError),
    (r"weights\[0\]", {"weights": [np.ones((3, 4)), W[1]]}, TypeError),
    ("biases", {"biases": [B[0]]}, ValueError),
    (r"biases\[0\]", {"biases": [np.ones(3, F), B[1]]}, ValueError),
    (r"biases\[0\]", {"biases": [np.ones(4), B[1]]}, TypeError),
    ("activation", {"activation": "selu"}, ValueError),
    ("activation", {"activation": 1}, TypeError),
    ("output_activation", {"output_activation": "softmax"}, ValueError),
]


@pytest.mark.parametrize(("argument", "change", "error"), BAD_NETWORKS, ids=str)
def test_bad_networks(argument: str, change: dict[str, Any], error: type[Exception], backend: str) -> None:
    good: dict[str, Any] = {"x": X, "weights": W, "biases": B}
    with pytest.raises(error, match=rf"mlp_forward: {argument}.*needs"):
        fastnorm.mlp_forward(**{**good, **change})
    with pytest.raises(error, match=rf"mlp_backward: {argument}.*needs"):
        fastnorm.mlp_backward(np.ones((5, 1), F), **{**good, **change})


Y = np.ones((5, 1), F)
BAD_STEPS: list[tuple[str, Any, Any, dict[str, Any], type[Exception]]] = [
    ("x", np.ones((5, 3)), Y, {}, TypeError),
    (r"weights\[0\]", np.ones((5, 2), F), Y, {}, ValueError),
    ("x", np.ones(3, F), Y, {}, ValueError),
    ("x", X[:0], Y[:0], {}, ValueError),
    ("target", X, np.ones((5, 2), F), {}, ValueError),
    ("target", X, np.ones((4, 1), F), {}, ValueError),
    ("target", X, np.ones((5, 1)), {}, TypeError),
    ("target", X, np.ones((5, 1), int), {}, TypeError),
    ("target", X, np.ones(5, int), {"loss": "cross_entropy"}, ValueError),
    ("target", X, np.full(5, -1), {"loss": "poly"}, ValueError),
    ("target", X, np.zeros((5, 1), int), {"loss": "focal"}, ValueError),
    ("target", X, Y, {"loss": "focal"}, TypeError),
    ("loss", X, Y, {"loss": "hinge"}, ValueError),
    ("loss", X, Y, {"loss": None}, TypeError),
    ("optimizer", X, Y, {"optimizer": "adam"}, TypeError),
]


@pytest.mark.parametrize(("argument", "x", "target", "keywords", "error"), BAD_STEPS, ids=str)
def test_bad_steps(
    argument: str, x: Any, target: Any, keywords: dict[str, Any], error: type[Exception], backend: str
) -> None:
    net = fastnorm.MLP([3, 4, 1], seed=0)
    before = net.state_dict()
    for call in (net.step, net.fit):
        with pytest.raises(error, match=rf"(step|fit): {argument}.*needs"):
            call(x, target, **keywords)
    for name, array in net.state_dict().items():
        assert_same_bits(array, before[name])


def test_bad_fits_and_networks(backend: str) -> None:
    net = fastnorm.MLP([3, 4, 1], seed=0)
    spoilt = Y.copy()
    spoilt[2] = math.nan
    for argument, bad in (("target", spoilt), ("target", spoilt * math.inf)):
        with pytest.raises(ValueError, match=f"fit: {argument} has .*needs finite"):
            net.fit(X, bad)
    for name, value, error in (
        ("epochs", -1, ValueError),
        ("batch_size", 0, ValueError),
        ("batch_size", 2.0, TypeError),
        ("shuffle", 1, TypeError),
        ("progress", "yes", TypeError),
    ):
        with pytest.raises(error, match=f"fit: {name}.*needs"):
            net.fit(X, Y, **{name: value})
    for sizes, kind in (
        ([3], ValueError),
        ([], ValueError),
        ([3, 0], ValueError),
        ([3, 2.0], TypeError),
        ("34", TypeError),
    ):
        with pytest.raises(kind, match=r"MLP: layer_sizes"):
            fastnorm.MLP(sizes)
    for keywords in ({"activation": "selu"}, {"dtype": int}, {"dtype": "float8"}):
        with pytest.raises((TypeError, ValueError), match=r"MLP: .*needs"):
            fastnorm.MLP([3, 1], **keywords)
    with pytest.raises(ValueError, match=r"MLP: weights\[0\].*needs"):
        net.weights = [np.ones((4, 3), F), W[1]]
    with pytest.raises(ValueError, match=r"MLP: biases.*needs"):
        net.biases = [B[0]]


# What is silently wrong, unless it is refused


def test_assignments_copy_first(backend: str) -> None:
    """From own arrays as from any others."""
    net = fastnorm.MLP([3, 3, 3], seed=0)
    for b in net.biases:
        b[...] = b.size + np.arange(3) * (1 if b is net.biases[0] else 5)
    before = net.state_dict()
    net.weights = net.weights[::-1]
    net.biases = net.biases[::-1]
    state = net.state_dict()
    for name, other in (("weights.0", "weights.1"), ("biases.0", "biases.1")):
        assert_same_bits(state[name], before[other])
        assert_same_bits(state[other], before[name])
    net.weights = [w.T for w in net.weights]
    assert_same_bits(net.weights[0], np.ascontiguousarray(before["weights.1"].T))
    own = dict(zip(before, (net.weights[1], net.biases[1], net.weights[0], net.biases[0]), strict=True))
    state = net.state_dict()
    net.load_state_dict(own)
    assert_same_bits(net.weights[0], state["weights.1"])
    assert_same_bits(net.biases[1], state["biases.0"])


def test_assignments_change_all_or_nothing(backend: str) -> None:
    """Values that overflow are infinite, whatever warnings are; a read-only parameter is refused first."""
    net = fastnorm.MLP([1, 1, 1], seed=0)
    net.weights = [np.array([[1e300]]), np.array([[1.0]])]
    np.testing.assert_array_equal(net.weights, [[[np.inf]], [[1]]])
    net.weights[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"MLP: weights\[1\] is read-only, needs"):
        net.weights = [np.ones((1, 1)), np.ones((1, 1))]
    with pytest.raises(ValueError, match=r"load_state_dict: weights\.1 is read-only, needs"):
        net.load_state_dict({name: np.ones_like(array) for name, array in net.state_dict().items()})
    assert math.isinf(net.weights[0][0, 0])
    for bad in ([("weights.0", 1)], None):
        with pytest.raises(TypeError, match=r"load_state_dict: state has type .*needs"):
            net.load_state_dict(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [fastnorm.SGD, fastnorm.Adam])
def test_a_refusal_changes_nothing(make: Any, backend: str, rng: np.random.Generator) -> None:
    """Neither the optimiser, which may go on with another network, nor the order of the rows in `fit`."""
    x, y = rng.standard_normal((9, 3)).astype(np.float32), np.ones((9, 1), np.float32)
    net, other = fastnorm.MLP([3, 4, 1], seed=0), fastnorm.MLP([2, 1], seed=0)
    optimizer = make()
    for bad in ({"target": y[1:]}, {"x": x[:, 1:]}, {"loss": "hinge"}, {"x": np.full_like(x, np.nan)}):
        given = {"x": x, "target": y, "epochs": 1, **bad}
        with pytest.raises(ValueError, match=r"fit: .*needs"):
            net.fit(optimizer=optimizer, **given)
        if "x" not in bad:
            with pytest.raises(ValueError, match=r"step: .*needs"):
                net.step(**{k: v for k, v in given.items() if k != "epochs"}, optimizer=optimizer)
    net.weights[1].flags.writeable = False
    for call in (net.step, net.fit):
        with pytest.raises(ValueError, match=r"(step|fit): weights\[1\] is read-only, needs"):
            call(x, y, optimizer=optimizer)
    net.weights[1].flags.writeable = True
    other.step(x[:, :2], y, optimizer=optimizer)
    twin = fastnorm.MLP([3, 4, 1], seed=0)
    histories = [network.fit(x, y, epochs=2, batch_size=2) for network in (net, twin)]
    assert_same_bits(*map(losses_of, histories))


def test_pickles_hold_no_batch(backend: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((10_000, 3)).astype(np.float32)
    net = fastnorm.MLP([3, 4, 1], seed=0)
    net.fit(x, x[:, :1], epochs=1)
    net.forward(x)
    assert len(pickle.dumps(net)) < 5000
    again = pickle.loads(pickle.dumps(net))
    with pytest.raises(ValueError, match="backward: there is no forward yet, needs one"):
        again.backward(np.ones((10_000, 1), np.float32))
    for one, two in zip(again._parameters, net._parameters, strict=True):
        assert_same_bits(one, two)
    assert_same_bits(*(losses_of(network.fit(x, x[:, :1], epochs=1)) for network in (again, net)))
    assert again._parameters[0] is again.weights[0]


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapped_networks(mode: str, backend: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Of a file of joblib's: they predict, and learn where they may write."""
    joblib = pytest.importorskip("joblib")
    x, y = rng.standard_normal((9, 3)).astype(np.float32), np.ones((9, 1), np.float32)
    net, adam = fastnorm.MLP([3, 4, 1], seed=0), fastnorm.Adam()
    net.step(x, y, optimizer=adam)
    joblib.dump((net, adam), tmp_path / "model")
    again, its = joblib.load(tmp_path / "model", mmap_mode=mode)
    assert_same_bits(again(x), net(x))
    if mode == "r":
        with pytest.raises(ValueError, match=r"step: weights\[0\] is read-only, needs"):
            again.step(x, y, optimizer=its)
        return
    for _ in range(2):
        assert net.step(x, y, optimizer=adam) == again.step(x, y, optimizer=its)
    assert_same_bits(again(x), net(x))


def train(net: fastnorm.MLP, x: Any, y: Any, share: Any, **change: Any) -> float:
    """One epoch in batches of 4 with a penalty, and weights for the rows."""
    arguments: dict[str, Any] = {
        "weights": net.weights,
        "biases": net.biases,
        "activation": "relu",
        "output_activation": None,
        "loss": "mse",
        "penalty": 0.1,
        "rule": fastnorm.Adam(lr=0.1)._rule_for(net._parameters),
        "order": None,
        "batch_size": 4,
    }
    return mlp_train(x, y, share, **{**arguments, **change})


@pytest.mark.parametrize("loss", ["mse", "poisson", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("weight", [0.0, 1e-320], ids=["zero", "without an inverse"])
def test_batches_without_weight_are_passed_over(
    weight: float, loss: str, backend: str, rng: np.random.Generator
) -> None:
    x, y = rng.standard_normal((12, 3)), rng.random((12, 1))
    target = np.zeros(12, np.int64) if loss == "cross_entropy" else y
    share = np.ones(12)
    share[4:8] = weight
    nets = [fastnorm.MLP([3, 4, 1], dtype=np.float64, seed=0) for _ in range(2)]
    adams = [fastnorm.Adam(lr=0.1) for _ in nets]
    kept = np.delete(np.arange(12), np.s_[4:8])
    found = train(nets[0], x, target, share, loss=loss, rule=adams[0]._rule_for(nets[0]._parameters))
    wanted = train(
        nets[1], x[kept], target[kept], None, loss=loss, rule=adams[1]._rule_for(nets[1]._parameters)
    )
    assert found == wanted
    for one, two in zip(nets[0]._parameters, nets[1]._parameters, strict=True):
        assert_same_bits(one, two)
    np.testing.assert_array_equal(adams[0]._steps, 2)
    before = nets[0].state_dict()
    assert train(nets[0], x, target, np.zeros(12), loss=loss) == 0
    for name, array in nets[0].state_dict().items():
        assert_same_bits(array, before[name])
    parts = mlp_gradients(x, target, np.zeros(12), nets[0].weights, nets[0].biases, "relu", None, loss, 0.1)
    assert all(not np.any(part) for part in (parts[0], *parts[1], *(parts[2] or ())))


def test_training_reads_no_memory_that_it_writes(backend: str) -> None:
    """Rows, targets or weights among the parameters, and parameters that share memory."""
    net = fastnorm.MLP([3, 3, 3], dtype=np.float64, seed=0)
    before, rows = net.state_dict(), np.ones((3, 3))
    shared = np.ones((2, 9))
    calls: list[tuple[str, dict[str, Any]]] = [
        (r"x overlaps weights\[0\]", {"x": net.weights[0]}),
        (r"target overlaps weights\[1\]", {"target": net.weights[1]}),
        (r"sample_weight overlaps biases\[0\]", {"sample_weight": net.biases[0]}),
        (r"weights\[.\] overlaps weights\[.\]", {"weights": (net.weights[0], net.weights[0])}),
        (
            r"weights\[.\] overlaps weights\[.\]",
            {"weights": (shared.ravel()[:9].reshape(3, 3), shared.ravel()[8:17].reshape(3, 3))},
        ),
        (r"biases\[0\] overlaps weights\[1\]", {"biases": (net.weights[1][1], net.biases[1])}),
    ]
    for message, change in calls:
        given = {"x": rows, "target": rows, "sample_weight": np.ones(3), **change}
        with pytest.raises(ValueError, match=f"step: ({message}|{swapped(message)})"):
            train(net, given.pop("x"), given.pop("target"), given.pop("sample_weight"), **given)
    for call in (net.step, net.fit):
        with pytest.raises(ValueError, match=r"(step|fit): x overlaps weights\[0\]"):
            call(net.weights[0], rows)
    for name, array in net.state_dict().items():
        assert_same_bits(array, before[name])


def swapped(message: str) -> str:
    first, _, second = message.partition(" overlaps ")
    return f"{second} overlaps {first}"


def unaligned(array: Array) -> Array:
    copied = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    copied[...] = array
    return copied


def test_any_layout_of_targets_and_weights(backend: str, rng: np.random.Generator) -> None:
    x, classes = rng.standard_normal((12, 3)), rng.integers(0, 2, 12)
    share = rng.random(12).astype(np.float32).astype(np.float64)
    wanted = train(fastnorm.MLP([3, 2], dtype=np.float64, seed=0), x, classes, share, loss="poly")
    for given in (
        unaligned(classes),
        np.repeat(classes, 2)[::2],
        classes.astype(np.uint8),
        classes.astype(">i4"),
    ):
        for weights in (unaligned(share), np.repeat(share, 2)[::2], share.astype(np.float32), list(share)):
            net = fastnorm.MLP([3, 2], dtype=np.float64, seed=0)
            assert train(net, unaligned(x), given, weights, loss="poly") == wanted
    with pytest.raises(ValueError, match=r"step: sample_weight has shape \(11,\), needs \(12,\)"):
        train(net, x, classes, share[1:], loss="poly")


def test_losses_are_names(backend: str) -> None:
    net = fastnorm.MLP([3, 4, 1], seed=0)
    for loss in (("bogus", 1.0), (), ("mse",), ("poly", 1.0), ("poly", 1.0, 2.0), ["poly"], 3, None):
        for call in (net.step, net.fit):
            with pytest.raises(TypeError, match=r"(step|fit): loss has type .*needs a str"):
                call(X, Y, loss=loss)


def test_bad_sizes_and_seeds() -> None:
    for sizes in ([2, 2**62], [2**40, 2**40], [2, 10**30], [-1, 2]):
        with pytest.raises(ValueError, match=r"MLP: layer_sizes.*needs"):
            fastnorm.MLP(sizes)
    for seed, error in (("x", TypeError), (1.5, TypeError), (-1, ValueError)):
        with pytest.raises(error, match=r"MLP: seed .*needs"):
            fastnorm.MLP([2, 1], seed=seed)  # type: ignore[arg-type]
    swapped_bytes = np.dtype(np.float32).newbyteorder()
    net = fastnorm.MLP([2, 1], dtype=swapped_bytes, seed=0)
    assert net.dtype == np.float32
    assert_same_bits(net.weights[0], fastnorm.MLP([2, 1], seed=0).weights[0])


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "binary_focal", ""])
@pytest.mark.parametrize("method", ["step", "fit"])
def test_losses_of_others_are_refused(method: str, loss: str) -> None:
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    needed = ", ".join(map(repr, MLP_LOSSES))
    with pytest.raises(ValueError, match=rf"^{method}: loss is '{loss}', needs one of {needed}$"):
        getattr(fastnorm.MLP([2, 1]), method)(x, y, loss=loss)


def test_a_copy_has_parameters_of_its_own() -> None:
    mlp = fastnorm.MLP([2, 1], seed=0)
    before = mlp.state_dict()
    copy.copy(mlp).step(np.ones((2, 2), np.float32), np.ones((2, 1), np.float32))
    for name, array in mlp.state_dict().items():
        assert_same_bits(array, before[name])


@pytest.mark.parametrize(
    "dtype", [None, ",,", "f4,(", "\ud800", 10**5000, [("a", "f4"), ("a", "f4")], int], ids=lambda _: ""
)
def test_dtypes_that_are_none(dtype: Any) -> None:
    for make in (lambda: fastnorm.MLP([2, 1], dtype=dtype), lambda: fastnorm.MemN2N(5, 2, 1, 2, dtype=dtype)):
        with pytest.raises(TypeError, match=r"^(MLP|MemN2N): dtype is "):
            make()
