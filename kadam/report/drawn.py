"""What a figure gives a page: its picture, and a table of every point of every curve, dot, bar and map, to take along."""

import base64
import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kadam.report.style import Axes

OF_A_RECORD = ("experiment", "profile", "sha256")
HEAD = ("panel", "title", "kind", "label", "x", "y", "value")

Row = tuple[float | str, ...]  # x, y and, where a colour tells one, a value


def as_csv(figure: Figure) -> str:
    """The table; its columns are ``HEAD``. A guide that runs from one edge to the other is no data."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEAD)
    for i, axes in enumerate(figure.axes):
        for artist, kind, points in _drawn(axes):
            words = (axes.get_title("left") or axes.get_title(), kind, _label(axes, artist))
            named = (i + 1, *(" ".join(one.split()) for one in words))
            rows.writerows((*named, *(x if isinstance(x, str) else f"{x:.6g}" for x in point)) for point in points)
    return text.getvalue()


def _drawn(axes: Axes) -> Iterator[tuple[Artist, str, list[Row]]]:
    """Everything on an axes that stands for data: the artist, its kind, its points."""
    for line in axes.lines:
        if all(line.get_transform().contains_branch_seperately(axes.transData)):
            yield line, "curve", [(*point, "") for point in np.asarray(line.get_xydata(), float)]
    for one in axes.collections:
        if isinstance(one, QuadMesh):
            yield one, "map", _cells(np.asarray(one.get_coordinates()), np.asarray(one.get_array()))
        elif isinstance(one, LineCollection):
            yield one, "segments", [(*point, "") for segment in one.get_segments() for point in np.asarray(segment)]
        elif isinstance(one, PathCollection):
            values: Any = one.get_array()
            offsets: Any = np.ma.filled(np.ma.asarray(one.get_offsets(), float), np.nan)
            told = [""] * len(offsets) if values is None or len(values) != len(offsets) else [*np.ma.filled(values, np.nan)]
            yield one, "dots", [(*point, value) for point, value in zip(offsets, told, strict=True)]
    for image in axes.images:
        if (values := np.asarray(image.get_array(), float)).ndim == 2:
            yield image, "map", _cells(_corners(image, values.shape), values)
    for bar in axes.patches:
        if isinstance(bar, Rectangle):
            yield bar, "bar", [(bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height(), "")]


def _corners(image: Any, shape: tuple[int, ...]) -> Any:
    """Of an image's cells, (rows + 1, columns + 1, 2)."""
    left, right, bottom, top = image.get_extent()
    y = (bottom, top) if image.origin == "lower" else (top, bottom)
    return np.stack(np.meshgrid(np.linspace(left, right, shape[1] + 1), np.linspace(*y, shape[0] + 1)), axis=-1)


def _cells(corners: Any, values: Any) -> list[Row]:
    """The middle of every cell of a map, and its value. ``corners``: (rows + 1, columns + 1, 2), or the middles themselves."""
    values = np.ma.filled(np.ma.asarray(values, float), np.nan)
    if corners.shape[0] == values.shape[0] + 1:
        corners = (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1]) / 4
    return [(x, y, value) for (x, y), value in zip(corners.reshape(-1, 2), values.reshape(-1), strict=True)]


def _label(axes: Axes, artist: Artist) -> str:
    """An artist's name in the legend, or that of the bars with which it belongs together."""
    owners = [held for held in axes.containers if artist in _parts(held)]
    names = [str(artist.get_label()), *(str(held.get_label()) for held in owners)]
    return next((name for name in names if not name.startswith("_")), "")


def _parts(held: Container) -> list[Any]:
    return [part for one in held if one is not None for part in (one if isinstance(one, tuple) else (one,))]


HEAVY = 150_000  # bytes of an SVG above which a page shows a PNG instead, with so many dots per inch
SHARP = 200  # twice the pixels of the column


def picture(figure: Figure) -> dict[str, str]:
    """By kind: SVG, which stays sharp at every size, or PNG where that would be heavy. Equal figures give equal bytes."""
    drawn = _printed(figure, "svg", metadata={"Date": None})
    if len(drawn) <= HEAVY:
        return {"image/svg+xml": drawn.decode()}
    figure.set_layout_engine("none")  # everything has its place now
    return {"image/png": base64.b64encode(_printed(figure, "png", dpi=SHARP)).decode()}


def _printed(figure: Figure, form: str, **settings: Any) -> bytes:
    with plt.rc_context({"svg.hashsalt": "kadam"}), io.BytesIO() as file:  # so that names in it do not change
        figure.savefig(file, format=form, bbox_inches="tight", **settings)
        return file.getvalue()


def publish(shell: Any, picture: Callable[[Figure], dict[str, str]]) -> None:
    """In a notebook's kernel, given its shell: a figure that a cell leaves open gives table, what drew it, and picture."""

    def tell() -> None:
        for number in plt.get_fignums():
            figure = plt.figure(number)
            records = [{name: one.get(name, "") for name in OF_A_RECORD} for one in getattr(figure, "drawn_from", [])]
            shell.display_pub.publish({"text/csv": as_csv(figure)}, {"drawn by": figure.get_gid() or "", "records": records})
            figure.stale = False  # else pyplot draws it, too, and nobody sees that

    shell.events.register("post_execute", tell)
    shell.display_formatter.mimebundle_formatter.for_type(Figure, picture)
