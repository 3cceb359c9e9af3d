"""The example that compares losses runs, is fair, and says what it found."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from loading import load_example
from support import doubtful, p_value

SETTINGS = {"train_size": 200, "hidden": 16, "epochs": 8, "batch": 32, "lr": 5e-3}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("poly_loss", "sklearn")


def test_every_loss_learns_and_runs_repeat(example: ModuleType, native: ModuleType) -> None:
    results = example.accuracies(2, **SETTINGS)
    assert list(results) == list(example.LOSSES)
    for values in results.values():
        assert values.min() > 0.7
    again = example.accuracies(2, **SETTINGS)
    for name, values in results.items():
        np.testing.assert_array_equal(values, again[name])


def test_losses_of_a_seed_share_all_but_themselves(example: ModuleType, native: ModuleType) -> None:
    """The same loss twice comes to the same accuracies: split, weights and batches are the seed's."""
    loss = example.LOSSES[example.BASELINE]
    results = example.accuracies(2, **SETTINGS, losses={"one": loss, "other": loss})
    np.testing.assert_array_equal(results["one"], results["other"])


def test_uneven_classes(example: ModuleType) -> None:
    """The rarest class has about a twentieth of the most frequent one's examples; the test is even."""
    for seed in range(2):
        _, labels, _, labels_test = example.split("digits, uneven", seed, 600)
        counts = np.sort(np.bincount(labels))
        assert counts[0] * 15 <= counts[-1] <= counts[0] * 25
        assert (np.diff(counts) >= 0).all()
        counts = np.bincount(labels_test)
        assert counts.max() <= 1.1 * counts.min()


def test_two_classes(example: ModuleType, native: ModuleType) -> None:
    results = example.accuracies(2, **SETTINGS, data="breast cancer")
    assert min(values.min() for values in results.values()) > 0.8


def test_holm() -> None:
    assert doubtful([0.04, 0.001, 0.02]) == [False, False, False]
    assert doubtful([0.04, 0.001, 0.03]) == [True, False, True]
    assert doubtful([0.02, 0.03]) == [False, False]
    assert doubtful([]) == []
    pytest.importorskip("scipy")
    values = np.array([0.5, 0.6])
    assert p_value(values, values) == 1.0


def test_a_difference_within_its_error_is_none(example: ModuleType) -> None:
    baseline, shift = np.array([0.9, 0.8, 0.7]), np.array([0.1, 0.1, 0.11])
    assert example.difference(baseline + 0.1, baseline)[0] == pytest.approx(0.1)
    assert example.verdict(*example.difference(baseline + shift, baseline)) == "better"
    assert example.verdict(*example.difference(baseline - shift, baseline)) == "worse"
    shift[1] = -0.1
    assert example.verdict(*example.difference(baseline + shift, baseline)).startswith("no difference")


def test_the_command(
    example: ModuleType, native: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seeds", "2", "--train-size", "100", "--epochs", "1", "--hidden", "8", "--data", "digits"]
    picture = tmp_path / "accuracies.svg"
    assert example.main([*arguments, "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in example.LOSSES)
    if importlib.util.find_spec("matplotlib"):
        assert f"drawn in {picture}" in shown
        assert picture.stat().st_size > 1000
    else:
        assert "pip install fastnorm-kernels[examples]" in shown
    with pytest.raises(SystemExit):
        example.main(["--seeds", "1"])
