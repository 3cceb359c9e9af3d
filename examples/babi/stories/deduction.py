"""Tasks that draw conclusions: 15, 16 and 20."""

from __future__ import annotations

from random import Random

from .text import Story
from .world import GETS, MOVES

PLURALS = {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "cat": "cats"}
OWNERS = ("Gertrude", "Winona", "Jessica", "Emily")


def deduction(rng: Random) -> Story:
    """Task 15: what somebody is afraid of, from what she is and what her kind is afraid of."""
    story = Story()
    kinds = dict(zip(OWNERS, rng.sample(tuple(PLURALS), 4), strict=True))
    fears = {kind: rng.choice([other for other in PLURALS if other != kind]) for kind in PLURALS}
    facts = {name: f"{name} is a {kind}" for name, kind in kinds.items()}
    facts |= {kind: f"{PLURALS[kind]} are afraid of {PLURALS[fear]}" for kind, fear in fears.items()}
    lines = {key: story.tell(facts[key]) for key in rng.sample(list(facts), len(facts))}
    for name in rng.sample(OWNERS, len(OWNERS)):
        story.ask(f"what is {name} afraid of", fears[kinds[name]], [lines[name], lines[kinds[name]]])
    return story


ANIMALS = ("swan", "lion", "frog", "rhino")
COLOURS = ("gray", "white", "yellow", "green")
PETS = ("Lily", "Bernhard", "Greg", "Julius", "Brian")


def induction(rng: Random) -> Story:
    """Task 16: the colour of somebody, from that of another of his kind."""
    story = Story()
    colours = dict(zip(ANIMALS, rng.sample(COLOURS, 4), strict=True))
    animals = {name: rng.choice(ANIMALS) for name in PETS}
    alike = {
        name: [other for other in PETS if other != name and animals[other] == animals[name]] for name in PETS
    }
    asked = rng.choice([name for name in PETS if alike[name]])
    facts = {(name, "animal"): f"{name} is a {animals[name]}" for name in PETS}
    facts |= {(name, "colour"): f"{name} is {colours[animals[name]]}" for name in PETS if name != asked}
    lines = {key: story.tell(facts[key]) for key in rng.sample(list(facts), len(facts))}
    same = rng.choice(alike[asked])
    support = lines[asked, "animal"], lines[same, "animal"], lines[same, "colour"]
    story.ask(f"what color is {asked}", colours[animals[asked]], support)
    return story


ACTORS = ("Jason", "Antoine", "Sumit", "Yann")
# what somebody feels -> where that takes him and what he gets there
MOTIVES = {
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
    "bored": ("garden", "football"),
    "tired": ("bedroom", "pajamas"),
}


def motivations(rng: Random) -> Story:
    """Task 20: where somebody will go who feels so, and why he went and got what he did."""
    story = Story()
    feelings = dict(zip(ACTORS, rng.sample(tuple(MOTIVES), 4), strict=True))
    turns = [actor for actor in ACTORS for _ in range(3)]
    rng.shuffle(turns)
    felt: dict[str, int] = {}  # person -> the line that tells what he feels
    went: set[str] = set()
    for actor in turns:
        feeling = feelings[actor]
        place, thing = MOTIVES[feeling]
        if actor not in felt:
            felt[actor] = story.tell(f"{actor} is {feeling}")
            story.ask(f"where will {actor} go", place, [felt[actor]])
        elif actor not in went:
            went.add(actor)
            story.tell(f"{actor} {rng.choice(MOVES)} the {place}")
            story.ask(f"why did {actor} go to the {place}", feeling, [felt[actor]])
        else:
            story.tell(f"{actor} {rng.choice(GETS)} the {thing} there")
            story.ask(f"why did {actor} get the {thing}", feeling, [felt[actor]])
    return story
