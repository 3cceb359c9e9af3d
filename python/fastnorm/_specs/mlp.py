"""Networks of one hidden layer. A problem is the shape of x, followed by the numbers of hidden units and of
outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from .._typing import DenseActivation
from ..reference.linear import activate, derivative
from .bounds import last_rounding, roundoff
from .linear import (
    ELEMENTWISE,
    STEEPEST,
    layer,
    numpy_linear,
    numpy_linear_backward,
    product_bound,
    weight_bounds,
    wide,
)
from .spec import (
    BATCH,
    GRADIENT,
    LARGE,
    SHAPES,
    TIMED,
    Arguments,
    Array,
    Bounds,
    Draw,
    Shape,
    Spec,
    Variant,
    Workload,
)

HIDDEN, OUTPUTS = 20, 5
MOST_HIDDEN = 256


def network_of(shape: Shape) -> Shape:
    """A network of as many outputs as inputs, not too large where x has long rows."""
    return (*shape, min(shape[-1], MOST_HIDDEN), shape[-1])


def network_inputs(draw: Draw, shape: Shape, variant: Variant) -> Arguments:
    """x, weights and biases; ReLU bends at none of the sums."""
    x = draw.x(shape[:-2])
    kinks = variant.keywords.get("activation", "relu") == "relu"
    layers = [
        layer(draw, depth, cols, kinks=kinks and index == 0)
        for index, (depth, cols) in enumerate(pairwise(shape[-3:]))
    ]
    weights, biases = map(list, zip(*layers, strict=True))
    return x, weights, biases if "biases" in variant.given else None


def names_of(keywords: Mapping[str, Any]) -> tuple[Any, Any]:
    """The activations of both layers."""
    return keywords.get("activation", "relu"), keywords.get("output_activation")


def trace(
    inputs: Arguments, keywords: Mapping[str, Any]
) -> tuple[list[Array], list[Array], list[Array], list[Array]]:
    """Of each layer the input, a bound on its error, z, and a bound on its error; the last inputs are the
    results.
    """
    x, weights, biases = inputs
    values, errors = [np.asarray(wide(x))], [np.zeros(x.shape)]
    sums: list[Array] = []
    sum_errors: list[Array] = []
    for index, (weight, name) in enumerate(zip(weights, names_of(keywords), strict=True)):
        bias = None if biases is None else biases[index]
        z = values[-1] @ wide(weight) + wide(bias)
        # The products of the errors with each other are below the rounding that product_bound has to spare.
        error = product_bound(values[-1], weight, x.dtype, bias) + errors[-1] @ np.abs(wide(weight))
        a = activate(z, name)
        sums.append(z)
        sum_errors.append(error)
        values.append(a)
        errors.append(STEEPEST * error + (ELEMENTWISE * roundoff(x.dtype) * np.abs(a) if name else 0))
    return values, errors, sums, sum_errors


def forward_bounds(inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The errors of the sums, layer after layer, and the last rounding."""
    with np.errstate(all="ignore"):
        values, errors, _, _ = trace(inputs, keywords)
        return (errors[-1] + last_rounding(values[-1], inputs[0].dtype),)


def backward_bounds(dys: Arguments, inputs: Arguments, keywords: Mapping[str, Any]) -> Bounds:
    """The errors of dz, through the second derivative and from the layer after, and those of the products
    with it.
    """
    (dy,), (x, weights, biases) = dys, inputs
    dtype = x.dtype
    parameters: list[tuple[Array, ...]] = []
    with np.errstate(all="ignore"):
        values, errors, sums, sum_errors = trace(inputs, keywords)
        g, g_error = np.abs(wide(dy)), np.zeros(dy.shape)
        for index in (1, 0):
            name = names_of(keywords)[index]
            slope = np.abs(derivative(sums[index], name))
            slope_error = STEEPEST * sum_errors[index] + ELEMENTWISE * roundoff(dtype) if name else 0.0
            dz = g * slope
            dz_error = g_error * (slope + slope_error) + g * slope_error
            bounds = weight_bounds(values[index], dz, dz_error, dtype, has_bias=biases is not None)
            of_inputs = rows_of(errors[index]).T @ rows_of(dz + dz_error)
            parameters.append((bounds[0] + of_inputs, *bounds[1:]))
            magnitude = np.abs(wide(weights[index])).T
            g, g_error = dz @ magnitude, product_bound(dz, weights[index].T, dtype) + dz_error @ magnitude
    dweights, *dbiases = zip(*reversed(parameters), strict=True)
    return (g_error + last_rounding(g, dtype), *dweights, *(dbiases[0] if dbiases else ()))


def rows_of(array: Array) -> Array:
    """The array as a matrix of its last axis."""
    return array.reshape(-1, array.shape[-1]) if array.size else np.zeros((0, array.shape[-1]))


def numpy_mlp_forward(
    x: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str | None = "relu"
) -> Array:
    """Network by BLAS, layer by layer."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = numpy_linear(x, weight, bias, activation=activation)
    return numpy_linear(x, weights[-1], biases[-1])


def numpy_mlp_backward(
    dy: Array, x: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str | None = "relu"
) -> tuple[Array, list[Array], list[Array]]:
    """Gradients of `mlp_forward` by BLAS."""
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(numpy_linear(inputs[-1], weight, bias, activation=activation))
    dweights: list[Array] = []
    dbiases: list[Array] = []
    for index in reversed(range(len(weights))):
        name = None if index == len(weights) - 1 else activation
        g, dweight, dbias = numpy_linear_backward(
            dy, inputs[index], weights[index], biases[index], activation=name
        )
        assert g is not None
        assert dweight is not None
        assert dbias is not None
        dy, dweights, dbiases = g, [dweight, *dweights], [dbias, *dbiases]
    return dy, dweights, dbiases


ACTIVATIONS = get_args(DenseActivation)
WRONG = np.ones((3, 4), np.float32)


def problems(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Those of the tests, for these shapes of x."""
    return tuple((*shape, HIDDEN, OUTPUTS) for shape in shapes)


PLAIN = Variant("plain", ("biases",))
NO_BIASES = Variant("no_biases", keywords={"activation": "tanh"})

mlp_forward = Spec(
    "mlp_forward",
    network_inputs,
    (
        PLAIN,
        NO_BIASES,
        *(
            Variant(name, ("biases",), {"activation": name, "output_activation": name})
            for name in ACTIVATIONS
            if name != "relu"
        ),
    ),
    ("x", "weights", "biases"),
    GRADIENT,
    GRADIENT,
    forward_bounds,
    backward_bounds,
    numpy_mlp_forward,
    numpy_mlp_backward,
    checked=(NO_BIASES, Variant("gelu", ("biases",), {"activation": "gelu"})),
    workloads=(Workload(PLAIN, shapes=TIMED[:-1]),),
    problem=network_of,
    shapes=problems(SHAPES),
    large=problems(LARGE),
    empty=problems(((0, 5),)),
    batches=problems(tuple((BATCH, cols) for cols in (1, 5, 31, 64, 257, 1030))),
    bad=(
        ("weights", [], ValueError),
        ("weights", [WRONG, WRONG], ValueError),
        ("weights", 1, TypeError),
        ("biases", [WRONG[0]], ValueError),
        ("activation", "softmax", ValueError),
        ("output_activation", 1, TypeError),
    ),
)
