"""A small solver for each of the twenty tasks, from the printed sentences alone: `SOLVERS[task](facts,
question)`.

Written apart from the generators, so that an answer is right where both agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOVE = re.compile(r"^(.+?) (?:went|journeyed|travelled|moved) to the (\w+)$")
GET = re.compile(r"^(\w+) (?:grabbed|took|got) the (\w+)$")
DROP = re.compile(r"^(\w+) (?:dropped|put down|let go of) the (\w+)$")
GIVE = re.compile(r"^(\w+) gave (\w+) the (\w+)$")
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
            plain = re.sub(r"^(?:After that|Following that|Then|He|She) |\bthen\b", "", subject).strip()
            people = found[-1][0] if plain in {"he", "she", "they", ""} else set(plain.split(" and "))
            found.append((people, place))
    return found


def where_is_actor(facts: list[str], question: str) -> str:
    (actor,) = groups(r"Where is (\w+)\?", question)
    return next(place for people, place in reversed(moves(facts)) if actor in people)


def where_is_object(facts: list[str], question: str) -> str:
    (thing,) = groups(r"Where is the (\w+)\?", question)
    return carried(facts, thing)[-1]


def where_was_object(facts: list[str], question: str) -> str:
    thing, place = groups(r"Where was the (\w+) before the (\w+)\?", question)
    trail = carried(facts, thing)
    assert trail[-1] == place
    return trail[-2]


def carried(facts: list[str], thing: str) -> list[str]:
    """The known places of an object while somebody carried it."""
    trail: list[str] = []
    for end in range(len(facts)):
        told = facts[: end + 1]
        handled = [
            fact for fact in told if (match := GET.match(fact) or DROP.match(fact)) and match[2] == thing
        ]
        if not handled or not GET.match(handled[-1]):
            continue
        holder = handled[-1].split()[0]
        places = [place for people, place in moves(told) if holder in people]
        if places and trail[-1:] != places[-1:]:
            trail.append(places[-1])
    return trail


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
    if asked := re.match(r"What did (\w+) give to (\w+) last\?", question):
        return next(gift[2] for gift in gifts if gift[:2] == asked.groups())
    if asked := re.match(r"Who received the (\w+) last\?", question):
        return next(gift[1] for gift in gifts if gift[2] == asked[1])
    asked_of = groups(r"Who did (\w+) give the (\w+) to last\?", question)
    return next(gift[1] for gift in gifts if (gift[0], gift[2]) == asked_of)


def is_actor_there(facts: list[str], question: str) -> str:
    actor, place = groups(r"Is (\w+) in the (\w+)\?", question)
    return "yes" if where_is_actor(facts, f"Where is {actor}?") == place else "no"


def holdings(facts: list[str], actor: str) -> list[str]:
    held: list[str] = []
    for fact in facts:
        if (match := GET.match(fact)) and match[1] == actor:
            held.append(match[2])
        elif (match := GIVE.match(fact)) and match[2] == actor:
            held.append(match[3])
        elif (match := DROP.match(fact)) and match[1] == actor:
            held.remove(match[2])
        elif (match := GIVE.match(fact)) and match[1] == actor:
            held.remove(match[3])
    return sorted(held)


def counting(facts: list[str], question: str) -> str:
    (actor,) = groups(r"How many objects is (\w+) holding\?", question)
    return ("none", "one", "two", "three")[len(holdings(facts, actor))]


def listing(facts: list[str], question: str) -> str:
    (actor,) = groups(r"What is (\w+) holding\?", question)
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
    possible: set[str] = set()
    for fact in facts:
        if not fact.startswith(f"{actor} "):
            continue
        if either := re.match(r".* either in the (\w+) or in the (\w+)$", fact):
            possible = possible & set(either.groups()) or set(either.groups())
        else:
            possible = {fact.split()[-1]}
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
    told = [groups("The (.+) is bigger than the (.+)$", fact) for fact in facts]

    def bigger(first: str, second: str) -> bool:
        return any(first == large and (small == second or bigger(small, second)) for large, small in told)

    if asked := re.match(r"Is the (.+) bigger than (.+)\?", question):
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
    start, goal = groups(r"What is the path from the (\w+) to the (\w+)\?", question)
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
