"""Angles: rates and decays are those of its ways, the law's angle is met where the law must hold, and claims turn with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Verdicts

from kadam import chapters
from kadam.chapters.scale_invariance.angles import claims, figures, run
from kadam.chapters.scale_invariance.angles.config import FALLING, PROFILES, Config
from kadam.lab.train.tasks import Inputs
from kadam.theory import invariance as theory

SMOKE = PROFILES["smoke"]
YES, NO, PARTLY, NOT_RUN = "reproduced", "not reproduced", "partly", "not run at this profile"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": 7}, "steps / every must be a multiple of windows = 7, got 400"),
        ({"floor": 1.0}, "floor must lie between 0 and 1, got 1.0"),
    ],
)
def test_a_bad_configuration_of_angles_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


def test_falling_rates_fall_in_a_line_and_only_adamcs_decay_falls_with_them():
    inputs = Inputs.of(SMOKE.sizes)
    ensemble = run.Paced(SMOKE, [inputs.classification(0)])
    last = SMOKE.rates[-1]
    for n, share in ((0, 1.0), (24, 1.0), (32, 0.55), (40, 0.1)):
        ensemble.set_rates(n)
        for one, rate, decay in zip(run.members(SMOKE), ensemble.lr, ensemble._decay, strict=True):
            falls = one.way in FALLING
            assert float(rate) == pytest.approx(last * share if falls else one.eta)
            assert float(decay) == pytest.approx(SMOKE.weight_decay * (share if one.way == FALLING[1] else 1.0))


def test_squares_are_those_of_an_angle_by_arithmetic():
    old, new = torch.tensor([[3.0, 0.0]], dtype=torch.float64), torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    turn, norm, update = run._squares(old, new, torch.tensor([[0.0, 2.0]], dtype=torch.float64), np.array([np.pi / 8]))
    assert (turn[0], norm[0], update[0]) == pytest.approx((4.0, 9.0, 4.0))


def test_the_first_window_is_what_a_step_of_adam_makes(smoke_records):
    """The first update of Adam is a sign, so that |u|^2 is the number of entries."""
    config, inputs = replace(SMOKE, steps=2, every=1, windows=2, seeds=2), Inputs.of(SMOKE.sizes)

    class Steps:
        def over(self, steps, state):
            return iter(range(steps))

    first = run.train(config, inputs, ("images",), Steps()).isel(window=0)
    sizes = [inputs.classification(0).model.get_parameter(path).numel() for path in inputs.classification(0).weights.values()]
    for weight, size in zip(first.weight.values, sizes, strict=True):
        np.testing.assert_allclose(first["update"].sel(weight=weight), size**0.5, rtol=1e-9)
    assert not np.allclose(first.norm.isel(seed=0), first.norm.isel(seed=1))


def test_times_and_dimensions_of_the_record(smoke_records):
    record = smoke_records["angles"]
    assert record.turn.dims == ("weight", "window", "seed", "way", "gamma")
    assert float(record.time.sel(way="eta = 0.001", gamma=0.9)) == pytest.approx(5000, rel=1e-3)
    chosen = {"eta": SMOKE.rates[-1], "weight_decay": SMOKE.weight_decay, "gamma": 0.5}
    assert float(record.time.sel(way=FALLING[0], gamma=0.5)) == theory.equilibrium_time(**chosen)


def by_hand(record, *, begin=3.0, decay=1.0, falling=(0.5, 1.0), times=8.0):
    """A record of four seeds whose angle nears the law's like exp(-decay times), and ends at ``falling`` as rates fall."""
    one = xr.concat([record.assign_coords(seed=[seed]) for seed in range(4)], "seed", data_vars="minimal")
    one = one.assign(time=one.time / one.time.max() * float(one.window.max()) / times)
    turn = (1 + (begin - 1) * np.exp(-decay * one.window / one.time)).broadcast_like(one.turn).transpose(*one.turn.dims).copy()
    for way, end in zip(FALLING, falling, strict=True):
        turn.loc[{"way": way}] = end
    return one.assign(turn=turn)


@pytest.mark.parametrize(
    ("changed", "verdicts"),
    [
        ({}, {"D-5t": YES, "D-5u": YES, "D-5v": YES}),
        ({"decay": 0.0}, {"D-5t": NO, "D-5u": NO}),
        ({"decay": 0.5, "times": 4.0}, {"D-5t": PARTLY, "D-5u": NO}),
        ({"falling": (1.0, 0.85)}, {"D-5t": YES, "D-5v": NO}),
        ({"times": 0.1}, {"D-5u": NOT_RUN}),
    ],
)
def test_claims_on_angles_turn_with_their_record(smoke_records, changed, verdicts):
    found = Verdicts("angles", by_hand(smoke_records["angles"], **changed))
    assert {id: found[id] for id in verdicts} == verdicts


def test_it_settles_after_the_last_window_in_which_it_is_off(smoke_records):
    record = by_hand(smoke_records["angles"])
    found = claims.settled(record).sel(gamma=0.9, way="eta = 0.001")
    steps = record.window.values / float(record.time.sel(gamma=0.9, way="eta = 0.001"))
    off = steps[2 * np.exp(-steps) > 0.1]
    np.testing.assert_allclose(found, off[-1])


def test_few_seeds_and_another_falling_rate_read_otherwise(smoke_records):
    record = smoke_records["angles"]
    assert "too few seeds" in chapters.claims("angles", record)[0].measured
    words = [str(figures.angles_said(by_hand(record, falling=ends))) for ends in ((0.5, 1.0), (1.0, 0.5))]
    assert words[0] != words[1]
