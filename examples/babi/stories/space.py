"""Tasks about positions and sizes: 4, 17, 18 and 19."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

from .text import Story
from .world import PLACES

Cell = tuple[int, int]  # steps to the east, steps to the north

STEPS: dict[str, Cell] = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


def _step(cell: Cell, direction: str) -> Cell:
    east, north = STEPS[direction]
    return cell[0] + east, cell[1] + north


def _told(rng: Random, first: str, direction: str, second: str) -> str:
    """The first place lies in this direction of the second: told so, or the other way round."""
    if rng.random() < 0.5:
        first, direction, second = second, OPPOSITE[direction], first
    return f"the {first} is {direction} of the {second}"


def is_direction(rng: Random) -> Story:
    """Task 4: three places in a line; what lies in some direction of the second place of a fact.

    Two facts in three name the middle place second. The published generator asks for the second place of a
    fact too, which the public data set never does: where the place asked about stands in both facts, the
    answer then is the parity of both wordings and both directions, and a memory network tosses a coin.
    """
    story = Story()
    direction = rng.choice(tuple(STEPS))
    middle, *ends = rng.sample(PLACES, 3)
    facts = []
    for end, side in zip(ends, (direction, OPPOSITE[direction]), strict=True):
        facts.append((end, side, middle) if rng.random() < 2 / 3 else (middle, OPPOSITE[side], end))
    lines = [story.tell(f"the {first} is {side} of the {second}") for first, side, second in facts]
    support = rng.randrange(2)
    first, side, second = facts[support]
    question = rng.choice((f"what is {side} of the {second}", f"what is the {second} {OPPOSITE[side]} of"))
    story.ask(question, first, [lines[support]])
    return story


COLOURS = ("red", "blue", "pink", "yellow")
SHAPES = ("square", "rectangle", "triangle", "sphere")
# wording -> axis and sign of the difference of the cells, first minus second
RELATIONS = {"above": (1, 1), "below": (1, -1), "to the right of": (0, 1), "to the left of": (0, -1)}


def _figures(rng: Random) -> list[str]:
    """Three different figures; a bare shape must not be that of a figure drawn before."""
    figures: list[str] = []
    while len(figures) < 3:
        shape = rng.choice(SHAPES)
        colour = rng.choice(("", *COLOURS))
        figure = f"{colour} {shape}".strip()
        if figure not in figures and (colour or not any(drawn.endswith(shape) for drawn in figures)):
            figures.append(figure)
    return figures


def positional_reasoning(rng: Random) -> Story:
    """Task 17: three figures, each a step from the one before; eight questions on how two of them lie.

    Half of the questions are about what is true.
    """
    story = Story()
    figures = _figures(rng)
    cells = {figures[0]: (0, 0)}
    lines = []
    for before, figure in pairwise(figures):
        cells[figure] = _step(cells[before], rng.choice(tuple(STEPS)))
        first, second = rng.sample((before, figure), 2)
        lines.append(story.tell(f"the {first} is {_relation(rng, cells[first], cells[second])} the {second}"))
    pairs = [pair for pair in permutations(figures, 2) if cells[pair[0]] != cells[pair[1]]]
    for _ in range(8):
        pair = rng.choice(pairs)
        true = rng.random() < 0.5
        relation = _relation(rng, *(cells[figure] for figure in (pair if true else reversed(pair))))
        story.ask(f"is the {pair[0]} {relation} the {pair[1]}", "yes" if true else "no", lines)
    return story


def _relation(rng: Random, first: Cell, second: Cell) -> str:
    """One of the relations in which the first cell stands to the second."""
    difference = first[0] - second[0], first[1] - second[1]
    return rng.choice([words for words, (axis, sign) in RELATIONS.items() if difference[axis] * sign > 0])


THINGS = ("suitcase", "container", "box", "chest", "box of chocolates", "chocolate")


def size(rng: Random) -> Story:
    """Task 18: five facts of what is bigger or fits inside, told again or not, and five questions about pairs
    that two facts tell apart; five facts more where there are none.

    The last two things are smaller than all others in every story: what they are asked about is answered
    without reading it.
    """
    story = Story()
    sizes = {thing: 1 + rng.random() for thing in THINGS[:4]} | {"box of chocolates": 1.0, "chocolate": 0.5}
    facts: list[tuple[str, str]] = []
    chains: list[tuple[int, int]] = []
    while not chains:
        for _ in range(5):
            small, big = sorted(rng.sample(THINGS, 2), key=sizes.__getitem__)
            facts.append((big, small))
            story.tell(
                rng.choice((f"the {big} is bigger than the {small}", f"the {small} fits inside the {big}"))
            )
        chains = [
            pair for pair in permutations(range(len(facts)), 2) if facts[pair[0]][1] == facts[pair[1]][0]
        ]
    for _ in range(5):
        upper, lower = rng.choice(chains)
        big, small = facts[upper][0], facts[lower][1]
        first, second, answer = rng.choice(((big, small, "yes"), (small, big, "no")))
        story.ask(
            rng.choice((f"is the {first} bigger than the {second}", f"does the {second} fit in the {first}")),
            answer,
            [1 + upper, 1 + lower],
        )
    return story


def path_finding(rng: Random) -> Story:
    """Task 19: the two steps that lead from a place to another, among five facts.

    "The A is north of the B" makes the step from A to B one to the south.
    """
    story = Story()
    start, between, goal, *decoys = rng.sample(PLACES, 6)
    directions = [rng.choice(tuple(STEPS))]
    directions.append(rng.choice([step for step in STEPS if step != OPPOSITE[directions[0]]]))
    cells = {start: (0, 0)}
    facts = []
    for place, following, direction in zip((start, between), (between, goal), directions, strict=True):
        cells[following] = _step(cells[place], direction)
        facts.append((following, direction, place))
    for decoy in decoys:
        while True:
            place, direction = rng.choice(list(cells)), rng.choice(tuple(STEPS))
            cell = _step(cells[place], direction)
            # A neighbour of both ends would open a second path.
            second_path = all(cell in [_step(cells[end], step) for step in STEPS] for end in (start, goal))
            if cell not in cells.values() and not second_path:
                break
        cells[decoy] = cell
        facts.append((decoy, direction, place))
    order = rng.sample(range(5), 5)
    for fact in order:
        story.tell(_told(rng, *facts[fact]))
    answer = ",".join(direction[0] for direction in directions)
    story.ask(
        f"how do you go from the {start} to the {goal}", answer, [1 + order.index(fact) for fact in (0, 1)]
    )
    return story
