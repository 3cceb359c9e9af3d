"""A picture of what each hop of a memory network reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from stories import Story


class Read(NamedTuple):
    """A question that a model has answered, with the weights of its hops over the sentences, (hops, n).

    Of a longer story the model remembers the last n sentences.
    """

    title: str
    story: Story  # up to the question
    answer: str
    weights: NDArray[Any]

    def sentences(self) -> list[str]:
        """The sentences that are remembered, those that support the answer marked."""
        support = self.story.lines[-1].support
        told = [
            f"{line.text}{' *' if number in support else '  '}"
            for number, line in enumerate(self.story.lines, 1)
            if line.answer is None
        ]
        return told[-self.weights.shape[1] :]


def pyplot_of_files() -> Any:
    """Return matplotlib's pyplot, to draw into files; None, after saying so, where it is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture, as matplotlib is missing: pip install matplotlib")
        return None

    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(reads: Sequence[Read], path: Path) -> None:
    """Draw the weights beside the sentences, one question above the other."""
    pyplot = pyplot_of_files()
    if pyplot is None:
        return
    # The same file from the same weights, a small one.
    pyplot.rcParams |= {"svg.hashsalt": "attention", "svg.fonttype": "none"}
    lengths = [len(read.sentences()) for read in reads]
    figure, panels = pyplot.subplots(
        len(reads),
        figsize=(7, sum(0.24 * length + 0.75 for length in lengths)),
        height_ratios=[length + 0.01 for length in lengths],
        squeeze=False,
        layout="constrained",
    )
    for axes, read in zip(panels[:, 0], reads, strict=True):
        sentences, hops = read.sentences(), len(read.weights)
        weights = read.weights[:, -len(sentences) :].T
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in [(row, column) for row in range(len(sentences)) for column in range(hops)]:
            weight = weights[row, column]
            shade = "white" if weight > 0.5 else "black"
            axes.text(column, row, f"{weight:.2f}", ha="center", va="center", size=8, color=shade)
        axes.set_yticks(range(len(sentences)), sentences, size=8)
        axes.set_xticks(range(hops), [f"hop {hop}" for hop in range(1, hops + 1)], size=8)
        axes.tick_params(length=0)
        question = read.story.lines[-1]
        right = "" if read.answer == question.answer else f", right: {question.answer}"
        axes.set_title(f"{read.title}: {question.text} {read.answer}{right}", size=9, loc="right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    print(f"drawn in {path}: * marks the sentences that the answer follows from")
