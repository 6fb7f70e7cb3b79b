"""A picture is kept by all that its figure holds: whatever could change it gives another key, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Affine2D

from kadam import pictures
from kadam.report import drawn, style


def line(scale=1.0):
    """The one open figure, with what is hard to tell of one: a scale and a formatter that are functions without a name."""
    plt.close("all")
    figure, (left, right) = style.panels(1, 2, height=3.0, sharey=True)
    left.plot(np.arange(9.0), np.arange(9.0) ** 2, label="a line")
    left.yaxis.set_major_formatter(lambda number, place: f"{scale} {number}")
    style.against_gamma(right, [0.5, 0.9])
    return style.with_legend(figure, left)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A checkout for what is kept."""
    monkeypatch.setattr(pictures.committed, "repository", lambda: tmp_path)
    return tmp_path


def test_equal_figures_have_one_key_in_every_process():
    told = "import matplotlib, test_pictures as one; matplotlib.use('Agg'); print(one.pictures.key(one.line()))"
    run = subprocess.run(
        [sys.executable, "-c", told],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert run.stdout.strip() == pictures.key(line()) == pictures.key(line())


class Turned(Affine2D):
    """Holds what any affine transform holds."""


CHANGES = {
    "nothing": None,
    "a point by its last bit": lambda axes: axes.lines[0].set_ydata([*axes.lines[0].get_ydata()[:-1], np.nextafter(64, 65)]),
    "a colour": lambda axes: axes.lines[0].set_color("red"),
    "a line's name": lambda axes: axes.lines[0].set_label("another"),
    "a limit": lambda axes: axes.set_xlim(0, 9),
    "a scale": lambda axes: axes.set_yscale("log"),
    "a place for ticks": lambda axes: axes.xaxis.set_major_locator(NullLocator()),
    "what places are relative to": lambda axes: axes.lines[0].set_transform(Affine2D() + axes.transData),
    "its kind": lambda axes: axes.lines[0].set_transform(Turned() + axes.transData),
    "and by how much": lambda axes: axes.lines[0].set_transform(Affine2D().scale(2) + axes.transData),
    "a title": lambda axes: axes.set_title("here"),
    "the figure's height": lambda axes: axes.figure.set_figheight(4),
    "the layout": lambda axes: axes.figure.set_layout_engine("none"),
    "one more panel": lambda axes: axes.figure.add_axes((0, 0, 0.1, 0.1)),
}


def test_every_change_of_a_figure_gives_another_key(monkeypatch):
    keys = []
    for change in CHANGES.values():
        figure = line()
        if change:
            change(figure.axes[0])
        keys.append(pictures.key(figure))
    keys.append(pictures.key(line(scale=2.0)))  # which only the function without a name holds
    with plt.rc_context({"svg.fonttype": "none"}):
        keys.append(pictures.key(line()))
    monkeypatch.setattr(pictures, "_code", lambda: "edited")
    keys.append(pictures.key(line()))
    assert None not in keys
    assert len(set(keys)) == len(CHANGES) + 3


@pytest.mark.parametrize(
    "code",
    [
        "axes.yaxis.set_major_formatter(lambda number, place: 'x')",
        "def form(number, place): return 'x'\naxes.yaxis.set_major_formatter(form)",
        "class Places(NullLocator): pass\naxes.yaxis.set_major_locator(Places())",
        "axes.told = (number for number in (1, 2))",  # of which nobody can tell what is left
    ],
)
def test_where_a_notebooks_own_code_decides_or_what_cannot_be_told_the_picture_is_drawn_each_time(code, root):
    figure = line()
    exec(code, {"__name__": "__main__", "axes": figure.axes[0], "NullLocator": NullLocator})
    assert pictures.key(figure) is None
    assert pictures.picture(figure) == drawn.picture(figure)
    assert not list(root.iterdir())


def test_a_picture_is_drawn_once_and_is_the_same(monkeypatch, root):
    expected, drawings = drawn.picture(line()), []
    monkeypatch.setattr(drawn, "picture", lambda figure, draw=drawn.picture: drawings.append(figure) or draw(figure))
    assert [pictures.picture(line()) for _ in range(3)] == [expected] * 3
    assert len(drawings) == 1
    (kept,) = (root / "_build" / "pictures").iterdir()
    figure = line()
    figure.axes[0].set_title("another")
    assert pictures.picture(figure) != expected
    kept.unlink()
    assert pictures.picture(line()) == expected


def test_outside_a_checkout_it_is_drawn(monkeypatch):
    monkeypatch.setattr(pictures.committed, "repository", lambda: None)
    assert pictures.picture(line()) == drawn.picture(line())
