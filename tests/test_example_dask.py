"""The example that scores more rows than its workers may hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import load_example

pytest.importorskip("dask.distributed")


def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = load_example("dask_scores", "matplotlib")
    picture = tmp_path / "held.svg"
    example.main(
        ["--rows", "5000", "--chunk", "1000", "--steps", "3", "--workers", "1", "--plot", str(picture)]
    )
    shown = capsys.readouterr().out
    assert "in 5 chunks" in shown
    assert "is within" in shown
    assert picture.stat().st_size > 1000


def test_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    example = load_example("dask_scores")
    with pytest.raises(SystemExit, match="2"):
        example.main(["--rows", "0"])
    assert "needs 1 or more" in capsys.readouterr().err
