"""The vector-Jacobian product of any op, by the rule that all ops follow."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arguments.gradients import ruled_names
from ._arguments.rules import Rules, shown

__all__ = ["vjp"]


class Pair(NamedTuple):
    """An op, its backward, and what vjp needs to know of their signatures."""

    backward: Callable[..., Any]
    signature: inspect.Signature
    positional: tuple[str, ...]  # of the forward, in order: the backward takes them after dy
    keywords: frozenset[str]  # of the forward that the backward takes too
    has_stats: bool  # the forward can return statistics that the backward takes
    takes_result: bool  # the backward takes the forward's result


def vjp(op: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Callable[..., Any]]:
    """Call an op and return its result with the function that pulls gradients back through the call.

    Parameters
    ----------
    op : function
        An op of fastnorm that has a backward, such as ``fastnorm.layer_norm``.
    *args, **kwargs
        The arguments of the op. The pullback reads the arrays again, so they must not change before it is
        called; nor must y where the backward takes it, as those of softmax, log_softmax, sigmoid and tanh do.

    Returns
    -------
    y
        What ``op(*args, **kwargs)`` returns.
    pullback : function
        ``pullback(dy)`` returns what the op's backward returns. Statistics that the backward needs are kept
        from the forward and not computed again, nor is y where the backward takes that.

    Raises
    ------
    TypeError
        If `op` is not an op of fastnorm that has a backward.
    ValueError
        If `out` overlaps an input, which the pullback could then not read.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> y, pullback = fastnorm.vjp(fastnorm.layer_norm, x, np.ones(4))
    >>> dx, dweight, dbias = pullback(np.array([[1.0, 0.0, 0.0, 0.0]]))
    >>> dx.round(4)
    array([[ 0.2683, -0.3578, -0.0894,  0.1789]])
    """
    pair = _pair(op)
    try:
        bound = pair.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{op.__name__}() {error}") from None
    bound.apply_defaults()
    values = bound.arguments
    inputs = [values[name] for name in pair.positional]
    read = dict(zip(pair.positional, inputs, strict=True)) | {"stats": values.get("stats")}
    _refuse_overlap(values.get("out"), read)

    keywords = {name: values[name] for name in pair.keywords}
    if pair.has_stats and values.get("stats") is None:
        result, *stats = op(*args, **{**kwargs, "return_stats": True})
        keywords["stats"] = tuple(stats) if len(stats) > 1 else stats[0]
        y = (result, *stats) if values["return_stats"] else result
        if "training" in keywords and values["running_mean"] is None:
            # batch_norm then used the statistics of the batch: the gradient goes through them.
            keywords["training"] = True
    else:
        y = op(*args, **kwargs)
        if pair.takes_result:
            keywords["y"] = y

    def pullback(*dy: Any) -> Any:
        return pair.backward(*dy, *inputs, **keywords)

    return y, pullback


def _pair(op: Any) -> Pair:
    """Find the backward of an op."""
    backward = getattr(op, "backward", None)
    if not (callable(op) and callable(backward) and hasattr(op, "reference")):
        raise TypeError(f"vjp: op is {shown(op)}, needs an op of fastnorm that has a backward, as layer_norm")
    return _match(op, backward)


@functools.cache
def _match(op: Callable[..., Any], backward: Callable[..., Any]) -> Pair:
    signature = inspect.signature(op)
    parameters = signature.parameters.values()
    backward_names = ruled_names(backward)
    return Pair(
        backward,
        signature,
        tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY),
        frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in backward_names),
        "return_stats" in signature.parameters and "stats" in backward_names,
        "y" in backward_names,
    )


def _refuse_overlap(out: Any, inputs: dict[str, Any]) -> None:
    """Raise where the forward would overwrite what the backward reads."""
    results = [
        array for array in (out if isinstance(out, tuple) else (out,)) if isinstance(array, np.ndarray)
    ]
    if not results:
        return
    for name, value in inputs.items():
        for part in value if isinstance(value, tuple) else (value,):
            array = _as_read(name, part)
            if array is not None and any(np.may_share_memory(result, array) for result in results):
                raise ValueError(
                    f"vjp: out overlaps {name}, needs memory of its own: the pullback reads {name} again"
                )


def _as_read(name: str, value: Any) -> np.ndarray[Any, Any] | None:
    """Return the array that an op reads in an argument; None where it reads a copy or refuses it."""
    if value is None or isinstance(value, (bool, int, float, str, list)):
        return None
    try:
        return Rules("vjp").ndarray(name, value)
    except (TypeError, ValueError):
        return None
