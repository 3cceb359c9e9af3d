"""The example that trains a network of PyTorch."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from loading import load_example

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("torch_adopt", "torch", "matplotlib")


def test_it_runs(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--steps", "700", "--plot", str(tmp_path / "pole.svg")]) == 0
    shown = capsys.readouterr().out
    assert "| PyTorch" in shown
    assert "fastnorm takes 1 / " in shown
    assert (tmp_path / "pole.svg").stat().st_size > 1000


def test_the_pole_falls_where_nobody_pushes_right(example: ModuleType) -> None:
    pole = example.Pole(np.random.default_rng(0))
    pole.start()
    pushes = 1
    while not pole.push(0)[1]:
        pushes += 1
    assert 5 < pushes < 15


def test_the_comparison_can_fail(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert example.largest_difference(1) < 1e-5
    right = fastnorm.Adam

    def wrong(**settings: Any) -> Any:
        return right(**settings, eps=1e-3)

    monkeypatch.setattr(fastnorm, "Adam", wrong)
    assert example.largest_difference(1) > example.AGREEMENT
