"""Ops as objects: each is made from the one `def` that states its signature and documents it.

A call parses its arguments by that signature and goes to the native function of the op's name in the
extension, or to the twin, `reference.<family>.<op>`, where the backend of the context says so. Arguments that
need a rule pass `_arguments.<family>.<op>` first, on either backend; the family is the module of the `def`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, ParamSpec, Protocol, TypeVar

from . import _backend
from ._arguments.rules import Rules

__all__ = ["OPS", "Op", "op"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Op(Protocol[P, R_co]):
    """What an op offers besides being called."""

    __name__: str
    __qualname__: str
    __module__: str
    __doc__: str | None
    __signature__: inspect.Signature
    backward: Op[..., Any] | None  # None where the op has none

    @property
    def native(self) -> Op[P, R_co]:
        """The op on the compiled kernels, whatever the backend."""

    @property
    def reference(self) -> Op[P, R_co]:
        """The op on its NumPy twin, whatever the backend."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the op."""


OPS: dict[str, Op[..., Any]] = {}  # every op by its name, those behind classes too


def op(function: Callable[P, R_co]) -> Op[P, R_co]:
    """Make the op whose signature and documentation the function states; a backward is linked with its op."""
    kind: Any = InterpretedOp if _backend.extension is None else _backend.extension.Op
    made: Op[P, R_co] = kind(function)
    made.backward = None
    name = made.__name__
    OPS[name] = made
    if name.endswith("_backward"):
        stem = name.removesuffix("_backward")
        for forward in (stem, f"{stem}_forward"):
            if forward in OPS:
                OPS[forward].backward = made
    return made


class InterpretedOp:
    """An op where the extension is not loaded, which does in Python what `_core.Op` does in C++."""

    __name__: str
    backward: Op[..., Any] | None

    def __init__(self, function: FunctionType, *, always: bool = False) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._always = always  # the twin, whatever the backend
        if always:
            self.__module__ = f"{__package__}.reference"

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @functools.cached_property
    def native(self) -> Any:
        """The op on the compiled kernels."""
        return _backend.load_extension().Op(self._function).native

    @functools.cached_property
    def reference(self) -> Any:
        """The op on its NumPy twin."""
        if self._always:
            return self
        twin = InterpretedOp(self._function, always=True)
        twin.backward = None if self.backward is None else self.backward.reference
        return twin

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not self._always and _backend.name() == "native":
            return self.native(*args, **kwargs)
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}() {error}") from None
        bound.apply_defaults()
        given = bound.arguments
        family = self._function.__module__.rpartition(".")[2]
        rule = getattr(importlib.import_module(f"{__package__}._arguments.{family}"), self.__name__)
        twin = getattr(importlib.import_module(f"{__package__}.reference.{family}"), self.__name__)
        canonical = dict(zip(given, rule(Rules(self.__name__), *given.values()), strict=True))
        if "out" in given:
            canonical["out"] = given["out"]  # as the caller gave it, for that is what the twin returns
        return twin(*canonical.values())

    def __get__(self, instance: object, owner: object = None) -> Any:
        """Become a method where the op is an attribute of a class, as a function does."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<op {self.__module__}.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__
