"""A language model, trained and asked to write
============================================

A small Transformer over characters, of the parts that models of today have: rotary positions, RMSNorm,
SwiGLU, causal attention, an embedding that is the classifier too. Forward and backward are ops of fastnorm,
and so is training: AdamW, warm-up and cosine, clipped gradients. It learns the reference of the Python
language, which every Python brings with it, and then writes, with a cache of keys and values::

    pip install fastnorm-kernels[examples]
    python examples/transformer.py            # half a minute on two cores
    python examples/transformer.py --full     # a larger one, ten minutes
    python examples/transformer.py --check    # its gradients against finite differences, nothing else
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from numpy.typing import NDArray
from small_transformer import CHARACTERS, pieces, text
from support import SEED, check_picture, draw, progress, rate, require, whole

Array = NDArray[Any]


class Sizes(NamedTuple):
    """What a model is made of; `dim` is a multiple of twice the heads, whose features are turned in pairs."""

    layers: int = 3
    dim: int = 96
    heads: int = 4
    tokens: int = 128  # of the texts it is trained on


class Cache:
    """Keys and values of the characters that a model has read, for each layer."""

    def __init__(self, sizes: Sizes, capacity: int, dtype: Any = np.float32) -> None:
        """Make room for so many characters."""
        shape = (sizes.layers, 2, sizes.heads, capacity, sizes.dim // sizes.heads)
        self.memory = np.empty(shape, dtype)
        self.length = 0


class CharacterModel:
    """A Transformer over characters.

    Parameters
    ----------
    sizes : Sizes
    seed : int
        Of the weights.
    dtype
        Of weights and activations.
    """

    def __init__(self, sizes: Sizes, seed: int = 0, dtype: Any = np.float32) -> None:
        """Draw the weights."""
        self.sizes = sizes
        rng = np.random.default_rng(seed)
        layers, dim = sizes.layers, sizes.dim
        hidden = round(8 * dim / 3)  # with a gate as many weights as 4 * dim without

        def weight(rows: int, cols: int, size: float = 1.0) -> Array:
            return (rng.standard_normal((rows, cols)) * size / np.sqrt(rows)).astype(dtype)

        small = (2 * layers) ** -0.5  # what is added to the stream is smaller the more layers add to it
        self.parameters: dict[str, Array] = {"table": weight(CHARACTERS, dim, (CHARACTERS / dim) ** 0.5)}
        for layer in range(layers):
            self.parameters |= {
                f"{layer}.qkv": weight(dim, 3 * dim),
                f"{layer}.out": weight(dim, dim, small),
                f"{layer}.gate": weight(dim, hidden),
                f"{layer}.up": weight(dim, hidden),
                f"{layer}.down": weight(hidden, dim, small),
            }
        self.parameters |= {f"norm{number}": np.ones(dim, dtype) for number in range(2 * layers + 1)}

    def _angles(self, first: int, count: int) -> tuple[Array, Array]:
        """Return cosines and sines of the places from `first` on."""
        places = np.arange(first, first + count)
        dim = self.sizes.dim // self.sizes.heads
        return fastnorm.rotary_frequencies(places, dim, dtype=self.parameters["table"].dtype)

    # ---- training

    def _attention(
        self, layer: int, x: Array
    ) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, Array]]]]:
        """Return what a layer reads from the characters before, and the pullback."""
        p, (batch, tokens, dim) = self.parameters, x.shape
        qkv, pull_qkv = fastnorm.vjp(fastnorm.linear, x, p[f"{layer}.qkv"])
        # Heads are views (3, batch, heads, tokens, dim / heads): no op needs them to be contiguous.
        parts = qkv.reshape(batch, tokens, 3, self.sizes.heads, -1).transpose(2, 0, 3, 1, 4)
        turned, pull_turned = fastnorm.vjp(fastnorm.rotary_embedding, parts[:2], *self._angles(0, tokens))
        read, pull_read = fastnorm.vjp(fastnorm.attention, *turned, parts[2], is_causal=True)
        joined = read.swapaxes(1, 2).reshape(batch, tokens, dim)
        y, pull_out = fastnorm.vjp(fastnorm.linear, joined, p[f"{layer}.out"])

        def pull(dy: Array) -> tuple[Array, dict[str, Array]]:
            djoined, dout, _ = pull_out(dy)
            dheads = djoined.reshape(batch, tokens, self.sizes.heads, -1).swapaxes(1, 2)
            dquery, dkeys, dvalues = pull_read(dheads)
            dqkv = np.empty_like(qkv)
            dparts = dqkv.reshape(batch, tokens, 3, self.sizes.heads, -1).transpose(2, 0, 3, 1, 4)
            dparts[:2], dparts[2] = pull_turned(np.stack((dquery, dkeys))), dvalues
            dx, dweight, _ = pull_qkv(dqkv)
            return dx, {f"{layer}.qkv": dweight, f"{layer}.out": dout}

        return y, pull

    def _feed_forward(
        self, layer: int, x: Array
    ) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, Array]]]]:
        """Return a SwiGLU, and the pullback."""
        p = self.parameters
        inner, pull_inner = fastnorm.vjp(fastnorm.gated_linear, x, p[f"{layer}.gate"], p[f"{layer}.up"])
        y, pull_down = fastnorm.vjp(fastnorm.linear, inner, p[f"{layer}.down"])

        def pull(dy: Array) -> tuple[Array, dict[str, Array]]:
            dinner, ddown, _ = pull_down(dy)
            dx, dgate, dup, *_ = pull_inner(dinner)
            return dx, {f"{layer}.gate": dgate, f"{layer}.up": dup, f"{layer}.down": ddown}

        return y, pull

    def gradients(self, ids: Array) -> tuple[float, dict[str, Array]]:
        """Return the loss of texts, (batch, tokens + 1), and its gradients by the names of the parameters.

        The stream h is normed before each part and gets what the part gives: after the first norm each is
        fused with the sum before it.
        """
        p, x = self.parameters, ids[:, :-1]
        h, pull_table = fastnorm.vjp(fastnorm.embedding, x, p["table"])
        normed, pull_first = fastnorm.vjp(fastnorm.rms_norm, h, p["norm0"])
        pulls = []
        for number in range(2 * self.sizes.layers):
            part = self._feed_forward if number % 2 else self._attention
            update, pull_part = part(number // 2, normed)
            weight = p[f"norm{number + 1}"]
            (normed, h), pull_sum = fastnorm.vjp(fastnorm.add_rms_norm, update, h, weight)
            pulls.append((pull_part, pull_sum))
        loss, dnormed, dclassifier, _ = fastnorm.linear_cross_entropy(
            normed, p["table"].T, ids[:, 1:], return_grad=True
        )
        found: dict[str, Array] = {}
        dh: Array | None = None
        for number in reversed(range(2 * self.sizes.layers)):
            pull_part, pull_sum = pulls[number]
            dupdate, dh, found[f"norm{number + 1}"] = pull_sum(dnormed, dh)
            dnormed, of_part = pull_part(dupdate)
            found |= of_part
        dx, found["norm0"], _ = pull_first(dnormed)
        found["table"] = pull_table(dx + dh) + dclassifier.T
        return float(loss), found

    # ---- reading

    def read(self, ids: Array, cache: Cache) -> Array:
        """Return the scores of what follows each of some characters, which follow those in the cache."""
        p, (layers, dim, heads, _) = self.parameters, self.sizes
        first, count = cache.length, len(ids)
        cache.length += count
        angles = self._angles(first, count)
        h = fastnorm.embedding(ids, p["table"])
        normed = fastnorm.rms_norm(h, p["norm0"])
        for layer in range(layers):
            query, keys, values = (
                fastnorm.linear(normed, p[f"{layer}.qkv"]).reshape(count, 3, heads, -1).transpose(1, 2, 0, 3)
            )
            kept_keys, kept_values = cache.memory[layer, :, :, : cache.length]
            fastnorm.rotary_embedding(keys, *angles, out=kept_keys[:, first:])
            kept_values[:, first:] = values
            query = fastnorm.rotary_embedding(query, *angles)
            read = fastnorm.attention(query, kept_keys, kept_values, is_causal="lower_right")
            update = fastnorm.linear(read.swapaxes(0, 1).reshape(count, dim), p[f"{layer}.out"])
            normed, h = fastnorm.add_rms_norm(update, h, p[f"norm{2 * layer + 1}"])
            inner = fastnorm.gated_linear(normed, p[f"{layer}.gate"], p[f"{layer}.up"])
            update = fastnorm.linear(inner, p[f"{layer}.down"])
            normed, h = fastnorm.add_rms_norm(update, h, p[f"norm{2 * layer + 2}"])
        return fastnorm.linear(normed, p["table"].T)


def written(
    model: CharacterModel, prompt: str, count: int, *, temperature: float = 0.6, seed: int = 0
) -> Iterator[str]:
    """Give characters that a model writes after a prompt, one by one.

    It knows no places beyond the texts that it was trained on: there it begins again with the latter half.
    """
    rng, tokens = np.random.default_rng(seed), model.sizes.tokens
    known = list(prompt.encode("ascii", "replace"))
    cache, unread = Cache(model.sizes, tokens, model.parameters["table"].dtype), known[-tokens:]
    for _ in range(count):
        if cache.length + len(unread) > tokens:
            cache.length, unread = 0, known[-(tokens + 1) // 2 :]
        scores = model.read(np.array(unread, np.uint8), cache)[-1]
        chances = np.cumsum(fastnorm.softmax(scores.astype(np.float64) / temperature))
        unread = [int(np.searchsorted(chances, rng.random() * chances[-1]))]
        known += unread
        yield chr(unread[0])


class Training:
    """Steps of AdamW on random pieces of a text: warm-up, cosine, and gradients of norm 1 at most."""

    def __init__(
        self, model: CharacterModel, characters: Array, *, steps: int, batch: int, lr: float, seed: int = 0
    ) -> None:
        """Take the settings; norms and the embedding do not decay."""
        self.model, self.characters, self.batch = model, characters, batch
        self.rng = np.random.default_rng(seed)
        whole_lr = fastnorm.cosine(lr, steps, minimum=0.05 * lr)
        self.rate = fastnorm.linear_warmup(whole_lr, max(1, steps // 20))
        kept = [i for i, name in enumerate(model.parameters) if "." not in name]
        self.adam = fastnorm.AdamW(lr=lr, weight_decay=0.1, groups=[{"indices": kept, "weight_decay": 0.0}])
        self.losses: list[float] = []

    def step(self, texts: Array | None = None) -> float:
        """Take a step on random pieces, or on these, and return the loss before it."""
        if texts is None:
            texts = pieces(self.rng, self.characters, self.batch, self.model.sizes.tokens)
        loss, found = self.model.gradients(texts)
        gradients = [found[name] for name in self.model.parameters]
        fastnorm.clip_grad_norm(gradients, 1.0)
        self.adam.lr = self.rate(len(self.losses))
        self.adam.update(tuple(self.model.parameters.values()), gradients)
        self.losses.append(loss)
        return loss


def worst_gradient(sizes: Sizes, seed: int = 0) -> tuple[float, str]:
    """Return the largest relative error of a slope along a random direction of a parameter, by differences in
    float64, and whose it is.
    """
    model, rng = CharacterModel(sizes, seed, np.float64), np.random.default_rng(seed + 1)
    texts = rng.integers(32, 127, (2, sizes.tokens + 1)).astype(np.uint8)
    for name, array in model.parameters.items():
        model.parameters[name] = array + 0.1 * rng.standard_normal(array.shape)
    found = model.gradients(texts)[1]
    assert found.keys() == model.parameters.keys()
    errors = []
    for name, array in model.parameters.items():
        direction = rng.standard_normal(array.shape)
        direction *= np.linalg.norm(found[name]) / np.linalg.norm(direction)
        direction += found[name]  # so that the slope is not small
        ends = []
        for step in (1e-5, -1e-5):
            model.parameters[name] = array + step * direction
            ends.append(model.gradients(texts)[0])
        model.parameters[name] = array
        slope, exact = (ends[0] - ends[1]) / 2e-5, float(np.vdot(found[name], direction))
        errors.append((abs(slope - exact) / abs(exact), name))
    return max(errors)


def held_out_loss(model: CharacterModel, characters: Array) -> float:
    """Return the loss on pieces of a text that are always the same."""
    texts = pieces(np.random.default_rng(0), characters, 128, model.sizes.tokens)
    return model.gradients(texts)[0]


def options_of(arguments: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="Train a small language model, and let it write.")
    parser.add_argument("--steps", type=whole(1), default=1000, help="of training (default: %(default)s)")
    parser.add_argument("--batch", type=whole(1), default=8, help="texts a step (default: %(default)s)")
    parser.add_argument("--layers", type=whole(1), default=3, help="(default: %(default)s)")
    parser.add_argument("--dim", type=whole(2), default=96, help="width of the model (default: %(default)s)")
    parser.add_argument("--heads", type=whole(1), default=4, help="(default: %(default)s)")
    parser.add_argument("--tokens", type=whole(1), default=128, help="of a text (default: %(default)s)")
    parser.add_argument("--lr", type=rate, default=4e-3, help="highest rate (default: %(default)s)")
    parser.add_argument("--seed", type=SEED, default=0, help="(default: %(default)s)")
    parser.add_argument("--write", type=whole(0), default=300, help="characters (default: %(default)s)")
    parser.add_argument("--prompt", default="The ", help="what it goes on from (default: %(default)r)")
    parser.add_argument("--full", action="store_true", help="6 layers of 192, texts of 256, 3000 steps")
    parser.add_argument("--check", action="store_true", help="check the gradients and end")
    parser.add_argument("--plot", type=Path, default=Path("transformer.png"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.full:
        vars(options).update(layers=6, dim=192, heads=6, tokens=256, steps=3000, lr=2e-3)
    if options.dim % (2 * options.heads):
        parser.error("--dim needs to be a multiple of twice --heads")
    if not options.prompt:
        parser.error("--prompt needs a character")
    return parser, options


def main(arguments: list[str] | None = None) -> None:
    """Train, show the losses, and write."""
    parser, options = options_of(arguments)
    sizes = Sizes(options.layers, options.dim, options.heads, options.tokens)
    if options.check:
        error, name = worst_gradient(sizes._replace(tokens=min(sizes.tokens, 8)), options.seed)
        print(f"gradients of {name} and all others are within {error:.1e} of finite differences")
        if not error < 1e-6:
            raise SystemExit(f"the gradient of {name} is wrong")
        return
    check_picture(parser, options.plot)
    require("matplotlib")

    learned, held_out = text()
    model = CharacterModel(sizes, options.seed)
    training = Training(
        model, learned, steps=options.steps, batch=options.batch, lr=options.lr, seed=options.seed
    )
    count = sum(array.size for array in model.parameters.values())
    print(f"{count} parameters, {options.steps} steps of {options.batch} texts of {sizes.tokens} characters")
    began = time.perf_counter()
    for _ in progress(range(options.steps), "steps"):
        training.step()
    seconds = time.perf_counter() - began
    per_second = options.steps * options.batch * sizes.tokens / seconds
    print(f"{seconds:.0f} s, {per_second:.0f} characters a second on {fastnorm.get_num_threads()} threads")
    tail = float(np.mean(training.losses[-max(1, options.steps // 20) :]))
    left_out = held_out_loss(model, held_out)
    print(f"loss {tail:.3f} nats a character, {left_out:.3f} on topics that were held out (guessing: 4.852)")

    began = time.perf_counter()
    said = "".join(written(model, options.prompt, options.write, seed=options.seed))
    seconds = time.perf_counter() - began
    print(f"\n{options.prompt}{said}\n")
    if options.write:
        print(f"{options.write / seconds:.0f} characters written a second, one by one, with a cache")

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(training.losses, lw=0.5, alpha=0.5)
        window = max(1, options.steps // 20)
        smooth = np.convolve(training.losses, np.ones(window) / window, "valid")
        axes.plot(np.arange(len(smooth)) + window - 1, smooth, color="#D55E00", label="training")
        axes.axhline(left_out, color="#0072B2", ls="--", label="held out, at the end")
        axes.set(xlabel="step", ylabel="nats a character")
        axes.grid(visible=True)
        axes.legend()

    draw(
        options.plot,
        (5, 3),
        paint,
        "the loss falls from that of guessing to that of words, and topics it has not seen cost little more",
    )


if __name__ == "__main__":
    main()
