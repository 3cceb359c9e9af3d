"""The tables of docs/babi.md: every training they need, kept in a file as it is done, and Markdown."""

from __future__ import annotations

import json
import math
import platform
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from published import PAPER, RERUN
from stories import TASKS

VARIANTS = ("BoW", "PE", "PE+LS", "PE+LS+RN")


class Setting(NamedTuple):
    """A model to train: the key of published.PAPER."""

    variant: str
    hops: int
    joint: bool

    def title(self) -> str:
        """A column's title."""
        return f"{self.variant}, {self.hops} hop{'s' * (self.hops > 1)}" if self.joint else self.variant

    def rerun(self) -> tuple[float, ...] | None:
        """The errors of the NumPy port."""
        return RERUN[self.joint] if (self.variant, self.hops) == ("PE+LS+RN", 3) else None


SEPARATE = tuple(Setting(variant, 3, False) for variant in VARIANTS)
JOINT = (*(Setting("PE+LS", hops, True) for hops in (1, 2, 3)), Setting("PE+LS+RN", 3, True))


class Training(NamedTuple):
    """A model that has been trained: test errors in percent, the loss of the last epoch, and how long it
    took.
    """

    errors: dict[int, float]
    loss: float
    seconds: float


class Results:
    """Trainings by setting, tasks and seed, written to a file after each so that a run can be taken up again.

    `seeds` of each model for one task, `joint_seeds` of each for all tasks.
    """

    def __init__(self, path: Path, seeds: int, joint_seeds: int) -> None:
        """Read what has been done before."""
        self.path, self.seeds, self.joint_seeds = path, seeds, joint_seeds
        self._entries: dict[str, list[Any]] = json.loads(path.read_text()) if path.exists() else {}

    @staticmethod
    def _key(setting: Setting, task: int, seed: int) -> str:
        trained = "joint" if setting.joint else str(task)
        return f"{setting.variant} {setting.hops} {trained} {seed}"

    def trainings(self, setting: Setting, task: int) -> list[Training]:
        """Those that tested a task, one for each seed."""
        found = []
        for seed in range(self.joint_seeds if setting.joint else self.seeds):
            errors, loss, seconds = self._entries[self._key(setting, task, seed)]
            found.append(Training({int(number): error for number, error in errors.items()}, loss, seconds))
        return found

    def complete(self, train: Callable[[Setting, Sequence[int], int], Training]) -> None:
        """Train what is missing, seed by seed."""
        for seed in range(max(self.seeds, self.joint_seeds)):
            for setting in (*SEPARATE, *JOINT):
                if seed >= (self.joint_seeds if setting.joint else self.seeds):
                    continue
                for tasks in [tuple(TASKS)] if setting.joint else [(task,) for task in TASKS]:
                    key = self._key(setting, tasks[0], seed)
                    if key not in self._entries:
                        self._entries[key] = list(train(setting, tasks, seed))
                        self.path.parent.mkdir(parents=True, exist_ok=True)
                        self.path.write_text(json.dumps(self._entries, indent=0))

    def seconds(self) -> float:
        """How long all trainings took together."""
        separate = (
            training for setting in SEPARATE for task in TASKS for training in self.trainings(setting, task)
        )
        joint = (training for setting in JOINT for training in self.trainings(setting, 1))
        return math.fsum(training.seconds for training in (*separate, *joint))


def _number(value: float) -> str:
    return f"{value:.1f}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spread(errors: Sequence[float]) -> str:
    """The mean over the seeds and their range."""
    if not errors:
        return ""
    text = _number(_mean(errors))
    if len(errors) > 1 and _number(min(errors)) != _number(max(errors)):
        text += f" ({_number(min(errors))} to {_number(max(errors))})"
    return text


def _errors(results: Results, setting: Setting, task: int) -> list[float]:
    return [training.errors[task] for training in results.trainings(setting, task)]


def _best(results: Results, setting: Setting, task: int) -> float:
    """The error of the seed whose loss in training was lowest: what the paper reports, of ten."""
    return min(results.trainings(setting, task), key=lambda training: training.loss).errors[task]


def _table(results: Results, settings: Sequence[Setting]) -> Iterator[str]:
    titles = []
    for setting in settings:
        titles += [setting.title(), "paper", *(["NumPy port"] if setting.rerun() else [])]
    yield f"| task | {' | '.join(titles)} |"
    yield f"|---|{'---|' * len(titles)}"
    for task, (name, _) in TASKS.items():
        cells = []
        for setting in settings:
            cells += [_spread(_errors(results, setting, task)), _number(PAPER[setting][task - 1])]
            if rerun := setting.rerun():
                cells.append(_number(rerun[task - 1]))
        yield f"| {task} {name} | {' | '.join(cells)} |"
    for title, value in (("mean", _errors), ("mean of the seeds with the lowest loss", _best)):
        cells = []
        for setting in settings:
            means = [value(results, setting, task) for task in TASKS]
            flat = [_mean(mean) if isinstance(mean, list) else mean for mean in means]
            cells += [_number(_mean(flat)), _number(_mean(PAPER[setting]))]
            if rerun := setting.rerun():
                cells.append(_number(_mean(rerun)))
        yield f"| {title} | {' | '.join(cells)} |"


def _signs(results: Results) -> Iterator[str]:
    """What of the paper must show whatever the data."""
    bow, pe, ls, noise = SEPARATE
    one, two = JOINT[:2]
    rows = (
        ("task 1 is solved", 1, (noise,)),
        ("two hops beat one on task 2", 2, (one, two)),
        ("position encoding beats bag of words on task 4", 4, (bow, pe)),
        ("position encoding beats bag of words on task 15", 15, (bow, pe)),
        ("a linear start beats none on task 16", 16, (pe, ls)),
    )
    yield "| sign | here | paper |"
    yield "|---|---|---|"
    for sign, task, settings in rows:
        ours = [f"{setting.title()} {_spread(_errors(results, setting, task))}" for setting in settings]
        papers = [f"{setting.title()} {_number(PAPER[setting][task - 1])}" for setting in settings]
        yield f"| {sign} | {' against '.join(ours)} | {' against '.join(papers)} |"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def markdown(results: Results, training: str) -> str:
    """The part of the document below its line of origin; `training` says how the models were trained."""
    seeds, joint_seeds = results.seeds, results.joint_seeds
    paragraphs = (
        f"{training} Test error in percent, mean and range over {seeds} seeds of a model for each task and "
        f"{joint_seeds} of a model for all, with the same stories for every seed. Paper: Table 1 of "
        f"arXiv:1503.08895, "
        "the best of ten trainings by training error; NumPy port: one training each with "
        "vinhkhuc/MemN2N-babi-python. Both of these are on the public data set.",
        f"`FASTNORM_NUM_THREADS=1 python examples/babi/run.py --report docs/babi.md --seeds {seeds} "
        f"--joint-seeds {joint_seeds}` took {results.seconds() / 60:.0f} minutes of training "
        f"({_processor()}, shared).",
    )
    lines = [
        "## Results",
        "",
        *(part for text in paragraphs for part in (textwrap.fill(text, 120, break_on_hyphens=False), "")),
        "### The signs",
        "",
        *_signs(results),
        "",
        "### Trained separately, three hops",
        "",
        *_table(results, SEPARATE),
        "",
        "### Trained jointly",
        "",
        *_table(results, JOINT),
        "",
    ]
    return "\n".join(lines)


MARK = "<!-- below: written by examples/babi/run.py --report -->\n"


def write(path: Path, results: Results, training: str) -> None:
    """Write the tables into the document, below what is written by hand."""
    text = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else "# Memory networks on generated bAbI tasks\n\n" + MARK
    )
    path.write_text(text.partition(MARK)[0] + MARK + "\n" + markdown(results, training), encoding="utf-8")
