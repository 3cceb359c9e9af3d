"""The generated stories: every answer follows from the printed text, and the text is in the data set's
format.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import report
import run
from babi_solvers import SOLVERS
from published import PAPER
from stories import TASKS, Line, Story, generate, read, write
from stories.encode import encode
from stories.objects import GIVERS
from stories.world import DROPS, GETS, GIVES, MOVES, PEOPLE, Action, World

QUESTIONS = 200


@pytest.fixture(scope="module", params=TASKS, ids=lambda task: f"{task}-{TASKS[task].name}")
def task(request: pytest.FixtureRequest) -> tuple[int, str]:
    """Each task and the text of its stories."""
    return request.param, write(generate(request.param, QUESTIONS))


def asked(text: str) -> list[tuple[list[str], Line]]:
    """Each question of a file with all lines of its story before it, questions left empty."""
    questions = []
    told: list[str] = []
    for row in text.splitlines():
        number, rest = row.split(" ", 1)
        if number == "1":
            told = []
        assert int(number) == len(told) + 1
        if "\t" in rest:
            question, answer, support = rest.split("\t")
            questions.append((list(told), Line(question, answer, tuple(map(int, support.split())))))
            told.append("")
        else:
            assert rest.endswith(".")
            assert rest[0].isupper()
            told.append(rest[:-1])
    return questions


def test_a_solver_finds_every_answer(task: tuple[int, str]) -> None:
    number, text = task
    questions = asked(text)
    assert len(questions) == QUESTIONS
    for told, question in questions:
        assert SOLVERS[number]([fact for fact in told if fact], question.text) == question.answer, (
            told,
            question,
        )


def test_the_supporting_lines_suffice(task: tuple[int, str]) -> None:
    number, text = task
    for told, question in asked(text):
        facts = [told[line - 1] for line in question.support]
        assert facts
        assert all(facts)
        assert SOLVERS[number](facts, question.text) == question.answer, (told, question)


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        *((1, 1), (2, 2), (3, 3), (4, 1), (5, 1), (6, 1), (9, 1), (10, 1), (11, 2), (12, 1), (13, 2)),
        *((14, 2), (15, 2), (16, 3), (17, 2), (18, 2), (19, 2)),
    ],
)
def test_how_many_lines_support(number: int, lines: int) -> None:
    assert {len(question.support) for _, question in asked(write(generate(number, 20)))} == {lines}


@pytest.mark.parametrize(
    ("number", "answers"),
    [
        (6, {"yes", "no"}),
        (7, {"none", "one", "two"}),
        (9, {"yes", "no"}),
        (10, {"yes", "no", "maybe"}),
        (17, {"yes", "no"}),
        (18, {"yes", "no"}),
    ],
)
def test_every_answer_occurs(number: int, answers: set[str]) -> None:
    counts = Counter(question.answer for _, question in asked(write(generate(number, 400))))
    assert set(counts) >= answers
    assert min(counts[answer] for answer in answers) >= 4


def test_the_same_seed_gives_the_same_file() -> None:
    first = write(generate(1, 50, seed=3))
    assert write(generate(1, 50, seed=3)) == first
    assert write(generate(1, 50, seed=4)) != first
    assert write(generate(1, 50, seed=3, part="test")) != first
    # Random numbers of another Python or platform would show here.
    assert first.splitlines()[:3] == FIRST_LINES


FIRST_LINES = [
    "1 Sandra travelled to the garden.",
    "2 Mary went to the garden.",
    "3 Where is Sandra?\tgarden\t1",
]


def action(sentence: str) -> Action:
    """The action a sentence tells."""
    actor, *_ = sentence.split()
    for kind, wordings in (("move", MOVES), ("get", GETS), ("drop", DROPS), ("give", GIVES)):
        for wording in wordings:
            if found := re.match(rf"{actor} {wording} the (\w+)(?: there| to (\w+))?$", sentence):
                return Action(kind, actor, found[1], found[2] or "")
    raise AssertionError(sentence)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8])
def test_only_what_can_be_done_is_done(number: int) -> None:
    for story in generate(number, 50):
        # As far as it has been told.
        place: dict[str, str] = {}
        container: dict[str, str | None] = {}
        for line in story.lines:
            if line.answer is not None:
                continue
            told = action(line.text.rstrip("."))
            here = place.get(told.actor)
            if told.kind == "move":
                assert here != told.thing
                place[told.actor] = told.thing
            elif told.kind == "get":
                known = container.get(told.thing)
                assert here is None or known in {None, here}
                assert known not in GIVERS + PEOPLE
                container[told.thing] = told.actor
            else:
                assert container[told.thing] == told.actor
                container[told.thing] = told.recipient or here
            if told.kind == "give":
                assert told.actor != told.recipient
                assert None in {here, place.get(told.recipient)} or here == place[told.recipient]


def test_a_world_offers_what_can_be_done() -> None:
    world = World(Random(0))
    world.place |= {"John": "kitchen", "Mary": "bedroom"}
    world.container |= {"apple": "kitchen", "football": "garden", "milk": "kitchen"}
    assert Action("move", "John", "garden") in world.possible("John", "move")
    assert Action("move", "John", "kitchen") not in world.possible("John", "move")
    assert world.possible("John", "drop") == world.possible("John", "give") == []
    assert [option.thing for option in world.possible("John", "get")] == ["apple", "milk"]
    assert world.possible("Mary", "get") == []
    world.perform(Action("get", "John", "apple"))
    assert [option.thing for option in world.possible("John", "get")] == ["milk"]
    assert world.possible("John", "drop") == [Action("drop", "John", "apple")]
    world.place |= dict.fromkeys(("Sandra", "Daniel"), "office")
    assert world.possible("John", "give") == []
    world.perform(Action("move", "Mary", "kitchen"))
    assert world.possible("John", "give") == [Action("give", "John", "apple", "Mary")]


def test_what_is_written_is_read(task: tuple[int, str]) -> None:
    assert write(read(task[1])) == task[1]


def test_files_of_the_public_data_set_are_read() -> None:
    text = (
        "1 Mary moved to the bathroom.\n2 John went to the hallway.\n3 Where is Mary? \tbathroom\t1\n\n"
        "1 Daniel picked up the milk there.\n2 What is Daniel carrying? \tmilk,apple\t1 2\n"
    )
    first, second = read(text)
    assert first.lines[2] == Line("Where is Mary?", "bathroom", (1,))
    assert [line.answer for line in second.lines] == [None, "milk,apple"]
    assert second.lines[1].support == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Mary moved.\n3 Mary moved.\n", "line 2 must start with number 2 or 1"),
        ("Mary moved.\n", "line 1 must start with number 1 or 1"),
        ("1 Where is Mary?\n", "line 1 asks without giving an answer"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(text)


def test_a_story_is_cut_after_a_question() -> None:
    story = Story()
    story.tell("mary moved")
    story.ask("where is Mary", "kitchen", [1])
    story.tell("mary moved")
    story.ask("where is Mary", "garden", [3])
    assert str(story.first(1)) == "1 Mary moved.\n2 Where is Mary?\tkitchen\t1\n"
    assert story.first(2).lines == story.first(9).lines == story.lines


def test_words_become_numbers() -> None:
    stories = read("1 Mary moved.\n2 Where is Mary?\thall,way\t1\n3 John left.\n4 Where is John?\tMary\t3\n")
    vocabulary, (data,) = encode(stories, sentences=1)
    assert vocabulary == ["", "hall,way", "is", "john", "left", "mary", "moved", "where"]
    assert data.stories.tolist() == [[[5, 6, 0]], [[3, 4, 0]]]
    assert data.questions.tolist() == [[7, 2, 5], [7, 2, 3]]
    assert data.answers.tolist() == [1, 5]


def test_the_published_tables_are_those_of_the_paper() -> None:
    means = {key: round(sum(row) / 20, 1) for key, row in PAPER.items()}
    assert means == {
        ("BoW", 3, False): 25.1,
        ("PE", 3, False): 20.3,
        ("PE+LS", 3, False): 16.3,
        ("PE+LS+RN", 3, False): 13.9,
        ("PE+LS", 1, True): 25.8,
        ("PE+LS", 2, True): 15.6,
        ("PE+LS", 3, True): 13.3,
        ("PE+LS+RN", 3, True): 12.4,
        ("PE+LS+LW", 3, True): 15.2,
    }


def test_a_small_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One sentence a story answers task 4's questions: position encoding learns a part of it within
    seconds.
    """
    options = ["--tasks", "1,4", "--variant", "PE", "--hops", "1", "--questions", "200", "--epochs", "3"]
    options += ["--plot", str(tmp_path / "errors.svg")]
    assert run.main([*options, "--seeds", "2"]) == 0
    shown = capsys.readouterr().out
    for part in ("generated stories, not the public data set", "1 single-supporting-fact", " to ", "mean"):
        assert part in shown
    for part in ("train", "test"):
        (tmp_path / f"qa1_single-supporting-fact_{part}.txt").write_text(write(generate(1, 100, part=part)))
    options = ["--tasks", "1", "--variant", "PE+LS+RN", "--epochs", "1", *options[-2:]]
    assert run.main([*options, "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"data of {tmp_path}" in shown
    assert "paper" in shown


def test_a_joint_table_names_the_tasks_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--joint", "--variant", "PE", "--hops", "1", "--questions", "60", "--epochs", "5"]
    shown = []
    for tasks in ("1,4", "4,1,4"):
        assert run.main([*options, "--tasks", tasks, "--plot", str(tmp_path / "errors.svg")]) == 0
        lines = capsys.readouterr().out.splitlines()
        shown.append(sorted(line for line in lines if re.match(" [14] ", line)))
    assert shown[0] == shown[1]
    errors = {line.split()[2] for line in shown[0]}
    assert len(errors) == 2


REFUSED = [
    (["--tasks", "abc"], "has abc, needs numbers from 1 to 20"),
    (["--tasks", "0"], "has 0, needs numbers from 1 to 20"),
    (["--questions", "0"], "needs 1 or more, got 0"),
    (["--questions", "10"], "10 questions, 9 of them to train with, needs 32"),
    (["--hops", "0"], "needs 1 or more, got 0"),
    (["--epochs", "0"], "needs 1 or more, got 0"),
    (["--dim", "-1"], "needs 1 or more, got -1"),
    (["--seeds", "0"], "needs 1 or more, got 0"),
    (["--data", "no/folder"], "no/folder has no file qa1_*_train.txt"),
    (["--data", ".", "--questions", "100"], "--questions is for generated stories"),
    (["--plot", "no/folder/errors.svg"], "there is no folder no/folder"),
    (["--plot", "errors.gif"], "errors.gif is none of"),
    (["--attention", "no/folder/attention.svg"], "there is no folder no/folder"),
    (["--attention", "attention.svg", "--joint"], "--joint cannot be used with --attention"),
    (["--jobs", "2"], "--jobs cannot be used without --report"),
    (["--report", "no/folder/report.md"], "there is no folder no/folder"),
    (["--report", "report.md", "--tasks", "1"], "--tasks cannot be used with --report"),
    (["--report", "report.md", "--jobs", "-1"], "needs 1 or more, got -1"),
    (["--report", "report.md", "--joint-seeds", "-1"], "needs 0 or more, got -1"),
    (["--report", "report.md", "--results", "."], "."),
    (["--report", "report.md", "--results", "report.md"], "cannot be both"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED, ids=str)
def test_what_is_refused_before_anything_is_trained(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run.main(arguments)
    shown = capsys.readouterr()
    assert text in shown.err
    assert shown.out == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_that_are_no_stories_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "qa1_single-supporting-fact_train.txt"
    (tmp_path / "qa1_single-supporting-fact_test.txt").write_text(write(generate(1, 40)))
    for text in (b"Mary moved.\n", b"1 Mary mov\xe9d.\n", b"1 Mary moved.\n"):
        run.load.cache_clear()
        file.write_bytes(text)
        with pytest.raises(SystemExit, match="2"):
            run.main(["--tasks", "1", "--data", str(tmp_path)])
        shown = capsys.readouterr().err
        assert str(file) in shown or "needs 32" in shown


def test_an_interrupt_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", interrupted)
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--report", "report.md", "--questions", "60"]):
        assert run.main(options) == 130
        shown = capsys.readouterr().err.strip()
        assert shown.startswith("interrupted")
        assert len(shown.splitlines()) == 1


PLAN = report.Plan("generated stories", "0", (1000, 1000), (900, 1000), (100, 60), (20, 30), (20, 50))


def test_a_file_of_other_trainings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    results = report.Results(file, PLAN)
    key = results.missing(1, 0)[0]
    training = report.Training({1: 1.0}, 0.0, 0.5, 1.0)
    results.add(key, training)
    text = file.read_text()
    for change, message in (
        ({"digest": "1"}, "line 2: trainings with digest 0 instead of 1"),
        ({"epochs": (1, 1), "dim": (5, 5)}, r"epochs \[100, 60\] instead of \[1, 1\], dim"),
    ):
        with pytest.raises(ValueError, match=message):
            report.Results(file, PLAN._replace(**change))
    # What a line may hold that is no training, and what was cut off.
    for line in ("123", "null", "[]", "[[1, 2, 3], 4]", '[[["PE", 3, false], 1, 0], [[1.0], 0.0, 0.5, 1.0]]'):
        file.write_text(f"{text}{line}\n")
        with pytest.raises(ValueError, match="line 5: is no training"):
            report.Results(file, PLAN)
    for line in (
        '[[["PE", 3, false], 1, 0], [{"2": 1.0}, 0.0, 0.5, 1.0]]',
        '[[["PE", 9, false], 1, 0], [{"1": 1.0}, 0.0, 0.5, 1.0]]',
        '[[["PE", 3, false], 0, 0], [{"1": 1.0}, 0.0, 0.5, 1.0]]',
    ):
        file.write_text(f"{text}{line}\n")
        with pytest.raises(ValueError, match="line 5: is no training of this report"):
            report.Results(file, PLAN)
    for damaged in (b"\xff\xfe\n", b'[[["PE', b"[" * 100_000 + b"\n"):
        file.write_bytes(text.encode() + damaged)
        assert report.Results(file, PLAN).done == {key: training}
    file.write_text(text.splitlines()[3] + "\n")
    with pytest.raises(ValueError, match="line 1: no line before it says what was trained with"):
        report.Results(file, PLAN)


def test_a_report(tmp_path: Path) -> None:
    """What has been trained is not trained again, a cut-off line is, and what is written by hand stays."""
    file = tmp_path / "folder" / "results.jsonl"
    results = report.Results(file, PLAN)
    keys = results.missing(1, 1)
    assert len(keys) == 4 * 20 + 5
    assert keys[0] == report.Key(report.Setting("PE+LS+RN", 3, False), 1, 0)
    # Of the two seeds of models for a task the second has the lower error in training.
    for key in results.missing(2, 1):
        errors = {task: task + key.seed / 2 for task in key.tasks()}
        results.add(key, report.Training(errors, 2.0 - key.seed, 0.5, 30.0))
    assert report.Results(file, PLAN).done == results.done
    file.write_text(file.read_text()[:-9])
    (lost,) = report.Results(file, PLAN).missing(2, 1)
    assert lost == list(results.done)[-1]

    document = tmp_path / "document.md"
    document.write_text("By hand.\n" + report.MARK + "to be replaced\n")
    report.write(document, results, "run")
    text = document.read_text()
    assert text.startswith("By hand.\n")
    assert "replaced" not in text
    assert "`FASTNORM_NUM_THREADS=1 run --seeds 2 --joint-seeds 1`" in text
    assert "Trained on generated stories: 1,000 questions a task and 900 to 1,000 others" in text
    assert "below: 82 minutes" in " ".join(text.split())
    for row in (
        "| PE+LS, a model a task | 2 | 10.8 (10.5 to 11.0) | 11.0 | 16.3 | 2 (-10.3), 3 (-55.3), 4 (-7.1),",
        "| BoW | paper | PE | paper |",
        "| 4 two-arg-relations | 4.5 | 32.0 | 4.5 | 3.8 | 4.5 | 11.6 | 4.5 | 2.8 | 7.3 |",
        "| tasks above 5 % | 16 | 15 |",
        "| 4 two-arg-relations | 4.2 (4.0 to 4.5) | 4.2 (4.0 to 4.5) |",
        "| mean | 10.5 | 10.5 | 10.5 | 10.5 | 10.5 |",
        "| seeds | 2 | 2 | 2 | 2 |",
        "BoW 15.2 (15.0 to 15.5) against PE 15.2 (15.0 to 15.5) | BoW 24.3 against PE 0.0 |",
    ):
        assert row in text, row

    # Columns without a complete seed are left out.
    some = report.Results(tmp_path / "some.jsonl", PLAN)
    for key in keys[:25]:
        some.add(key, results.done[key])
    report.write(document, some, "run")
    text = document.read_text()
    assert "| PE+LS+RN, a model a task | 1 |" in text
    assert "PE+LS, a model" not in text
    assert "jointly" not in text


def test_a_report_is_taken_up_again(tmp_path: Path) -> None:
    file, document = tmp_path / "results.jsonl", tmp_path / "document.md"
    options = ["--report", str(document), "--seeds", "1", "--joint-seeds", "0", "--questions", "60"]
    options += ["--results", str(file), "--epochs", "1"]
    plan = run.plan_of(run.parsed(options)[1])
    assert plan.questions == plan.tests == (60, 60)
    results = report.Results(file, plan)
    keys = results.missing(1, 0)
    for key in keys[1:]:
        results.add(key, report.Training({key.task: 1.0}, 0.0, 0.5, 1.0))
    assert run.main(options) == 0
    trained = report.Results(file, plan).done[keys[0]]
    assert trained.errors.keys() == {1}
    assert 0 < trained.training_error <= 100
    text = document.read_text()
    assert text.startswith("# Memory networks on generated stories\n")
    joined = " ".join(text.split())
    assert "60 questions a task and 60 others as the test. A model for each task: 1 epochs and" in joined
    assert f"--report {document} --questions 60 --epochs 1 --seeds 1 --joint-seeds 0`" in joined
    # In several processes, where nothing is missing.
    assert run.main([*options, "--jobs", "2"]) == 0
    assert len(report.Results(file, plan).done) == len(keys)


def test_files_of_reports_are_named_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(run, "complete", lambda results, options: found.append(results.path))
    found: list[Path] = []
    for name in ("report.md", "docs/report.md", str(tmp_path / "docs" / "other.md")):
        assert run.main(["--report", name, "--questions", "60"]) == 0
    assert found == [
        Path("build/report.jsonl"),
        Path("build/docs/report.jsonl"),
        tmp_path / "docs" / "other.jsonl",
    ]


def test_a_picture_of_the_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "attention.svg"
    options = ["--tasks", "1,16", "--questions", "60", "--epochs", "1", "--attention", str(file)]
    assert run.main(options) == 0
    assert "marks the sentences" in capsys.readouterr().out
    assert "<svg" in file.read_text()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture_of_a_story_that_is_longer_than_the_memory(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    told = "".join(f"{line} Mary went to the place{line}.\n" for line in range(1, 57))
    (tmp_path / "qa1_long_test.txt").write_text(f"{told}57 Where is Mary?\tplace56\t56\n")
    (tmp_path / "qa1_long_train.txt").write_text(write(generate(1, 40)))
    file = tmp_path / f"attention.{kind}"
    options = ["--tasks", "1", "--data", str(tmp_path), "--epochs", "1", "--attention", str(file)]
    assert run.main(options) == 0
    assert file.stat().st_size > 1000
    if kind == "svg":
        assert "place56. *" in file.read_text()
        assert "place6." not in file.read_text()
        assert "place7." in file.read_text()
