"""Schedules against their formulas and PyTorch's, and their bad arguments."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import fastnorm
import pytest

SCHEDULES = {
    "cosine": fastnorm.cosine(0.3, 20, minimum=0.01),
    "linear_warmup": fastnorm.linear_warmup(0.3, 7),
    "step_decay": fastnorm.step_decay(0.3, 6, factor=0.5),
    "both": fastnorm.linear_warmup(fastnorm.cosine(0.3, 20), 5),
}


def test_formulas() -> None:
    for step in range(40):
        share = min(step / 20, 1)
        wanted = 0.01 + 0.29 * (1 + math.cos(math.pi * share)) / 2
        assert SCHEDULES["cosine"](step) == pytest.approx(wanted, rel=1e-14)
        assert SCHEDULES["linear_warmup"](step) == pytest.approx(0.3 * min((step + 1) / 7, 1), rel=1e-14)
        assert SCHEDULES["step_decay"](step) == pytest.approx(0.3 * 0.5 ** (step // 6), rel=1e-14)
        wanted = 0.3 * (step + 1) / 5 if step < 5 else fastnorm.cosine(0.3, 20)(step - 5)
        assert SCHEDULES["both"](step) == pytest.approx(wanted, rel=1e-14)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    schedulers = torch.optim.lr_scheduler
    theirs: dict[str, Callable[[Any], Any]] = {
        "cosine": lambda sgd: schedulers.CosineAnnealingLR(sgd, 20, eta_min=0.01),
        "linear_warmup": lambda sgd: schedulers.LinearLR(sgd, 1 / 7, total_iters=6),
        "step_decay": lambda sgd: schedulers.StepLR(sgd, 6, gamma=0.5),
    }
    for name, make in theirs.items():
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        scheduler = make(sgd)
        for step in range(20):
            assert SCHEDULES[name](step) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-6), (name, step)
            sgd.step()
            scheduler.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_pickles(name: str) -> None:
    again = pickle.loads(pickle.dumps(SCHEDULES[name]))
    assert [again(step) for step in range(30)] == [SCHEDULES[name](step) for step in range(30)]


def test_ends() -> None:
    assert fastnorm.cosine(1.0, 1)(0) == 1.0
    assert fastnorm.cosine(1.0, 1)(1) == 0.0
    assert fastnorm.linear_warmup(1.0, 1)(0) == 1.0
    assert fastnorm.step_decay(1.0, 1, factor=10.0)(1000) == math.inf
    assert fastnorm.step_decay(1.0, 1, factor=0.0)(0) == 1.0


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], str, type[Exception]]] = [
    *(
        (name, (value, 5), {}, "lr", error)
        for name in ("cosine", "linear_warmup", "step_decay")
        for value, error in (
            (-1, ValueError),
            (math.nan, ValueError),
            (math.inf, ValueError),
            ("1", TypeError),
        )
    ),
    *((name, (0.1, 0), {}, "steps", ValueError) for name in ("cosine", "linear_warmup")),
    *((name, (0.1, 1.5), {}, "steps", TypeError) for name in ("cosine", "linear_warmup")),
    ("step_decay", (0.1, 0), {}, "every", ValueError),
    ("step_decay", (0.1, 5), {"factor": math.nan}, "factor", ValueError),
    ("step_decay", (0.1, 5), {"factor": -0.1}, "factor", ValueError),
    ("cosine", (0.1, 5), {"minimum": 0.2}, "minimum", ValueError),
    ("cosine", (0.1, 5), {"minimum": math.nan}, "minimum", ValueError),
    ("cosine", (0.1, 5), {"minimum": None}, "minimum", TypeError),
]


@pytest.mark.parametrize(("name", "args", "keywords", "argument", "error"), BAD, ids=str)
def test_bad_arguments(
    name: str, args: tuple[Any, ...], keywords: dict[str, Any], argument: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{name}: {argument} .*needs"):
        getattr(fastnorm, name)(*args, **keywords)


def test_factors_beyond_the_range_of_floats() -> None:
    assert fastnorm.step_decay(0.0, 1, factor=2.0)(5000) == 0
    assert fastnorm.step_decay(2.0**-1000, 1, factor=2.0)(1100) == 2.0**100
    assert fastnorm.step_decay(1.0, 1, factor=2.0)(1100) == math.inf
