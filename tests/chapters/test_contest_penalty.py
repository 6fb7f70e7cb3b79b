"""Chapter 8: decoupled decay against a penalty on text, and both sides of what is claimed there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Judged

from kadam.chapters.contest.penalty import config, figures, run
from kadam.chapters.contest.penalty.config import DECAYED, PENALISED
from kadam.decay import Decay
from kadam.lab.train import optimizers

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
SMOKE = config.PROFILES["smoke"]


@pytest.fixture
def record(smoke_records):
    return smoke_records["penalty"]


def repeated(record, seeds, **leads):
    """The record with so many seeds, in which AdamW leads in these variables by what is given for each network."""
    found = record.isel(seed=[0] * seeds).assign_coords(seed=np.arange(seeds)).copy(deep=True)
    noise = xr.DataArray(np.linspace(-0.01, 0.01, seeds), dims="seed")
    for name in ("loss", "train_loss"):
        lead = (xr.DataArray(leads.get(name, [0, 0]), dims="network") + noise) * (found.optimizer == DECAYED)
        found[name] = (xr.zeros_like(found[name]) + 2.0 - lead).transpose(*found[name].dims)
    return found


def test_both_methods_try_every_rate_with_as_many_strengths_of_their_own():
    first, second = (run.grid(SMOKE, name) for name in (DECAYED, PENALISED))
    np.testing.assert_array_equal(first["rate"], second["rate"])
    assert len(set(zip(*first.values(), strict=True))) == len(SMOKE.rates) * len(SMOKE.strengths)
    assert sorted({*second["weight_decay"].tolist()}) == list(SMOKE.penalties)


def test_with_l2_the_decay_is_in_the_gradient_and_at_none_both_are_adam():
    weight = torch.nn.Parameter(torch.ones(1))
    made = {
        name: optimizers.optimizer(name, [weight], lr=0.1, decay=Decay(beta=0.99, gamma=0.9), weight_decay=0.5)
        for name in (DECAYED, PENALISED)
    }
    assert [type(one) for one in made.values()] == [torch.optim.AdamW, torch.optim.Adam]
    assert [one.defaults["weight_decay"] for one in made.values()] == [0.5, 0.5]
    assert not made[PENALISED].defaults["decoupled_weight_decay"]


def test_without_decay_both_searches_are_the_same_runs(record):
    none = [
        record.search_loss.sel(optimizer=m).isel(trial=record.tried.sel(knob="weight_decay", optimizer=m).values == 0)
        for m in (DECAYED, PENALISED)
    ]
    np.testing.assert_array_equal(*none)


@pytest.mark.parametrize(
    ("seeds", "leads", "expected"),
    [
        (8, {"loss": [0.1, 0.1]}, (YES, NO)),
        (8, {"loss": [0.1, 0.0], "train_loss": [0.1, 0.1]}, (PARTLY, YES)),
        (7, {"loss": [-0.1, -0.1], "train_loss": [0.1, 0.0005]}, (NO, PARTLY)),
        (6, {"loss": [0.1, 0.1]}, (NOT_RUN, NOT_RUN)),
    ],
)
def test_the_criteria_are_applied_on_both_sides(record, seeds, leads, expected):
    found = Judged("penalty", repeated(record, seeds, **leads))
    assert (found["D-8x test"].verdict, found["D-8x training"].verdict) == expected


@pytest.mark.parametrize(
    ("rate", "strength", "held"), [(8e-3, 0, 8), (4e-3, 0, 4), (1.6e-2, 0, 4), (8e-3, 1, 8), (8e-3, 2, 4), (1.6e-2, 2, 0)]
)
def test_the_best_must_lie_inside_but_may_have_no_decay(record, rate, strength, held):
    trial = SMOKE.rates.index(rate) * len(SMOKE.strengths) + strength
    claim = Judged("penalty", record.assign(chosen=xr.full_like(record.chosen, trial)))["D-8x inside"]
    assert (claim.held, len(claim.cases)) == (held, 8)


def test_the_sentence_gives_the_lead_and_the_gain_over_none(record):
    found = repeated(record, 9, loss=[0.1, -0.2], train_loss=[0.3, 0.4])
    decayed = (found.optimizer == DECAYED) & (found.tried.sel(knob="weight_decay") > 0)
    found["search_loss"] = (xr.zeros_like(found.search_loss) + 2 - 0.5 * decayed).transpose(*found.search_loss.dims)
    told = figures.strengths_said(found)
    assert "`characters` +0.100 (" in told
    assert "-0.200 (" in told
    assert "+0.300 in training; decay itself gains 0.500 with AdamW and 0.000 with L2" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": (0.0, 1e-3)}, "as many as penalties"),
        ({"strengths": (0.1, 0.2, 0.3)}, "must begin with 0"),
        ({"penalties": (0.0, 0.0, 1e-3)}, "must begin with 0"),
    ],
)
def test_strengths_that_are_not_comparable_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **change)
