"""GPT-2 with NumPy alone and with fastnorm: the same scores, however its tokens are cut, and bad options."""

from __future__ import annotations

from pathlib import Path

import fastnorm
import gpt2_numpy
import numpy as np
import pytest
from gpt2_numpy import Cache, Sizes, fastnorm_gpt2, numpy_gpt2, random_weights
from loading import require

SIZES = Sizes(layers=3, dim=24, heads=4, vocabulary=97, places=40)
ARGUMENTS = [
    "--layers",
    "1",
    "--dim",
    "8",
    "--heads",
    "2",
    "--vocabulary",
    "50",
    "--prompt",
    "5",
    "--write",
    "3",
]


@pytest.mark.parametrize("cuts", [(30,), (1,) * 30, (7, 1, 1, 12, 9)], ids=["whole", "single", "mixed"])
def test_both_are_one_model(cuts: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    """The scores of the last token, read in pieces with a cache, are those of NumPy, read at once."""
    weights, ids = random_weights(SIZES), rng.integers(0, SIZES.vocabulary, 30)
    for name, array in weights.items():  # so large that every part shows
        weights[name] = array if name.startswith("norm") else 8 * array
    expected = numpy_gpt2(weights, SIZES, ids, Cache(SIZES, 30))
    cache, first = Cache(SIZES, 30), 0
    for count in cuts:
        scores = fastnorm_gpt2(weights, SIZES, ids[first : first + count], cache)
        first += count
    assert cache.length == 30
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    other = weights | {"1.down.bias": 1.01 * weights["1.down.bias"]}
    assert np.abs(fastnorm_gpt2(other, SIZES, ids, Cache(SIZES, 30)) - expected).max() > 1e-4


def test_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str) -> None:
    require("matplotlib")
    picture = tmp_path / "speed.png"
    gpt2_numpy.main([*ARGUMENTS, "--rounds", "1", "--plot", str(picture)])
    shown = capsys.readouterr().out
    assert "the same tokens" in shown
    assert f"drawn in {picture}" in shown


def test_another_result_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("matplotlib")
    right = fastnorm.attention
    monkeypatch.setattr(fastnorm, "attention", lambda *args, **keywords: 1.01 * right(*args, **keywords))
    with pytest.raises(AssertionError):
        gpt2_numpy.main([*ARGUMENTS, "--rounds", "1", "--plot", str(tmp_path / "speed.png")])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--heads", "5"], "multiple of --heads"),
        (["--prompt", "1000", "--write", "25"], "1024 together"),
        (["--layers", "0"], "needs 1 or more"),
        (["--plot", "nowhere/at/all.png"], "there is no folder"),
    ],
)
def test_bad_options(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpt2_numpy.main(arguments)
    assert says in capsys.readouterr().err
