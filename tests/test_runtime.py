"""Backends, instruction sets, environment variables, and the memory of large results."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import re
import threading
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from conftest import BACKENDS, REFERENCE_ONLY
from instruction_sets import TARGETS
from numpy.typing import NDArray
from processes import run, succeeds
from tolerances import assert_same_bits

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parent.parent
BEST = TARGETS[0] if TARGETS else ""
needs_native = pytest.mark.skipif(REFERENCE_ONLY, reason="FASTNORM_BACKEND=reference")


FLOATS = np.linspace(-6, 6, 4001).astype(np.float32)  # of which the backends round some otherwise


class TestBackend:
    def test_default(self) -> None:
        assert fastnorm.get_backend() == BACKENDS[0]

    @pytest.mark.parametrize("name", BACKENDS)
    def test_set_and_get(self, name: Any) -> None:
        before = fastnorm.get_backend()
        try:
            fastnorm.set_backend(name)
            assert fastnorm.get_backend() == name
            assert_same_bits(fastnorm.gelu(FLOATS), getattr(fastnorm.gelu, name)(FLOATS))
        finally:
            fastnorm.set_backend(before)  # type: ignore[arg-type]

    @needs_native
    def test_overlapping_blocks_of_threads(self) -> None:
        """A block in one thread changes nothing in another, whichever is left first, nor after both."""
        native, reference = fastnorm.gelu.native(FLOATS), fastnorm.gelu.reference(FLOATS)
        assert not np.array_equal(native, reference)
        entered, leave = threading.Barrier(3, timeout=60), [threading.Event(), threading.Event()]
        found: dict[str, list[Array]] = {"native": [], "reference": []}

        def run(name: Any, gate: threading.Event) -> None:
            with fastnorm.backend(name):
                entered.wait()
                found[name].append(fastnorm.gelu(FLOATS))
                gate.wait(60)
                found[name].append(fastnorm.gelu(FLOATS))
            assert fastnorm.get_backend() == "native"

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(run, name, gate) for name, gate in zip(found, leave, strict=True)]
            entered.wait()
            for gate, job in zip(reversed(leave), reversed(jobs), strict=True):
                assert fastnorm.get_backend() == "native"
                assert_same_bits(fastnorm.gelu(FLOATS), native)
                gate.set()
                job.result(60)
        for result in found["native"]:
            assert_same_bits(result, native)
        for result in found["reference"]:
            assert_same_bits(result, reference)

    def test_context(self) -> None:
        before = fastnorm.get_backend()
        with fastnorm.backend("reference"):
            assert fastnorm.get_backend() == "reference"
            with fastnorm.backend(BACKENDS[0]):  # type: ignore[arg-type]
                assert fastnorm.get_backend() == BACKENDS[0]
            assert fastnorm.get_backend() == "reference"
        assert fastnorm.get_backend() == before
        with pytest.raises(KeyError), fastnorm.backend("reference"):
            raise KeyError
        assert fastnorm.get_backend() == before

    @pytest.mark.parametrize("function", [fastnorm.set_backend, fastnorm.backend])
    def test_bad_names(self, function: Any) -> None:
        before = fastnorm.get_backend()
        name: Any
        for name in ("", "numpy", "Native"):
            with pytest.raises(
                ValueError, match=f"{function.__name__}: name is .* needs one of 'native', 'reference'"
            ):
                function(name)
        for name in (None, 1, True, b"native"):
            with pytest.raises(TypeError, match=f"{function.__name__}: name has type"):
                function(name)
        assert fastnorm.get_backend() == before

    def test_environment(self) -> None:
        code = "import fastnorm; print(fastnorm.get_backend())"
        assert succeeds(code, FASTNORM_BACKEND="reference").strip() == "reference"
        if not REFERENCE_ONLY:
            for value in ("native", ""):
                assert succeeds(code, FASTNORM_BACKEND=value).strip() == "native"

    def test_bad_environment(self) -> None:
        done = run("import fastnorm", FASTNORM_BACKEND="numpy")
        assert done.returncode != 0
        assert "ImportError: FASTNORM_BACKEND is 'numpy', needs one of 'native', 'reference'" in done.stderr

    def test_missing_extension(self) -> None:
        """No silent fallback: ImportError says how to build it and how to choose the twins."""
        hide = "import sys; sys.modules['fastnorm._core'] = None; "
        done = run(hide + "import fastnorm")
        assert done.returncode != 0
        for words in (
            "ImportError: the compiled extension fastnorm._core is missing",
            "pip install",
            "FASTNORM_BACKEND",
        ):
            assert words in done.stderr
        use = (
            "import fastnorm; fastnorm.gelu(1.0); fastnorm.set_num_threads(3); fastnorm.set_backend('native')"
        )
        done = run(hide + use, FASTNORM_BACKEND="reference")
        assert done.returncode != 0
        assert "set_backend" in done.stderr
        assert "ImportError: the compiled extension" in done.stderr

    def test_reference_does_not_load_the_extension(self) -> None:
        code = """
import sys, fastnorm
fastnorm.show_config()
assert (fastnorm.available_targets(), fastnorm.active_target()) == ((), "reference")
assert fastnorm.get_num_threads() == 1
with fastnorm.threads(3):
    assert fastnorm.get_num_threads() == 1
fastnorm.clear_cache()
assert "fastnorm._core" not in sys.modules
"""
        succeeds(code, FASTNORM_BACKEND="reference")


class TestSubinterpreters:
    """They are refused before anything is imported that would hang."""

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("module", ["fastnorm", "fastnorm.norms", "fastnorm._core", "fastnorm.sklearn"])
    def test_import(self, module: str, backend: str) -> None:
        if not any(importlib.util.find_spec(name) for name in ("_interpreters", "_xxsubinterpreters")):
            pytest.skip("this Python has none")
        said = succeeds(
            f"""
import faulthandler
faulthandler.dump_traceback_later(60, exit=True)
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def said_by(code):
    try:
        return str(interpreters.run_string(interpreters.create(), code))
    except interpreters.RunFailedError as error:  # before Python 3.13
        return str(error)
print(said_by("import {module}"))
import fastnorm
assert fastnorm.gelu(1.0) > 0.8
print(said_by("import {module}"))
""",
            FASTNORM_BACKEND=backend,
        )
        assert said.count("fastnorm runs in the main interpreter of a process only") == 2
        assert said.count("ImportError") >= 2


class TestTargets:
    def test_names(self, native: ModuleType) -> None:
        targets = fastnorm.available_targets()
        listed = (ROOT / "cpp" / "targets" / "targets.cmake").read_text("utf-8")
        assert set(targets) <= set(re.findall(r"fastnorm_declare_target\((\w+)", listed))
        assert len(set(targets)) == len(targets) >= 1
        assert fastnorm.active_target() in targets

    @needs_native
    def test_environment(self) -> None:
        for name in fastnorm.available_targets():
            assert (
                succeeds("import fastnorm; print(fastnorm.active_target())", FASTNORM_TARGET=name).strip()
                == name
            )
        default = succeeds("import fastnorm; print(fastnorm.active_target())").strip()
        assert default == fastnorm.available_targets()[0]
        assert (
            succeeds("import fastnorm; print(fastnorm.active_target())", FASTNORM_TARGET="").strip()
            == default
        )

    @needs_native
    @pytest.mark.parametrize("name", ["sse9", BEST.upper(), f"{BEST},{BEST}", "sse9 " * 50, "\udcff9"])
    def test_bad_environment(self, name: str) -> None:
        done = run("import fastnorm", FASTNORM_TARGET=name)
        assert done.returncode == 1, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: ")
        assert name.strip()[:20].encode(errors="surrogateescape").decode(errors="backslashreplace") in last
        for available in fastnorm.available_targets():
            assert available in last

    def test_bad_names(self, native: ModuleType) -> None:
        before = fastnorm.active_target()
        with pytest.raises(ValueError, match="sse9"):
            native.set_target("sse9")
        assert fastnorm.active_target() == before


LARGE = (1200, 1000)  # 4.8 MB in float32


class TestMemoryOfResults:
    """Large results come from blocks that are recycled when an array dies."""

    def results(self, rng: np.random.Generator, count: int) -> list[tuple[Array, Array]]:
        pairs = []
        for _ in range(count):
            x = rng.standard_normal(LARGE).astype(np.float32)
            pairs.append((x, fastnorm.gelu(x)))
        return pairs

    def test_living_results_stay_valid(self, native: ModuleType, rng: np.random.Generator) -> None:
        """Whatever dies around them, in any order, and through any view."""
        with fastnorm.backend("reference"):
            expected = fastnorm.gelu(np.float32(0.5))
        kept = self.results(rng, 6)
        copies = [y.copy() for _, y in kept]
        views = [y[3:5, ::7] for _, y in kept]
        view_copies = [view.copy() for view in views]
        del kept[1], copies[1]
        for _ in range(10):
            again = fastnorm.gelu(np.full(LARGE, 0.5, np.float32))
            np.testing.assert_array_equal(again, np.full(LARGE, again[0, 0]))
            np.testing.assert_allclose(again[0, 0], expected, rtol=1e-6)
            for (_, y), copy in zip(kept, copies, strict=True):
                assert_same_bits(y, copy)
        del kept, again
        self.results(rng, 8)
        for view, copy in zip(views, view_copies, strict=True):
            assert_same_bits(view, copy)

    def test_blocks_are_recycled(self, native: ModuleType) -> None:
        fastnorm.clear_cache()
        x = np.ones(LARGE, np.float32)
        fastnorm.gelu(x)
        info = native.cache_info()
        assert 0 < info["held_bytes"] <= info["limit_bytes"]
        fastnorm.gelu(x)
        assert native.cache_info()["hits"] == info["hits"] + 1

    def test_clear_cache(self, native: ModuleType) -> None:
        x = np.ones(LARGE, np.float32)
        y = fastnorm.gelu(x)
        fastnorm.gelu(x)
        assert native.cache_info()["held_bytes"] > 0
        copy = y.copy()
        fastnorm.clear_cache()
        assert native.cache_info()["held_bytes"] == 0
        assert_same_bits(y, copy)
        del y
        fastnorm.clear_cache()
        assert native.cache_info()["held_bytes"] == 0

    @needs_native
    def test_limit(self) -> None:
        """However many results die, no more is kept."""
        succeeds(
            """
import fastnorm, numpy as np
from fastnorm import _core
x = np.ones((1200, 1000), np.float32)
limit = _core.cache_info()["limit_bytes"]
assert limit in (20 * 10**6, 20 * 2**20)
kept = [fastnorm.gelu(x) for _ in range(12)]
del kept
assert 0 < _core.cache_info()["held_bytes"] <= limit
y = fastnorm.gelu(np.ones((6000, 1000), np.float32))
del y
assert _core.cache_info()["held_bytes"] <= limit
""",
            FASTNORM_CACHE_MB="20",
        )

    @needs_native
    def test_no_cache(self) -> None:
        succeeds(
            """
import fastnorm, numpy as np
from fastnorm import _core
x = np.ones((1200, 1000), np.float32)
y = fastnorm.gelu(x)
assert (y == fastnorm.gelu(x)).all()
del y
info = _core.cache_info()
assert info["limit_bytes"] == info["held_bytes"] == 0, info
""",
            FASTNORM_CACHE_MB="0",
        )

    @needs_native
    def test_limit_from_the_environment(self) -> None:
        code = "import fastnorm; from fastnorm import _core; print(_core.cache_info()['limit_bytes'])"
        assert int(succeeds(code, FASTNORM_CACHE_MB="7")) in (7 * 10**6, 7 * 2**20)

    @needs_native
    def test_edges_of_the_limit(self) -> None:
        """The largest number stands for no limit; what is no number is refused."""
        code = "import fastnorm; from fastnorm import _core; print(_core.cache_info()['limit_bytes'])"
        for value in ("9" * 30, str(2**64)):
            assert int(succeeds(code, FASTNORM_CACHE_MB=value)) >= 2**63
        assert int(succeeds(code, FASTNORM_CACHE_MB="")) == int(succeeds(code))
        for value in ("-1", "1.5", " 7", "7 MB", "1e3", "\udcff"):
            done = run(code, FASTNORM_CACHE_MB=value)
            assert done.returncode == 1
            last = done.stderr.strip().splitlines()[-1]
            assert last.startswith("ImportError: FASTNORM_CACHE_MB is '")
            assert last.endswith("', needs an integer >= 0")

    def test_results_can_be_freed_by_another_thread(self, native: ModuleType) -> None:
        x = np.ones(LARGE, np.float32)
        results = [fastnorm.gelu(x) for _ in range(4)]
        thread = threading.Thread(target=results.clear)
        thread.start()
        thread.join()
        assert (fastnorm.gelu(x) == fastnorm.gelu(x)).all()

    def test_results_behave_like_arrays(self, native: ModuleType) -> None:
        """Pickling, resizing, writing and copying of a result from a recycled block."""
        import copy
        import pickle

        y = fastnorm.gelu(np.ones(LARGE, np.float32))
        assert y.flags.writeable
        assert y.flags.c_contiguous
        assert y.flags.aligned
        assert_same_bits(pickle.loads(pickle.dumps(y)), y)
        assert_same_bits(copy.deepcopy(y), y)
        y[...] = 3
        assert (y.T.reshape(-1)[::1000] == 3).all()
        assert y.flags.owndata
        assert y.base is None

    def test_resize(self, native: ModuleType, rng: np.random.Generator) -> None:
        """Large results are resized in place as any array of NumPy, between all sizes and back."""
        fastnorm.clear_cache()
        y = fastnorm.gelu(rng.standard_normal(LARGE).astype(np.float32))
        expected = y.copy()
        shapes: list[tuple[int, ...]] = [(1250, 1000), (1250, 999), (3, 4_000_000), (1000,), (0,), (7, 3)]
        for shape in [*shapes, (300_001,), (5_000_000,), (2,)]:
            y.resize(shape, refcheck=False)
            expected.resize(shape, refcheck=False)
            assert_same_bits(y, expected)
        with pytest.raises(MemoryError):
            y.resize(2**60, refcheck=False)
        assert_same_bits(y, expected)
        view = y[1:]
        with pytest.raises(ValueError, match="cannot resize an array"):
            y.resize(5)
        del y
        assert_same_bits(view, expected[1:])
        del view
        assert native.cache_info()["held_bytes"] > 4 * 5_000_000

    def test_memory_that_is_traced(self, native: ModuleType) -> None:
        tracemalloc.start()
        try:
            y = fastnorm.gelu(np.ones(LARGE, np.float32))
            y.resize(3_000_000, refcheck=False)
            assert tracemalloc.get_traced_memory()[0] >= y.nbytes
            del y
        finally:
            tracemalloc.stop()


class TestReports:
    def test_show_config(self, capsys: pytest.CaptureFixture[str]) -> None:
        fastnorm.show_config()
        text = capsys.readouterr().out
        for words in (
            fastnorm.__version__,
            np.__version__,
            fastnorm.get_backend(),
            fastnorm.active_target(),
            "threads",
        ):
            assert words in text

    def test_version(self) -> None:
        assert fastnorm.__version__
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = fastnorm.nothing

    def test_sizes(self, native: ModuleType) -> None:
        sizes = native.cache_sizes()
        assert set(sizes) == {"l1d", "l2", "l3"}
        assert 0 < sizes["l1d"] <= sizes["l2"]
        assert native.build_info()


@pytest.mark.parametrize(
    ("block", "setting"),
    [(fastnorm.threads(1), fastnorm.get_num_threads), (fastnorm.backend("reference"), fastnorm.get_backend)],
    ids=["threads", "backend"],
)
def test_blocks_are_entered_again_and_left_where_they_were_entered(block: Any, setting: Any) -> None:
    before = setting()
    for _ in range(2):
        with block:
            inside = setting()
            with block:
                assert setting() == inside
            assert setting() == inside
        assert setting() == before
    errors = []

    def leave() -> None:
        try:
            block.__exit__(None, None, None)
        except ValueError as error:
            errors.append(str(error))

    block.__enter__()
    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert setting() == inside
    block.__exit__(None, None, None)
    assert setting() == before
    assert errors[0].endswith(
        "is left in another thread or context than it was entered in, needs the same one"
    )
