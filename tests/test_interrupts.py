"""Ctrl-C stops a single long call within a second; a handler that raises nothing leaves it alone."""

from __future__ import annotations

import pytest
from processes import succeeds

pytestmark = pytest.mark.alone

# Calls of some seconds on one thread, of each family that takes so long.
CALLS = {
    "attention": "attention(*normal(4, 16000, 32), *normal(4, 16000, 32), *normal(4, 16000, 32))",
    "attention_backward": "attention_backward(*[*normal(4, 8000, 32)] * 4)",
    "linear": "linear(*normal(6000, 6000), *normal(6000, 6000))",
    "linear_backward": "linear_backward(*normal(3000, 6000), *normal(3000, 6000), *normal(6000, 6000))",
    "linear_cross_entropy": "linear_cross_entropy(*normal(6000, 768), *normal(768, 32_000), np.arange(6000))",
    "linear_cross_entropy_backward": "linear_cross_entropy_backward("
    "np.float32(1), *normal(2048, 768), *normal(768, 32_000), np.arange(2048))",
    "mlp_forward": "mlp_forward(*normal(60_000, 1000), [*normal(1000, 1000)] * 3, None)",
}
PRELUDE = """
import os, signal, threading, time
import numpy as np
import fastnorm
from fastnorm import *
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it from its start

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


def test_no_interrupt_is_lost_at_the_beginning_of_a_call() -> None:
    succeeds(
        PRELUDE
        + """
def handle(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handle)
fastnorm.set_num_threads(1)
x, y = np.ones((2**26, 4), np.float32), np.zeros(2**26, np.int64)
for wait in (0.001, 0.005, 0.02, 0.05, 0.1):
    signal.setitimer(signal.ITIMER_REAL, wait)
    try:
        cross_entropy(x, y)
    except KeyboardInterrupt:
        continue
    raise AssertionError(f"the interrupt after {wait} s was lost")
"""
    )


def test_a_handler_slower_than_its_timer() -> None:
    succeeds(
        PRELUDE
        + """
import resource
depth = deepest = 0
def handle(number, frame):
    global depth, deepest
    depth += 1
    deepest = max(deepest, depth)
    if deepest < 40 and time.monotonic() < end:
        linear(x, x)
    depth -= 1
x, = normal(3000, 3000)
fastnorm.set_num_threads(1)
start = time.monotonic()
linear(x, x)
alone = time.monotonic() - start
signal.signal(signal.SIGALRM, handle)
end = time.monotonic() + 4
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
linear(x, x)
signal.setitimer(signal.ITIMER_REAL, 0)
# Eight calls run handlers within themselves; those within take their whole time first, not that of the timer.
assert 1 <= deepest <= 8 + 4 / alone + 1 < 40, (deepest, alone)
"""
    )


def test_a_child_of_a_fork_in_another_thread() -> None:
    succeeds(
        PRELUDE
        + """
x, = normal(5000, 5000)
def fork():
    global status
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            linear(x, x)
        except InterruptedError:
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)
def handle(number, frame):
    raise InterruptedError
signal.signal(signal.SIGALRM, handle)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert os.waitstatus_to_exitcode(status) == 7, status
"""
    )


def test_a_long_step_is_stopped_before_its_update() -> None:
    succeeds(
        PRELUDE
        + """
fastnorm.set_num_threads(1)
x, y = np.ones((2**15, 512), np.float32), np.ones((2**15, 4), np.float32)
mlp = MLP([512, 1024, 1024, 4], seed=0)
adam = Adam()
before = mlp.state_dict()
def handle(number, frame):
    global sent
    sent = time.perf_counter()
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handle)
for call in (mlp.step, lambda *a, **k: mlp.fit(*a, epochs=1, batch_size=2**15, **k)):
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        call(x, y, optimizer=adam)
    except KeyboardInterrupt:
        assert time.perf_counter() - sent < 1
    else:
        raise AssertionError("the step was over before it was interrupted")
    assert all(np.array_equal(before[name], array) for name, array in mlp.state_dict().items())
    assert not adam.state_dict()["steps"].any()
"""
    )
