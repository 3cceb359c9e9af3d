"""A process for each number of threads.

JAX, OpenMP and OpenBLAS read how many threads they may use when they are loaded, so every thread count needs
a process of its own, and the affinity mask binds all contenders, whatever they make of such settings, to the
same processors.

Run as a script this is the worker: it reads one request a line and writes one answer a line, both JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from comparison import BrokenContractError, Comparison, Request, compare


class Worker:
    """The parent's side of a worker process."""

    def __init__(self, threads: int) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        settings = os.environ | thread_settings(threads)
        with bound(threads):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings
            )

    def compare(self, request: Request) -> Comparison:
        """Run a request in the worker.

        Raises
        ------
        BrokenContractError
            Where fastnorm's result is wrong.
        RuntimeError
            Where anything else went wrong, with the worker's traceback, or where the worker died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{request.label()}: the worker ended with status {self._process.wait()}")
        kind, answer = json.loads(line)
        if kind == "broken":
            raise BrokenContractError(answer)
        if kind == "failed":
            raise RuntimeError(answer)
        return Comparison.from_json(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def workers() -> Iterator[dict[int, Worker]]:
    """Hold workers by their number of threads and end them with the block."""
    running = _Workers()
    try:
        yield running
    finally:
        for worker in running.values():
            worker.close()


class _Workers(dict[int, Worker]):
    """Starts the worker of a thread count when it is first asked for."""

    def __missing__(self, threads: int) -> Worker:
        self[threads] = Worker(threads)
        return self[threads]


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment that gives every library the same number of threads."""
    names = ("FASTNORM_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    several = "true" if threads > 1 else "false"
    xla = f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(names, str(threads)) | {"XLA_FLAGS": xla}


def default_threads() -> list[int]:
    """Return one thread and all processors of this process."""
    return sorted(
        {1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    )


@contextmanager
def bound(threads: int) -> Iterator[None]:
    """Bind what is started in the block to as many processors as it may use threads, where the system can do
    that.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def serve() -> None:
    """Answer requests until the input ends; whatever libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        values = json.loads(line)
        request = Request(**{**values, "shape": tuple(values["shape"]), "peers": tuple(values["peers"])})
        try:
            answer = ["result", compare(request).to_json()]
        except BrokenContractError as error:
            answer = ["broken", str(error)]
        except Exception:
            answer = ["failed", traceback.format_exc()]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
