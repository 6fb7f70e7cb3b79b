"""Make every page anew when one of the book's own extensions has changed: Sphinx looks at sources and settings alone.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Register a setting that says what the extensions are."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    app.add_config_value("kadam_extensions", hashlib.sha256(sources).hexdigest(), "env")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
