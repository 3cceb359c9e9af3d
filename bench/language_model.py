"""Steps of training of examples/transformer.py beside the same model in PyTorch eager.

::

    python bench/language_model.py --threads 1,2

Both begin with the same weights and see the same texts; their losses are compared step by step first. Times
are those of whole steps: forward, backward, clipping and AdamW, in turns, the median.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from fastnorm._report.timing import wait_for_idle_threads
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from small_transformer import pieces, text
from transformer import CharacterModel, Sizes, Training

Array = NDArray[Any]


class TorchTraining:
    """The model and its training written with PyTorch's own functions, as its users write them."""

    def __init__(self, training: Training) -> None:
        """Copy weights and settings."""
        import torch

        self.torch, self.sizes, self.rate = torch, training.model.sizes, training.rate
        self.p = {
            name: torch.tensor(
                np.ascontiguousarray(array.T) if array.ndim == 2 and name != "table" else array
            )
            for name, array in training.model.parameters.items()
        }
        for parameter in self.p.values():
            parameter.requires_grad_()
        kept = [array for name, array in self.p.items() if "." not in name]
        decaying = [array for name, array in self.p.items() if "." in name]
        groups = [{"params": decaying, "weight_decay": 0.1}, {"params": kept, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=training.adam.lr)
        dim = self.sizes.dim // self.sizes.heads
        cos, sin = fastnorm.rotary_frequencies(self.sizes.tokens, dim)
        self.cos, self.sin = (torch.tensor(np.concatenate((part, part), axis=-1)) for part in (cos, sin))
        self.steps = 0

    def _turned(self, x: Any) -> Any:
        half = x.shape[-1] // 2
        swapped = self.torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * self.cos + swapped * self.sin

    def loss(self, ids: Array) -> Any:
        """Return the loss of texts."""
        functional, p, (layers, dim, heads, _) = self.torch.nn.functional, self.p, self.sizes
        texts = self.torch.tensor(ids, dtype=self.torch.int64)
        h = functional.embedding(texts[:, :-1], p["table"])
        for layer in range(layers):
            x = functional.rms_norm(h, (dim,), p[f"norm{2 * layer}"], 1e-6)
            qkv = functional.linear(x, p[f"{layer}.qkv"]).view(*x.shape[:2], 3, heads, -1)
            query, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            read = functional.scaled_dot_product_attention(
                self._turned(query), self._turned(keys), values, is_causal=True
            )
            h = h + functional.linear(read.transpose(1, 2).flatten(2), p[f"{layer}.out"])
            x = functional.rms_norm(h, (dim,), p[f"norm{2 * layer + 1}"], 1e-6)
            inner = functional.silu(functional.linear(x, p[f"{layer}.gate"])) * functional.linear(
                x, p[f"{layer}.up"]
            )
            h = h + functional.linear(inner, p[f"{layer}.down"])
        x = functional.rms_norm(h, (dim,), p[f"norm{2 * layers}"], 1e-6)
        scores = functional.linear(x, p["table"])
        return functional.cross_entropy(scores.flatten(0, 1), texts[:, 1:].flatten())

    def step(self, texts: Array) -> float:
        """Take a step."""
        for group in self.adam.param_groups:
            group["lr"] = self.rate(self.steps)
        self.steps += 1
        self.adam.zero_grad()
        loss = self.loss(texts)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(list(self.p.values()), 1.0)
        self.adam.step()
        return float(loss.detach())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", default="1,2", help="of both (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=15, help="timed (default: %(default)s)")
    parser.add_argument("--compared", type=int, default=20, help="steps whose losses are compared")
    options = parser.parse_args()
    characters, _ = text()
    print("| layers x dim, texts | threads | fastnorm | PyTorch | gain | characters a second |")
    print("|---|---|---|---|---|---|")
    for sizes, batch in ((Sizes(), 8), (Sizes(6, 192, 6, 256), 8)):
        for threads in map(int, options.threads.split(",")):
            model = CharacterModel(sizes)
            training = Training(model, characters, steps=100, batch=batch, lr=2e-3)
            peer = TorchTraining(training)
            peer.torch.set_num_threads(threads)
            rng = np.random.default_rng(1)
            with fastnorm.threads(threads):
                for _ in range(options.compared):
                    texts = pieces(rng, characters, batch, sizes.tokens)
                    np.testing.assert_allclose(training.step(texts), peer.step(texts), rtol=2e-4)
                times: dict[Any, list[float]] = {training: [], peer: []}
                for _ in range(options.steps):
                    texts = pieces(rng, characters, batch, sizes.tokens)
                    for contender, found in times.items():
                        wait_for_idle_threads()
                        began = time.perf_counter()
                        contender.step(texts)
                        found.append(time.perf_counter() - began)
            ours, theirs = (float(np.median(found)) for found in times.values())
            print(
                f"| {sizes.layers} x {sizes.dim}, {batch} x {sizes.tokens} | {threads} | {ours * 1e3:.1f} ms "
                f"| {theirs * 1e3:.1f} ms | {theirs / ours:.2f} | {batch * sizes.tokens / ours:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
