"""Ctrl-C stops a single long call within a second; a handler that raises nothing leaves it alone."""

from __future__ import annotations

import pytest
from processes import succeeds

# Calls of some seconds on one thread, of each family that takes so long.
CALLS = {
    "attention": "attention(*normal(4, 16000, 32), *normal(4, 16000, 32), *normal(4, 16000, 32))",
    "attention_backward": "attention_backward(*[*normal(4, 8000, 32)] * 4)",
    "linear": "linear(*normal(6000, 6000), *normal(6000, 6000))",
    "linear_backward": "linear_backward(*normal(3000, 6000), *normal(3000, 6000), *normal(6000, 6000))",
    "mlp_forward": "mlp_forward(*normal(60_000, 1000), [*normal(1000, 1000)] * 3, None)",
}
PRELUDE = """
import os, signal, threading, time
import numpy as np
import fastnorm
from fastnorm import *

def normal(*shape):
    return (np.random.default_rng(0).standard_normal(shape, np.float32),)
"""
INTERRUPT = """
x = np.ones(7, np.float32)
before = relu(x)
call = {prepared}
def interrupt():
    global sent
    time.sleep({wait})
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
fastnorm.set_num_threads({threads})
threading.Thread(target=interrupt, daemon=True).start()
try:
    call()
except KeyboardInterrupt:
    delay = time.perf_counter() - sent
else:
    raise AssertionError("the call was over before it was interrupted")
assert delay < 1, delay
assert np.array_equal(relu(x), before)
assert np.isfinite(linear(*normal(64, 64), *normal(64, 64))).all()
"""


def prepared(call: str) -> str:
    """The call as a function of arguments that are made at once."""
    name, _, arguments = call.partition("(")
    return f"(lambda *arguments: lambda: {name}(*arguments))({arguments}"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_interrupt_stops_a_long_call(name: str, threads: int) -> None:
    succeeds(PRELUDE + INTERRUPT.format(prepared=prepared(CALLS[name]), threads=threads, wait=0.3))


def test_a_handler_that_returns_leaves_the_result_alone() -> None:
    succeeds(
        PRELUDE
        + """
handled = []
def handle(number, frame):
    handled.append(relu(np.float32([-1, 2])))  # a call within a call
signal.signal(signal.SIGALRM, handle)
x, w = *normal(3000, 3000), *normal(3000, 3000)
q, = normal(4, 4000, 32)
expected = linear(x, w), attention(q, q, q)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
for threads in (1, 2):
    fastnorm.set_num_threads(threads)
    found = linear(x, w), attention(q, q, q)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))
signal.setitimer(signal.ITIMER_REAL, 0)
assert handled and all(np.array_equal(y, [0, 2]) for y in handled)
"""
    )


def test_other_threads_are_not_interrupted() -> None:
    succeeds(
        PRELUDE
        + """
x, w = *normal(4000, 4000), *normal(4000, 4000)
expected = linear(x, w)
found = []
worker = threading.Thread(target=lambda: found.append(linear(x, w)))
worker.start()
try:
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    pass
worker.join()
assert np.array_equal(found[0], expected)
"""
    )
