"""Chapter 7: stages against shorter memories of momentum, and both sides of what is claimed there."""

import numpy as np
import pytest
import torch
import xarray as xr

from kadam import chapters
from kadam.chapters.contest.memory import config, run
from kadam.decay import Decay
from kadam.lab.records.profiles import MEMORIES
from kadam.lab.train import optimizers

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
SHORT, SHORTEST = "Adam, beta1 = 0.7", "Adam, beta1 = 0.5"


def verdicts(record, seeds=9, **losses):
    """Of the record with so many seeds, in which each method has this loss in its networks, and Adam 2."""
    found = record.isel(seed=[0] * seeds).assign_coords(seed=np.arange(seeds)).copy(deep=True)
    noise = xr.DataArray(np.linspace(-0.01, 0.01, seeds), dims="seed")
    found["loss"] = xr.zeros_like(found.loss) + 2.0
    for method, values in losses.items():
        each = xr.DataArray(np.broadcast_to(values, 2), dims="network") + noise
        found["loss"] = xr.where(found.optimizer == method, each, found.loss).transpose(*found.loss.dims)
    return {claim.id: claim.verdict for claim in chapters.claims("memory", found)}


@pytest.mark.parametrize(
    ("seeds", "losses", "expected"),
    [
        (9, {"4-Adam meta": 1.9}, (YES, NO)),
        (8, {"4-Adam meta": 1.9}, (YES, NO)),  # six tests of 2/2^8
        (7, {"4-Adam meta": 1.9}, (NOT_RUN, NOT_RUN)),
        (9, {"4-Adam meta": 1.9, SHORT: 1.8}, (PARTLY, PARTLY)),
        (9, {"4-Adam meta": [1.9, 2.0]}, (PARTLY, NO)),
        (9, {SHORT: 1.9, SHORTEST: 1.9}, (NO, YES)),
        (9, {"4-Adam meta": 1.9995, SHORT: 2.1}, (PARTLY, NO)),
    ],
)
def test_the_criteria_are_applied_on_both_sides(smoke_records, seeds, losses, expected):
    found = verdicts(smoke_records["memory"], seeds, **losses)
    assert (found["D-7p"], found["D-7q"]) == expected


def test_adam_forgets_as_its_name_says_and_is_tried_at_adams_rates():
    weight = torch.nn.Parameter(torch.ones(1))
    for name, gamma in MEMORIES.items():
        made = optimizers.optimizer(name, [weight], lr=0.1, decay=Decay(beta=0.99, gamma=0.9), weight_decay=0)
        assert type(made) is torch.optim.Adam
        assert made.defaults["betas"] == (gamma, 0.99)
        assert optimizers.rates(name, [1.0, 2.0]) == [1.0, 2.0]
        assert optimizers.stages_of(name) == (0, name)


def test_all_methods_share_text_rates_steps_and_seeds_with_the_search_for_the_optimum():
    assert run.contest(config.PROFILES["cpu"]).methods == ("Adam", *MEMORIES, "4-Adam meta")
    one, other = (chapters.request(name, "cpu").config for name in ("memory", "optimum"))
    assert (one.settings, one.rates, one.seed, one.seeds, one.steps) == (
        other.settings,
        other.rates,
        other.seed,
        other.seeds,
        other.steps,
    )
