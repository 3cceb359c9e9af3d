"""The examples that are read from top to bottom run, and come to what their last sentence says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import fastnorm
import pytest
from loading import require

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PACKAGES = {"first_training": ("sklearn", "matplotlib"), "transformer_block": ("matplotlib",)}


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    require(*PACKAGES[name])
    path = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    return runpy.run_path(str(path), run_name="__main__")


def test_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    picture = tmp_path / "curves.png"
    found = run("first_training", ["--epochs", "12", "--plot", str(picture)], monkeypatch)
    assert found["right"][-1] > 0.9
    assert found["classifier_right"] > 0.9
    assert found["losses"][-1] < 0.2 * found["losses"][0]
    assert f"drawn in {picture}" in capsys.readouterr().out
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize("shape", [["--tokens", "6"], ["--tokens", "1", "--dim", "6", "--heads", "3"]])
def test_the_transformer_block(
    shape: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    found = run("transformer_block", [*shape, "--plot", str(tmp_path / "differences.png")], monkeypatch)
    assert found["gradients"].keys() == found["parameters"].keys()
    assert max(min(errors) for errors in found["errors"].values()) < 1e-7


def test_the_check_of_the_block_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fastnorm.vjp

    def wrong(op: Any, *args: Any, **kwargs: Any) -> Any:
        y, pullback = right(op, *args, **kwargs)
        if op is not fastnorm.add_rms_norm:
            return y, pullback
        return y, lambda *dy: tuple(1.001 * gradient for gradient in pullback(*dy))

    monkeypatch.setattr(fastnorm, "vjp", wrong)
    with pytest.raises(AssertionError):
        run("transformer_block", ["--plot", str(tmp_path / "differences.png")], monkeypatch)


@pytest.mark.parametrize("name", PACKAGES)
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(name, ["--help"], monkeypatch)
    assert "--plot" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run(name, ["--hidden" if name == "first_training" else "--heads", "0"], monkeypatch)


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_missing_at_the_end_is_told_before_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(name, ["--plot", str(tmp_path / "no" / "picture.png")], monkeypatch)
    assert "there is no folder" in capsys.readouterr().err
    require(*PACKAGES[name])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["--plot", str(tmp_path / "picture.png")]
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(ModuleNotFoundError, match="matplotlib is missing: pip install fastnorm-kernels"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "picture.png").exists()
