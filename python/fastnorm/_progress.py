"""What training tells of its progress, in the same way everywhere: `progress=` of each ``fit``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from ._arguments.rules import Rules, is_bool

__all__ = ["Epoch"]


class Epoch(NamedTuple):
    """One pass over the training data, as ``fit`` returns it, and tells of it to a function, its `progress`.

    Attributes
    ----------
    number : int
        From 1 on.
    loss : float
        Mean over what was trained on.
    validation : float
        Loss, of `MemN2N` error, on what was held out; NaN where nothing was.
    seconds : float
        Time that it took.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnorm
    >>> x, history = np.linspace(-1, 1, 64, dtype=np.float32)[:, None], []
    >>> told = fastnorm.MLP([1, 16, 1], seed=0).fit(x, x * x, epochs=3, progress=history.append)
    >>> [epoch.number for epoch in history]
    [1, 2, 3]
    >>> history == told
    True
    """

    number: int
    loss: float
    validation: float
    seconds: float


Told: TypeAlias = Callable[[Epoch], object]
Progress: TypeAlias = bool | Told


def checked_progress(rules: Rules, progress: object) -> Progress:
    """Return what an argument `progress` asks for."""
    if is_bool(progress):
        return bool(progress)
    if not callable(progress):
        raise rules.type_error(
            "progress", f"has type {type(progress).__name__}", "a bool or a function of an Epoch"
        )
    return progress


@contextmanager
def telling(progress: Progress, epochs: int) -> Iterator[Told]:
    """Give what is to be called after each of so many epochs: the user's function, or that of a bar, which
    the end of the block closes.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda epoch: None
    else:
        with _bar(epochs) as advance:
            yield advance


@contextmanager
def _bar(epochs: int) -> Iterator[Told]:
    """Show a bar of tqdm, which knows notebooks, or of rich; where neither is installed, say what to do."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        pass
    else:
        with tqdm(total=epochs, unit="epoch") as shown:

            def advance(epoch: Epoch) -> None:
                shown.set_postfix_str(_figures(epoch), refresh=False)
                shown.update()

            yield advance
        return
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        text = "progress=True needs tqdm or rich to show a bar: pip install fastnorm-kernels[progress]"
        warnings.warn(text, stacklevel=6)  # at the caller of fit
        yield lambda epoch: None
        return
    columns = (TextColumn("epoch"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}")) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda epoch: bar.update(task, advance=1, description=_figures(epoch))


def _figures(epoch: Epoch) -> str:
    held_out = "" if math.isnan(epoch.validation) else f", validation {epoch.validation:.3g}"
    return f"loss {epoch.loss:.4g}{held_out}"
