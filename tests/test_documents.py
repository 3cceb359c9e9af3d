"""The documents: their links lead to files of the tree, and their examples do what they say."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/experiments/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
GENERATED = ("gallery/", "api/")  # pages that the build of the site makes
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.M | re.S)
IMPORT = re.compile(r"^(?:>>> )?(?:import|from) (\w+)", re.M)


def blocks(document: Path) -> list[tuple[str, str]]:
    """The examples of a document: the language, python or pycon, and the text."""
    return BLOCK.findall(document.read_text("utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        if "://" not in target and not target.startswith(GENERATED):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", [*filter(blocks, DOCUMENTS)], ids=lambda path: path.name)
def test_examples(document: Path, native: ModuleType) -> None:
    """The blocks of a document run one after another; those that need a package that is not there are left
    out.
    """
    names: dict[str, object] = {}
    for number, (language, text) in enumerate(blocks(document)):
        if any(importlib.util.find_spec(package) is None for package in IMPORT.findall(text)):
            continue
        if language == "python":
            exec(compile(text, f"{document.name}, block {number}", "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(text, names, document.name, str(document), 0)
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(test, clear_globs=False)
        names.update(test.globs)
        assert runner.failures == 0, f"block {number} of {document.name}"


def test_every_block_says_its_language() -> None:
    """What is neither run nor a command is not an example of Python."""
    known = {"python", "pycon", "bash", "", "{include}", "{toctree}", "{raw}", "{image}"}
    for document in DOCUMENTS:
        for fence in re.findall(r"^```(\S*)[^\n]*\n(?:.*?)^```$", document.read_text("utf-8"), re.M | re.S):
            assert fence in known, (document.name, fence)
