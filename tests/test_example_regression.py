"""The regression example runs, and both libraries come to the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import fastnorm
import numpy as np
import pytest
from loading import load_example

sklearn = pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("regression")


def test_it_runs(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--seeds", "1", "--epochs", "3", "--plot", str(tmp_path / "curves.png")]) == 0
    shown = capsys.readouterr().out
    for part in ("diabetes", "digits", "accuracy", "times as fast"):
        assert part in shown
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.filterwarnings("ignore:.*hasn't converged yet")
def test_the_libraries_agree(example: ModuleType, backend: str) -> None:
    results = example.compare("diabetes", seeds=1, epochs=10)
    np.testing.assert_allclose(results["fastnorm"].curve, results["scikit-learn"].curve, rtol=1e-7)
    np.testing.assert_allclose(results["fastnorm"].scores, results["scikit-learn"].scores, rtol=1e-6)


def test_the_true_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastnorm.sklearn", raising=False)
    monkeypatch.delattr(fastnorm, "sklearn", raising=False)
    monkeypatch.setattr(sklearn, "__version__", "1.2.0")
    with pytest.raises(ImportError, match=r"scikit-learn is 1\.2\.0, needs"):
        load_example("regression")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="needs scikit-learn: pip install"):
        load_example("regression")


def test_a_bad_number_is_refused(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--seeds", "0"])
    assert "needs 1 or more, got 0" in capsys.readouterr().err
