"""Chapter generalization: its tables hold what the record holds and what its claims measure, and crosses mark divergence."""

import numpy as np
import pytest

from kadam import chapters
from kadam.chapters.generalization import claims, figures


@pytest.fixture
def record(smoke_records):
    return smoke_records["generalization"].copy(deep=True)


def test_the_tables_say_what_the_claims_measure(record):
    measured = {claim.id: claim.measured for claim in chapters.claims("generalization", record)}
    row = next(row for row in figures.speed_table(record).rows if row[:2] == ("normal curve", "4"))
    assert f"4 nats {row[2]}" in measured["GT-4a"]
    bad = int((claims.behind(claims.at(record, "loss", "fixed")) > claims.BAD).isel(point=~record.stable.values).sum())
    row = next(row for row in figures.unstable_table(record).rows if row[:2] == ("0.003", "exactly unstable"))
    assert row[2] == f"{bad} of {3 * int((~record.stable).sum())}"
    assert f"{bad} of" in measured["D-4f exact, fixed"]


def test_the_tables_hold_what_the_record_holds(record):
    _, sizes = figures.setting(record).split("\n", 1)
    assert sizes.startswith("10 pairs x 3 learning rates (0.003, 0.01, 0.03) x 3 seeds\n60 steps; fixed rate 0.003")
    equal = record.isel(point=int(np.flatnonzero(record.equal)[0]))
    row = next(row for row in figures.normal_table(record).rows if row[-1] == "equal betas")
    assert row[3] == f"{float(equal.loss.sel(rate=3e-3).isel(evaluation=-1).mean()):.3f}"
    assert any("never" in row for row in figures.level_table(record).rows)


def test_a_shorter_memory_is_the_smaller_gamma(record):
    rows = {row[0]: row[1:] for row in figures.cause_table(record).rows}
    of_gamma = claims.by_target(record, "fixed", lambda iterations: -claims.speed_with(iterations, "gamma"))
    assert rows["a shorter memory"][0] == claims.in_words(of_gamma[3.5])
    assert set(rows) == {"a larger C", "a shorter memory", "a larger update"}


def test_what_a_seed_does_to_all_pairs_alike_leaves_no_interval(record):
    one = claims.at(record, "iterations", "fixed").sel(target=4.0)
    shifted = one.isel(seed=[0, 0, 0]) + np.array([[0.0], [5.0], [-2.0]])
    assert float(claims.paired(shifted).std("seed").max()) < 1e-12
    assert float(abs(claims.paired(shifted).mean("seed") - shifted.mean("seed")).max()) < 1e-12


def test_a_diverged_run_ends_badly_even_where_most_runs_inside_diverge(record):
    assert np.isinf(claims.behind(record.loss * np.nan)).all()


def test_diverged_runs_are_drawn_as_crosses(record):
    def crosses(draw, record):
        return sum(len(line.get_xdata()) for ax in draw(record).axes for line in ax.lines if line.get_marker() == "x")

    before = crosses(figures.unstable, record)
    record.loss[:, 0, -1, -1] = np.nan
    record.diverged_at[:, 0, -1] = 7.0
    assert crosses(figures.unstable, record) == before + record.sizes["rate"]
    assert np.isfinite(claims.at(record, "diverged_at", "fixed")).any()
    drawn = [line for ax in figures.level_curves(record).axes for line in ax.lines if line.get_marker() == "x"]
    assert 7.0 in {float(x) for line in drawn for x in line.get_xdata()}
