"""Options, workers and the table at the end of ``pytest bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import peers
import pytest
import tables
from comparison import Comparison, Request, fits
from fastnorm._report.workloads import WORKLOADS, format_shape, parse_shape
from worker import default_threads, workers

COMPARISONS = pytest.StashKey[list[Comparison]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what ``python bench/compare.py`` has too."""
    group = parser.getgroup("fastnorm benchmarks")
    threads = ",".join(map(str, default_threads()))
    group.addoption("--op", default=",".join(WORKLOADS), help="workloads (default: all)")
    group.addoption("--shape", help="shapes (default: those of each workload)")
    group.addoption("--threads", default=threads, help="thread counts (default: %(default)s)")
    group.addoption("--dtype", default="float32", help="type of the arrays (default: %(default)s)")
    group.addoption("--peers", default=",".join(peers.DEFAULT), help="libraries (default: %(default)s)")
    group.addoption("--seconds", type=float, default=1.5, help="time for a comparison (default: %(default)s)")
    group.addoption("--summary", metavar="NAME", help="write the summary to bench/results/NAME.json")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one benchmark of each workload, shape and thread count."""
    option = metafunc.config.getoption
    given = [parse_shape(text) for text in (option("--shape") or "").split(",") if text]
    pairs = [(name, shape) for name in option("--op").split(",") for shape in given or WORKLOADS[name].shapes]
    metafunc.parametrize(
        ("workload", "shape"), pairs, ids=[f"{name}-{format_shape(shape)}" for name, shape in pairs]
    )
    metafunc.parametrize(
        "threads", [int(text) for text in option("--threads").split(",")], ids="{}-threads".format
    )


@pytest.fixture(scope="session")
def compare(pytestconfig: pytest.Config) -> Iterator[Callable[..., Comparison]]:
    """Return a function that runs a comparison in a worker and keeps it for the table at the end."""
    option = pytestconfig.getoption
    names = tuple(filter(None, option("--peers").split(",")))
    done = pytestconfig.stash.setdefault(COMPARISONS, [])
    with workers() as worker_of:

        def run(workload: str, shape: tuple[int, ...], threads: int, *, check_only: bool) -> Comparison:
            seconds = 0.0 if check_only else option("--seconds")
            request = Request(workload, shape, threads, option("--dtype"), seconds, names)
            if not fits(request):
                pytest.skip("needs more memory than there is")
            done.append(worker_of[threads].compare(request))
            return done[-1]

        yield run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table and write the summary."""
    timed = [comparison for comparison in config.stash.get(COMPARISONS, []) if comparison.times]
    if not timed:
        return
    terminalreporter.section("fastnorm against its peers")
    terminalreporter.write_line(tables.summary_table(timed))
    for name, reason in sorted({item for comparison in timed for item in comparison.left_out.items()}):
        if "installed" in reason:
            terminalreporter.write_line(f"{name}: {reason}")
    if name := config.getoption("--summary"):
        path = tables.RESULTS / f"{name}.json"
        tables.save(timed, path)
        terminalreporter.write_line(f"summary written to {Path(path)}")
