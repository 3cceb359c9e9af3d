"""The optimisers against written-out formulas, PyTorch, and their bad arguments."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
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


def textbook_rmsprop(
    p: Array,
    gs: list[Array],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> Array:
    p, v, m, b = p.copy(), np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for raw in gs:
        g = raw + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g
        u = g / (np.sqrt(v - m * m if centered else v) + eps)
        b = momentum * b + u
        p = p - lr * b
    return p


def textbook_lion(
    p: Array, gs: list[Array], lr: float, betas: tuple[float, float], weight_decay: float
) -> Array:
    p, m = p.copy(), np.zeros_like(p)
    for g in gs:
        p = p - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
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


ADAMWS: list[dict[str, Any]] = [{}, {"lr": 0.1, "weight_decay": 0.3}]
RMSPROPS: list[dict[str, Any]] = [
    {},
    {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    {"lr": 0.02, "alpha": 0.9, "momentum": 0.8},
    {"lr": 0.02, "alpha": 0.7, "eps": 0.1, "momentum": 0.5, "centered": True},
    {"lr": 0.02, "alpha": 0.5, "eps": 0.1, "centered": True},
]
LIONS: list[dict[str, Any]] = [{}, {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.2}]

MAKERS: dict[str, Any] = {
    "sgd": fastnorm.SGD,
    "adam": fastnorm.Adam,
    "adamw": fastnorm.AdamW,
    "rmsprop": fastnorm.RMSprop,
    "lion": fastnorm.Lion,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "adam": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False},
    "adamw": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "decoupled": True},
    "rmsprop": {
        "lr": 0.01,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "centered": False,
    },
    "lion": {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0},
}
TEXTBOOK: dict[str, Any] = {
    "sgd": textbook_sgd,
    "adam": textbook_adam,
    "adamw": textbook_adam,
    "rmsprop": textbook_rmsprop,
    "lion": textbook_lion,
}


def expected(kind: str, settings: dict[str, Any], p: Array, gs: list[Array]) -> Array:
    found: Array = TEXTBOOK[kind](p, gs, **{**DEFAULTS[kind], **settings})
    return found


ALL = {"sgd": SGDS, "adam": ADAMS, "adamw": ADAMWS, "rmsprop": RMSPROPS, "lion": LIONS}
KINDS = [(kind, settings) for kind, several in ALL.items() for settings in several]
ONE_OF_EACH = [(kind, several[-1]) for kind, several in ALL.items()]


def make(kind: str, settings: dict[str, Any]) -> Any:
    return MAKERS[kind](**settings)


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
    if kind == "lion":
        pytest.skip("PyTorch has no Lion")
    parameters, gs = random_problem(rng, np.float32)
    theirs = [torch.tensor(p.copy(), requires_grad=True) for p in parameters]
    given = {**DEFAULTS[kind], **settings}
    names = {"sgd": "SGD", "rmsprop": "RMSprop"}
    name = names.get(kind, "AdamW" if given.pop("decoupled", False) else "Adam")
    reference = getattr(torch.optim, name)(theirs, **given)
    optimizer = make(kind, settings)
    for step in gs:
        optimizer.update(parameters, step)
        for tensor, g in zip(theirs, step, strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
    for p, tensor in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p, tensor.detach().numpy(), rtol=2e-6, atol=2e-6)


def test_no_gradient_no_change(backend: str) -> None:
    settings = {"weight_decay": 0.1}
    for optimizer in (fastnorm.SGD(momentum=0.5, **settings), *(make(kind, settings) for kind in MAKERS)):
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
    ("alpha", 1.0, ValueError),
    ("alpha", "0.9", TypeError),
    ("centered", 1, TypeError),
    ("betas", (math.nan, 0.9), ValueError),
    ("eps", -1e-8, ValueError),
    ("decoupled", 1, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_SETTINGS, ids=str)
def test_bad_settings(name: str, value: Any, error: type[Exception]) -> None:
    for kind in MAKERS.values():
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
    for optimizer in (fastnorm.SGD(momentum=0.5), *(make(kind, {}) for kind in MAKERS)):
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


def test_steps_are_counted_for_each_parameter(backend: str) -> None:
    """A parameter without a gradient for nine updates then makes its first, whose length is lr."""
    parameters, adam = [np.ones(2), np.ones(3), np.ones(1)], fastnorm.Adam(lr=0.1)
    for _ in range(9):
        adam.update(parameters, [np.ones(2), None, np.ones(1)])
    adam.update(parameters, [None, np.full(3, 2.0), None])
    np.testing.assert_allclose(parameters[1], 0.9, rtol=1e-7)
    np.testing.assert_array_equal(adam.state_dict()["steps"], [9, 1, 9])
    alone, its = fastnorm.Adam(lr=0.1), [np.ones(3)]
    alone.update(its, [np.full(3, 2.0)])
    assert_same_bits(parameters[1], its[0])


def test_steps_as_torch(native: ModuleType, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    parameters = [rng.standard_normal(4) for _ in range(3)]
    theirs = [torch.tensor(p.copy(), requires_grad=True) for p in parameters]
    adam, reference = fastnorm.Adam(lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for step in range(7):
        gs = [None if (step + i) % 3 == 0 else rng.standard_normal(4) for i in range(3)]
        adam.update(parameters, gs)
        for tensor, g in zip(theirs, gs, strict=True):
            tensor.grad = None if g is None else torch.tensor(g)
        reference.step()
    for p, tensor in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p, tensor.detach().numpy(), rtol=1e-12)


def trained(kind: str, settings: dict[str, Any]) -> tuple[Any, list[Array]]:
    optimizer, parameters = make(kind, settings), [np.ones(300), np.full(200, 2.0)]
    for k in range(9):
        optimizer.update(parameters, [np.ones(300), None if k % 3 else np.ones(200)])
    return optimizer, parameters


def assert_go_on_alike(one: Any, other: Any, parameters: list[Array]) -> None:
    mine, theirs = [p.copy() for p in parameters], [p.copy() for p in parameters]
    for _ in range(3):
        for optimizer, its in ((one, mine), (other, theirs)):
            optimizer.update(its, [np.full(300, -1.0), np.full(200, 0.5)])
    for got, wanted in zip(theirs, mine, strict=True):
        assert_same_bits(got, wanted)


@pytest.mark.parametrize("mode", [None, "r", "r+", "c"])
@pytest.mark.parametrize(("kind", "settings"), [KINDS[2], *ONE_OF_EACH], ids=str)
def test_files_of_joblib(
    kind: str, settings: dict[str, Any], mode: str | None, tmp_path: Path, backend: str
) -> None:
    """Which keep no identity of arrays, and may give mappings of the file."""
    joblib = pytest.importorskip("joblib")
    optimizer, parameters = trained(kind, settings)
    joblib.dump(optimizer, tmp_path / "optimizer")
    assert_go_on_alike(optimizer, joblib.load(tmp_path / "optimizer", mmap_mode=mode), parameters)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
@pytest.mark.parametrize(("kind", "settings"), [KINDS[2], *ONE_OF_EACH], ids=str)
def test_copies_have_state_of_their_own(
    copied: Any, kind: str, settings: dict[str, Any], backend: str
) -> None:
    optimizer, parameters = trained(kind, settings)
    before = optimizer.state_dict()
    copied(optimizer).update(parameters, [np.ones(300), np.ones(200)])
    for name, array in optimizer.state_dict().items():
        assert_same_bits(array, before[name])
    assert_go_on_alike(optimizer, copied(optimizer), parameters)


def test_pickles_hold_state_only(backend: str) -> None:
    for settings, slots in (({}, 0), ({"momentum": 0.5}, 1)):
        sgd, parameters = fastnorm.SGD(**settings), (np.ones(10_000),)
        sgd.update(parameters, [np.ones(10_000)])
        assert len(pickle.dumps(sgd)) < slots * 80_000 + 2000


OWN = np.ones(10)
OVERLAPS: dict[str, tuple[list[Array], list[Array]]] = {
    r"gradients\[0\] overlaps parameters\[0\]": ([OWN[1:]], [OWN[:-1]]),
    r"gradients\[1\] overlaps parameters\[0\]": ([OWN[:5], np.ones(2)], [np.ones(5), OWN[3:5]]),
    r"gradients\[0\] overlaps parameters\[1\]": ([np.ones(5), OWN[:5]], [OWN[:5], np.ones(5)]),
    r"parameters\[.\] overlaps parameters\[.\]": ([OWN[:6], OWN[5:]], [np.ones(6), np.ones(5)]),
    r"parameters\[.\] overlaps parameters": ([OWN, OWN], [np.ones(10), np.ones(10)]),
    r"gradients\[0\] overlaps": ([OWN], [OWN[::-1]]),
}


@pytest.mark.parametrize(("message", "arrays"), OVERLAPS.items(), ids=list(OVERLAPS))
@pytest.mark.parametrize(("kind", "settings"), [KINDS[0], *ONE_OF_EACH], ids=str)
def test_overlap_is_refused(
    message: str, arrays: tuple[list[Array], list[Array]], kind: str, settings: dict[str, Any], backend: str
) -> None:
    optimizer = make(kind, settings)
    with pytest.raises(ValueError, match=f"update: {message}.*needs memory apart"):
        optimizer.update(*arrays)
    np.testing.assert_array_equal(OWN, 1)
    optimizer.update([np.ones(7)], [np.ones(7)])  # the refused call has left nothing behind


@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=str)
def test_memory_that_is_apart(
    kind: str, settings: dict[str, Any], backend: str, rng: np.random.Generator
) -> None:
    """A parameter as its own gradient, gradients that overlap, and columns of one matrix."""
    given = rng.standard_normal((6, 4))
    expected = given.copy()
    its = [expected[:, :2].copy(), expected[:, 2:].copy()]
    make(kind, settings).update(its, [its[0].copy(), its[0].copy()])
    matrix = given.copy()
    halves = [matrix[:, :2], matrix[:, 2:]]
    gradient = halves[0].copy()
    make(kind, settings).update(halves, [gradient, gradient])
    alone = given[:, :2].copy()
    make(kind, settings).update([alone], [alone])
    for got, wanted in zip((*halves, alone), (*its, its[0]), strict=True):
        assert_same_bits(np.ascontiguousarray(got), wanted)


def test_state_is_no_gradient(backend: str) -> None:
    sgd, parameters = fastnorm.SGD(momentum=0.5), [np.ones(4)]
    sgd.update(parameters, [np.ones(4)])
    with pytest.raises(ValueError, match=r"update: gradients\[0\] overlaps velocity\[0\]"):
        sgd.update(parameters, [sgd._state["velocity"][0]])


@pytest.mark.parametrize("offset", [0, 4], ids=["aligned", "unaligned"])
def test_mapped_parameters(offset: int, backend: str, tmp_path: Path) -> None:
    """Of a file: updated where they lie if it may be written, else refused."""
    path = tmp_path / "parameter"
    path.write_bytes(bytes(offset) + np.ones(6).tobytes())
    for kind, settings in (KINDS[2], KINDS[4]):
        wanted, optimizer, other = [np.ones(6)], make(kind, settings), make(kind, settings)
        parameter = np.memmap(path, np.float64, "r+", offset=offset)
        parameter[...] = 1
        optimizer.update([parameter], [np.full(6, 2.0)])
        other.update(wanted, [np.full(6, 2.0)])
        assert_same_bits(np.fromfile(path, np.float64, offset=offset), wanted[0])
        with pytest.raises(ValueError, match=r"update: parameters\[0\] is read-only"):
            optimizer.update([np.memmap(path, np.float64, "r", offset=offset)], [np.ones(6)])


def test_read_only_state(backend: str) -> None:
    adam, parameters = fastnorm.Adam(), (np.ones(3), np.ones(2))
    adam.update(parameters, [np.ones(3), np.ones(2)])
    before = [p.copy() for p in parameters]
    adam._state["second_moment"][1].flags.writeable = False
    with pytest.raises(ValueError, match=r"update: second_moment\[1\] is read-only, needs"):
        adam.update(parameters, [np.ones(3), np.ones(2)])
    for got, wanted in zip(parameters, before, strict=True):
        assert_same_bits(got, wanted)


def test_loading_state(backend: str) -> None:
    adam, parameters = trained("adam", {})
    state = adam.state_dict()
    np.testing.assert_array_equal(state["steps"], [9, 3])
    one_count = fastnorm.Adam()
    one_count.load_state_dict({**state, "steps": np.array([9])}, parameters)  # as before there were several
    np.testing.assert_array_equal(one_count.state_dict()["steps"], [9, 9])
    for fresh in (fastnorm.Adam().state_dict(), {"steps": np.zeros(1, np.int64)}):
        one_count.load_state_dict(fresh, parameters)
        assert not any(array.any() for array in one_count.state_dict().values())
    sgd, its = fastnorm.SGD(momentum=0.5), [np.ones(2), np.ones(2)]
    sgd.update(its, [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    own = sgd._state["velocity"]
    sgd.load_state_dict({"steps": [1, 1], "velocity.0": own[1], "velocity.1": own[0]}, its)
    np.testing.assert_array_equal(sgd._state["velocity"], [[3, 4], [1, 2]])


BAD_STATES: list[tuple[str, Any, type[Exception]]] = [
    ("steps", np.ones(3, int), ValueError),
    ("steps", np.array([-1, 2]), ValueError),
    ("steps", np.array([2**64 - 1, 0], np.uint64), ValueError),
    ("steps", np.ones(2), TypeError),
    ("first_moment.0", np.ones(299), ValueError),
    ("first_moment.0", np.ones(300) * 1j, TypeError),
    ("first_moment.0", np.ma.masked_array(np.ones(300), mask=True), TypeError),
    ("second_moment.1", "text", TypeError),
    ("state", {"steps": np.array([3])}, ValueError),
    ("state", {}, ValueError),
    ("state", [("steps", 1)], TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_STATES, ids=str)
def test_bad_states(name: str, value: Any, error: type[Exception], backend: str) -> None:
    adam, parameters = trained("adam", {})
    before = adam.state_dict()
    given = value if name == "state" else {**before, name: value}
    with pytest.raises(error, match=rf"load_state_dict: {name}.*needs"):
        adam.load_state_dict(given, parameters)
    for key, array in adam.state_dict().items():
        assert_same_bits(array, before[key])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: fastnorm.SGD(1e300), "SGD: lr"),
        (lambda: fastnorm.SGD(0.1, momentum=1e300), "SGD: momentum"),
        (lambda: fastnorm.SGD(0.1, weight_decay=1e300), "SGD: weight_decay"),
        (lambda: fastnorm.Adam(1e39), "Adam: lr"),
        (lambda: fastnorm.Adam(eps=1e300), "Adam: eps"),
    ],
)
def test_settings_beyond_float32(make: Any, name: str, backend: str) -> None:
    optimizer, single = make(), np.ones(2, np.float32)
    for dtype in (np.float32, np.float16):
        with pytest.raises(ValueError, match=rf"^{name} is .*, needs a number in the range of float32"):
            optimizer.update([single.astype(dtype)], [single.astype(dtype)])
    optimizer.update([np.ones(3)], [np.ones(3)])  # nothing is bound to the parameters that were refused
    np.testing.assert_array_equal(single, 1)


@pytest.mark.parametrize(
    ("make", "p", "g", "expected"),
    [
        (lambda: fastnorm.Adam(0.1), 1.0, 1e25, 1.0),  # g^2 overflows, as in PyTorch
        (lambda: fastnorm.Adam(eps=1e-50), 0.0, 0.0, np.nan),  # 0 / 0: eps is 0 in float32
        (lambda: fastnorm.SGD(1e-50), 1.0, np.inf, np.nan),
        (lambda: fastnorm.SGD(1e-50), 1.0, 1.0, 1.0),
    ],
)
def test_limits_of_float32(make: Any, p: float, g: float, expected: float, backend: str) -> None:
    parameter = np.full(3, p, np.float32)
    make().update([parameter], [np.full(3, g, np.float32)])
    np.testing.assert_array_equal(parameter, np.float32(expected))


def test_a_parameter_that_became_another(backend: str) -> None:
    weight, bias = np.ones(6, np.float32), np.ones(3, np.float32)
    parameters, adam = (weight, bias), fastnorm.Adam()
    adam.update(parameters, [weight.copy(), bias.copy()])
    before = adam.state_dict()
    bias.dtype = np.float16  # type: ignore[misc]
    message = r"^update: parameters\[1\] has shape \(6,\) and dtype float16, needs those"
    with pytest.raises(ValueError, match=message):
        adam.update(parameters, [weight.copy(), np.ones(6, np.float16)])
    for name, array in adam.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_counts_of_a_state() -> None:
    weight, adam = np.ones(2), fastnorm.Adam()
    adam.update([weight], [np.ones(2)])
    state = adam.state_dict()
    other = fastnorm.Adam()
    other.load_state_dict(state | {"steps": np.int64(5)}, [weight])
    np.testing.assert_array_equal(other.state_dict()["steps"], [5])
    with pytest.raises(ValueError, match=r"^load_state_dict: steps has shape \(0,\), needs \(1,\)"):
        other.load_state_dict(state | {"steps": np.zeros(0, np.int64)}, [weight])


# ---- groups


@pytest.mark.parametrize("kind", MAKERS)
def test_groups_have_settings_of_their_own(kind: str, backend: str, rng: np.random.Generator) -> None:
    """Parameters of a group are updated as by an optimiser with its settings."""
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    parameters = [rng.standard_normal((5, 7)) for _ in range(4)]
    gs = [[rng.standard_normal((5, 7)) for _ in range(4)] for _ in range(3)]
    groups = [{"indices": [0, 3], "lr": 0.5}, {"indices": (1,), "weight_decay": 0.0}]
    own = [{"lr": 0.5}, {"weight_decay": 0.0}, {}, {"lr": 0.5}]
    alone = [make(kind, {**settings, **others}) for others in own]
    together, wanted = make(kind, {**settings, "groups": groups}), [p.copy() for p in parameters]
    for step in gs:
        together.update(parameters, step)
        for optimizer, p, g in zip(alone, wanted, step, strict=True):
            optimizer.update([p], [g])
    for got, p in zip(parameters, wanted, strict=True):
        assert_same_bits(got, p)


def test_groups_follow_what_is_set(backend: str) -> None:
    sgd, parameters = fastnorm.SGD(lr=1.0, groups=[{"indices": [1], "lr": 0.5}]), [np.zeros(1), np.zeros(1)]
    gradients = [np.ones(1), np.ones(1)]
    sgd.update(parameters, gradients)
    np.testing.assert_array_equal(parameters, [[-1], [-0.5]])
    sgd.lr = 2.0  # of those without a rate of their own
    sgd.update(parameters, gradients)
    np.testing.assert_array_equal(parameters, [[-3], [-1]])
    again = pickle.loads(pickle.dumps(sgd))
    again.load_state_dict(sgd.state_dict(), parameters)
    assert repr(again) == repr(sgd)
    again.groups = []
    again.update(parameters, gradients)
    np.testing.assert_array_equal(parameters, [[-5], [-3]])
    assert "groups" not in repr(again)


def test_groups_by_name(backend: str) -> None:
    """Of a network: one parameter, or all of a kind."""
    start = fastnorm.MLP([3, 4, 2], dtype=np.float64, seed=0)
    x, target = np.ones((5, 3)), np.ones((5, 2))
    by_name = [{"names": ["biases"], "lr": 0.0}, {"names": ["weights.1"], "lr": 0.5}]
    by_index = [{"indices": [2, 3], "lr": 0.0}, {"indices": [1], "lr": 0.5}]
    nets = []
    for groups in (by_name, by_index):
        net = copy.copy(start)
        optimizer = fastnorm.Adam(lr=0.01, groups=groups)
        for _ in range(2):
            net.step(x, target, optimizer=optimizer)
        optimizer.load_state_dict(optimizer.state_dict(), [*net.weights, *net.biases])
        net.step(x, target, optimizer=optimizer)
        nets.append(net)
    for one, other in zip(nets[0].weights + nets[0].biases, nets[1].weights + nets[1].biases, strict=True):
        assert_same_bits(one, other)
    for bias in nets[0].biases:
        np.testing.assert_array_equal(bias, 0)


BAD_GROUPS: list[tuple[Any, type[Exception], str]] = [
    ({"indices": [0], "lr": 1.0}, TypeError, "groups has type dict"),
    ([[0]], TypeError, r"groups\[0\] has type list"),
    ([{"indices": [0]}], ValueError, r"groups\[0\] has the entries"),
    ([{"lr": 0.1}], ValueError, r"groups\[0\] has the entries"),
    ([{"indices": [0], "names": ["a"], "lr": 0.1}], ValueError, r"groups\[0\] has the entries"),
    ([{"indices": [0], "momentum": 0.1}], ValueError, r"groups\[0\] has the entries"),
    ([{"indices": [0], "lr": 0.1, "momentum": 0.1}], ValueError, r"groups\[0\] has the entries"),
    ([{"indices": 0, "lr": 0.1}], TypeError, r"groups\[0\]\['indices'\] has type int"),
    ([{"indices": [], "lr": 0.1}], ValueError, r"groups\[0\]\['indices'\] is empty"),
    ([{"indices": [-1], "lr": 0.1}], ValueError, r"groups\[0\]\['indices'\]\[0\] is -1"),
    ([{"indices": [0.0], "lr": 0.1}], TypeError, r"groups\[0\]\['indices'\]\[0\] has type float"),
    ([{"names": "weights", "lr": 0.1}], TypeError, r"groups\[0\]\['names'\] has type str"),
    ([{"names": [0], "lr": 0.1}], TypeError, r"groups\[0\]\['names'\]\[0\] has type int"),
    ([{"indices": [0], "lr": math.nan}], ValueError, r"groups\[0\]\['lr'\] is nan"),
    ([{"indices": [0], "lr": "1"}], TypeError, r"groups\[0\]\['lr'\] has type str"),
    ([{"indices": [0], "weight_decay": -1}], ValueError, r"groups\[0\]\['weight_decay'\] is -1"),
]


@pytest.mark.parametrize(("groups", "error", "message"), BAD_GROUPS, ids=str)
def test_bad_groups(groups: Any, error: type[Exception], message: str) -> None:
    for kind in MAKERS.values():
        with pytest.raises(error, match=rf"^{kind.__name__}: {message}.*needs"):
            kind(groups=groups)


def test_groups_that_do_not_fit(backend: str) -> None:
    for groups, message in (
        ([{"indices": [1], "lr": 0.1}], r"groups\[0\]\['indices'\] has 1, needs less than 1"),
        ([{"indices": [0], "lr": 0.1}] * 2, r"groups\[1\] has parameter 0, as groups\[0\] has"),
        ([{"names": ["a"], "lr": 0.1}], r"groups\[0\] has 'names', needs parameters with names"),
        ([{"indices": [0], "lr": 1e300}], r"groups\[0\]\['lr'\] is 1e\+300, needs a number in the range"),
    ):
        parameter, adam = np.ones(3, np.float32), fastnorm.Adam(groups=groups)
        with pytest.raises(ValueError, match=message):
            adam.update([parameter], [np.ones(3, np.float32)])
        np.testing.assert_array_equal(parameter, 1)
        adam.groups = ()
        adam.update([np.ones(7)], [np.ones(7)])  # the refused call has left nothing behind
    with pytest.raises(ValueError, match=r"\['names'\] has 'bias', needs names of weights.0, biases.0"):
        fastnorm.MLP([1, 1]).step(
            [[1.0]], [[1.0]], optimizer=fastnorm.SGD(groups=[{"names": ["bias"], "lr": 0.1}])
        )


def test_rmsprop_keeps_its_kind_of_state(backend: str) -> None:
    rmsprop = fastnorm.RMSprop()
    rmsprop.centered, rmsprop.momentum = True, 0.5
    rmsprop.update([np.ones(2)], [np.ones(2)])
    assert set(rmsprop.state_dict()) == {"steps", "second_moment.0", "first_moment.0", "velocity.0"}
    for name, value in (("centered", False), ("momentum", 0.0)):
        with pytest.raises(ValueError, match=f"RMSprop: {name} is .* as at the first update"):
            setattr(rmsprop, name, value)
    rmsprop.momentum = 0.9


def test_centred_gradients_that_do_not_vary(backend: str) -> None:
    """v - m^2 is then what rounding leaves, of either sign."""
    for dtype in (np.float32, np.float64):
        parameters, rmsprop = [np.ones(999, dtype)], fastnorm.RMSprop(centered=True, alpha=0.0)
        rmsprop.update(parameters, [np.linspace(0.1, 3, 999).astype(dtype)])
        assert np.isfinite(parameters[0]).all()
        rmsprop.update(parameters, [np.full(999, np.nan, dtype)])
        assert np.isnan(parameters[0]).all()


def test_lion_takes_signs(backend: str) -> None:
    parameter = np.array([1.0, -2.0, 3.0, 4.0, math.inf])
    fastnorm.Lion(lr=0.5).update([parameter], [np.array([1e-300, -7.0, 0.0, math.nan, 1.0])])
    np.testing.assert_array_equal(parameter, [0.5, -1.5, 3.0, math.nan, math.inf])
