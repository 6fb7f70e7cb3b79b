"""Every figure of every experiment draws from the record alone, labels stand-in data, and leaves matplotlib as it found it."""

from inspect import signature
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from overlaps import faults
from recorded import drawn, figures, looks_of, read, shown
from tiers import cases, exhaustive

from kadam import chapters
from kadam.lab.records import committed
from kadam.report import style

RESULTS = Path(__file__).parents[2] / "results"
WITHOUT_DATA = ("betas",)  # maps that say themselves that no data set is behind them
STAND_IN = ("stand-in data: scikit-learn", "stand-in data: embedded excerpt of tiny")
LEAST = {"stability": 4, "growth": 4, "trajectories": 4, "generalization": 6, "invariance": 5, "cifar": 7, "language": 9}


WITH_DATA = [name for name in chapters.NAMES if hasattr(chapters.find(name).part("config"), "DATA")]

# The notebooks of the smallest profile draw all figures; here are those of texts and images, and of no data.
QUICK = ("growth", "cifar", "lookahead")


@pytest.mark.parametrize("name", cases(chapters.NAMES, quick=("stability", *QUICK)))
def test_every_figure_is_drawn_at_the_width_of_the_text(smoke_records, name):
    assert len(figures(name)) >= LEAST.get(name, 1)
    for draw in figures(name).values():
        figure = drawn(draw, smoke_records[name])
        assert isinstance(figure, Figure)
        assert figure.get_figwidth() == style.WIDTH
        if hasattr(chapters.find(name).part("config"), "DATA") and "record" in signature(draw).parameters:
            assert (draw.__name__ in WITHOUT_DATA) != figure.get_supxlabel().startswith(STAND_IN), draw.__name__
        plt.close(figure)


@pytest.mark.parametrize("name", cases(WITH_DATA, quick=QUICK))
def test_real_data_is_not_called_a_stand_in(smoke_records, name):
    record = smoke_records[name]
    assert record.attrs["data_origin"] == "embedded"
    first, *_ = (draw for draw in figures(name).values() if "record" in signature(draw).parameters)
    assert "stand-in" not in drawn(first, record.assign_attrs(data_origin="folder")).get_supxlabel()


def test_drawing_keeps_what_a_notebooks_backend_sets_meanwhile():
    @style.styled
    def wake_up():
        plt.rcParams["interactive"] = True
        return plt.figure()

    before = plt.rcParams["interactive"]
    try:
        wake_up()
        assert plt.rcParams["interactive"]
    finally:
        plt.rcParams["interactive"] = before


# Of every chapter some; all experiments are for the exhaustive run.
DRAWN = ("stability", "growth", "orders", "generalization", "invariance", "cifar", "language", "box", "curvature", "watching")


@pytest.fixture(scope="module", params=cases(chapters.CATALOGUE, quick=DRAWN))
def on_page(request):
    """The name of an experiment, and its figures as its page shows them: drawn once for what is asked of them below."""
    yield request.param, shown(request.param)
    plt.close("all")


def test_every_figure_draws_what_its_legend_names_in_the_recorded_colour(on_page):
    """A swapped colour, label or line is a visible difference in looks.json."""
    name, drawings = on_page
    found, recorded = looks_of(drawings), read("looks")[name]
    assert {f: list(labels) for f, labels in found.items()} == {f: list(labels) for f, labels in recorded.items()}
    for f, labels in found.items():
        for label, places in labels.items():
            assert [place[:2] for place in places] == [place[:2] for place in recorded[f][label]], (f, label)
            heights = [place[2] for place in places]
            assert heights == pytest.approx([place[2] for place in recorded[f][label]], rel=1e-3), (f, label)


@exhaustive
def test_every_figure_can_be_read(on_page):
    for name, figure in on_page[1].items():
        assert not faults(figure), name


def share_late(axes):
    """Two small panels that have limits already when the second takes over those of the first."""
    first, second = (axes.figure.add_axes((x, 0.3, 0.1, 0.1)) for x in (0.3, 0.6))
    first.plot([0, 1])
    second.plot([0, 5])
    assert first.get_ylim()[1] < 5 < second.get_ylim()[1]
    second.sharey(first)
    return second


def differ_in_hue(axes):
    """Two lines as dark as each other."""
    for height, colour in ((0.1, style.PAPER), (0.2, style.EXACT)):
        (line,) = axes.plot([0, 1], [height, height], color=colour, label=f"at {height}")
    return line


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda axes: axes.annotate("second", (0.5, 0.5)), "'first' over 'second'"),
        (lambda axes: axes.text(1, 1.4, "outside"), "'outside' is cut off"),
        (
            lambda axes: axes.plot([0, 1], [0.8, 0.92], label="above") and axes.legend(loc="upper right", frameon=False),
            "the legend over above",
        ),
        (lambda axes: axes.text(0.97, 0.2, "not wholly", clip_on=True), "'not wholly' is cut off by its axes"),
        (lambda axes: axes.annotate("tiny", (0.1, 0.1), fontsize=6), "'tiny' is small"),
        (share_late, "0 to 5 beyond the y axis"),
        (differ_in_hue, "only a hue tells 'at 0.1' from 'at 0.2'"),
    ],
)
def test_what_cannot_be_read_is_found(spoil, fault):
    @style.styled
    def draw():
        figure, axes = style.panels(1, 1, height=3)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.annotate("first", (0.5, 0.5))
        return figure

    figure = draw()
    assert not faults(figure)
    spoil(figure.axes[0]).set_in_layout(False)
    assert any(found.startswith(fault) for found in faults(figure))
    plt.close(figure)


# Of the main figures: which variable of the record a label names, and its colour.
LAWS = {
    ("growth", "slopes", r"the paper's $|C|/2$"): (style.PAPER, lambda r: r.rate_continuous),
    ("growth", "slopes", "exact rate"): (style.EXACT, lambda r: r.rate_discrete),
    ("growth", "slopes", "exact rate with bias correction"): (style.CORRECTED, lambda r: r.rate_corrected),
    ("stability", "region", r"exact boundary $\beta=\gamma^2$"): (style.EXACT, lambda r: r.boundary_discrete),
    ("stability", "bounds", "exact bound"): (style.EXACT, lambda r: r.bound_discrete.isel(example=0)),
    ("stability", "bounds", "the paper's expression"): (style.PAPER, lambda r: r.bound_continuous.isel(example=0)),
    ("stability", "bounds", "reached by the algorithm"): (style.MEASURED, lambda r: r.attained.isel(example=0)),
}


@pytest.mark.parametrize(("name", "figure", "label"), LAWS)
def test_a_law_is_drawn_from_its_own_variable_in_its_own_colour(name, figure, label):
    """From a record in which no two laws are the same."""
    record = committed.committed(RESULTS, name, "laptop").copy(deep=True)
    for i, variable in enumerate(v for v in record.data_vars if record[v].dtype.kind == "f"):
        record[variable] = record[variable] * (1 + i / 100)
    colour, numbers = LAWS[name, figure, label]
    axes = drawn(figures(name)[figure], record).axes[0]
    (line,) = [one for one, text in zip(*axes.get_legend_handles_labels(), strict=True) if text == label]
    assert line.get_color() == colour
    np.testing.assert_array_equal(line.get_ydata(), numbers(record).values)
