"""The argument rules of the activations."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import cast, get_args

import numpy as np

from .._typing import Approximation, Array
from .gradients import ruled_names
from .rules import Rules, compute_dtype, is_bool, shown

APPROXIMATIONS: tuple[str, ...] = get_args(Approximation)


def gelu(
    rules: Rules, x: object, approximate: object, out: object
) -> tuple[Array, Approximation, Array | None]:
    """Return the canonical arguments of `gelu`."""
    x = rules.array("x", x)
    return x, approximation(rules, approximate), rules.out(out, x, x)


def gelu_backward(
    rules: Rules, dy: object, x: object, approximate: object
) -> tuple[Array, Array, Approximation]:
    """Return the canonical arguments of `gelu_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, approximation(rules, approximate)


def unary(rules: Rules, x: object, out: object) -> tuple[Array, Array | None]:
    """Return the canonical arguments of an op of x alone."""
    x = rules.array("x", x)
    return x, rules.out(out, x, x)


def unary_backward(rules: Rules, dy: object, x: object) -> tuple[Array, Array]:
    """Return the canonical arguments of the backward of an op of x alone."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x


def sigmoid_backward(rules: Rules, dy: object, x: object, y: object) -> tuple[Array, Array, Array | None]:
    """Return the canonical arguments of a backward that takes the forward's result."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x, rules.forward_result(y, x)


tanh_backward = sigmoid_backward


def __getattr__(name: str) -> Callable[..., tuple[object, ...]]:
    """Return the rule of an op that has none of its own here: that of all ops with the same arguments."""
    from .._op import OPS  # which imports the rules

    for rule in (unary, unary_backward):
        if name in OPS and ruled_names(OPS[name]) == [*signature(rule).parameters][1:]:
            return rule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def swish(rules: Rules, x: object, beta: object, out: object) -> tuple[Array, Array, Array | None]:
    """Return the canonical arguments of `swish`."""
    x = rules.array("x", x)
    beta = factor(rules, beta, x)
    return x, beta, rules.out(out, x, x, beta)


def swish_backward(rules: Rules, dy: object, x: object, beta: object) -> tuple[Array, Array, Array]:
    """Return the canonical arguments of `swish_backward`."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x, factor(rules, beta, x)


def leaky_relu(
    rules: Rules, x: object, negative_slope: object, out: object
) -> tuple[Array, float, Array | None]:
    """Return the canonical arguments of `leaky_relu`."""
    x = rules.array("x", x)
    return x, rules.number("negative_slope", negative_slope, like=x), rules.out(out, x, x)


def leaky_relu_backward(
    rules: Rules, dy: object, x: object, negative_slope: object
) -> tuple[Array, Array, float]:
    """Return the canonical arguments of `leaky_relu_backward`."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x, rules.number("negative_slope", negative_slope, like=x)


def elu(rules: Rules, x: object, alpha: object, out: object) -> tuple[Array, float, Array | None]:
    """Return the canonical arguments of `elu`."""
    x = rules.array("x", x)
    return x, rules.number("alpha", alpha, like=x), rules.out(out, x, x)


def elu_backward(rules: Rules, dy: object, x: object, alpha: object) -> tuple[Array, Array, float]:
    """Return the canonical arguments of `elu_backward`."""
    x = rules.array("x", x)
    return rules.gradient("dy", dy, x), x, rules.number("alpha", alpha, like=x)


def softplus(
    rules: Rules, x: object, beta: object, threshold: object, out: object
) -> tuple[Array, float, float, Array | None]:
    """Return the canonical arguments of `softplus`."""
    x = rules.array("x", x)
    return x, divisor(rules, beta, x), rules.number("threshold", threshold), rules.out(out, x, x)


def softplus_backward(
    rules: Rules, dy: object, x: object, beta: object, threshold: object
) -> tuple[Array, Array, float, float]:
    """Return the canonical arguments of `softplus_backward`."""
    x = rules.array("x", x)
    dy = rules.gradient("dy", dy, x)
    return dy, x, divisor(rules, beta, x), rules.number("threshold", threshold)


def divisor(rules: Rules, value: object, x: Array) -> float:
    """Return beta, which is divided by: neither 0 nor infinite in the type that x is computed in."""
    beta = rules.number("beta", value)
    compute = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        rounded = compute(beta)
    if rounded == 0 or not np.isfinite(rounded):
        needed = f"a finite number other than 0 in {np.dtype(compute)}"
        raise rules.value_error("beta", f"is {beta:g}", needed)
    return beta


def factor(rules: Rules, value: object, x: Array, name: str = "beta", of: str = "x") -> Array:
    """Return a factor of x, whose argument is called `of`, in the type that x is computed in; it keeps its
    shape, which broadcasts to x's.
    """
    compute = compute_dtype(x.dtype)
    with np.errstate(all="ignore"):
        if isinstance(value, (int, float, np.integer, np.floating)) and not is_bool(value):
            try:
                return np.asarray(value, compute)
            except OverflowError:
                raise rules.value_error(
                    name, f"is {shown(value)}", "a number in the range of float64"
                ) from None
        array = rules.parameter(name, value, x, of)
        lengths = zip(reversed(array.shape), reversed(x.shape), strict=False)
        if array.ndim > x.ndim or any(length not in (1, wanted) for length, wanted in lengths):
            raise rules.value_error(
                name, f"has shape {array.shape}", f"one that broadcasts to {of}.shape {x.shape}"
            )
        return array.astype(compute, copy=False)


def approximation(rules: Rules, value: object) -> Approximation:
    """Return the form of gelu."""
    return cast(Approximation, rules.choice("approximate", value, APPROXIMATIONS))
