"""Loops that a GPU runs: the host reads nothing in a step, so how often it reads does not grow with the steps."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kadam.chapters.generalization import run as generalization
from kadam.chapters.growth import run as growth
from kadam.chapters.growth.silence import run as silence
from kadam.chapters.local_geometry.curvature import run as curvature
from kadam.chapters.scale_invariance.angles import run as angles
from kadam.chapters.scale_invariance.invariance import run as invariance
from kadam.chapters.scale_invariance.meta import run as meta
from kadam.chapters.watching.spikes import run as spikes
from kadam.lab.data.sources import configured_text
from kadam.lab.engine.progress import Progress
from kadam.lab.train.tasks import Inputs
from kadam.theory import stability

# What waits for a GPU: each reads numbers of the device on the host, or uploads from memory that the system may move.
WAITING = {Tensor.numpy, Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.__array__, torch.tensor, torch.as_tensor}
WAITING |= {Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__, Tensor.nonzero, torch.isin, torch.equal}


class Waits(TorchFunctionMode):
    """Counts them."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function in WAITING
        return function(*args, **(kwargs or {}))


def smoke(run, **changes):
    return replace(run.PROFILES["smoke"], **changes)


def growing(setting, steps):
    config = smoke(growth, points=4, chunk=8, steps=steps)
    piece = next(piece for piece in growth.pieces(config) if piece[0] == setting)
    return functools.partial(growth.train_piece, config, configured_text(config), *stability.normal_curve(num=4), piece)


def silent(steps):
    config = smoke(silence, steps=steps, skip=2)
    return functools.partial(silence.train_piece, config, configured_text(config), silence.Piece(3))


def generalizing(steps):
    config = smoke(generalization, steps=steps, evaluations=2)
    return functools.partial(
        generalization.train_piece, config, configured_text(config), generalization.settings(config), (3, 0)
    )


def spiking(steps):
    config = smoke(spikes, steps=steps, settle=5)
    return functools.partial(spikes.train, config, configured_text(config), (3,))


def turning(network, steps):
    config = smoke(angles, steps=steps, every=steps, windows=1)  # one look
    return functools.partial(angles.train, config, Inputs.of(config.sizes), (network,))


def normed(steps):
    config = smoke(invariance, steps=steps, late=5)  # one look back
    return functools.partial(
        invariance.train_piece, config, Inputs.of(config.sizes), invariance.Piece("language", "small batches", 3)
    )


def plain(steps):
    config = smoke(meta, steps=steps)
    return functools.partial(meta.train_network, config, Inputs.of(config.sizes), "plain, 2-Adam", 3)


LOOPS = {name: functools.partial(growing, name) for name in growth.SETTINGS}
LOOPS |= {name: functools.partial(turning, name) for name in angles.NETWORKS}
LOOPS |= {one.__name__: one for one in (silent, generalizing, spiking, normed, plain)}


def waits(begin, steps):
    train, counted = begin(steps), Waits()
    with counted:
        train(Progress(lambda done: None))
    return counted.count


@pytest.mark.parametrize("begin", LOOPS.values(), ids=LOOPS)
def test_no_step_of_an_ensemble_waits_for_the_device(begin):
    assert 0 < waits(begin, 60) == waits(begin, 70)


def test_the_search_of_curvature_waits_at_its_end_alone():
    config = smoke(curvature, steps=6)
    problem = curvature.configured_landscape(config, Inputs.of(config.sizes), "perceptron")
    run, counted = curvature.MethodRun(config, problem, curvature.Piece("run", "perceptron", "Adam")), Waits()
    with counted:
        for n in range(run.searched - 1):
            run.advance(n)
        assert counted.count == 0
        run.advance(run.searched - 1)
    assert counted.count == 1
