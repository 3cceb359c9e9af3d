"""Arguments that another thread changes during a call: garbage or an error of ours, never a crash."""

from __future__ import annotations

import fastnorm
import numpy as np
import pytest
from processes import succeeds

PRELUDE = """
import random, sys, threading, time
import numpy as np
import fastnorm
from fastnorm import *

sys.setswitchinterval(1e-5)
f = np.float32

def is_finite(result):
    if isinstance(result, (list, tuple)):
        return all(map(is_finite, result))
    return result is None or np.isfinite(result).all()

def survives(change, call, seconds=1.0, finite=False):
    stop = False
    def run():
        while not stop:
            change()
    threads = [threading.Thread(target=run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    finished = refused = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            result = call()
            assert not finite or is_finite(result)
            finished += 1
        except (TypeError, ValueError):
            refused += 1
    stop = True
    for thread in threads:
        thread.join()
    assert finished > 0, refused
"""

# A list of arrays whose entries are dropped, and their memory filled with NaN, while the call runs.
LISTS = {
    "mlp_forward": "mlp_forward(x, arrays, None)",
    "mlp_backward": "mlp_backward(x, x, arrays, None)",
    "optimizer": "sgd.update(parameters, arrays)",
    "embedding_sums": "fastnorm.memory.embedding_sums(arrays, words, encoding)",
    "embedding_sums_backward": "fastnorm.memory.embedding_sums_backward(dys, arrays, words, encoding)",
}


@pytest.mark.parametrize("name", LISTS)
def test_entries_of_lists_are_owned_for_the_call(name: str) -> None:
    succeeds(
        PRELUDE
        + f"""
n, layers = 1024, 12
x = np.ones((8, n), f)
arrays = [np.ones((n, n), f) for _ in range(layers)]
words = np.random.default_rng(0).integers(0, n, (3000, 10))
encoding, sums = np.ones((10, n), f), np.ones((3000, n), f)
sgd, dys = SGD(), [sums] * layers
parameters = [np.ones((n, n), f) for _ in range(layers)]
def change():
    arrays[-1] = None
    junk = np.empty((n, n), f)  # where the array was
    junk[-64:] = np.nan
    time.sleep(1e-3)
    arrays[-1] = np.ones((n, n), f)
    time.sleep(0.01 * random.random())
survives(change, lambda: {LISTS[name]}, finite=True)
assert is_finite(parameters)
"""
    )


# An array that gets another shape, which frees the memory of the old one, while the call runs.
SHAPES = {
    "relu": ("relu(x)", "x"),
    "swish": ("swish_backward(x, x.copy(), beta)", "beta"),
    "layer_norm": ("layer_norm(x, half, half, axis=(0, 1))", "x"),
    "layer_norm_backward": ("layer_norm_backward(x.copy(), x, half, half, axis=(0, 1))", "half"),
    "softmax": ("softmax(x.T)", "x"),
    "batch_norm": ("batch_norm(x, None, None, mean, mean + 1, training=True)", "mean"),
    "moments": ("moments(x, (0,))", "x"),
    "linear": ("linear(x, w, b)", "w"),
    "linear_backward": ("linear_backward(x, x, w, b)", "x"),
    "mlp_forward": ("mlp_forward(x, [w, w], [b, b])", "w"),
    "mlp_backward": ("mlp_backward(x, x, [w, w], [b, b])", "w"),
    "attention": ("attention(x, x, x)", "x"),
    "cross_entropy": ("cross_entropy(x, labels)", "labels"),
    "cross_entropy without reduction": ("cross_entropy(x, labels, reduction='none')", "x"),
    "linear_cross_entropy": ("linear_cross_entropy(x, w, labels, b[:256])", "labels"),
    "linear_cross_entropy of a weight": ("linear_cross_entropy(x, w, labels, return_grad=True)", "w"),
    "linear_cross_entropy_backward": ("linear_cross_entropy_backward(1.0, x, w, labels)", "x"),
    "add_layer_norm": ("add_layer_norm(x, x.copy(), b)", "x"),
    "embedding": ("embedding(labels, x)", "labels"),
    "embedding_backward": ("embedding_backward(x, labels, w)", "x"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_may_change(name: str) -> None:
    call, changed = SHAPES[name]
    succeeds(
        PRELUDE
        + f"""
x = np.ones((512, 256), f)
half = np.ones((512, 256), np.float16)[::1, ::1]
x16 = np.ones((512, 256), np.float16)
w, b = np.ones((256, 256), f), np.ones(512, f)[::2]
mean = np.zeros(512, f)[::2]
beta = np.ones((256, 512), f).T
labels = np.zeros(512, np.int16)
if "half" in {call!r}:
    x = x16
if "beta" in {call!r}:
    x = np.ones((512, 256), f)
changed = {changed}
shape, other = changed.shape, tuple([1] * 40 + [changed.size])
def change():
    try:
        changed.shape = other
        junk = [np.empty(([1] * n) + [3]) for n in (1, 2, 30, 40)]
        changed.shape = shape
    except (AttributeError, ValueError):
        pass  # not of these strides
    time.sleep(1e-4)
survives(change, lambda: {call}, 0.5)
""",
        PYTHONWARNINGS="ignore",
    )


# Numbers that were in range when they were checked.
INTEGERS = (
    "fastnorm.memory.embedding_sums(tables, words, encoding)",
    "fastnorm.memory.embedding_sums_backward(sums, tables, words, encoding)",
    "net.step(x, labels, loss='cross_entropy', optimizer=sgd)",
    "cross_entropy(x, labels, return_grad=True)",
    "cross_entropy(x, labels, weight=weight, ignore_index=1)",
    "linear_cross_entropy(x, np.eye(4, dtype=f), labels, return_grad=True)",
    "poly_loss(x, labels)",
    "embedding(labels, np.ones((4, 3), f))",
    "embedding_backward(x, labels, np.ones((4, 4), f))",
)


@pytest.mark.parametrize("call", INTEGERS)
def test_integers_may_change(call: str) -> None:
    succeeds(
        PRELUDE
        + f"""
rng = np.random.default_rng(0)
words = rng.integers(0, 50, (20_000, 10))
tables, encoding = [np.ones((50, 16), f)] * 2, np.ones((10, 16), f)
sums = [np.ones((20_000, 16), f)] * 2
x, labels, weight = np.ones((200_000, 4), f), rng.integers(0, 4, 200_000), np.ones(4, f)
net, sgd = MLP([4, 4]), SGD()
integers = labels if "labels" in {call!r} else words.ravel()
originals = integers.copy()
def change():
    places = rng.integers(0, integers.size, 1000)
    integers[places] = rng.choice([-(2**62), 2**62, 10**7])
    integers[places] = originals[places]
    time.sleep(2e-3 * random.random())
survives(change, lambda: {call})
"""
    )


def test_lists_are_what_they_were_at_the_call() -> None:
    weights = [np.eye(3), np.eye(3)]
    expected = fastnorm.mlp_forward(np.ones((2, 3)), tuple(weights), None)
    assert np.array_equal(fastnorm.mlp_forward(np.ones((2, 3)), weights, None), expected)
    assert weights[0].shape == (3, 3)
