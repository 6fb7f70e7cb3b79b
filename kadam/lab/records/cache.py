"""The folder for everything that can be made again: records, checkpoints, downloads."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """$KADAM_CACHE, else the platform's user cache folder for kadam. It need not exist yet."""
    return Path(os.environ.get("KADAM_CACHE") or user_cache_path("kadam", appauthor=False)).absolute()
