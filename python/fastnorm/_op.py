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
from ._arguments.gradients import into_out, ruled_names
from ._arguments.rules import Rules
from ._typing import Backend

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

    def __init__(
        self, function: FunctionType, runs: Backend | None = None, base: InterpretedOp | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._runs = runs  # whatever the backend; None: what the context says
        self._base = self if base is None else base  # the op whose choice this is
        self._choices: dict[str, InterpretedOp] = {}
        self._backward: Any = None
        if runs == "reference":
            self.__module__ = f"{__package__}.reference"

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def backward(self) -> Any:
        """The op of the gradients, on the same backend as this one; None where there is none."""
        found = self._base._backward
        return found if found is None or self._runs is None else getattr(found, self._runs)

    @backward.setter
    def backward(self, backward: Any) -> None:
        self._base._backward = backward

    @property
    def native(self) -> InterpretedOp:
        """The op on the compiled kernels."""
        return self._choice("native")

    @property
    def reference(self) -> InterpretedOp:
        """The op on its NumPy twin."""
        return self._choice("reference")

    def _choice(self, runs: Backend) -> InterpretedOp:
        base = self._base
        if runs not in base._choices:
            base._choices.setdefault(runs, InterpretedOp(self._function, runs, base))
        return base._choices[runs]

    @functools.cached_property
    def _compiled(self) -> Any:
        return _backend.load_extension().Op(self._function).native

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if (self._runs or _backend.name()) == "native":
            _backend.load_extension()  # in each thread, for its limit of threads
            return self._base._compiled(*args, **kwargs)
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}() {error}") from None
        bound.apply_defaults()
        given = bound.arguments
        # A backward's `out` is for what takes its gradients.
        out = None if "out" in ruled_names(self) else given.pop("out", None)
        family = self._function.__module__.rpartition(".")[2]
        rule = getattr(importlib.import_module(f"{__package__}._arguments.{family}"), self.__name__)
        importlib.import_module(f"{__package__}.reference")  # first, as the extension does
        twin = getattr(importlib.import_module(f"{__package__}.reference.{family}"), self.__name__)
        canonical = dict(zip(given, rule(Rules(self.__name__), *given.values()), strict=True))
        if "out" in given:
            canonical["out"] = given["out"]  # as the caller gave it, for that is what the twin returns
        gradients = twin(*canonical.values())
        return gradients if out is None else into_out(self.__name__, out, gradients, tuple(given.values()))

    def __get__(self, instance: object, owner: object = None) -> Any:
        """Become a method where the op is an attribute of a class, as a function does."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        suffix = ".native" if self._runs == "native" else ""
        return f"<op {self.__module__}.{self.__name__}{suffix}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (getattr, (self._base, "native")) if self._runs == "native" else self.__name__
