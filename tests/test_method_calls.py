"""The rules of networks, optimisers and what else has no backward, as test_calls.py judges those of ops.

Every change of every argument by itself, and pairs of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import fastnorm
import numpy as np
import pytest
from bits.networks import goal, left_out, memory_network, network, story
from bits.numbers import DTYPES, plain
from compared_calls import EXTREME, agree
from conftest import REFERENCE_ONLY
from drawn_calls import Array, Call, Path, at, exchange, names_of_changes, own, places
from fastnorm._typing import DenseActivation

LARGE = ("large", "larger", "largest")
Given = dict[str, Any]
Subject = Callable[[str], tuple[Callable[..., Any], Given, dict[str, Array]]]

pytestmark = pytest.mark.skipif(REFERENCE_ONLY, reason="compares the backends")


def state_of(*arrays: Any) -> dict[str, Array]:
    return {f"state {i}": array for i, array in enumerate(arrays)}


def step(dtype: str, loss: str = "mse") -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    net = network((5, 8, 3), dtype)
    given = {
        "x": plain("x", (7, 5), dtype),
        "target": goal(loss, 7, 3, dtype),
        "loss": loss.removesuffix(" probabilities"),
    }
    return net.step, given | {"optimizer": None}, state_of(*net.weights, *net.biases)


def fit(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    _, given, _ = step(dtype)
    net = network((5, 8, 3), dtype)
    given |= {"epochs": 2, "batch_size": 3, "shuffle": False, "progress": False, "sample_weight": None}
    given |= {"validation": 0.3, "early_stopping": 2, "learning_rate": rate, "max_norm": 1.0}
    return losses_of(net), given, state_of(*net.weights, *net.biases)


def losses_of(net: fastnorm.MLP) -> Callable[..., list[float]]:
    """`fit` without the seconds that epochs take."""

    def fit(**given: Any) -> list[float]:
        return [number for epoch in net.fit(**given) for number in epoch[1:3]]

    return fit


def rate(step: int) -> float:
    return 0.01 / (step + 1)


def fit_classes(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    _, given, _ = step(dtype, "cross_entropy")
    net = network((5, 8, 3), dtype)
    given |= {"epochs": 2, "shuffle": False, "class_weight": np.array([0.5, 1.0, 2.0])}
    given |= {"sample_weight": np.arange(7.0), "validation": (given["x"].copy(), given["target"].copy())}
    return losses_of(net), given, state_of(*net.weights, *net.biases)


def one_output(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    net = network((5, 1), dtype, output_activation="tanh")
    given = {"x": plain("x", (7, 5), dtype), "target": plain("target", (7,), dtype)}
    return net.step, given, state_of(*net.weights, *net.biases)


def forward(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    net = network((5, 8, 3), dtype, activation="gelu")
    return net.forward, {"x": plain("x", (2, 3, 5), dtype)}, state_of(*net.weights)


def backward(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    *_, latest = get_args(DenseActivation)
    net = network((5, 8, 3), dtype, activation=latest)
    net.forward(plain("x", (4, 5), dtype))
    return net.backward, {"dy": plain("dy", (4, 3), dtype)}, state_of(*net.weights)


def update(dtype: str, make: Callable[[], Any] = fastnorm.SGD) -> tuple[Any, Given, dict[str, Array]]:
    parameters = [plain(f"p{i}", shape, dtype).copy() for i, shape in enumerate(((3, 4), (4,)))]
    gradients = [plain(f"g{i}", p.shape, dtype) for i, p in enumerate(parameters)]
    return make().update, {"parameters": parameters, "gradients": gradients}, {}


def clip(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    gradients = [plain(f"g{i}", shape, dtype).copy() for i, shape in enumerate(((3, 4), (4,)))]

    def clip_grad_norm(parameters: Any, max_norm: Any) -> float:  # by the name of what may be updated
        return fastnorm.clip_grad_norm(parameters, max_norm)

    return clip_grad_norm, {"parameters": gradients, "max_norm": 0.5}, {}


def moments(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    return fastnorm.moments, {"x": plain("x", (3, 4, 5), dtype), "axis": (0, 2)}, {}


def memory(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    model = memory_network(20, 6, 2, 5, "float64" if dtype == "float64" else "float32", {})
    stories, questions = story(4, 7, 3, 20)
    return model.forward, {"stories": stories, "questions": questions}, {}


def memory_backward(dtype: str) -> tuple[Callable[..., Any], Given, dict[str, Array]]:
    kind = "float64" if dtype == "float64" else "float32"
    model = memory_network(20, 6, 2, 5, kind, {})
    logits = model.forward(*story(4, 7, 3, 20))

    def gradients(dlogits: Any) -> list[Array]:
        found = model.backward(dlogits)
        return [found[name] for name in found if name not in left_out(model)]

    return gradients, {"dlogits": plain("dlogits", logits.shape, kind)}, {}


SUBJECTS: dict[str, Subject] = {
    "MLP.step": step,
    "MLP.step cross_entropy": lambda dtype: step(dtype, "cross_entropy"),
    "MLP.step poly": lambda dtype: step(dtype, "poly probabilities"),
    "MLP.step focal": lambda dtype: step(dtype, "focal"),
    "MLP.step one output": one_output,
    "MLP.fit": fit,
    "MLP.fit classes": fit_classes,
    "MLP.forward": forward,
    "MLP.backward": backward,
    "SGD.update": update,
    "SGD.update momentum": lambda dtype: update(dtype, lambda: fastnorm.SGD(momentum=0.5)),
    "Adam.update": lambda dtype: update(dtype, fastnorm.Adam),
    "RMSprop.update": lambda dtype: update(dtype, lambda: fastnorm.RMSprop(momentum=0.5, centered=True)),
    "Lion.update": lambda dtype: update(dtype, fastnorm.Lion),
    "clip_grad_norm": clip,
    "moments": moments,
    "MemN2N.forward": memory,
    "MemN2N.backward": memory_backward,
}
CLASSES: dict[str, tuple[Callable[..., Any], Given]] = {
    "MLP": (
        fastnorm.MLP,
        {"layer_sizes": (2, 3), "activation": "relu", "output_activation": None, "seed": 0},
    ),
    "SGD": (fastnorm.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    "Adam": (
        fastnorm.Adam,
        {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True},
    ),
    "AdamW": (fastnorm.AdamW, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-8, "weight_decay": 0.1}),
    "RMSprop": (
        fastnorm.RMSprop,
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
    ),
    "Lion": (fastnorm.Lion, {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1, "groups": ()}),
}


def changed(subject: Subject, dtype: str, changes: list[tuple[Path, str]]) -> Call:
    """Return a call with these changes, on an object of its own."""
    function, given, state = subject(dtype)
    given = {name: own(value) for name, value in given.items()}
    for path, change in changes:
        exchange(given, path, change)
    return Call(function, (), given, state)


def every_change(given: Given) -> list[tuple[Path, str]]:
    """Return all changes but those that ask for more work or memory than there is."""
    endless: list[tuple[Path, str]] = [
        ((name,), size) for name in ("epochs", "layer_sizes") for size in LARGE
    ]
    endless += [(("layer_sizes", index), size) for index in (0, 1) for size in LARGE]
    changes = [(path, name) for path in places(given) for name in names_of_changes(at(given, path))]
    return [change for change in changes if change not in endless]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.filterwarnings("ignore:progress=True needs")  # what shows bars is no part of the tests' extra
def test_changes(name: str, dtype: str) -> None:
    changes = every_change(SUBJECTS[name](dtype)[1])
    failed = []
    for number, change in enumerate(changes):
        other = changes[zlib.crc32(f"{name}{number}".encode()) % len(changes)]
        for several in ([change], [change, other]):
            make = partial(changed, SUBJECTS[name], dtype, several)
            try:
                agree(make, values=not any(change in EXTREME for _, change in several), dtype=dtype)
            except AssertionError as error:
                failed.append(f"{several}: {error}")
    assert not failed, "\n".join(failed)


def test_step_in_another_dtype() -> None:
    net = fastnorm.MLP([2, 3], seed=0)
    with fastnorm.backend("native"), pytest.raises(TypeError):
        net.step(plain("x", (4, 2), "float16"), goal("cross_entropy", 4, 3, "float32"), loss="cross_entropy")


@pytest.mark.parametrize("name", CLASSES)
def test_settings(name: str) -> None:
    """A setting is taken or refused by one of the two errors, in the words of the class."""
    make, given = CLASSES[name]
    for path, change in every_change(given):
        settings = dict(given)
        exchange(settings, path, change)
        try:
            make(**settings)
        except (TypeError, ValueError) as error:
            text = str(error)
            assert text.startswith((name, "update")) or path == ("seed",), f"{path} {change}: {error!r}"  # noqa: PT017
