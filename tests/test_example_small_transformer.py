"""The small Transformer of the comparisons: its backward is right, and the comparisons run and are fair."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
import small_transformer
from loading import load_example
from small_transformer import SmallTransformer

NORMS = [
    (fastnorm.layer_norm, {}),
    (fastnorm.rms_norm, {}),
    (fastnorm.rms_norm, {"fraction": 0.25}),
]
KINDS = ["relu", "gelu", "silu", *(f"gated {gate}" for gate in ("sigmoid", "none", "relu", "gelu", "swish"))]


@pytest.fixture(scope="module", params=["swiglu", "rms_norm"])
def example(request: pytest.FixtureRequest) -> ModuleType:
    return load_example(request.param, "scipy")


@pytest.mark.parametrize("norm", NORMS, ids=["layer", "rms", "partial"])
@pytest.mark.parametrize("kind", ["gelu", "gated none", "gated swish"])
def test_gradients(norm: Any, kind: str, backend: str, rng: np.random.Generator) -> None:
    """Along a random direction, by differences, in float64."""
    model = SmallTransformer(norm, kind, dim=12, heads=2, tokens=5)
    point = {name: array.astype(np.float64) for name, array in model.parameters.items()}
    direction = {name: rng.standard_normal(array.shape) for name, array in point.items()}
    x = rng.integers(32, 127, (2, 6)).astype(np.uint8)
    model.parameters = point
    loss, found = model.gradients(x)
    assert found.keys() == point.keys()
    slope = sum(float(np.vdot(found[name], direction[name])) for name in point)
    step, ends = 1e-5, []
    for sign in (1, -1):
        model.parameters = {name: point[name] + sign * step * direction[name] for name in point}
        ends.append(model.loss(x))
    assert ends[0] + ends[1] == pytest.approx(2 * loss, rel=1e-6)
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def test_variants_have_as_many_parameters_and_look_back_only(rng: np.random.Generator) -> None:
    models = [SmallTransformer(feed_forward=kind, dim=24, tokens=8) for kind in KINDS]
    counts = {sum(array.size for array in model.parameters.values()) for model in models}
    assert len(counts) == 1
    x = rng.integers(32, 127, (1, 9)).astype(np.uint8)
    changed = x.copy()
    changed[0, 6:] = 65
    for model in models:
        before, after = (model._forward(texts[:, :-1])[0] for texts in (x, changed))
        np.testing.assert_array_equal(before[:, :6], after[:, :6])
        assert not np.array_equal(before[:, 6:], after[:, 6:])


def test_it_learns_and_runs_repeat(native: ModuleType) -> None:
    variants = {"one": {}, "other": {}}
    results = small_transformer.compare(variants, seeds=1, steps=12, batch=4, lr=1e-2, dim=24)
    assert results["one"].curves == results["other"].curves
    curve = results["one"].curves[0]
    assert curve[-1] < 0.9 * curve[0]
    assert results["one"].held_out[0] < curve[0]


def test_the_command(
    example: ModuleType, native: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "losses.svg"
    arguments = ["--seeds", "2", "--steps", "2", "--batch", "2", "--dim", "24"]
    if example.__name__ == "rms_norm":
        arguments += ["--rounds", "2"]
    assert example.main([*arguments, "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "held-out loss" in shown
    assert ("Times of a step" in shown) == (example.__name__ == "rms_norm")
    if importlib.util.find_spec("matplotlib"):
        assert f"drawn in {picture}" in shown
        assert picture.stat().st_size > 1000
    with pytest.raises(SystemExit):
        example.main(["--dim", "7"])


def test_what_diverged_is_neither_better_nor_worse(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    fine = small_transformer.Results(training=[1.0, 1.1], held_out=[1.0, 1.2])
    failed = small_transformer.Results(training=[1.0, np.nan], held_out=[1.0, np.inf])
    for baseline in ("fine", "failed"):
        small_transformer.show({"fine": fine, "failed": failed, "again": fine}, baseline)
        lines = capsys.readouterr().out.splitlines()
        (line,) = [line for line in lines if line.startswith("| failed")]
        assert "diverged in 1 of 2" in line
        verdicts = [line for line in lines if "better" in line or "worse" in line or "no difference" in line]
        assert len(verdicts) == (baseline == "fine")


def test_what_is_missing_at_the_end_is_told_before_the_work(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(small_transformer, "compare", None)
    monkeypatch.setattr(example, "compare", None)
    with pytest.raises(SystemExit):
        example.main(["--plot", str(tmp_path / "no" / "losses.svg")])
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main(["--plot", str(tmp_path / "losses.gif")])
    assert "is none of .svg, .png, .pdf" in capsys.readouterr().err
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(SystemExit):
        example.main(["--plot", str(tmp_path / "folder.svg")])
    assert "folder.svg" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ModuleNotFoundError, match=r"scipy.stats is missing: pip install .*\[examples\]"):
        example.main(["--plot", str(tmp_path / "losses.svg")])
    assert not (tmp_path / "losses.svg").exists()
