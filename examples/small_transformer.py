"""The small language model of the comparisons: a causal Transformer over characters, on the ops of fastnorm.

It learns the reference of the Python language, which every Python brings with it (``pydoc_data.topics``).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from numpy.typing import NDArray
from support import (
    check_picture,
    difference,
    diverged,
    doubtful,
    p_value,
    progress,
    rate,
    require,
    table,
    whole,
)

Array = NDArray[Any]
Norm = tuple[Any, dict[str, Any]]  # an op and its keywords

CHARACTERS = 128  # of ASCII; what lies beyond counts as "?"
HELD_OUT = 10  # one topic of so many is kept for testing
FULL_SEEDS, FULL_STEPS = 5, 500  # of a long comparison


def text() -> tuple[Array, Array]:
    """Return the characters of the reference to learn from, and those that are held out."""
    from pydoc_data.topics import topics

    parts: tuple[list[str], list[str]] = ([], [])
    for number, name in enumerate(sorted(topics)):
        parts[number % HELD_OUT == 0].append(topics[name])
    learned, held_out = ("\n".join(part).encode("ascii", "replace") for part in parts)
    return np.frombuffer(learned, np.uint8), np.frombuffer(held_out, np.uint8)


class FeedForward:
    """Two dense layers around an activation, or three where it is a gate, with as many parameters.

    Parameters
    ----------
    kind : str
        An activation of `fastnorm.linear`, or the gate of `fastnorm.gated_linear` after ``"gated "``.
    dim : int
        Of the stream. The hidden layer has ``4 * dim`` units, a gated one two thirds of these.
    """

    def __init__(self, kind: str, dim: int) -> None:
        """Take the kind apart."""
        self.gated = kind.startswith("gated ")
        name = kind.removeprefix("gated ")
        self.kind: Any = None if name == "none" else name
        hidden = round(8 * dim / 3) if self.gated else 4 * dim
        self.shapes = [(dim, hidden)] * (2 if self.gated else 1) + [(hidden, dim)]

    def __call__(
        self, x: Array, weights: Sequence[Array]
    ) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
        """Return the result, and what pulls its gradient back to those of x and of the weights."""
        if self.gated:
            inner, pull_in = fastnorm.vjp(fastnorm.gated_linear, x, *weights[:2], gate=self.kind)
        else:
            inner, pull_in = fastnorm.vjp(fastnorm.linear, x, weights[0], activation=self.kind)
        y, pull_out = fastnorm.vjp(fastnorm.linear, inner, weights[-1])

        def pull(dy: Array) -> tuple[Array, Any]:
            dinner, dlast, _ = pull_out(dy)
            dx, *found = pull_in(dinner)
            return dx, [*found[: len(weights) - 1], dlast]

        return y, pull


class SmallTransformer:
    """Pre-norm blocks of attention and feed-forward between embeddings and a classifier of characters.

    Parameters
    ----------
    norm : (op, dict)
        One of fastnorm's norms, and its keywords.
    feed_forward : str
        See `FeedForward`.
    layers, dim, heads, tokens : int
        Sizes; `tokens` is the length of the texts.
    seed : int
        Of the weights.
    """

    def __init__(
        self,
        norm: Norm = (fastnorm.rms_norm, {}),
        feed_forward: str = "gated swish",
        *,
        layers: int = 2,
        dim: int = 96,
        heads: int = 4,
        tokens: int = 64,
        seed: int = 0,
    ) -> None:
        """Draw the weights."""
        self.op, self.keywords = norm
        self.layers, self.dim, self.heads, self.tokens = layers, dim, heads, tokens
        self.feed_forward = FeedForward(feed_forward, dim)
        self.mask = np.tril(np.ones((tokens, tokens), bool))  # a character sees itself and those before it
        rng = np.random.default_rng(seed)

        def weight(rows: int, cols: int, size: float = 1.0) -> Array:
            return (rng.standard_normal((rows, cols)) * size / np.sqrt(rows)).astype(np.float32)

        # What is added to the stream is smaller the more blocks add to it.
        small = (2 * layers) ** -0.5
        self.parameters: dict[str, Array] = {
            "characters": weight(CHARACTERS, dim, CHARACTERS**0.5 / 4),
            "places": weight(tokens, dim, tokens**0.5 / 4),
        }
        for layer in range(layers):
            block = {"qkv": weight(dim, 3 * dim), "out": weight(dim, dim, small)}
            for number, shape in enumerate(self.feed_forward.shapes):
                last = number == len(self.feed_forward.shapes) - 1
                block[f"ff{number}"] = weight(*shape, small if last else 1.0)
            self.parameters |= {f"{layer}.{name}": array for name, array in block.items()}
        self.parameters["classifier"] = weight(dim, CHARACTERS)
        self.norms = [f"{layer}.{name}" for layer in range(layers) for name in ("norm1", "norm2")] + ["norm"]
        for name in self.norms:
            self.parameters[f"{name}.weight"] = np.ones(dim, np.float32)
            if self.op is fastnorm.layer_norm:
                self.parameters[f"{name}.bias"] = np.zeros(dim, np.float32)

    def _norm(self, name: str, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        arrays = [
            self.parameters[f"{name}.{part}"]
            for part in ("weight", "bias")
            if f"{name}.{part}" in self.parameters
        ]
        y, pull = fastnorm.vjp(self.op, x, *arrays, **self.keywords)

        def pulled(dy: Array) -> Array:
            dx, *found = pull(dy)
            for part, gradient in zip(("weight", "bias"), found[: len(arrays)], strict=False):
                self._found[f"{name}.{part}"] = gradient
            return dx

        return y, pulled

    def _attention(self, layer: int, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        p, batch, tokens = self.parameters, len(x), x.shape[1]
        qkv, pull_qkv = fastnorm.vjp(fastnorm.linear, x, p[f"{layer}.qkv"])
        # Heads are views: no op needs them to be contiguous.
        parts = qkv.reshape(batch, tokens, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        read, pull_read = fastnorm.vjp(fastnorm.attention, *parts, mask=self.mask[:tokens, :tokens])
        joined = read.swapaxes(1, 2).reshape(batch, tokens, -1)
        y, pull_out = fastnorm.vjp(fastnorm.linear, joined, p[f"{layer}.out"])

        def pull(dy: Array) -> Array:
            djoined, self._found[f"{layer}.out"], _ = pull_out(dy)
            dparts = pull_read(djoined.reshape(batch, tokens, self.heads, -1).swapaxes(1, 2))
            dqkv = np.stack(dparts).transpose(1, 3, 0, 2, 4).reshape(batch, tokens, -1)
            dx, self._found[f"{layer}.qkv"], _ = pull_qkv(dqkv)
            return dx

        return y, pull

    def _forward(self, x: Array) -> tuple[Array, Callable[[Array], None]]:
        p = self.parameters
        one_hot = np.zeros((*x.shape, CHARACTERS), p["characters"].dtype)
        np.put_along_axis(one_hot, x[..., None].astype(np.intp), 1, axis=-1)
        embedded, pull_embedded = fastnorm.vjp(fastnorm.linear, one_hot, p["characters"])
        h = embedded + p["places"][: x.shape[1]]
        pulls: list[tuple[Callable[[Array], Array], Callable[[Array], Array]]] = []
        for layer in range(self.layers):
            for number, part in ((1, self._attention), (2, self._feed_forward)):
                normed, pull_norm = self._norm(f"{layer}.norm{number}", h)
                update, pull_update = part(layer, normed)
                pulls.append((pull_norm, pull_update))
                h = h + update
        y, pull_last = self._norm("norm", h)

        def pull(dy: Array) -> None:
            dh = pull_last(dy)
            for pull_norm, pull_update in reversed(pulls):
                dh = dh + pull_norm(pull_update(dh))
            self._found["places"] = dh.sum(axis=0)
            self._found["characters"] = pull_embedded(dh)[1]

        return y, pull

    def _feed_forward(self, layer: int, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        names = [f"{layer}.ff{number}" for number in range(len(self.feed_forward.shapes))]
        y, pull_all = self.feed_forward(x, [self.parameters[name] for name in names])

        def pull(dy: Array) -> Array:
            dx, found = pull_all(dy)
            self._found |= dict(zip(names, found, strict=True))
            return dx

        return y, pull

    def loss(self, x: Array) -> float:
        """Return the mean cross entropy of the characters of texts, each given those before it, in nats."""
        y, _ = self._forward(x[:, :-1])
        return float(fastnorm.linear_cross_entropy(y, self.parameters["classifier"], x[:, 1:]))

    def gradients(self, x: Array) -> tuple[float, dict[str, Array]]:
        """Return the loss and its gradients by the names of the parameters."""
        self._found: dict[str, Array] = {}
        y, pull = self._forward(x[:, :-1])
        loss, dy, self._found["classifier"], _ = fastnorm.linear_cross_entropy(
            y, self.parameters["classifier"], x[:, 1:], return_grad=True
        )
        pull(dy)
        return float(loss), self._found


class Training:
    """Steps of Adam on random pieces of the text; two of one seed see the same pieces.

    Parameters
    ----------
    model : SmallTransformer
        What is trained.
    characters : ndarray
        The text.
    steps, batch, lr
        How many, pieces a step, the highest rate: it rises over a twentieth of the steps and falls to 0.
    seed : int
        Of the pieces.
    """

    def __init__(
        self, model: SmallTransformer, characters: Array, *, steps: int, batch: int, lr: float, seed: int
    ) -> None:
        """Take the settings."""
        self.model, self.characters, self.steps, self.batch, self.lr = model, characters, steps, batch, lr
        self.rng = np.random.default_rng(seed)
        self.adam = fastnorm.Adam(lr=lr)
        self.losses: list[float] = []

    def step(self) -> float:
        """Take a step and return its loss."""
        done, warmup = len(self.losses), max(1, self.steps // 20)
        self.adam.lr = self.lr * min((done + 1) / warmup, 1 - done / self.steps)
        loss, found = self.model.gradients(pieces(self.rng, self.characters, self.batch, self.model.tokens))
        self.adam.update(
            list(self.model.parameters.values()), [found[name] for name in self.model.parameters]
        )
        self.losses.append(loss)
        return loss


def pieces(rng: np.random.Generator, characters: Array, count: int, tokens: int) -> Array:
    """Return random pieces of a text, each of one character more than a model reads."""
    starts = rng.integers(0, len(characters) - tokens, count)
    return characters[starts[:, None] + np.arange(tokens + 1)]


def held_out_loss(model: SmallTransformer, characters: Array, count: int = 256) -> float:
    """Return the loss on pieces of a text that are always the same."""
    return model.loss(pieces(np.random.default_rng(0), characters, count, model.tokens))


@dataclass
class Results:
    """What the seeds of one variant came to."""

    curves: list[list[float]] = field(default_factory=list)
    training: list[float] = field(default_factory=list)  # mean loss of the last tenth of the steps
    held_out: list[float] = field(default_factory=list)


def add_options(parser: argparse.ArgumentParser, picture: str) -> None:
    """Add what every comparison takes, but for the seeds, to the options of its command line."""
    parser.add_argument(
        "--steps", type=whole(1), default=150, help="steps of training (default: %(default)s)"
    )
    parser.add_argument("--batch", type=whole(1), default=8, help="texts a step (default: %(default)s)")
    parser.add_argument("--dim", type=whole(1), default=96, help="width of the model (default: %(default)s)")
    parser.add_argument("--lr", type=rate, default=3e-3, help="learning rate of Adam (default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=Path(picture), help="the picture (default: %(default)s)")


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Find before the work what would stop it at the end."""
    check_picture(parser, options.plot)
    if options.seeds > 1:
        require("scipy.stats")  # for the p-values


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `compare` that the options hold."""
    return {name: getattr(options, name) for name in ("seeds", "steps", "batch", "lr", "dim")}


def compare(
    variants: Mapping[str, Mapping[str, Any]], *, seeds: int, steps: int, batch: int, lr: float, dim: int
) -> dict[str, Results]:
    """Train a model of each variant, the arguments of `SmallTransformer`, from each seed."""
    learned, held_out = text()
    results = {name: Results() for name in variants}
    runs = itertools.product(range(seeds), variants.items(), range(steps))
    for seed, (name, variant), step in progress(runs, "steps", seeds * len(variants) * steps):
        if step == 0:
            model = SmallTransformer(**variant, dim=dim, seed=seed)
            training = Training(model, learned, steps=steps, batch=batch, lr=lr, seed=seed)
        training.step()
        if step == steps - 1:
            result = results[name]
            result.curves.append(training.losses)
            result.training.append(float(np.mean(training.losses[-max(1, steps // 10) :])))
            result.held_out.append(held_out_loss(model, held_out))
    return results


def show(results: Mapping[str, Results], baseline: str) -> None:
    """Print losses, and how they differ from those of a variant, seed by seed, where none diverged."""
    seeds = len(results[baseline].training)
    others = [name for name in results if name != baseline]
    reference = np.array(results[baseline].held_out)
    ps = [p_value(np.array(results[name].held_out), reference) for name in others] if seeds > 1 else []
    doubts = dict(zip(others, zip(ps, doubtful(ps), strict=True), strict=False))
    rows = []
    for name, result in results.items():
        held_out = np.array(result.held_out)
        row = [name, spread(result.training), spread(result.held_out), "", "", diverged(held_out)]
        if name in doubts and not diverged(held_out, reference):
            mean, error = difference(held_out, reference)
            p, doubt = doubts[name]
            says = "no difference that shows" if doubt else "better" if mean < 0 else "worse"
            row[3:] = [f"{mean:+.4f} ± {error:.4f}", f"{p:.1g}", says]
        rows.append(row)
    table(["", "training loss", "held-out loss", f"held-out over {baseline}", "p", ""], rows)


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    several = len(values) > 1 and np.isfinite(values).all()
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if several else "")
