"""The twenty bAbI-style tasks, generated from a seed in the data set's text format, and a reader of such
files.

The rules are those of the published generator (facebook/bAbI-tasks) as read from its sources; the stories are
of our own making, so results on them are close to results on the public data set and not the same.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from . import deduction, objects, people, space
from .text import Line, Story, read, write

__all__ = ["TASKS", "Line", "Story", "Task", "generate", "read", "write"]


class Task(NamedTuple):
    """A task: its name in the data set, and one story of it at random."""

    name: str
    story: Callable[[Random], Story]


TASKS: dict[int, Task] = {
    1: Task("single-supporting-fact", people.where_is_actor),
    2: Task("two-supporting-facts", objects.where_is_object),
    3: Task("three-supporting-facts", objects.where_was_object),
    4: Task("two-arg-relations", space.is_direction),
    5: Task("three-arg-relations", objects.who_gave_what),
    6: Task("yes-no-questions", people.is_actor_there),
    7: Task("counting", objects.counting),
    8: Task("lists-sets", objects.listing),
    9: Task("simple-negation", people.negation),
    10: Task("indefinite-knowledge", people.indefinite),
    11: Task("basic-coreference", people.basic_coreference),
    12: Task("conjunction", people.conjunction),
    13: Task("compound-coreference", people.compound_coreference),
    14: Task("time-reasoning", people.time_reasoning),
    15: Task("basic-deduction", deduction.deduction),
    16: Task("basic-induction", deduction.induction),
    17: Task("positional-reasoning", space.positional_reasoning),
    18: Task("size-reasoning", space.size),
    19: Task("path-finding", space.path_finding),
    20: Task("agents-motivations", deduction.motivations),
}


def generate(task: int, questions: int = 1000, *, seed: int = 0, part: str = "train") -> list[Story]:
    """Stories of a task with this many questions in all; the same seed and part always give the same
    stories.
    """
    rng = Random(f"{task} {part} {seed}")
    stories: list[Story] = []
    missing = questions
    while missing > 0:
        story = TASKS[task].story(rng).first(missing)
        stories.append(story)
        missing -= story.questions
    return stories
