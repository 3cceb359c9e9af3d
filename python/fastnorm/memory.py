"""Memory networks: MemN2N."""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ._arguments import memory as _rules
from ._arguments.mlp import float_dtype
from ._arguments.rules import MOST_ELEMENTS, Rules, is_half, plain
from ._files import Archive, write
from ._op import op
from ._progress import Epoch, Progress, checked_progress, telling
from ._typing import Array, ArrayLike
from .attention import memory_read, memory_read_backward
from .class_losses import cross_entropy
from .optim import optimizer_update

__all__ = ["MemN2N"]

Tying: TypeAlias = Literal["adjacent", "layerwise"]

RULES = Rules("MemN2N")
SIZES = ("vocab_size", "dim", "hops", "memory_size")
SETTINGS = (*SIZES, "tying", "position_encoding", "temporal", "nonlinearity", "dtype")
LARGEST_TABLES = sys.maxsize // 8  # elements of all: they are drawn in float64


@op
def embedding_sums(tables: Sequence[ArrayLike], words: ArrayLike, encoding: ArrayLike) -> tuple[Array, ...]:
    """Sums of the words' rows of each table, times the encoding of their positions; word 0 is no word."""


@op
def embedding_sums_backward(
    dys: Sequence[ArrayLike],
    tables: Sequence[ArrayLike],
    words: ArrayLike,
    encoding: ArrayLike,
    *,
    out: tuple[Array | None, ...] | None = None,
) -> tuple[Array, ...]:
    """Gradients of `embedding_sums` with respect to the tables."""


class MemN2N:
    """End-to-end memory network, which answers a question by reading a story several times.

    A sentence is the sum of its words' embeddings, each multiplied by its position's encoding; a memory is a
    story's last `memory_size` sentences. From the question ``u`` each hop reads ``o = softmax(m @ u) @ c``
    over the embeddings ``m`` and ``c`` of the memory and goes on with ``u + o``; the answer is ``softmax(W @
    u)``.

    Parameters
    ----------
    vocab_size : int
        Number of word ids, 0 (no word) included: words are 1 to ``vocab_size - 1``.
    dim : int
        Length of an embedding.
    hops : int
        How often the memory is read.
    memory_size : int
        Sentences that are kept, the last of a story. Shorter stories are filled up with empty ones, which are
        not masked: as in the authors' code they score 0 and read as 0.
    tying : {'adjacent', 'layerwise'}, default 'adjacent'
        ``'adjacent'``: the output embedding of a hop is the input embedding of the next; the question shares
        the first and the answer the last. ``'layerwise'``: all hops share their two embeddings, question and
        answer have their own, and u goes on as ``H @ u + o``.
    position_encoding : bool, default True
        Weigh words by their position; otherwise a sentence is a bag of words.
    temporal : bool, default True
        Add to each sentence the embedding of its age, as one more word.
    nonlinearity : bool, default False
        Apply ReLU after each hop.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial parameters, which are normally distributed with deviation 0.1.

    Attributes
    ----------
    parameters : dict of str to ndarray
        ``embedding_0`` to ``embedding_<hops>``, or ``input``, ``output``, ``question``, ``answer`` and
        ``hop``. Tables have `vocab_size` rows, and one for each age where `temporal`.
    linear : bool
        Whether the softmax over the memory is left out, as during the linear start.

    Notes
    -----
    Where the paper and the authors' code differ, this is the code: the position encoding is
    ``1 + 4 * (k - (d + 1) / 2) * (j - (J + 1) / 2) / (d * J)`` with J the width of the arrays (and the age),
    twice the paper's; ages are words of the same tables, so that they are tied like words and are among the
    answers; noise moves the ages and inserts no sentences; gradients are clipped by the spectral norm, each
    matrix by itself; the linear start takes a number of epochs instead of waiting for the validation loss. It
    differs from the code in that the row of word 0 is zero from the first batch on, and in the question's own
    table too.

    Embeddings, reads and the loss run on the active backend, the products of a batch with a table in NumPy.
    Every batch has the same bits for any number of threads.

    References
    ----------
    Sukhbaatar, Szlam, Weston and Fergus, "End-To-End Memory Networks", arXiv:1503.08895 (2015), and the
    authors' code, github.com/facebook/MemNN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> rng = np.random.default_rng(0)
    >>> stories = rng.integers(1, 9, (200, 3, 1))  # three sentences of one word
    >>> questions = np.full((200, 1), 9)  # which word was last?
    >>> model = fastnorm.MemN2N(10, 16, 1, 3, seed=0)
    >>> epochs = model.fit(stories, questions, stories[:, -1, 0], epochs=40, seed=0)
    >>> bool((model.predict(stories, questions) == stories[:, -1, 0]).mean() > 0.95)
    True
    """

    parameters: dict[str, Array]

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        hops: int,
        memory_size: int,
        *,
        tying: Tying = "adjacent",
        position_encoding: bool = True,
        temporal: bool = True,
        nonlinearity: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        """Draw the initial parameters."""
        self._configure(
            vocab_size=vocab_size,
            dim=dim,
            hops=hops,
            memory_size=memory_size,
            tying=tying,
            position_encoding=position_encoding,
            temporal=temporal,
            nonlinearity=nonlinearity,
            dtype=dtype,
        )
        rng = RULES.generator("seed", seed)
        self.parameters = {
            name: (0.1 * rng.standard_normal(shape)).astype(self.dtype)
            for name, shape in self._shapes().items()
        }
        self._forget_nil()

    def _configure(
        self,
        *,
        tying: str,
        position_encoding: bool,
        temporal: bool,
        nonlinearity: bool,
        dtype: Any,
        **sizes: int,
    ) -> None:
        """Take the settings, from which names and shapes of the parameters follow."""
        self.vocab_size, self.dim, self.hops, self.memory_size = (
            RULES.integer(name, sizes[name], minimum=1) for name in SIZES
        )
        self.tying: Tying = RULES.choice("tying", tying, get_args(Tying))  # type: ignore[assignment]
        self.position_encoding = RULES.flag("position_encoding", position_encoding)
        self.temporal = RULES.flag("temporal", temporal)
        self.nonlinearity = RULES.flag("nonlinearity", nonlinearity)
        self.dtype = float_dtype(RULES, dtype)
        if is_half(self.dtype):
            raise RULES.type_error("dtype", f"is {self.dtype}", "float32 or float64")
        self.linear = False
        self._saved: _Saved | None = None
        self._encodings: dict[int, Array] = {}
        rows = self.vocab_size + self.memory_size
        if max(rows * self.dim * (self.hops + 1), self.dim * self.dim) > LARGEST_TABLES:
            found = f"are {self.vocab_size}, {self.dim}, {self.hops} and {self.memory_size}"
            raise RULES.value_error(", ".join(SIZES), found, "tables that can lie in memory")
        # The tables of the memory, of the question and of the answer.
        if self.tying == "adjacent":
            self._remembered = tuple(f"embedding_{number}" for number in range(self.hops + 1))
            self._question, self._answer = self._remembered[0], self._remembered[-1]
        else:
            self._remembered = ("input", "output")
            self._question, self._answer = "question", "answer"
        self._embeddings = tuple(dict.fromkeys((*self._remembered, self._question)))

    def _shapes(self) -> dict[str, tuple[int, int]]:
        rows = self.vocab_size + (self.memory_size if self.temporal else 0)
        tables = dict.fromkeys((*self._remembered, self._question, self._answer), (rows, self.dim))
        return tables if self.tying == "adjacent" else tables | {"hop": (self.dim, self.dim)}

    def _read(self, hop: int) -> tuple[str, str]:
        """Return the tables that a hop reads from: where to look (m) and what to take (c)."""
        first = hop if self.tying == "adjacent" else 0
        return self._remembered[first], self._remembered[first + 1]

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the last batch."""
        return {**vars(self), "_saved": None, "_encodings": {}}

    def __copy__(self) -> MemN2N:
        """Return a model with parameters of its own."""
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another model had."""
        self.__dict__.update(state)
        # Arrays may come as mappings of a file.
        self.parameters = {name: plain(array) for name, array in self.parameters.items()}

    def forward(self, stories: ArrayLike, questions: ArrayLike) -> Array:
        """Return the logits of the answers, (n, vocab_size) and more columns for the ages.

        Parameters
        ----------
        stories : array_like of int
            (n, sentences, words), 0 where there is no word, the most recent sentence last. Always of the same
            width: the position encoding depends on it.
        questions : array_like of int
            (n, words), at most as many words as in `stories`.
        """
        stories, questions = self._checked(stories, questions)
        logits, self._saved = self._forward(self._memory(stories), questions)
        return logits

    def attention(self, stories: ArrayLike, questions: ArrayLike) -> Array:
        """Return how much of each sentence the hops take, (n, hops, memory_size).

        The most recent sentence stands last, as in `stories`. The weights of a hop are probabilities, of
        which the empty sentences have their share; where `linear` they are scores.

        Parameters
        ----------
        stories, questions : array_like of int
            As in `forward`.
        """
        stories, questions = self._checked(stories, questions)
        _, saved = self._forward(self._memory(stories), questions)
        weights = np.empty((len(stories), self.hops, self.memory_size), self.dtype)
        for hop in range(self.hops):
            look, take = self._read(hop)
            _, weights[:, hop] = memory_read(
                saved.states[hop],
                saved.memory[look],
                saved.memory[take],
                linear=saved.linear,
                return_weights=True,
            )
        return weights

    @np.errstate(all="ignore")  # as the ops
    def backward(self, dlogits: ArrayLike) -> dict[str, Array]:
        """Return the gradient of each parameter for the last `forward`.

        Parameters
        ----------
        dlogits : array_like
            Gradient of the loss with respect to the logits.
        """
        saved = self._saved
        if saved is None:
            raise ValueError("MemN2N: backward needs a forward before it")
        return self._backward(saved, dlogits)

    def _backward(self, saved: _Saved, dlogits: ArrayLike) -> dict[str, Array]:
        parameters = self._taken()
        taken = RULES.array("dlogits", dlogits)
        shape = (len(saved.states[-1]), len(parameters[self._answer]))
        if taken.shape != shape:
            raise RULES.value_error("dlogits", f"has shape {taken.shape}", f"{shape} as the logits")
        given: Array = taken.astype(self.dtype, copy=False)
        gradients: dict[str, Array] = {self._answer: given.T @ saved.states[-1]}
        memory: dict[str, Array] = {}
        du = given @ parameters[self._answer]
        for hop in reversed(range(self.hops)):
            u, (look, take) = saved.states[hop], self._read(hop)
            if self.nonlinearity:
                du = du * (saved.states[hop + 1] > 0)
            before, dlook, dtake = memory_read_backward(
                du, u, saved.memory[look], saved.memory[take], linear=saved.linear
            )
            _add(memory, look, dlook)
            _add(memory, take, dtake)
            if self.tying == "layerwise":
                _add(gradients, "hop", du.T @ u)
                du = du @ parameters["hop"]
            du = du + before
        remembered = [parameters[name] for name in self._remembered]
        dmemory = [memory[name] for name in self._remembered]
        dtables = embedding_sums_backward(dmemory, remembered, saved.sentences, saved.encoding)
        for name, gradient in zip(self._remembered, dtables, strict=True):
            _add(gradients, name, gradient)
        encoding = saved.encoding[: saved.questions.shape[1]]
        asked = [parameters[self._question]]
        _add(gradients, self._question, *embedding_sums_backward([du], asked, saved.questions, encoding))
        return {name: gradients[name] for name in parameters}

    def fit(
        self,
        stories: ArrayLike,
        questions: ArrayLike,
        answers: ArrayLike,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        decay: float = 0.5,
        decay_every: int = 25,
        linear_start: int = 0,
        noise: float = 0.0,
        clip: float = 40.0,
        validation: float = 0.1,
        seed: int | None = None,
        progress: Progress = False,
    ) -> list[Epoch]:
        """Train by stochastic gradient descent on the loss summed over a batch.

        Parameters
        ----------
        stories, questions : array_like of int
            As in `forward`.
        answers : array_like of int
            (n,) word ids.
        epochs : int, default 100
            Each of ``n // batch_size`` batches, drawn with replacement.
        batch_size : int, default 32
            Questions in a batch.
        learning_rate : float, default 0.01
            For gradients of the sum over a batch. The authors take 0.005 with a linear start.
        decay, decay_every : float, int, default 0.5, 25
            The learning rate is multiplied by `decay` at the start of every epoch whose number `decay_every`
            divides.
        linear_start : int, default 0
            Epochs without the softmax before all others, at a constant learning rate; the authors take 20,
            and 30 for all tasks jointly.
        noise : float, default 0.0
            Training moves ages as if up to this share of empty sentences stood between the others; the
            authors' random noise is 0.1.
        clip : float, default 40.0
            Largest spectral norm of the gradient of a matrix.
        validation : float, default 0.1
            Share of the questions, the last, that is held out.
        seed : int, optional
            Of batches and noise.
        progress : bool or callable, default False
            True shows a bar with loss, validation and the time that is left, of tqdm or rich (extra
            `progress`). A function is called with the `Epoch` after each; an exception of it ends training
            with the parameters of that epoch.

        Returns
        -------
        list of Epoch
            The epochs in order, those of the linear start first. `loss` is the mean over the questions of the
            epoch, `validation` the share of wrong answers among those held out.
        """
        stories, questions = self._checked(stories, questions)
        answers = self._words("answers", answers, 1)
        if len(answers) != len(stories):
            raise RULES.value_error("answers", f"has length {len(answers)}", f"{len(stories)} as stories")
        epochs, batch_size, learning_rate, decay, decay_every, linear_start, noise, clip = _rules.training(
            RULES, epochs, batch_size, learning_rate, decay, decay_every, linear_start, noise, clip
        )
        validation = _rules.share(RULES, "validation", validation)
        progress = checked_progress(RULES, progress)
        held = math.ceil(len(stories) * validation)
        count = len(stories) - held
        if count < batch_size:
            raise RULES.value_error(
                "batch_size", f"is {batch_size}", f"at most the {count} questions to train with"
            )
        self._taken(updated=True)
        rng = RULES.generator("seed", seed)
        sentences = self._memory(stories)
        history = []
        was_linear = self.linear
        try:
            with telling(progress, linear_start + epochs) as tell:
                for number in range(1, linear_start + epochs + 1):
                    started = time.perf_counter()
                    self.linear = number <= linear_start
                    later = number - linear_start
                    if later > 0 and later % decay_every == 0:
                        learning_rate *= decay
                    loss = 0.0
                    for _ in range(count // batch_size):
                        batch = rng.integers(0, count, batch_size)
                        told = sentences[batch]
                        if noise:
                            self._move_ages(told, rng, noise)
                        logits, saved = self._forward(told, questions[batch])
                        total, dlogits = cross_entropy(
                            logits, answers[batch], reduction="sum", return_grad=True
                        )
                        loss += float(total)
                        self._descend(self._backward(saved, dlogits), learning_rate, clip)
                    wrong = self._predict(sentences[count:], questions[count:]) != answers[count:]
                    error = float(np.mean(wrong)) if held else math.nan
                    loss /= count // batch_size * batch_size
                    history.append(Epoch(number, loss, error, time.perf_counter() - started))
                    tell(history[-1])
        except BaseException:
            self.linear = was_linear
            raise
        return history

    def predict(self, stories: ArrayLike, questions: ArrayLike) -> Array:
        """Return the word ids of the answers, (n,)."""
        stories, questions = self._checked(stories, questions)
        return self._predict(self._memory(stories), questions)

    def save(self, path: str | PathLike[str]) -> None:
        """Write settings and parameters to an ``.npz`` file."""
        settings = {name: getattr(self, name) for name in SETTINGS} | {"dtype": self.dtype.name}
        write(path, {"settings": np.array(json.dumps(settings)), **self._taken()})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> MemN2N:
        """Read what `save` wrote; word 0 is no word whatever the file says.

        Nothing in the file is run, and no more memory is taken than the file is long.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        with Archive(path, "MemN2N.save") as file:
            settings = json.loads(file.text("settings"))
            if not isinstance(settings, dict) or set(settings) != set(SETTINGS):
                raise file.refusal(f"has other settings than {', '.join(SETTINGS)}")
            if settings["tying"] == "adjacent" and settings["hops"] != len(file.headers) - 2:
                raise file.refusal(f"has {len(file.headers) - 1} tables for {settings['hops']} hops")
            model = cls.__new__(cls)
            model._configure(**settings)
            file.has_only({"settings", *model._shapes()})
            model.parameters = file.read_floats(model._shapes(), model.dtype)
        model._forget_nil()
        return model

    # Inside

    def _words(self, name: str, value: ArrayLike, ndim: int) -> Array:
        return _rules.word_ids(RULES, name, value, ndim, self.vocab_size)

    def _checked(self, stories: ArrayLike, questions: ArrayLike) -> tuple[Array, Array]:
        stories, questions = self._words("stories", stories, 3), self._words("questions", questions, 2)
        if len(questions) != len(stories):
            raise RULES.value_error("questions", f"has length {len(questions)}", f"{len(stories)} as stories")
        if questions.shape[1] > stories.shape[2]:
            raise RULES.value_error(
                "questions", f"has {questions.shape[1]} words", f"at most {stories.shape[2]}"
            )
        return stories, questions

    def _predict(self, sentences: Array, questions: Array) -> Array:
        # Few at once, so that their memory stays in the caches: 50 sentences of 11 words, dimension 50 and 3
        # hops take 9 us a question in parts of 32, 32 of 64 and 41 of 256 (Zen 4, one thread).
        answers = np.empty(len(questions), np.int64)
        for start in range(0, len(questions), 32):
            part = slice(start, start + 32)
            logits, _ = self._forward(sentences[part], questions[part])
            answers[part] = np.argmax(logits[:, : self.vocab_size], axis=1)
        return answers

    @np.errstate(all="ignore")
    def _forward(self, sentences: Array, questions: Array) -> tuple[Array, _Saved]:
        parameters = self._taken()
        encoding = self._encoding(sentences.shape[2])
        embedded = embedding_sums([parameters[name] for name in self._remembered], sentences, encoding)
        memory = dict(zip(self._remembered, embedded, strict=True))
        asked = [parameters[self._question]]
        states = [*embedding_sums(asked, questions, encoding[: questions.shape[1]])]
        for hop in range(self.hops):
            u, (look, take) = states[-1], self._read(hop)
            read = memory_read(u, memory[look], memory[take], linear=self.linear)
            onward = u @ parameters["hop"].T if self.tying == "layerwise" else u
            u = onward + read
            states.append(np.maximum(u, 0) if self.nonlinearity else u)
        logits: Array = states[-1] @ parameters[self._answer].T
        return logits, _Saved(sentences, questions, encoding, memory, states, self.linear)

    def _taken(self, *, updated: bool = False) -> dict[str, Array]:
        return _rules.taken_parameters(RULES, self.parameters, self._shapes(), self.dtype, updated=updated)

    def _memory(self, stories: Array) -> Array:
        """Return the last `memory_size` sentences, with their ages as the last word where `temporal`."""
        count, _, words = stories.shape
        if count * self.memory_size * (words + 1) > MOST_ELEMENTS:
            needed = f"fewer words for a memory of {self.memory_size} sentences"
            raise RULES.value_error("stories", f"has shape {stories.shape}", needed)
        kept = stories[:, -self.memory_size :]
        sentences = np.zeros((count, self.memory_size, words + self.temporal), np.int64)
        sentences[:, self.memory_size - kept.shape[1] :, :words] = kept
        if self.temporal:
            told = np.any(sentences != 0, axis=2)
            ages = np.cumsum(told[:, ::-1], axis=1)[:, ::-1]  # 1 for the most recent
            sentences[:, :, -1] = np.where(told, self.vocab_size - 1 + ages, 0)
        return sentences

    def _move_ages(self, sentences: Array, rng: np.random.Generator, noise: float) -> None:
        """Make the ages what they were if empty sentences, up to this share, stood between the others."""
        if not self.temporal:
            return
        ages = np.maximum(sentences[:, :, -1] - (self.vocab_size - 1), 0)
        counts = np.max(ages, axis=1, keepdims=True)
        places = counts + rng.integers(0, np.ceil(noise * counts).astype(np.int64) + 1)
        # Which of its places the sentences of a story keep: the first in a random order of them.
        columns = np.arange(max(places.max(), 1))
        order = np.argsort(np.where(columns < places, rng.random((len(ages), len(columns))), 2), axis=1)
        kept = np.sort(np.where(columns < counts, order, len(columns)), axis=1)
        moved = np.take_along_axis(kept, np.maximum(ages - 1, 0), axis=1) + 1
        sentences[:, :, -1] = np.where(ages > 0, self.vocab_size - 1 + np.minimum(moved, self.memory_size), 0)

    def _encoding(self, words: int) -> Array:
        """Return the factor of each position, (words, dim)."""
        if words not in self._encodings:
            j = np.arange(1, words + 1)[:, None] - (words + 1) / 2
            k = np.arange(1, self.dim + 1) - (self.dim + 1) / 2
            factors = (
                1 + 4 * k * j / (self.dim * words) if self.position_encoding else np.ones((words, self.dim))
            )
            self._encodings[words] = factors.astype(self.dtype)
        return self._encodings[words]

    def _descend(self, gradients: dict[str, Array], learning_rate: float, clip: float) -> None:
        parameters = self._taken(updated=True)
        for gradient in gradients.values():
            rate = learning_rate
            # The Frobenius norm is never below the spectral one, and much cheaper.
            if np.vdot(gradient, gradient) > clip * clip:
                wide = gradient.astype(np.float64)
                rate *= min(1.0, clip / math.sqrt(np.linalg.eigvalsh(wide.T @ wide)[-1]))
            with np.errstate(over="ignore"):
                np.multiply(gradient, self.dtype.type(rate), out=gradient)
        for name in self._embeddings:
            gradients[name][0] = 0
        # In one call, between whose updates no signal is handled.
        rule = ("sgd", None, 1.0, 0.0, 0.0, False, np.zeros(len(gradients), np.int64), None)
        optimizer_update([parameters[name] for name in gradients], [*gradients.values()], rule)
        self._forget_nil()

    def _forget_nil(self) -> None:
        for name in self._embeddings:
            self.parameters[name][0] = 0


class _Saved(NamedTuple):
    """What the backward needs of the forward."""

    sentences: Array
    questions: Array
    encoding: Array
    memory: dict[str, Array]  # table -> embedded sentences, (n, memory_size, dim)
    states: list[Array]  # u before the first hop and after each
    linear: bool


def _add(sums: dict[str, Array], name: str, term: Array) -> None:
    """Add a term to a sum of arrays, which takes the memory of its first."""
    if name in sums:
        sums[name] += term
    else:
        sums[name] = term
