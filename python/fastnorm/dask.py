"""Ops, networks and estimators over Dask arrays, chunk by chunk (extra `dask`).

All but `gradients` is lazy: what comes out are Dask arrays, of which each chunk is a call of fastnorm. What
``x.map_blocks(op)`` gets silently wrong is refused: chunks along what a result depends on, parameters that
vary from chunk to chunk, masks that each chunk would repeat.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

try:
    import dask
    import dask.array as da
except ImportError as error:
    raise ImportError("fastnorm.dask needs Dask: pip install fastnorm-kernels[dask]") from error

from . import channel_norms as _channel_norms
from ._arguments.mlp import MLP_LOSSES
from ._arguments.rules import Rules
from ._typing import Array
from .activations import __all__ as _activations
from .channel_norms import Moments
from .gates import __all__ as _gates
from .mlp import MLP, mlp_gradients
from .norms import __all__ as _norms
from .softmax import __all__ as _softmax

__all__ = ["batch_norm", "gradients", "map_op", "moments", "predict"]

Part = TypeVar("Part")

# Ops by what a result of theirs depends on, which a chunk has to have whole.
ELEMENTWISE = frozenset(_activations)
GATES = frozenset(_gates)
ALONG_AXIS = frozenset({*_norms, *_softmax, "deep_norm", *_gates})
LAST_AXIS = frozenset({"linear", "gated_linear", "mlp_forward"})
LAST_TWO = frozenset({"attention", "rotary_embedding", "rotary_embedding_backward"})
BEHIND_SAMPLES = frozenset({"group_norm", "instance_norm"})
ELSEWHERE = {"batch_norm": "fastnorm.dask.batch_norm", "moments": "fastnorm.dask.moments"}


def map_op(op: Any, x: Any, *args: Any, axis: Any = -1, **keywords: Any) -> Any:
    """Apply an op of fastnorm to each chunk of a Dask array, with the bits of one call on all of it.

    Parameters
    ----------
    op : function of fastnorm
        What gives each row, sample, head or element a result of its own, and one array: activations, gates,
        norms, softmax, dense layers, attention, and backwards with one gradient.
    x : dask.array.Array
        The op's first argument. In one chunk along what a result depends on: along `axis`; of dense layers
        the last axis, of `attention` and rotary positions the last two, of `group_norm` and `instance_norm`
        all but the first.
    *args
        The op's other arguments by position. Dask arrays of x's shape and chunks go along chunk by chunk, as
        do keys and values with x's chunks of the leading axes. What varies along no chunked axis may be a
        NumPy array.
    axis : int, tuple of int or None, default -1
        The op's, where it has one.
    **keywords
        The op's.

    Returns
    -------
    y : dask.array.Array

    Raises
    ------
    TypeError, ValueError
        Where the chunks would not give what the whole gives, or the op refuses its arguments.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastnorm
    >>> import fastnorm.dask
    >>> x = da.arange(12.0, chunks=6).reshape(4, 3)
    >>> y = fastnorm.dask.map_op(fastnorm.softmax, x)
    >>> bool((y.compute() == fastnorm.softmax(x.compute())).all())
    True
    """
    rules = Rules("map_op")
    name = getattr(op, "__name__", repr(op))
    x = _taken(rules, "x", x)
    needed = _needed(rules, op, name, x.ndim, args, axis)
    _in_one_chunk(rules, name, x, needed)
    if "axis" in op.__signature__.parameters:
        keywords["axis"] = axis
    for keyword, value in keywords.items():
        if isinstance(value, da.Array):
            raise rules.type_error(keyword, "is a Dask array", "a NumPy array: compute() gives one")
        if keyword == "out" and value is not None:
            raise rules.type_error("out", "is given", "nothing: chunks have memory of their own")
    beside, given = _arguments(rules, name, x, args, needed)
    varied = {
        *needed,
        *(number for value in (*given, keywords.get("mask")) for number in _varies(value, x, name)),
    }
    _in_one_chunk(rules, name, x, sorted(varied))
    call = functools.partial(_of_chunk, op, tuple(beside), given, keywords)

    # What a chunk gives is seen on one that is as short as it can be, where errors come up too.
    own = 2 if name == "attention" else 0  # axes that are not x's, though as many
    short = []
    for array, lead in ((x, x.ndim), *((array, x.ndim - own) for array in beside.values())):
        lengths = [n if k in varied or k >= lead else min(n, 1) for k, n in enumerate(array.shape)]
        short.append(np.zeros(lengths, array.dtype))
    y = call(*short)
    if not isinstance(y, np.ndarray):
        raise rules.type_error("op", f"is {name} with {len(y)} results", "one result a call")
    changed = {k: y.shape[k] for k in needed if y.shape[k] != x.shape[k]}
    names = tuple(range(x.ndim))
    pairs = [part for array in beside.values() for part in (array, _names(array, x, name))]
    return da.blockwise(
        call, names, x, names, *pairs, dtype=y.dtype, adjust_chunks=changed, concatenate=True, meta=y[:0]
    )


def _of_chunk(
    op: Callable[..., Any],
    places: Sequence[int],
    given: Sequence[Any],
    keywords: dict[str, Any],
    x: Array,
    *chunks: Array,
) -> Any:
    """Call an op with chunks in their places among the other arguments."""
    args = list(given)
    for place, chunk in zip(places, chunks, strict=True):
        args[place] = chunk
    return op(x, *args, **keywords)


def _taken(rules: Rules, name: str, x: Any) -> Any:
    """Return a Dask array whose shape is known."""
    if not isinstance(x, da.Array):
        raise rules.type_error(name, f"has type {type(x).__name__}", "a dask.array.Array")
    if any(np.isnan(n) for n in x.shape):
        raise rules.value_error(
            name, f"has shape {x.shape}", "known lengths (compute_chunk_sizes() finds them)"
        )
    return x


def _needed(rules: Rules, op: Any, name: str, ndim: int, args: Sequence[Any], axis: Any) -> list[int]:
    """Return the axes of x that a result depends on."""
    is_split = not args or args[0] is None  # a gate and what it gates in one array
    if name in ELEMENTWISE or (name in GATES and not name.startswith("glu") and not is_split):
        return []
    if name in ALONG_AXIS:
        return list(rules.axes(axis, np.broadcast_to(np.float32(0), (1,) * ndim)))
    if name in LAST_AXIS | LAST_TWO | BEHIND_SAMPLES:
        first = 1 if name in BEHIND_SAMPLES else max(ndim - (1 if name in LAST_AXIS else 2), 0)
        return list(range(first, ndim))
    instead = ELSEWHERE.get(name, "an op of fastnorm with one result for each row, sample, head or element")
    raise rules.type_error("op", f"is {name}", instead)


def _in_one_chunk(rules: Rules, name: str, x: Any, axes: Sequence[int]) -> None:
    for number in axes:
        if x.numblocks[number] > 1:
            found = f"has {x.numblocks[number]} chunks along axis {number}"
            needed = f"one for {name} with these arguments: x.rechunk({{{number}: -1}})"
            raise rules.value_error("x", found, needed)


def _arguments(
    rules: Rules, name: str, x: Any, args: Sequence[Any], needed: Sequence[int]
) -> tuple[dict[int, Any], list[Any]]:
    """Return what goes along chunk by chunk, by its place, and all others."""
    beside: dict[int, Any] = {}
    given = list(args)
    for place, value in enumerate(args):
        lead = x.ndim - 2 if name == "attention" else x.ndim
        if isinstance(value, da.Array):
            is_beside = value.ndim == x.ndim and value.chunks[:lead] == x.chunks[:lead]
            if not is_beside or any(n > 1 for n in value.numblocks[lead:]):
                found = f"is a Dask array of chunks {value.chunks}"
                raise rules.value_error(
                    f"args[{place}]", found, f"the chunks of x, {x.chunks}, or a NumPy array"
                )
            beside[place], given[place] = value, None
        elif isinstance(value, np.ndarray) and x.npartitions > 1 and name not in LAST_AXIS:
            if x.ndim < 2 or value.ndim != x.ndim or value.shape[:lead] != x.shape[:lead]:
                continue
            chunks = (*x.chunks[:lead], *value.shape[lead:])
            beside[place], given[place] = da.from_array(value, chunks=chunks), None
    return beside, given


def _varies(value: Any, x: Any, name: str) -> list[int]:
    """Return the axes of x along which an argument varies that goes to every chunk."""
    if name in ALONG_AXIS | LAST_AXIS | BEHIND_SAMPLES or not hasattr(value, "shape"):
        return []
    offset = x.ndim - len(value.shape)
    return [k + offset for k, n in enumerate(value.shape) if n > 1 and k + offset >= 0]


def _names(array: Any, x: Any, name: str) -> tuple[int, ...]:
    """Return the names of the axes of an array beside x: those of x, or of keys and values their own last."""
    own = 2 if name == "attention" else 0
    return (*range(x.ndim - own), *(1000 + id(array) % 1000 * 2 + k for k in range(own)))


# ---- sums over chunks


def in_pairs(parts: Sequence[Part], merge: Callable[[Part, Part], Part]) -> Part:
    """Return parts merged in a balanced binary tree, in their order."""
    parts = list(parts)
    while len(parts) > 1:
        pairs = [merge(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2 :]
    return parts[0]


def moments(x: Any, axis: Any) -> Moments:
    """Number, mean and sum of squared deviations over axes of a Dask array, which may be chunked.

    Those of the chunks are merged in a balanced binary tree in the order of the chunks, so that the bits
    depend on the chunks alone.

    Parameters
    ----------
    x : dask.array.Array
        float32, float64, float16 or bfloat16.
    axis : int, tuple of int or None
        What is reduced; None stands for all.

    Returns
    -------
    Moments
        Its mean and m2 are Dask arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastnorm.dask
    >>> count, mean, m2 = fastnorm.dask.moments(da.arange(8.0, chunks=3), 0)
    >>> count, float(mean.compute()), float(m2.compute())
    (8, 3.5, 42.0)
    """
    rules = Rules("moments")
    x = _taken(rules, "x", x)
    axes = list(rules.axes(axis, np.broadcast_to(np.float32(0), (1,) * x.ndim)))
    kept = [k for k in range(x.ndim) if k not in axes]
    blocks = x.to_delayed()
    of_chunk, merged = dask.delayed(_channel_norms.moments), dask.delayed(in_pairs)
    found = np.empty([x.numblocks[k] for k in kept], object)
    for place in np.ndindex(found.shape):
        index: list[Any] = [slice(None)] * x.ndim
        for k, number in zip(kept, place, strict=True):
            index[k] = number
        parts = [of_chunk(block, tuple(axes)) for block in blocks[tuple(index)].ravel()]
        found[place] = merged(parts, Moments.merge)
    arrays = []
    for number in (1, 2):
        lists: Any = np.empty(found.shape, object)
        for place in np.ndindex(found.shape):
            shape = tuple(x.chunks[k][n] for k, n in zip(kept, place, strict=True))
            lists[place] = da.from_delayed(found[place][number], shape, np.float64)
        arrays.append(da.block(lists.tolist()))
    return Moments(int(np.prod([x.shape[k] for k in axes])), *arrays)


def batch_norm(
    x: Any,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    stats: tuple[Any, Any] | None = None,
) -> Any:
    """Batch norm of a Dask array by the statistics of all chunks, as in training on all of it.

    Parameters
    ----------
    x : dask.array.Array
        With any chunks.
    weight, bias : ndarray, optional
        One a channel.
    axis : int, default 1
        Of the channels.
    eps : float, default 1e-5
    stats : (mean, rstd), optional
        In the place of the batch's, as ``moments(...).stats()`` gives them, or NumPy arrays.

    Returns
    -------
    y : dask.array.Array

    Examples
    --------
    >>> import dask.array as da
    >>> import fastnorm.dask
    >>> x = da.arange(12.0, chunks=5).reshape(6, 2).rechunk((4, 1))
    >>> fastnorm.dask.batch_norm(x).compute().std(axis=0).round(4)
    array([1., 1.])
    """
    rules = Rules("batch_norm")
    x = _taken(rules, "x", x)
    axis = rules.axis(axis, np.broadcast_to(np.float32(0), (1,) * x.ndim))
    eps = rules.number("eps", eps, minimum=0)
    channels = x.shape[axis]
    if stats is None:
        of_batch = moments(x, tuple(k for k in range(x.ndim) if k != axis))
        if of_batch.count < 2:
            raise rules.value_error("x", f"has shape {x.shape}", "more than one value a channel")
        stats = of_batch.mean, 1 / da.sqrt(of_batch.m2 / of_batch.count + eps)
    parts = []
    for name, value in (("mean", stats[0]), ("rstd", stats[1]), ("weight", weight), ("bias", bias)):
        if value is None:
            continue
        if tuple(value.shape) != (channels,):
            raise rules.value_error(name, f"has shape {tuple(value.shape)}", f"({channels},)")
        parts += [da.asarray(value).rechunk((x.chunks[axis],)), (axis,)]
    names = tuple(range(x.ndim))
    call = functools.partial(_normalised, axis, weight is not None)
    return da.blockwise(call, names, x, names, *parts, dtype=x.dtype, meta=np.empty((0,) * x.ndim, x.dtype))


def _normalised(axis: int, has_weight: bool, x: Array, mean: Array, rstd: Array, *parameters: Array) -> Array:
    """Return a chunk by given statistics."""
    weight = parameters[0] if has_weight else None
    bias = parameters[int(has_weight)] if len(parameters) > has_weight else None
    y: Array = _channel_norms.batch_norm(x, weight, bias, axis=axis, stats=(mean, rstd))
    return y


# ---- models


def predict(model: Any, x: Any) -> Any:
    """Return what a network gives, or an estimator predicts, of the rows of a Dask array.

    Parameters
    ----------
    model : MLP or estimator
        A fitted one, of `fastnorm.sklearn` or with the same interface. It goes to the workers whole.
    x : dask.array.Array
        (rows, features), in one chunk along the features.

    Returns
    -------
    y : dask.array.Array

    Examples
    --------
    >>> import dask.array as da
    >>> import fastnorm
    >>> import fastnorm.dask
    >>> mlp = fastnorm.MLP([3, 8, 2], seed=0)
    >>> fastnorm.dask.predict(mlp, da.ones((10, 3), chunks=(4, 3), dtype="f")).shape
    (10, 2)
    """
    rules = Rules("predict")
    x = _taken(rules, "x", x)
    function = model.forward if isinstance(model, MLP) else getattr(model, "predict", None)
    if function is None:
        raise rules.type_error("model", f"has type {type(model).__name__}", "an MLP or an estimator")
    if x.ndim != 2:
        raise rules.value_error("x", f"has shape {x.shape}", "two axes, (rows, features)")
    _in_one_chunk(rules, "a row", x, [1])
    y = function(np.zeros((1, x.shape[1]), x.dtype))
    shape = tuple((n,) for n in y.shape[1:])
    call = functools.partial(_of_rows, function, y.shape[1:], y.dtype)
    if y.ndim == 1:
        return x.map_blocks(call, dtype=y.dtype, chunks=(x.chunks[0],), drop_axis=1, meta=y[:0])
    return x.map_blocks(call, dtype=y.dtype, chunks=(x.chunks[0], *shape), meta=y[:0])


def _of_rows(function: Callable[[Array], Array], rest: tuple[int, ...], dtype: Any, x: Array) -> Array:
    """Return what a model gives of a chunk, which may have no rows."""
    return function(x) if len(x) else np.empty((0, *rest), dtype)


def gradients(mlp: MLP, x: Any, target: Any, *, loss: str = "mse") -> tuple[float, list[Array], list[Array]]:
    """Compute the loss of all rows and its gradients, in one pass over the chunks.

    The gradients of the chunks are added up in a balanced binary tree in their order, so that the bits depend
    on the chunks alone.

    Parameters
    ----------
    mlp : MLP
        Without regard to its dropout.
    x : dask.array.Array
        (rows, features), in one chunk along the features.
    target : dask.array.Array
        As `MLP.step` takes it, with x's chunks of the rows.
    loss : str, default 'mse'
        As in `MLP.step`: the mean over the rows.

    Returns
    -------
    loss : float
    dweights, dbiases : list of ndarray

    Examples
    --------
    >>> import dask.array as da
    >>> import fastnorm
    >>> import fastnorm.dask
    >>> mlp = fastnorm.MLP([3, 8, 1], seed=0)
    >>> x = da.ones((10, 3), chunks=(4, 3), dtype="f")
    >>> loss, dweights, dbiases = fastnorm.dask.gradients(mlp, x, x[:, :1])
    >>> [part.shape for part in dweights]
    [(3, 8), (8, 1)]
    """
    rules = Rules("gradients")
    x, target = _taken(rules, "x", x), _taken(rules, "target", target)
    if not isinstance(mlp, MLP):
        raise rules.type_error("mlp", f"has type {type(mlp).__name__}", "an MLP")
    loss = rules.choice("loss", loss, MLP_LOSSES)
    if x.ndim != 2 or x.shape[0] == 0:
        raise rules.value_error("x", f"has shape {x.shape}", "(rows, features), of one row at least")
    _in_one_chunk(rules, "a row", x, [1])
    if (
        target.ndim not in (1, 2)
        or target.chunks[0] != x.chunks[0]
        or any(n > 1 for n in target.numblocks[1:])
    ):
        found = f"has chunks {target.chunks}"
        raise rules.value_error("target", found, f"{x.chunks[0]} along the rows, as x, and one beside them")
    of_chunk = dask.delayed(_chunk_gradients)
    network = dask.delayed((mlp.weights, mlp.biases, mlp.activation, mlp.output_activation), pure=False)
    pairs = zip(x.to_delayed().ravel(), target.to_delayed().ravel(), strict=True)
    rows = x.shape[0]
    parts = [of_chunk(network, *pair, loss, rows) for pair in pairs]
    total: list[Any] = dask.delayed(in_pairs)(parts, _added).compute()
    layers = len(mlp.weights)
    dtype = np.float64 if mlp.dtype == np.float64 else np.float32
    whole = [np.asarray(part, dtype) for part in total[1:]]
    return float(total[0]), whole[:layers], whole[layers:]


def _chunk_gradients(network: Any, x: Array, target: Array, loss: str, rows: int) -> list[Any]:
    """Return the share of a chunk's rows in the loss and in its gradients, in float64."""
    weights, biases, activation, output_activation = network
    if not len(x):
        return [0.0, *(np.zeros(array.shape) for array in (*weights, *biases))]
    value, dweights, dbiases = mlp_gradients(
        x, target, None, weights, biases, activation, output_activation, loss, 0.0
    )
    share = len(x) / rows
    return [value * share, *(np.asarray(part, np.float64) * share for part in (*dweights, *(dbiases or ())))]


def _added(a: list[Any], b: list[Any]) -> list[Any]:
    return [one + other for one, other in zip(a, b, strict=True)]
