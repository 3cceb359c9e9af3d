"""One rule for all: names, signatures and documentation of the ops agree wherever they stand."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import fastnorm
import pytest
from fastnorm import _arguments, _backend, reference
from fastnorm._specs.spec import backward_name
from ops import SPECS

OPS = sorted(reference.__all__)
FORWARD = [name for name in OPS if not name.endswith("_backward")]
NOT_OPS = ("reference", "vjp")
RUNTIME = sorted(set(fastnorm.__all__) - set(OPS) - set(NOT_OPS))
# The losses give a number unless reduction is 'none'.
WITHOUT_OUT = (
    "mlp_forward",
    "cross_entropy",
    "focal_loss",
    "mse_loss",
    "poly_focal_loss",
    "poly_loss",
    "sigmoid_focal_loss",
)
# Forward keywords that have no meaning in a backward.
FORWARD_ONLY = {"out", "return_stats", "return_grad", "return_weights", "momentum", "running_correction"}


def stub() -> dict[str, Any]:
    """The functions of the extension's stub, as if it were a module."""
    source = Path(_backend.__file__).with_name("_core.pyi").read_text(encoding="utf-8")
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    code = compile("from __future__ import annotations\n" + ast.unparse(tree), "_core.pyi", "exec")
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return {name: value for name, value in namespace.items() if inspect.isfunction(value)}


def test_all_ops_are_public() -> None:
    assert set(OPS) < set(fastnorm.__all__)
    assert len(set(fastnorm.__all__)) == len(fastnorm.__all__)
    for name in fastnorm.__all__:
        assert getattr(fastnorm, name) is not None


def test_every_op_has_a_backward_a_specification_and_rules() -> None:
    assert sorted(spec.name for spec in SPECS) == FORWARD
    for name in FORWARD:
        assert backward_name(name) in OPS
    for name in OPS:
        assert callable(getattr(_arguments, name))


@pytest.mark.parametrize("name", OPS)
def test_signatures(name: str) -> None:
    """Names, kinds, defaults and annotations are the same in fastnorm, its twin, and the stub of the
    extension.
    """
    public = inspect.signature(getattr(fastnorm, name))
    assert inspect.signature(getattr(reference, name)) == public
    assert inspect.signature(stub()[name]) == public


@pytest.mark.parametrize("name", OPS)
def test_argument_rules_take_the_same_names(name: str) -> None:
    assert list(inspect.signature(getattr(_arguments, name)).parameters) == list(
        inspect.signature(getattr(fastnorm, name)).parameters
    )


@pytest.mark.parametrize("name", FORWARD)
def test_the_rule_for_backwards(name: str) -> None:
    """dy, the forward's positional arguments, the forward's keywords that mean something, and stats where
    returned.
    """
    forward = inspect.signature(getattr(fastnorm, name)).parameters
    backward = inspect.signature(getattr(fastnorm, backward_name(name))).parameters
    positional = [p.name for p in forward.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: p.default for p in forward.values() if p.kind is p.KEYWORD_ONLY}
    given = [p.name for p in backward.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    results = len(given) - len(positional)
    assert results >= 1
    assert given[results:] == positional
    assert all(gradient.startswith("d") for gradient in given[:results])
    expected = {key: default for key, default in keywords.items() if key not in FORWARD_ONLY}
    if "return_stats" in keywords:
        expected["stats"] = None
    assert {p.name: p.default for p in backward.values() if p.kind is p.KEYWORD_ONLY} == expected
    assert "out" in keywords or name in WITHOUT_OUT


@pytest.mark.parametrize("name", OPS)
def test_documentation(name: str) -> None:
    """One line, every argument, and all the sections; accuracy and reproducibility among the notes."""
    function = getattr(fastnorm, name)
    text = inspect.getdoc(function)
    assert text is not None
    assert text.splitlines()[0].endswith(".")
    for section in ("Parameters", "Returns", "Raises", "Notes", "References", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text, section
    assert "Accuracy:" in text
    assert "Reproducibility:" in text
    documented = text.partition("Parameters\n")[2].partition("Returns\n")[0]
    heads = [line for line in documented.splitlines() if line and not line.startswith(" ")]
    named = {word.strip(" :") for head in heads for word in head.partition(" : ")[0].split(",")}
    assert set(inspect.signature(function).parameters) <= named


@pytest.mark.parametrize("name", [*RUNTIME, "vjp"])
def test_documentation_of_the_runtime(name: str) -> None:
    text = inspect.getdoc(getattr(fastnorm, name))
    assert text is not None
    assert "\nExamples\n--------\n" in text


@pytest.mark.parametrize("name", OPS)
def test_annotations_can_be_evaluated(name: str) -> None:
    assert "return" in inspect.get_annotations(getattr(fastnorm, name), eval_str=True)


def test_stub_lists_what_the_extension_has(native: ModuleType) -> None:
    functions = {name for name, value in vars(native).items() if callable(value) and not name.startswith("_")}
    assert functions == set(stub())


@pytest.mark.parametrize("name", OPS)
def test_extension_states_its_signature(name: str, native: ModuleType) -> None:
    """Where a compiled function carries a signature for help(), it is the public one."""
    if getattr(getattr(native, name), "__text_signature__", None) is None:
        pytest.skip("no __text_signature__")
    public = inspect.signature(getattr(fastnorm, name))
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in public.parameters.values()]
    assert list(inspect.signature(getattr(native, name)).parameters.values()) == plain


MODULES = sorted({getattr(fastnorm, name).__module__.partition(".")[2] for name in OPS} | {"runtime", "_vjp"})


@pytest.mark.parametrize("module", MODULES)
def test_modules_export_what_the_package_does(module: str) -> None:
    names = importlib.import_module(f"fastnorm.{module}").__all__
    assert set(names) <= set(fastnorm.__all__)
    for name in names:
        assert getattr(fastnorm, name).__module__ == f"fastnorm.{module}"


def test_star_import() -> None:
    subprocess.run(
        [sys.executable, "-c", "from fastnorm import *; layer_norm, gelu, vjp"], check=True, timeout=60
    )
