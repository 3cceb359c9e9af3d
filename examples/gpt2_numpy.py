"""GPT-2, in NumPy alone and with fastnorm
========================================

The same network twice, side by side: as a program in NumPy is written, and with the ops of fastnorm in its
place. Weights are random, of the shapes of GPT-2 small (124 million), since it is the arithmetic that is
compared: both read a prompt, and go on from it token by token with a cache of keys and values::

    pip install fastnorm-kernels[examples]
    python examples/gpt2_numpy.py
    python examples/gpt2_numpy.py --layers 2 --dim 128 --heads 4 --vocabulary 1000  # a second
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from numpy.typing import NDArray
from support import SEED, check_picture, draw, require, table, whole

Array = NDArray[Any]
Weights = dict[str, Array]


class Sizes(NamedTuple):
    """Those of GPT-2 small."""

    layers: int = 12
    dim: int = 768
    heads: int = 12
    vocabulary: int = 50257
    places: int = 1024


class Cache:
    """Keys and values of the tokens that were read, for each layer."""

    def __init__(self, sizes: Sizes, capacity: int) -> None:
        """Make room for so many tokens."""
        shape = (sizes.layers, 2, sizes.heads, capacity, sizes.dim // sizes.heads)
        self.memory = np.zeros(shape, np.float32)
        self.length = 0

    def extended(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Return all keys and values of a layer with those of new tokens, which come last."""
        end = self.length + keys.shape[1]
        for kept, new in zip(self.memory[layer], (keys, values), strict=True):
            kept[:, self.length : end] = new
        return self.memory[layer, 0, :, :end], self.memory[layer, 1, :, :end]


def random_weights(sizes: Sizes, seed: int = 0) -> Weights:
    """Return weights of the size that GPT-2 begins its training with; biases and norms vary too."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int, mean: float = 0.0, deviation: float = 0.02) -> Array:
        array = rng.standard_normal(shape, np.float32)
        array *= np.float32(deviation)
        array += np.float32(mean)
        return array

    dim = sizes.dim
    weights = {"tokens": drawn(sizes.vocabulary, dim), "places": drawn(sizes.places, dim)}
    for layer in range(sizes.layers):
        for name, shape in {
            "qkv": (dim, 3 * dim),
            "out": (dim, dim),
            "up": (dim, 4 * dim),
            "down": (4 * dim, dim),
        }.items():
            weights[f"{layer}.{name}"] = drawn(*shape)
            weights[f"{layer}.{name}.bias"] = drawn(shape[1])
    for number in range(2 * sizes.layers + 1):
        weights[f"norm{number}"] = drawn(dim, mean=1.0)
        weights[f"norm{number}.bias"] = drawn(dim)
    return weights


# ---- NumPy alone


def numpy_layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Return normalised rows."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + np.float32(1e-5)) * weight + bias


def numpy_gelu(x: Array) -> Array:
    """Return GPT-2's GELU, that of the tanh."""
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)))


def numpy_attention(query: Array, keys: Array, values: Array) -> Array:
    """Return what queries at the end of the keys read."""
    scores = query @ keys.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
    queries, slots = scores.shape[-2:]
    scores = np.where(np.tri(queries, slots, slots - queries, dtype=bool), scores, np.float32(-1e10))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ values


def numpy_gpt2(w: Weights, sizes: Sizes, ids: Array, cache: Cache) -> Array:
    """Return the scores of what follows the last of some tokens."""
    h = w["tokens"][ids] + w["places"][cache.length : cache.length + len(ids)]
    for layer in range(sizes.layers):
        x = numpy_layer_norm(h, w[f"norm{2 * layer}"], w[f"norm{2 * layer}.bias"])
        qkv = x @ w[f"{layer}.qkv"] + w[f"{layer}.qkv.bias"]
        query, keys, values = qkv.reshape(len(ids), 3, sizes.heads, -1).transpose(1, 2, 0, 3)
        read = numpy_attention(query, *cache.extended(layer, keys, values))
        joined = read.swapaxes(0, 1).reshape(len(ids), sizes.dim)
        h = h + joined @ w[f"{layer}.out"] + w[f"{layer}.out.bias"]
        x = numpy_layer_norm(h, w[f"norm{2 * layer + 1}"], w[f"norm{2 * layer + 1}.bias"])
        inner = numpy_gelu(x @ w[f"{layer}.up"] + w[f"{layer}.up.bias"])
        h = h + inner @ w[f"{layer}.down"] + w[f"{layer}.down.bias"]
    cache.length += len(ids)
    last = numpy_layer_norm(h[-1:], w[f"norm{2 * sizes.layers}"], w[f"norm{2 * sizes.layers}.bias"])
    return (last @ w["tokens"].T)[0]


# ---- with fastnorm


def fastnorm_gpt2(w: Weights, sizes: Sizes, ids: Array, cache: Cache) -> Array:
    """Return the same: a sum and the norm after it are one op, a layer and its activation another."""
    h = fastnorm.embedding(ids, w["tokens"]) + w["places"][cache.length : cache.length + len(ids)]
    x = fastnorm.layer_norm(h, w["norm0"], w["norm0.bias"])
    for layer in range(sizes.layers):
        qkv = fastnorm.linear(x, w[f"{layer}.qkv"], w[f"{layer}.qkv.bias"])
        query, keys, values = qkv.reshape(len(ids), 3, sizes.heads, -1).transpose(1, 2, 0, 3)
        read = fastnorm.attention(query, *cache.extended(layer, keys, values), is_causal="lower_right")
        joined = read.swapaxes(0, 1).reshape(len(ids), sizes.dim)
        update = fastnorm.linear(joined, w[f"{layer}.out"], w[f"{layer}.out.bias"])
        number = 2 * layer + 1
        x, h = fastnorm.add_layer_norm(update, h, w[f"norm{number}"], w[f"norm{number}.bias"])
        inner = fastnorm.linear(x, w[f"{layer}.up"], w[f"{layer}.up.bias"], activation="gelu_tanh")
        update = fastnorm.linear(inner, w[f"{layer}.down"], w[f"{layer}.down.bias"])
        x, h = fastnorm.add_layer_norm(update, h, w[f"norm{number + 1}"], w[f"norm{number + 1}.bias"])
    cache.length += len(ids)
    return fastnorm.linear(x[-1], w["tokens"].T)


# ---- both


Model = Callable[[Weights, Sizes, Array, Cache], Array]
MODELS: dict[str, Model] = {"NumPy": numpy_gpt2, "fastnorm": fastnorm_gpt2}


class Run(NamedTuple):
    """What a model went on with, the scores before each token, and tokens a second of both parts."""

    ids: list[int]
    scores: Array
    reading: float
    writing: float


def run(model: Model, weights: Weights, sizes: Sizes, prompt: Array, count: int) -> Run:
    """Read a prompt and go on with the likeliest tokens."""
    cache = Cache(sizes, len(prompt) + count)
    began = time.perf_counter()
    scores = [model(weights, sizes, prompt, cache)]
    read = time.perf_counter()
    ids = [int(scores[0].argmax())]
    for _ in range(count):
        scores.append(model(weights, sizes, np.array(ids[-1:]), cache))
        ids.append(int(scores[-1].argmax()))
    written = time.perf_counter()
    return Run(ids, np.stack(scores), len(prompt) / (read - began), count / (written - read))


def main(arguments: list[str] | None = None) -> None:
    """Run both, compare what they give, and tell how long each took."""
    parser = argparse.ArgumentParser(description="GPT-2 in NumPy alone and with fastnorm.")
    sizes = Sizes()
    for name in ("layers", "dim", "heads", "vocabulary"):
        default = getattr(sizes, name)
        parser.add_argument(f"--{name}", type=whole(1), default=default, help="(default: %(default)s)")
    parser.add_argument("--prompt", type=whole(1), default=256, help="tokens (default: %(default)s)")
    parser.add_argument("--write", type=whole(1), default=32, help="tokens (default: %(default)s)")
    parser.add_argument("--rounds", type=whole(1), default=3, help="the best counts (default: %(default)s)")
    parser.add_argument("--seed", type=SEED, default=0, help="(default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("gpt2_numpy.png"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.dim % options.heads:
        parser.error("--dim needs to be a multiple of --heads")
    if options.prompt + options.write > sizes.places:
        parser.error(f"--prompt and --write need to be {sizes.places} together, or less")
    check_picture(parser, options.plot)
    require("matplotlib")

    sizes = sizes._replace(
        layers=options.layers, dim=options.dim, heads=options.heads, vocabulary=options.vocabulary
    )
    weights = random_weights(sizes, options.seed)
    millions = sum(array.size for array in weights.values()) / 1e6
    print(f"{millions:.0f} million weights, a prompt of {options.prompt} tokens, {options.write} written")
    prompt = np.random.default_rng(options.seed + 1).integers(0, sizes.vocabulary, options.prompt)
    runs: dict[str, list[Run]] = {name: [] for name in MODELS}
    for _ in range(options.rounds):
        for name, model in MODELS.items():
            runs[name].append(run(model, weights, sizes, prompt, options.write))
            time.sleep(0.15)  # till the threads of BLAS stop waiting for more
    ours, theirs = runs["fastnorm"][0], runs["NumPy"][0]
    apart = float(np.abs(ours.scores - theirs.scores).max() / np.abs(theirs.scores).max())
    same = "the same tokens" if ours.ids == theirs.ids else "other tokens, as likely"
    print(f"{same}; scores within {apart:.1e} of the largest")
    assert apart < 1e-4

    best = {
        name: (max(one.reading for one in found), max(one.writing for one in found))
        for name, found in runs.items()
    }
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in best.items()]
    gains = [mine / other for mine, other in zip(best["fastnorm"], best["NumPy"], strict=True)]
    table(["tokens a second", "prompt", "one by one"], [*rows, ["gain", *(f"{gain:.2f}" for gain in gains)]])

    def paint(figure: Any) -> None:
        for place, title in enumerate(("reading the prompt", "writing one by one")):
            axes = figure.add_subplot(1, 2, place + 1)
            axes.bar(list(best), [values[place] for values in best.values()], color=["#56B4E9", "#D55E00"])
            axes.set(title=title, ylabel="tokens a second")
            axes.grid(visible=True, axis="y")

    draw(
        options.plot,
        (6, 3),
        paint,
        f"the same tokens, read {gains[0]:.1f} and written {gains[1]:.1f} times as fast",
    )


if __name__ == "__main__":
    main()
