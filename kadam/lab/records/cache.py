"""The folder for everything that can be made again: records, checkpoints, downloads."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """$KADAM_CACHE, else the platform's user cache folder for kadam. It need not exist yet. ``ValueError`` where it cannot."""
    folder = Path(os.environ.get("KADAM_CACHE") or user_cache_path("kadam", appauthor=False)).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"KADAM_CACHE must name a folder, got {str(folder)!r}, and {there} is a file")
    return folder
