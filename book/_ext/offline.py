"""Make the built book work from disk, with no network, a clean browser console and roles that readers of screens know.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# Target under _static/: (installed package, file inside it).
VENDORED = {"vendor/mathjax.js": ("sphinx-mathjax-offline", "static/mathjax/tex-svg-full.js")}
# The events at which sphinx_thebe writes its scripts into pages.
THEBE_EVENTS = ("env-before-read-docs", "doctree-resolved")


def copy_vendored(app: Sphinx) -> None:
    """Copy the vendored scripts into the build; the pages that have formulas load MathJax from there."""
    if app.builder.format != "html":
        return
    for target, (package, source) in VENDORED.items():
        destination = Path(app.outdir, "_static", target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with as_file(files(package) / source) as path:
            shutil.copyfile(path, destination)


def configure(app: Sphinx, config: Config) -> None:
    """Point Sphinx at the local MathJax, and keep Thebe out of the pages.

    Jupyter Book loads Thebe even where it is off. Each page then declares ``THEBE_JS_URL`` twice, which is an error.
    """
    config["mathjax_path"] = "vendor/mathjax.js"
    for event in THEBE_EVENTS:
        for listener in list(app.events.listeners[event]):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def without_deprecated_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A list of works is read as text: the role that docutils gives its entries was taken out of ARIA."""
    for role in (' role="doc-biblioentry"', ' role="list"'):
        context["body"] = context.get("body", "").replace(role, "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("builder-inited", copy_vendored)
    app.connect("html-page-context", without_deprecated_roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
