"""Where memory is short a call raises MemoryError or returns; the process goes on."""

from __future__ import annotations

import sys

import pytest
from processes import succeeds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")

# Every op on arrays of some megabytes, under limits of ever less beyond what is there.
CALLS = """
import resource
import numpy as np
import fastnorm
from fastnorm._specs import calls, make_sample

rng = np.random.default_rng(0)
fastnorm.set_num_threads({threads})
fastnorm.relu(np.ones(1 << 22, np.float32))  # starts the threads
samples = []
for spec, backward in calls():
    large = not any(word in spec.name for word in ("attention", "memory", "linear", "mlp"))
    shape = (1 << 14, 24) if large else (300, 200)
    for dtype in (np.float32, np.float16):
        sample = make_sample(spec, shape, np.dtype(dtype), rng, backward=backward)
        samples.append((sample.op, dict(sample.arrays) | dict(sample.keywords)))
for op, arguments in samples:  # all is imported, and pools are warm
    getattr(fastnorm, op)(**arguments)

def in_use():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

errors = results = 0
for op, arguments in samples:
    for room in {rooms}:
        fastnorm.clear_cache()
        resource.setrlimit(resource.RLIMIT_AS, (in_use() + room, resource.RLIM_INFINITY))
        try:
            getattr(fastnorm, op)(**arguments)
            results += 1
        except MemoryError:
            errors += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
print(errors, results)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_every_op_under_a_limit(threads: int) -> None:
    rooms = "[0, 1 << 12, 1 << 16, 1 << 19, 1 << 20, 3 << 19, 1 << 21, 1 << 22, 1 << 24, 1 << 28]"
    errors, results = map(int, succeeds(CALLS.format(threads=threads, rooms=rooms)).split())
    assert errors > 50
    assert results > 50


def test_threads_that_cannot_start() -> None:
    # A thread takes some megabytes for its stack: fewer threads, the same result.
    succeeds(
        """
import resource
import numpy as np
import fastnorm

x = np.ones((512, 4096), np.float32)
w = np.ones((4096, 256), np.float32)
out = np.empty((512, 256), np.float32)
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
fastnorm.set_num_threads(8)
resource.setrlimit(resource.RLIMIT_AS, (in_use + (12 << 20), resource.RLIM_INFINITY))
try:
    fastnorm.linear(x, w, out=out)
except MemoryError:
    pass
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert np.array_equal(fastnorm.linear(x, w), np.full((512, 256), 4096))
"""
    )
