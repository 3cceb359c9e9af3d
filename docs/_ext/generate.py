"""What the site says of the ops, by their specifications and by calls of them; and the pages of the API."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
from fastnorm._specs import Contract, Spec, as_tuple, dtypes, spec_of, specs

FAMILIES = {  # of ops
    "norms": "Norms",
    "channel_norms": "Channel norms",
    "residual_norms": "Residual norms",
    "activations": "Activations",
    "gates": "Gates",
    "softmax": "Softmax",
    "class_losses": "Losses over classes",
    "elementwise_losses": "Losses element by element",
    "linear": "Dense layers",
    "mlp": "Networks",
    "attention": "Attention",
    "embeddings": "Embeddings",
    "regularisers": "Regularisation",
}
PAGES = {  # of the API: title by module
    **FAMILIES,
    "memory": "Memory networks",
    "optim": "Optimisers",
    "schedules": "Learning rates",
    "_vjp": "Vector-Jacobian products",
    "runtime": "Runtime",
    "sklearn": "scikit-learn",
}
UNITS = {
    "ULP": "{} ULP",
    "norm": "{} · 2<sup>-24</sup> of the parts",
    "relative": "{} of the norm",
}


def write(docs: Path) -> None:
    """Write the tables that pages include, and the pages of the API."""
    store(docs / "_generated" / "ops.md", ops())
    store(docs / "_generated" / "types.md", types())
    store(docs / "api" / "index.rst", contents())
    for module in PAGES:
        store(docs / "api" / f"{module.lstrip('_')}.rst", names(module))


def store(path: Path, lines: Iterator[str]) -> None:
    """Write a file where it is not the same already, for then it is not read again."""
    text = "\n".join(lines) + "\n"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, encoding="utf-8")


def contents() -> Iterator[str]:
    """Give the page that leads to the families."""
    yield from (
        "API",
        "===",
        "",
        "All public names, by family. Ops and classes stand in ``fastnorm``, the estimators in",
        "``fastnorm.sklearn``. The twin of an op has its name and signature in ``fastnorm.reference``.",
        "",
        ".. toctree::",
        "   :maxdepth: 1",
        "",
        *(f"   {module.lstrip('_')}" for module in PAGES),
    )


def names(module: str) -> Iterator[str]:
    """Give the page of a family, with the names that its module makes public."""
    found = importlib.import_module(f"fastnorm.{module}").__all__
    assert module == "sklearn" or set(found) <= set(fastnorm.__all__)
    home = "fastnorm.sklearn" if module == "sklearn" else "fastnorm"
    yield from (PAGES[module], "=" * len(PAGES[module]), "", f".. currentmodule:: {home}", "")
    yield from (".. autosummary::", "   :toctree: generated", "", *(f"   {name}" for name in found))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def link(op: str) -> str:
    """Return a link to the page of an op."""
    return f"{{py:obj}}`~fastnorm.{op}`"


def promised(contract: Contract) -> str:
    """Return how large an error may be."""
    return "exact" if contract.bound == 0 else UNITS[contract.unit].format(f"{contract.bound:g}")


def ops() -> Iterator[str]:
    """Give a table of all ops for each family."""
    for family, title in FAMILIES.items():
        members = [spec for spec in specs() if spec.forward.__module__ == f"fastnorm.{family}"]
        assert members, family
        yield from ("", f"### {title}", "")
        rows = [row(spec) for spec in members]
        yield from table(
            ["op", "takes", "gradients of", "`out=`", "largest error, float32", "of gradients"], rows
        )
    known = {spec.forward.__module__.rpartition(".")[2] for spec in specs()}
    assert known <= FAMILIES.keys(), known - FAMILIES.keys()


def row(spec: Spec) -> list[str]:
    """Return the line of an op."""
    return [
        link(spec.name),
        ", ".join(f"`{name}`" for name in spec.positional),
        ", ".join(f"`{name}`" for name in spec.differentiable),
        "yes" if "out" in spec.keywords else "no",
        promised(spec.contract),
        promised(spec.backward_contract),
    ]


def types() -> Iterator[str]:
    """Give a table of the types that results have, as layer_norm and its backward return them."""
    rows = []
    for dtype in dtypes():
        parameters = sorted({dtype, np.dtype(np.float32)} if dtype.itemsize == 2 else {dtype}, key=str)
        for parameter in parameters:
            x = np.ones((2, 4), dtype)
            weight, bias = np.ones((2, 4), parameter)
            y, mean, rstd = fastnorm.layer_norm(x, weight, bias, return_stats=True)
            gradients: tuple[Any, ...] = as_tuple(fastnorm.layer_norm_backward(y, x, weight, bias))
            assert mean.dtype == rstd.dtype
            assert gradients[1].dtype == gradients[2].dtype
            found = (dtype, parameter, y.dtype, mean.dtype, gradients[0].dtype, gradients[1].dtype)
            rows.append([f"`{kind.name}`" for kind in found])
    assert spec_of("layer_norm").differentiable == ("x", "weight", "bias")
    yield from table(
        ["x", "weight, bias", "y", "mean, rstd", "dx", "dweight, dbias"],
        rows,
    )
