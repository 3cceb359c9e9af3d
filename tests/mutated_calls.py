"""Calls whose arguments other threads change: garbage may come of it, or an error, but no crash and no hang.

    python tests/mutated_calls.py --seconds 20 [--seed 7] [NAME...]

Two threads call, two change what the calls were given: values, shapes and dtypes of arrays in place, entries
of lists and dicts. Each op has its share of the time, and so have networks, optimisers and estimators.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import fastnorm
import numpy as np
from bits.calls import op_names
from bits.networks import goal, memory_network, network, story
from bits.numbers import plain
from drawn_calls import Array, Plan, arrays_in, good_arguments, subject

LARGEST_SHAPE = 70_000  # long enough to run without the GIL
HANGS_AFTER = 60


class Shared(NamedTuple):
    """A call that can be made again and again, and what it works on."""

    name: str
    call: Callable[[], Any]
    values: Callable[[], list[Any]]  # arrays, lists and dicts


def calls_of_ops() -> Iterator[Shared]:
    for name in op_names():
        for backward in (False, True):
            of = subject(name, backward)
            variant = of.variants[0]
            shape = max((s for s in variant.shapes if prod(s) <= LARGEST_SHAPE), key=prod)
            given = good_arguments(Plan(of, variant, "float32", shape))
            values: list[Any] = [array for _, array in arrays_in("", given)]
            values += [value for value in given.values() if isinstance(value, list)]
            yield Shared(of.function.__name__, lambda f=of.function, g=given: f(**g), lambda v=values: v)  # type: ignore[misc]


def calls_of_networks() -> Iterator[Shared]:
    net = network((40, 60, 5), "float32")
    x, target = plain("x", (300, 40), "float32").copy(), goal("cross_entropy", 300, 5, "float32")
    parts = lambda: [x, target, net.weights, net.biases, *net.weights, *net.biases]  # noqa: E731
    adam = fastnorm.Adam()
    yield Shared("MLP.forward", lambda: net.forward(x), parts)
    yield Shared("MLP.backward", lambda: (net.forward(x), net.backward(np.ones((300, 5), "f"))), parts)
    for loss in ("cross_entropy", "mse"):
        goals = target if loss != "mse" else plain("goal", (300, 5), "float32").copy()
        given = [*parts(), goals]
        yield Shared(
            f"MLP.step {loss}",
            lambda loss=loss, goals=goals: net.step(x, goals, loss=loss, optimizer=adam),  # type: ignore[misc]
            lambda given=given: given,  # type: ignore[misc]
        )
    fitted = {"epochs": 2, "batch_size": 64, "loss": "cross_entropy", "progress": False}
    yield Shared("MLP.fit", lambda: net.fit(x, target, **fitted), parts)
    parameters = [plain(f"p{i}", (200, 100), "float32").copy() for i in range(3)]
    gradients = [plain(f"g{i}", (200, 100), "float32").copy() for i in range(3)]
    everything = [parameters, gradients, *parameters, *gradients]
    for optimizer in (fastnorm.SGD(momentum=0.5), fastnorm.Adam(), fastnorm.RMSprop(), fastnorm.Lion()):
        update = lambda o=optimizer: o.update(parameters, gradients)  # noqa: E731
        yield Shared(f"{type(optimizer).__name__}.update", update, lambda: everything)
    clip = lambda: fastnorm.clip_grad_norm(gradients, 0.5)  # noqa: E731
    yield Shared("clip_grad_norm", clip, lambda: everything)


def calls_of_memory_networks() -> Iterator[Shared]:
    model = memory_network(20, 6, 2, 5, "float32", {})
    stories, questions = (array.copy() for array in story(64, 7, 3, 20))
    answers = np.arange(64) % 20
    parts = lambda: [stories, questions, answers, model.parameters, *model.parameters.values()]  # noqa: E731

    def both() -> None:
        model.backward(model.forward(stories, questions))

    yield Shared("MemN2N.forward", lambda: model.forward(stories, questions), parts)
    yield Shared("MemN2N.backward", both, parts)
    yield Shared("MemN2N.attention", lambda: model.attention(stories, questions), parts)
    yield Shared("MemN2N.predict", lambda: model.predict(stories, questions), parts)
    yield Shared("MemN2N.fit", lambda: model.fit(stories, questions, answers, epochs=1), parts)


def calls_of_estimators() -> Iterator[Shared]:
    try:
        from fastnorm.sklearn import MLPClassifier, MLPRegressor
    except ImportError:
        return
    X, y = plain("X", (200, 10), "float32").copy(), plain("y", (200,), "float32").copy()
    labels = np.arange(200) % 3
    for solver in ("adam", "sgd", "lbfgs"):
        for estimator, target in ((MLPRegressor, y), (MLPClassifier, labels)):
            model = estimator(hidden_layer_sizes=(20,), max_iter=5, solver=solver, random_state=0)
            model.fit(X, target)
            name = f"{estimator.__name__}({solver!r})"

            def parts(model: Any = model, target: Any = target) -> list[Any]:
                return [X, target, model.coefs_, model.intercepts_, *model.coefs_, *model.intercepts_]

            yield Shared(f"{name}.fit", lambda m=model, t=target: m.fit(X, t), parts)  # type: ignore[misc]
            yield Shared(f"{name}.predict", lambda m=model: m.predict(X), parts)  # type: ignore[misc]


# ---- changes


def change_array(array: Array, source: random.Random) -> None:
    kind = source.randrange(8)
    if kind < 3 and array.dtype.kind in "fiu":
        start = source.randrange(max(array.size, 1))
        count = min(64, array.size - start)
        array.flat[start : start + count] = np.frombuffer(
            source.randbytes(count * array.itemsize), array.dtype
        )
    elif kind == 3:
        array[...] = source.choice((0, 1, 100))
    elif kind == 4:
        array.shape = source.choice(((array.size,), (1, array.size), (array.size, 1), array.shape[::-1]))
    elif kind == 5:
        array.shape = tuple(sorted(array.shape))
    elif kind == 6 and array.itemsize == 4:
        array.dtype = source.choice((np.float32, np.int32))  # type: ignore[misc]
    elif kind == 7:
        array.flags.writeable = not array.flags.writeable


def change_list(values: list[Any], source: random.Random) -> None:
    index = source.randrange(max(len(values), 1))
    new = source.choice((None, np.ones((3, 2), np.float32), np.ones(5), *values))
    if isinstance(new, np.ndarray):
        new = new.copy()  # so that the old one may be freed
    if source.randrange(10) == 0:
        values[:] = values[:-1] if source.randrange(2) else [*values, new]
    elif index < len(values):
        values[index] = new


def change_dict(values: dict[str, Any], source: random.Random) -> None:
    name = source.choice(list(values))
    new = source.choice((None, np.ones((3, 2), np.float32), *values.values()))
    values[name] = new.copy() if isinstance(new, np.ndarray) else new


def change(value: Any, source: random.Random) -> None:
    if isinstance(value, np.ndarray):
        change_array(value, source)
    elif isinstance(value, list):
        change_list(value, source)
    elif isinstance(value, dict):
        change_dict(value, source)


class Original:
    """What a value was at first."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.copy = value.copy()

    def restore(self) -> None:
        """Make it good again, for a while."""
        if isinstance(self.value, np.ndarray):
            self.value.flags.writeable = True
            self.value.dtype = self.copy.dtype
            self.value.shape = self.copy.shape
            self.value[...] = self.copy
        elif isinstance(self.value, list):
            self.value[:] = self.copy
        else:
            self.value.update(self.copy)


# ---- threads


def changeable(shared: Shared) -> list[Any]:
    return [value for value in shared.values() if isinstance(value, (np.ndarray, list, dict))]


def disturb(shared: Shared, seconds: float, seed: int) -> tuple[int, int, list[str]]:
    """Call and change for a time; the numbers of calls and of those that gave a result, and what is wrong."""
    end = time.monotonic() + seconds
    done, given, wrong = [0, 0], [0, 0], []
    originals = [Original(value) for value in changeable(shared)]

    def caller(number: int) -> None:
        while time.monotonic() < end:
            done[number] += 1
            try:
                shared.call()
                given[number] += 1
            except SystemError as error:
                wrong.append(f"{shared.name}: {error!r}")
            except Exception:
                pass  # whatever the arguments are by now

    def writer(number: int) -> None:
        source = random.Random(seed + number)
        while time.monotonic() < end:
            try:
                if source.randrange(4):
                    change(source.choice(changeable(shared)), source)
                else:
                    for original in originals:
                        original.restore()
            except Exception:
                pass  # another writer was faster
            time.sleep(1e-4)

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(2)]
    threads += [threading.Thread(target=writer, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for original in originals:
        original.restore()
    return sum(done), sum(given), wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", help="of ops and methods, for all where there are none")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.setswitchinterval(1e-5)
    faulthandler.enable()
    every = [
        *calls_of_ops(),
        *calls_of_networks(),
        *calls_of_memory_networks(),
        *calls_of_estimators(),
    ]
    chosen = [shared for shared in every if not options.names or shared.name in options.names]
    found: list[str] = []
    for number, shared in enumerate(chosen):
        print(shared.name, flush=True, end=" ")
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        done, given, wrong = disturb(shared, options.seconds / len(chosen), options.seed + 2 * number)
        print(f"{done} calls, {given} results", flush=True)
        found += wrong
    print(*found, f"{len(chosen)} subjects, {len(found)} faults", sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
