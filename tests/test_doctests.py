"""The examples of all docstrings, on each backend."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("fastnorm", "fastnorm.norms", "fastnorm.activations", "fastnorm.runtime", "fastnorm._vjp")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, backend: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert attempted > 0 or name == "fastnorm"
