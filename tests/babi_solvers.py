"""A small solver for each of the twenty tasks, from the printed sentences alone: `SOLVERS[task](facts,
question)`.

Written apart from the generators, so that an answer is right where both agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOVE = re.compile(r"^(.+?) (?:went|went back|journeyed|travelled|moved) to the (\w+)$")
GET = re.compile(r"^(\w+) (?:grabbed|took|got|picked up) the (\w+)(?: there)?$")
DROP = re.compile(r"^(\w+) (?:dropped|put down|left|discarded) the (\w+)(?: there)?$")
GIVE = re.compile(r"^(\w+) (?:gave|handed|passed) the (\w+) to (\w+)$")
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def groups(pattern: str | re.Pattern[str], text: str) -> tuple[str, ...]:
    """What the pattern finds in a text that must match it."""
    found = re.match(pattern, text)
    assert found is not None, (pattern, text)
    return found.groups()


def moves(facts: list[str]) -> list[tuple[set[str], str]]:
    """The people and the place of each move in a story; a pronoun means the people of the move before."""
    found: list[tuple[set[str], str]] = []
    for fact in facts:
        if match := MOVE.match(fact):
            subject, place = match.groups()
            plain = re.sub(r"^(?:After that|Following that|Then|Afterwards) ", "", subject)
            people = found[-1][0] if plain in {"he", "she", "they"} else set(plain.split(" and "))
            found.append((people, place))
    return found


def where_is_actor(facts: list[str], question: str) -> str:
    (actor,) = groups(r"Where is (\w+)\?", question)
    return next(place for people, place in reversed(moves(facts)) if actor in people)


def where_is_object(facts: list[str], question: str) -> str:
    (thing,) = groups(r"Where is the (\w+)\?", question)
    last = max(index for index, fact in enumerate(facts) if handled(fact, thing))
    # Whoever put it down left it where he was then.
    told = facts if GET.match(facts[last]) else facts[:last]
    return where_is_actor(told, f"Where is {facts[last].split()[0]}?")


def where_was_object(facts: list[str], question: str) -> str:
    """From the place before it was last in the other, of those to which somebody carried it."""
    thing, place = groups(r"Where was the (\w+) before the (\w+)\?", question)
    last = max(index for index, fact in enumerate(facts) if handled(fact, thing))
    holder = facts[last].split()[0]
    told = facts if GET.match(facts[last]) else facts[:last]
    trail = [where for people, where in moves(told) if holder in people]
    end = max(index for index, where in enumerate(trail) if where == place)
    return trail[end - 1]


def handled(fact: str, thing: str) -> bool:
    """Whether a fact tells that somebody took an object or put it down."""
    return any(match[2] == thing for match in (GET.match(fact), DROP.match(fact)) if match)


def is_direction(facts: list[str], question: str) -> str:
    opposite = {"north": "south", "south": "north", "east": "west", "west": "east"}
    told = set()
    for fact in facts:
        first, direction, second = groups(r"The (\w+) is (\w+) of the (\w+)", fact)
        told |= {(first, direction, second), (second, opposite[direction], first)}
    if asked := re.match(r"What is (\w+) of the (\w+)\?", question):
        (answer,) = (first for first, *rest in told if rest == list(asked.groups()))
    else:
        wanted = groups(r"What is the (\w+) (\w+) of\?", question)
        (answer,) = (second for *rest, second in told if rest == list(wanted))
    return answer


def who_gave_what(facts: list[str], question: str) -> str:
    gifts = [match.groups() for fact in reversed(facts) if (match := GIVE.match(fact))]
    if asked := re.match(r"What did (\w+) give to (\w+)\?", question):
        return next(thing for giver, thing, receiver in gifts if (giver, receiver) == asked.groups())
    if asked := re.match(r"Who received the (\w+)\?", question):
        return next(receiver for _, thing, receiver in gifts if thing == asked[1])
    if asked := re.match(r"Who did (\w+) give the (\w+) to\?", question):
        return next(receiver for giver, thing, receiver in gifts if (giver, thing) == asked.groups())
    thing, receiver = groups(r"Who gave the (\w+)(?: to (\w+))?\?", question)
    return next(gift[0] for gift in gifts if gift[1] == thing and receiver in {None, gift[2]})


def is_actor_there(facts: list[str], question: str) -> str:
    actor, place = groups(r"Is (\w+) in the (\w+)\?", question)
    return "yes" if where_is_actor(facts, f"Where is {actor}?") == place else "no"


def holdings(facts: list[str], actor: str) -> list[str]:
    """What somebody holds, in the order in which he got it."""
    held: list[str] = []
    for fact in facts:
        if gift := GIVE.match(fact):
            giver, thing, receiver = gift.groups()
        elif taken := GET.match(fact):
            giver, (receiver, thing) = "", taken.groups()
        elif put := DROP.match(fact):
            (giver, thing), receiver = put.groups(), ""
        else:
            continue
        if actor == receiver:
            held.append(thing)
        elif actor == giver:
            held.remove(thing)
    return held


def counting(facts: list[str], question: str) -> str:
    (actor,) = groups(r"How many objects is (\w+) carrying\?", question)
    return ("none", "one", "two", "three")[len(holdings(facts, actor))]


def listing(facts: list[str], question: str) -> str:
    (actor,) = groups(r"What is (\w+) carrying\?", question)
    return ",".join(holdings(facts, actor)) or "nothing"


def negation(facts: list[str], question: str) -> str:
    actor, asked = groups(r"Is (\w+) in the (\w+)\?", question)
    last = [fact for fact in facts if fact.startswith(f"{actor} ")][-1]
    place = last.split()[-1]
    if re.search(" is (?:not|no longer) in ", last):
        assert place == asked, "whether he is elsewhere cannot be known"
        return "no"
    return "yes" if place == asked else "no"


def indefinite(facts: list[str], question: str) -> str:
    actor, asked = groups(r"Is (\w+) in the (\w+)\?", question)
    last = [fact for fact in facts if fact.startswith(f"{actor} ")][-1]
    either = re.match(r".* either in the (\w+) or the (\w+)$", last)
    possible = either.groups() if either else (last.split()[-1],)
    return "no" if asked not in possible else "yes" if len(possible) == 1 else "maybe"


def time_reasoning(facts: list[str], question: str) -> str:
    actor, place = groups(r"Where was (\w+) before the (\w+)\?", question)
    told = {}
    for fact in facts:
        (time,) = (time for time in TIMES if time in fact.lower())
        clause = re.sub(f" ?{time} ?", "", fact, flags=re.IGNORECASE)
        who, where = groups(MOVE, clause)
        if who == actor:
            told[TIMES.index(time)] = where
    order = [told[time] for time in sorted(told)]
    return order[order.index(place) - 1]


def deduction(facts: list[str], question: str) -> str:
    (name,) = groups(r"What is (\w+) afraid of\?", question)
    plural = {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "cat": "cats"}
    (kind,) = (fact.split()[-1] for fact in facts if fact.startswith(f"{name} is a "))
    (feared,) = (
        fact.split()[-1] for fact in facts if fact.lower().startswith(f"{plural[kind]} are afraid of")
    )
    return next(one for one, many in plural.items() if many == feared)


def induction(facts: list[str], question: str) -> str:
    (name,) = groups(r"What color is (\w+)\?", question)
    kinds = {fact.split()[0]: fact.split()[-1] for fact in facts if " is a " in fact}
    colours = {fact.split()[0]: fact.split()[-1] for fact in facts if " is a " not in fact}
    assert name not in colours
    (colour,) = {colour for other, colour in colours.items() if kinds[other] == kinds[name]}
    return colour


def positional_reasoning(facts: list[str], question: str) -> str:
    relations = "above|below|to the left of|to the right of"
    offset = {"above": (0, 1), "below": (0, -1), "to the left of": (-1, 0), "to the right of": (1, 0)}
    told = [groups(f"The (.+?) is ({relations}) the (.+)$", fact) for fact in facts]
    position = {told[0][2]: (0, 0)}
    for first, relation, second in told * 2:
        step = offset[relation]
        if second in position:
            position[first] = position[second][0] + step[0], position[second][1] + step[1]
        elif first in position:
            position[second] = position[first][0] - step[0], position[first][1] - step[1]
    first, relation, second = groups(rf"Is the (.+?) ({relations}) the (.+)\?", question)
    step = offset[relation]
    along = sum((a - b) * c for a, b, c in zip(position[first], position[second], step, strict=True))
    assert along, "the two do not differ in the direction asked about"
    return "yes" if along > 0 else "no"


def size(facts: list[str], question: str) -> str:
    told = [
        groups("The (.+) is bigger than the (.+)$", fact)
        if "bigger" in fact
        else groups("The (.+) fits inside the (.+)$", fact)[::-1]
        for fact in facts
    ]

    def bigger(first: str, second: str) -> bool:
        return any(first == large and (small == second or bigger(small, second)) for large, small in told)

    if asked := re.match(r"Is the (.+) bigger than the (.+)\?", question):
        first, second = asked.groups()
    else:
        second, first = groups(r"Does the (.+) fit in the (.+)\?", question)
    assert bigger(first, second) != bigger(second, first)
    return "yes" if bigger(first, second) else "no"


def path_finding(facts: list[str], question: str) -> str:
    opposite = {"north": "s", "south": "n", "east": "w", "west": "e"}
    steps = {}
    for fact in facts:
        first, direction, second = groups(r"The (\w+) is (\w+) of the (\w+)", fact)
        steps[first, second] = opposite[direction]
        steps[second, first] = direction[0]
    start, goal = groups(r"How do you go from the (\w+) to the (\w+)\?", question)
    (path,) = (
        f"{step},{steps[between, goal]}"
        for (place, between), step in steps.items()
        if place == start and (between, goal) in steps
    )
    return path


def motivations(facts: list[str], question: str) -> str:
    name, verb, thing = groups(r"(?:Where will|Why did) (\w+) (go|get)(?: to)?(?: the (\w+))?\?", question)
    (feeling,) = (fact.split()[-1] for fact in facts if fact.startswith(f"{name} is "))
    motive = {"hungry": "apple", "thirsty": "milk", "bored": "football", "tired": "pajamas"}
    place = {"hungry": "kitchen", "thirsty": "kitchen", "bored": "garden", "tired": "bedroom"}
    assert thing is None or thing == (place if verb == "go" else motive)[feeling]
    return place[feeling] if thing is None else feeling


SOLVERS: dict[int, Callable[[list[str], str], str]] = dict(
    enumerate(
        (
            where_is_actor,
            where_is_object,
            where_was_object,
            is_direction,
            who_gave_what,
            is_actor_there,
            counting,
            listing,
            negation,
            indefinite,
            where_is_actor,
            where_is_actor,
            where_is_actor,
            time_reasoning,
            deduction,
            induction,
            positional_reasoning,
            size,
            path_finding,
            motivations,
        ),
        1,
    )
)
