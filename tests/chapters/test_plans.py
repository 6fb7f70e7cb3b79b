"""What ``--plan`` counts, beside what PyTorch counts while the same is computed; the text and images are of random numbers."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiers import cases
from torch.utils.flop_counter import FlopCounterMode

from kadam import chapters
from kadam.chapters.local_geometry import landscapes
from kadam.chapters.local_geometry.curvature.config import PROFILES
from kadam.lab.train import tasks
from kadam.lab.train.tasks import Inputs

SMOKE = PROFILES["smoke"]

# How much of the count is computed: the first convolution of a network has no gradient to hand on, descents end where levels
# are reached, and a product with the Hessian of a later layer goes through part of the network.
SHARES = {"invariance": 0.9, "meta": 0.9, "angles": 0.9, "curvature": 0.5, "predicts": 0.7}


def given(sizes):
    """Random data of the shapes that plans count with."""
    inputs = Inputs.of_no_numbers(sizes)
    images = np.random.default_rng(0).standard_normal(inputs.images.images.shape)
    return replace(inputs, sizes=sizes, images=inputs.images._replace(images=images), described={"data": "random"})


def convolution_backward(gradient, x, weight, bias, stride, padding, dilation, transposed, output, groups, mask, **result):
    """PyTorch's count is of one group: an ensemble's convolutions are one with a group a member."""
    return sum(mask[:2]) * 2 * math.prod(gradient) * math.prod(weight[1:])


RIGHT = {torch.ops.aten.convolution_backward: convolution_backward}


@pytest.mark.parametrize("name", cases(SHARES, quick=["angles"]))
def test_a_plan_counts_what_is_computed(name, monkeypatch):
    run, config = chapters.find(name).part("run"), chapters.find(name).part("config").PROFILES["smoke"]
    monkeypatch.setattr(tasks.Inputs, "of", given)
    with FlopCounterMode(display=False, custom_mapping=RIGHT) as counted, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.run(config)
    assert SHARES[name] < counted.get_total_flops() / run.plan(config).operations < 1.05


@pytest.mark.parametrize("network", ["perceptron", "language"])
@pytest.mark.parametrize("probes", [8, landscapes.EXACT])
def test_a_look_counts_the_products_with_the_hessian(network, probes):
    problem = landscapes.configured_landscape(SMOKE, given(SMOKE.sizes), network)
    weights = {path: torch.stack([weight] * 3) for path, weight in problem.start(0).items()}
    with FlopCounterMode(display=False) as counted, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.r_med(weights, probes=probes)
    assert 0.45 < counted.get_total_flops() / problem.looks(3, probes=probes).operations < 1.05


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("invariance", 2 * 3 * 3 * 15 * 1000),
        ("meta", 3 * (6 * (400 + 8 * 400) + 3 * 6 * 800)),
        ("angles", 2 * 5 * 15 * 20_000),
        ("predicts", 3 * 6 * 50 * (1200 + 2 * 2 * 5 * 60)),
        ("curvature", 3 * (10 * (10 * 300 + 10 * 300) + 2 * 10 * 1200) + 10 * 64 * 200),
    ],
)
def test_a_plan_counts_the_steps_of_every_run(name, steps):
    run = chapters.find(name).part("run")
    assert run.plan(run.PROFILES["paper"]).steps == steps
