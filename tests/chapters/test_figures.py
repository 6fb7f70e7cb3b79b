"""Every figure of every experiment draws from the record alone, labels stand-in data, and leaves matplotlib as it found it."""

import functools
from inspect import Parameter, signature

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kadam import chapters
from kadam.chapters.contest import figures as contest
from kadam.report import style

DRAWN_BY_ALL = {"cifar": contest, "language": contest}  # besides what an experiment draws by itself
METHODS = ["Adam", "Lion", "2-Adam meta"]  # for the figures that want some
WITHOUT_DATA = ("betas",)  # maps that say themselves that no data set is behind them
LEAST = {"stability": 4, "growth": 4, "trajectories": 4, "generalization": 6, "invariance": 6, "cifar": 7, "language": 9}


@functools.cache
def figures(name):
    """The figures of an experiment: functions decorated as such, whose first argument, if any, is the record."""
    modules = [chapters.find(name).part("figures"), *([DRAWN_BY_ALL[name]] if name in DRAWN_BY_ALL else [])]
    return {f.__name__: f for module in modules for f in vars(module).values() if getattr(f, "draws", False)}


def drawn(draw, record):
    parameters = signature(draw).parameters
    wanted = {"methods": METHODS} if parameters.get("methods", Parameter).default is Parameter.empty else {}
    return draw(*([record] if "record" in parameters else []), **wanted)


@pytest.mark.parametrize("name", chapters.NAMES)
def test_every_figure_draws_something_at_the_width_of_the_text(smoke_records, name):
    assert len(figures(name)) >= LEAST.get(name, 1)
    for draw in figures(name).values():
        figure = drawn(draw, smoke_records[name])
        assert isinstance(figure, Figure)
        assert figure.get_figwidth() == style.WIDTH
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20, draw.__name__


@pytest.mark.parametrize("name", [name for name in chapters.NAMES if hasattr(chapters.find(name).part("config"), "DATA")])
def test_stand_in_data_is_labelled_on_the_figure_itself(smoke_records, name):
    record, stand_in = smoke_records[name], ("stand-in data: scikit-learn", "stand-in data: embedded excerpt of tiny")
    assert record.attrs["data_origin"] == "embedded"
    for draw in figures(name).values():
        if "record" in signature(draw).parameters and draw.__name__ not in WITHOUT_DATA:
            assert drawn(draw, record).get_supxlabel().startswith(stand_in), draw.__name__
            assert "stand-in" not in drawn(draw, record.assign_attrs(data_origin="folder")).get_supxlabel()


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
