"""A network of PyTorch, trained in fastnorm
=========================================

Q-learning of a pole on a cart with a small network, as one writes it in PyTorch, and the same loop with
``fastnorm.torch.adopt``, which trains the module's parameters where they lie.
::

    pip install fastnorm-kernels[torch,examples,progress]
    python examples/torch_adopt.py --steps 6000

Small networks on small batches spend their time between the operations. Both loops are the same but for what
acts and learns; from equal weights and equal batches both have equal losses, to rounding, which the program
checks first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray
from support import COLOURS, SEED, check_picture, draw, installed_by, progress, require, table, whole

with installed_by("torch"):
    import torch
    from fastnorm.torch import adopt
    from torch import nn

Array = NDArray[np.float32]

DISCOUNT, RATE, BATCH, FIRST, LONGEST = 0.98, 1e-3, 64, 500, 300
AGREEMENT = 1e-3  # of losses, relative, over the steps that are compared


class Pole:
    """A pole on a cart (Barto, Sutton and Anderson, 1983): position, speed, angle and its speed."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Set it up."""
        self.rng = rng
        self.start()

    def start(self) -> Array:
        """Begin again, nearly upright."""
        self.state = self.rng.uniform(-0.05, 0.05, 4)
        self.time = 0
        return self.state.astype(np.float32)

    def push(self, right: int) -> tuple[Array, bool]:
        """Push for a fiftieth of a second; return the state, and whether the pole has fallen."""
        _, speed, angle, turn = self.state
        force, sine, cosine = (10.0 if right else -10.0), np.sin(angle), np.cos(angle)
        part = (force + 0.05 * turn * turn * sine) / 1.1
        turning = (9.8 * sine - cosine * part) / (0.5 * (4 / 3 - 0.1 * cosine * cosine / 1.1))
        moving = part - 0.05 * turning * cosine / 1.1
        self.state = self.state + 0.02 * np.array([speed, moving, turn, turning])
        self.time += 1
        return self.state.astype(np.float32), abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.21


class InTorch:
    """Values of both actions, and learning, as written in PyTorch."""

    def __init__(self, module: Any) -> None:
        """Take the module that learns."""
        self.module = module
        self.optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)

    def values(self, states: Array) -> Array:
        """Return the values of both actions."""
        with torch.no_grad():
            values: Array = self.module(torch.from_numpy(states)).numpy()
        return values

    def learn(self, states: Array, targets: Array) -> float:
        """Take a step and return its loss."""
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.module(torch.from_numpy(states)), torch.from_numpy(targets))
        loss.backward()
        self.optimizer.step()
        return float(loss.item())


class Adopted:
    """The same with the module's parameters in the hands of fastnorm."""

    def __init__(self, module: Any) -> None:
        """Take the module that learns."""
        self.mlp = adopt(module)
        self.optimizer = fastnorm.Adam(lr=RATE)

    def values(self, states: Array) -> Array:
        """Return the values of both actions."""
        return self.mlp(states)

    def learn(self, states: Array, targets: Array) -> float:
        """Take a step and return its loss."""
        return self.mlp.step(states, targets, optimizer=self.optimizer)


LEARNERS: dict[str, Callable[[Any], Any]] = {"PyTorch": InTorch, "fastnorm": Adopted}


def network(seed: int) -> Any:
    """Return the module that learns."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def largest_difference(seed: int, steps: int = 50) -> float:
    """Return how far the losses of both are apart, relative, on equal batches from equal weights."""
    rng = np.random.default_rng(seed)
    learners = [make(network(seed)) for make in LEARNERS.values()]
    largest = 0.0
    for _ in range(steps):
        states, targets = rng.standard_normal((2, BATCH, 4)).astype(np.float32)
        ours, theirs = (learner.learn(states, np.ascontiguousarray(targets[:, :2])) for learner in learners)
        largest = max(largest, abs(ours - theirs) / theirs)
    return largest


def train(name: str, steps: int, seed: int) -> tuple[Any, list[int], float]:
    """Return the trained module, the lengths of the episodes, and the seconds of acting and learning."""
    module, rng = network(seed), np.random.default_rng(seed)
    learner, pole = LEARNERS[name](module), Pole(rng)
    states, after = np.zeros((2, steps, 4), np.float32)
    actions, fallen = np.zeros(steps, np.intp), np.zeros(steps, bool)
    lengths, seconds, state = [], 0.0, pole.start()
    rows = np.arange(BATCH)
    for i in progress(range(steps), name):
        begun = time.perf_counter()
        explores = i < FIRST or rng.random() < max(0.05, 1 - i / (0.5 * steps))
        action = int(rng.integers(2)) if explores else int(learner.values(state[None])[0].argmax())
        seconds += time.perf_counter() - begun
        following, has_fallen = pole.push(action)
        states[i], after[i], actions[i], fallen[i] = state, following, action, has_fallen
        state = following
        if has_fallen or pole.time == LONGEST:
            lengths.append(pole.time)
            state = pole.start()
        if i >= FIRST:
            begun = time.perf_counter()
            batch = rng.integers(i, size=BATCH)
            wanted = learner.values(states[batch])
            best = learner.values(after[batch]).max(axis=1)
            wanted[rows, actions[batch]] = 1 + DISCOUNT * best * ~fallen[batch]
            learner.learn(states[batch], wanted)
            seconds += time.perf_counter() - begun
    return module, lengths, seconds


def held_up(module: Any, seed: int, episodes: int = 20) -> float:
    """Return for how many pushes a module holds the pole up, in PyTorch, whoever has trained it."""
    pole, pushes = Pole(np.random.default_rng(seed)), 0
    for _ in range(episodes):
        state, has_fallen = pole.start(), False
        while not has_fallen and pole.time < LONGEST:
            with torch.no_grad():
                action = int(module(torch.from_numpy(state)).argmax())
            state, has_fallen = pole.push(action)
        pushes += pole.time
    return pushes / episodes


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both loops; the exit status is 1 where their losses differ by more than rounding."""
    parser = argparse.ArgumentParser(description="A network of PyTorch, trained in fastnorm.")
    parser.add_argument("--steps", type=whole(FIRST + 1), default=6000, help="pushes (default: %(default)s)")
    parser.add_argument("--seed", type=SEED, default=0, help="default: %(default)s")
    parser.add_argument(
        "--plot", type=Path, default=Path("torch_adopt.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    check_picture(parser, options.plot)
    require("matplotlib")
    torch.set_num_threads(1)
    fastnorm.set_num_threads(1)

    apart = largest_difference(options.seed)
    print(f"losses of equal batches from equal weights differ by at most {apart:.1e} of them\n")
    lengths, rows, taken = {}, [], {}
    for name in LEARNERS:
        module, lengths[name], taken[name] = train(name, options.steps, options.seed)
        held = f"{held_up(module, options.seed):.0f} of {LONGEST}"
        rows.append([name, f"{1e6 * taken[name] / options.steps:.0f} us", held])
    table(["", "acting and learning, a push", "held up, in PyTorch"], rows)
    print(f"\nfastnorm takes 1 / {taken['PyTorch'] / taken['fastnorm']:.1f} of the time\n")

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        for width, (name, found) in zip((3, 0.8), lengths.items(), strict=True):
            left.plot(np.cumsum(found), found, lw=width, label=name)
        left.set(title="how long the pole stood", xlabel="pushes so far", ylabel="pushes of an episode")
        left.legend()
        costs = [1e6 * seconds / options.steps for seconds in taken.values()]
        right.bar(list(taken), costs, color=COLOURS[: len(costs)])
        right.set(title="microseconds a push")

    draw(options.plot, (8, 3.4), paint, "both learn alike, until rounding parts them, in different times")
    return 0 if apart < AGREEMENT else 1


if __name__ == "__main__":
    sys.exit(main())

# sphinx_gallery_thumbnail_path = "gallery_results/torch_adopt.svg"
