"""One Case for each op: what the tests of values, layouts, dtypes and arguments need to know about it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from fastnorm import reference
from fastnorm.reference import activations as twins
from numpy.typing import NDArray
from tolerances import SMALLEST, UNIT_ROUNDOFF, last_rounding, norm_bound, roundoff, summed, ulp

Array = NDArray[Any]
Inputs = tuple[Array | None, ...]

DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("float32", "float64", "float16")}
try:
    import ml_dtypes
except ImportError:
    pass
else:
    DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)


class Work(NamedTuple):
    """What a call has to do at least."""

    bytes: int  # read and written, each array once
    flops: int


@dataclass(frozen=True)
class Variant:
    """One way of calling an op: which optional arrays are given, and the keywords that differ from the defaults."""

    label: str
    given: tuple[str, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Case:
    """An op and its backward.

    `make_inputs` returns the forward's positional arguments, None for optional ones that the variant does not give.
    The bounds are absolute, one for each element, on the distance from the exact result.
    """

    name: str
    make_inputs: Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any], Variant], Inputs]
    variants: tuple[Variant, ...]
    differentiable: tuple[str, ...]
    has_axis: bool
    forward_bound: Callable[[Inputs, Mapping[str, Any]], Array]
    backward_bounds: Callable[[Array, Inputs, Mapping[str, Any]], tuple[Array, ...]]
    work: Callable[[tuple[int, ...], int, bool], Work]  # of shape, itemsize, and whether of the backward

    def __str__(self) -> str:
        return self.name

    @property
    def positional(self) -> tuple[str, ...]:
        """Names of the forward's positional arguments."""
        parameters = inspect.signature(self.twin).parameters.values()
        return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)

    @property
    def keywords(self) -> dict[str, Any]:
        """The forward's keywords and their defaults."""
        return keyword_defaults(self.twin)

    @property
    def backward_keywords(self) -> dict[str, Any]:
        """The backward's keywords and their defaults."""
        return keyword_defaults(self.twin_backward)

    @property
    def has_stats(self) -> bool:
        """Whether the forward can return statistics for the backward."""
        return "return_stats" in self.keywords

    @property
    def forward(self) -> Callable[..., Any]:
        """The op, which runs on the active backend."""
        return getattr(fastnorm, self.name)  # type: ignore[no-any-return]

    @property
    def backward(self) -> Callable[..., Any]:
        """Its backward, which runs on the active backend."""
        return getattr(fastnorm, f"{self.name}_backward")  # type: ignore[no-any-return]

    @property
    def twin(self) -> Callable[..., Any]:
        """The NumPy twin of the op."""
        return getattr(reference, self.name)  # type: ignore[no-any-return]

    @property
    def twin_backward(self) -> Callable[..., Any]:
        """The NumPy twin of the backward."""
        return getattr(reference, f"{self.name}_backward")  # type: ignore[no-any-return]

    def exact(self, inputs: Inputs, keywords: Mapping[str, Any]) -> Any:
        """The result for the given values, computed and returned in float64."""
        return self.twin(*map(wide, inputs), **keywords)

    def exact_gradients(self, dy: Array, inputs: Inputs, keywords: Mapping[str, Any]) -> tuple[Array | None, ...]:
        """The gradients for the given values, computed and returned in float64."""
        return as_tuple(self.twin_backward(wide(dy), *map(wide, inputs), **keywords))


def keyword_defaults(op: Callable[..., Any]) -> dict[str, Any]:
    """The keywords of a function and their defaults."""
    parameters = inspect.signature(op).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def wide(x: Array | None) -> Array | None:
    """The same values in float64."""
    return None if x is None else x.astype(np.float64)


def as_tuple(results: Any) -> tuple[Any, ...]:
    """The results of an op as a tuple, also where there is only one."""
    return results if isinstance(results, tuple) else (results,)


def normal(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any], mean: float = 0.0) -> Array:
    """Normally distributed numbers of deviation 1."""
    return (mean + rng.standard_normal(tuple(shape))).astype(dtype)


# Norms


def axes_of(keywords: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    """The normalised axes in the caller's order, none negative."""
    axis = keywords.get("axis", -1)
    return tuple(number % ndim for number in (axis if isinstance(axis, tuple) else (axis,)))


def norm_inputs(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant) -> Inputs:
    """x with a mean of about half its deviation, a weight around 1 and a bias around 0."""
    x = normal(rng, shape, dtype, mean=0.5)
    parameter_shape = tuple(shape[axis] for axis in axes_of(variant.keywords, len(shape)))
    weight = normal(rng, parameter_shape, dtype, mean=1.0) if "weight" in variant.given else None
    bias = normal(rng, parameter_shape, dtype) if "bias" in variant.given else None
    return x, weight, bias


class Parts(NamedTuple):
    """What the bounds of a norm are made of, each in float64 and broadcasting against x."""

    x: Array
    xhat: Array
    rstd: Array
    weight: Array  # with its offset
    bias: Array
    axes: tuple[int, ...]
    rows: int
    cols: int


def norm_parts(op: str, inputs: Inputs, keywords: Mapping[str, Any]) -> Parts:
    """The parts of a norm's result, from its twin."""
    x, weight, bias = map(wide, inputs)
    assert x is not None
    axes = axes_of(keywords, x.ndim)
    unweighted = {name: value for name, value in keywords.items() if name in ("axis", "eps", "fraction")}
    xhat, *_, rstd = getattr(reference, op)(x, return_stats=True, **unweighted)

    def align(parameter: Array) -> Array:
        shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        return parameter.transpose(np.argsort(axes)).reshape(shape)

    full_weight = np.ones((1,) * x.ndim) if weight is None else align(weight) + keywords.get("weight_offset", 0.0)
    full_bias = np.zeros((1,) * x.ndim) if bias is None else align(bias)
    cols = math.prod(x.shape[axis] for axis in axes)
    rows = math.prod(size for axis, size in enumerate(x.shape) if axis not in axes)
    return Parts(x, xhat, np.expand_dims(rstd, axes), full_weight, full_bias, axes, rows, cols)


def xhat_error(parts: Parts, dtype: np.dtype[Any]) -> Array:
    """Bound on the error of xhat in float64, which rounding the mean, the sum of squares and eps + variance gives.

    In float32 the statistics are float64 sums, whose errors the contract leaves out.
    """
    if dtype != np.float64:
        return np.zeros_like(parts.xhat)
    magnitude = np.mean(np.abs(parts.x), axis=parts.axes, keepdims=True)
    return summed(magnitude * parts.rstd + np.abs(parts.xhat), parts.cols, dtype)


def norm_forward_bound(op: str) -> Callable[[Inputs, Mapping[str, Any]], Array]:
    """The contract for y, with what float64 statistics and the rounding to a half type add to it."""

    def bound(inputs: Inputs, keywords: Mapping[str, Any]) -> Array:
        assert inputs[0] is not None
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            product = parts.xhat * parts.weight
            contract = norm_bound(product, parts.weight, parts.bias, dtype)
            statistics = xhat_error(parts, dtype) * np.abs(parts.weight)
            return np.asarray(contract + statistics + last_rounding(product + parts.bias, dtype))

    return bound


def norm_backward_bounds(op: str) -> Callable[[Array, Inputs, Mapping[str, Any]], tuple[Array, ...]]:
    """Bounds on dx, dweight and dbias: a chain of roundings of each of the terms they are sums of."""

    def bounds(dy: Array, inputs: Inputs, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
        assert inputs[0] is not None
        dtype = inputs[0].dtype
        with np.errstate(all="ignore"):
            parts = norm_parts(op, inputs, keywords)
            dy64 = dy.astype(np.float64)
            h = np.abs(dy64 * parts.weight)
            xhat = np.abs(parts.xhat) + 1  # the error of xhat is relative to both
            scale = parts.cols / max(1, math.ceil(parts.cols * (keywords.get("fraction") or 1)))

            def mean(values: Array) -> Array:
                return np.asarray(np.mean(values, axis=parts.axes, keepdims=True))

            terms = parts.rstd * (h + mean(h) + scale * xhat * mean(h * xhat))
            wobble = xhat_error(parts, dtype)
            statistics = parts.rstd * scale * (wobble * mean(h * xhat) + xhat * mean(h * wobble))
            statistics += parts.rstd * wobble / xhat * h
            dx = summed(terms, parts.cols, dtype) + 2 * statistics + last_rounding(terms, dtype)
            rows = tuple(axis for axis in range(dy.ndim) if axis not in parts.axes)
            order = np.argsort(np.argsort(parts.axes))
            dweight_terms = np.sum(np.abs(dy64) * xhat, axis=rows)
            dweight = summed(dweight_terms, parts.rows, dtype) + np.sum(np.abs(dy64) * wobble, axis=rows)
            dbias = summed(np.sum(np.abs(dy64), axis=rows), parts.rows, dtype)
        return dx, dweight.transpose(order), dbias.transpose(order)

    return bounds


def norm_work(shape: tuple[int, ...], itemsize: int, is_backward: bool) -> Work:
    """x read and y written, or dy and x read and dx written; about eight operations an element each way."""
    size = math.prod(shape)
    return Work((3 if is_backward else 2) * size * itemsize, (14 if is_backward else 8) * size)


BOTH = ("weight", "bias")

LAYER_NORM = Case(
    "layer_norm",
    norm_inputs,
    (
        Variant("weight and bias", BOTH),
        Variant("plain"),
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("large eps", BOTH, {"eps": 0.5}),
    ),
    ("x", "weight", "bias"),
    has_axis=True,
    forward_bound=norm_forward_bound("layer_norm"),
    backward_bounds=norm_backward_bounds("layer_norm"),
    work=norm_work,
)

RMS_NORM = Case(
    "rms_norm",
    norm_inputs,
    (
        Variant("weight and bias", BOTH),
        Variant("plain"),
        Variant("weight", ("weight",)),
        Variant("bias", ("bias",)),
        Variant("weight offset", BOTH, {"weight_offset": 1.0}),
        Variant("offset without weight", ("bias",), {"weight_offset": 3.0}),
        Variant("fraction", BOTH, {"fraction": 0.3}),
        Variant("fraction and offset", ("weight",), {"fraction": 0.0625, "weight_offset": 1.0, "eps": 1e-3}),
    ),
    ("x", "weight", "bias"),
    has_axis=True,
    forward_bound=norm_forward_bound("rms_norm"),
    backward_bounds=norm_backward_bounds("rms_norm"),
    work=norm_work,
)

# Activations

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
        y = np.abs(x) * twins.sigmoid(z)
        derivative = twins.sigmoid(z) * (1 + np.abs(x) * twins.sigmoid(-z) * slope)
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
        return np.asarray(GELU_ULPS[computed.name] * ulp(exact, computed) + twin_error + last_rounding(exact, x.dtype))


def gelu_backward_bounds(dy: Array, inputs: Inputs, keywords: Mapping[str, Any]) -> tuple[Array, ...]:
    """The contract for the derivative in ULP and the error of the twin, both times dy, and a last rounding."""
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

CASES: tuple[Case, ...] = (LAYER_NORM, RMS_NORM, GELU)
LIBRARY: dict[str, Case] = {case.name: case for case in CASES}
NORMS: tuple[Case, ...] = (LAYER_NORM, RMS_NORM)


def case_and_variant() -> list[tuple[Case, Variant]]:
    """Every op in every variant."""
    return [(case, variant) for case in CASES for variant in case.variants]


def label(value: object) -> str | None:
    """A readable id for pytest."""
    return str(value) if isinstance(value, (Case, Variant, np.dtype, tuple)) else None
