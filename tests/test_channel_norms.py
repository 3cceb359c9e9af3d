"""What is special to batch_norm, group_norm and instance_norm; test_ops.py tests what holds for every op."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import oracles
import pytest
from fastnorm._specs.bounds import norm_bound, roundoff
from fastnorm._specs.spec import GRADIENT
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits, assert_within

Array = NDArray[Any]
FLOAT32 = DTYPES["float32"]


def batch(rng: np.random.Generator, *shape: int, mean: float = 0.0) -> Array:
    return (mean + rng.standard_normal(shape)).astype(np.float32)


def running(channels: int, dtype: Any = np.float32) -> tuple[Array, Array]:
    return np.linspace(-1, 1, channels).astype(dtype), np.linspace(0.5, 2, channels).astype(dtype)


# Values


def test_golden(backend: str) -> None:
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    mean, var = np.zeros(1), np.ones(1)
    y = fastnorm.batch_norm(x, running_mean=mean, running_var=var, training=True)
    expected = [-1.341635419969, -0.447211806656, 0.447211806656, 1.341635419969]
    np.testing.assert_allclose(y.ravel(), expected, rtol=0, atol=0.51e-12)
    np.testing.assert_allclose(mean, [0.25], rtol=1e-15)
    np.testing.assert_allclose(var, [1.066666666667], rtol=0, atol=0.51e-12)
    dx, dweight, dbias = fastnorm.batch_norm_backward(
        np.array([[1.0], [0], [0], [0]]), x, np.ones(1), training=True
    )
    expected = [0.268330303893, -0.357768372025, -0.089443434631, 0.178881502763]
    np.testing.assert_allclose(dx.ravel(), expected, rtol=0, atol=0.51e-12)
    assert dweight is not None
    np.testing.assert_allclose(dweight, y[:1, 0])
    assert dbias is None


SPLITS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((40, 3), 1),
    ((6, 3, 40), 1),
    ((3, 5, 6, 4), -1),
    ((4, 3, 5), 1),
)


@pytest.mark.parametrize("mean", [1e4, 1e6])
@pytest.mark.parametrize(("shape", "axis"), SPLITS, ids=str)
def test_a_mean_far_from_zero(
    shape: tuple[int, ...], axis: int, mean: float, implementation: str, rng: np.random.Generator
) -> None:
    """Against sums that are rounded once: forward, and the statistics as the backward completes them."""
    x = batch(rng, *shape, mean=mean)
    moved = np.moveaxis(x, axis, 0)
    exact = oracles.normalised(moved.reshape(moved.shape[0], -1), 1e-5, centre=True).reshape(moved.shape)
    exact = np.moveaxis(exact, 0, axis)
    one = np.ones(1)
    y, *stats = fastnorm.batch_norm(x, training=True, axis=axis, return_stats=True)
    assert_within(y, exact, norm_bound(exact, one, 0 * one, FLOAT32))
    dy = rng.standard_normal(shape).astype(np.float32)
    for given in (None, tuple(stats)):
        dx, dweight, _ = fastnorm.batch_norm_backward(dy, x, stats[1], training=True, axis=axis, stats=given)
        wanted = fastnorm.reference.batch_norm_backward(
            dy.astype(float), x.astype(float), stats[1].astype(float), training=True, axis=axis
        )
        for got, right in zip((dx, dweight), wanted, strict=False):
            assert right is not None
            assert got is not None
            assert np.linalg.norm(got - right) <= GRADIENT.bound * np.linalg.norm(right)
    if x.ndim > 2 and axis == 1:
        for groups in (1, 3):
            rows = oracles.normalised(x.reshape(shape[0] * groups, -1), 1e-5, centre=True).reshape(shape)
            assert_within(fastnorm.group_norm(x, groups), rows, norm_bound(rows, one, 0 * one, FLOAT32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_channels_keep_to_themselves(
    dtype: Any, implementation: str, rng: np.random.Generator
) -> None:
    """NaN, infinity, constants and the largest float in a channel leave the others as they are."""
    for shape in ((20, 6), (3, 6, 20)):
        x = rng.standard_normal(shape).astype(dtype)
        plain = fastnorm.batch_norm(x, training=True)
        z = x.copy()
        z[0, 0], z[1, 1], z[:, 2], z[:, 3] = np.nan, np.inf, 7, np.float32(3.4028234e38)
        z[0, 3] *= -1
        y = fastnorm.batch_norm(z, training=True)
        np.testing.assert_array_equal(y[:, 4:], plain[:, 4:])
        assert np.isnan(y[:, :2]).all()
        assert not y[:, 2].any()
        assert np.isfinite(y[:, 3]).all()
        spread = y[:, 3].astype(float)
        np.testing.assert_allclose(np.mean(np.square(spread)), 1, rtol=1e-6)
        assert not fastnorm.batch_norm(np.full_like(x, 5), training=True, eps=0.0).any()


# Running arrays


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_training_updates_the_running_arrays(
    dtype: np.dtype[Any], correction: int, momentum: float, implementation: str, rng: np.random.Generator
) -> None:
    kind = np.float64 if dtype == np.float64 else np.float32
    for shape in ((30, 5), (4, 5, 20), (70, 5, 3)):
        x = (2 + rng.standard_normal(shape)).astype(dtype)
        values = np.moveaxis(x, 1, 0).reshape(5, -1).astype(np.float64)
        mean, var = running(5, kind)
        expected_mean = (1 - momentum) * mean.astype(float) + momentum * values.mean(axis=1)
        expected_var = (1 - momentum) * var.astype(float) + momentum * values.var(axis=1, ddof=correction)
        fastnorm.batch_norm(
            x, None, None, mean, var, training=True, momentum=momentum, running_correction=correction
        )
        for got, expected in ((mean, expected_mean), (var, expected_var)):
            np.testing.assert_allclose(
                got, expected, rtol=values.shape[1] * 4 * roundoff(np.dtype(kind)), atol=1e-7
            )


def test_strided_and_misaligned_running_arrays(implementation: str, rng: np.random.Generator) -> None:
    x = batch(rng, 30, 5)
    mean, var = running(5)
    fastnorm.batch_norm(x, None, None, mean, var, training=True)
    memory = np.zeros(64, np.uint8)
    for view in (np.zeros(10, np.float32)[::2], np.zeros(5, np.float32)[::-1], memory[1:21].view(np.float32)):
        other = np.zeros(10, np.float32)[1::2]
        view[...], other[...] = running(5)
        fastnorm.batch_norm(x, None, None, view, other, training=True)
        assert_same_bits(view, mean)
        assert_same_bits(other, var)


def test_running_arrays_stay_as_they_are(backend: str, rng: np.random.Generator) -> None:
    """In evaluation, with given statistics, for an empty batch, in the backward and in a pullback."""
    x, dy = batch(rng, 30, 5), batch(rng, 30, 5)
    mean, var = running(5)
    for array in (mean, var):
        array.flags.writeable = False
    fastnorm.batch_norm(x, None, None, mean, var)
    fastnorm.batch_norm_backward(dy, x, None, None, mean, var, training=True)
    mean, var = running(5)
    fastnorm.batch_norm(x, None, None, mean, var, training=True, stats=(mean.copy(), var.copy()))
    fastnorm.batch_norm(x[:0], None, None, mean, var, training=True)
    np.testing.assert_array_equal((mean, var), running(5))
    _, pullback = fastnorm.vjp(fastnorm.batch_norm, x, None, None, mean, var, training=True)
    once = mean.copy(), var.copy()
    assert not np.array_equal(mean, running(5)[0])
    dx = pullback(dy)[0]
    np.testing.assert_array_equal((mean, var), once)
    wanted = fastnorm.batch_norm_backward(dy, x, training=True)[0]
    np.testing.assert_allclose(dx, wanted, atol=1e-6)


def test_bad_running_arrays(backend: str, rng: np.random.Generator) -> None:
    """Nothing is written where a check fails, whichever it is."""
    x = batch(rng, 30, 5)
    shared = np.ones(6, np.float32)
    locked = np.ones(5, np.float32)
    locked.flags.writeable = False
    table: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"running_mean": None}, ValueError, "running_mean"),
        ({"running_var": None}, ValueError, "running_var"),
        ({"running_var": np.ones(4, np.float32)}, ValueError, "running_var"),
        ({"running_mean": np.ones(5)}, TypeError, "running_mean"),
        ({"running_mean": [0.0] * 5}, TypeError, "running_mean"),
        ({"running_mean": locked}, ValueError, "running_mean"),
        ({"running_var": locked}, ValueError, "running_var"),
        ({"running_mean": shared[1:], "running_var": shared[:5]}, ValueError, "running"),
        ({"running_mean": x[3]}, ValueError, "running_mean"),
        ({"weight": np.ones(4, np.float32)}, ValueError, "weight"),
        ({"momentum": 2.0}, ValueError, "momentum"),
        ({"out": np.empty((30, 5))}, ValueError, "out"),
        ({"x": x[:1]}, ValueError, "x"),
    ]
    for changes, error, name in table:
        mean, var = running(5)
        arguments: dict[str, Any] = {
            "x": x,
            "running_mean": mean,
            "running_var": var,
            "training": True,
            **changes,
        }
        with pytest.raises(error, match=f"batch_norm: {name}"):
            fastnorm.batch_norm(**arguments)
        np.testing.assert_array_equal((mean, var), running(5))
    for mean_and_var in ((mean, var), (None, None)):
        with pytest.raises(ValueError, match="more than one value"):
            fastnorm.batch_norm_backward(x[:1], x[:1], None, None, *mean_and_var, training=True)


@pytest.mark.parametrize("shared", ["weight", "bias", "x", "out"])
def test_training_updates_no_array_but_the_running_ones(shared: str, backend: str) -> None:
    x, mean, var = np.arange(12.0).reshape(4, 3), np.zeros(3), np.ones(3)
    for given in (mean, var):
        arrays: dict[str, Any] = {"x": x, "weight": None, "bias": None, "out": None}
        arrays[shared] = given if shared in ("weight", "bias") else np.empty((4, 3))
        running = {"running_mean": mean, "running_var": var}
        if shared in ("x", "out"):
            name = "running_mean" if given is mean else "running_var"
            running[name] = arrays[shared][1]
            running[name][...] = given
        before = {name: array.copy() for name, array in running.items()}
        with pytest.raises(ValueError, match=r"overlaps"):
            fastnorm.batch_norm(**arrays, **running, training=True)
        assert all(np.array_equal(running[name], array) for name, array in before.items())


def test_one_value_for_each_channel_is_enough_in_evaluation(backend: str) -> None:
    x = np.array([[3.0, 4.0]])
    np.testing.assert_array_equal(fastnorm.batch_norm(x), np.zeros((1, 2)))
    y = fastnorm.batch_norm(x, None, None, np.ones(2), np.full(2, 4.0), eps=0.0)
    np.testing.assert_array_equal(y, [[1.0, 1.5]])


# Statistics


@pytest.mark.parametrize(("shape", "axis"), SPLITS, ids=str)
def test_given_statistics(
    shape: tuple[int, ...], axis: int, implementation: str, rng: np.random.Generator
) -> None:
    """Those of the forward give its gradients; float64 ones give its result; without training they are
    constants.
    """
    x, dy = batch(rng, *shape), batch(rng, *shape)
    channels = shape[axis]
    weight, bias = batch(rng, channels), batch(rng, channels)
    y, mean, rstd = fastnorm.batch_norm(x, weight, bias, training=True, axis=axis, return_stats=True)
    got = fastnorm.batch_norm_backward(dy, x, weight, bias, training=True, axis=axis, stats=(mean, rstd))
    for one, other in zip(got, fastnorm.batch_norm_backward(dy, x, weight, bias, axis=axis), strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    others = tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    wide = x.astype(np.float64)
    exact = wide.mean(axis=others), 1 / np.sqrt(wide.var(axis=others) + 1e-5)
    again = fastnorm.batch_norm(x, weight, bias, training=True, axis=axis, stats=exact)
    np.testing.assert_allclose(again, y, rtol=4 * roundoff(FLOAT32), atol=4 * roundoff(FLOAT32))
    dx, _, _ = fastnorm.batch_norm_backward(dy, x, weight, bias, axis=axis, stats=(mean, rstd))
    factor = np.expand_dims((weight * rstd), others)
    np.testing.assert_allclose(dx, dy * factor, rtol=4 * roundoff(FLOAT32))
    used = fastnorm.batch_norm(x, axis=axis, stats=(mean, rstd), return_stats=True)
    assert_same_bits(used[1], mean)
    assert_same_bits(used[2], rstd)


# Layouts and shapes


def test_images_with_the_channels_last_in_memory(native: Any, rng: np.random.Generator) -> None:
    """The same logical array has the same bits whether its channels lie first or last in memory."""
    for shape in ((3, 20, 5, 7), (2, 33, 2, 3), (4, 6, 9, 1)):
        x, dy = batch(rng, *shape), batch(rng, *shape)
        weight, bias = batch(rng, shape[1]), batch(rng, shape[1])
        last = [np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, dy)]
        y = fastnorm.batch_norm(x, weight, bias, training=True)
        z = fastnorm.batch_norm(last[0], weight, bias, training=True)
        assert_same_bits(y, z)
        assert z.strides == last[0].strides
        gradients = fastnorm.batch_norm_backward(dy, x, weight, bias, training=True)
        other = fastnorm.batch_norm_backward(last[1], last[0], weight, bias, training=True)
        for one, two in zip(gradients, other, strict=True):
            assert one is not None
            assert two is not None
            assert_same_bits(one, two)
        assert_same_bits(fastnorm.group_norm(x, 1, weight), fastnorm.group_norm(last[0], 1, weight))


def test_few_channels_are_shared_out_too(native: Any, rng: np.random.Generator) -> None:
    """Planes are divided over the threads in another way where there are few channels: the same bits."""
    x, dy = batch(rng, 150, 2, 9, 11), batch(rng, 150, 2, 9, 11)
    results = []
    for count in (1, 2, 3, 40):
        with fastnorm.threads(count):
            y = fastnorm.batch_norm(x, training=True)
            results.append(
                (y, *fastnorm.batch_norm_backward(dy, x, np.ones(2, np.float32), training=True)[:2])
            )
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert one is not None
            assert two is not None
            assert_same_bits(one, two)


def test_in_place(backend: str, rng: np.random.Generator) -> None:
    for shape in ((30, 5), (4, 5, 40)):
        x = batch(rng, *shape)
        expected = fastnorm.batch_norm(x, training=True), fastnorm.group_norm(x, 5), fastnorm.instance_norm(x)
        for op, y in zip(("batch_norm", "group_norm", "instance_norm"), expected, strict=True):
            z = x.copy()
            more: dict[str, Any] = {"batch_norm": {"training": True}, "group_norm": {"num_groups": 5}}.get(
                op, {}
            )
            assert getattr(fastnorm, op)(z, out=z, **more) is z
            np.testing.assert_array_equal(z, y)


def test_the_three_are_relatives(implementation: str, rng: np.random.Generator) -> None:
    """group_norm with a group for each channel is instance_norm, with one group layer_norm over all but the
    samples.
    """
    x, weight = batch(rng, 3, 6, 5, 7), batch(rng, 6)
    assert_same_bits(fastnorm.group_norm(x, 6, weight), fastnorm.instance_norm(x, weight))
    np.testing.assert_allclose(
        fastnorm.group_norm(x, 1), fastnorm.layer_norm(x, axis=(1, 2, 3)), rtol=0, atol=1e-6
    )
    sample = x[0]
    assert_same_bits(fastnorm.group_norm(sample, 3, weight, axis=0), fastnorm.group_norm(x, 3, weight)[0])
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    got = fastnorm.group_norm(last, 3, weight, axis=-1)
    np.testing.assert_allclose(np.moveaxis(got, -1, 1), fastnorm.group_norm(x, 3, weight), rtol=0, atol=1e-6)
    single = fastnorm.batch_norm(x[:1], weight, training=True)
    np.testing.assert_allclose(single, fastnorm.instance_norm(x[:1], weight), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, -1, 1])
@pytest.mark.parametrize("op", ["batch_norm", "group_norm", "instance_norm"])
def test_a_number_has_no_channels(op: str, axis: int, backend: str) -> None:
    one = np.float32(2)
    groups = {"num_groups": 1} if op == "group_norm" else {}
    with pytest.raises(ValueError, match=rf"{op}: x has shape \(\), needs two axes"):
        getattr(fastnorm, op)(one, axis=axis, **groups)
    with pytest.raises(ValueError, match=rf"{op}_backward: x has shape \(\), needs two axes"):
        getattr(fastnorm, f"{op}_backward")(one, one, axis=axis, **groups)
