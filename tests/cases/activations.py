"""Element-wise activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastnorm import reference
from fastnorm.reference import activations as twins
from tolerances import SMALLEST, UNIT_ROUNDOFF, last_rounding, roundoff, summed, ulp

from .case import Array, Case, Inputs, Variant, Work
from .op import Arguments, Op

GELU_ULPS = {"float32": 1.0, "float64": 2.0}  # of the contract; a half type is the float32 result, rounded
GELU_DERIVATIVE_ULPS = {"float32": 2.0, "float64": 2.0}
TWIN_ULPS = 8  # roundings where the twin evaluates a series and an exponential in float64


def activation_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Inputs:
    """x from where the function bends and from its negative tail."""
    return ((3.0 * rng.standard_normal(shape)).astype(dtype),)


def gelu_twin_error(x: Array, keywords: Mapping[str, Any]) -> tuple[Array, Array]:
    """Bounds on the errors of the twin and of its derivative in float64.

    The approximate forms are x * sigmoid(z): a rounding of z counts abs(z) times in the result.
    """
    form = keywords.get("approximate", "none")
    if form == "none":
        y, derivative = np.abs(reference.gelu(x)), np.abs(reference.gelu_backward(np.ones_like(x), x))
        roundings, factor = np.full_like(x, TWIN_ULPS), np.ones_like(x)
    else:
        z, slope = twins.gate(np.clip(x, -twins.LIMIT, twins.LIMIT), form)
        y = np.abs(x) * twins.logistic(z)
        derivative = twins.logistic(z) * (1 + np.abs(x) * twins.logistic(-z) * slope)
        roundings, factor = TWIN_ULPS + 4 * np.abs(z), 1 + np.abs(x) * (1 + slope)
    relative, absolute = UNIT_ROUNDOFF["float64"] * roundings, SMALLEST["float64"] * factor
    return relative * y + absolute, relative * derivative + absolute


def gelu_forward_bound(inputs: Inputs, keywords: Mapping[str, Any]) -> Array:
    """The contract in ULP, and the error of the twin, which counts where both compute in float64."""
    (x,) = inputs
    assert x is not None
    computed = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    with np.errstate(all="ignore"):
        exact = reference.gelu(x.astype(np.float64), **keywords)
        twin_error, _ = gelu_twin_error(x.astype(np.float64), keywords)
        return np.asarray(
            GELU_ULPS[computed.name] * ulp(exact, computed) + twin_error + last_rounding(exact, x.dtype)
        )


def gelu_backward_bounds(dy: Array, inputs: Inputs, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
    """The contract for the derivative in ULP and the error of the twin, both times dy, and a last
    rounding.
    """
    (x,) = inputs
    assert x is not None
    computed = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    x64, dy64 = x.astype(np.float64), dy.astype(np.float64)
    with np.errstate(all="ignore"):
        derivative = reference.gelu_backward(np.ones_like(x64), x64, **keywords)
        _, twin_error = gelu_twin_error(x64, keywords)
        error = GELU_DERIVATIVE_ULPS[computed.name] * ulp(derivative, computed) + twin_error
        dx = dy64 * derivative
        return (np.abs(dy64) * error + roundoff(x.dtype) * np.abs(dx) + last_rounding(dx, x.dtype),)


def activation_work(shape: tuple[int, ...], itemsize: int, is_backward: bool) -> Work:
    """x read and y written, or dy and x read and dx written; about forty operations an element."""
    size = math.prod(shape)
    return Work((3 if is_backward else 2) * size * itemsize, 40 * size)


GELU = Case(
    "gelu",
    activation_inputs,
    (
        Variant("none"),
        Variant("tanh", keywords={"approximate": "tanh"}),
        Variant("sigmoid", keywords={"approximate": "sigmoid"}),
    ),
    ("x",),
    has_axis=False,
    forward_bound=gelu_forward_bound,
    backward_bounds=gelu_backward_bounds,
    work=activation_work,
)

CASES = (GELU,)


def unary(name: str, ulps: float, derivative_ulps: float) -> Op:
    """An op of x alone with its contract in float32; in float64 it is 2 ULP where it is not exact."""

    def forward_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        (x,) = inputs
        y = getattr(reference, name)(x.astype(np.float64))
        return (within(y, ulps, x.dtype) + last_rounding(y, x.dtype),)

    def backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        (dy,), (x,) = dys, inputs
        x64, dy64 = x.astype(np.float64), np.abs(dy.astype(np.float64))
        derivative = getattr(reference, f"{name}_backward")(np.ones_like(x64), x64)
        dx = dy64 * np.abs(derivative)
        return (
            dy64 * within(derivative, derivative_ulps, x.dtype)
            + roundoff(x.dtype) * dx
            + last_rounding(dx, x.dtype),
        )

    return Op(name, activation_inputs, (Variant("plain"),), ("x",), forward_bounds, backward_bounds)


def within(exact: Array, ulps: float, dtype: np.dtype[Any]) -> Array:
    """The contract in ULP of the type computed in, and what the twin may be off in float64."""
    computed = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    contract = min(ulps, 1) * 2 if dtype == np.float64 else ulps
    twin_error = TWIN_ULPS * UNIT_ROUNDOFF["float64"] * np.abs(exact) + 4 * SMALLEST["float64"]
    return np.asarray(contract * ulp(exact, computed) + twin_error)


def swish_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """x, and beta as the variant has it: a number, one for each row or column, or for each element."""
    (x,) = activation_inputs(rng, shape, dtype, variant)
    shapes = {"each": shape, "rows": (shape[0], *[1] * (len(shape) - 1)), "columns": shape[-1:]}
    if variant.label in shapes:
        return x, np.asarray(rng.standard_normal(shapes[variant.label])).astype(dtype)
    return x, float(variant.label)


def swish_roundings(x: Array, beta: Any) -> Array:
    """Roundings of the twin in float64: that of z counts abs(z) times."""
    return np.asarray(TWIN_ULPS + 4 * np.abs(x * np.asarray(beta, np.float64)))


def swish_forward_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
    x, beta = (np.asarray(value).astype(np.float64) for value in inputs)
    dtype = inputs[0].dtype
    y = reference.swish(x, beta)
    twin = UNIT_ROUNDOFF["float64"] * swish_roundings(x, beta) * np.abs(y) + SMALLEST["float64"] * (
        1 + np.abs(x)
    )
    return (within(y, 1.0, dtype) + twin + last_rounding(y, dtype),)


def swish_backward_bounds(
    dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]
) -> tuple[Array, ...]:
    x, beta = (np.asarray(value).astype(np.float64) for value in inputs)
    dy, dtype = np.abs(dys[0].astype(np.float64)), inputs[0].dtype
    derivative, _ = reference.swish_backward(np.ones_like(x), x, beta)
    z = np.abs(x * beta)
    # The derivative moves by at most 1.1 for each unit of z, by which the twin's rounding of z counts near
    # its zero.
    twin = UNIT_ROUNDOFF["float64"] * (swish_roundings(x, beta) * np.abs(derivative) + 2 * z * np.exp(-z))
    dx = dy * np.abs(derivative)
    dx_bound = dy * (within(derivative, 2.0, dtype) + twin) + roundoff(dtype) * dx + last_rounding(dx, dtype)
    _, magnitude = reference.swish_backward(dy, x, beta)
    count = x.size // max(beta.size, 1) + int(2 * np.max(z, initial=0))
    dbeta_bound = summed(magnitude, count, np.dtype(np.float64)) + 2 * roundoff(dtype) * magnitude
    return dx_bound, dbeta_bound + SMALLEST["float64" if dtype == np.float64 else "float32"]


SWISH = Op(
    "swish",
    swish_inputs,
    tuple(map(Variant, ("1.0", "-1.5", "each", "rows", "columns"))),
    ("x", "beta"),
    swish_forward_bounds,
    swish_backward_bounds,
    bad=(
        ("beta", "text", TypeError),
        ("beta", np.ones((9, 9), np.float32), ValueError),
        ("beta", True, TypeError),
    ),
)

OPS = (
    SWISH,
    unary("relu", 0.0, 0.0),
    unary("sigmoid", 1.0, 2.0),
    unary("silu", 1.0, 2.0),
    unary("tanh", 1.0, 2.0),
)
