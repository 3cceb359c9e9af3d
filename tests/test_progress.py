"""What training tells of its progress: bars, functions, and how it ends where one raises."""

from __future__ import annotations

import math
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import Epoch

EPOCHS = 4
NETWORKS = ("MLP", "MemN2N")


def training(kind: str) -> tuple[Any, Callable[..., Any]]:
    """A network, and its `fit` on some data; both are always the same."""
    rng = np.random.default_rng(0)
    if kind == "MLP":
        net = fastnorm.MLP([3, 8, 1], seed=0)
        x = rng.standard_normal((64, 3), dtype=np.float32)

        def fit(epochs: int = EPOCHS, **keywords: Any) -> Any:
            return net.fit(x, x[:, :1], epochs=epochs, shuffle=False, **keywords)

        return net, fit
    model = fastnorm.MemN2N(10, 8, 1, 3, seed=0)
    stories, questions = rng.integers(1, 9, (80, 3, 1)), np.full((80, 1), 9)

    def fit_model(epochs: int = EPOCHS, **keywords: Any) -> Any:
        return model.fit(stories, questions, stories[:, -1, 0], epochs=epochs, seed=0, **keywords)

    return model, fit_model


def parameters(network: Any) -> list[np.ndarray]:
    return (
        [*network.weights, *network.biases] if hasattr(network, "weights") else [*network.parameters.values()]
    )


def same(one: Any, other: Any) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(parameters(one), parameters(other), strict=True))


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_function_is_told_of_each_epoch(kind: str, backend: str) -> None:
    told: list[Epoch] = []
    network, fit = training(kind)
    history = fit(progress=told.append)
    assert all(type(epoch) is Epoch for epoch in told)
    assert [epoch.number for epoch in told] == list(range(1, EPOCHS + 1))
    assert all(epoch.seconds > 0 for epoch in told)
    assert told[-1].loss < told[0].loss
    if kind == "MLP":
        assert told == history
        assert all(math.isnan(epoch.validation) for epoch in told)
    else:
        assert told == history
        assert all(0 <= epoch.validation <= 1 for epoch in told)
    quiet, fit_quietly = training(kind)
    fit_quietly(progress=False)
    assert same(network, quiet)


class Enough(Exception):
    """Raised by a function that has seen enough."""


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_exception_ends_training_after_its_epoch(kind: str, backend: str) -> None:
    def tell(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Enough

    network, fit = training(kind)
    with pytest.raises(Enough):
        fit(progress=tell)
    expected, fit_expected = training(kind)
    fit_expected(epochs=2)
    assert same(network, expected)
    fit()  # goes on


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("value", ["yes", None, 1])
def test_what_else_is_refused(kind: str, value: Any) -> None:
    network, fit = training(kind)
    untouched, _ = training(kind)
    with pytest.raises(TypeError, match=r"progress has type \w+, needs a bool or a function"):
        fit(progress=value)
    assert same(network, untouched)


class Bar:
    """Stands for tqdm's."""

    made: list[Bar]

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.done, self.text, self.open = total, unit, 0, "", True
        Bar.made.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        self.text = text

    def update(self) -> None:
        self.done += 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_bar_of_tqdm(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bar.made = []
    module = types.ModuleType("tqdm.auto")
    module.tqdm = Bar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    network, fit = training(kind)
    fit(progress=True)
    (bar,) = Bar.made
    assert (bar.total, bar.done, bar.open) == (EPOCHS, EPOCHS, False)
    assert bar.text.startswith("loss ")
    assert ("validation" in bar.text) == (kind == "MemN2N")
    with pytest.raises(TypeError):
        fit(progress=True, epochs="many")
    quiet, fit_quietly = training(kind)
    fit_quietly()
    assert same(network, quiet)


def test_a_bar_of_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    training("MLP")[1](progress=True)
    shown = capsys.readouterr().out
    assert f"{EPOCHS}/{EPOCHS}" in shown
    assert "loss" in shown


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_a_library_it_says_what_to_install_and_trains(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tqdm", "tqdm.auto", "rich", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    network, fit = training(kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(progress=True)
    (warning,) = caught
    assert "fastnorm-kernels[progress]" in str(warning.message)
    assert warning.filename == __file__
    expected, fit_expected = training(kind)
    fit_expected()
    assert same(network, expected)
