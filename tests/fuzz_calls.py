"""Random calls of everything, with hostile arguments, until the time is over.

    python tests/fuzz_calls.py --seconds 60 [--seed 7] [--save folder]
    python tests/fuzz_calls.py --replay tests/corpus/calls/*.json

A call is good but for a few changes (drawn_calls.py, drawn_values.py, hostile_arrays.py), and both backends
have to agree on it, as test_calls.py says. It is made in a process of its own, where arrays end at pages that
cannot be read and fresh memory holds garbage; one that crashes or hangs is reported with its traceback, and
kept as a file that replays it. Files worth keeping are in tests/corpus/calls, which test_fuzz.py replays.

The process takes numbers that say what to choose. They are random ones, or with `--atheris` those of that
fuzzer, led by the coverage of the rules.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bits.calls import op_names
from bits.kinds import Shape, Variant
from bits.numbers import DTYPES
from compared_calls import EXTREME, agree
from drawn_calls import Call, Choose, Plan, arrays_in, drawn_changes, drawn_plan, make, subject
from hostile_arrays import guarded
from test_method_calls import SUBJECTS, changed, every_change

SECONDS_A_CALL = 60
LARGEST_SHAPE = 70_000
CRASHES = 5  # after which a run ends
DISAGREED = 3  # the exit status of a process that came to its end


class Case(NamedTuple):
    """A call to try: of an op, or of a method."""

    plan: Plan | None
    method: str = ""
    dtype: str = ""
    changes: tuple[Any, ...] = ()
    at_guard: bool = False  # arrays end where memory does

    def text(self) -> str:
        """Return what `case_of` makes the same case of."""
        if self.plan is None:
            parts: dict[str, Any] = {"method": self.method, "dtype": self.dtype, "changes": self.changes}
        else:
            parts = self.plan._asdict()
            parts["subject"] = self.plan.subject.op.name
            parts["backward"] = self.plan.subject.backward
            parts["variant"] = self.plan.variant.label
        return json.dumps(parts | {"at_guard": self.at_guard})

    def make(self) -> Call:
        """Return the call."""
        if self.plan is not None:
            call = make(self.plan)
        else:
            call = changed(SUBJECTS[self.method], self.dtype, list(self.changes))
        return at_guard(call) if self.at_guard else call

    def check(self) -> None:
        """Make the call on both backends, which have to agree."""
        changes = self.changes if self.plan is None else self.plan.changes
        values = not any(change in EXTREME for _, change in changes)
        agree(self.make, values=values, dtype=self.dtype or "float64")


def case_of(text: str) -> Case:
    """Return the case of a file."""
    parts = json.loads(text)
    beside = parts.pop("at_guard")
    changes = tuple((tuple(path), change) for path, change in parts["changes"])
    if "method" in parts:
        return Case(None, parts["method"], parts["dtype"], changes, beside)
    of = subject(parts.pop("subject"), parts.pop("backward"))
    (variant,) = (v for v in of.variants if v.label == parts["variant"])
    parts |= {"shape": tuple(parts["shape"]), "changes": changes, "variant": variant, "subject": of}
    return Case(Plan(**parts), at_guard=beside)


def drawn_case(choose: Choose) -> Case:
    """Return a case, each part of it chosen among what there is."""
    beside = choose((False, True))
    if choose(range(8)) == 0:
        method, dtype = choose(list(SUBJECTS)), choose(list(DTYPES))
        given = SUBJECTS[method](dtype)[1]
        bounded = every_change(given)
        changes = tuple(c for c in drawn_changes(choose, given) if c in bounded)
        return Case(None, method, dtype, changes, beside)
    of = subject(choose(op_names()), choose((False, True)))

    def shapes(variant: Variant) -> list[Shape]:
        found = of.shapes(variant) + [s for s in variant.shapes if prod(s) <= LARGEST_SHAPE]
        shape = choose(found)
        for _ in range(choose((0, 0, 0, 1, 2)) if shape else 0):  # extents of nothing, or of one
            at = choose(range(len(shape)))
            shape = (*shape[:at], choose((0, 0, 1)), *shape[at + 1 :])
        return [shape]

    return Case(drawn_plan(choose, of, shapes), at_guard=beside)


def at_guard(call: Call) -> Call:
    """Return the call with its arrays beside pages that cannot be read, but those that share memory."""
    arrays = list(dict(arrays_in("", [call.args, call.keywords])).values())
    alone = [
        a
        for a in arrays
        if type(a) is np.ndarray
        and a.flags.c_contiguous
        and a.flags.aligned
        and a.flags.writeable
        and not any(b is not a and np.may_share_memory(a, b) for b in arrays)
    ]
    moved = {id(a): guarded(a, at_end=number % 2 == 0) for number, a in enumerate(alone)}

    def place(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return moved.get(id(value), value)
        if type(value) in (tuple, list):
            return type(value)(map(place, value))
        return value

    keywords = {name: place(value) for name, value in call.keywords.items()}
    return call._replace(args=tuple(map(place, call.args)), keywords=keywords)


# ---- the process that makes the calls


def trial(case: Case, record: Callable[[str], None]) -> str | None:
    """Make the call, and return what is wrong with it; record it first, since it may end the process."""
    record(case.text())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # The one warning that is no sign of a fault: neither tqdm nor rich is installed.
            warnings.filterwarnings("ignore", "progress=True needs", UserWarning)
            case.check()
    except Exception:
        return traceback.format_exc(limit=-3)
    return None


def recorder(path: Path) -> Callable[[str], None]:
    """Return what leaves a text at the path, whatever ends the process next."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def record(text: str) -> None:
        raw = text.encode()
        os.pwrite(descriptor, raw, 0)
        os.ftruncate(descriptor, len(raw))
        faulthandler.dump_traceback_later(SECONDS_A_CALL, exit=True)

    return record


def cases(seed: int, seconds: float) -> Iterator[Case]:
    """Yield random cases until the time is over, but those that cannot be made."""
    source = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            case = drawn_case(source.choice)
            case.make()
        except Exception:  # a shape that this op or this variant of it cannot have
            continue
        yield case


def work(found: Iterator[Case], save: Path) -> int:
    """Try the cases; print and keep those that fail."""
    record = recorder(save / "latest.json")
    count = failures = 0
    for count, case in enumerate(found, 1):  # noqa: B007
        wrong = trial(case, record)
        if wrong is not None:
            failures += 1
            keep(case.text(), wrong, save)
    print(f"{count} calls, {failures} failed", flush=True)
    return DISAGREED if failures else 0


def keep(text: str, wrong: str, save: Path) -> None:
    path = save / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.write_text(text + "\n")
    print(f"\n{path}\n{text}\n{wrong}", flush=True)


def led_by_coverage(seconds: float, save: Path) -> None:
    """Let atheris choose; it ends the process."""
    import atheris

    record = recorder(save / "latest.json")

    def one(raw: bytes) -> None:
        source = atheris.FuzzedDataProvider(raw)
        try:
            case = drawn_case(lambda items: items[source.ConsumeIntInRange(0, len(items) - 1)])
            case.make()
        except Exception:
            return
        wrong = trial(case, record)
        if wrong is not None:
            keep(case.text(), wrong, save)
            raise AssertionError(wrong)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=64"], one)
    atheris.Fuzz()


# ---- the process that watches


def watch(seconds: float, seed: int, save: Path, options: list[str]) -> int:
    """Run workers until the time is over, another one after each crash."""
    end = time.monotonic() + seconds
    failed = crashes = 0
    while (left := end - time.monotonic()) > 0.5 and crashes < CRASHES:
        command = [sys.executable, "-X", "faulthandler", __file__, "--worker", *options]
        command += ["--seconds", str(left), "--seed", str(seed), "--save", str(save)]
        # Memory that was freed, or is not written yet, holds garbage.
        done = subprocess.run(command, env=os.environ | {"MALLOC_PERTURB_": "165"}, check=False)
        failed = failed or done.returncode
        seed += 1
        if done.returncode not in (0, DISAGREED):
            crashes += 1
            keep((save / "latest.json").read_text(), f"ended by {done.returncode}", save)
        elif options:
            break
    return int(failed != 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--save", type=Path, default=Path("fuzz"), help="where failing calls are kept")
    parser.add_argument("--replay", type=Path, nargs="+", default=[], help="calls to make instead")
    parser.add_argument("--atheris", action="store_true", help="let atheris choose")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.save.mkdir(parents=True, exist_ok=True)
    if given.worker:
        if given.atheris:
            led_by_coverage(given.seconds, given.save)
        if given.replay:
            return work((case_of(path.read_text()) for path in given.replay), given.save)
        return work(cases(given.seed, given.seconds), given.save)
    options = ["--atheris"] if given.atheris else []
    if given.replay:
        options = ["--replay", *map(str, given.replay)]
    return watch(given.seconds, given.seed, given.save, options)


if __name__ == "__main__":
    sys.exit(main())
