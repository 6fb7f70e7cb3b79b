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
STAND_IN = ("stand-in data: scikit-learn", "stand-in data: embedded excerpt of tiny")
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
        figure.set_dpi(50)
        figure.canvas.draw()
        colours = np.asarray(figure.canvas.buffer_rgba()).view(np.uint32)
        assert len(np.unique(colours)) > 20, draw.__name__
        if hasattr(chapters.find(name).part("config"), "DATA") and "record" in signature(draw).parameters:
            assert (draw.__name__ in WITHOUT_DATA) != figure.get_supxlabel().startswith(STAND_IN), draw.__name__
        plt.close(figure)


@pytest.mark.parametrize("name", [name for name in chapters.NAMES if hasattr(chapters.find(name).part("config"), "DATA")])
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
