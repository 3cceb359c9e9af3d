"""`python -m fastnorm`, as a user runs it and in its parts."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import __main__ as command
from fastnorm import _specs, reference
from fastnorm._report import accuracy, check, console, speed, timing
from fastnorm._report.workloads import WORKLOADS
from fastnorm._specs import Call, Spec, Variant, flat, formula_of, make_sample, spec_of

FLOAT32 = np.dtype(np.float32)
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
ENVIRONMENT["PYTHONIOENCODING"] = "utf-8"

FEW = ("layer_norm", "rms_norm", "gelu")  # of the ops, for runs that are not about all of them
WIDTH = 80


def run(
    *arguments: str, hide: tuple[str, ...] = (), few: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process in which the modules of `hide` cannot be imported."""
    code = f"import sys, runpy; sys.modules.update(dict.fromkeys({hide!r}))\n"
    if few:
        code += f"from fastnorm import _specs; few = tuple(map(_specs.spec_of, {FEW!r})); "
        code += "_specs.specs = lambda: few\n"
        code += f"from fastnorm._report import speed; speed.TABLE = (*{FEW!r}, 'gelu_backward')\n"
        code += f"speed.PICTURED = {FEW!r}\n"
    code += "runpy.run_module('fastnorm', run_name='__main__', alter_sys=True)"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT | environment,
    )


def assert_right(finished: subprocess.CompletedProcess[str]) -> list[str]:
    """Assert that a run went well; return its lines."""
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    assert finished.stdout.isascii()
    return finished.stdout.splitlines()


def words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


def test_a_run_checks_and_times_what_people_use_on_one_screen() -> None:
    lines = assert_right(run("--quick"))
    assert len(lines) <= 50
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].startswith("fastnorm ")
    names = {spec.called(backward=backward) for spec, backward in _specs.calls()}
    types = len(_specs.dtypes())
    assert any(line.startswith(f"Every contract kept: {len(names)} ops, {types} types") for line in lines)
    assert words(lines) >= {*speed.TABLE, *(_specs.family_of(spec.name) for spec in _specs.specs())}
    assert any("times as fast as NumPy" in line for line in lines)
    for name in speed.TABLE:
        *_, line = [line for line in lines if line.startswith(f"{name} ")]  # families have such names too
        assert re.search(r"\d (ns|us|ms) ", line), line  # the unit stands


@pytest.mark.parametrize("hide", [("rich",), ("rich", "scipy", "scipy.special", "ml_dtypes")], ids=str)
def test_a_run_needs_numpy_only(hide: tuple[str, ...]) -> None:
    lines = assert_right(run("--quick", hide=hide, few=True))
    assert any(line.startswith("Every contract kept") for line in lines)
    assert any(line.startswith("Geometric mean") for line in lines)
    assert ("pip install scipy" in " ".join(lines)) == (
        "scipy" in hide or importlib.util.find_spec("scipy") is None
    )


def test_a_run_on_the_reference_backend() -> None:
    lines = assert_right(run("--quick", few=True, FASTNORM_BACKEND="reference"))
    assert any("Every contract kept" in line for line in lines)
    assert any("reference backend is active" in line for line in lines)


def test_a_run_prints_ascii_without_colours_to_what_is_no_terminal() -> None:
    lines = assert_right(run("--quick", few=True, TERM="dumb", PYTHONIOENCODING="ascii"))
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_narrow_terminal_has_fewer_columns_and_whole_words(columns: int) -> None:
    lines = assert_right(run("--quick", few=True, COLUMNS=str(columns)))
    assert max(map(len, lines)) <= columns
    assert {"layer_norm", "gelu_backward", "512x768", "NumPy", "norms", "activations"} <= words(lines)
    (line,) = [line for line in lines if line.startswith("gelu_backward")]
    assert re.search(r"\d (us|ms) ", line)


def test_a_full_run_has_every_op_type_target_and_shape() -> None:
    lines = assert_right(run("check", "--full", few=True, COLUMNS="40"))  # wide, as it is no terminal
    for name in ("layer_norm", "rms_norm_backward", "gelu"):
        for dtype in _specs.dtypes():
            (row,) = [line.split() for line in lines if line.split()[:2] == [name, dtype.name]]
            assert len(row) == 2 + len(fastnorm.available_targets()) + 2
    compared = assert_right(
        run("compare", "--op", "layer_norm", "--shape", "all", "--quick", "--peers", "numpy")
    )
    assert {"1x64", "32x768", "512x768", "4096x1024"} <= words(compared)


def test_the_checks_alone_take_no_times() -> None:
    lines = assert_right(run("check", "--quick", "--plain", few=True))
    assert any("contract" in line for line in lines)
    assert not any("Speed" in line for line in lines)


def test_the_table_alone_checks_nothing() -> None:
    lines = assert_right(run("speed", "--quick", few=True))
    assert not any("contract" in line for line in lines)
    assert any("Speed" in line for line in lines)


def test_info_prints_the_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["info", "--json", str(tmp_path / "info.json")]) == 0
    shown = capsys.readouterr().out
    fastnorm.show_config()
    assert shown == capsys.readouterr().out
    found = json.loads((tmp_path / "info.json").read_text(encoding="utf-8"))
    assert [f"{label:12} {text}" for label, text in found["configuration"].items()] == shown.splitlines()
    assert found["machine"]["numpy"] == np.__version__


REFUSED = [
    (["speedy"], "speedy"),
    (["--quick", "--full"], "--full"),
    (["--plot", "speed.gif"], "neither .svg nor .png"),
    (["info", "--plot", "speed.svg"], "info has no times"),
    (["--json", "no/such/folder/a.json"], "no folder"),
    (["compare", "--op", "layer_nrm"], "layer_nrm"),
    (["compare", "--shape", "3y4"], "3y4"),
    (["compare", "--peers", "tensorflow"], "tensorflow"),
    (["compare", "--shape", "0x4"], "0x4"),
    (["compare", "--threads", "0"], "--threads is 0, needs 1 to"),
    (["compare", "--threads", str(10**20)], f"--threads is {10**20}, needs 1 to"),
    (["--op", "gelu"], "--op: only compare takes this"),
    (["speed", "--shape", "1x4", "--threads", "1"], "--shape, --threads: only compare"),
    (["info", "--peers", "numpy"], "--peers: only compare"),
    (["speed", "--json", "a.svg", "--plot", "./a.svg"], "cannot be both"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED, ids=str)
def test_what_is_refused_before_anything_runs(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert text in shown.err
    assert shown.out == ""


def test_a_picture_without_matplotlib_says_what_to_install() -> None:
    finished = run("speed", "--plot", "speed.svg", hide=("matplotlib",))
    assert finished.returncode == 2
    assert "pip install matplotlib" in finished.stderr


def test_a_picture_and_all_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture, figures = tmp_path / "speed.svg", tmp_path / "figures.json"
    assert_right(run("--quick", "--plot", str(picture), "--json", str(figures), few=True))
    text = picture.read_text("utf-8")
    assert all(word in text for word in (*FEW, "GB/s", "NumPy", "copy"))
    content = json.loads(figures.read_text("utf-8"))
    assert {row["op"] for row in content["checks"]} == {*FEW, *(f"{name}_backward" for name in FEW)}
    assert all(row["errors"].keys() == set(fastnorm.available_targets()) for row in content["checks"])
    assert {(row["workload"], row["shape"]) for row in content["rows"]} >= {
        ("gelu", "1x64"),
        ("gelu", "512x768"),
    }
    assert all(row["seconds"]["fastnorm"] > 0 for row in content["rows"])


def test_a_comparison_names_what_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "--quick", "--op", "relu,softmax_backward", "--shape", "32x48,7x9"]
    assert command.main([*arguments, "--threads", str(fastnorm.get_num_threads())]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith(("relu", "softmax"))] == ["32x48", "7x9"] * 2
    assert any("pip install torch" in line for line in lines) == (importlib.util.find_spec("torch") is None)


def test_a_comparison_goes_on_where_an_op_cannot_be_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["compare", "--quick", "--peers", "numpy", "--json", str(figures)]
    assert command.main([*arguments, "--op", "batch_norm,relu", "--shape", "1x1"]) == 0
    shown = capsys.readouterr().out
    assert "batch_norm 1x1: left out, as it cannot be called at this shape" in shown
    assert [row["workload"] for row in json.loads(figures.read_text("utf-8"))["rows"]] == ["relu"]
    assert command.main([*arguments, "--op", "relu", "--shape", f"1x4,{10**9}x{10**9}"]) == 0
    assert f"relu {10**9}x{10**9}: left out, " in capsys.readouterr().out


def test_every_op_can_be_called_where_its_workload_says_so() -> None:
    for shape in ((1, 1), (1, 64), (2, 1), (1, 2, 3), (1, 32, 1, 1)):
        for name, workload in WORKLOADS.items():
            if workload.takes(shape):
                try:
                    workload.sample(shape, "float32").call()()
                except ValueError as error:
                    raise AssertionError((name, shape)) from error


@pytest.mark.skipif(os.name != "posix", reason="of pipes of POSIX")
def test_a_reader_that_has_seen_enough() -> None:
    shell = f"{sys.executable} -m fastnorm check --quick | head -n 1"
    finished = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert finished.stderr == ""
    assert len(finished.stdout.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="of terminals of POSIX")
@pytest.mark.parametrize("plain", [False, True])
def test_colours_and_progress_on_a_terminal(plain: bool) -> None:
    import pty

    parent, child = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnorm", "check", "--quick", *(["--plain"] if plain else [])],
        stdout=child,
        stderr=child,
        env=environment,
    )
    os.close(child)
    shown = b""
    try:
        while part := os.read(parent, 65536):
            shown += part
    except OSError:  # Linux says so that the other end is closed
        pass
    os.close(parent)
    assert process.wait() == 0
    assert (b"\x1b[" in shown) == (b"checks [" in shown) == (not plain)
    assert b"Every contract kept" in shown


def test_a_wrong_result_is_found_and_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_specs, "specs", lambda: tuple(map(spec_of, FEW)))
    right = fastnorm.rms_norm
    monkeypatch.setattr(
        fastnorm, "rms_norm", lambda *args, **kwargs: right(*args, **kwargs) * np.float32(1.000001)
    )
    assert command.main(["check", "--quick", "--json", str(tmp_path / "broken.json")]) == 1
    shown = capsys.readouterr().out
    assert "contracts broken" in shown
    assert "Please report this" in shown
    assert re.search(r"rms_norm float32 on \w+: error [\d.]+, allowed 4 norm", shown)
    rows = json.loads((tmp_path / "broken.json").read_text("utf-8"))["checks"]
    assert {row["op"] for row in rows if row["broken"]} == {"rms_norm"}


@pytest.mark.skipif(not {"avx2", "avx512"} <= {*fastnorm.available_targets()}, reason="needs both targets")
def test_other_bits_on_another_target_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_specs, "specs", lambda: (spec_of("layer_norm"),))
    right = fastnorm.layer_norm

    def nudged(*args: Any, **kwargs: Any) -> Any:
        y = right(*args, **kwargs)
        if (
            fastnorm.active_target() == "avx2"
            and isinstance(y, np.ndarray)
            and y.size
            and y.dtype == np.float32
        ):
            y.flat[-1] = np.nextafter(y.flat[-1], np.float32(9))
        return y

    monkeypatch.setattr(fastnorm, "layer_norm", nudged)
    assert command.main(["check", "--quick"]) == 1
    assert "layer_norm float32 has other bits on avx2" in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(fastnorm.get_num_threads() < 2, reason="needs two threads")
def test_other_bits_on_one_thread_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_specs, "specs", lambda: (spec_of("relu"),))
    right = fastnorm.relu

    def nudged(*args: Any, **kwargs: Any) -> Any:
        y = right(*args, **kwargs)
        return np.copysign(y, -1) if fastnorm.get_num_threads() == 1 else y

    monkeypatch.setattr(fastnorm, "relu", nudged)
    assert command.main(["check"]) == 1
    assert "relu float32 has other bits on one thread" in " ".join(capsys.readouterr().out.split())


def test_an_op_that_raises_is_reported_and_the_others_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_specs, "specs", lambda: tuple(map(spec_of, FEW)))

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(fastnorm, "rms_norm", failing)
    assert command.main(["check", "--quick"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "rms_norm float32 raises RuntimeError: no such instruction" in shown
    assert "activations" in shown


@pytest.mark.parametrize("extent", check.Extent)
def test_each_shape_and_each_variant_is_tried(extent: check.Extent) -> None:
    shapes = set(check.QUICK_SHAPES if extent is check.Extent.QUICK else check.SHAPES)
    for spec in _specs.specs():
        tried = list(check.samples(spec, FLOAT32, extent=extent))
        if extent is not check.Extent.QUICK:
            for variant in spec.checked_of(backward=False):
                wanted = {**variant.keywords, **variant.numbers}.items()
                assert any(wanted <= sample.keywords.items() for sample in tried), (spec.name, variant.label)
        if spec.name in ("layer_norm", "gelu", "softmax"):
            assert {sample.x.shape for sample in tried} >= shapes


def test_every_op_has_a_contract_and_samples() -> None:
    calls = _specs.calls()
    named = {spec.called(backward=backward) for spec, backward in calls}
    assert named == set(reference.__all__) - {"moments", "clip_grad_norm"}  # which have no backward
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
        *spec.checked_of(backward=backward),
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


def test_a_table_leaves_out_columns_by_rank(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [
        console.Column("name", 5, left=True),
        console.Column("a", 6, 1, group="first"),
        console.Column("b", 6, 2, group="first"),
        console.Column("c", 6, 2, group="second"),
    ]
    for width, head in (
        (29, "name        a       b       c"),
        (28, "name        a"),
        (12, "name"),
        (3, "name"),
    ):
        monkeypatch.setenv("COLUMNS", str(width))
        console.Console().table(columns).row(["x", "1", "2", "3"])
        shown = capsys.readouterr().out.splitlines()
        assert head in shown
        assert ("second" in shown[0]) == (width == 29)


def test_files_that_cannot_be_written_are_told_before_the_run(tmp_path: Path) -> None:
    for option in ("--json", "--plot"):
        folder = tmp_path / f"folder{'.svg' if option == '--plot' else ''}"
        folder.mkdir(exist_ok=True)
        finished = run("check", "--quick", option, str(folder), few=True)
        assert finished.returncode == 2
        assert "Traceback" not in finished.stderr
        assert str(folder) in finished.stderr or "matplotlib" in finished.stderr


def test_a_comparison_of_nothing_is_an_error() -> None:
    finished = run("compare", "--op", "linear", "--shape", "7")
    assert finished.returncode == 2
    assert "no op that was chosen" in finished.stderr


def test_a_closed_output_is_no_traceback() -> None:
    code = f"{sys.executable} -m fastnorm check --quick >&-"
    finished = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0
    assert "Traceback" not in finished.stderr
