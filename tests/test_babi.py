"""The generated stories: every answer follows from the printed text, and the text is in the data set's
format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import report
import run
from babi_solvers import SOLVERS
from published import PAPER
from stories import TASKS, Line, Story, generate, read, write
from stories.encode import encode
from stories.world import DROPS, GETS, MOVES, OBJECTS, PEOPLE, Action, World

QUESTIONS = 200
# A gift is not among the lines that support what its recipient holds.
SUPPORT_SUFFICES = set(TASKS) - {7, 8}


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
        if number in SUPPORT_SUFFICES:
            assert SOLVERS[number](facts, question.text) == question.answer, (told, question)


@pytest.mark.parametrize(
    ("number", "lines"),
    [(1, 1), (2, 2), (3, 3), (4, 1), (5, 1), (6, 1), (11, 2), (13, 2), (15, 2), (16, 3), (19, 2)],
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
    "1 Mary travelled to the bathroom.",
    "2 Daniel travelled to the bedroom.",
    "3 Where is Mary?\tbathroom\t1",
]


def action(sentence: str) -> Action | None:
    """The action a sentence tells."""
    actor, verb, *rest = sentence.split()
    for kind, wordings in (("move", MOVES), ("get", GETS), ("drop", DROPS)):
        for wording in wordings:
            if sentence.startswith(f"{actor} {wording} the "):
                return Action(kind, actor, rest[-1])
    return Action("give", actor, rest[-1], rest[0]) if verb == "gave" else None


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8])
def test_only_what_can_be_done_is_done(number: int) -> None:
    for story in generate(number, 50):
        place, container = dict(PEOPLE), dict(OBJECTS)
        for line in story.lines:
            if line.answer is not None:
                continue
            told = action(line.text.rstrip("."))
            assert told is not None, line
            if told.kind == "move":
                assert place[told.actor] != told.thing
                place[told.actor] = told.thing
            elif told.kind == "get":
                assert container[told.thing] == place[told.actor]
                container[told.thing] = told.actor
            else:
                assert container[told.thing] == told.actor
                container[told.thing] = told.recipient or place[told.actor]
            if told.kind == "give":
                assert told.actor != told.recipient
                assert place[told.actor] == place[told.recipient]


def test_a_world_offers_what_can_be_done() -> None:
    world = World(Random(0))
    assert Action("move", "John", "garden") in world.possible("move")
    assert Action("move", "John", "kitchen") not in world.possible("move")
    assert world.possible("drop") == world.possible("give") == []
    world.perform(Action("get", "John", "apple"))
    assert {action.thing for action in world.possible("get")} == {"football", "milk"}
    assert world.possible("drop") == [Action("drop", "John", "apple")]
    assert world.possible("give") == []
    world.perform(Action("move", "Mary", "kitchen"))
    assert world.possible("give") == [Action("give", "John", "apple", "Mary")]


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
    with pytest.raises(FileNotFoundError, match=r"qa2_\*_train.txt"):
        run.main(["--tasks", "2", "--data", str(tmp_path)])


def test_a_report(tmp_path: Path) -> None:
    """It trains each model once, also where it is taken up again, and keeps what is written by hand."""
    trained: list[tuple[report.Setting, int, int]] = []

    def train(setting: report.Setting, tasks: Sequence[int], seed: int) -> report.Training:
        trained.append((setting, tasks[0], seed))
        return report.Training({task: task + seed / 2 for task in tasks}, 2.0 - seed, 30.0)

    file = tmp_path / "folder" / "results.json"
    report.Results(file, 1, 1).complete(train)
    assert len(trained) == 4 * 20 + 4
    report.Results(file, 2, 1).complete(train)
    assert len(trained) == len(set(trained)) == 2 * 4 * 20 + 4
    document = tmp_path / "document.md"
    document.write_text("By hand.\n" + report.MARK + "to be replaced\n")
    report.write(document, report.Results(file, 2, 1), "Trained.")
    text = document.read_text()
    assert text.startswith("By hand.\n")
    assert "replaced" not in text
    assert "took 82 minutes" in text
    row = "| 4 two-arg-relations | 4.2 (4.0 to 4.5) | 32.0 | 4.2 (4.0 to 4.5) | 3.8 |"
    for part in (row, "| mean | 10.8 | 25.1 |", "| mean of the seeds with the lowest loss | 11.0 | 25.1 |"):
        assert part in text
    assert "BoW 15.2 (15.0 to 15.5) against PE 15.2 (15.0 to 15.5) | BoW 24.3 against PE 0.0 |" in text
    assert "| 2 two-supporting-facts | 2.0 | 62.0 | 2.0 | 15.6 |" in text
