"""Chapter box: what its smoke records hold, the configurations that it refuses, and what its tables say."""

import numpy as np
import pytest

from kadam.chapters.box.box import claims as box_claims
from kadam.chapters.box.box import config as box_config
from kadam.chapters.box.box import figures as box_figures
from kadam.chapters.box.box import run as box_run
from kadam.chapters.box.norms import config as norms_config
from kadam.chapters.box.norms import figures as norms_figures
from kadam.chapters.box.pairs import NETWORK, SHORT
from kadam.chapters.box.radius import claims as radius_claims
from kadam.chapters.box.radius import config as radius_config
from kadam.chapters.box.radius import figures as radius_figures
from kadam.chapters.box.radius import run as radius_run
from kadam.chapters.box.window import window_excesses
from kadam.theory import box as theory


def test_the_smoke_record_of_the_box_keeps_what_does_not_depend_on_length(smoke_records):
    record = smoke_records["box"]
    assert float(record.solver_gap.max()) < 1e-6
    assert (record.reach < 1).sel(setting=["SignGD", "equal", "Adam"]).all()
    first = record.isel(kept=0)
    np.testing.assert_allclose(first["size"].sel(setting="equal", schedule="1/n"), 0.05, rtol=1e-9)


@pytest.mark.parametrize("config", [box_config, radius_config])
@pytest.mark.parametrize("decays", [(), (1.0, 0.0), (-2.0,)])
def test_without_weight_decay_no_box_is_asked_for(config, decays):
    with pytest.raises(ValueError, match="decays must be finite and > 0, got"):
        config.Config(decays=decays)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="steps must be a whole number >= 1, got 0"):
        box_config.Config(steps=0)
    with pytest.raises(ValueError, match="images must be one of real, embedded; got 'none'"):
        box_config.Config(images="none")
    with pytest.raises(ValueError, match=r"dimensions must hold one number or more, each >= 2, got \(1,\)"):
        norms_config.Config(dimensions=(1,))
    with pytest.raises(ValueError, match="followed must be a whole number >= 1, got 0"):
        radius_config.Config(followed=0)


def test_the_first_weights_are_the_same_in_every_setting_and_updates_obey_the_bound_even_in_the_smoke_run(smoke_records):
    record = smoke_records["radius"]
    assert (record.start == record.start.isel(setting=0, batches=0)).all()
    share = (record.update_square / record.update_bound).sel(setting=["equal", "Adam"])
    assert int(share.count()) > 20
    assert float(share.max()) <= 1 + 1e-9


def row_of(table, *names):
    """The cells behind these, of the first row that begins with them."""
    return next(row[len(names) :] for row in table.rows if row[: len(names)] == names)


def test_what_is_said_of_the_radii_and_sizes_is_in_the_record(smoke_records):
    record = smoke_records["box"]
    assert "The default pair may go to 7.27 radii" in box_figures.radii_said(record)
    unstable = record.sel(setting="unstable", schedule="1/n")
    largest, end = float(unstable.largest.max()), float(unstable["size"].isel(kept=-1).max())
    assert f"goes farthest, to {largest:.3g} radii, and ends at {end:.3g}" in box_figures.sizes_said(record, schedule="1/n")


def test_where_nothing_settles_nothing_is_said_of_its_end(smoke_records):
    record, *others = (smoke_records[name] for name in ("box", "norms", "radius"))
    none, every = record.assign(settled=record.settled + 1), record.assign(settled=0 * record.settled)
    assert "none of 24 runs settle, so where they end is not judged" in box_figures.answer(none, *others)
    assert "all 24 runs settle, at most" in box_figures.answer(every, *others)


def test_what_has_settled_and_what_has_not_is_told_apart(smoke_records):
    record = smoke_records["box"].copy(deep=True)
    case = {"setting": "Adam", "schedule": "1/n"}
    record.settled.loc[case], record.distance.loc[case] = [0.0, 0.0, 0.01, 1.0], [[0.1], [0.2], [0.3], [0.4]]
    assert row_of(box_figures.limit_table(record), "Adam", "1/n") == ("3 of 4", "3.0e-01", "4.0e-01")
    record.settled.loc[case] = 0.0
    assert row_of(box_figures.limit_table(record), "Adam", "1/n") == ("4 of 4", "4.0e-01", "-")


def test_a_level_that_is_not_reached_takes_for_ever(smoke_records):
    record = smoke_records["norms"].copy(deep=True)
    record.reached.loc[{"descent": "l_2", "basis": "rotated"}] = [[np.nan, np.nan], [30.0, 32.0]]
    assert row_of(norms_figures.step_table(record), "l_2", "rotated") == ("inf", "31")


def test_the_tables_of_the_network_hold_what_the_record_holds(smoke_records):
    record = smoke_records["radius"]
    excess = float(window_excesses(record).sel(setting="short", weight_decay=3.0))
    assert row_of(radius_figures.window_table(record), "short", "3")[0] == f"{excess:.3g}"


def test_the_window_of_a_record_is_the_theorys_at_the_last_rate_of_its_run(smoke_records):
    """Also for a record of an earlier theory, which kept another number."""
    record, config = smoke_records["radius"], radius_config.PROFILES["smoke"]
    excess = window_excesses(record.assign(window_excess=record["size"].isel(batches=0, seed=0, kept=0, drop=True)))
    step = config.eta * radius_run._paces(config)[-1] * np.array(config.decays)
    np.testing.assert_allclose(excess.sel(setting="short"), theory.window_excess(**vars(SHORT), step=step), rtol=1e-12)
    assert (excess.sel(setting="equal") == 0).all()
    np.testing.assert_array_equal(excess.isnull().all("weight_decay"), [s[-1].gamma > s[-1].beta for s in NETWORK.values()])


def test_the_settings_that_claims_group_are_those_whose_last_stage_has_gamma_at_most_beta():
    within = {name: len(s) for name, s in box_run.SETTINGS.items() if s[-1].gamma <= s[-1].beta and name != "L2"}
    assert within == dict.fromkeys(box_claims.WITHIN, 1) | dict.fromkeys(box_claims.STAGED, 2)
    below = {name: len(s) for name, s in NETWORK.items() if s[-1].gamma <= s[-1].beta}
    assert below == dict.fromkeys(radius_claims.BELOW, 1) | {"2-Adam": 2}
    assert tuple(below) == radius_claims.WINDOWED
