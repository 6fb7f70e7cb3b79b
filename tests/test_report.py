"""Figures draw from records alone, label stand-in data, and leave matplotlib as they found it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kadam.advice import advise
from kadam.chapters.box.box import figures as box
from kadam.chapters.box.norms import figures as norms
from kadam.chapters.box.radius import figures as radius
from kadam.chapters.contest import drawing as rivals
from kadam.chapters.contest.cifar import figures as cifar
from kadam.chapters.contest.language import figures as language
from kadam.chapters.continuous_time.orders import figures as orders
from kadam.chapters.continuous_time.trajectories import figures as trajectories
from kadam.chapters.generalization import figures as generalization
from kadam.chapters.growth import figures as growth
from kadam.chapters.local_geometry.curvature import figures as curvature
from kadam.chapters.local_geometry.geometry import figures as geometry
from kadam.chapters.scale_invariance.invariance import figures as invariance
from kadam.chapters.scale_invariance.meta import figures as meta
from kadam.chapters.stability import figures as stability
from kadam.decay import Decay
from kadam.report import style
from kadam.theory import stability as theory

SHOWN = ["Adam", "SGD", "2-Adam meta"]
LEARNT = ["Adam", "Lion", "2-Adam meta"]


def cifar_curves(record):
    return cifar.curves(record, methods=SHOWN)


def language_curves(record):
    return language.curves(record, methods=LEARNT)


def language_updates(record):
    return language.updates(record, methods=LEARNT)


def box_radii(record):
    return box.radii()


RIVALS = [rivals.advantage, rivals.stages, rivals.rates, rivals.rates_by_k, rivals.ranking, rivals.sizes]

FIGURES = {
    "stability": [stability.region, stability.boundaries, stability.bounds, stability.runs],
    "growth": [growth.curves, growth.slopes, growth.errors, growth.places],
    "trajectories": [trajectories.weights, trajectories.squares, trajectories.betas, trajectories.noise],
    "orders": [orders.errors],
    "generalization": [
        generalization.normal_curve,
        generalization.speed,
        generalization.level_curves,
        generalization.causes,
        generalization.plane,
        generalization.unstable,
    ],
    "invariance": [
        invariance.growth,
        invariance.norms,
        invariance.causes,
        invariance.departure,
        invariance.orthogonality,
        invariance.rotation,
    ],
    "meta": [meta.histories, meta.directions, meta.networks],
    "cifar": [*RIVALS, cifar_curves],
    "language": [*RIVALS, language_curves, language.basin, language_updates],
    "box": [box.gaps, box_radii, box.sizes, box.contrast],
    "norms": [norms.identity, norms.losses],
    "radius": [radius.paths, radius.window, radius.averages],
    "geometry": [geometry.losses, geometry.dimensions, geometry.laws, geometry.starts],
    "curvature": [curvature.paths, curvature.differences, curvature.scales, curvature.estimates, curvature.region],
}
CASES = [(name, draw) for name, draws in FIGURES.items() for draw in draws]


@pytest.mark.parametrize(("name", "draw"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_every_figure_draws_something_at_the_width_of_the_text(smoke_records, name, draw):
    figure = draw(smoke_records[name])
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == style.WIDTH
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


WITHOUT_DATA = ("stability", "norms", "geometry")
WITH_DATA = [(name, draw) for name, draw in CASES if name not in WITHOUT_DATA and draw not in (trajectories.betas, box_radii)]


@pytest.mark.parametrize(("name", "draw"), WITH_DATA, ids=lambda x: getattr(x, "__name__", x))
def test_stand_in_data_is_labelled_on_the_figure_itself(smoke_records, name, draw):
    def texts(record):
        return [text.get_text() for text in draw(record).findobj(plt.Text)]

    record = smoke_records[name]
    stand_in = "scikit-learn's digits" if name in ("cifar", "box") else "embedded excerpt of tiny Shakespeare"
    assert any(f"stand-in data: {stand_in}" in text for text in texts(record))
    assert not any("stand-in" in text for text in texts(record.assign_attrs(data_origin="folder")))


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


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ((0.9, 0.999), ["stable", "7.27 learning rates"]),
        ((0.95, 0.95), ["stable", "1 learning rates"]),
        ((0.98, 0.95), ["UNSTABLE", "factor e every 184 steps", "beta1^2 = 0.9604"]),
        ((0.9, 0.81), ["UNSTABLE", "square root of the number of steps"]),
        ((0.9, 0.815), ["stable", "outside the paper's narrower region"]),
        ((0.5, 0.0), ["UNSTABLE", "without any limit"]),
        ((0.0, 0.0), ["stable", "1 learning rates"]),
    ],
)
def test_advice_gives_the_verdict_with_its_reason(betas, words):
    sentence = advise(Decay.from_betas(betas)).sentence()
    assert all(word in sentence for word in words)
    assert ("UNSTABLE" in sentence) == ("UNSTABLE" in words)


def test_advice_as_data_is_the_theorys():
    advice = advise(Decay(beta=0.95, gamma=0.9))
    pair = {"beta": 0.95, "gamma": 0.9}
    assert theory.coefficient(**pair) == advice.C
    assert advice.largest_update == pytest.approx(float(0.1 / 0.05**0.5 / (1 - 0.81 / 0.95) ** 0.5))
    assert advise(Decay(beta=0.0, gamma=0.5)).growth_rate is None
