"""Stories as the integers that a memory network takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .text import Story

Array = NDArray[Any]


class Data(NamedTuple):
    """Questions in numbers: 0 is no word, the most recent sentence stands last."""

    stories: Array  # (questions, sentences, words)
    questions: Array  # (questions, words)
    answers: Array  # (questions,)


def tokens(text: str) -> list[str]:
    """The words of a sentence in lower case, without the mark at its end."""
    return text.lower().rstrip(".?! ").split()


def asked(stories: Sequence[Story], sentences: int) -> Iterator[tuple[list[list[str]], list[str], str]]:
    """Each question with its answer and the last sentences before it. Several things in an answer count as
    one word.
    """
    for story in stories:
        told: list[list[str]] = []
        for line in story.lines:
            if line.answer is None:
                told.append(tokens(line.text))
            else:
                yield told[-sentences:], tokens(line.text), line.answer.lower()


def encode(*parts: Sequence[Story], sentences: int = 50) -> tuple[list[str], list[Data]]:
    """The words (the first is no word) of all parts together, and the data of each, all of the same
    widths.
    """
    found = [list(asked(part, sentences)) for part in parts]
    texts = [text for part in found for told, question, _ in part for text in (*told, question)]
    words = {word for text in texts for word in text} | {answer for part in found for _, _, answer in part}
    vocabulary = ["", *sorted(words)]
    number = {word: index for index, word in enumerate(vocabulary)}
    width = max(map(len, texts))
    longest = max(len(told) for part in found for told, _, _ in part)
    encoded = []
    for part in found:
        data = Data(
            np.zeros((len(part), longest, width), np.int64),
            np.zeros((len(part), width), np.int64),
            np.array([number[answer] for _, _, answer in part], np.int64),
        )
        for index, (told, question, _) in enumerate(part):
            data.questions[index, : len(question)] = [number[word] for word in question]
            for row, text in enumerate(told, longest - len(told)):
                data.stories[index, row, : len(text)] = [number[word] for word in text]
        encoded.append(data)
    return vocabulary, encoded
