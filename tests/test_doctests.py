"""The examples of all docstrings, on each backend."""

from __future__ import annotations

import doctest
import importlib

import fastnorm
import pytest

OWN = {getattr(getattr(fastnorm, name), "__module__", "fastnorm") for name in fastnorm.__all__}
MODULES = sorted(name for name in OWN if name.startswith("fastnorm"))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, backend: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert attempted > 0 or name == "fastnorm"
