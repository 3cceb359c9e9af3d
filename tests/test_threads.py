"""Threads of the native kernels, Python threads that share them, and fork."""

from __future__ import annotations

import os
import threading
from types import ModuleType
from typing import Any

import fastnorm
import numpy as np
import pytest
from conftest import REFERENCE_ONLY
from fastnorm._specs.spec import Spec
from ops import DTYPES, IN_DEPTH, label
from processes import run, succeeds
from tolerances import assert_same_bits

needs_native = pytest.mark.skipif(REFERENCE_ONLY, reason="FASTNORM_BACKEND=reference")


class TestThreads:
    @pytest.mark.parametrize("function", [fastnorm.set_num_threads, fastnorm.threads])
    def test_bad_numbers(self, function: Any) -> None:
        n: Any
        for n in (0, -1, -(10**30)):
            with pytest.raises(ValueError, match=f"{function.__name__}: n is .* needs at least 1"):
                function(n)
        for n in (2**31, 2**40, 10**400, np.uint64(2**63)):
            with pytest.raises(ValueError, match=f"{function.__name__}: n is .* needs at most 2147483647"):
                function(n)
        for n in (None, 1.0, "1", True, np.True_, [1], 1j, np.array([1, 2])):
            with pytest.raises(TypeError, match=f"{function.__name__}: n has type .* needs an int"):
                function(n)

    def test_set_and_get(self, native: ModuleType) -> None:
        before = fastnorm.get_num_threads()
        try:
            for n in (1, 2, 7, np.int64(3), np.uint8(4)):
                fastnorm.set_num_threads(n)  # type: ignore[arg-type]
                assert fastnorm.get_num_threads() == n
                assert type(fastnorm.get_num_threads()) is int
        finally:
            fastnorm.set_num_threads(before)

    def test_largest_number(self, native: ModuleType) -> None:
        """It is taken as it is; how many threads there are is for the pool and the system to say."""
        with fastnorm.threads(2**31 - 1):
            assert fastnorm.get_num_threads() == 2**31 - 1
            assert fastnorm.gelu(1.0) == fastnorm.gelu(1.0)

    @needs_native
    def test_set_before_the_extension_is_loaded(self) -> None:
        """What is set under the reference backend counts where the native one is chosen later."""
        succeeds(
            """
import contextvars, threading, fastnorm
def limited(n, entered, go_on, found):
    with fastnorm.threads(n):
        entered.set()
        go_on.wait()
        with fastnorm.backend("native"):
            found.append(fastnorm.get_num_threads())
        found.append(fastnorm.gelu.native(1.0) == fastnorm.gelu(1.0))
    found.append(fastnorm.get_num_threads())
fastnorm.set_num_threads(5)
entered, go_on, found = threading.Event(), threading.Event(), []
other = threading.Thread(target=limited, args=(3, entered, go_on, found))
other.start()
entered.wait()
with fastnorm.threads(2):
    with fastnorm.threads(7):
        assert fastnorm.get_num_threads() == 1
        with fastnorm.backend("native"):
            assert fastnorm.get_num_threads() == 7
    assert fastnorm.get_num_threads() == 2
assert fastnorm.get_num_threads() == 5
go_on.set()
other.join()
assert found[0] == 3 and found[2] == 5, found
fastnorm.set_num_threads(4)
assert fastnorm.get_num_threads() == 4
""",
            FASTNORM_BACKEND="reference",
        )

    @needs_native
    def test_limit_of_a_thread_that_calls_a_native_op(self) -> None:
        succeeds(
            """
import threading, fastnorm
fastnorm.set_num_threads(5)
entered, go_on, found = threading.Event(), threading.Event(), []
def limited():
    with fastnorm.threads(3):
        entered.set()
        go_on.wait()
        fastnorm.relu.native(1.0)
        found.append(fastnorm.get_num_threads())
other = threading.Thread(target=limited)
other.start()
entered.wait()
fastnorm.relu.native(1.0)
assert fastnorm.get_num_threads() == 5
go_on.set()
other.join()
assert found == [3], found
""",
            FASTNORM_BACKEND="reference",
        )

    @needs_native
    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", "2,3", str(2**40), "9" * 400, "\udcff x"])
    def test_bad_environment(self, value: str) -> None:
        done = run("import fastnorm", FASTNORM_NUM_THREADS=value)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: FASTNORM_NUM_THREADS is '")
        assert last.endswith("', needs an integer from 1 to 2147483647")
        done = run("import fastnorm; fastnorm.set_backend('native')", FASTNORM_NUM_THREADS=value)
        assert last in done.stderr

    def test_context(self, native: ModuleType) -> None:
        before = fastnorm.get_num_threads()
        with fastnorm.threads(3):
            assert fastnorm.get_num_threads() == 3
            with fastnorm.threads(1):
                assert fastnorm.get_num_threads() == 1
            with pytest.raises(KeyError), fastnorm.threads(2):
                raise KeyError
            assert fastnorm.get_num_threads() == 3
        assert fastnorm.get_num_threads() == before

    def test_context_is_of_its_python_thread(self, native: ModuleType) -> None:
        seen = []
        before = fastnorm.get_num_threads()
        with fastnorm.threads(before + 3):
            other = threading.Thread(target=lambda: seen.append(fastnorm.get_num_threads()))
            other.start()
            other.join()
        assert seen == [before]

    @needs_native
    def test_environment(self) -> None:
        code = "import fastnorm; print(fastnorm.get_num_threads())"
        assert int(succeeds(code, FASTNORM_NUM_THREADS="3")) == 3
        assert int(succeeds(code, OMP_NUM_THREADS="2")) == 2
        assert int(succeeds(code, FASTNORM_NUM_THREADS="1", OMP_NUM_THREADS="2")) == 1
        assert 1 <= int(succeeds(code)) <= len(os.sched_getaffinity(0))

    @needs_native
    def test_affinity(self) -> None:
        code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        assert int(succeeds(code + "import fastnorm; print(fastnorm.get_num_threads())")) == 1

    @needs_native
    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
    def test_affinity_that_changes(self) -> None:
        """It counts where nobody has set a number, for a call too, and for the thread that it belongs to."""
        succeeds(
            """
import os, threading, time, fastnorm, numpy as np
def threads_of_process():
    return len(os.listdir("/proc/self/task"))
x = np.ones((2000, 1000), np.float32)
all_cpus, usual = os.sched_getaffinity(0), fastnorm.get_num_threads()
os.sched_setaffinity(0, [min(all_cpus)])
assert fastnorm.get_num_threads() == 1
before = threads_of_process()
fastnorm.gelu(x)
assert threads_of_process() == before
seen = []
def free():
    os.sched_setaffinity(0, all_cpus)
    seen.append(fastnorm.get_num_threads())
thread = threading.Thread(target=free)
thread.start()
thread.join()
assert seen == [usual], seen
assert fastnorm.get_num_threads() == 1
os.sched_setaffinity(0, all_cpus)
time.sleep(0.05)
fastnorm.gelu(x)
assert threads_of_process() == before + usual - 1
fastnorm.set_num_threads(3)
os.sched_setaffinity(0, [min(all_cpus)])
assert fastnorm.get_num_threads() == 3
"""
        )

    @needs_native
    @pytest.mark.parametrize("order", ["fastnorm, threadpoolctl", "threadpoolctl, fastnorm"])
    def test_threadpoolctl(self, order: str) -> None:
        """`threadpool_limits` limits fastnorm, whichever of the two is imported first."""
        pytest.importorskip("threadpoolctl", minversion="3.2")
        succeeds(
            f"""
import {order}
fastnorm.set_num_threads(4)
infos = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "fastnorm"]
assert len(infos) == 1, infos
assert infos[0]["num_threads"] == 4
assert infos[0]["version"] == fastnorm.__version__
for keywords in ({{}}, {{"user_api": "fastnorm"}}):
    with threadpoolctl.threadpool_limits(1, **keywords):
        assert fastnorm.get_num_threads() == 1
    assert fastnorm.get_num_threads() == 4
"""
        )

    @needs_native
    def test_threads_sleep_when_there_is_nothing_to_do(self) -> None:
        """A pool that spins would burn the time of a CPU a thread."""
        succeeds(
            """
import time, fastnorm, numpy as np
fastnorm.set_num_threads(4)
x = np.ones((2000, 1000), np.float32)
for _ in range(3):
    fastnorm.layer_norm(x)
time.sleep(0.05)
before = time.process_time()
time.sleep(0.5)
assert time.process_time() - before < 0.1
"""
        )


FORK = """
import os, sys, warnings, threading, fastnorm, numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: fork with other threads running
fastnorm.set_num_threads(4)
x = np.random.default_rng(0).standard_normal((600, 1000)).astype(np.float32)
w = np.ones(1000, np.float32)
def work():
    return [fastnorm.layer_norm(x, w), *fastnorm.layer_norm_backward(x, x, w)[:2], fastnorm.gelu(x)]
expected = work()
def same():
    return all((a == b).all() for a, b in zip(work(), expected))
def child(depth):
    pid = os.fork()
    if pid == 0:
        good = same() and (depth == 0 or child(depth - 1)) and same()
        os._exit(0 if good else 1)
    good = same()
    return os.waitpid(pid, 0)[1] == 0 and good
"""


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
class TestFork:
    def test_after_use(self) -> None:
        """Children and their children compute in parallel, and so does the parent."""
        succeeds(FORK + "assert all(child(2) for _ in range(5))")

    def test_while_other_threads_compute(self) -> None:
        succeeds(
            FORK
            + """
stop = threading.Event()
def busy():
    while not stop.is_set():
        fastnorm.gelu(x)
others = [threading.Thread(target=busy) for _ in range(3)]
for thread in others: thread.start()
good = all(child(0) for _ in range(20))
stop.set()
for thread in others: thread.join()
assert good
"""
        )

    def test_multiprocessing(self) -> None:
        succeeds(
            FORK
            + """
import multiprocessing
def job(_): return same()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(job, range(6)))
"""
        )

    def test_exit_while_the_pool_is_warm(self) -> None:
        succeeds(
            FORK + "threading.Thread(target=lambda: [work() for _ in range(20)], daemon=True).start(); work()"
        )


@pytest.mark.parametrize("spec", IN_DEPTH, ids=label)
def test_concurrent_switching(spec: Spec, native: ModuleType, rng: np.random.Generator) -> None:
    """Settings may change while other threads compute: results do not."""
    inputs = spec.make_inputs(rng, (300, 500), DTYPES["float32"], spec.variants[0])
    expected = spec.forward(*inputs)
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                assert_same_bits(spec.forward(*inputs), expected)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    before = fastnorm.get_num_threads()
    for thread in threads:
        thread.start()
    try:
        for n in range(150):
            fastnorm.set_num_threads(1 + n % 5)
            fastnorm.clear_cache()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        fastnorm.set_num_threads(before)
    assert not errors
