"""The kinds of ops, told by the names of their arguments, and the arrays that each kind takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .numbers import Array, cast, integers, plain, uniform

Shape = tuple[int, ...]
Options = Mapping[str, Any]
Draw = Callable[[str, Shape, str], Array]  # name, shape, dtype

# Even, for ops that split an axis in two; around the blocks of lanes, tiles and segments.
ROWS: tuple[Shape, ...] = (
    (1, 2),
    (3, 18),
    (2, 64),
    (5, 130),
    (37, 768),
    (16, 4096),
    (200, 34),
    (2, 12_346),
    (0, 8),
    (4, 6, 10),
)
FEW_ROWS: tuple[Shape, ...] = ((1, 2), (9, 18), (10, 130), (18, 770), (40, 34))
IMAGES: tuple[Shape, ...] = (
    (2, 4, 3, 5),
    (3, 32, 7, 7),
    (2, 64, 16, 17),
    (4, 6, 50),
    (130, 8),
    (2, 64, 1, 1),
    (600, 2, 3),
    (0, 4, 3, 3),
)
FEW_IMAGES: tuple[Shape, ...] = ((4, 6, 50), (10, 12, 3, 6), (6, 130), (40, 4, 7))


class Variant(NamedTuple):
    """A call whose options differ from the defaults; for some a word says which array `Kind.arrays` makes."""

    label: str
    options: Options
    shapes: tuple[Shape, ...]


class Kind(NamedTuple):
    """What the ops of a kind share."""

    shapes: tuple[Shape, ...]
    few: tuple[Shape, ...]  # for the options
    arrays: Callable[[Shape, str, Options, Draw, frozenset[str]], dict[str, Any]]
    variants: tuple[Variant, ...] = ()  # those that no name of an argument implies


def kind_of(names: frozenset[str], defaults: Options) -> Kind:
    """Return the kind of an op that has arguments of these names."""
    if "weights" in names:
        return NETWORK
    if "table" in names:
        return LOOKUPS
    if "cos" in names:
        return ROTATIONS
    if "query" in names:
        return ATTENTION if "scale" in names else MEMORY_READ
    if "w_gate" in names or {"weight", "activation"} <= names:
        return DENSE
    if {"weight", "target", "x"} <= names:
        return CLASSIFIERS
    if "prediction" in names:
        return SQUARES
    if "log_probabilities" in names:
        return CLASSES if "axis" in names else DIVERGENCES
    if "logits" in names:
        return CLASSES if "axis" in names else LABELS
    if "gate" in names:
        return GATES
    if "weight" in names and defaults.get("axis") == 1:
        return BATCHES if "running_mean" in names else CHANNELS
    if "weight" in names:
        return NORMS
    if "axis" in names:
        return ALONG_AXIS
    return ELEMENTS


def elements(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    """x and what has its shape, beside arguments for which there is an option."""
    whole = {"x", "residual", "gate", "up", "prediction"} & names
    return {name: draw(name, shape, dtype) for name in sorted(whole)}


def norms(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    axis = options.get("axis", -1)
    axes = axis if isinstance(axis, tuple) else (axis,)
    part = tuple(shape[number] for number in axes)
    given = {name: plain(name, part, dtype) for name in sorted({"weight", "bias"} & names)}
    return elements(shape, dtype, options, draw, names) | given


def channels(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    given = norms(shape, dtype, {"axis": options.get("axis", 1)}, draw, names)
    count = shape[options.get("axis", 1)]
    statistic = "float64" if dtype == "float64" else "float32"
    if "num_groups" in names:
        groups = options.get("num_groups", 2)
        given["num_groups"] = count if groups == "channels" else groups
    if "running_mean" in names:
        given["running_mean"] = plain("running_mean", (count,), statistic)
        given["running_var"] = positive("running_var", (count,), statistic)
    if "stats" in options:
        kind = "float64" if options["stats"] == "float64" else statistic
        given["stats"] = (plain("mean", (count,), kind), positive("rstd", (count,), kind))
    return given


def positive(name: str, shape: Shape, dtype: str) -> Array:
    return cast(uniform(name, shape) + 0.25, dtype)


def classes(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    axis = options.get("axis", -1) % len(shape)
    logits = draw("logits", shape, dtype)
    if options.get("target") == "probabilities":
        target = cast(uniform("target", shape) * (2 / max(shape[axis], 1)), dtype)
    else:
        target = integers("target", (*shape[:axis], *shape[axis + 1 :]), shape[axis])
        if "ignore_index" in names and "ignore_index" not in options:
            target.reshape(-1)[3::4] = -100
    given: dict[str, Any] = {"logits": logits, "target": target}
    if "log_probabilities" in names:
        given = {"log_probabilities": given.pop("logits"), **given}
    if options.get("weight") == "given":
        given["weight"] = positive("weight", (shape[axis],), dtype)
    return given


def labels(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    target: Array = cast(uniform("target", shape), dtype)
    if options.get("target") == "labels":
        target = integers("target", shape, 2)
    if options.get("target") == "bools":
        target = integers("target", shape, 2) == 1
    given: dict[str, Any] = {"logits": draw("logits", shape, dtype), "target": target}
    if options.get("weight") == "given":
        given["weight"] = positive("weight", shape, dtype)
    if options.get("pos_weight") == "given":  # one for each class
        given["pos_weight"] = positive("pos_weight", shape[-1:], dtype)
    return given


def squares(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    return {"prediction": draw("prediction", shape, dtype), "target": plain("target", shape, dtype)}


def divergences(
    shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]
) -> dict[str, Any]:
    goal = cast(uniform("target", shape), dtype)
    if options.get("log_target"):
        goal = plain("target", shape, dtype)
    return {"log_probabilities": draw("log_probabilities", shape, dtype), "target": goal}


def lookups(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    """Shapes are those of results."""
    *places, dim = shape
    return {"ids": integers("ids", tuple(places), 29), "table": draw("table", (29, dim), dtype)}


def rotations(
    shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]
) -> dict[str, Any]:
    """x with tables for all leading axes, or each of them."""
    *lead, positions, dim = shape
    pairs = dim // (4 if options.get("cos") == "part" else 2)
    size = (*(lead if options.get("cos") == "heads" else ()), positions, pairs)
    return {
        "x": draw("x", shape, dtype),
        **{name: cast(uniform(name, size) * 2 - 1, dtype) for name in ("cos", "sin")},
    }


def dense(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    """Shapes are (..., rows, in, out)."""
    *lead, size, out = shape
    given: dict[str, Any] = {"x": draw("x", (*lead, size), dtype)}
    for name in sorted({"weight", "w_gate", "w_up"} & names):
        given[name] = plain(name, (size, out), dtype)
    for name in sorted({"bias", "b_gate", "b_up"} & names):
        given[name] = plain(name, (out,), dtype)
    return given


def classifiers(
    shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]
) -> dict[str, Any]:
    """Shapes are (..., rows, in, classes)."""
    target = integers("target", shape[:-2], shape[-1])
    if "ignore_index" not in options:
        target.reshape(-1)[3::4] = -100
    return dense(shape, dtype, options, draw, names) | {"target": target}


def network(shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]) -> dict[str, Any]:
    """Shapes are (rows, features, hidden ..., outputs)."""
    rows, *sizes = shape
    layers = list(pairwise(sizes))
    weights = [plain(f"weight{i}", layer, dtype) for i, layer in enumerate(layers)]
    biases = [None if i % 3 == 1 else plain(f"bias{i}", (out,), dtype) for i, (_, out) in enumerate(layers)]
    x = draw("x", (rows, sizes[0]), dtype)
    return {"x": x, "weights": weights, "biases": None if options.get("biases") == "none" else biases}


def attention(
    shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]
) -> dict[str, Any]:
    """Shapes are (..., queries, slots, dim, width)."""
    *lead, queries, slots, dim, width = shape
    return read(tuple(lead), (queries,), slots, dim, width, dtype, options, draw)


def memory_read(
    shape: Shape, dtype: str, options: Options, draw: Draw, names: frozenset[str]
) -> dict[str, Any]:
    """Shapes are (..., slots, dim, width): a query a memory."""
    *lead, slots, dim, width = shape
    return read(tuple(lead), (), slots, dim, width, dtype, options, draw)


def read(
    lead: Shape, queries: Shape, slots: int, dim: int, width: int, dtype: str, options: Options, draw: Draw
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "query": draw("query", (*lead, *queries, dim), dtype),
        "keys": plain("keys", (*lead, slots, dim), dtype),
        "values": plain("values", (*lead, slots, width), dtype),
    }
    mask = options.get("mask")
    scores = (*lead, *queries, slots)
    if mask == "slots":
        given["mask"] = integers("mask", (slots,), 4) > 0
    elif mask == "causal":
        given["mask"] = np.arange(slots) <= np.arange(queries[0] if queries else 1)[:, None] * 2
        given["mask"] = given["mask"] if queries else given["mask"][0]
    elif mask == "rows":  # some of which have nothing to attend to
        given["mask"] = (integers("mask", scores, 3) > 0) & (integers("row", (*scores[:-1], 1), 5) > 0)
    elif mask == "added":
        added = plain("added", scores, "float64" if dtype == "float64" else "float32").copy()
        added[integers("mask", scores, 7) == 0] = -np.inf
        given["mask"] = added
    if options.get("keys") == "shared":  # one for all heads of a group, without a copy
        for name in ("keys", "values"):
            given[name] = np.broadcast_to(given[name][..., :1, :, :], given[name].shape)
    elif options.get("keys") == "fewer":  # a third of the heads, which lie apart
        for name in ("keys", "values"):
            given[name] = given[name][..., 2::3, :, :]
    return given


def broadcasts(shape: Shape) -> Iterator[tuple[str, Shape]]:
    """The shapes of a parameter that broadcasts against an array."""
    yield "row", shape[-1:]
    yield "column", (*shape[:-1], 1)
    yield "whole", shape


HEADS = ((1, 1, 1, 1), (2, 3, 17, 5, 5), (2, 3, 33, 70, 20, 24), (64, 130, 64, 64), (2, 70, 300, 32, 32))
FEW_HEADS = ((2, 3, 17, 5, 5), (2, 3, 33, 70, 20, 24), (2, 1, 50, 20, 20), (5, 1030, 16, 16))
SQUARES_OF_HEADS = ((2, 3, 17, 17, 5, 5), (2, 150, 150, 20, 24), (2, 33, 100, 8, 8), (3, 100, 33, 8, 8))
MEMORIES = ((1, 1, 1), (7, 5, 5), (3, 50, 20, 20), (2, 3, 70, 24, 17), (2, 1030, 16, 16))
FEW_MEMORIES = ((3, 50, 20, 20), (2, 3, 70, 24, 17), (0, 3, 4, 4))
MASKS = ("slots", "causal", "rows", "added")
LAYERS = (
    (1, 1, 1),
    (3, 18, 5),
    (1, 64, 33),
    (37, 130, 48),
    (50, 700, 96),
    (200, 34, 70),
    (2, 3, 16, 17),
    (0, 7, 3),
)
FEW_LAYERS = ((3, 18, 5), (10, 300, 33), (37, 20, 66))
NETWORKS = ((1, 1, 1), (3, 5, 8, 3), (70, 17, 33, 1), (300, 64, 100, 50, 10), (9, 300, 20), (0, 3, 4, 2))
FEW_NETWORKS = ((3, 5, 8, 3), (70, 17, 33, 2))

ELEMENTS = Kind(((), *ROWS), FEW_ROWS, elements)
ALONG_AXIS = Kind(
    ROWS,
    FEW_ROWS,
    elements,
    (
        Variant("axis=0", {"axis": 0}, ((2, 5), (18, 33), (130, 7), (1200, 3))),
        Variant("axis=1", {"axis": 1}, FEW_IMAGES),
    ),
)
GATES = Kind(
    ROWS,
    FEW_ROWS,
    elements,
    (
        Variant("packed", {"up": None}, (*ROWS, *FEW_ROWS)),
        Variant("packed axis=0", {"up": None, "axis": 0}, ((2, 5), (18, 33), (130, 7))),
        Variant("packed axis=1", {"up": None, "axis": 1}, FEW_IMAGES),
    ),
)
AXES = (0, (0, 1), (1, 0))
NORMS = Kind(
    ROWS,
    FEW_ROWS,
    norms,
    (
        *(Variant(f"axis={axis}", {"axis": axis}, FEW_ROWS) for axis in AXES),
        *(Variant(f"axis={axis}", {"axis": axis}, FEW_IMAGES) for axis in (1,)),
        *(
            Variant(f"axis={axis}", {"axis": axis}, ((2, 4, 3, 6), (3, 32, 7, 10)))
            for axis in ((1, 3), (3, 1), (0, 2), (-1, -2, -3), (2, 0, 3, 1))
        ),
    ),
)
OTHER_CHANNELS = tuple(
    Variant(f"axis={axis}", {"axis": axis}, ((4, 6, 50), (2, 3, 5, 4), (8, 130), (6, 20, 9, 2)))
    for axis in (0, -1)
)
CHANNELS = Kind(
    IMAGES,
    FEW_IMAGES,
    channels,
    OTHER_CHANNELS,
)
BATCHES = Kind(
    IMAGES,
    FEW_IMAGES,
    channels,
    (
        *OTHER_CHANNELS,
        *(
            Variant(f"training {item.label}", {**item.options, "training": True}, item.shapes)
            for item in OTHER_CHANNELS
        ),
        Variant("training all", {"training": True}, IMAGES),
        Variant("training correction=0", {"training": True, "running_correction": 0}, FEW_IMAGES),
        Variant("training momentum", {"training": True, "momentum": 0.75}, FEW_IMAGES),
        Variant("stats", {"stats": "given"}, FEW_IMAGES),
        Variant("stats float64", {"stats": "float64"}, FEW_IMAGES),
        Variant("training stats", {"stats": "given", "training": True}, FEW_IMAGES),
    ),
)
CLASSES = Kind(
    ROWS,
    FEW_ROWS,
    classes,
    (
        Variant("axis=0", {"axis": 0}, ((2, 5), (18, 33), (130, 7))),
        Variant("axis=1", {"axis": 1}, FEW_IMAGES),
        Variant("axis=1 none", {"axis": 1, "reduction": "none", "return_grad": True}, FEW_IMAGES),
        Variant("gradient", {"return_grad": True}, ROWS),
    ),
)
LABELS = Kind(
    ROWS,
    FEW_ROWS,
    labels,
    (
        Variant("labels", {"target": "labels"}, FEW_ROWS),
        Variant("bools", {"target": "bools"}, FEW_ROWS),
        Variant("gradient", {"return_grad": True, "reduction": "mean"}, ROWS),
    ),
)
LOOKUPS = Kind(ROWS, FEW_ROWS, lookups, (Variant("padding", {"padding_id": -3}, FEW_ROWS),))
ROTATIONS = Kind(
    (*ROWS, (2, 3, 33, 64)),
    (*FEW_ROWS, (2, 3, 17, 20)),
    rotations,
    (
        Variant("part", {"cos": "part"}, FEW_ROWS),
        Variant("part of neighbours", {"cos": "part", "interleaved": True}, FEW_ROWS),
        Variant("heads", {"cos": "heads"}, ((2, 3, 17, 20), (4, 5, 64))),
    ),
)
SQUARES = Kind(ROWS, FEW_ROWS, squares, (Variant("gradient", {"return_grad": True}, ROWS),))
DIVERGENCES = Kind(
    ROWS, FEW_ROWS, divergences, (Variant("gradient", {"return_grad": True, "reduction": "batchmean"}, ROWS),)
)
DENSE = Kind(LAYERS, FEW_LAYERS, dense)
# Around blocks of columns, and more rows than are together: with their logits in dweight, and without.
CLASSIFIERS = Kind(
    (*LAYERS, (30, 9, 1100), (100, 40, 33_000), (70, 20, 33_000)),
    (*FEW_LAYERS, (4, 5, 600)),
    classifiers,
    (Variant("gradient", {"return_grad": True}, LAYERS),),
)
NETWORK = Kind(NETWORKS, FEW_NETWORKS, network, (Variant("no biases", {"biases": "none"}, FEW_NETWORKS),))
FEWER = {"keys": "fewer", "enable_gqa": True}
GROUPS_OF_HEADS = ((2, 3, 17, 5, 5, 5), (6, 33, 70, 20, 24), (2, 6, 1, 50, 20, 20), (3, 150, 150, 16, 16))
SHARED = Variant("shared keys", {"keys": "shared"}, ((2, 3, 33, 70, 20, 24), (3, 5, 130, 16, 16)))
ATTENTION = Kind(
    HEADS,
    FEW_HEADS,
    attention,
    (
        SHARED,
        *(Variant(f"mask={mask}", {"mask": mask}, FEW_HEADS) for mask in MASKS),
        *(
            Variant(f"linear mask={mask}", {"mask": mask, "linear": True}, FEW_HEADS)
            for mask in ("rows", "added")
        ),
        Variant("weights mask=rows", {"mask": "rows", "return_weights": True}, FEW_HEADS),
        *(
            Variant(f"{causal} mask={mask}", {"mask": mask, "is_causal": causal}, FEW_HEADS)
            for causal, mask in ((True, "added"), ("lower_right", "rows"))
        ),
        *(
            Variant(f"weights {causal}", {"return_weights": True, "is_causal": causal}, SQUARES_OF_HEADS)
            for causal in (True, "lower_right")
        ),
        Variant("linear causal", {"linear": True, "is_causal": True}, SQUARES_OF_HEADS),
        Variant("groups", FEWER, GROUPS_OF_HEADS),
        *(Variant(f"groups mask={mask}", {"mask": mask, **FEWER}, GROUPS_OF_HEADS) for mask in MASKS),
        Variant("groups linear causal", {"linear": True, "is_causal": True, **FEWER}, GROUPS_OF_HEADS),
        Variant("softcap mask=added", {"softcap": 0.75, "mask": "added"}, FEW_HEADS),
        Variant("softcap linear mask=rows", {"softcap": 2.0, "linear": True, "mask": "rows"}, FEW_HEADS),
        Variant("dropout mask=rows", {"dropout": 0.3, "seed": 7, "mask": "rows"}, FEW_HEADS),
        Variant(
            "groups dropout causal", {"dropout": 0.25, "seed": 8, "is_causal": True, **FEWER}, GROUPS_OF_HEADS
        ),
        Variant("groups softcap causal", {"softcap": 0.75, "is_causal": True, **FEWER}, GROUPS_OF_HEADS),
    ),
)
MEMORY_READ = Kind(
    MEMORIES,
    FEW_MEMORIES,
    memory_read,
    (
        *(Variant(f"mask={mask}", {"mask": mask}, FEW_MEMORIES) for mask in MASKS),
        Variant("linear mask=rows", {"mask": "rows", "linear": True}, FEW_MEMORIES),
        Variant("weights mask=added", {"mask": "added", "return_weights": True}, FEW_MEMORIES),
    ),
)
