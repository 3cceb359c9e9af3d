"""Element-wise activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import reference
from ..reference import activations as twins
from .bounds import SMALLEST, UNIT_ROUNDOFF, last_rounding, roundoff, summed, ulp
from .spec import (
    EXACT,
    GRADIENT,
    Arguments,
    Array,
    Bounds,
    Contract,
    Draw,
    Pair,
    Shape,
    Spec,
    Variant,
    Workload,
)

try:
    from scipy.special import erf
except ImportError:  # NumPy has no erf
    erf = None
HAS_ERF = erf is not None

VALUE = Contract("ULP", 1.0)
DERIVATIVE = Contract("ULP", 2.0)
TWIN_ROUNDINGS = 8  # where the twin evaluates a series and an exponential in float64
Errors = Callable[[Array, Mapping[str, Any]], Pair]


def one_input(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x from where functions bend and from their tails."""
    return (draw.x(shape, deviation=3.0),)


def twin_error(y: Array) -> Array:
    """Bound on the error of a twin in float64."""
    return np.asarray(TWIN_ROUNDINGS * UNIT_ROUNDOFF["float64"] * np.abs(y) + 4 * SMALLEST["float64"])


def allowed_ulps(contract: Contract, dtype: np.dtype[Any]) -> float:
    """ULP that the contract of values or derivatives allows: 2 in float64, where it is not exact."""
    return 2 * min(contract.bound, 1) if dtype == np.float64 else contract.bound


def within(exact: Array, contract: Contract, dtype: np.dtype[Any]) -> Array:
    """The contract of values or derivatives, in ULP of the type computed in."""
    computed = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    return np.asarray(allowed_ulps(contract, dtype) * ulp(exact, computed))


def values_within(
    name: str, x: Array, keywords: Mapping[str, Any], contract: Contract = VALUE, errors: Errors | None = None
) -> Pair:
    """An activation at x, and how far a result may be from it before a half type rounds it."""
    x64 = x.astype(np.float64)
    y = getattr(reference, name)(x64, **keywords)
    return y, within(y, contract, x.dtype) + (errors(x64, keywords)[0] if errors else twin_error(y))


def slopes_within(
    name: str,
    x: Array,
    keywords: Mapping[str, Any],
    contract: Contract = DERIVATIVE,
    errors: Errors | None = None,
) -> Pair:
    """The same for its derivative."""
    x64 = x.astype(np.float64)
    slope = getattr(reference, f"{name}_backward")(np.ones_like(x64), x64, **keywords)
    return slope, within(slope, contract, x.dtype) + (
        errors(x64, keywords)[1] if errors else twin_error(slope)
    )


def activation(
    name: str,
    formula: Callable[..., Any],
    backward_formula: Callable[..., Any],
    *,
    contracts: tuple[Contract, Contract] = (VALUE, DERIVATIVE),
    variants: tuple[Variant, ...] = (Variant("plain"),),
    errors: Errors | None = None,
    **more: Any,
) -> Spec:
    """An op of x alone. `errors` bounds those of the twin and of its derivative in float64, where they are
    not a few roundings.
    """

    def forward_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        (x,) = inputs
        with np.errstate(all="ignore"):
            y, error = values_within(name, x, keywords, contracts[0], errors)
            return (error + last_rounding(y, x.dtype),)

    def backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
        (dy,), (x,) = dys, inputs
        with np.errstate(all="ignore"):
            slope, error = slopes_within(name, x, keywords, contracts[1], errors)
            dy64 = np.abs(dy.astype(np.float64))
            dx = dy64 * np.abs(slope)
            return (dy64 * error + roundoff(x.dtype) * dx + last_rounding(dx, x.dtype),)

    return Spec(
        name,
        one_input,
        variants,
        ("x",),
        *contracts,
        forward_bounds,
        backward_bounds,
        formula,
        backward_formula,
        **more,
    )


def numpy_sigmoid(x: Array) -> Array:
    """Logistic sigmoid."""
    y: Array = 1.0 / (1.0 + np.exp(-x))
    return y


def numpy_silu(x: Array) -> Array:
    """Sigmoid linear unit."""
    y: Array = x / (1.0 + np.exp(-x))
    return y


def numpy_silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `silu`."""
    s = numpy_sigmoid(x)
    return dy * s * (1.0 + x * (1.0 - s))


def numpy_mish(x: Array) -> Array:
    """Mish."""
    y: Array = x * np.tanh(np.logaddexp(0, x))
    return y


def numpy_mish_backward(dy: Array, x: Array) -> Array:
    """Gradient of `mish`."""
    t = np.tanh(np.logaddexp(0, x))
    return dy * (t + x * (1.0 - t * t) * numpy_sigmoid(x))


mish = activation("mish", numpy_mish, numpy_mish_backward)


leaky_relu = activation(
    "leaky_relu",
    lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    lambda dy, x, negative_slope=0.01: np.where(x > 0, dy, negative_slope * dy),
    variants=(
        Variant("plain"),
        Variant("steep", (), {"negative_slope": 1.7}),
        Variant("mirrored", (), {"negative_slope": -1.0}),
    ),
    bad=(
        ("negative_slope", math.nan, ValueError),
        ("negative_slope", math.inf, ValueError),
        ("negative_slope", "text", TypeError),
        ("negative_slope", True, TypeError),
    ),
)
elu = activation(
    "elu",
    lambda x, alpha=1.0: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
    lambda dy, x, alpha=1.0: np.where(x > 0, dy, dy * alpha * np.exp(np.minimum(x, 0))),
    variants=(
        Variant("plain"),
        # Powers of two, which round nothing.
        Variant("narrow", (), {"alpha": 0.25}),
        Variant("mirrored", (), {"alpha": -2.0}),
    ),
    bad=(
        ("alpha", math.nan, ValueError),
        ("alpha", math.inf, ValueError),
        ("alpha", "text", TypeError),
        ("alpha", True, TypeError),
    ),
)
hardswish = activation(
    "hardswish",
    lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    lambda dy, x: dy * np.where(x >= 3, 1, np.where(x <= -3, 0, x / 3.0 + 0.5)),
)
logsigmoid = activation("logsigmoid", lambda x: -np.logaddexp(0, -x), lambda dy, x: dy * numpy_sigmoid(-x))


def numpy_softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Softplus."""
    y: Array = np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)
    return y


def numpy_softplus_backward(dy: Array, x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Gradient of `softplus`."""
    return dy * np.where(beta * x > threshold, 1, numpy_sigmoid(beta * x))


softplus = activation(
    "softplus",
    numpy_softplus,
    numpy_softplus_backward,
    variants=(
        Variant("plain"),
        Variant("steep", (), {"beta": 1.5}),
        Variant("mirrored", (), {"beta": -2.0}),
        Variant("linear above 2", (), {"beta": 0.5, "threshold": 2.0}),
    ),
    bad=(
        ("beta", 0.0, ValueError),
        ("beta", math.inf, ValueError),
        ("beta", "text", TypeError),
        ("beta", True, TypeError),
        ("threshold", math.nan, ValueError),
        ("threshold", None, TypeError),
    ),
)


def from_result(slope: Callable[[Array], Array]) -> Callable[[Arguments, Array, Mapping[str, Any]], Bounds]:
    """Bounds on dx = dy * slope(y): a few roundings, of the twin in float64 too, and an underflow."""

    def bounds(dys: Arguments, y: Array, keywords: Mapping[str, Any]) -> Bounds:
        dx = np.abs(dys[0].astype(np.float64)) * slope(y.astype(np.float64))
        smallest = SMALLEST["float64" if y.dtype == np.float64 else "float32"]
        return (TWIN_ROUNDINGS * roundoff(y.dtype) * dx + 2 * smallest + last_rounding(dx, y.dtype),)

    return bounds


relu = activation("relu", lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), contracts=(EXACT, EXACT))
sigmoid = activation(
    "sigmoid",
    numpy_sigmoid,
    lambda dy, x: dy * (y := numpy_sigmoid(x)) * (1.0 - y),
    bounds_from_result=from_result(lambda y: y * (1.0 - y)),
)
silu = activation("silu", numpy_silu, numpy_silu_backward)
tanh = activation(
    "tanh",
    np.tanh,
    lambda dy, x: dy * (1.0 - (y := np.tanh(x)) * y),
    bounds_from_result=from_result(lambda y: (1.0 - y) * (1.0 + y)),
)


def gelu_twin_error(x: Array, keywords: Mapping[str, Any]) -> Pair:
    """Bounds on the errors of the twin and of its derivative in float64.

    The approximate forms are x * sigmoid(z): a rounding of z counts abs(z) times in the result.
    """
    form = keywords.get("approximate", "none")
    if form == "none":
        y, derivative = np.abs(reference.gelu(x)), np.abs(reference.gelu_backward(np.ones_like(x), x))
        roundings, factor = np.full_like(x, TWIN_ROUNDINGS), np.ones_like(x)
    else:
        z, slope = twins.gate(np.clip(x, -twins.LIMIT, twins.LIMIT), form)
        y = np.abs(x) * twins.logistic(z)
        derivative = twins.logistic(z) * (1 + np.abs(x) * twins.logistic(-z) * slope)
        roundings, factor = TWIN_ROUNDINGS + 4 * np.abs(z), 1 + np.abs(x) * (1 + slope)
    relative, absolute = UNIT_ROUNDOFF["float64"] * roundings, SMALLEST["float64"] * factor
    return relative * y + absolute, relative * derivative + absolute


def numpy_gelu(x: Array, *, approximate: str = "none") -> Array:
    """Gaussian error linear unit in its three forms; the exact one needs SciPy for erf."""
    if approximate == "none":
        y: Array = 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))
    elif approximate == "tanh":
        y = 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    else:
        y = x / (1.0 + np.exp(-1.702 * x))
    return y


def numpy_gelu_backward(dy: Array, x: Array, *, approximate: str = "none") -> Array:
    """Gradient of `gelu`."""
    if approximate == "none":
        density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        derivative = 0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * density
    elif approximate == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        t = np.tanh(scale * (x + 0.044715 * x * x * x))
        derivative = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * scale * (1.0 + 3 * 0.044715 * x * x)
    else:
        s = 1.0 / (1.0 + np.exp(-1.702 * x))
        derivative = s + 1.702 * x * s * (1.0 - s)
    dx: Array = dy * derivative
    return dx


FORMS = tuple(Variant(form, keywords={"approximate": form}) for form in ("none", "tanh", "sigmoid"))
gelu = activation(
    "gelu",
    numpy_gelu,
    numpy_gelu_backward,
    variants=FORMS,
    errors=gelu_twin_error,
    workloads=(Workload(FORMS[0]), Workload(FORMS[1], "tanh")),
)


def swish_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, and beta as the variant has it: a number, one for each row or column, or for each element."""
    (x,) = one_input(draw, shape, variant)
    shapes = {"each": shape, "rows": (shape[0], *[1] * (len(shape) - 1)), "columns": shape[-1:]}
    return x, variant.numbers["beta"] if variant.numbers else draw.normal(shapes[variant.label])


def swish_roundings(x: Array, beta: Any) -> Array:
    """Roundings of the twin in float64: that of z counts abs(z) times."""
    return np.asarray(TWIN_ROUNDINGS + 4 * np.abs(x * np.asarray(beta, np.float64)))


def swish_forward_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract, and the error of the twin."""
    x, beta = (np.asarray(value).astype(np.float64) for value in inputs)
    dtype = inputs[0].dtype
    y = reference.swish(x, beta)
    twin = UNIT_ROUNDOFF["float64"] * swish_roundings(x, beta) * np.abs(y) + SMALLEST["float64"] * (
        1 + np.abs(x)
    )
    return (within(y, VALUE, dtype) + twin_error(y) + twin + last_rounding(y, dtype),)


def swish_backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The contract of the derivative and the error of the twin times dy; dbeta is a sum."""
    x, beta = (np.asarray(value).astype(np.float64) for value in inputs)
    dy, dtype = np.abs(dys[0].astype(np.float64)), inputs[0].dtype
    derivative, _ = reference.swish_backward(np.ones_like(x), x, beta)
    z = np.abs(x * beta)
    # The derivative moves by at most 1.1 for each unit of z, by which the twin's rounding of z counts near
    # its zero.
    twin = UNIT_ROUNDOFF["float64"] * (swish_roundings(x, beta) * np.abs(derivative) + 2 * z * np.exp(-z))
    dx = dy * np.abs(derivative)
    dx_bound = (
        dy * (within(derivative, DERIVATIVE, dtype) + twin_error(derivative) + twin)
        + roundoff(dtype) * dx
        + last_rounding(dx, dtype)
    )
    _, magnitude = reference.swish_backward(dy, x, beta)
    count = x.size // max(beta.size, 1) + int(2 * np.max(z, initial=0))
    dbeta_bound = summed(magnitude, count, np.dtype(np.float64)) + 2 * roundoff(dtype) * magnitude
    return dx_bound, dbeta_bound + SMALLEST["float64" if dtype == np.float64 else "float32"]


def numpy_swish_backward(dy: Array, x: Array, beta: Any = 1.0) -> Pair:
    """Gradients of `swish` with respect to x and beta, one for all or one a column."""
    s = numpy_sigmoid(beta * x)
    slope = s * (1.0 - s)
    rows = tuple(range(x.ndim - np.ndim(beta)))
    return dy * (s + beta * x * slope), (dy * x * x * slope).sum(axis=rows)


ONE = Variant("1.0", numbers={"beta": 1.0})
swish = Spec(
    "swish",
    swish_inputs,
    (
        ONE,
        Variant("-1.5", numbers={"beta": -1.5}),
        *map(Variant, ("each", "rows", "columns")),
    ),
    ("x", "beta"),
    VALUE,
    GRADIENT,
    swish_forward_bounds,
    swish_backward_bounds,
    lambda x, beta=1.0: x / (1.0 + np.exp(-beta * x)),
    numpy_swish_backward,
    checked=(ONE, Variant("columns")),
    workloads=(Workload(Variant("1.5", numbers={"beta": 1.5})),),
    bad=(
        ("beta", "text", TypeError),
        ("beta", np.ones((9, 9), np.float32), ValueError),
        ("beta", True, TypeError),
    ),
)
# Gates by the names that `gated_linear` has for them, with beta 1.
GATE_SPECS: dict[str, Spec] = {"relu": relu, "gelu": gelu, "swish": silu}
