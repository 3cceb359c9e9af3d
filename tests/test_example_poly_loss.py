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
    assert doubtful([0.01, np.nan]) == [False, True]
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


@pytest.mark.parametrize("option", ["--seeds", "--train-size", "--hidden", "--epochs", "--batch", "--lr"])
def test_a_bad_number_is_refused(
    option: str, example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = (
        ["-1", "x", "nan"] if option == "--lr" else ["0", "1.5", *(["1790"] * (option == "--train-size"))]
    )
    for text in refused:
        with pytest.raises(SystemExit):
            example.main([option, text, "--plot", str(tmp_path / "accuracies.svg")])
        shown = capsys.readouterr()
        assert f"got {text}" in shown.err
        assert shown.out == ""


def test_what_diverged_is_neither_better_nor_worse(
    example: ModuleType, native: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy")
    values = {name: np.array([0.5, 0.6]) for name in example.LOSSES}
    values["poly, epsilon 1"] = np.array([0.5, np.nan])
    example.show({"digits": values})
    shown = {line.split(" | ")[1].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "diverged in 1 of 2" in shown["poly, epsilon 1"]
    assert "better" not in shown["poly, epsilon 1"]
    assert "worse" not in shown["poly, epsilon 1"]
    example.show({"digits": values | {example.BASELINE: np.array([np.nan, np.nan])}})
    shown = capsys.readouterr().out
    assert "diverged in 2 of 2" in shown
    assert not any(word in shown for word in ("better", "worse", "no difference"))
    with np.errstate(all="ignore"):
        found = example.accuracies(2, **SETTINGS | {"lr": 1e30, "epochs": 2})
    assert np.isnan(found[example.BASELINE]).all()
