"""What `MLP.fit` does beside steps: validation, early stopping, schedules, clipping, weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from ops import without_addresses
from tolerances import assert_same_bits

Array = NDArray[Any]

LOSSES = ("mse", "cross_entropy")


def problem(rng: np.random.Generator, loss: str = "mse", rows: int = 50) -> tuple[Any, Array, Array]:
    net = fastnorm.MLP([4, 8, 3], activation="tanh", dtype=np.float64, seed=1)
    x = rng.standard_normal((rows, 4))
    target = rng.integers(0, 3, rows) if loss != "mse" else rng.standard_normal((rows, 3))
    return net, x, target


def loss_of(net: Any, x: Array, target: Array, loss: str, share: Array | None = None) -> float:
    """Mean of the losses of rows by their weights."""
    y = net.forward(x)
    if loss == "mse":
        each = np.asarray(fastnorm.mse_loss(y, target, reduction="none")).mean(axis=1)
    else:
        each = np.asarray(fastnorm.cross_entropy(y, target, reduction="none"))
    return float(np.average(each, weights=share))


def same_parameters(one: Any, other: Any) -> None:
    for a, b in zip(one._parameters, other._parameters, strict=True):
        assert_same_bits(a, b)


def close_parameters(one: Any, other: Any, rtol: float = 1e-12) -> None:
    for a, b in zip(one._parameters, other._parameters, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)


# ---- validation and early stopping


@pytest.mark.parametrize("loss", LOSSES)
def test_validation_of_given_rows(loss: str, backend: str, rng: np.random.Generator) -> None:
    """It changes nothing of training, and is the loss after each epoch."""
    net, x, target = problem(rng, loss)
    beside, its = problem(rng, loss, 20)[1:]
    quiet = copy.copy(net)
    losses: list[float] = []
    history = net.fit(
        x,
        target,
        epochs=4,
        loss=loss,
        validation=(beside, its),
        progress=lambda epoch: losses.append(loss_of(net, beside, its, loss)),
    )
    assert [epoch.validation for epoch in history] == pytest.approx(losses, rel=1e-12)
    plain = quiet.fit(x, target, epochs=4, loss=loss)
    assert [epoch.loss for epoch in plain] == [epoch.loss for epoch in history]
    assert all(math.isnan(epoch.validation) for epoch in plain)
    same_parameters(net, quiet)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_share_is_held_out(loss: str, backend: str, rng: np.random.Generator) -> None:
    """The last rows without shuffling: training is that of the others."""
    net, x, target = problem(rng, loss)
    other = copy.copy(net)
    history = net.fit(x, target, epochs=3, loss=loss, shuffle=False, validation=0.21)
    wanted = other.fit(
        x[:39], target[:39], epochs=3, loss=loss, shuffle=False, validation=(x[39:], target[39:])
    )
    for one, two in zip(history, wanted, strict=True):
        assert one[:3] == two[:3]
    same_parameters(net, other)


def test_a_random_share(backend: str, rng: np.random.Generator) -> None:
    """What is held out is not trained on: rows whose targets are spoilt show where they are."""
    net, x, _ = problem(rng)
    target = np.zeros((50, 3))
    first, second = copy.copy(net), copy.copy(net)
    histories = [n.fit(x, target, epochs=5, batch_size=7, validation=0.2) for n in (first, second)]
    assert [epoch[1:3] for epoch in histories[0]] == [epoch[1:3] for epoch in histories[1]]
    same_parameters(first, second)
    expected = np.random.default_rng(0)
    expected.bit_generator.state = net._rng.bit_generator.state
    drawn = expected.permutation(50)
    spoilt = target.copy()
    spoilt[drawn[40:]] = 1e6
    net.fit(x, spoilt, epochs=5, batch_size=7, validation=0.2)
    same_parameters(net, first)


def test_early_stopping_restores_the_best(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng, rows=12)
    beside, its = problem(rng, rows=12)[1:]
    kept: list[Any] = []
    history = net.fit(
        x,
        target,
        epochs=500,
        batch_size=4,
        optimizer=fastnorm.Adam(0.05),
        validation=(beside, its),
        early_stopping=7,
        progress=lambda epoch: kept.append(copy.copy(net)),
    )
    errors = [epoch.validation for epoch in history]
    best = int(np.argmin(errors))
    assert len(errors) == best + 8 < 500
    same_parameters(net, kept[best])
    assert loss_of(net, beside, its, "mse") == pytest.approx(errors[best], rel=1e-12)
    # Also where all epochs are run, but not without early_stopping.
    for patience in (100, None):
        again = fastnorm.MLP([4, 8, 3], activation="tanh", dtype=np.float64, seed=1)
        more = {"epochs": best + 4, "validation": (beside, its), "early_stopping": patience}
        again.fit(x, target, batch_size=4, optimizer=fastnorm.Adam(0.05), **more)
        same_parameters(again, kept[best if patience else best + 3])


def test_validation_that_is_never_a_number(backend: str, rng: np.random.Generator) -> None:
    """Rows held out without a weight: training ends, and keeps what it has."""
    net, x, target = problem(rng)
    share = np.ones(50)
    share[40:] = 0
    other = copy.copy(net)
    options = {"shuffle": False, "sample_weight": share, "validation": 0.2}
    history = net.fit(x, target, epochs=9, early_stopping=3, **options)
    assert len(history) == 3
    assert all(math.isnan(epoch.validation) for epoch in history)
    other.fit(x, target, epochs=3, **options)
    same_parameters(net, other)


def test_rows_to_learn_from_have_weight(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    share = np.zeros(50)
    share[-1] = 1
    before = copy.deepcopy(net.weights)
    with pytest.raises(ValueError, match="fit: sample_weight gives the rows to learn from 0"):
        net.fit(x, target, sample_weight=share, validation=0.02, shuffle=False)
    for weight, old in zip(net.weights, before, strict=True):
        assert_same_bits(weight, old)
    # Which rows are drawn depends on the network's random numbers alone, an error takes none of them.
    drawn = net._rng.bit_generator.state
    last = np.sort(copy.deepcopy(net)._rng.permutation(50)[49:])
    share[:], share[last] = 0, 1
    with pytest.raises(ValueError, match="fit: sample_weight gives the rows to learn from 0"):
        net.fit(x, target, sample_weight=share, validation=0.02)
    assert net._rng.bit_generator.state == drawn


def test_weights_of_classes_and_norms_without_limit(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng, "cross_entropy")
    other = copy.deepcopy(net)
    net.fit(x, target, loss="cross_entropy", class_weight=[1, 2, 0], max_norm=math.inf)
    other.fit(x, target, loss="cross_entropy", class_weight=np.array([1.0, 2.0, 0.0]))
    same_parameters(net, other)


def test_a_rate_set_between_epochs_counts(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    other, optimizer = copy.deepcopy(net), fastnorm.SGD(lr=0.1)

    def slower(epoch: fastnorm.Epoch) -> None:
        optimizer.lr = 0.01

    net.fit(x, target, epochs=2, shuffle=False, optimizer=optimizer, progress=slower)
    other.fit(x, target, epochs=1, shuffle=False, optimizer=fastnorm.SGD(lr=0.1))
    other.fit(x, target, epochs=1, shuffle=False, optimizer=fastnorm.SGD(lr=0.01))
    same_parameters(net, other)


# ---- schedules and clipping


def rates(step: int) -> float:
    return 0.5 / (1 + step)


@pytest.mark.parametrize("make", [fastnorm.SGD, fastnorm.AdamW, fastnorm.Lion], ids=lambda m: m.__name__)
def test_schedules_set_the_rate_of_steps(make: Any, backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    other, optimizer, setting = copy.copy(net), make(lr=7.0), make()
    net.fit(
        x,
        target,
        epochs=2,
        batch_size=16,
        shuffle=False,
        optimizer=optimizer,
        learning_rate=rates,
        max_norm=0.3,
    )
    step = 0
    for _ in range(2):
        for start in range(0, 50, 16):
            setting.lr = rates(step)
            batch = slice(start, start + 16)
            dy = fastnorm.mse_loss(other.forward(x[batch]), target[batch], return_grad=True)[1]
            _, dweights, dbiases = other.backward(dy)
            gradients = [*dweights, *dbiases]
            fastnorm.clip_grad_norm(gradients, 0.3)
            setting.update(other._parameters, gradients)
            step += 1
    close_parameters(net, other, 1e-9)
    assert optimizer.lr == 7.0


def test_groups_keep_their_rates(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    before = net.state_dict()
    sgd = fastnorm.SGD(groups=[{"names": ["biases"], "lr": 0.0}])
    net.fit(x, target, epochs=1, optimizer=sgd, learning_rate=rates)
    for name, array in net.state_dict().items():
        assert name.startswith("biases") == np.array_equal(array, before[name])


def test_no_limit_to_the_norm(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    other = copy.copy(net)
    net.fit(x, target, epochs=2, max_norm=1e300)
    other.fit(x, target, epochs=2)
    same_parameters(net, other)


# ---- weights


@pytest.mark.parametrize("loss", LOSSES)
def test_whole_weights_are_repetitions(loss: str, backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng, loss, 12)
    other, share = copy.copy(net), rng.integers(0, 4, 12)
    options = {"epochs": 5, "batch_size": 100, "loss": loss, "shuffle": False}
    history = net.fit(x, target, sample_weight=share, **options)
    wanted = other.fit(np.repeat(x, share, axis=0), np.repeat(target, share, axis=0), **options)
    close_parameters(net, other)
    for one, two in zip(history, wanted, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({0: 2.0, 2: 0.5}, [2, 1, 0.5]),
        ([1, 2.0, 3], [1, 2, 3]),
        (np.array([0, 1, 1], np.float32), [0, 1, 1]),
        ("balanced", None),
    ],
    ids=str,
)
def test_weights_of_classes(given: Any, weights: Any, backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng, "cross_entropy")
    if weights is None:
        weights = 50 / (3 * np.bincount(target, minlength=3))
    other, share = copy.copy(net), rng.uniform(0, 2, 50)
    options = {"epochs": 3, "loss": "cross_entropy", "validation": 0.2}
    history = net.fit(x, target, sample_weight=share, class_weight=given, **options)
    wanted = other.fit(x, target, sample_weight=share * np.asarray(weights, float)[target], **options)
    same_parameters(net, other)
    assert [epoch[:3] for epoch in history] == [epoch[:3] for epoch in wanted]
    held = problem(rng, "cross_entropy", 9)[1:]
    last = net.fit(x, target, epochs=1, loss="cross_entropy", class_weight=given, validation=held)[0]
    share = np.asarray(weights, float)[held[1]]
    assert last.validation == pytest.approx(loss_of(net, *held, "cross_entropy", share), rel=1e-12)


# ---- what is refused, before anything changes


def nothing(step: int) -> float:
    return math.nan


X, Y = np.ones((6, 4)), np.zeros((6, 3))
CLASSES = {"target": np.arange(6) % 3, "loss": "cross_entropy"}
BAD: list[tuple[dict[str, Any], str, type[Exception]]] = [
    *(({"validation": v}, "validation", ValueError) for v in (0, 0.0, 1, 1.0, -0.1, 1.5, math.nan, 0.99)),
    *(({"validation": v}, "validation", TypeError) for v in ("0.1", True, X, {})),
    ({"validation": (X,)}, "validation", ValueError),
    ({"validation": (X, Y, Y)}, "validation", ValueError),
    ({"validation": (X[:, 1:], Y)}, "validation", ValueError),
    ({"validation": (X, Y[1:])}, "validation: target", ValueError),
    ({"validation": (X.astype("f"), Y)}, "validation: x", TypeError),
    ({"validation": (X[:0], Y[:0])}, "validation: x", ValueError),
    ({"validation": (X * math.nan, Y)}, "validation: x", ValueError),
    ({"validation": (X, Y + math.inf)}, "validation: target", ValueError),
    ({"early_stopping": 3}, "early_stopping", ValueError),
    *(({"early_stopping": v, "validation": 0.5}, "early_stopping", ValueError) for v in (0, -1)),
    *(({"early_stopping": v, "validation": 0.5}, "early_stopping", TypeError) for v in (1.0, True, "1")),
    *(({"learning_rate": v}, "learning_rate", TypeError) for v in (0.1, "cosine")),
    ({"learning_rate": nothing}, r"learning_rate\(0\)", ValueError),
    ({"learning_rate": lambda step: -step}, r"learning_rate\(1\)", ValueError),
    ({"learning_rate": lambda step: math.inf}, r"learning_rate\(0\)", ValueError),
    ({"learning_rate": lambda step: None}, r"learning_rate\(0\)", TypeError),
    *(({"max_norm": v}, "max_norm", ValueError) for v in (-1, math.nan)),
    *(({"max_norm": v}, "max_norm", TypeError) for v in ("1", True)),
    *(
        ({"sample_weight": v}, "sample_weight", ValueError)
        for v in (np.ones(5), np.ones((6, 1)), np.zeros(6))
    ),
    *(({"sample_weight": np.full(6, v)}, "sample_weight", ValueError) for v in (-1, math.nan, math.inf)),
    *(({"sample_weight": v}, "sample_weight", TypeError) for v in (np.ones(6, complex), ["a"] * 6)),
    ({"class_weight": [1.0, 1.0, 1.0]}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": [1.0, 1.0]}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": [1.0, 1.0, -1.0]}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": [0.0, 0.0, 0.0]}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": {3: 1.0}}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": {-1: 1.0}}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": {"a": 1.0}}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": {0: math.nan}}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": {0: "1"}}, "class_weight", TypeError),
    ({**CLASSES, "class_weight": "even"}, "class_weight", ValueError),
    ({**CLASSES, "class_weight": 3}, "class_weight", TypeError),
]


@pytest.mark.parametrize(("given", "message", "error"), BAD, ids=without_addresses)
def test_refusals_change_nothing(
    given: dict[str, Any], message: str, error: type[Exception], backend: str
) -> None:
    net, adam = fastnorm.MLP([4, 8, 3], dtype=np.float64, seed=1), fastnorm.Adam()
    other = copy.copy(net)
    with pytest.raises(error, match=rf"^fit: {message}.*needs"):
        net.fit(**{"x": X, "target": Y, "epochs": 2, "batch_size": 2, "optimizer": adam, **given})
    same_parameters(net, other)
    adam.update([np.ones(7)], [np.ones(7)])  # nothing is bound to what was refused
    assert net._rng.bit_generator.state == other._rng.bit_generator.state


def test_a_later_rate_ends_training(backend: str, rng: np.random.Generator) -> None:
    net, x, target = problem(rng)
    other = copy.copy(net)
    rate: Callable[[int], float] = lambda step: 0.01 if step < 5 else math.nan  # noqa: E731
    with pytest.raises(ValueError, match=r"^fit: learning_rate\(5\) is nan, needs"):
        net.fit(x, target, epochs=9, batch_size=25, learning_rate=rate)
    other.fit(x, target, epochs=2, batch_size=25)
    same_parameters(net, other)


def test_rates_beyond_float32(backend: str) -> None:
    with pytest.raises(ValueError, match=r"^fit: learning_rate\(0\) is 1e\+40, needs a number in the range"):
        fastnorm.MLP([1, 1]).fit([[1.0]], [[1.0]], learning_rate=lambda step: 1e40)
