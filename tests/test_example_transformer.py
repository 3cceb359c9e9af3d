"""The language model of the examples: its gradients are right, a cache changes nothing, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
import pytest
import transformer
from loading import require
from transformer import Cache, CharacterModel, Sizes, Training, worst_gradient, written

SMALL = Sizes(layers=2, dim=24, heads=3, tokens=9)
ARGUMENTS = ["--steps", "3", "--batch", "2", "--layers", "1", "--dim", "8", "--heads", "2", "--tokens", "12"]


@pytest.mark.parametrize("sizes", [SMALL, Sizes(1, 8, 1, 1), Sizes(3, 16, 4, 30)], ids=str)
def test_gradients(sizes: Sizes, backend: str) -> None:
    assert worst_gradient(sizes)[0] < 1e-6


@pytest.mark.parametrize("op", ["attention", "rotary_embedding", "embedding", "add_rms_norm", "gated_linear"])
def test_the_check_sees_a_wrong_gradient(
    op: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = fastnorm.vjp

    def wrong(called: Any, *args: Any, **kwargs: Any) -> Any:
        y, pullback = right(called, *args, **kwargs)
        if called.__name__ != op:
            return y, pullback

        def pulled(*dys: Any) -> Any:
            found = pullback(*dys)
            return 1.01 * found if isinstance(found, np.ndarray) else (1.01 * found[0], *found[1:])

        return y, pulled

    monkeypatch.setattr(fastnorm, "vjp", wrong)
    with pytest.raises(SystemExit, match=r"the gradient of .* is wrong"):
        transformer.main([*ARGUMENTS, "--check"])
    assert "finite differences" in capsys.readouterr().out


@pytest.mark.parametrize("cuts", [(9,), (1,) * 9, (4, 1, 3, 1)], ids=str)
def test_a_cache_changes_nothing(cuts: tuple[int, ...], backend: str, rng: np.random.Generator) -> None:
    """However the characters are cut, the scores are those of the training's forward, to rounding."""
    model = CharacterModel(SMALL, dtype=np.float64)
    ids = rng.integers(32, 127, 9).astype(np.uint8)
    cache, scores, first = Cache(SMALL, 9, np.float64), [], 0
    for count in cuts:
        scores.append(model.read(ids[first : first + count], cache))
        first += count
    found = fastnorm.log_softmax(np.concatenate(scores))
    following = rng.integers(32, 127, 9)
    texts = np.concatenate((ids, following[-1:])).astype(np.uint8)[None]
    loss = -np.mean(found[np.arange(9), texts[0, 1:]])
    assert loss == pytest.approx(model.gradients(texts)[0], rel=1e-12)


def test_nobody_looks_ahead(rng: np.random.Generator) -> None:
    model = CharacterModel(SMALL)
    ids = rng.integers(32, 127, 9).astype(np.uint8)
    changed = ids.copy()
    changed[6:] = 65
    before, after = (model.read(given, Cache(SMALL, 9)) for given in (ids, changed))
    np.testing.assert_array_equal(before[:6], after[:6])
    assert (before[6:] != after[6:]).any()


def test_it_learns_by_heart(backend: str) -> None:
    text = np.frombuffer(b"one two three four five six seven eight nine ten " * 4, np.uint8)
    model = CharacterModel(Sizes(1, 32, 2, 16), seed=1)
    training = Training(model, text, steps=120, batch=8, lr=1e-2)
    for _ in range(120):
        training.step()
    assert training.losses[0] > 4
    assert training.losses[-1] < 0.5
    said = "".join(written(model, "one two thr", 60, temperature=0.01))
    assert said.startswith("ee four five")  # and goes on beyond the length of its texts
    assert said == "".join(written(model, "one two thr", 60, temperature=0.01))


def test_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str) -> None:
    require("matplotlib")
    picture = tmp_path / "losses.svg"
    transformer.main([*ARGUMENTS, "--write", "30", "--plot", str(picture)])
    shown = capsys.readouterr().out
    assert "nats a character" in shown
    assert f"drawn in {picture}" in shown
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--heads", "5"], "multiple of twice --heads"),
        (["--prompt", ""], "--prompt needs a character"),
        (["--steps", "0"], "needs 1 or more"),
        (["--plot", "nowhere/at/all.png"], "there is no folder"),
        (["--plot", "picture.txt"], "is none of .svg"),
    ],
)
def test_bad_options(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        transformer.main(arguments)
    assert says in capsys.readouterr().err
