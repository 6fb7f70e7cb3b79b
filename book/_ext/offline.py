"""Make the built book work from disk, with no network, a clean browser console and roles that readers of screens know.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# The events at which sphinx_thebe writes its scripts into pages.
THEBE_EVENTS = ("env-before-read-docs", "doctree-resolved")


def configure(app: Sphinx, config: Config) -> None:
    """Keep Thebe out of the pages.

    Jupyter Book loads Thebe even where it is off. Each page then declares ``THEBE_JS_URL`` twice, which is an error.
    """
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
    app.connect("html-page-context", without_deprecated_roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
