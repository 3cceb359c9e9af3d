"""The gallery: which examples the build runs, and the stored results of the others."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent
RESULTS = DOCS / "gallery_results"  # NAME.txt: what an example printed; NAME.svg or NAME.png: its picture
QUICK = ("first_training", "transformer_block")  # a few seconds: run in each build
ORDER = (
    *QUICK,
    "transformer",
    "gpt2_numpy",
    "regression",
    "torch_adopt",
    "dask_scores",
    "poly_loss",
    "deep_stack",
    "swiglu",
    "rms_norm",
    "sentence_embeddings",
    "distributed_batch_norm",
)
SHARED = ("support", "small_transformer")  # modules of several examples, no pages


class Order:
    """The place of an example in the gallery."""

    def __init__(self, folder: str) -> None:
        """Ignore the folder: there is one."""

    def __repr__(self) -> str:
        """Return what is the same from build to build."""
        return "Order"

    def __call__(self, name: str) -> int:
        """Return the place of a file."""
        return ORDER.index(Path(name).stem)


class Arguments:
    """The command line of an example that is run: its picture is not to lie in the tree."""

    def __repr__(self) -> str:
        """Return what is the same from build to build."""
        return "Arguments"

    def __call__(self, settings: dict[str, Any], variables: dict[str, Any]) -> list[str]:
        """Return the arguments of a script."""
        name = f"{Path(variables['src_file']).stem}.png"
        return ["--plot", os.path.join(tempfile.gettempdir(), name)]


SETTINGS = {
    "examples_dirs": [str(DOCS.parent / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": rf"/({'|'.join(QUICK)})\.py$",
    "ignore_pattern": rf"^({'|'.join(SHARED)})\.py$",  # of names without their folder
    "nested_sections": False,
    "within_subsection_order": Order,
    "reset_argv": Arguments(),
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "download_all_examples": False,
}


def with_stored_results(page: str, source: str) -> str:
    """Return the page of an example that was not run with what it printed and drew, before its code."""
    folder, _, name = page.rpartition("/")
    printed = RESULTS / f"{name}.txt"
    if folder != "gallery" or name in QUICK or not printed.exists():
        return source
    picture = next(RESULTS.glob(f"{name}.[ps][nv]g"), None)
    shown = ["What it shows", "-------------", ""]
    if picture is not None:
        shown += [f".. image:: /gallery_results/{picture.name}", f"   :alt: What {name}.py draws", ""]
    command, *lines = printed.read_text("utf-8").splitlines()
    shown += [".. code-block:: console", "", f"   {command}", *(f"   {line}" for line in lines), ""]
    shown += ["The program", "-----------", "", ""]
    marker = ".. GENERATED FROM PYTHON SOURCE LINES"
    introduction, code = source.split(marker, 1)
    return introduction + "\n".join(shown) + marker + code
