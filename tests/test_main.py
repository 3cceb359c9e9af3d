"""`python -m fastnorm`, as a user runs it and in its parts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import fastnorm
import numpy as np
import pytest
from fastnorm import __main__ as command
from fastnorm import reference
from fastnorm._report import check, contracts, numpy_formulas, samples, speed, timing

FLOAT32 = np.dtype(np.float32)
ENVIRONMENT = os.environ | {"PYTHONIOENCODING": "utf-8"}


FEW = [
    "layer_norm",
    "rms_norm",
    "rms_norm_backward",
    "gelu",
]  # of the ops, for runs that are not about all of them


def run(*arguments: str, hide: tuple[str, ...] = (), few: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process in which the modules of `hide` cannot be imported."""
    code = f"import sys, runpy; sys.modules.update(dict.fromkeys({hide!r}))\n"
    if few:
        code += f"from fastnorm._report import samples; samples.op_names = lambda: {FEW!r}\n"
    code += "runpy.run_module('fastnorm', run_name='__main__', alter_sys=True)"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )


def test_a_run_checks_and_times_every_op() -> None:
    finished = run("--quick")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Every op keeps its contract." in finished.stdout
    assert "Geometric mean" in finished.stdout
    for op in samples.op_names():
        assert op in finished.stdout


@pytest.mark.parametrize("hide", [("rich",), ("rich", "scipy", "scipy.special", "ml_dtypes")], ids=str)
def test_a_run_needs_numpy_only(hide: tuple[str, ...]) -> None:
    finished = run("--quick", hide=hide, few=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Every op keeps its contract." in finished.stdout
    assert "Geometric mean" in finished.stdout


def test_the_checks_alone_take_no_times() -> None:
    finished = run("check", "--quick", "--plain", few=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "contract" in finished.stdout
    assert "NumPy" not in finished.stdout


def test_info_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["info"]) == 0
    shown = capsys.readouterr().out
    fastnorm.show_config()
    assert shown == capsys.readouterr().out


def test_a_bad_word_is_refused() -> None:
    finished = run("speedy")
    assert finished.returncode == 2
    assert "speedy" in finished.stderr


@pytest.mark.parametrize("plain", [True, False])
def test_a_wrong_result_is_found_and_fails_the_run(
    plain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "op_names", lambda: FEW)
    right = fastnorm.rms_norm
    monkeypatch.setattr(
        fastnorm, "rms_norm", lambda *args, **kwargs: right(*args, **kwargs) * np.float32(1.000001)
    )
    assert command.main(["check", "--quick", *(["--plain"] if plain else [])]) == 1
    assert "broke the contract" in capsys.readouterr().out


def test_every_op_has_a_contract_and_samples() -> None:
    ops = samples.op_names()
    assert set(contracts.CONTRACTS) == set(ops)
    assert set(ops) == {name for name in reference.__all__ if callable(getattr(reference, name))}
    assert all(next(check.samples(op, FLOAT32)).arrays for op in ops)


def test_an_error_is_counted_in_the_unit_of_the_contract() -> None:
    sample = samples.make_sample("gelu", (5, 9), FLOAT32, np.random.default_rng(0))
    (exact,) = sample.exact()
    assert exact is not None
    rounded = exact.astype(FLOAT32)
    assert contracts.judge(sample, rounded).error <= 0.5
    neighbour = np.nextafter(rounded, np.float32(np.inf))
    assert 0.5 <= contracts.judge(sample, neighbour).error <= 1.5
    assert not contracts.judge(sample, rounded[:-1]).kept
    rounded[2, 3] = np.nan
    assert contracts.judge(sample, rounded).error == np.inf


def test_half_types_are_held_to_the_float32_bound_beyond_their_rounding() -> None:
    sample = samples.make_sample("layer_norm", (5, 9), np.dtype(np.float16), np.random.default_rng(0))
    (exact,) = sample.exact()
    assert exact is not None
    rounded = exact.astype(np.float16)
    assert contracts.judge(sample, rounded).error == 0
    assert not contracts.judge(sample, np.nextafter(rounded, np.float16(np.inf))).kept


@pytest.mark.parametrize("op", numpy_formulas.FORMULAS)
def test_the_numpy_formulas_compute_what_the_ops_compute(op: str) -> None:
    for keywords in contracts.CONTRACTS[op].variants:
        function = numpy_formulas.formula(op, keywords)
        if function is None or not keywords.keys() <= speed.SHOWN_KEYWORDS:
            continue
        for without in ([], samples.optional_names(op)):
            rng = np.random.default_rng(0)
            sample = samples.make_sample(
                op, (6, 40), FLOAT32, rng, without=without, keywords=keywords
            ).with_stats()
            results = samples.as_tuple(sample.call_of(function)())
            for result, exact in zip(results, sample.exact(), strict=True):
                assert (result is None) == (exact is None)
                if result is not None and exact is not None:
                    assert result.dtype == FLOAT32
                    np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-5)


def test_a_sample_without_an_array_passes_the_later_ones_by_name() -> None:
    sample = samples.make_sample("layer_norm", (2, 4), FLOAT32, np.random.default_rng(0), without=["weight"])
    call = sample.call(eps=0.5)
    assert len(call.arguments) == 1
    assert list(call.keywords) == ["bias", "eps"]
    expected = fastnorm.layer_norm(sample.arrays["x"], None, sample.arrays["bias"], eps=0.5)
    np.testing.assert_array_equal(call(), expected)


def test_calls_are_timed_in_turns_and_paired() -> None:
    order: list[str] = []
    calls = {name: timing.Call(lambda name=name: order.append(name)) for name in ("a", "b")}
    times = timing.time_in_turns(calls, seconds=0.0, rounds=(4, 9))
    assert len(times["a"].seconds) == len(times["b"].seconds) == 4
    twice = replace(times["a"], seconds=tuple(2 * seconds for seconds in times["a"].seconds))
    ratio = timing.Ratio.of(twice, times["a"])
    assert ratio.low == ratio.median == ratio.high == 2
    assert ratio.spread == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5e-7, "250 ns"), (1.234e-5, "12.3 us"), (0.09999, "100 ms"), (3.0, "3 s")]
)
def test_times_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert timing.format_seconds(seconds) == text


def test_the_report_is_not_loaded_by_the_package() -> None:
    code = "import sys, fastnorm; sys.exit(any(name.startswith('fastnorm._report') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
