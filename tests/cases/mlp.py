"""Networks of dense layers. A shape is that of x; there is one hidden layer, and OUTPUTS outputs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from fastnorm._typing import DenseActivation
from fastnorm.reference.linear import activate, derivative
from tolerances import last_rounding, roundoff

from .case import Array, Variant
from .linear import ELEMENTWISE, STEEPEST, layer, normal, product_bound, weight_bounds, wide
from .op import Arguments, Bounds, Op

HIDDEN, OUTPUTS = 20, 5


def make_network(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], variant: Variant
) -> Arguments:
    """x, weights and biases; ReLU bends at none of the sums."""
    sizes = pairwise((shape[-1], HIDDEN, OUTPUTS))
    kinks = variant.keywords.get("activation", "relu") == "relu"
    layers = [layer(rng, depth, cols, dtype, kinks=kinks and cols == HIDDEN) for depth, cols in sizes]
    weights, biases = map(list, zip(*layers, strict=True))
    return normal(rng, shape, dtype), weights, biases if "biases" in variant.given else None


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


ACTIVATIONS = get_args(DenseActivation)
WRONG = np.ones((3, 4), np.float32)

OPS = (
    Op(
        "mlp_forward",
        make_network,
        (
            Variant("plain", ("biases",)),
            Variant("no_biases", keywords={"activation": "tanh"}),
            *(
                Variant(name, ("biases",), {"activation": name, "output_activation": name})
                for name in ACTIVATIONS
                if name != "relu"
            ),
        ),
        ("x", "weights", "biases"),
        forward_bounds,
        backward_bounds,
        bad=(
            ("weights", [], ValueError),
            ("weights", [WRONG, WRONG], ValueError),
            ("weights", 1, TypeError),
            ("biases", [WRONG[0]], ValueError),
            ("activation", "softplus", ValueError),
            ("output_activation", 1, TypeError),
        ),
    ),
)
