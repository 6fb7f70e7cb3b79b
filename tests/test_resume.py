"""Every piece that trains goes on from the state it kept, and ends with the bits of an undisturbed one."""

import functools
from dataclasses import replace

import pytest
import xarray as xr

from kadam.chapters.box.box import run as box
from kadam.chapters.box.norms import run as norms
from kadam.chapters.box.radius import run as radius
from kadam.chapters.contest.cifar import config as cifar_config
from kadam.chapters.contest.cifar import run as cifar
from kadam.chapters.contest.language import config as language_config
from kadam.chapters.contest.language import run as language
from kadam.chapters.contest.trials import Trial
from kadam.chapters.generalization import config as generalization_config
from kadam.chapters.generalization import run as generalization
from kadam.chapters.growth import run as growth
from kadam.chapters.local_geometry.curvature import run as curvature
from kadam.chapters.local_geometry.geometry import run as geometry
from kadam.chapters.scale_invariance.invariance import run as invariance
from kadam.chapters.scale_invariance.meta import run as meta
from kadam.lab.engine.progress import Progress
from kadam.lab.train.tasks import Inputs
from kadam.theory import stability


@functools.cache
def pieces():
    """Every kind of piece of the experiments that train, by name: its function of (piece, progress), and its steps."""
    growing, scaling, changing = (module.PROFILES["smoke"] for module in (growth, invariance, meta))
    images = replace(cifar_config.PROFILES["smoke"], evaluations=4)
    seen = ("batch norm, LaProp", "batch norm, NAdam", "no norm, 3-Adam meta")
    trials = {name: [Trial(1e-2, 0), Trial(1e-3, 1)] for name in seen}
    sha256 = cifar.load_data(images).sha256
    text = replace(language_config.PROFILES["smoke"], evaluations=4)
    read = ("characters, NAdam", "reviews, q/k norm, 3-Adam meta")
    readings = {name: [Trial(1e-2, 0), Trial(1e-3, 1)] for name in read}
    whose = language.load_data(text).sha256
    general = generalization_config.PROFILES["smoke"]
    settings = (general, generalization.load_data(general), generalization.settings(general))
    convex, races, network = (module.PROFILES["smoke"] for module in (box, norms, radius))
    curve = stability.normal_curve(num=growing.points)
    linear, networks = (module.PROFILES["smoke"] for module in (geometry, curvature))
    followed = 2 * networks.steps + len(networks.levels)
    train = {
        "growth": (functools.partial(growth.train_piece, growing, growth.load_data(growing), *curve), growing.steps),
        "generalization": (functools.partial(generalization.train_piece, *settings), general.steps),
        "invariance": (functools.partial(invariance.train_piece, scaling, Inputs.of(scaling.sizes)), scaling.steps),
        "cifar": (functools.partial(cifar.train_piece, images, sha256, cifar.CONTEST, trials), 2 * images.steps),
        "language": (functools.partial(language.train_piece, text, whose, language.CONTEST, readings), 2 * text.steps),
        "box": (functools.partial(box.descend, convex, box.problems(convex, box.load_data(convex))), convex.steps),
        "norms": (functools.partial(norms.descend, races), races.steps),
        "radius": (functools.partial(radius.train_piece, network, radius.load_data(network)), network.steps),
        "meta": (functools.partial(meta.compute_piece, changing, Inputs.of(changing.sizes)), changing.steps),
        "geometry": (functools.partial(geometry.train_piece, linear), linear.steps),
        "curvature": (functools.partial(curvature.compute_piece, networks, Inputs.of(networks.sizes)), followed),
        "curve": (
            functools.partial(curvature.compute_piece, networks, Inputs.of(networks.sizes)),
            networks.curve_steps + len(networks.levels),
        ),
        "slow": (
            functools.partial(curvature.compute_piece, networks, Inputs.of(networks.sizes)),
            networks.slow_steps + len(networks.levels),
        ),
    }
    names = {
        "growth": ["fixed-0-0", "fresh-1-0"],
        "generalization": ["0-0", "2-20"],
        "invariance": ["language-one fixed batch-0", "images-small batches-0"],
        "cifar": list(trials),
        "language": list(readings),
        "box": ["quadratic-2-Adam meta", "logistic-L2"],
        "norms": ["6-l_2", "12-AdamW, equal"],
        "radius": ["full batch-1-0", "fresh batches-2-0"],
        "meta": ["loss x 10-0", "smaller batches-0", "other letters-0", "plain, 2-Adam-0"],
        "geometry": ["4-Adam 10 3", "SGD 20 1"],
        "curve": ["curve 10"],
        "slow": ["slow language SGD"],
        "curvature": ["run images 1.0 2-Adam", "run language 2.0 SGD", "run perceptron 1.0 RMSprop"],
    }
    return {(module, piece): train[module] for module, some in names.items() for piece in some}


class Killed(BaseException):
    """What stops a piece here."""


class KilledAt(Progress):
    """Keeps its state once, and is killed a step later."""

    def __init__(self, stop, path):
        super().__init__(self.hear, path)
        self.stop = stop

    def hear(self, steps):
        self._next = 0 if steps == self.stop - 1 else float("inf")
        if steps == self.stop:
            raise Killed


@pytest.mark.parametrize("part", [0.1, 0.6, 1.0], ids="stopped after {}".format)
@pytest.mark.parametrize("name", pieces(), ids=" ".join)
def test_a_piece_that_is_stopped_goes_on_to_the_bit(name, part, tmp_path):
    (compute, steps), (_, piece) = pieces()[name], name
    path = tmp_path / "piece.state"
    with pytest.raises(Killed):
        compute(piece, KilledAt(round(part * steps), path))
    told = []
    resumed = compute(piece, Progress(told.append, path))
    assert told[0] == round(part * steps) - 1
    xr.testing.assert_identical(resumed, undisturbed(name))


@functools.cache
def undisturbed(name):
    compute, _ = pieces()[name]
    return compute(name[1], Progress(lambda steps: None))
