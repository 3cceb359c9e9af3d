"""The tables of docs: every training they need, kept in a file as it is done, and Markdown."""

from __future__ import annotations

import json
import math
import platform
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from published import PAPER, RERUN
from stories import TASKS

# Position encoding instead of a bag of words, a linear start, random noise in the ages, layer-wise tying.
VARIANTS = ("BoW", "PE", "PE+LS", "PE+LS+RN", "PE+LS+LW")


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


SEPARATE = tuple(Setting(variant, 3, False) for variant in VARIANTS[:4])
JOINT = (
    *(Setting("PE+LS", hops, True) for hops in (1, 2, 3)),
    *(Setting(variant, 3, True) for variant in VARIANTS[3:]),
)


class Key(NamedTuple):
    """Which training: of a setting, for one task or for all of them (0), with a seed."""

    setting: Setting
    task: int
    seed: int

    def tasks(self) -> tuple[int, ...]:
        """The tasks that are trained and tested."""
        return (self.task,) if self.task else tuple(TASKS)


class Training(NamedTuple):
    """A model that has been trained: test errors in percent by task, the error in percent and the loss of
    training, and how long it took.
    """

    errors: dict[int, float]
    training_error: float
    loss: float
    seconds: float


class Plan(NamedTuple):
    """What all trainings of a report have in common; pairs are of a model for a task, and of one for all."""

    data: str  # what the stories are
    digest: str  # of their text
    questions: tuple[int, int]  # of a task to train with, the fewest and the most
    tests: tuple[int, int]
    epochs: tuple[int, int]
    linear_start: tuple[int, int]  # epochs before these
    dim: tuple[int, int]

    def difference(self, head: dict[str, Any]) -> str:
        """Say in what the head of a file differs; nothing where it does not."""
        ours = json.loads(json.dumps(self._asdict()))
        found = [
            f"{name} {head.get(name)} instead of {ours.get(name)}"
            for name in (*ours, *(head.keys() - ours.keys()))
            if head.get(name) != ours.get(name)
        ]
        return ", ".join(found)


def _training(content: Any) -> tuple[Key, Training]:
    """What a line of a file of trainings says."""
    try:
        (setting, task, seed), (errors, *figures) = content
        key = Key(Setting(*setting), task, seed)
        errors = {int(number): float(error) for number, error in errors.items()}
        training = Training(errors, *map(float, figures))
        known = key.setting in (*SEPARATE, *JOINT) and (task == 0 if key.setting.joint else task in TASKS)
        right = known and isinstance(seed, int) and errors.keys() == set(key.tasks())
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError("is no training") from error
    if not right:
        raise ValueError("is no training of this report")
    return key, training


class Results:
    """Trainings in a file, to which each is added as it is done, so that a run can be taken up again.

    The first line is the JSON of the plan, each other that of one training; a line that was cut off is left
    out. ValueError names the line that is something else, or of another plan.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        """Read what has been done before."""
        self.path, self.plan = path, plan
        self.done: dict[Key, Training] = {}
        self._headed = False
        for number, line in enumerate(path.read_bytes().split(b"\n") if path.exists() else (), 1):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            try:
                self._take(content)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error

    def _take(self, content: Any) -> None:
        if isinstance(content, dict):
            if difference := self.plan.difference(content):
                raise ValueError(f"trainings with {difference}; --results names another file")
            self._headed = True
            return
        if not self._headed:
            raise ValueError("no line before it says what was trained with")
        key, training = _training(content)
        self.done[key] = training

    def add(self, key: Key, training: Training) -> None:
        """Write it down."""
        self.done[key] = training
        lines = [(key, training)] if self._headed else [self.plan._asdict(), (key, training)]
        self._headed = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"\n{json.dumps(line)}\n" for line in lines))

    def missing(self, seeds: int, joint_seeds: int) -> list[Key]:
        """What is to be trained yet, seed by seed, the models with the most of the paper's tricks first."""
        keys = []
        for seed in range(max(seeds, joint_seeds)):
            for setting in (*reversed(SEPARATE), *reversed(JOINT)):
                if seed < (joint_seeds if setting.joint else seeds):
                    keys += [Key(setting, task, seed) for task in ([0] if setting.joint else TASKS)]
        return [key for key in keys if key not in self.done]

    def trainings(self, setting: Setting, task: int) -> list[Training]:
        """Those that tested a task, of the seeds that tested all."""
        tasks = [0] if setting.joint else list(TASKS)
        seeds = sorted({key.seed for key in self.done if key.setting == setting})
        complete = [seed for seed in seeds if all(Key(setting, each, seed) in self.done for each in tasks)]
        return [self.done[Key(setting, 0 if setting.joint else task, seed)] for seed in complete]


def _number(value: float) -> str:
    return f"{value:.1f}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spread(values: Sequence[float]) -> str:
    """The mean over the seeds and their range."""
    text = _number(_mean(values))
    if _number(min(values)) != _number(max(values)):
        text += f" ({_number(min(values))} to {_number(max(values))})"
    return text


class Column:
    """What was found of a setting: a list of test errors, one for each seed, by task."""

    def __init__(self, results: Results, setting: Setting) -> None:
        """Collect it."""
        self.setting = setting
        self.trainings = {task: results.trainings(setting, task) for task in TASKS}
        self.errors = {task: [one.errors[task] for one in found] for task, found in self.trainings.items()}
        self.seeds = len(self.errors[1])

    def spread(self, task: int) -> str:
        """Mean and range over the seeds."""
        return _spread(self.errors[task])

    def best(self, task: int) -> float:
        """The error of the seed with the lowest error in training, or loss where that is equal: what the
        paper reports, of ten.
        """
        return min(self.trainings[task], key=lambda one: (one.training_error, one.loss)).errors[task]

    def all_best(self) -> list[float]:
        """The best of each task."""
        return [self.best(task) for task in TASKS]

    def means(self) -> list[float]:
        """The mean over the tasks for each seed."""
        return [_mean([self.errors[task][seed] for task in TASKS]) for seed in range(self.seeds)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _summary(columns: Sequence[Column]) -> Iterator[str]:
    """Means, and the tasks whose errors are others than the paper's."""
    yield _row("model", "seeds", "mean error", "best of the seeds", "paper", "tasks that differ by 5 or more")
    yield _row(*6 * ["---"])
    for column in columns:
        best, paper = column.all_best(), PAPER[column.setting]
        differences = [
            f"{task} ({ours - theirs:+.1f})"
            for task, ours, theirs in zip(TASKS, best, paper, strict=True)
            if abs(ours - theirs) >= 5
        ]
        yield _row(
            column.setting.title() if column.setting.joint else f"{column.setting.variant}, a model a task",
            str(column.seeds),
            _spread(column.means()),
            _number(_mean(best)),
            _number(_mean(paper)),
            ", ".join(differences) or "none",
        )


def _best_table(columns: Sequence[Column]) -> Iterator[str]:
    """The best of the seeds beside the published errors."""
    titles, rows = [], []
    for column in columns:
        titles += [column.setting.title(), "paper"]
        rows += [column.all_best(), PAPER[column.setting]]
        if rerun := column.setting.rerun():
            titles.append("NumPy port")
            rows.append(rerun)
    yield _row("task", *titles)
    yield _row(*["---"] * (1 + len(titles)))
    for index, (task, (name, _)) in enumerate(TASKS.items()):
        yield _row(f"{task} {name}", *(_number(row[index]) for row in rows))
    yield _row("mean", *(_number(_mean(row)) for row in rows))
    yield _row("tasks above 5 %", *(str(sum(error > 5 for error in row)) for row in rows))


def _spread_table(columns: Sequence[Column]) -> Iterator[str]:
    """Mean and range over the seeds."""
    yield _row("task", *(column.setting.title() for column in columns))
    yield _row(*["---"] * (1 + len(columns)))
    for task, (name, _) in TASKS.items():
        yield _row(f"{task} {name}", *(column.spread(task) for column in columns))
    yield _row("mean", *(_spread(column.means()) for column in columns))
    yield _row("seeds", *(str(column.seeds) for column in columns))


def _signs(columns: Sequence[Column]) -> Iterator[str]:
    """What of the paper must show whatever the data."""
    found = {column.setting: column for column in columns}
    bow, pe, ls, noise = SEPARATE
    one, two = JOINT[:2]
    rows = (
        ("task 1 is solved", 1, (noise,)),
        ("two hops beat one on task 2", 2, (one, two)),
        ("position encoding beats bag of words on task 4", 4, (bow, pe)),
        ("position encoding beats bag of words on task 15", 15, (bow, pe)),
        ("a linear start beats none on task 16", 16, (pe, ls)),
    )
    yield _row("sign", "here", "paper")
    yield _row(*3 * ["---"])
    for sign, task, settings in rows:
        if all(setting in found for setting in settings):
            ours = [f"{setting.title()} {found[setting].spread(task)}" for setting in settings]
            papers = [f"{setting.title()} {_number(PAPER[setting][task - 1])}" for setting in settings]
            yield _row(sign, " against ".join(ours), " against ".join(papers))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _span(counts: tuple[int, int]) -> str:
    return " to ".join(f"{count:,}" for count in dict.fromkeys(counts))


def markdown(results: Results, command: str) -> str:
    """The part of a document below its line of origin."""
    columns = [Column(results, setting) for setting in (*SEPARATE, *JOINT)]
    columns = [column for column in columns if column.seeds]
    separate = [column for column in columns if not column.setting.joint]
    joint = [column for column in columns if column.setting.joint]
    seeds, joint_seeds = (max((column.seeds for column in some), default=0) for some in (separate, joint))
    minutes = math.fsum(training.seconds for training in results.done.values()) / 60
    plan = results.plan
    paragraphs = (
        f"Trained on {plan.data}: {_span(plan.questions)} questions a task and {_span(plan.tests)} others as "
        f"the test. A model for each task: {plan.epochs[0]} epochs and dimension {plan.dim[0]}; one for all: "
        f"{plan.epochs[1]} epochs and dimension {plan.dim[1]}; with a linear start (LS) "
        f"{plan.linear_start[0]} and {plan.linear_start[1]} epochs more before. Test errors in percent. The "
        "best of the seeds is the one with the lowest error in training, as in the paper, which had ten: "
        "Table 1 of arXiv:1503.08895. NumPy port: one training each with vinhkhuc/MemN2N-babi-python. Both "
        "of these are on the public data set.",
        f"`FASTNORM_NUM_THREADS=1 {command} --seeds {seeds} --joint-seeds {joint_seeds}`, as far as the "
        f"seeds below: {minutes:.0f} minutes of training by the clock, a thread each ({_processor()}, shared "
        "with other work).",
    )
    lines = ["## Results", ""]
    for text in paragraphs:
        lines += [textwrap.fill(text, 120, break_on_hyphens=False), ""]
    lines += [*_summary(columns), "", "### The signs", "", *_signs(columns), ""]
    for title, some in (("a model for each task, three hops", separate), ("one model for all tasks", joint)):
        if some:
            lines += [f"### The best: {title}", "", *_best_table(some), ""]
            lines += [f"### Mean and range over the seeds: {title}", "", *_spread_table(some), ""]
    return "\n".join(lines)


MARK = "<!-- below: written by examples/babi/run.py --report -->\n"


def by_hand(path: Path, plan: Plan) -> str:
    """Return what is written by hand in a document, or the title of a new one."""
    text = (
        path.read_text(encoding="utf-8") if path.exists() else f"# Memory networks on {plan.data}\n\n{MARK}"
    )
    return text.partition(MARK)[0]


def write(path: Path, results: Results, command: str) -> None:
    """Write the tables into a document, below what is written by hand."""
    text = by_hand(path, results.plan)
    path.write_text(text + MARK + "\n" + markdown(results, command), "utf-8")
