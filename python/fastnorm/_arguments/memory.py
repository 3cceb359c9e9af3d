"""The argument rules of `MemN2N`, and of the sums of embeddings that it is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._typing import Array
from .optim import sequence
from .rules import Rules, is_half


def embedding_sums(
    rules: Rules, tables: object, words: object, encoding: object
) -> tuple[tuple[Array, ...], Array, Array]:
    """Return the canonical arguments of `embedding_sums`."""
    return _sentences(rules, tables, words, encoding)


def embedding_sums_backward(
    rules: Rules, dys: object, tables: object, words: object, encoding: object
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array, Array]:
    """Return the canonical arguments of `embedding_sums_backward`."""
    checked, words, encoding = _sentences(rules, tables, words, encoding)
    result = np.broadcast_to(np.zeros((), checked[0].dtype), (*words.shape[:-1], checked[0].shape[1]))
    given = sequence(rules, "dys", dys)
    if len(given) != len(checked):
        raise rules.value_error("dys", f"has {len(given)} entries", f"{len(checked)}, one for each table")
    gradients = tuple(rules.gradient(f"dys[{i}]", dy, result, "the result") for i, dy in enumerate(given))
    return gradients, checked, words, encoding


def _sentences(
    rules: Rules, tables: object, words: object, encoding: object
) -> tuple[tuple[Array, ...], Array, Array]:
    listed = sequence(rules, "tables", tables)
    if not listed:
        raise rules.value_error("tables", "is empty", "at least one table")
    first = rules.array("tables[0]", listed[0])
    if is_half(first.dtype):
        raise rules.type_error("tables[0]", f"has dtype {first.dtype}", "float32 or float64")
    if first.ndim != 2:
        raise rules.value_error("tables[0]", f"has shape {first.shape}", "(rows, dim)")
    others = (
        rules.gradient(f"tables[{i}]", table, first, "tables[0]") for i, table in enumerate(listed[1:], 1)
    )
    ids = rules.ndarray("words", words)
    if ids.dtype.kind not in "iu":
        raise rules.type_error("words", f"has dtype {ids.dtype}", "integers")
    if ids.ndim == 0:
        raise rules.value_error("words", "has no axes", "(..., positions)")
    lowest, highest = (ids.min(), ids.max()) if ids.size else (0, -1)
    if lowest < 0 or highest >= first.shape[0]:
        found = lowest if lowest < 0 else highest
        raise rules.value_error(
            "words", f"has id {found}", f"ids from 0 to {first.shape[0] - 1}, the rows of a table"
        )
    factors = rules.array("encoding", encoding, like=first)
    shape = np.broadcast_to(np.zeros((), first.dtype), (ids.shape[-1], first.shape[1]))
    factors = rules.gradient("encoding", factors, shape, "(positions, dim) of words and tables")
    return (first, *others), ids.astype(np.int64, copy=False), factors


def word_ids(rules: Rules, name: str, value: object, ndim: int, vocab_size: int) -> Array:
    """Return an array of word ids of the caller's own: what is checked is what is read, whoever changes the
    caller's array meanwhile.
    """
    given = rules.ndarray(name, value)
    if given.dtype.kind not in "iu":
        raise rules.type_error(name, f"has dtype {given.dtype}", "integers")
    if given.ndim != ndim:
        raise rules.value_error(name, f"has {given.ndim} axes", f"{ndim}")
    words = given.copy()
    lowest, highest = (words.min(), words.max()) if words.size else (0, 0)
    if lowest < 0 or highest >= vocab_size:
        found = lowest if lowest < 0 else highest
        raise rules.value_error(name, f"has id {found}", f"0 to {vocab_size - 1}")
    return words.astype(np.int64, copy=False)


def training(
    rules: Rules,
    epochs: object,
    batch_size: object,
    learning_rate: object,
    decay: object,
    decay_every: object,
    linear_start: object,
    noise: object,
    clip: object,
) -> tuple[int, int, float, float, int, int, float, float]:
    """Return the settings of `MemN2N.fit`."""
    return (
        rules.integer("epochs", epochs, minimum=0),
        rules.integer("batch_size", batch_size, minimum=1),
        rules.number("learning_rate", learning_rate, minimum=0),
        rules.number("decay", decay, minimum=0),
        rules.integer("decay_every", decay_every, minimum=1),
        rules.integer("linear_start", linear_start, minimum=0),
        share(rules, "noise", noise),
        math.inf if clip == math.inf else rules.number("clip", clip, minimum=0),
    )


def share(rules: Rules, name: str, value: object) -> float:
    """Return a number from 0 to 1."""
    number = rules.number(name, value, minimum=0)
    if number > 1:
        raise rules.value_error(name, f"is {value!r}", "a share of at most 1")
    return number


def taken_parameters(
    rules: Rules,
    parameters: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype[Any],
    *,
    updated: bool = False,
) -> dict[str, Array]:
    """Return the parameters, which users may have replaced: arrays of these shapes, writeable where they
    are `updated`.
    """
    if not isinstance(parameters, Mapping):
        raise rules.type_error("parameters", f"has type {type(parameters).__name__}", "a dict of arrays")
    taken = {}
    for name, shape in shapes.items():
        array, place = parameters.get(name), f"parameters[{name!r}]"
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise rules.type_error(place, f"has type {type(array).__name__}", "a NumPy array")
        if array.dtype != dtype:
            raise rules.type_error(place, f"has dtype {array.dtype}", f"{dtype} as the model")
        if array.shape != shape:
            raise rules.value_error(place, f"has shape {array.shape}", f"{shape}")
        if updated:
            rules.writeable(place, array)
        taken[name] = array
    return taken
