"""SGD and Adam against written-out formulas, PyTorch, and their bad arguments."""

from __future__ import annotations

import copy
import math
import pickle
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm._specs.bounds import UNIT_ROUNDOFF
from numpy.typing import NDArray
from ops import DTYPES
from tolerances import assert_same_bits

Array = NDArray[Any]

SHAPES = ((3, 5), (1,), (), (0,), (33, 40))
STEPS = 6


def textbook_sgd(
    p: Array, gs: list[Array], lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> Array:
    p, v = p.copy(), np.zeros_like(p)
    for raw in gs:
        g = raw + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v if momentum else g)
    return p


def textbook_adam(
    p: Array,
    gs: list[Array],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> Array:
    p, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for t, raw in enumerate(gs, 1):
        g = raw
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = raw + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


SGDS: list[dict[str, Any]] = [
    {},
    {"lr": 0.3, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.7, "nesterov": True, "weight_decay": 0.05},
]
ADAMS: list[dict[str, Any]] = [
    {},
    {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3},
    {"lr": 0.1, "weight_decay": 0.2},
    {"lr": 0.1, "weight_decay": 0.2, "decoupled": True},
    {"lr": 0.1, "betas": (0.0, 0.0)},
]


def expected(kind: str, settings: dict[str, Any], p: Array, gs: list[Array]) -> Array:
    if kind == "sgd":
        unset = {"lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
        return textbook_sgd(p, gs, **{**unset, **settings})
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
    return textbook_adam(p, gs, **{**defaults, **settings})


KINDS = [("sgd", settings) for settings in SGDS] + [("adam", settings) for settings in ADAMS]


def make(kind: str, settings: dict[str, Any]) -> Any:
    return (fastnorm.SGD if kind == "sgd" else fastnorm.Adam)(**settings)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_against_the_formula(
    kind: str, settings: dict[str, Any], dtype: np.dtype[Any], implementation: str, rng: np.random.Generator
) -> None:
    """A few roundings of each step; a half parameter is rounded at each."""
    parameters = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    parameters = [np.asarray(p) for p in parameters]
    gs = [[np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES] for _ in range(STEPS)]
    wide = [[g.astype(np.float64) for g in step] for step in gs]
    wanted = [
        expected(kind, settings, p.astype(np.float64), [s[i] for s in wide]) for i, p in enumerate(parameters)
    ]
    optimizer = make(kind, settings)
    for step in gs:
        assert optimizer.update(parameters, step) is None
    unit = UNIT_ROUNDOFF["float64" if dtype == np.float64 else "float32"]
    if dtype.itemsize == 2:
        unit = UNIT_ROUNDOFF[dtype.name]
    for p, exact in zip(parameters, wanted, strict=True):
        scale = 4.0  # parameters and gradients are of order 1
        np.testing.assert_allclose(p.astype(np.float64), exact, rtol=0, atol=16 * STEPS * unit * scale)


def random_problem(rng: np.random.Generator, dtype: Any) -> tuple[list[Array], list[list[Array]]]:
    shapes = ((7, 9), (40_000,), (5,))
    parameters = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return parameters, [[rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(3)]


@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_same_bits(kind: str, settings: dict[str, Any], native: ModuleType, rng: np.random.Generator) -> None:
    """For any number of threads, any strides, and gradients of half parameters in float32."""
    for dtype in (np.float32, np.float16):
        parameters, gs = random_problem(rng, dtype)
        results = []
        for threads, relay in ((1, False), (2, False), (3, True)):
            mine = [p.copy() for p in parameters]
            if relay:  # every second element of a larger array, and gradients in reverse
                mine = [np.repeat(p, 2, axis=-1)[..., ::2] for p in mine]
            optimizer = make(kind, settings)
            with fastnorm.threads(threads):
                for step in gs:
                    given = [g[..., ::-1].copy()[..., ::-1] for g in step] if relay else step
                    given = [g.astype(np.float32) for g in given] if threads == 2 else given
                    optimizer.update(mine, given)
            results.append(mine)
        for other in results[1:]:
            for got, wanted in zip(other, results[0], strict=True):
                assert_same_bits(np.ascontiguousarray(got), wanted)


@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_against_torch(
    kind: str, settings: dict[str, Any], native: ModuleType, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    parameters, gs = random_problem(rng, np.float32)
    theirs = [torch.tensor(p.copy(), requires_grad=True) for p in parameters]
    given = dict(settings)
    if kind == "sgd":
        reference = torch.optim.SGD(theirs, **{"lr": 0.01, **given})
    else:
        reference = (torch.optim.AdamW if given.pop("decoupled", False) else torch.optim.Adam)(
            theirs, **{"weight_decay": 0.0, **given}
        )
    optimizer = make(kind, settings)
    for step in gs:
        optimizer.update(parameters, step)
        for tensor, g in zip(theirs, step, strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
    for p, tensor in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p, tensor.detach().numpy(), rtol=2e-6, atol=2e-6)


def test_no_gradient_no_change(backend: str) -> None:
    for optimizer in (fastnorm.SGD(momentum=0.5, weight_decay=0.1), fastnorm.Adam(weight_decay=0.1)):
        parameters = [np.ones(3), np.ones(2)]
        for _ in range(2):
            optimizer.update(parameters, [None, np.ones(2)])
        np.testing.assert_array_equal(parameters[0], 1)
        assert (parameters[1] < 1).all()


def test_infinite_parameters_without_decay(backend: str) -> None:
    for optimizer in (fastnorm.SGD(momentum=0.5), fastnorm.Adam()):
        p = np.array([math.inf, -math.inf, math.nan])
        optimizer.update([p], [np.ones(3)])
        np.testing.assert_array_equal(p, [math.inf, -math.inf, math.nan])


def test_settings_can_change(backend: str) -> None:
    optimizer, p = fastnorm.SGD(lr=1.0), np.array([4.0])
    optimizer.update([p], [np.array([1.0])])
    optimizer.lr = 0.5
    optimizer.update([p], [np.array([1.0])])
    assert p[0] == 2.5


@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_state_goes_on_in_copies(
    kind: str, settings: dict[str, Any], backend: str, rng: np.random.Generator
) -> None:
    """Pickles, deep copies and loaded states go on as the optimiser does."""
    parameters, gs = [rng.standard_normal(5)], [[rng.standard_normal(5)] for _ in range(4)]
    optimizer = make(kind, settings)
    for step in gs[:2]:
        optimizer.update(parameters, step)
    copies = [pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer), make(kind, settings)]
    copies[-1].load_state_dict(optimizer.state_dict(), parameters)
    others = [[p.copy() for p in parameters] for _ in copies]
    for step in gs[2:]:
        optimizer.update(parameters, step)
        for other, theirs in zip(copies, others, strict=True):
            other.update(theirs, step)
    for theirs in others:
        assert_same_bits(theirs[0], parameters[0])
    with pytest.raises(ValueError, match="needs"):
        make(kind, settings).load_state_dict(
            {"steps": np.zeros(1, int), "unknown.0": np.zeros(5)}, parameters
        )


BAD_SETTINGS = [
    *(("lr", value, ValueError) for value in (math.nan, math.inf, -1, -1e-9)),
    *(("lr", value, TypeError) for value in (None, "0.1", True, [0.1])),
    *(("weight_decay", value, ValueError) for value in (math.nan, -0.1)),
    ("momentum", -0.1, ValueError),
    ("nesterov", True, ValueError),
    ("nesterov", 1, TypeError),
    ("betas", 0.9, TypeError),
    ("betas", (0.9,), ValueError),
    ("betas", (0.9, 1.0), ValueError),
    ("betas", (-0.1, 0.9), ValueError),
    ("betas", (math.nan, 0.9), ValueError),
    ("eps", -1e-8, ValueError),
    ("decoupled", 1, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_SETTINGS, ids=str)
def test_bad_settings(name: str, value: Any, error: type[Exception]) -> None:
    for kind in (fastnorm.SGD, fastnorm.Adam):
        if name not in kind._settings:
            continue
        with pytest.raises(error, match=rf"{kind.__name__}: {name}.*needs"):
            kind(**{name: value})
        optimizer = kind()
        before = getattr(optimizer, name)
        with pytest.raises(error, match=rf"{kind.__name__}: {name}.*needs"):
            setattr(optimizer, name, value)
        assert getattr(optimizer, name) == before


def locked() -> Array:
    array = np.ones(3)
    array.flags.writeable = False
    return array


BAD_UPDATES: list[tuple[str, Any, Any, type[Exception]]] = [
    ("parameters", np.ones(3), [np.ones(3)], TypeError),
    ("parameters", [[1.0, 2.0]], [np.ones(2)], TypeError),
    ("parameters", [np.ones(3, int)], [np.ones(3)], TypeError),
    ("parameters", [locked()], [np.ones(3)], ValueError),
    ("parameters", [np.broadcast_to(np.ones(1), 3)], [np.ones(3)], ValueError),
    ("gradients", [np.ones(3)], np.ones(3), TypeError),
    ("gradients", [np.ones(3)], [], ValueError),
    ("gradients", [np.ones(3)], [np.ones(4)], ValueError),
    ("gradients", [np.ones(3)], [np.ones(3, np.float32)], TypeError),
    ("gradients", [np.ones(3)], [np.ones(3, int)], TypeError),
    ("gradients", [np.ones(3), np.ones(2)], [np.ones(3), "text"], TypeError),
]


@pytest.mark.parametrize(("argument", "parameters", "gradients", "error"), BAD_UPDATES, ids=str)
def test_bad_updates(
    argument: str, parameters: Any, gradients: Any, error: type[Exception], backend: str
) -> None:
    for optimizer in (fastnorm.SGD(momentum=0.5), fastnorm.Adam()):
        before = copy.deepcopy(parameters)
        with pytest.raises(error, match=rf"update: {argument}.*needs"):
            optimizer.update(parameters, gradients)
        np.testing.assert_array_equal(np.asarray(parameters[0]), np.asarray(before[0]))
        optimizer.update([np.ones(7)], [np.ones(7)])  # the refused call has left nothing behind


def test_other_shapes_after_the_first_update(backend: str) -> None:
    optimizer = fastnorm.Adam()
    optimizer.update([np.ones(3)], [np.ones(3)])
    for other in ([np.ones(4)], [np.ones(3, np.float32)], [np.ones(3), np.ones(3)]):
        with pytest.raises(ValueError, match=r"update: parameters.*needs those of the first update"):
            optimizer.update(other, [np.ones_like(p) for p in other])
    assert repr(optimizer).startswith("Adam(lr=0.001, betas=(0.9, 0.999)")
