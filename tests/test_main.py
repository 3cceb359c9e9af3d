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
from fastnorm import _specs, reference
from fastnorm._report import accuracy, check, timing
from fastnorm._specs import Call, Spec, Variant, flat, formula_of, make_sample, spec_of

FLOAT32 = np.dtype(np.float32)
ENVIRONMENT = os.environ | {"PYTHONIOENCODING": "utf-8"}


FEW = ("layer_norm", "rms_norm", "gelu")  # of the ops, for runs that are not about all of them


def run(*arguments: str, hide: tuple[str, ...] = (), few: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process in which the modules of `hide` cannot be imported."""
    code = f"import sys, runpy; sys.modules.update(dict.fromkeys({hide!r}))\n"
    if few:
        code += f"from fastnorm import _specs; few = tuple(map(_specs.spec_of, {FEW!r})); "
        code += "_specs.specs = lambda: few\n"
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
    for spec, backward in _specs.calls():
        assert f"{spec.called(backward=backward)} " in finished.stdout


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
    monkeypatch.setattr(_specs, "specs", lambda: tuple(map(spec_of, FEW)))
    right = fastnorm.rms_norm
    monkeypatch.setattr(
        fastnorm, "rms_norm", lambda *args, **kwargs: right(*args, **kwargs) * np.float32(1.000001)
    )
    assert command.main(["check", "--quick", *(["--plain"] if plain else [])]) == 1
    assert "broke the contract" in capsys.readouterr().out


def test_every_op_has_a_contract_and_samples() -> None:
    calls = _specs.calls()
    named = {spec.called(backward=backward) for spec, backward in calls}
    assert named == set(reference.__all__) - {"moments"}  # which has no backward
    for spec, backward in calls:
        sample = next(check.samples(spec, FLOAT32, backward=backward))
        assert sample.arrays
        assert sample.contract.bound >= 0


def test_an_error_is_counted_in_the_unit_of_the_contract() -> None:
    sample = make_sample(spec_of("gelu"), (5, 9), FLOAT32, np.random.default_rng(0))
    (exact,) = sample.exact()
    assert exact is not None
    rounded = exact.astype(FLOAT32)
    assert accuracy.judge(sample, rounded).error <= 0.5
    neighbour = np.nextafter(rounded, np.float32(np.inf))
    assert 0.5 <= accuracy.judge(sample, neighbour).error <= 1.5
    assert not accuracy.judge(sample, rounded[:-1]).kept
    rounded[2, 3] = np.nan
    assert accuracy.judge(sample, rounded).error == np.inf


def test_half_types_are_held_to_the_float32_bound_beyond_their_rounding() -> None:
    sample = make_sample(spec_of("layer_norm"), (5, 9), np.dtype(np.float16), np.random.default_rng(0))
    (exact,) = sample.exact()
    assert exact is not None
    rounded = exact.astype(np.float16)
    assert accuracy.judge(sample, rounded).error == 0
    assert not accuracy.judge(sample, np.nextafter(rounded, np.float16(np.inf))).kept


WITH_FORMULA = [
    pytest.param(spec, backward, id=spec.called(backward=backward))
    for spec, backward in _specs.calls()
    if (spec.backward_formula if backward else spec.formula)
]
FORMULA_KEYWORDS = {"approximate", "reduction", "return_grad"}  # the formulas know some of the others


@pytest.mark.parametrize(("spec", "backward"), WITH_FORMULA)
def test_the_numpy_formulas_compute_what_the_ops_compute(spec: Spec, backward: bool) -> None:
    for variant in (
        *spec.variants,
        *spec.table_of(backward=backward),
        *(work.variant for work in spec.timed),
    ):
        function = formula_of(spec, variant.keywords, backward=backward)
        if function is None or not variant.keywords.keys() <= FORMULA_KEYWORDS:
            continue
        # beta is one number or one a column, targets are classes, a gradient comes with the forward alone.
        if variant.label in ("each", "rows", "probabilities", "between"):
            continue
        if backward and "return_grad" in variant.keywords:
            continue
        rng = np.random.default_rng(0)
        shape = (6, 64, 10) if spec.axes > 1 else (6, 64)
        sample = make_sample(spec, shape, FLOAT32, rng, variant, backward=backward).with_stats()
        results = flat(sample.call_of(function)())
        for result, exact in zip(results, sample.exact(), strict=True):
            assert (result is None) == (exact is None)
            if result is not None and exact is not None:
                assert result.dtype == FLOAT32
                np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-5)


def test_a_sample_without_an_array_passes_the_later_ones_by_name() -> None:
    variant = Variant("bias", ("bias",))
    sample = make_sample(spec_of("layer_norm"), (2, 4), FLOAT32, np.random.default_rng(0), variant)
    call = sample.call(eps=0.5)
    assert len(call.arguments) == 1
    assert list(call.keywords) == ["bias", "eps"]
    expected = fastnorm.layer_norm(sample.arrays["x"], None, sample.arrays["bias"], eps=0.5)
    np.testing.assert_array_equal(call(), expected)


def test_calls_are_timed_in_turns_and_paired() -> None:
    order: list[str] = []
    calls = {name: Call(lambda name=name: order.append(name)) for name in ("a", "b")}
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
    code = "import sys, fastnorm; names = ('fastnorm._report', 'fastnorm._specs')\n"
    code += "sys.exit(any(name.startswith(names) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
