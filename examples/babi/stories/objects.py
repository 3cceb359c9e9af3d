"""Tasks about what people carry: 2, 3, 5, 7 and 8.

Two lines are told at a time, and then a question is asked where the latest five give rise to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from .text import Story
from .world import GIVING, HANDLING, Action, World

GIVERS = ("Mary", "Fred", "Bill", "Jeff")
NUMBERS = ("none", "one", "two", "three")


@dataclass
class Object:
    """What a reader knows of an object since somebody took it last."""

    line: int  # that tells of its getting, or of its being put down
    holder: str | None
    place: tuple[str, int] | None  # where it is, and the line that says so
    carried: list[tuple[str, int]] = field(default_factory=list)  # where to, with the lines


@dataclass
class Reader:
    """What a reader of moves, gets and drops knows, with the lines it follows from."""

    place: dict[str, tuple[str, int]] = field(default_factory=dict)  # person -> place, line
    objects: dict[str, Object] = field(default_factory=dict)  # those told of

    def read(self, action: Action, line: int) -> None:
        """Take in what a line tells."""
        if action.kind == "move":
            self.place[action.actor] = action.thing, line
            for held in self.objects.values():
                if held.holder == action.actor:
                    held.place = action.thing, line
                    held.carried.append(held.place)
        elif action.kind == "get":
            self.objects[action.thing] = Object(line, action.actor, self.place.get(action.actor))
        else:
            put = self.objects[action.thing]
            put.line, put.holder = line, None


Question = tuple[str, str, list[int]]  # its text, the answer, and the lines that it follows from


def _where(rng: Random, ask: Callable[[str, Object], list[Question]], gets_there: float) -> Story:
    """Two lines at a time of moves, gets and drops, and a question, one that `ask` finds, of an object that
    was taken or put down in one of the latest lines.
    """
    story, world, reader = Story(), World(rng), Reader()
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*HANDLING)
            reader.read(action, story.tell(action.sentence(rng, gets_there)))
        latest = story.latest()
        found = [ask(thing, told) for thing, told in reader.objects.items() if told.line in latest]
        if found := [questions for questions in found if questions]:
            story.ask(*rng.choice(rng.choice(found)))
    return story


def where_is_object(rng: Random) -> Story:
    """Task 2: where an object is: who took it or put it down, and where he was.

    Of one that is held it is asked only after it was carried somewhere.
    """

    def ask(thing: str, told: Object) -> list[Question]:
        if told.place is None or (told.holder and not told.carried):
            return []
        place, arrived = told.place
        return [(f"where is the {thing}", place, [told.line, arrived])]

    return _where(rng, ask, gets_there=1.0)


def where_was_object(rng: Random) -> Story:
    """Task 3: where an object was before somebody who held it carried it on to another place.

    He went to both with it, to the latter for the last time, which need not be where it is now.
    """

    def ask(thing: str, told: Object) -> list[Question]:
        return [
            (f"where was the {thing} before the {place}", before, [told.line, left, arrived])
            for end, ((before, left), (place, arrived)) in enumerate(pairwise(told.carried), 2)
            if all(place != later for later, _ in told.carried[end:])
        ]

    return _where(rng, ask, gets_there=0.2)


def who_gave_what(rng: Random) -> Story:
    """Task 5: who gave what to whom in the last gift."""
    story, world = Story(), World(rng, GIVERS)
    gift, line = Action("give", "", ""), 0
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*GIVING)
            told = story.tell(action.sentence(rng))
            if action.kind == "give":
                gift, line = action, told
        if line not in story.latest():
            continue
        giver, thing, receiver = gift.actor, gift.thing, gift.recipient
        questions = (
            (f"what did {giver} give to {receiver}", thing),
            (f"what did {giver} give to {receiver}", thing),
            (f"who gave the {thing}", giver),
            (f"who gave the {thing} to {receiver}", giver),
            (f"who did {giver} give the {thing} to", receiver),
            (f"who received the {thing}", receiver),
        )
        story.ask(*rng.choice(questions), [line])
    return story


def _carrying(rng: Random, kinds: tuple[str, ...], ask: Callable[[str, list[str]], tuple[str, str]]) -> Story:
    """What people carry: `ask` makes question and answer of somebody and what he carries, in the order in
    which he got it.
    """
    story, world = Story(), World(rng)
    hands: dict[str, list[str]] = {}
    lines: dict[str, list[int]] = {}  # that tell of somebody's hands
    people: list[tuple[str, int]] = []  # whose hands a line tells of
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*kinds)
            line = story.tell(action.sentence(rng))
            if action.kind == "move":
                continue
            for person in (action.actor, action.recipient) if action.recipient else (action.actor,):
                hands.setdefault(person, [])
                lines.setdefault(person, []).append(line)
                people.append((person, line))
            if action.kind != "get":
                hands[action.actor].remove(action.thing)
            if action.kind != "drop":
                hands[people[-1][0]].append(action.thing)
        latest = story.latest()
        if among := [person for person, line in people if line in latest]:
            actor = rng.choice(among)
            story.ask(*ask(actor, hands[actor]), lines[actor])
    return story


def counting(rng: Random) -> Story:
    """Task 7: how many objects somebody carries."""
    return _carrying(
        rng, GIVING, lambda actor, held: (f"how many objects is {actor} carrying", NUMBERS[len(held)])
    )


def listing(rng: Random) -> Story:
    """Task 8: what somebody carries."""
    return _carrying(
        rng, HANDLING, lambda actor, held: (f"what is {actor} carrying", ",".join(held) or "nothing")
    )
