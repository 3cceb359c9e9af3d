"""Stories and their text: one numbered line a sentence, the numbers starting again at 1 with every story.

A question's line holds the question, a tab, the answer, a tab and the numbers of the lines that support the
answer::

    1 Mary went to the kitchen.
    2 Where is Mary?	kitchen	1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """A sentence, or a question with its answer and the numbers of the lines the answer follows from."""

    text: str
    answer: str | None = None
    support: tuple[int, ...] = ()

    def __str__(self) -> str:
        """The line without its number."""
        if self.answer is None:
            return self.text
        return "\t".join((self.text, self.answer, " ".join(map(str, self.support))))


@dataclass
class Story:
    """Lines in their order; line k is ``lines[k - 1]``."""

    lines: list[Line] = field(default_factory=list)

    def tell(self, sentence: str) -> int:
        """Add a sentence, given without capital and full stop, and return its line number."""
        self.lines.append(Line(_capitalised(sentence) + "."))
        return len(self.lines)

    def ask(self, question: str, answer: str, support: Iterable[int]) -> None:
        """Add a question, given without capital and question mark."""
        self.lines.append(Line(_capitalised(question) + "?", answer, tuple(sorted(set(support)))))

    @property
    def questions(self) -> int:
        """How many questions are asked."""
        return sum(line.answer is not None for line in self.lines)

    def latest(self) -> list[int]:
        """The numbers of the last five sentences, from which questions follow."""
        return [number for number, line in enumerate(self.lines, 1) if line.answer is None][-5:]

    def first(self, questions: int) -> Story:
        """The story up to its question number ``questions``."""
        remaining = questions
        for position, line in enumerate(self.lines):
            remaining -= line.answer is not None
            if remaining == 0:
                return Story(self.lines[: position + 1])
        return self

    def __str__(self) -> str:
        """The story as it stands in a file."""
        return "".join(f"{number} {line}\n" for number, line in enumerate(self.lines, 1))


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def write(stories: Iterable[Story]) -> str:
    """The text of a file of stories."""
    return "".join(map(str, stories))


def read(text: str) -> list[Story]:
    """Parse the text of a file in the data set's format, generated here or not.

    ValueError names the line that is not in the format: no number, a number out of order, or a question
    without answer.
    """
    return list(_read(text))


def _read(text: str) -> Iterator[Story]:
    story = Story()
    for position, row in enumerate(text.splitlines(), 1):
        if not row.strip():
            continue
        number, _, rest = row.strip().partition(" ")
        if number == "1" and story.lines:
            yield story
            story = Story()
        if number != str(len(story.lines) + 1):
            raise ValueError(
                f"line {position} must start with number {len(story.lines) + 1} or 1, got {row!r}"
            )
        sentence, *answered = (part.strip() for part in rest.split("\t"))
        if sentence.endswith("?") and not (answered and answered[0]):
            raise ValueError(f"line {position} asks without giving an answer: {row!r}")
        support = answered[1].split() if len(answered) > 1 else []
        story.lines.append(Line(sentence, answered[0] if answered else None, tuple(map(int, support))))
    if story.lines:
        yield story
