"""One rule for all: names, signatures and documentation of the ops agree wherever they stand."""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import fastnorm
import pytest
from conftest import REFERENCE_ONLY
from fastnorm import reference
from fastnorm._arguments.gradients import ruled_names
from fastnorm._specs.spec import backward_name
from ops import SPECS
from processes import succeeds

WITHOUT_BACKWARD = ("clip_grad_norm", "moments")
OPS = sorted(set(reference.__all__) - set(WITHOUT_BACKWARD))
FORWARD = [name for name in OPS if not name.endswith("_backward")]
NOT_OPS = ("reference", "vjp")
RUNTIME = sorted(set(fastnorm.__all__) - set(OPS) - set(NOT_OPS))
# The losses give a number unless reduction is 'none'.
WITHOUT_OUT = (
    "mlp_forward",
    "bce_with_logits",
    "cross_entropy",
    "focal_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "mse_loss",
    "nll_loss",
    "poly_focal_loss",
    "poly_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
)
# Forward keywords that have no meaning in a backward.
FORWARD_ONLY = {"out", "return_stats", "return_grad", "return_weights", "momentum", "running_correction"}


def rule_of(name: str) -> Callable[..., Any]:
    """The argument rule of an op, in the file of its family."""
    family = getattr(fastnorm, name).__module__.rpartition(".")[2]
    rule: Callable[..., Any] = getattr(importlib.import_module(f"fastnorm._arguments.{family}"), name)
    return rule


def twin_of(name: str) -> Callable[..., Any]:
    """The function behind `fastnorm.reference.<op>`, in the file of its family."""
    family = getattr(fastnorm, name).__module__.rpartition(".")[2]
    twin: Callable[..., Any] = getattr(importlib.import_module(f"fastnorm.reference.{family}"), name)
    return twin


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
        assert callable(rule_of(name))
        assert callable(twin_of(name))


@pytest.mark.parametrize("name", OPS)
def test_an_op_is_one_object(name: str, native: ModuleType) -> None:
    """It has the attributes of the `def` that states it, is the same from everywhere, and pickles by name."""
    op = getattr(fastnorm, name)
    assert type(op) is native.Op
    assert op.__name__ == op.__qualname__ == name
    assert sys.modules[op.__module__].__dict__[name] is op
    assert op.__signature__ == inspect.signature(op) == inspect.signature(op.__wrapped__)
    assert op.__doc__ == op.__wrapped__.__doc__
    assert op.reference is getattr(reference, name)
    assert op.native is op.native.native is op.reference.native
    assert op.reference is op.reference.reference is op.native.reference
    for variant in (op, op.native, op.reference):
        assert inspect.signature(variant) == op.__signature__
        assert pickle.loads(pickle.dumps(variant)) is variant
        assert copy.copy(variant) is copy.deepcopy(variant) is variant
        assert name in repr(variant)


@pytest.mark.parametrize("name", FORWARD)
def test_an_op_knows_its_backward(name: str) -> None:
    op = getattr(fastnorm, name)
    assert op.backward is getattr(fastnorm, backward_name(name))
    assert op.backward.backward is None


@pytest.mark.parametrize("name", OPS)
def test_argument_rules_take_the_same_names(name: str) -> None:
    assert list(inspect.signature(rule_of(name)).parameters) == [
        "rules",
        *ruled_names(getattr(fastnorm, name)),
    ]
    assert len(inspect.signature(twin_of(name)).parameters) in (  # one, *arguments, where the rules name them
        1,
        len(ruled_names(getattr(fastnorm, name))),
    )


def test_a_def_must_name_what_the_native_function_names(native: ModuleType) -> None:
    """Names, their order and their number are compared when the op is made."""

    def relu(x: object, *, to: object = None) -> None:
        """Another keyword."""

    with pytest.raises(TypeError, match=r"relu takes \(x, to\), its native function \(x, out\)"):
        native.Op(relu)

    def tanh(x: object) -> None:
        """A keyword is missing."""

    with pytest.raises(TypeError, match=r"tanh takes 1 arguments, its native function 2"):
        native.Op(tanh)

    def unheard_of(x: object) -> None:
        """No such op."""

    with pytest.raises(TypeError, match="the extension has no op 'unheard_of'"):
        native.Op(unheard_of)


def test_a_def_must_state_what_a_call_does(native: ModuleType) -> None:
    """Every argument has a name by which it can be given, and a default that belongs to it."""
    refused = "relu: every argument of an op can be given by its name"

    def relu(x: object, /, *, out: object = None) -> None:
        """An argument without a name for callers."""

    with pytest.raises(TypeError, match=refused):
        native.Op(relu)

    def variadic(x: object, *rest: object, out: object = None, **others: object) -> None:
        """Arguments that an op would refuse."""

    variadic.__name__ = "relu"
    with pytest.raises(TypeError, match=refused):
        native.Op(variadic)

    def with_defaults(x: object, *, out: object = None) -> None:
        """More defaults than arguments."""

    with_defaults.__name__ = "relu"
    with_defaults.__defaults__ = (1, 2, 3)
    with pytest.raises(TypeError, match="relu has 3 defaults for 1 arguments"):
        native.Op(with_defaults)


def test_the_type_of_ops_cannot_be_changed(native: ModuleType) -> None:
    """What vectorcall would not follow, and what would stay without __call__ once taken back."""
    with pytest.raises(TypeError, match="immutable type"):
        native.Op.__call__ = lambda *_: None


def test_an_op_shows_whatever_its_module_is(native: ModuleType) -> None:
    def relu(x: object, *, out: object = None) -> None:
        """An op of another module."""

    op = native.Op(relu)
    op.__module__ = 3
    assert repr(op) == "<op 3.relu>"


def test_ops_are_collected_with_their_defaults(native: ModuleType) -> None:
    class Default:
        """Something that can hold an op."""

    default = Default()

    def relu(x: object, *, out: object = default) -> None:
        """An op that its own default holds."""

    default.op = native.Op(relu)  # type: ignore[attr-defined]
    alive = weakref.ref(default.op)  # type: ignore[attr-defined]
    del relu, default
    gc.collect()
    assert alive() is None


def test_an_op_is_a_method_where_a_function_is() -> None:
    """In the body of a class, as the functions of a module are."""

    class Layer:
        """A class with an op."""

        activation = fastnorm.relu

    with pytest.raises(TypeError):
        Layer().activation()
    assert Layer.activation is fastnorm.relu


@pytest.mark.parametrize("name", FORWARD)
def test_the_rule_for_backwards(name: str) -> None:
    """dy, the forward's positional arguments, the forward's keywords that mean something, stats where
    returned, or y where the gradient follows from it, and out.
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
    expected = {key: default for key, default in keywords.items() if key not in FORWARD_ONLY} | {"out": None}
    if "return_stats" in keywords:
        expected["stats"] = None
    if any(spec.name == name and spec.takes_result for spec in SPECS):
        expected["y"] = None
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


def test_reload() -> None:
    """A notebook that loads the package again keeps its ops."""
    succeeds(
        """
import importlib, fastnorm
before = {name: getattr(fastnorm, name) for name in fastnorm.__all__}
importlib.reload(fastnorm)
assert before == {name: getattr(fastnorm, name) for name in fastnorm.__all__}
""",
        FASTNORM_BACKEND=fastnorm.get_backend(),
    )


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_first_calls_in_many_threads(backend: str) -> None:
    """Each thread is the first to need the twins of its family, which import each other."""
    if backend == "native" and REFERENCE_ONLY:
        pytest.skip("FASTNORM_BACKEND=reference")
    succeeds(
        """
import sys, threading, time, fastnorm
from fastnorm._op import OPS
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("fastnorm.reference"):
            time.sleep(0.02)  # for the other threads to begin
sys.meta_path.insert(0, Slow())
ops = list({op.__module__: op for op in OPS.values()}.values())
errors = []
barrier = threading.Barrier(len(ops))
def first(op):
    barrier.wait()
    try:
        op.reference(**dict.fromkeys(op.__signature__.parameters, [1.0, 2.0]))
    except (TypeError, ValueError):
        pass
    except BaseException as error:
        errors.append(error)
threads = [threading.Thread(target=first, args=(op,)) for op in ops]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
""",
        FASTNORM_BACKEND=backend,
    )


def test_an_op_of_the_twins_is_one_object() -> None:
    """Where the twins are the backend of the process, as test_an_op_is_one_object asks of compiled ones."""
    succeeds(
        """
import copy, inspect, pickle
import fastnorm
from fastnorm._op import OPS
for name, op in OPS.items():
    assert op.native is op.native.native is op.reference.native
    assert op.reference is op.reference.reference is op.native.reference
    assert op.reference is getattr(fastnorm.reference, name)
    assert len({repr(variant) for variant in (op, op.native, op.reference)}) == 3
    for variant in (op, op.native, op.reference):
        assert inspect.signature(variant) == op.__signature__
        assert pickle.loads(pickle.dumps(variant)) is variant
        assert copy.copy(variant) is copy.deepcopy(variant) is variant
    if op.backward is None:
        assert op.native.backward is op.reference.backward is None
    else:
        assert op.native.backward is op.backward.native
        assert op.reference.backward is op.backward.reference
""",
        FASTNORM_BACKEND="reference",
    )
