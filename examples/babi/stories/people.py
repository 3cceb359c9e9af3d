"""Tasks about where people are: 1, 6, 9, 10, 11, 12, 13 and 14."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .text import Story
from .world import MOVES, PEOPLE, PLACES, PRONOUNS, World, other

Told = dict[str, tuple[str, int]]  # person -> the place last told and the line that told it


def _where_people_are(rng: Random, ask: Callable[[Story, Told], None]) -> Story:
    """Five times two moves and a question."""
    story, world = Story(), World(rng)
    told: Told = {}
    for _ in range(5):
        for _ in range(2):
            action = world.move()
            told[action.actor] = action.thing, story.tell(action.sentence(rng))
        ask(story, told)
    return story


def where_is_actor(rng: Random) -> Story:
    """Task 1: where somebody is who was seen to move."""

    def ask(story: Story, told: Told) -> None:
        actor = rng.choice(list(told))
        place, line = told[actor]
        story.ask(f"where is {actor}", place, [line])

    return _where_people_are(rng, ask)


def is_actor_there(rng: Random) -> Story:
    """Task 6: whether somebody is in a place; half of the questions name another place than the true one."""

    def ask(story: Story, told: Told) -> None:
        actor = rng.choice(list(told))
        place, line = told[actor]
        true = rng.random() < 0.5
        story.ask(
            f"is {actor} in the {place if true else other(rng, place)}", "yes" if true else "no", [line]
        )

    return _where_people_are(rng, ask)


def negation(rng: Random) -> Story:
    """Task 9: as task 6, with statements of where somebody is or is not; a statement replaces what was known
    before.
    """
    story, world = Story(), World(rng)
    known: dict[str, tuple[str, bool, int]] = {}
    for _ in range(5):
        for _ in range(2):
            if rng.random() < 0.5:
                action = world.move()
                known[action.actor] = action.thing, True, story.tell(action.sentence(rng))
                continue
            actor = rng.choice(tuple(PEOPLE))
            place = world.place[actor]
            positive = rng.random() < 0.5
            if not positive:
                place = other(rng, place)
            verb = "is" if positive else rng.choice(("is not", "is no longer"))
            known[actor] = place, positive, story.tell(f"{actor} {verb} in the {place}")
        actor = rng.choice(list(known))
        place, positive, line = known[actor]
        true = positive and rng.random() < 0.5
        asked = other(rng, place) if positive and not true else place
        story.ask(f"is {actor} in the {asked}", "yes" if true else "no", [line])
    return story


def indefinite(rng: Random) -> Story:
    """Task 10: as task 6, with statements that leave two places open; the answer may be maybe.

    What is known of a person is the set of places where he can be. "Either in the A or in the B" keeps those
    of the two that were possible before, and both where neither was: he must have moved.
    """
    story, world = Story(), World(rng)
    known: dict[str, tuple[set[str], list[int]]] = {}
    for _ in range(5):
        for _ in range(2):
            kind = rng.choice(("move", "is", "either"))
            if kind == "move":
                action = world.move()
                known[action.actor] = {action.thing}, [story.tell(action.sentence(rng))]
                continue
            actor = rng.choice(tuple(PEOPLE))
            if kind == "is":
                place = world.place[actor]
                known[actor] = {place}, [story.tell(f"{actor} is in the {place}")]
                continue
            first, second = rng.sample(PLACES, 2)
            line = story.tell(f"{actor} is either in the {first} or in the {second}")
            before, support = known.get(actor, (set(PLACES), []))
            both = before & {first, second}
            narrowed = len(both) == 1
            known[actor] = (both, [*support, line]) if narrowed else ({first, second}, [line])
        actor = rng.choice(list(known))
        possible, support = known[actor]
        asked = rng.choice(PLACES)
        answer = "no" if asked not in possible else "yes" if len(possible) == 1 else "maybe"
        story.ask(f"is {actor} in the {asked}", answer, support)
    return story


def basic_coreference(rng: Random) -> Story:
    """Task 11: somebody moves, then moves again under a pronoun."""
    story, world = Story(), World(rng)
    for _ in range(5):
        action = world.move()
        actor = action.actor
        first = story.tell(action.sentence(rng))
        pronoun = PRONOUNS[actor]
        start = rng.choice(
            (f"after that {pronoun}", f"following that {pronoun}", f"then {pronoun}", f"{pronoun} then")
        )
        place = world.place[actor] = other(rng, action.thing)
        second = story.tell(f"{start} {rng.choice(MOVES)} the {place}")
        story.ask(f"where is {actor}", place, [first, second])
    return story


def conjunction(rng: Random) -> Story:
    """Task 12: two pairs of people move; nothing keeps a pair from moving to where it already is."""
    story = Story()
    for _ in range(5):
        told: Told = {}
        for place in rng.sample(PLACES, 2):
            pair = rng.sample(tuple(PEOPLE), 2)
            line = story.tell(f"{' and '.join(pair)} {rng.choice(MOVES)} the {place}")
            told.update(dict.fromkeys(pair, (place, line)))
        actor = rng.choice(list(told))
        place, line = told[actor]
        story.ask(f"where is {actor}", place, [line])
    return story


def compound_coreference(rng: Random) -> Story:
    """Task 13: a pair moves, then moves again as they."""
    story, world = Story(), World(rng)
    for _ in range(5):
        pair = rng.sample(tuple(PEOPLE), 2)
        first = rng.choice([place for place in PLACES if place not in {world.place[actor] for actor in pair}])
        second = other(rng, first)
        world.place.update(dict.fromkeys(pair, second))
        start = rng.choice(("after that", "following that", "then"))
        lines = [
            story.tell(f"{' and '.join(pair)} {rng.choice(MOVES)} the {first}"),
            story.tell(f"{start} they {rng.choice(MOVES)} the {second}"),
        ]
        story.ask(f"where is {rng.choice(pair)}", second, lines)
    return story


TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def time_reasoning(rng: Random) -> Story:
    """Task 14: moves told in any order, each with its time; where somebody was before he was in a place."""
    # Twelve of the sixteen pairs of a person and a time; the first question needs two of one person in the
    # first four.
    pairs = rng.sample([(actor, time) for actor in PEOPLE for time in range(len(TIMES))], 12)
    while len({actor for actor, _ in pairs[:4]}) == 4:
        rng.shuffle(pairs)
    places = {actor: rng.sample(PLACES, len(TIMES)) for actor in PEOPLE}
    story = Story()
    told: dict[str, dict[int, int]] = {actor: {} for actor in PEOPLE}  # person -> time -> line
    for count, (actor, time) in enumerate(pairs, 1):
        clause = f"{actor} {rng.choice(MOVES)} the {places[actor][time]}"
        told[actor][time] = story.tell(rng.choice((f"{TIMES[time]} {clause}", f"{clause} {TIMES[time]}")))
        if count < 4 or count % 2:
            continue
        asked = rng.choice([person for person in PEOPLE if len(told[person]) > 1])
        times = sorted(told[asked])
        position = rng.randrange(1, len(times))
        before, after = times[position - 1 : position + 1]
        support = told[asked][before], told[asked][after]
        story.ask(f"where was {asked} before the {places[asked][after]}", places[asked][before], support)
    return story
