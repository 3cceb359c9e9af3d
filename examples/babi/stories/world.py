"""The world that people move in: who is where, which object is in whose hands, what is done next.

What the stories tell and how often is that of the public data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, TypeVar

PLACES = ("bedroom", "kitchen", "garden", "hallway", "bathroom", "office")
PEOPLE = ("John", "Mary", "Sandra", "Daniel")
OBJECTS = ("apple", "football", "milk")
PRONOUNS = {"John": "he", "Mary": "she", "Sandra": "she", "Daniel": "he"}

MOVES = ("went to", "went back to", "journeyed to", "travelled to", "moved to")
GETS = ("picked up", "got", "took", "grabbed")
DROPS = ("dropped", "left", "discarded", "put down")
GIVES = ("gave", "handed", "passed")


# The kinds of action; whoever can give something mostly does.
HANDLING = ("move", "get", "drop")
GIVING = (*HANDLING, "give", "give", "give", "give")


class Action(NamedTuple):
    """What somebody does: ``thing`` is the place of a move and the object of a get, drop or give."""

    kind: str
    actor: str
    thing: str
    recipient: str = ""

    def sentence(self, rng: Random, gets_there: float = 1.0) -> str:
        """The action in one of its wordings; `gets_there` is how often a get ends with "there"."""
        if self.kind == "move":
            return f"{self.actor} {rng.choice(MOVES)} the {self.thing}"
        if self.kind == "give":
            return f"{self.actor} {rng.choice(GIVES)} the {self.thing} to {self.recipient}"
        get = self.kind == "get"
        there = " there" * (rng.random() < (gets_there if get else 0.2))
        return f"{self.actor} {rng.choice(GETS if get else DROPS)} the {self.thing}{there}"


class World:
    """Who is where and which object is where: in a place, or with a person who carries it along."""

    def __init__(self, rng: Random, people: Sequence[str] = PEOPLE) -> None:
        """Start with everybody and everything anywhere, which no story tells."""
        self.rng = rng
        self.people = tuple(people)
        self.place = {person: rng.choice(PLACES) for person in people}
        self.container = {thing: rng.choice(PLACES) for thing in OBJECTS}

    def possible(self, actor: str, kind: str) -> list[Action]:
        """What of a kind somebody can do now."""
        here = self.place[actor]
        if kind == "move":
            return [Action(kind, actor, target) for target in PLACES if target != here]
        if kind == "get":
            return [Action(kind, actor, thing) for thing in OBJECTS if self.container[thing] == here]
        if kind == "drop":
            return [Action(kind, actor, thing) for thing in self.held(actor)]
        beside = [person for person in self.people if person != actor and self.place[person] == here]
        return [Action(kind, actor, thing, person) for thing in self.held(actor) for person in beside]

    def act(self, *kinds: str) -> Action:
        """Do something of these kinds; a kind that is named more than once is as much likelier.

        Who and what kind are drawn anew until it can be done, a move also one time in six as it would lead
        nowhere.
        """
        while True:
            actor, kind = self.rng.choice(self.people), self.rng.choice(kinds)
            possible = self.possible(actor, kind)
            if possible and (kind != "move" or self.rng.randrange(len(PLACES))):
                action = self.rng.choice(possible)
                self.perform(action)
                return action

    def perform(self, action: Action) -> None:
        """Do it."""
        if action.kind == "move":
            self.place[action.actor] = action.thing
        elif action.kind == "get":
            self.container[action.thing] = action.actor
        elif action.kind == "drop":
            self.container[action.thing] = self.place[action.actor]
        else:
            self.container[action.thing] = action.recipient

    def held(self, actor: str) -> list[str]:
        """The objects somebody holds, in the order of OBJECTS."""
        return [thing for thing in OBJECTS if self.container[thing] == actor]


def other(rng: Random, place: str, places: Sequence[str] = PLACES) -> str:
    """Any place but this one."""
    return rng.choice([candidate for candidate in places if candidate != place])


T = TypeVar("T")


def recent(rng: Random, told: Sequence[T], window: int = 5) -> T:
    """One of the latest things told: whom questions are about."""
    return rng.choice(told[-window:])
