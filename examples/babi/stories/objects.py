"""Tasks about what people carry: 2, 3, 5, 7 and 8.

Two sentences are told at a time, and then a question is asked where one can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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

    def choose(self, rng: Random, put: int) -> tuple[str, Object | None]:
        """The object of a question: of those told of, one that lies somewhere `put` times as likely as one
        that is held.
        """
        if not self.objects:
            return "", None
        weights = [1 if told.holder else put for told in self.objects.values()]
        return rng.choices(list(self.objects.items()), weights)[0]


def _told(rng: Random, story: Story, gets_there: float = 1.0) -> Iterator[Reader]:
    """Tell two lines at a time of moves, gets and drops until five questions are asked."""
    world, reader = World(rng), Reader()
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*HANDLING)
            reader.read(action, story.tell(action.sentence(rng, gets_there)))
        yield reader


def where_is_object(rng: Random) -> Story:
    """Task 2: where an object is: who took it or put it down, and where he was.

    Of one that is held it is asked only after it was carried somewhere.
    """
    story = Story()
    for reader in _told(rng, story):
        thing, told = reader.choose(rng, 4)
        if told and told.place and (told.holder is None or told.carried):
            place, arrived = told.place
            story.ask(f"where is the {thing}", place, [told.line, arrived])
    return story


def where_was_object(rng: Random) -> Story:
    """Task 3: where an object was before somebody who held it carried it on to another place.

    He went to both with it, to the latter for the last time, which need not be where it is now.
    """
    story = Story()
    for reader in _told(rng, story, gets_there=0.2):
        thing, told = reader.choose(rng, 10)
        if not told:
            continue
        places = [place for place, _ in told.carried]
        if ends := [end for end in range(1, len(places)) if places[end] not in places[end + 1 :]]:
            end = rng.choice(ends)
            (before, left), (place, arrived) = told.carried[end - 1 : end + 1]
            story.ask(f"where was the {thing} before the {place}", before, [told.line, left, arrived])
    return story


def who_gave_what(rng: Random) -> Story:
    """Task 5: who gave what to whom in the last gift; mostly not where the object was dropped, taken or left
    since.
    """
    story, world = Story(), World(rng, GIVERS)
    gift: Action | None = None
    line, touched = 0, False
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*GIVING)
            told = story.tell(action.sentence(rng))
            if action.kind == "give":
                gift, line, touched = action, told, False
            elif gift and action.kind != "move" and action.thing == gift.thing:
                touched = True
        if gift is None or (touched and rng.random() > 0.2):
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
    people: list[str] = []  # whose hands the story tells of, once for each time
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*kinds)
            line = story.tell(action.sentence(rng))
            if action.kind == "move":
                continue
            for person in (action.actor, action.recipient) if action.recipient else (action.actor,):
                hands.setdefault(person, [])
                lines.setdefault(person, []).append(line)
                people.append(person)
            if action.kind != "get":
                hands[action.actor].remove(action.thing)
            if action.kind != "drop":
                hands[people[-1]].append(action.thing)
        if people and rng.random() < 0.95:
            actor = rng.choice(people)
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
