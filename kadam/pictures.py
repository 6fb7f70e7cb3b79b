"""In the kernels that execute a book's notebooks a picture is drawn once: an edit draws again only the figures that it changes.

A picture is known by everything that its figure holds, and by the code that draws.
"""

import functools
import hashlib
import io
import json
import platform
from importlib.metadata import version
from pickle import Pickler, PicklingError
from types import FunctionType
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.transforms import TransformNode

from kadam.lab.records import committed, files
from kadam.lab.records.closure import whole_hash
from kadam.report import drawn


def publish(shell: Any) -> None:
    """In a notebook's kernel, given its shell: show figures as pages do; see :func:`kadam.report.drawn.publish`."""
    drawn.publish(shell, picture)


def picture(figure: Figure) -> dict[str, str]:
    """What :func:`kadam.report.drawn.picture` makes of it, from ``_build/pictures`` where it was made before."""
    root, name = committed.repository(), key(figure)
    if root is None or name is None:
        return drawn.picture(figure)
    path = root / "_build" / "pictures" / f"{name}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    made = drawn.picture(figure)
    with files.whole_file(path) as aside:
        aside.write_text(json.dumps(made))
    return made


def key(figure: Figure) -> str | None:
    """Names all that decides a picture, the same for equal figures in every process.

    None where a notebook's own code decides, or something else of which Python cannot tell what it holds.
    """
    content = io.BytesIO()
    try:
        _Told(content).dump((figure, _code(), sorted(plt.rcParams.items())))
    except (PicklingError, TypeError, AttributeError):
        return None
    return hashlib.sha256(content.getvalue()).hexdigest()


@functools.cache
def _code() -> tuple[str, str, str]:
    return whole_hash(), version("matplotlib"), platform.python_version()


class _Told(Pickler):
    """Tells what an object holds, never to be loaded: without places in memory, and without code that it could only name."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, TransformNode):
            state: Any = value.__getstate__()
            return object, (), (type(value), {**state, "_parents": None})  # they are kept by their places in memory
        if isinstance(value, FunctionType | type) and value.__module__ == "__main__":
            raise PicklingError(f"{value.__qualname__}: defined in the notebook")
        if isinstance(value, FunctionType) and "<" in value.__qualname__:  # that of a function or a line, which has no name
            held = [cell.cell_contents for cell in value.__closure__ or ()]
            return object, (), (value.__module__, value.__qualname__, value.__defaults__, held)
        return NotImplemented
