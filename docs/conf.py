"""How the documentation site is built; `make docs` does it.

The source is the checkout itself, so that every page reads well, with working links, on its own and on the site.
"""

import re
import warnings
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "Melascope"
version = release = re.search(r'__version__ = "(.+)"', (ROOT / "src/melascope/__init__.py").read_text())[1]
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension"]
include_patterns = ["*.md", "docs/**.md", "docs/reference/**.rst", "notebooks/*.md"]
exclude_patterns = [".venv", "build", "site", "src", "tests", "tools"]
suppress_warnings = [
    "ref.python",  # a word of a docstring that names two things is left without a link
    "autoapi.python_import_resolution",  # what a module imports is described where it is defined
]
default_role = "py:obj"  # `a word` in a docstring is code, and a link where it names something
myst_heading_anchors = 3

html_theme = "furo"  # brings its own styles and scripts, and uses the fonts of the reader's machine
html_title = "Melascope"
html_copy_source = False
html_show_copyright = False
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}  # the home page is README.html; this leads there

# The reference walks the package by itself, and reads it without running it: a new module needs nothing here.
warnings.filterwarnings("ignore", module="astroid")  # of expressions too deep for it, which are not described
autoapi_dirs = ["src/melascope"]
autoapi_ignore = ["*/melascope/cli/*"]
autoapi_root = "docs/reference"
autoapi_template_dir = "docs/templates/autoapi"
autoapi_options = ["members", "undoc-members", "show-inheritance"]
autoapi_add_toctree_entry = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Where there is a network, `make docs-links` asks every address outside the site.
linkcheck_timeout = 20

# A page is in the navigation if its file is there, so that parts of the project need not know of each other.
NAVIGATION = {
    "Guides": [
        f"docs/guides/{name}"
        for name in ("first-model", "from-python", "your-images", "report", "machines", "backbone")
    ],
    "How it works": [
        f"docs/{name}" for name in ("design", "fetch", "audit", "training", "trust", "inference", "web")
    ],
    "Reference": ["docs/models", "notebooks/README", "docs/reference/melascope/index"],
    "The project": ["CONTRIBUTING", "CHANGELOG", "docs/lab/2026-11-training", "docs/lab/2026-11-gate"],
}


def navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the home page the table of contents, which would only disturb where it is read on its own."""
    if name == root_doc:
        for caption, pages in NAVIGATION.items():
            listed = "\n".join(page for page in pages if page in app.project.docnames)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def whole(_: Sphinx, what: str, *event: Any) -> None:
    """Keep the first sentence of a property or an attribute: Napoleon takes what is before a colon for a type."""
    if what in {"property", "attribute", "data"}:
        event[-1][:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", navigation)
    app.connect("autodoc-process-docstring", whole, priority=400)
