"""Make the built book work from disk, with no network and a clean browser console.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

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


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step with Sphinx."""
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
