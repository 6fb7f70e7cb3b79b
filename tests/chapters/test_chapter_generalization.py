"""Chapter generalization: what its smoke record holds, how its claims are decided, and what it draws."""

import numpy as np
import xarray as xr

from kadam.chapters.generalization import figures as generalization


def test_the_tables_of_chapter_4_say_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.generalization import run as experiment

    record = smoke_records["generalization"]
    assert generalization.BAD == experiment.BAD
    xr.testing.assert_identical(generalization.at(record, "loss", "tuned"), experiment.at(record, "loss", "tuned"))
    measured = {claim.id: claim.measured for claim in experiment.claims(record)}
    line = next(x for x in generalization.speed_table(record).splitlines() if x.startswith("normal curve, 4 nats"))
    assert f"4 nats {line[24:48].strip()}" in measured["GT-4a"]
    bad = int(experiment.end_badly(record, "fixed").isel(point=np.flatnonzero(~record.stable)).sum())
    row = next(x for x in generalization.unstable_table(record).splitlines() if "exactly" in x and x.split()[0] == "0.003")
    assert f"{bad} of {3 * int((~record.stable).sum())}" in row
    assert f"{bad} of" in measured["D-4f exact, fixed"]


def test_the_tables_of_chapter_4_hold_what_the_record_holds(smoke_records):
    record = smoke_records["generalization"]
    _, sizes = generalization.setting(record).split("\n", 1)
    assert sizes.startswith("10 pairs x 3 learning rates (0.003, 0.01, 0.03) x 3 seeds\n60 steps; fixed rate 0.003")
    equal = record.isel(point=int(np.flatnonzero(record.equal)[0]))
    line = next(x for x in generalization.normal_table(record).splitlines() if x.endswith("equal"))
    assert f"{float(equal.loss.sel(rate=3e-3).isel(evaluation=-1).mean()):.3f}" in line
    iterations = generalization.at(record, "iterations", "tuned").sel(target=3.5).mean("seed")
    first = generalization.plane_table(record).splitlines()[1].split()
    assert (first[0], float(first[4])) == ("1", round(float(iterations.min())))
    assert "never" in generalization.level_table(record)
    tables = [table(record) for name, table in vars(generalization).items() if name.endswith("_table")]
    assert len(tables) == 6
    assert max(len(line) for table in tables for line in table.splitlines()) <= 90


def test_what_a_seed_does_to_all_pairs_alike_leaves_no_interval(smoke_records):
    record = smoke_records["generalization"]
    one = generalization.at(record, "iterations", "fixed").sel(target=4.0)
    shifted = one.isel(seed=[0, 0, 0]) + np.array([[0.0], [5.0], [-2.0]])
    assert float(generalization.paired(shifted).std("seed").max()) < 1e-12
    assert float(abs(generalization.paired(shifted).mean("seed") - shifted.mean("seed")).max()) < 1e-12


def test_diverged_runs_of_chapter_4_are_drawn_as_crosses(smoke_records):
    def crosses(draw, record):
        return sum(len(line.get_xdata()) for ax in draw(record).axes for line in ax.lines if line.get_marker() == "x")

    record = smoke_records["generalization"].copy(deep=True)
    before = crosses(generalization.unstable, record)
    record.loss[:, 0, -1, -1] = np.nan
    record.diverged_at[:, 0, -1] = 7.0
    assert crosses(generalization.unstable, record) == before + record.sizes["rate"]
    assert np.isfinite(generalization.at(record, "diverged_at", "fixed")).any()
    drawn = [line for ax in generalization.level_curves(record).axes for line in ax.lines if line.get_marker() == "x"]
    assert 7.0 in {float(x) for line in drawn for x in line.get_xdata()}
