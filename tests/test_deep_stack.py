"""The model-update check of DeepNet on the example's stacks: what deep_norm is for."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).resolve().parent.parent / "examples" / "deep_stack.py"
DEPTHS = (6, 12, 24, 50, 100)
ROWS = 32
# The update may scatter about a constant, since six blocks are few and each depth has weights of its own. It
# was 0.020 to 0.026 over these depths; without the constants of DeepNet it went from 0.09 to 1.1.
FLAT, GROWTH = 2.0, 5.0


@pytest.fixture(scope="module")
def example() -> ModuleType:
    for package in ("sklearn", "scipy"):
        if os.environ.get("FASTNORM_TEST_EXAMPLES"):
            importlib.import_module(package)
        else:
            pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PATH.stem] = module
    spec.loader.exec_module(module)
    return module


def test_the_first_update_does_not_grow_with_the_depth(example: ModuleType, native: ModuleType) -> None:
    x, labels, _, _ = example.digits()
    deep, plain = (
        [example.update_size(blocks, x[:ROWS], labels[:ROWS], deep=kind) for blocks in DEPTHS]
        for kind in (True, False)
    )
    assert max(deep) / min(deep) <= FLAT
    assert plain[-1] / plain[0] >= GROWTH
    assert plain == sorted(plain)


def test_gradients_of_the_stack(example: ModuleType, backend: str, rng: np.random.Generator) -> None:
    """Along a random direction, by differences: the example's own backward is right."""
    x, labels, _, _ = example.digits()
    x, labels = x[:8].astype(np.float64), labels[:8]
    stack = example.Stack(6, deep=True)
    stack.first, stack.last = stack.first.astype(np.float64), stack.last.astype(np.float64)
    for block in stack.blocks:
        block.w_in, block.w_out = block.w_in.astype(np.float64), block.w_out.astype(np.float64)
    parameters = stack.parameters()
    directions = [rng.standard_normal(parameter.shape) for parameter in parameters]
    _, gradients = stack.gradients(x, labels)
    expected = sum(float(np.vdot(g, v)) for g, v in zip(gradients, directions, strict=True))
    losses = []
    step = 1e-5
    for sign in (1, -2):
        example.subtract(parameters, [-sign * step * v for v in directions])
        losses.append(stack.gradients(x, labels)[0])
    assert abs((losses[0] - losses[1]) / (2 * step) - expected) <= 1e-6 * (1 + abs(expected)) + 1e-5


def test_a_hundred_blocks_learn(
    example: ModuleType, native: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thirty steps: well below guessing with deep_norm, no better than guessing without."""
    x, labels, _, _ = example.digits()
    final = {}
    for deep in (True, False):
        losses = example.train(example.Stack(100, deep=deep), x, labels, steps=30, batch=32, lr=1e-3)
        assert np.isfinite(losses).all()
        final[deep] = np.mean(losses[-10:])
    assert final[True] < 1.0
    assert final[False] > 0.8 * np.log(example.CLASSES)
    arguments = ["--blocks", "4", "--depths", "4", "--steps", "2", "--batch", "8"]
    arguments += ["--plot", str(tmp_path / "updates.svg")]
    assert example.main(arguments) in (0, 1)
    assert "deep_norm" in capsys.readouterr().out


def test_the_plot(example: ModuleType, native: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x, labels, _, _ = example.digits()
    example.show_updates(x[:4], labels[:4], (2, 4), tmp_path / "updates.svg")
    assert (tmp_path / "updates.svg").stat().st_size > 1000
