"""Make pages anew when one of the book's own extensions or styles has changed: Sphinx looks at sources and settings alone.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent


def setup(app: Sphinx) -> dict[str, bool]:
    """Register settings that say what the extensions and the styles are, and what a change of either makes anew."""
    for folder, kind, rebuilds in ((HERE, "*.py", "env"), (HERE.parent / "_static", "*", "html")):
        content = b"".join(path.read_bytes() for path in sorted(folder.glob(kind)))
        app.add_config_value(f"kadam_{folder.name.strip('_')}", hashlib.sha256(content).hexdigest(), rebuilds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
