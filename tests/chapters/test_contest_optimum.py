"""Chapter 7: optima between the rates tried, and both sides of what is claimed there."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from judging import Judged
from numpy.testing import assert_allclose

from kadam.chapters.contest import settings, texts
from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import LATER_SEEDS
from kadam.chapters.contest.language import config as language
from kadam.chapters.contest.optimum import config, figures, run
from kadam.chapters.contest.parabola import interpolated_optimum
from kadam.chapters.contest.trials import Trial, best_tried, interpolated
from kadam.lab.data.windows import Unrepeated
from kadam.lab.records import profiles
from kadam.lab.train.language_model import EVALUATED

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
CPU = config.PROFILES["cpu"]


@pytest.fixture
def record(smoke_records):
    return smoke_records["optimum"]


def repeated(record, seeds, **leads):
    """The record with so many seeds, in which methods lead Adam's loss of 2 by what is given for each of its networks."""
    noise = np.linspace(-0.01, 0.01, seeds)
    found = record.isel(seed=[0] * seeds).assign_coords(seed=np.arange(seeds)).copy(deep=True)
    found["loss"] = xr.zeros_like(found.loss) + 2.0
    for strategy, lead in leads.items():
        values = xr.DataArray(lead, dims="network") + xr.DataArray(noise, dims="seed")
        mine = found.optimizer == f"2-Adam {strategy}"
        found["loss"] = xr.where(mine, found.loss - values, found.loss).transpose(*found.loss.dims)
    return found


def claims(record):
    return Judged("optimum", record)


def test_the_tuned_rate_is_the_parabolas_and_lies_between_the_rates_tried():
    rates = [1.0, 2.0, 4.0]
    tried = xr.DataArray([rates, rates], {"optimizer": ["a", "b"], "rate": rates})
    score = -xr.DataArray([[[9.0, 1.0, 4.0], [1.0, 2.0, 3.0]]], dims=("network", "optimizer", "rate"))
    expected = interpolated_optimum([1, 2, 4], [9, 1, 4]).rate
    assert 2 < expected < 4
    assert_allclose(interpolated(tried, score).transpose("network", "optimizer"), [[expected, 1.0]])
    assert_allclose(best_tried(tried, score).transpose("network", "optimizer"), [[2.0, 1.0]])


def test_the_record_has_the_two_comparisons_at_rates_that_its_search_gives(record):
    assert record.comparison.values.tolist() == [TUNED, MATCHED]
    assert_allclose(
        record.peak_rate.sel(comparison=TUNED).transpose("network", "optimizer"),
        interpolated(record.tried, -record.search_loss.mean("tuning_seed")).transpose("network", "optimizer"),
        rtol=1e-5,
    )
    assert_allclose(record.peak_rate.sel(comparison=MATCHED, optimizer="Adam"), config.PROFILES["smoke"].equal_rate, rtol=1e-5)


def test_rates_are_a_factor_of_two_apart_and_seeds_are_those_of_no_other_contest():
    assert_allclose(np.diff(np.log2(CPU.rates)), 1)
    other = language.PROFILES["cpu"]
    used = [set(range(c.seed + later, c.seed + later + c.seeds + 1)) for c in (CPU, other) for later in (0, LATER_SEEDS)]
    assert sum(map(len, used)) == len(set.union(*used))
    assert {setting.name for setting in CPU.settings} <= {setting.name for setting in other.settings}
    assert run.contest(CPU).methods == ("Adam", "NAdam", "2-Adam inverse_exp", "2-Adam meta")


@pytest.mark.parametrize(
    ("seeds", "leads", "expected"),
    [
        (9, {"meta": [0.1, 0.1]}, YES),
        (8, {"meta": [0.1, 0.1]}, YES),  # four tests of 2/2^8
        (7, {"meta": [0.1, 0.1]}, NOT_RUN),
        (9, {"meta": [0.1, 0.0]}, PARTLY),
        (9, {"meta": [-0.1, -0.1]}, NO),
        (9, {"meta": [0.0005, 0.0005]}, NO),
        (9, {"inverse_exp": [0.1, 0.1]}, NO),
    ],
)
def test_the_criteria_are_applied_on_both_sides(record, seeds, leads, expected):
    found = claims(repeated(record, seeds, **leads))
    assert {found[id].verdict for id in ("D-7m meta", "D-7n meta")} == {expected}


def test_with_nine_seeds_a_clear_advantage_rests_on_none_of_them(record):
    claim = Judged("optimum", repeated(record, 9, meta=[0.1, 0.1]), leave_out=True)["D-7m meta"]
    assert claim.left_out == (YES,) * 9
    assert "p 0.016" in claim.measured
    assert "too few seeds: 2" in claims(record)["D-7m meta"].measured


@pytest.mark.parametrize(("losses", "expected"), [([3.0, 2.0, 3.0], YES), ([2.0, 2.1, 2.2], NO)])
def test_every_optimum_must_lie_inside_the_rates(record, losses, expected):
    searched = xr.zeros_like(record.search_loss) + xr.DataArray(losses, dims="rate") - 1.5
    assert claims(record.assign(search_loss=searched.transpose(*record.search_loss.dims)))["D-7o"].verdict == expected


def test_the_figure_marks_the_optimum_and_the_table_tells_it(record):
    network, method = record.network.values[0], "2-Adam meta"
    rate = float(record.peak_rate.sel(comparison=TUNED, network=network, optimizer=method))
    stars = [line.get_xdata()[0] for line in figures.optima(record).axes[0].lines if line.get_marker() == "*"]
    assert min(abs(np.log(np.array(stars) / rate))) < 1e-5
    row = next(row for row in figures.optimum_table(record).rows if row[:2] == (network, method))
    assert row[2] == f"{rate:.2g}"


def test_the_paper_profile_is_what_was_asked_for():
    paper, contest = config.PROFILES["paper"], run.contest(config.PROFILES["paper"])
    assert contest.methods == ("Adam", "NAdam", "2-Adam inverse_exp", "2-Adam meta")
    assert_allclose(np.diff(np.log2(paper.rates)), [1] * 3)
    assert (paper.seeds, paper.tuning_steps, contest.comparisons) == (8, 2400, (TUNED,))
    assert contest.plan == (4 * 4, 4 * 8, 2400 * 48)
    assert EVALUATED // paper.context == 64
    assert paper.windows % 64 == 0  # no graph for a rest


def test_the_arithmetic_is_six_operations_a_weight_and_token_and_that_of_attention():
    paper, found = config.PROFILES["paper"], run.plan(config.PROFILES["paper"])
    blocks, tokens = 4 * 12 * 256**2, 2400 * 48 * 32 * 256
    assert (found.weights, found.runs, found.precision) == (blocks + 2 * 256 * 256 + 9 * 256, 48, "bfloat16")
    attention, evaluated = 4 * 12 * 256 * 256, 48 * 4 * 256 * 256
    counted = 6 * (blocks + 256 * 256) + attention
    assert found.operations == pytest.approx(counted * (tokens + evaluated / 3))
    assert found.moved == 2400 * 24 * found.weights * (28 + 44)
    assert found.least_s == pytest.approx(found.operations / 780e12)
    assert tokens / 48 == pytest.approx(6 * found.weights, rel=1e-2)
    assert run.plan(replace(paper, steps=1200)).steps == 2400 * 16 + 1200 * 32


@pytest.mark.parametrize(("steps", "name"), [(2400, "paper"), (1200, "paper"), (1199, "custom"), (2401, "custom")])
def test_a_shorter_comparison_is_of_the_profile_down_to_the_least(steps, name):
    assert profiles.name_of(config.PROFILES, replace(config.PROFILES["paper"], steps=steps), config.LEAST) == name


def test_a_contest_in_which_no_text_repeats_has_one_comparison_and_other_batches():
    smoke = config.PROFILES["smoke"]
    once = settings.Once(**vars(replace(smoke, steps=4, tuning_steps=4, seeds=1)))
    found = run.run(once)
    assert found.comparison.values.tolist() == [TUNED]
    told = claims(repeated(found, 9))
    assert "comparison not run" in told["D-7n meta"].measured
    assert told["D-7m meta"].verdict == NO
    assert len(figures.optimum_table(found).head) == 4
    figures.optima(found)
    batches = texts.Inputs.of(once, found.attrs["data_sha256"]).training(run.contest(once).pieces[0], 4, Trial(1e-3, 0)).batches
    assert isinstance(batches, Unrepeated)
    with pytest.raises(ValueError, match="comparisons must be one of tuned, matched size; got 'equal rate'"):
        replace(once, comparisons=("equal rate",))


def test_a_pilot_foretells_a_time():
    assert 0 < run.pilot(replace(config.PROFILES["smoke"], steps=4, tuning_steps=4, seeds=1)) < 60


@pytest.mark.parametrize(("lead", "words"), [(0.1, "both settings (+0.100 nats)"), (-0.1, "none of 2 settings (-0.100 nats)")])
def test_the_optima_say_who_is_ahead_and_by_how_much(record, lead, words):
    assert f"`2-Adam meta` in {words}" in figures.optima_said(repeated(record, 9, meta=[lead, lead]))
