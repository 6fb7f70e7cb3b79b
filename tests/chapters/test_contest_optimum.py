"""Chapter 7: optima between the rates tried, and both sides of what is claimed there."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from kadam import chapters
from kadam.chapters.contest.comparisons import MATCHED, TUNED
from kadam.chapters.contest.contest import LATER_SEEDS
from kadam.chapters.contest.language import config as language
from kadam.chapters.contest.optimum import config, figures, run
from kadam.chapters.contest.parabola import interpolated_optimum
from kadam.chapters.contest.trials import best_tried, interpolated

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
    return {claim.id: claim for claim in chapters.claims("optimum", record)}


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
    claim = claims(repeated(record, 9, meta=[0.1, 0.1]))["D-7m meta"]
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
