"""Chapter stability: what its smoke record holds, how its claims are decided, and what it draws."""

import matplotlib.pyplot as plt
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.stability import figures
from kadam.chapters.stability.config import Config


@pytest.mark.parametrize("change", [{"grid": 0}, {"length": 10}, {"pairs": -1}])
def test_a_bad_stability_configuration_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Config(**change)


@pytest.mark.parametrize(
    ("id", "variable", "factor", "verdict"),
    [
        ("GT-1a", "boundary_continuous", 1.0, "reproduced"),
        ("GT-1a", "boundary_continuous", 0.5, "not reproduced"),
        ("GT-1b", "attained", 0.5, "reproduced"),
        ("GT-1b", "attained", 1.0, "not reproduced"),
        ("D-1c", "sequence_ratio", 1 + 5e-13, "reproduced"),
        ("D-1c", "sequence_ratio", 1 + 2e-12, "not reproduced"),
        ("D-1d", "attained", 1 + 5e-13, "reproduced"),
        ("D-1d", "attained", 1 + 2e-12, "not reproduced"),
        ("D-1e", "growth_measured", 1 + 5e-10, "reproduced"),
        ("D-1e", "growth_measured", 1 + 2e-9, "not reproduced"),
        ("D-1f", "last_stage_ratio", 1 + 5e-13, "reproduced"),
        ("D-1f", "last_stage_ratio", 1 + 2e-12, "not reproduced"),
    ],
)
def test_the_criteria_on_stability_are_applied_on_both_sides(smoke_records, id, variable, factor, verdict):
    found = smoke_records["stability"]
    ones = ("sequence_ratio", "last_stage_ratio", "growth_measured", "growth_predicted")
    record = found.assign({name: xr.ones_like(found[name]) for name in ones} | {"attained": found.bound_discrete})
    changed = record.assign({variable: record[variable] * factor})
    assert {claim.id: claim.verdict for claim in chapters.claims("stability", changed)}[id] == verdict


def test_a_claim_that_fails_is_reported_as_not_reproduced(smoke_records):
    wrong = smoke_records["stability"].copy()
    wrong["attained"] = wrong.attained * 1.001
    wrong["last_stage_ratio"] = wrong.last_stage_ratio + 1
    verdicts = {claim.id: claim.verdict for claim in chapters.claims("stability", wrong)}
    assert (verdicts["D-1d"], verdicts["D-1f"], verdicts["D-1c"]) == ("not reproduced", "not reproduced", "reproduced")


def test_drawing_leaves_matplotlibs_settings_alone(smoke_records):
    before = dict(plt.rcParams)
    figures.boundaries(smoke_records["stability"])
    assert dict(plt.rcParams) == before


def test_the_practice_table_says_which_pairs_are_unstable(smoke_records):
    rows = figures.practice_table(smoke_records["stability"]).rows
    assert len(rows) == 9
    assert {row[0] for row in rows if "unstable" in row} == {"momentum 0.98", "default swapped"}
    assert rows[0] == ("Adam default", "0.9", "0.999", "0.2212", "0.000", "stable", "stable", "1.05", "5.8")


def test_the_table_of_bounds_holds_what_is_reached(smoke_records):
    record = smoke_records["stability"]
    third = record.isel(example=2).sel(n=10)
    numbers = (third.attained, third.bound_discrete, third.bound_continuous)
    assert figures.bound_table(record, 10).rows[2] == ("0.9", "0.95", *(f"{float(x):.5g}" for x in numbers))


def test_the_widest_gap_and_the_one_at_the_default_momentum_are_the_theorys(smoke_records):
    words = figures.boundaries_said(smoke_records["stability"])
    assert f"{((1 + 5**0.5) / 2) ** -5:.4f} in" in words
    assert f"{0.9 / 1.1 - 0.81:.2g} at $\\gamma = 0.9$" in words


def test_a_sequence_above_its_bound_and_an_unsafe_grid_point_are_told(smoke_records):
    record = smoke_records["stability"]
    wrong = record.assign(sequence_ratio=2 * record.sequence_ratio, rate_discrete=record.rate_discrete + 1)
    assert "The paper's region is safe" in figures.answer(record)
    assert "The paper's region is not safe" in figures.answer(wrong)
    assert "exceeded by none of 40 sequences of Adam" in figures.runs_said(record)
    assert "exceeded by none of 40 sequences of Adam" not in figures.runs_said(wrong)
