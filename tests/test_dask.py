"""fastnorm.dask: the bits of one call on everything, whatever the chunks, or a refusal."""

from __future__ import annotations

from typing import Any

import fastnorm
import numpy as np
import pytest
from numpy.typing import NDArray
from tolerances import assert_same_bits

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
fd = pytest.importorskip("fastnorm.dask")

Array = NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 12)).astype(np.float32)
ROW = RNG.standard_normal(12).astype(np.float32)
IMAGES = RNG.standard_normal((7, 6, 4, 5))
CALLS: dict[str, tuple[Any, Array, tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = {
    "activation": (fastnorm.gelu, X, (), {"approximate": "tanh"}, (5, 7)),
    "beta": (fastnorm.swish, X, (0.5,), {}, (5, 7)),
    "beta of columns": (fastnorm.swish, X, (ROW,), {}, (5, 12)),
    "beta of rows": (fastnorm.swish, X, (X[:, :1],), {}, (23, 5)),
    "beta of each": (fastnorm.swish, X, (X[::-1],), {}, (5, 7)),
    "norm": (fastnorm.layer_norm, X, (ROW, ROW), {}, (5, 12)),
    "norm of columns": (fastnorm.rms_norm, X, (X[:, 0],), {"axis": 0}, (23, 5)),
    "norm of all": (fastnorm.layer_norm, X, (), {"axis": None}, (23, 12)),
    "norm of two axes": (fastnorm.layer_norm, IMAGES, (IMAGES[0, 0],), {"axis": (2, 3)}, (3, 4, 4, 5)),
    "deep_norm": (fastnorm.deep_norm, X, (X[::-1], ROW), {"alpha": 2.0}, (5, 12)),
    "softmax": (fastnorm.softmax, X, (), {}, (5, 12)),
    "packed gate": (fastnorm.swiglu, X, (), {}, (5, 12)),
    "gate": (fastnorm.swiglu, X, (X[::-1],), {}, (5, 7)),
    "packed gate of rows": (fastnorm.glu, X[:22], (), {"axis": 0}, (22, 5)),
    "linear": (fastnorm.linear, X, (X[:12].T.copy(),), {"activation": "gelu"}, (5, 12)),
    "square linear": (fastnorm.linear, X[:12], (X[:12], ROW), {}, (5, 12)),
    "gated_linear": (fastnorm.gated_linear, X, (X[:12, :7], X[:12, 2:9]), {}, (5, 12)),
    "mlp_forward": (fastnorm.mlp_forward, X, ([X[:12, :7]], [ROW[:7]]), {}, (5, 12)),
    "groups": (fastnorm.group_norm, IMAGES, (3, ROW[:6].astype(float)), {"axis": 1}, (3, 6, 4, 5)),
    "instances": (fastnorm.instance_norm, IMAGES, (), {"axis": 1}, (3, 6, 4, 5)),
    "attention": (fastnorm.attention, IMAGES, (IMAGES, IMAGES[..., :3]), {}, (3, 4, 4, 5)),
    "masked attention": (
        fastnorm.attention,
        IMAGES,
        (IMAGES, IMAGES),
        {"mask": np.tri(4, dtype=bool)},
        (3, 4, 4, 5),
    ),
    "rotary": (
        fastnorm.rotary_embedding,
        IMAGES,
        fastnorm.rotary_frequencies(4, 4, dtype=float),
        {},
        (3, 4, 4, 5),
    ),
    "backward": (fastnorm.gelu_backward, X, (X[::-1],), {}, (5, 7)),
    "backward of rows": (fastnorm.softmax_backward, X, (X[::-1],), {}, (5, 12)),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_bits_of_one_call(name: str, native: Any) -> None:
    op, x, args, keywords, chunks = CALLS[name]
    expected = op(x, *args, **keywords)
    given = dict(keywords)
    y = fd.map_op(op, da.from_array(x, chunks=chunks), *args, **given)
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    assert_same_bits(np.ascontiguousarray(y.compute()), np.ascontiguousarray(expected))
    beside = [
        da.from_array(a, chunks=chunks) if isinstance(a, np.ndarray) and a.shape == x.shape else a
        for a in args
    ]
    if any(isinstance(a, da.Array) for a in beside) and op not in (fastnorm.linear,):
        again = fd.map_op(op, da.from_array(x, chunks=chunks), *beside, **given)
        assert_same_bits(np.ascontiguousarray(again.compute()), np.ascontiguousarray(expected))


def test_it_is_lazy_and_pickled() -> None:
    y = fd.map_op(fastnorm.gelu, da.from_array(X, chunks=(5, 5)))
    assert isinstance(y, da.Array)
    with dask.config.set(scheduler="processes"):
        assert_same_bits(y.compute(), fastnorm.gelu(X))


WHOLE = da.from_array(X, chunks=(23, 12))
ROWS, CUT = da.from_array(X, chunks=(5, 12)), da.from_array(X, chunks=(5, 7))
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "norm across chunks": (
        lambda: fd.map_op(fastnorm.layer_norm, CUT),
        ValueError,
        r"x has 2 chunks along axis 1",
    ),
    "all axes": (
        lambda: fd.map_op(fastnorm.softmax, ROWS, axis=None),
        ValueError,
        r"x has 5 chunks along axis 0",
    ),
    "layer across chunks": (lambda: fd.map_op(fastnorm.linear, CUT, X[:12]), ValueError, "x has 2 chunks"),
    "gate across chunks": (lambda: fd.map_op(fastnorm.swiglu, CUT), ValueError, "x has 2 chunks"),
    "beta across chunks": (lambda: fd.map_op(fastnorm.swish, CUT, ROW), ValueError, "x has 2 chunks"),
    "chunked weight": (
        lambda: fd.map_op(fastnorm.layer_norm, ROWS, da.from_array(ROW, chunks=4)),
        ValueError,
        r"args\[0\] is a Dask",
    ),
    "other chunks": (lambda: fd.map_op(fastnorm.swiglu, ROWS, CUT), ValueError, r"args\[0\] is a Dask array"),
    "a keyword": (lambda: fd.map_op(fastnorm.attention, WHOLE, X, X, mask=CUT), TypeError, "mask is a Dask"),
    "masks": (lambda: fd.map_op(fastnorm.dropout, ROWS, seed=1), TypeError, "op is dropout, needs an op of"),
    "batches": (lambda: fd.map_op(fastnorm.batch_norm, ROWS), TypeError, r"needs fastnorm\.dask\.batch_norm"),
    "losses": (lambda: fd.map_op(fastnorm.mse_loss, ROWS, ROWS), TypeError, "op is mse_loss"),
    "statistics": (
        lambda: fd.map_op(fastnorm.rms_norm, ROWS, return_stats=True),
        TypeError,
        "with 2 results",
    ),
    "pairs": (lambda: fd.map_op(fastnorm.swish_backward, ROWS, ROWS), TypeError, "with 2 results"),
    "out": (lambda: fd.map_op(fastnorm.gelu, ROWS, out=X.copy()), TypeError, "out is given"),
    "NumPy's": (lambda: fd.map_op(np.sin, ROWS), TypeError, "op is sin, needs an op of fastnorm"),
    "no Dask array": (
        lambda: fd.map_op(fastnorm.gelu, X),
        TypeError,
        r"x has type ndarray, needs a dask\.array",
    ),
    "no op": (lambda: fd.map_op("gelu", ROWS), TypeError, "op is 'gelu'"),
    "no length": (lambda: fd.map_op(fastnorm.gelu, ROWS[ROWS[:, 0] > 0]), ValueError, "compute_chunk_sizes"),
    "the op's own": (
        lambda: fd.map_op(fastnorm.layer_norm, ROWS, ROW[:3]),
        ValueError,
        "layer_norm: weight has shape",
    ),
    "moments of NumPy's": (lambda: fd.moments(X, 0), TypeError, "moments: x has type ndarray"),
    "no such axis": (lambda: fd.moments(ROWS, 2), ValueError, "moments: axis is 2"),
    "statistics of another length": (
        lambda: fd.batch_norm(ROWS, ROW[:3]),
        ValueError,
        r"batch_norm: weight has shape \(3,\)",
    ),
    "one value": (lambda: fd.batch_norm(WHOLE[:1]), ValueError, "more than one value"),
    "features in chunks": (
        lambda: fd.predict(fastnorm.MLP([12, 1]), CUT),
        ValueError,
        "predict: x has 2 chunks",
    ),
    "no model": (lambda: fd.predict(1, ROWS), TypeError, "predict: model has type int"),
    "targets in other chunks": (
        lambda: fd.gradients(fastnorm.MLP([12, 12]), ROWS, WHOLE),
        ValueError,
        "gradients: target has chunks",
    ),
    "no network": (lambda: fd.gradients(1, ROWS, ROWS), TypeError, "gradients: mlp has type int"),
    "no loss": (
        lambda: fd.gradients(fastnorm.MLP([12, 12]), ROWS, ROWS, loss="l3"),
        ValueError,
        "gradients: loss",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_chunks_would_change(name: str) -> None:
    call, error, match = BAD[name]
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("chunks", [(7, 6, 4, 5), (2, 6, 4, 5), (3, 4, 3, 2), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("axis", [0, (0, 2, 3), (1, -1), None], ids=str)
def test_moments(axis: Any, chunks: tuple[int, ...]) -> None:
    axes = (0, 1, 2, 3) if axis is None else axis
    found, expected = fd.moments(da.from_array(IMAGES, chunks=chunks), axis), fastnorm.moments(IMAGES, axes)
    assert found.count == expected.count
    for one, other in ((found.mean, expected.mean), (found.m2, expected.m2)):
        assert one.shape == np.shape(other)
        np.testing.assert_allclose(one.compute(), other, rtol=1e-13, atol=1e-14)
    with dask.config.set(scheduler="synchronous"):
        assert_same_bits(np.asarray(found.m2.compute()), np.asarray(found.m2.compute(scheduler="threads")))


@pytest.mark.parametrize("chunks", [(7, 6, 4, 5), (2, 6, 4, 5), (3, 4, 3, 2)], ids=str)
@pytest.mark.parametrize("axis", [1, -1])
def test_batch_norm(axis: int, chunks: tuple[int, ...]) -> None:
    x = IMAGES + 1e3
    channels = x.shape[axis]
    for weight, bias in (
        (None, None),
        (np.arange(channels) + 1.0, None),
        (None, np.ones(channels)),
        (np.ones(channels), np.arange(channels) * 1.0),
    ):
        y = fd.batch_norm(da.from_array(x, chunks=chunks), weight, bias, axis=axis)
        expected = fastnorm.batch_norm(x, weight, bias, axis=axis, training=True)
        np.testing.assert_allclose(y.compute(), expected, rtol=0, atol=1e-10)
    stats = fd.moments(da.from_array(x, chunks=chunks), tuple(k for k in range(4) if k != axis % 4)).stats()
    again = fd.batch_norm(da.from_array(x, chunks=chunks), axis=axis, stats=stats)
    np.testing.assert_allclose(
        again.compute(), fastnorm.batch_norm(x, axis=axis, training=True), rtol=0, atol=1e-10
    )


@pytest.mark.filterwarnings("ignore:lbfgs")
def test_predict() -> None:
    mlp = fastnorm.MLP([12, 9, 3], seed=0)
    assert_same_bits(fd.predict(mlp, ROWS).compute(), mlp(X))
    estimators = pytest.importorskip("fastnorm.sklearn")
    classes = RNG.integers(0, 3, 23)
    for model, target in (
        (estimators.MLPRegressor, X[:, 0]),
        (estimators.MLPRegressor, X[:, :2]),
        (estimators.MLPClassifier, np.array(["a", "b", "c"])[classes]),
    ):
        fitted = model(solver="lbfgs", max_iter=5, random_state=0).fit(X, target)
        np.testing.assert_array_equal(fd.predict(fitted, ROWS).compute(), fitted.predict(X))


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "huber"])
def test_gradients(loss: str) -> None:
    """Those of one batch, to the rounding of sums; and the same bits whatever runs first."""
    mlp = fastnorm.MLP([12, 9, 3], dtype=np.float64, seed=0)
    x, target = (
        X.astype(float),
        RNG.standard_normal((23, 3)) if loss != "cross_entropy" else RNG.integers(0, 3, 23),
    )
    rows = ((5, 5, 5, 5, 0, 3), (12,))
    dx = da.from_array(x).rechunk(rows)
    dt = da.from_array(target).rechunk((rows[0], *((n,) for n in target.shape[1:])))
    got = fd.gradients(mlp, dx, dt, loss=loss)
    again = fd.gradients(mlp, dx, dt, loss=loss)
    for one, other in zip((*got[1], *got[2]), (*again[1], *again[2]), strict=True):
        assert_same_bits(one, other)
    before = [array.copy() for array in (*mlp.weights, *mlp.biases)]
    assert got[0] == pytest.approx(mlp.step(x, target, loss=loss, optimizer=fastnorm.SGD(lr=1.0)), rel=1e-12)
    for array, old, slope in zip((*mlp.weights, *mlp.biases), before, (*got[1], *got[2]), strict=True):
        np.testing.assert_allclose(old - array, slope, rtol=0, atol=1e-13)


def test_ops_refuse_dask_arrays(backend: str) -> None:
    with pytest.raises(
        TypeError, match=r"gelu: x is a Dask Array, needs what compute\(\) gives, or fastnorm\.dask"
    ):
        fastnorm.gelu(ROWS)
    with pytest.raises(TypeError, match=r"layer_norm: weight is a Dask Array"):
        fastnorm.layer_norm(X, da.from_array(ROW))
