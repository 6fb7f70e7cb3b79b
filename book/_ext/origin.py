"""Link the built book to the repository that it was built from, which is where ``git remote get-url origin`` says.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``. A copy without git or a remote has no links.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

# A remote as git knows it: https://host/owner/name.git, ssh://git@host:22/owner/name, git@host:owner/name.
REMOTE = re.compile(r"(?:\w+://)?(?:[^@/]+@)?(?P<host>[\w.-]+)(?::\d+/|[:/])(?P<path>[\w./-]+?)(?:\.git)?/?")
HOSTS = ("github.com", "gitlab.com", "bitbucket.org")  # those that the theme has a button for


def address(root: Path) -> str | None:
    """The web page of the repository whose working tree is ``root``; None where there is none that readers could open."""
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.resolve().parent)}  # not a repository that root lies in
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, env=alone)
    except OSError:
        return None
    found = REMOTE.fullmatch(asked.stdout.strip())
    return f"https://{found['host']}/{found['path']}" if found and found["host"] in HOSTS else None


def configure(app: Sphinx, config: Config) -> None:
    """Turn the theme's button on where there is a page for it to lead to."""
    url = address(Path(app.srcdir).parent)
    config["html_theme_options"] |= {"repository_url": url or "", "use_repository_button": url is not None}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step with Sphinx."""
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
