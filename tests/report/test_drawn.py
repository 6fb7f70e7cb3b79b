"""A figure's table holds what it draws, and nothing that is only a guide."""

import csv
import io
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from kadam.report import drawn, style


def rows(figure):
    return list(csv.DictReader(io.StringIO(drawn.as_csv(figure))))


def points(figure, kind):
    return [(float(row["x"]), float(row["y"]), row["value"]) for row in rows(figure) if row["kind"] == kind]


def test_curves_dots_and_bars_are_told_with_their_labels():
    figure, (left, right) = plt.subplots(1, 2)
    left.set_title("losses\nof Adam", loc="left")
    left.plot([1, 2], [3.0, np.nan], label="Adam")
    left.scatter([1, 2], [5, 6], c=[0.5, 0.25], label="seeds")
    right.bar([1, 2], [0.25, -4], label="counts")
    found = rows(figure)
    assert list(found[0]) == list(drawn.HEAD)
    assert [tuple(row.values()) for row in found] == [
        ("1", "losses of Adam", "curve", "Adam", "1", "3", ""),
        ("1", "losses of Adam", "curve", "Adam", "2", "nan", ""),
        ("1", "losses of Adam", "dots", "seeds", "1", "5", "0.5"),
        ("1", "losses of Adam", "dots", "seeds", "2", "6", "0.25"),
        ("2", "", "bar", "counts", "1", "0.25", ""),
        ("2", "", "bar", "counts", "2", "-4", ""),
    ]


def test_guides_are_left_out_and_bars_of_errors_are_not():
    figure, axes = plt.subplots()
    axes.axhline(0)
    axes.axvline(0)
    axes.errorbar([1, 2], [3, 4], yerr=0.5, label="mean")
    assert points(figure, "curve") == [(1, 3, ""), (2, 4, "")]
    assert points(figure, "segments") == [(1, 2.5, ""), (1, 3.5, ""), (2, 3.5, ""), (2, 4.5, "")]
    assert {row["label"] for row in rows(figure)} == {"mean"}


MAP = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
MIDDLES = [(x, y, str(int(MAP[y, x]))) for y in range(2) for x in range(3)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: axes.pcolormesh(np.arange(4) - 0.5, np.arange(3) - 0.5, MAP),
        lambda axes: axes.pcolormesh(np.arange(3), np.arange(2), MAP, shading="gouraud"),
        lambda axes: axes.imshow(MAP),
        lambda axes: axes.imshow(MAP, origin="lower"),
    ],
    ids=["cells", "corners", "image", "image from below"],
)
def test_a_map_is_told_by_the_middles_of_its_cells(draw):
    figure, axes = plt.subplots()
    draw(axes)
    assert sorted(points(figure, "map")) == sorted(MIDDLES)


def test_a_kernel_publishes_the_table_of_every_open_figure_and_what_drew_it():
    published, hooks = [], {}
    shell = SimpleNamespace(
        events=SimpleNamespace(register=hooks.__setitem__),
        display_pub=SimpleNamespace(publish=lambda *told: published.append(told)),
        display_formatter=SimpleNamespace(mimebundle_formatter=SimpleNamespace(for_type=hooks.__setitem__)),
    )
    drawn.publish(shell, drawn.picture)
    hooks["post_execute"]()
    assert published == []

    @style.styled
    def line(record):
        figure, axes = plt.subplots()
        axes.plot([1], [2])
        return figure

    facts = {"experiment": "growth", "profile": "smoke", "sha256": "1234"}
    figure = line(xr.Dataset(attrs={**facts, "data": "none"}))
    hooks["post_execute"]()
    assert published == [({"text/csv": drawn.as_csv(figure)}, {"drawn by": f"{__name__}.line", "records": [facts]})]
    assert hooks[plt.Figure] is drawn.picture


def test_a_light_picture_is_sharp_at_every_size_and_a_heavy_one_is_made_of_points(monkeypatch):
    figure, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    (light,) = drawn.picture(figure).items()
    assert light[0] == "image/svg+xml"
    assert drawn.picture(figure) == dict([light])
    monkeypatch.setattr(drawn, "HEAVY", len(light[1]) - 1)
    assert list(drawn.picture(figure)) == ["image/png"]
