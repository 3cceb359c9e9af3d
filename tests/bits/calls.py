"""Calls of the ops, forward and backward, made from their signatures: an op needs no line of its own here.

Each option is tried by itself beside the defaults: the values of its annotation where that lists them, those
of `OPTIONS`, or one that is derived from its default. What a kind of op takes beside is in `kinds`.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import Any, Literal

import fastnorm
import numpy as np
from layouts import LAYOUTS, WRITABLE

from .kinds import DENSE, Draw, Kind, Options, Shape, Variant, broadcasts, kind_of
from .numbers import DTYPES, Array, Digest, plain, special, varied

HALVES = ("float16", "bfloat16")
PARAMETERS = frozenset({"weight", "bias", "w_gate", "w_up", "b_gate", "b_up", "weights", "biases"})
UPDATED = frozenset({"running_mean", "running_var"})

# Values of options whose defaults or annotations imply none that would select another path.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "eps": (0.0, 0.25),
    "label_smoothing": (0.1,),
    "ignore_index": (1,),
    "gamma": (0.0, 0.5, 1.0, 3.0),
    "fraction": (0.3,),
    "is_causal": (True, "lower_right"),
    "scale": (0.875,),
    "weight_offset": (1.0,),
    "beta": (1.7, -0.3, 0.0),
    "num_groups": (1, "channels"),
    "p": (0.0, 0.1, 0.75),
    "seed": (0, 2**64 - 1),
    "axis": (),  # of each kind of op its own
    "dropout": (),
    "out": (),
    "mask": (),
    "stats": (),
}
CHOSEN: dict[str, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    # softplus divides by it, smooth_l1_loss has none below 0.
    "beta": (("threshold", (1.7, -0.3)), ("prediction", (0.3, 0.0))),
    "alpha": (("gamma", (None, -1.0, 0.6)), ("residual", (0.7, 2.5))),
    "epsilon": (("axis", (-0.5, [1.0, -0.5, 0.25])), ("logits", (-0.5, 0.0))),
    "weight": (("logits", ("given",)), ("log_probabilities", ("given",))),
    "pos_weight": (("logits", ("given",)),),
    "seed": (("dropout", ()),),
    "target": (("label_smoothing", ("probabilities",)),),
}
# What deep_norm and dropout cannot be called without.
REQUIRED = {"alpha": 1.5, "seed": 12345}


class Op:
    """A public op and its backward."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.forward: Callable[..., Any] = getattr(fastnorm, name if name != "mlp" else "mlp_forward")
        self.backward: Callable[..., Any] = getattr(fastnorm, f"{name}_backward")

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The arguments of the forward."""
        return dict(inspect.signature(self.forward).parameters)

    @cached_property
    def backward_names(self) -> tuple[str, ...]:
        """The names of the arguments of the backward."""
        return tuple(inspect.signature(self.backward).parameters)

    @cached_property
    def positional(self) -> tuple[str, ...]:
        """The names of the arguments that can be given by position."""
        return tuple(n for n, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the arguments that have one."""
        return {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}

    @cached_property
    def kind(self) -> Kind:
        """The kind of op."""
        return kind_of(frozenset(self.parameters), self.defaults)

    def choices(self, name: str) -> tuple[Any, ...]:
        """The strings that an argument may be, None among them where it may be that too."""
        annotation = self.parameters[name].annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, vars(sys.modules[self.forward.__module__]))
        found: list[Any] = []
        for part in (annotation, *typing.get_args(annotation)):
            if typing.get_origin(part) is Literal:
                found += typing.get_args(part)
        return (*found, *((None,) if found and type(None) in typing.get_args(annotation) else ()))

    def values(self, name: str) -> tuple[Any, ...]:
        """The values of an option to try beside its default."""
        for other, values in CHOSEN.get(name, ()):
            if other in self.parameters:
                return values
        default = self.defaults.get(name)
        if name in OPTIONS:
            return OPTIONS[name]
        if isinstance(default, bool):
            return (not default,)
        if choices := self.choices(name):
            return tuple(choice for choice in choices if choice != default)
        if isinstance(default, float):
            return (0.75 * default + 0.125,)
        return ()

    def variants(self) -> Iterator[Variant]:
        """Every variant, each with a label of its own."""
        kind = self.kind
        yield Variant("plain", {}, kind.shapes)
        yield Variant("special values", {}, kind.few)
        optional = [n for n in self.positional if n in self.defaults and n not in ("up", "beta")]
        if optional:
            yield Variant("bare", dict.fromkeys(optional), kind.few)
        if optional and "training" in self.parameters:
            yield Variant("bare training", {**dict.fromkeys(optional), "training": True}, kind.few)
        if {"weight", "bias"} <= {*optional}:
            yield Variant("weight alone", {"bias": None}, kind.few)
            yield Variant("bias alone", {"weight": None}, kind.few)
        if PARAMETERS & set(self.positional):
            yield Variant("float32 parameters", {}, kind.few)
        for name in self.parameters:
            for value in self.values(name):
                yield Variant(f"{name}={value}", {name: value}, kind.few)
        if "beta" in self.positional:
            for label, _ in broadcasts((1, 1)):
                yield Variant(f"beta of a {label}", {"beta": label}, (*kind.few, (16, 4096)))
        yield from kind.variants

    def run(self, variant: Variant, dtype: str) -> tuple[str, str]:
        """Return the digests of all results of the forward and of the backward."""
        results, gradients = Digest(), Digest()
        everything = variant.label == "plain"
        for shape in variant.shapes:
            arguments = self.arguments(variant, shape, dtype)
            self.call(arguments, dtype, results, gradients)
            if everything and shape and prod(shape) < 50_000:
                # Products with repeated rows and attention without queries are test_calls.py's.
                for relay in (*LAYOUTS.values(), *(() if self.kind is DENSE else (repeated,))):
                    self.call(mapped(arguments, relay), dtype, results, gradients, relay)
                self.call_with_out(arguments, results)
        return results.text(), gradients.text()

    def arguments(
        self, variant: Variant, shape: Shape, dtype: str, numbers: Draw | None = None
    ) -> dict[str, Any]:
        """Return the arguments of a call, of these numbers where they are given."""
        draw: Draw = special if variant.label == "special values" else varied
        if variant.label == "plain" and shape and shape[0] in (16, 37):
            draw = plain
        draw = numbers or draw
        options = {name: REQUIRED[name] for name in REQUIRED if name in self.parameters}
        options = {n: v for n, v in options.items() if n not in self.defaults} | dict(variant.options)
        given = self.kind.arrays(shape, dtype, options, draw, frozenset(self.parameters))
        given |= {name: value for name, value in options.items() if not (value and name in given)}
        for name in ("weight", "up", "bias"):
            if name in variant.options and variant.options[name] is None:
                given[name] = None
        if isinstance(given.get("beta"), str):
            given["beta"] = plain("beta", dict(broadcasts(shape))[given["beta"]], dtype)
        if variant.label == "float32 parameters" and dtype in HALVES:
            for name in PARAMETERS & given.keys():
                given[name] = mapped(given[name], lambda array: array.astype(np.float32))
        return given

    def call(
        self,
        arguments: dict[str, Any],
        dtype: str,
        results: Digest,
        gradients: Digest,
        relay: Callable[[Array], Array] | None = None,
    ) -> None:
        """Add the results of one forward and its backward."""
        y = self.digest_forward(arguments, results)
        first = as_tuple(y)[: self.backward_names.index(self.positional[0])]
        dys = [plain(f"dy{i}", np.shape(part), dtype) for i, part in enumerate(first)]
        dys = [relay(dy) if relay and dy.ndim else dy for dy in dys]
        backward = {name: value for name, value in arguments.items() if name in self.backward_names}
        gradients.add(self.backward(*dys, **backward))
        if len(dys) > 1:
            for i in range(len(dys)):
                some = [None if i == k else dy for k, dy in enumerate(dys)]
                gradients.add(self.backward(*some, **backward))
        if "stats" in self.backward_names and "stats" not in arguments:
            _, *stats = self.forward(**(copied(arguments) | {"return_stats": True}))
            given = tuple(stats) if len(stats) > 1 else stats[0]
            gradients.add(self.backward(*dys, **backward, stats=given))

    def digest_forward(self, arguments: dict[str, Any], results: Digest) -> Any:
        """Add the results of a forward, arrays that it updates included."""
        own = copied(arguments)
        y = self.forward(**own)
        results.add(y)
        results.add([own[name] for name in sorted(UPDATED & own.keys())])
        return y

    def call_with_out(self, arguments: dict[str, Any], results: Digest) -> None:
        """Add the results of forwards with `out` in several layouts, and in place."""
        expected = as_tuple(self.forward(**copied(arguments)))
        if "out" not in self.parameters or not expected[0].size:
            return
        for layout in WRITABLE:
            outs = tuple(LAYOUTS[layout](np.zeros(y.shape, y.dtype)) for y in expected)
            self.forward(**copied(arguments), out=outs if len(outs) > 1 else outs[0])
            results.add(outs)
        name = self.positional[0]
        if expected[0].shape == arguments[name].shape:
            own = copied(arguments)
            own[name] = own[name].copy()
            others = tuple(np.zeros(y.shape, y.dtype) for y in expected[1:])
            results.add(self.forward(**own, out=(own[name], *others) if others else own[name]))


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def mapped(value: Any, function: Callable[[Array], Array]) -> Any:
    """Return the value with the function applied to each of its arrays that has an axis."""
    if isinstance(value, np.ndarray) and value.ndim:
        return function(value)
    if isinstance(value, dict):
        return {name: mapped(part, function) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(part, function) for part in value)
    return value


def repeated(array: Array) -> Array:
    """The first row for all, in the memory of one."""
    return np.broadcast_to(array[:1], array.shape)


def copied(arguments: Options) -> dict[str, Any]:
    """Return the arguments with copies of the arrays that the forward updates."""
    return {
        name: value.copy("K") if name in UPDATED and value is not None else value
        for name, value in arguments.items()
    }


def op_names() -> list[str]:
    """The public ops: what has a backward."""
    return sorted(name.removesuffix("_backward") for name in fastnorm.__all__ if name.endswith("_backward"))


def digests(name: str) -> Iterator[tuple[str, str]]:
    """What was run of an op, and the digests of the results of its forward and its backward."""
    op = Op(name)
    for variant in op.variants():
        for dtype in DTYPES:
            if variant.label != "float32 parameters" or dtype in HALVES:
                yield f"{variant.label}, {dtype}", " ".join(op.run(variant, dtype))
