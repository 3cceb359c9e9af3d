"""Tasks about what people carry: 2, 3, 5, 7 and 8."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from .text import Story
from .world import OBJECTS, Action, World

NUMBERS = ("none", "one", "two", "three")


@dataclass
class Reader:
    """What a reader of moves, gets and drops knows, with the lines it follows from."""

    place: dict[str, tuple[str, int]] = field(default_factory=dict)  # person -> place, line
    holder: dict[str, tuple[str, int]] = field(default_factory=dict)  # held object -> person, line
    # object -> its known places, oldest first, neighbours different, each with the lines that told it last
    trail: dict[str, list[tuple[str, set[int]]]] = field(
        default_factory=lambda: {thing: [] for thing in OBJECTS}
    )

    def read(self, action: Action, line: int) -> None:
        """Take in what a line tells."""
        if action.kind == "move":
            self.place[action.actor] = action.thing, line
        elif action.kind == "get":
            self.holder[action.thing] = action.actor, line
        else:
            del self.holder[action.thing]
        for thing in self.located():
            holder, taken = self.holder[thing]
            place, arrived = self.place[holder]
            trail = self.trail[thing]
            if trail and trail[-1][0] == place:
                trail.pop()
            trail.append((place, {taken, arrived}))

    def located(self) -> list[str]:
        """The objects in the hands of somebody whose place is known."""
        return [thing for thing, (holder, _) in self.holder.items() if holder in self.place]


def _told_step(rng: Random, story: Story, world: World, reader: Reader) -> bool:
    """Tell a move (one time in three), a get or a drop; say whether a question may follow."""
    action = world.draw("move") if rng.random() < 1 / 3 else world.draw("get", "drop")
    if action is not None:
        world.perform(action)
        reader.read(action, story.tell(action.sentence(rng)))
    return story.since_question() >= 3 and rng.random() < 0.5


def where_is_object(rng: Random) -> Story:
    """Task 2: where an object is that somebody carries: who took it, and where he went."""
    story, world, reader = Story(), World(rng), Reader()
    while story.questions < 5:
        if not _told_step(rng, story, world, reader):
            continue
        if located := reader.located():
            thing = rng.choice(located)
            holder, taken = reader.holder[thing]
            place, arrived = reader.place[holder]
            story.ask(f"where is the {thing}", place, [taken, arrived])
    return story


def where_was_object(rng: Random) -> Story:
    """Task 3: where an object was before it came to where it is.

    A story with an answer that hangs on more or fewer than three lines is redrawn.
    """
    while (story := _where_was_object(rng)) is None:
        pass
    return story


def _where_was_object(rng: Random) -> Story | None:
    story, world, reader = Story(), World(rng), Reader()
    while story.questions < 5:
        if not _told_step(rng, story, world, reader):
            continue
        if travelled := [thing for thing in reader.located() if len(reader.trail[thing]) > 1]:
            thing = rng.choice(travelled)
            (before, lines), (place, last_lines) = reader.trail[thing][-2:]
            support = lines | last_lines
            if len(support) != 3:
                return None
            story.ask(f"where was the {thing} before the {place}", before, support)
    return story


def who_gave_what(rng: Random) -> Story:
    """Task 5: who gave what to whom, a few lines after the gift.

    The lines between gift and question are carried out like all others, which the original generator omits.
    """
    story, world = Story(), World(rng)
    while story.questions < 5:
        gift = world.draw(rng.choice(("get", "give", "move")))
        if gift is None:
            continue
        world.perform(gift)
        line = story.tell(gift.sentence(rng))
        if gift.kind != "give" or story.since_question() < 2:
            continue
        for _ in range(rng.randint(0, 5)):
            further = world.draw(rng.choice(("get", "give", "move")))
            if further is None or further.thing == gift.thing:
                continue
            if (further.kind, further.actor, further.recipient) != (gift.kind, gift.actor, gift.recipient):
                world.perform(further)
                story.tell(further.sentence(rng))
        question, answer = rng.choice(
            (
                (f"what did {gift.actor} give to {gift.recipient} last", gift.thing),
                (f"who received the {gift.thing} last", gift.recipient),
                (f"who did {gift.actor} give the {gift.thing} to last", gift.recipient),
            )
        )
        story.ask(question, answer, [line])
    return story


def _handling(rng: Random, listing: bool) -> Story:
    """Five questions about what somebody holds who took, dropped or gave something, two lines between
    questions.
    """
    story, world = Story(), World(rng)
    handled: dict[str, list[int]] = {}  # person -> the lines that tell what he took, dropped and gave himself
    while story.questions < 5:
        draw = rng.random()
        action = (
            world.draw("move")
            if draw < 1 / 4
            else world.draw("get", "drop")
            if draw < 1 / 2
            else world.draw("give")
        )
        if action is None:
            continue
        world.perform(action)
        line = story.tell(action.sentence(rng))
        if action.kind != "move":
            handled.setdefault(action.actor, []).append(line)
        if handled and story.since_question() >= 2:
            actor = rng.choice(list(handled))
            held = world.held(actor)
            if listing:
                story.ask(f"what is {actor} holding", ",".join(held) or "nothing", handled[actor])
            else:
                story.ask(f"how many objects is {actor} holding", NUMBERS[len(held)], handled[actor])
    return story


def counting(rng: Random) -> Story:
    """Task 7: how many objects somebody holds."""
    return _handling(rng, listing=False)


def listing(rng: Random) -> Story:
    """Task 8: which objects somebody holds."""
    return _handling(rng, listing=True)
