"""What is no op: training of networks, optimisers, memory networks, moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import sqrt
from typing import Any, get_args

import fastnorm
import numpy as np
from fastnorm._typing import DenseActivation
from fastnorm.mlp import mlp_gradients
from layouts import LAYOUTS, WRITABLE

from .numbers import DTYPES, Array, Digest, cast, integers, plain, uniform, varied

SIZES = ((1, 1), (5, 8, 3), (17, 33, 1), (64, 100, 50, 10), (30, 700, 2))
ROWS = (1, 7, 70, 300)
ACTIVATIONS = (None, *get_args(DenseActivation))
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: fastnorm.SGD(lr=0.05),
    "SGD momentum": lambda: fastnorm.SGD(lr=0.05, momentum=0.9),
    "SGD nesterov": lambda: fastnorm.SGD(lr=0.05, momentum=0.9, nesterov=True),
    "SGD weight_decay": lambda: fastnorm.SGD(lr=0.05, momentum=0.5, weight_decay=0.01),
    "Adam": lambda: fastnorm.Adam(lr=0.01),
    "Adam betas": lambda: fastnorm.Adam(lr=0.01, betas=(0.5, 0.75), eps=1e-3),
    "Adam weight_decay": lambda: fastnorm.Adam(lr=0.01, weight_decay=0.01),
    "Adam decoupled": lambda: fastnorm.Adam(lr=0.01, weight_decay=0.01, decoupled=True),
    "RMSprop": lambda: fastnorm.RMSprop(lr=0.01, weight_decay=0.01),
    "RMSprop centered": lambda: fastnorm.RMSprop(lr=0.01, alpha=0.75, momentum=0.9, centered=True),
    "Lion": lambda: fastnorm.Lion(lr=0.01, weight_decay=0.01),
    "AdamW groups": lambda: fastnorm.AdamW(
        lr=0.01, groups=[{"indices": [0], "lr": 0.02}, {"indices": [1, 3], "weight_decay": 0.0}]
    ),
}


def network(sizes: tuple[int, ...], dtype: str, **options: Any) -> Any:
    """Return a network whose parameters depend on the sizes alone."""
    net = fastnorm.MLP(sizes, dtype=DTYPES[dtype], seed=0, **options)
    layers = list(enumerate(pairwise(sizes)))
    net.weights = [(plain(f"weight{i}", layer, "float64") / sqrt(layer[0])) for i, layer in layers]
    net.biases = [plain(f"bias{i}", (out,), "float64") / 4 for i, (_, out) in layers]
    return net


def goal(loss: str, rows: int, outputs: int, dtype: str) -> Array:
    """Return a target for a loss."""
    if loss == "mse":
        return plain("target", (rows, outputs), dtype)
    if loss.endswith("probabilities"):
        return cast(uniform("target", (rows, outputs)) * (2 / outputs), dtype)
    return integers("target", (rows,), outputs)


def steps(
    digest: Digest, sizes: tuple[int, ...], rows: int, dtype: str, loss: str, make: Any, **options: Any
) -> None:
    """Add what a few steps of training return and leave."""
    net, optimizer = network(sizes, dtype, **options), make()
    x, target = varied("x", (rows, sizes[0]), dtype), goal(loss, rows, sizes[-1], dtype)
    for _ in range(4):
        digest.add(net.step(x, target, loss=loss.removesuffix(" probabilities"), optimizer=optimizer))
    digest.add([net.weights, net.biases, optimizer.state_dict()])
    y = net.forward(x)
    digest.add([y, net.backward(plain("dy", y.shape, dtype))])


def training(dtype: str) -> Iterator[tuple[str, Digest]]:
    """Steps with each loss, optimiser and activation, and epochs."""
    losses = ("mse", "cross_entropy", "poly", "focal", "cross_entropy probabilities", "poly probabilities")
    for loss in losses:
        digest = Digest()
        for sizes in SIZES:
            for rows in ROWS:
                steps(digest, sizes, rows, dtype, loss, OPTIMIZERS["SGD"])
        yield f"MLP, loss {loss}", digest
    for name, make in OPTIMIZERS.items():
        digest = Digest()
        for rows in (7, 70):
            for loss in ("mse", "cross_entropy"):
                steps(digest, (17, 33, 3), rows, dtype, loss, make)
        yield f"MLP, {name}", digest
    for activation in ACTIVATIONS:
        digest = Digest()
        for options in ({"activation": activation}, {"output_activation": activation}):
            for rows in (7, 70):
                steps(digest, (17, 33, 3), rows, dtype, "mse", OPTIMIZERS["SGD"], **options)
        yield f"MLP, activation {activation}", digest
    for loss in ("mse", "cross_entropy"):
        digest = Digest()
        for name in ("SGD", "Adam"):
            for relay in (LAYOUTS["read_only"], LAYOUTS["every_other"]):
                net, optimizer = network((17, 33, 3), dtype), OPTIMIZERS[name]()
                x, target = relay(varied("x", (135, 17), dtype)), relay(goal(loss, 135, 3, dtype))
                history = net.fit(
                    x, target, epochs=2, batch_size=32, loss=loss, optimizer=optimizer, shuffle=False
                )
                digest.add(np.array([epoch.loss for epoch in history]))
                digest.add([net.weights, net.biases, optimizer.state_dict()])
        yield f"MLP, epochs {loss}", digest
    for activation in ("relu", "gelu"):
        digest = Digest()
        for sizes in SIZES:
            for rows in (7, 130):
                options = {"activation": activation, "dropout": 0.3}
                steps(digest, sizes, rows, dtype, "mse", OPTIMIZERS["SGD"], **options)
        yield f"MLP, dropout {activation}", digest
    digest = Digest()
    for name in ("Adam", "AdamW groups"):
        net, optimizer = network((17, 33, 3), dtype), OPTIMIZERS[name]()
        x, target = varied("x", (135, 17), dtype), goal("cross_entropy", 135, 3, dtype)
        options = {"validation": 0.25, "early_stopping": 3, "learning_rate": fastnorm.step_decay(0.5, 4)}
        options |= {"max_norm": 0.125, "sample_weight": np.arange(135) % 3, "class_weight": [1.0, 0.5, 2.0]}
        history = net.fit(
            x, target, epochs=6, loss="cross_entropy", optimizer=optimizer, shuffle=False, **options
        )
        digest.add(np.array([epoch[1:3] for epoch in history]))
        digest.add([net.weights, net.biases, optimizer.state_dict()])
    yield "MLP, training with everything", digest
    digest = Digest()
    for sizes in SIZES:
        net = network(sizes, dtype)
        x, target = varied("x", (70, sizes[0]), dtype), plain("target", (70, sizes[-1]), dtype)
        for relay in (LAYOUTS["read_only"], LAYOUTS["column_major"]):
            weights = tuple(relay(weight) for weight in net.weights)
            digest.add(mlp_gradients(x, target, None, weights, net.biases, "relu", None, "mse", 0.3))
    yield "MLP, penalty", digest


def updates(dtype: str) -> Iterator[tuple[str, Digest]]:
    """Updates of parameters in several layouts, by gradients of their dtype and of float32, or none."""
    shapes = ((1,), (3, 17), (5, 130), (37, 769), ())
    for name, make in OPTIMIZERS.items():
        digest = Digest()
        for layout in ("", *WRITABLE):
            optimizer = make()
            parameters = [plain(f"parameter{i}", shape, dtype).copy() for i, shape in enumerate(shapes)]
            parameters = [LAYOUTS[layout](p) if layout and p.ndim else p for p in parameters]
            for turn in range(3):
                kind = "float32" if turn == 1 and dtype in ("float16", "bfloat16") else dtype
                gradients = [varied(f"gradient{turn}{i}", shape, kind) for i, shape in enumerate(shapes)]
                optimizer.update(parameters, [None if i == turn else g for i, g in enumerate(gradients)])
            digest.add([parameters, optimizer.state_dict()])
        yield name, digest
    digest = Digest()
    for layout in ("", *WRITABLE):
        for max_norm in (0.75, 1e9):
            gradients = [varied(f"gradient{i}", shape, dtype).copy() for i, shape in enumerate(shapes)]
            gradients = [LAYOUTS[layout](g) if layout and g.ndim else g for g in gradients]
            digest.add([np.float64(fastnorm.clip_grad_norm(gradients, max_norm)), gradients])
    yield "clip_grad_norm", digest


def moments(dtype: str) -> Iterator[tuple[str, Digest]]:
    """Moments over each axis, pairs of axes and all."""
    digest = Digest()
    for shape in ((), (1,), (130,), (5, 130), (200, 33), (3, 32, 7, 7), (2, 4, 3, 5), (0, 3)):
        x = varied("x", shape, dtype)
        axes = [None, *range(len(shape)), *((i, j) for i in range(len(shape)) for j in range(i))]
        for axis in axes:
            for relay in LAYOUTS.values() if shape else ():
                digest.add(fastnorm.moments(relay(x), axis))
            found = fastnorm.moments(x, axis)
            digest.add([found, fastnorm.Moments.merge(found, found), found.stats()])
    yield "moments, all axes", digest


MEMORIES: dict[str, dict[str, Any]] = {
    "adjacent": {"tying": "adjacent"},
    "layerwise": {"tying": "layerwise"},
    "nonlinearity": {"tying": "layerwise", "nonlinearity": True},
    "bags": {"tying": "adjacent", "position_encoding": False, "temporal": False},
}


def memory_networks(dtype: str) -> Iterator[tuple[str, Digest]]:
    """Embeddings, reads and their gradients.

    The products with the tables are NumPy's, which depend on its library. With rows of identities (of
    permutations, `hop`) in the place of the table of answers they have one term that is not 0, and so no
    order of summation (only zeros may have either sign); the gradients of these tables are left out. With one
    story they too have one term, so that an epoch of one batch can be recorded.
    """
    for name, options in MEMORIES.items():
        for linear in (False, True):
            digest = Digest()
            for count, sentences, words, dim in ((3, 4, 3, 5), (40, 12, 6, 20), (300, 9, 4, 33)):
                model = memory_network(40, dim, 2, 10, dtype, options)
                model.linear = linear
                stories, questions = story(count, sentences, words, 40)
                logits = model.forward(stories, questions)
                gradients = model.backward(plain("dlogits", logits.shape, dtype))
                kept = {key: value + 0 for key, value in gradients.items() if key not in left_out(model)}
                digest.add([logits + 0, kept, model.predict(stories, questions)])
            yield f"MemN2N, {name}{' linear' * linear}", digest
        digest = Digest()
        model = memory_network(40, 20, 2, 10, dtype, options)
        told = story(1, 12, 6, 40)
        epochs = model.fit(*told, np.array([7]), epochs=1, batch_size=1, validation=0.0, seed=0)
        digest.add([epochs[0].loss, {key: value + 0 for key, value in model.parameters.items()}])
        yield f"MemN2N, {name} epoch", digest


def memory_network(words: int, dim: int, hops: int, size: int, dtype: str, options: Any) -> Any:
    """Return a memory network whose products have one term."""
    model = fastnorm.MemN2N(words, dim, hops, size, dtype=DTYPES[dtype], seed=0, **options)
    for name, table in model.parameters.items():
        table[...] = plain(name, table.shape, dtype)
        table[0] = 0
    for name in left_out(model):
        rows = model.parameters[name]
        rows[...] = 0
        turned = 1 if name == "hop" else 0
        places = np.arange(min(rows.shape))
        rows[(places + 1 - turned) % len(rows), (places + turned) % dim] = 1
    return model


def left_out(model: Any) -> tuple[str, ...]:
    """Return the names of the tables whose gradients are products."""
    if model.tying == "layerwise":
        return ("answer", "hop")
    return (f"embedding_{model.hops}",)


def story(count: int, sentences: int, words: int, vocabulary: int) -> tuple[Array, Array]:
    """Return stories with words and sentences left out, and questions."""
    stories = integers("stories", (count, sentences, words), vocabulary)
    stories[integers("gaps", stories.shape, 4) == 0] = 0
    stories[::3, : sentences // 2] = 0
    return stories, integers("questions", (count, words - 1), vocabulary)


PARTS: dict[str, tuple[tuple[str, ...], Callable[[str], Iterator[tuple[str, Digest]]]]] = {
    "MLP": (tuple(DTYPES), training),
    "optimizers": (tuple(DTYPES), updates),
    "moments": (tuple(DTYPES), moments),
    "MemN2N": (("float32", "float64"), memory_networks),
}


def digests(part: str) -> Iterator[tuple[str, str]]:
    """What was run of a part, and its digest."""
    dtypes, run = PARTS[part]
    for dtype in dtypes:
        for label, digest in run(dtype):
            yield f"{label}, {dtype}", digest.text()
