"""The documentation site: `nox -s docs`, or ``python -m sphinx -W docs build/site`` where fastnorm and its
extra `docs` are installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_ext"))

import gallery  # noqa: E402
import generate  # noqa: E402
import plots  # noqa: E402

# Before Sphinx looks which pages and pictures there are.
generate.write(DOCS)
plots.draw(DOCS / "_generated" / "gains.svg")

project = "fastnorm"
author = "the fastnorm developers"
_version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
assert _version is not None
version = release = _version[1]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_ext", "_generated"]
templates_path = ["_templates"]
# A name that stands in single backquotes in a docstring leads to it where it is one of ours.
default_role = "autolink"
# The results of the gallery's settings below cannot be stored from run to run, which is no fault.
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say what arguments are
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"fastnorm {version}"
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []}
project_copyright = "the fastnorm developers, MIT licence"

sphinx_gallery_conf = gallery.SETTINGS

# Documents at the root of the tree are pages of the site under these names.
PAGES = {"README.md": "index.md", "HACKING.md": "hacking.md", "CHANGELOG.md": "changelog.md"}


def read(app: Sphinx, name: str, content: list[str]) -> None:
    """Let links to the documents at the root and to the examples lead to their pages, and fill in what the
    gallery has stored.
    """
    content[0] = content[0].replace("](../examples/)", "](gallery/index.rst)")
    for document, page in PAGES.items():
        content[0] = content[0].replace(f"](../{document}#contracts)", "](contracts.md)")
        content[0] = content[0].replace(f"](../{document}", f"]({page}")
    content[0] = gallery.with_stored_results(name, content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this configuration adds."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
