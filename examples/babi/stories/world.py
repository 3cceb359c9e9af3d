"""The world that people move in: who is where, which object is in whose hands, what can be done next."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

PLACES = ("bedroom", "kitchen", "garden", "hallway", "bathroom", "office")
# Where people and objects are when a story starts, which no story tells.
PEOPLE = {"John": "kitchen", "Mary": "bedroom", "Sandra": "garden", "Daniel": "hallway"}
OBJECTS = {"apple": "kitchen", "football": "garden", "milk": "kitchen"}
PRONOUNS = {"John": "he", "Mary": "she", "Sandra": "she", "Daniel": "he"}

MOVES = ("went to", "journeyed to", "travelled to", "moved to")
GETS = ("grabbed", "took", "got")
DROPS = ("dropped", "put down", "let go of")


class Action(NamedTuple):
    """What somebody does: ``thing`` is the place of a move and the object of a get, drop or give."""

    kind: str
    actor: str
    thing: str
    recipient: str = ""

    def sentence(self, rng: Random) -> str:
        """The action in one of its wordings."""
        if self.kind == "give":
            return f"{self.actor} gave {self.recipient} the {self.thing}"
        wordings = {"move": MOVES, "get": GETS, "drop": DROPS}[self.kind]
        return f"{self.actor} {rng.choice(wordings)} the {self.thing}"


class World:
    """Who is where and which object is where: in a place, or with a person who carries it along."""

    def __init__(self, rng: Random) -> None:
        """Start with everybody and everything where they are at first."""
        self.rng = rng
        self.place = dict(PEOPLE)
        self.container = dict(OBJECTS)

    def possible(self, kind: str) -> list[Action]:
        """The actions of a kind that can be done now."""
        place, container = self.place, self.container
        if kind == "move":
            return [
                Action(kind, actor, target) for actor in PEOPLE for target in PLACES if place[actor] != target
            ]
        if kind == "get":
            return [
                Action(kind, actor, thing)
                for thing in OBJECTS
                for actor in PEOPLE
                if container[thing] == place[actor]
            ]
        held = [(actor, thing) for thing, actor in container.items() if actor in PEOPLE]
        if kind == "drop":
            return [Action(kind, actor, thing) for actor, thing in held]
        return [
            Action(kind, actor, thing, recipient)
            for actor, thing in held
            for recipient in PEOPLE
            if recipient != actor and place[recipient] == place[actor]
        ]

    def draw(self, *kinds: str) -> Action | None:
        """An action of these kinds that can be done now, each as likely; None where there is none."""
        possible = [action for kind in kinds for action in self.possible(kind)]
        return self.rng.choice(possible) if possible else None

    def move(self) -> Action:
        """A move of somebody to another place, done."""
        action = self.draw("move")
        assert action is not None
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


def other(rng: Random, place: str) -> str:
    """Any place but this one."""
    return rng.choice([candidate for candidate in PLACES if candidate != place])
