"""Chapter 7: the search over all knobs, and both sides of what is claimed there."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from judging import Judged
from numpy.testing import assert_allclose, assert_array_equal

from kadam import chapters
from kadam.chapters.contest.budget import config, figures, run
from kadam.chapters.contest.comparisons import TUNED, chosen
from kadam.chapters.contest.measures import expected_best
from kadam.chapters.contest.texts import Inputs
from kadam.lab.train import optimizers

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
SMOKE = config.PROFILES["smoke"]


@pytest.fixture
def record(smoke_records):
    return smoke_records["budget"]


def repeated(record, seeds, **leads):
    """The record with so many seeds, in which methods lead Adam's loss of 2 by what is given for each of its networks."""
    found = record.isel(seed=[0] * seeds).assign_coords(seed=np.arange(seeds)).copy(deep=True)
    found["loss"] = xr.zeros_like(found.loss) + 2.0
    for method, lead in leads.items():
        values = xr.DataArray(lead, dims="network") + xr.DataArray(np.linspace(-0.01, 0.01, seeds), dims="seed")
        found["loss"] = xr.where(found.optimizer == method, found.loss - values, found.loss).transpose(*found.loss.dims)
    return found


def test_what_n_trials_find_is_the_mean_over_all_choices_of_n():
    losses = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    expected = [np.mean([min(some) for some in itertools.combinations(losses, n)]) for n in range(1, 6)]
    assert_allclose(expected_best(losses), expected)
    assert_allclose(expected_best([losses, losses + 1])[1], np.array(expected) + 1)


def test_all_methods_draw_the_same_settings_within_the_ranges_but_for_the_factor_of_their_rate():
    cpu = config.PROFILES["cpu"]
    adam, second = (run.drawn(cpu, name) for name in ("Adam", "2-Adam meta"))
    assert_allclose(second["rate"], optimizers.RATE_FACTOR["k-Adam"] * adam["rate"])
    ends = {"rate": cpu.rates, "warmup": cpu.warmups, "end": cpu.ends}
    ends |= {"gamma": [1 - x for x in cpu.forgets[::-1]], "beta": [1 - x for x in cpu.forgets_squares[::-1]]}
    for name, (low, high) in ends.items():
        assert low <= adam[name].min() < adam[name].max() <= high
        if name != "rate":
            assert_array_equal(adam[name], second[name])
    assert not np.array_equal(run.drawn(replace(cpu, seed=1), "Adam")["rate"], adam["rate"])


def test_every_method_has_as_many_trials_and_a_run_has_the_knobs_of_its_setting():
    contest = run.contest(SMOKE)
    assert {len(contest.trials(name)) for name in contest.methods} == {SMOKE.trials}
    assert contest.plan == (10 * 3, 10 * 2, 10 * 5 * 8)
    drawn, trial = run.drawn(SMOKE, "Adam"), contest.trials("Adam")[1]
    begun = Inputs.of(SMOKE, chapters.request("budget", "smoke").data_sha256).training(contest.pieces[0], 8, trial)
    group = begun.optimizer.param_groups[0]
    assert (group["lr"], *group["betas"]) == (drawn["rate"][1], drawn["gamma"][1], drawn["beta"][1])
    assert (begun.schedule.warmup, begun.schedule.end) == (drawn["warmup"][1], drawn["end"][1])


def test_the_best_by_validation_is_compared_on_other_seeds(record):
    assert_array_equal(record.chosen, record.search_loss.argmin("trial"))
    assert_allclose(record.peak_rate.sel(comparison=TUNED), chosen(record).sel(knob="rate"))
    assert record.attrs["seed"] not in record.seed


@pytest.mark.parametrize(
    ("seeds", "leads", "expected"),
    [
        (9, {"2-Adam meta": [0.1, 0.1], "2-Adam inverse_exp": [0.1, 0.1]}, (YES, NO)),
        (9, {"2-Adam meta": [0.1, 0.1]}, (PARTLY, NO)),
        (9, {"2-Adam meta": [0.0005, -0.1], "NAdam": [0.1, 0.1]}, (NO, PARTLY)),
        (8, {"NAdam": [0.1, 0.1], "4-Adam meta": [0.1, 0.1]}, (NO, YES)),
        (7, {"2-Adam meta": [0.1, 0.1]}, (NOT_RUN, NOT_RUN)),
    ],
)
def test_the_criteria_are_applied_on_both_sides(record, seeds, leads, expected):
    found = Judged("budget", repeated(record, seeds, **leads))
    assert (found["D-7aa"].verdict, found["D-7ab"].verdict) == expected


@pytest.mark.parametrize(("best", "verdict"), [(1, YES), (2, NO)])
def test_the_best_rate_must_lie_inside_of_what_was_drawn(record, best, verdict):
    tried = xr.where(record.knob == "rate", xr.DataArray([1e-3, 2e-3, 4e-3], dims="trial"), record.tried)
    found = record.assign(tried=tried, chosen=xr.full_like(record.chosen, best))
    assert Judged("budget", found)["D-7ac"].verdict == verdict


def test_the_sentence_counts_both_what_is_found_and_what_is_ahead(record):
    told = figures.budget_said(repeated(record, 9, NAdam=[0.1, 0.1]))
    assert "with `NAdam` in both settings, `2-Adam inverse_exp` in none of 2 settings" in told.split("On test text")[1]
    better = xr.where(record.optimizer == "2-Adam meta", 0.0, record.search_loss).transpose(*record.search_loss.dims)
    assert "`2-Adam meta` in both settings" in figures.budget_said(record.assign(search_loss=better)).split("On test text")[0]


@pytest.mark.parametrize("change", [{"rates": (1e-2, 1e-3)}, {"forgets": (0.1, 1.0)}, {"ends": (0.1, 0.2, 0.3)}])
def test_ranges_that_are_none_are_refused(change):
    with pytest.raises(ValueError, match="must be two increasing shares"):
        replace(SMOKE, **change)
