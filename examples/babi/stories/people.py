"""Tasks about where people are: 1, 6, 9, 10, 11, 12, 13 and 14."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from .text import Story
from .world import HANDLING, MOVES, PEOPLE, PLACES, PRONOUNS, World, other, recent

Told = dict[str, tuple[str, int]]  # person -> the place last told and the line that told it
# Tasks 10 and 14 have people and places of their own.
OTHERS = ("Fred", "Bill", "Mary", "Julie")
NEGATIONS = ("is not in", "is no longer in")
TOWN = ("school", "park", "cinema", "office", "kitchen", "bedroom")


def _where_people_are(
    rng: Random, kinds: tuple[str, ...], ask: Callable[[str, str], tuple[str, str]]
) -> Story:
    """Two lines at a time and a question; `ask` makes question and answer of somebody and where he is."""
    story, world = Story(), World(rng)
    told: Told = {}
    moved: list[tuple[str, int]] = []
    while story.questions < 5:
        for _ in range(2):
            action = world.act(*kinds)
            line = story.tell(action.sentence(rng))
            if action.kind == "move":
                told[action.actor] = action.thing, line
                moved.append((action.actor, line))
        latest = story.latest()
        if among := [actor for actor, line in moved if line in latest]:
            actor = rng.choice(among)
            place, line = told[actor]
            story.ask(*ask(actor, place), [line])
    return story


def where_is_actor(rng: Random) -> Story:
    """Task 1: where somebody is who was seen to move."""
    return _where_people_are(rng, ("move",), lambda actor, place: (f"where is {actor}", place))


def is_actor_there(rng: Random) -> Story:
    """Task 6: whether somebody is in a place; half of the questions name another place than the true one. The
    stories tell of objects too.
    """

    def ask(actor: str, place: str) -> tuple[str, str]:
        true = rng.random() < 0.5
        return f"is {actor} in the {place if true else other(rng, place)}", "yes" if true else "no"

    return _where_people_are(rng, HANDLING, ask)


def negation(rng: Random) -> Story:
    """Task 9: as task 6, with statements of where somebody is or is not.

    Before each its subject has moved: it tells where he is now, or is not any more.
    """
    story = Story()
    now = {person: rng.choice(PLACES) for person in PEOPLE}
    known: dict[str, tuple[str, bool, int]] = {}
    people: list[str] = []
    for _ in range(5):
        for _ in range(2):
            actor = rng.choice(PEOPLE)
            left, now[actor] = now[actor], other(rng, now[actor])
            verb = rng.choice((rng.choice(MOVES), rng.choice(MOVES), "is in", rng.choice(NEGATIONS)))
            positive = verb not in NEGATIONS
            place = now[actor] if positive else left
            known[actor] = place, positive, story.tell(f"{actor} {verb} the {place}")
            people.append(actor)
        actor = recent(rng, people)
        place, positive, line = known[actor]
        true = positive and rng.random() < 0.5
        asked = other(rng, place) if positive and not true else place
        story.ask(f"is {actor} in the {asked}", "yes" if true else "no", [line])
    return story


def indefinite(rng: Random) -> Story:
    """Task 10: as task 6, with statements that leave two places open; the answer may be maybe.

    Before each statement its subject has moved, so that no other one counts.
    """
    story = Story()
    place = {person: rng.choice(TOWN) for person in OTHERS}
    known: dict[str, tuple[list[str], int]] = {}
    people: list[str] = []
    for _ in range(5):
        for _ in range(2):
            actor = rng.choice(OTHERS)
            place[actor] = other(rng, place[actor], TOWN)
            possible = [place[actor]]
            verb = rng.choice((rng.choice(MOVES), rng.choice(MOVES), "is in", "is either in"))
            if verb == "is either in":
                possible = rng.sample([place[actor], other(rng, place[actor], TOWN)], 2)
            line = story.tell(f"{actor} {verb} the {' or the '.join(possible)}")
            known[actor] = possible, line
            people.append(actor)
        actor = recent(rng, people)
        possible, line = known[actor]
        named = rng.random() < 0.55
        asked = rng.choice([town for town in TOWN if (town in possible) == named])
        answer = "no" if not named else "yes" if len(possible) == 1 else "maybe"
        story.ask(f"is {actor} in the {asked}", answer, [line])
    return story


LINKS = ("after that", "following that", "then", "afterwards")


def basic_coreference(rng: Random) -> Story:
    """Task 11: somebody moves, then moves again under a pronoun."""
    story, world = Story(), World(rng)
    told: dict[str, tuple[str, list[int]]] = {}
    people: list[str] = []
    for _ in range(5):
        action = world.act("move")
        actor = action.actor
        first = story.tell(action.sentence(rng))
        place = world.place[actor] = other(rng, action.thing)
        second = story.tell(f"{rng.choice(LINKS)} {PRONOUNS[actor]} {rng.choice(MOVES)} the {place}")
        told[actor] = place, [first, second]
        people += [actor, actor]
        asked = recent(rng, people)
        story.ask(f"where is {asked}", *told[asked])
    return story


def conjunction(rng: Random) -> Story:
    """Task 12: two pairs of people move; nothing keeps a pair from moving to where it already is."""
    story = Story()
    told: Told = {}
    pairs: list[list[str]] = []
    for _ in range(5):
        for place in rng.sample(PLACES, 2):
            pair = rng.sample(PEOPLE, 2)
            line = story.tell(f"{' and '.join(pair)} {rng.choice(MOVES)} the {place}")
            told.update(dict.fromkeys(pair, (place, line)))
            pairs.append(pair)
        actor = rng.choice(recent(rng, pairs))
        place, line = told[actor]
        story.ask(f"where is {actor}", place, [line])
    return story


def compound_coreference(rng: Random) -> Story:
    """Task 13: a pair moves, then moves again as they."""
    story, world = Story(), World(rng)
    told: dict[str, tuple[str, list[int]]] = {}
    pairs: list[list[str]] = []
    for _ in range(5):
        pair = rng.sample(PEOPLE, 2)
        first = rng.choice([place for place in PLACES if place not in {world.place[actor] for actor in pair}])
        second = other(rng, first)
        world.place.update(dict.fromkeys(pair, second))
        lines = [
            story.tell(f"{' and '.join(pair)} {rng.choice(MOVES)} the {first}"),
            story.tell(f"{rng.choice(LINKS)} they {rng.choice(MOVES)} the {second}"),
        ]
        told.update(dict.fromkeys(pair, (second, lines)))
        pairs += [pair, pair]
        actor = rng.choice(recent(rng, pairs, 3))
        story.ask(f"where is {actor}", *told[actor])
    return story


TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def time_reasoning(rng: Random) -> Story:
    """Task 14: moves told in any order, each with its time; where somebody was before he was in a place.

    Nobody is in a place twice running.
    """
    story = Story()
    places: dict[str, list[str]] = {}
    for actor in OTHERS:
        places[actor] = [rng.choice(TOWN)]
        for _ in TIMES[1:]:
            places[actor].append(other(rng, places[actor][-1], TOWN))
    told: dict[str, dict[int, int]] = {actor: {} for actor in OTHERS}  # person -> time -> line
    untold = [(actor, time) for actor in OTHERS for time in range(len(TIMES))]
    rng.shuffle(untold)
    while story.questions < 5:
        for _ in range(2):
            actor, time = untold.pop()
            clause = f"{actor} {rng.choice(MOVES)} the {places[actor][time]}"
            told[actor][time] = story.tell(rng.choice((f"{TIMES[time]} {clause}", f"{clause} {TIMES[time]}")))
        steps = [
            (actor, before, after) for actor in OTHERS for before, after in pairwise(sorted(told[actor]))
        ]
        # Where the place asked about stands once, and the one before is another.
        steps = [
            (actor, before, after)
            for actor, before, after in steps
            if [places[actor][time] for time in told[actor]].count(places[actor][after]) == 1
        ]
        if steps:
            actor, before, after = rng.choice(steps)
            support = told[actor][before], told[actor][after]
            story.ask(f"where was {actor} before the {places[actor][after]}", places[actor][before], support)
    return story
