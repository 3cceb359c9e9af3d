"""The argument rules of embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import Array
from .mlp import float_dtype
from .rules import MOST_ELEMENTS, Rules, as_index, is_float, shown


def embedding(
    rules: Rules, ids: object, table: object, padding_id: object, out: object
) -> tuple[Array, Array, int | None, Array | None]:
    """Return the canonical arguments of `embedding`."""
    ids, table, padding_id = lookup(rules, ids, table, padding_id)
    return ids, table, padding_id, rules.out(out, rows_of(ids, table), table)


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


def rotary_embedding(
    rules: Rules, x: object, cos: object, sin: object, interleaved: object, out: object
) -> tuple[Array, Array, Array, bool, Array | None]:
    """Return the canonical arguments of `rotary_embedding`."""
    x, cos, sin = turned(rules, x, cos, sin)
    return x, cos, sin, rules.flag("interleaved", interleaved), rules.out(out, x, x, cos, sin)


def rotary_embedding_backward(
    rules: Rules, dy: object, x: object, cos: object, sin: object, interleaved: object
) -> tuple[Array, Array, Array, Array, bool]:
    """Return the canonical arguments of `rotary_embedding_backward`."""
    x, cos, sin = turned(rules, x, cos, sin)
    return rules.gradient("dy", dy, x), x, cos, sin, rules.flag("interleaved", interleaved)


def turned(rules: Rules, x: object, cos: object, sin: object) -> tuple[Array, Array, Array]:
    """Return x and its angles."""
    x = rules.array("x", x)
    if x.ndim < 2:
        raise rules.value_error("x", f"has shape {x.shape}", "(..., positions, dim)")
    cos, sin = rules.parameter("cos", cos, x), rules.parameter("sin", sin, x)
    lead, (positions, dim) = x.shape[:-2], x.shape[-2:]
    given = cos.shape[:-2]
    broadcasts = all(a in (1, b) for a, b in zip(reversed(given), reversed(lead), strict=False))
    if not 2 <= cos.ndim <= x.ndim or not broadcasts or cos.shape[-2] != positions or 2 * cos.shape[-1] > dim:
        needed = f"(..., {positions}, pairs) with at most {dim // 2} pairs for x of shape {x.shape}"
        raise rules.value_error("cos", f"has shape {cos.shape}", needed)
    if sin.shape != cos.shape:
        raise rules.value_error("sin", f"has shape {sin.shape}", f"{cos.shape} as cos")
    return x, cos, sin


def frequencies(
    rules: Rules, positions: object, dim: object, base: object, dtype: object
) -> tuple[Array, int, float, np.dtype[Any]]:
    """Return positions in float64, how many pairs are turned, the base and the dtype of the tables."""
    if as_index(positions) is not None:
        places = np.arange(rules.integer("positions", positions, 0, MOST_ELEMENTS), dtype=np.float64)
    else:
        given = rules.ndarray("positions", positions)
        if given.dtype.kind not in "iu" and not is_float(given.dtype):
            raise rules.type_error("positions", f"has dtype {given.dtype}", "integers or floats")
        places = given.astype(np.float64)
    turned = rules.integer("dim", dim, 0, MOST_ELEMENTS)
    if turned % 2 != 0:
        raise rules.value_error("dim", f"is {turned}", "an even number")
    number = rules.number("base", base, minimum=0)
    if number == 0:
        raise rules.value_error("base", f"is {shown(base)}", "more than 0")
    return places, turned // 2, number, float_dtype(rules, dtype)
