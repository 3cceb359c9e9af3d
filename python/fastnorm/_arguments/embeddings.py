"""The argument rules of embeddings."""

from __future__ import annotations

import math

import numpy as np

from .._typing import Array
from .rules import MOST_ELEMENTS, Rules, shown


def embedding(
    rules: Rules, ids: object, table: object, padding_id: object, out: object
) -> tuple[Array, Array, int | None, Array | None]:
    """Return the canonical arguments of `embedding`."""
    ids, table, padding_id = lookup(rules, ids, table, padding_id)
    taken = rules.out(out, rows_of(ids, table), table)
    if taken is not None:
        rules.apart("out", taken, ids, "ids")
    return ids, table, padding_id, taken


def embedding_backward(
    rules: Rules, dy: object, ids: object, table: object, padding_id: object
) -> tuple[Array, Array, Array, int | None]:
    """Return the canonical arguments of `embedding_backward`."""
    ids, table, padding_id = lookup(rules, ids, table, padding_id)
    dy = rules.gradient("dy", dy, rows_of(ids, table), of="the result")
    return dy, ids, table, padding_id


def lookup(rules: Rules, ids: object, table: object, padding_id: object) -> tuple[Array, Array, int | None]:
    """Return ids as int64, the table that they are rows of, and the row without a gradient."""
    table = rules.array("table", table)
    if table.ndim != 2:
        raise rules.value_error("table", f"has shape {table.shape}", "two axes, (rows, dim)")
    numbers = rules.ndarray("ids", ids)
    if numbers.dtype.kind not in "iu":
        raise rules.type_error("ids", f"has dtype {numbers.dtype}", "integers")
    if numbers.ndim == 64:
        raise rules.value_error("ids", "has 64 axes", "at most 63, as the result has one more")
    if math.prod(max(length, 1) for length in (*numbers.shape, table.shape[1])) > MOST_ELEMENTS:
        needed = f"a result with {table.shape[1]} columns of at most 2**48 elements"
        raise rules.value_error("ids", f"has shape {numbers.shape}", needed)
    bad = (numbers < 0) | (numbers >= table.shape[0])
    if bad.any():
        place = tuple(map(int, np.argwhere(bad)[0]))
        at = f" at {place}" if place else ""
        raise rules.value_error(
            "ids", f"has {numbers[place]}{at}", f"0 to {table.shape[0] - 1}, the rows of table"
        )
    if padding_id is None:
        return numbers.astype(np.int64, copy=False), table, None
    padding = rules.integer("padding_id", padding_id, -(2**63))
    if not -table.shape[0] <= padding < table.shape[0]:
        needed = f"{-table.shape[0]} to {table.shape[0] - 1} for a table of shape {table.shape}"
        raise rules.value_error("padding_id", f"is {shown(padding_id)}", needed)
    return numbers.astype(np.int64, copy=False), table, padding % table.shape[0]


def rows_of(ids: Array, table: Array) -> Array:
    """Return an array of the result's shape and dtype, which takes no memory."""
    return np.broadcast_to(np.empty((), table.dtype), (*ids.shape, table.shape[1]))
