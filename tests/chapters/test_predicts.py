"""Predicts: places are where losses are reached, what others gain there is theirs, and claims turn with the correlation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Verdicts

from kadam.chapters.local_geometry.landscapes import Descent, landscape
from kadam.chapters.local_geometry.methods import FACTORS, METHODS, NETWORKS, rates
from kadam.chapters.local_geometry.predicts import claims, figures, run
from kadam.chapters.local_geometry.predicts.config import BY, PROFILES, Config
from kadam.lab.train.tasks import Inputs

SMOKE = PROFILES["smoke"]
YES, NO = "reproduced", "not reproduced"


@pytest.fixture(scope="module")
def places():
    config = replace(SMOKE, seeds=2)
    found = run.Places(config, landscape(Inputs.of(SMOKE.sizes), "perceptron", examples=8, dtype=torch.float64), "SGD")
    for n in range(config.steps + 1):
        found.advance(n)
    return found


def test_one_level_is_no_way():
    with pytest.raises(ValueError, match=r"levels must be two or more, got \(0.5,\)"):
        Config(levels=(0.5,))


def test_every_rate_starts_from_the_same_weights_of_each_seed(places):
    runs = run.Places(places.config, places.problem, "SGD").runs
    for param in runs.params.values():
        by_rate = param.view(len(FACTORS), 2, -1)
        assert (by_rate == by_rate[:1]).all()
        assert not torch.equal(by_rate[0, 0], by_rate[0, 1]) or param[0].numel() == 0
    assert runs.lr.view(len(FACTORS), 2)[:, 0].tolist() == rates("SGD")


def test_r_med_is_the_mean_over_layers_at_the_place(places):
    members, weights = places.levels.at(0)
    layers = places.problem.diagonals(weights, probes=places.config.probes)
    expected = np.mean([np.log(abs(x).max(1) / np.median(abs(x), 1)) for x in layers], axis=0)
    np.testing.assert_allclose(places.found[members, 0], expected)


@pytest.mark.parametrize("by", BY)
def test_what_is_gone_is_the_best_rates_fall_of_the_loss(places, by):
    members, weights = places.levels.at(0)
    one = {path: weight[0] for path, weight in weights.items()}
    descent = Descent(places.problem, by, [one] * len(FACTORS), decay=places.decay, lr=rates(by))
    losses = [descent.step(places.problem.batch) for _ in range(places.config.ahead + 1)]
    expected = float((losses[0] / losses[-1]).log().max())
    assert places.gone[members[0], 0, BY.index(by)] == pytest.approx(expected)


def record_of(r_med, steps, gone):
    """A record of four seeds, from functions of method, rate and network (by number)."""
    method, factor, network = np.meshgrid(range(len(METHODS)), range(len(FACTORS)), range(len(NETWORKS)), indexing="ij")
    rng, dims = np.random.default_rng(0), ("optimizer", "factor", "network", "seed", "place")

    def values(of):
        base = np.broadcast_to(of(method, factor, network), method.shape)[..., None, None]
        return base + 0.01 * rng.standard_normal((*method.shape, 4, 2))

    steps = np.maximum(values(steps), 0)
    coords = {"optimizer": list(METHODS), "factor": list(FACTORS), "network": list(NETWORKS), "seed": range(4)}
    found = {
        "r_med": (dims, values(r_med)),
        "step": ((*dims[:-1], "level"), np.concatenate([0 * steps[..., :1], steps.cumsum(-1)], -1)),
        "gone": ((*dims, "by"), np.repeat(values(gone)[..., None], 2, -1)),
    }
    attrs = {"profile": "cpu", "experiment": "predicts", "config_hash": "12345678"}
    return xr.Dataset(found, {**coords, "place": [0.6, 0.3], "level": [0.6, 0.3, 0.1], "by": list(BY)}, attrs)


def ordered(method, factor, network):
    return 10 + method + 7.0 * factor


@pytest.mark.parametrize(
    ("steps", "verdicts"),
    [
        (ordered, {"D-9o": YES, "D-9p name": YES, "D-9p place": NO}),
        (lambda *of: 60 - ordered(*of), {"D-9o": NO, "D-9p name": NO}),
    ],
)
def test_claims_turn_with_the_order(steps, verdicts):
    found = Verdicts("predicts", record_of(ordered, steps, lambda *of: 1.0 + 0 * ordered(*of)))
    assert {id: found[id] for id in verdicts} == verdicts


def test_the_name_is_taken_out():
    """Slow methods have the larger R_med here, and within each the order is reversed."""

    def steps(method, factor, network):
        return 20 * method + 30 - 5 * factor

    record = record_of(lambda method, factor, network: 20 * method + factor, steps, steps)
    found = Verdicts("predicts", record)
    assert (found["D-9o"], found["D-9p name"]) == (YES, NO)
    assert (claims.own(record) > 0.9).all()
    assert (claims.within(record) < 0).all()


def test_fastest_rates_are_those_of_the_fewest_steps_to_the_last_loss():
    """Each method is fastest at its largest rate, where R_med goes against its speed; at the others it goes along."""

    def r_med(method, factor, network):
        return np.where(factor == len(FACTORS) - 1, -method, method)

    record = record_of(r_med, lambda method, factor, network: 100 - 10 * factor + method, ordered)
    assert (claims.fastest(record) < -0.9).all()
    assert (claims.own(record) > claims.fastest(record)).all()


def test_a_place_from_which_others_get_further_is_a_fast_one():
    record = record_of(ordered, ordered, lambda *of: 60 - ordered(*of))
    assert Verdicts("predicts", record)["D-9p place"] == YES
    assert (claims.others(record) > 0.9).all()
    assert figures.order_table(record).rows[0][2].startswith("+1.00")


def test_a_run_that_never_gets_there_is_the_slowest_and_one_that_never_came_is_left_out():
    r_med, slow = np.array([1.0, 2.0, 3.0, np.nan]), np.array([5.0, 7.0, np.nan, 1.0])
    assert claims._order(r_med, slow, kinds=np.zeros(4)) == pytest.approx(1)
    assert claims._order(r_med, np.array([5.0, 7.0, 2.0, 1.0]), kinds=np.zeros(4)) == pytest.approx(-0.5)
    assert np.isnan(claims._order(np.full(4, np.nan), slow, kinds=np.zeros(4)))


def test_the_record_has_every_method_at_every_rate(smoke_records):
    record = smoke_records["predicts"]
    assert record.step.notnull().any(("level", "seed")).all("factor").sum() > len(NETWORKS)
    assert bool((record.step.diff("level") >= 0).where(record.step.isel(level=-1).notnull(), True).all())
    assert str(figures.speeds_said(record)).count("network") == 1
