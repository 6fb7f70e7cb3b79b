"""Chapter 7: both sides of each criterion, what its judges measure, and what its tables say."""

import functools
import re

import numpy as np
import pytest
import xarray as xr
from judging import Judged

from kadam.chapters.contest import figures as contest
from kadam.chapters.contest import looks, measures
from kadam.chapters.contest.comparisons import COMPARISONS, EQUAL, MATCHED, TUNED
from kadam.chapters.contest.contest import stages
from kadam.chapters.contest.language import config, figures
from kadam.chapters.contest.language.claims import at_equal_time
from kadam.lab.train import optimizers

NAN = float("nan")
METHODS = ["Adam", "Lion", "2-Adam repeat", "3-Adam repeat", "2-Adam meta", "3-Adam meta"]
NETWORKS = ("a", "b")
MARKS = (50, 100)
GUESS = 4.0
DIMS = ("comparison", "network", "optimizer", "seed", "evaluation")


def made(networks=NETWORKS, **losses):
    """A record of 3 seeds whose losses at the end are given by optimizer (in every comparison unless a dict); others are 2.

    Halfway every loss is 1 higher. In the search it is as when tuned at the middle rate and 0.2 higher at the others.
    """
    values = np.full((len(COMPARISONS), len(networks), len(METHODS), 3, len(MARKS)), 2.0)
    for name, given in losses.items():
        place = METHODS.index(name.replace("_", " ").replace("x", "-"))
        by_comparison = given if isinstance(given, dict) else dict.fromkeys(COMPARISONS, given)
        for comparison, of in by_comparison.items():
            values[COMPARISONS.index(comparison), :, place] = np.broadcast_to(of, (1, len(networks))).T[..., None]
    search = values[1, :, :, :1, 0, None] + [0.2, 0.0, 0.2]
    values += np.array([-0.01, 0.0, 0.01])[:, None]  # the seeds, alike for all
    values[..., 0] += 1
    found = xr.Dataset({"loss": (DIMS, values), "search_loss": (("network", "optimizer", "tuning_seed", "rate"), search)})
    names = {"comparison": list(COMPARISONS), "network": list(networks), "optimizer": METHODS, "evaluation": list(MARKS)}
    found = found.assign_coords(names | stages(METHODS))
    one = xr.ones_like(found.loss)
    found = found.assign(update_rms=0.3 * one, max_update=one, spikes=0 * one, peak_rate=1e-3 * one[..., 0, 0])
    found["diverged_at"] = NAN * one[..., 0]
    found["bound"] = xr.where(found.k > 0, 2.0, NAN).expand_dims(evaluation=list(MARKS), axis=1)
    found["tried"] = ("optimizer", "rate"), [optimizers.rates(name, [1e-3, 1e-2, 1e-1]) for name in METHODS]
    found["search_update_rms"] = 0.3 * xr.ones_like(found.search_loss)
    found["search_diverged_at"] = NAN * found.search_loss
    found["guess"], found["parameters"] = ("network", [GUESS] * len(networks)), ("network", [1000] * len(networks))
    facts = {"profile": "custom", "experiment": "language", "config_hash": "0", "data": "made up", "data_origin": "folder"}
    return found.assign_attrs(facts, steps=100, tuning_steps=100, batch=8, context=32, reviews_tokens=1000)


def changed(found, name, optimizer, values):
    """The record with other values in one table of one optimizer."""
    mine = found.optimizer == optimizer
    return found.assign({name: xr.where(mine, values, found[name]).transpose(*found[name].dims)})


def claims(dataset):
    return Judged("language", dataset)


def verdict(dataset, id):
    return claims(dataset)[id].verdict


YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"


@pytest.mark.parametrize(
    ("losses", "id", "expected"),
    [
        ({"2xAdam_repeat": 1.9}, "D-7a repeat", YES),
        ({"2xAdam_repeat": [1.9, 2.0]}, "D-7a repeat", PARTLY),
        ({"2xAdam_repeat": 2.1}, "D-7a repeat", NO),
        ({"2xAdam_repeat": {TUNED: 1.9}}, "D-7a repeat", NO),
        ({"2xAdam_repeat": {TUNED: 1.9}}, "D-7b repeat", YES),
        ({"2xAdam_repeat": {MATCHED: 1.9}}, "D-7c repeat", YES),
        ({"2xAdam_repeat": {TUNED: 1.9}}, "D-7c repeat", NO),
        ({}, "D-7d", YES),
        ({"2xAdam_repeat": {EQUAL: 1.9, MATCHED: 1.9}}, "D-7d", YES),
        ({"2xAdam_repeat": [1.9, 2.0]}, "D-7d", PARTLY),
        ({"2xAdam_repeat": 1.9, "2xAdam_meta": 1.9}, "D-7d", NO),
        ({"3xAdam_repeat": 2.04}, "D-7e", YES),
        ({"3xAdam_repeat": 2.06}, "D-7e", PARTLY),
        ({"3xAdam_repeat": {EQUAL: 3.0}}, "D-7e", YES),
        ({"2xAdam_repeat": {EQUAL: 1.9}}, "D-7f", YES),
        ({"2xAdam_repeat": {EQUAL: 1.9, MATCHED: 1.98}}, "D-7f", YES),
        ({"2xAdam_repeat": {EQUAL: 1.9, MATCHED: [1.98, 1.97]}}, "D-7f", PARTLY),
        ({"2xAdam_repeat": {EQUAL: 1.9, MATCHED: 1.97}}, "D-7f", NO),
        ({"2xAdam_repeat": {EQUAL: 2.1}}, "D-7f", NOT_RUN),
        ({"2xAdam_repeat": 1.9, "Lion": 1.95}, "D-7h", YES),
        ({"2xAdam_repeat": 1.9, "Lion": [1.95, 1.85]}, "D-7h", PARTLY),
        ({"2xAdam_repeat": 1.9, "Lion": 1.85}, "D-7h", NO),
    ],
)
def test_the_criteria_are_applied_on_both_sides(losses, id, expected):
    assert verdict(made(**losses), id) == expected


def test_differences_are_in_nats_and_positive_where_k_2_is_better():
    claim = claims(made(**{"2xAdam_repeat": [1.9, 2.05]}))["D-7b repeat"]
    assert (
        re.sub(r"p [-.e\d]+", "p", claim.measured) == "in nats: a +0.100 (+0.100 to +0.100), p; b -0.050 (-0.050 to -0.050), p"
    )


@pytest.mark.parametrize(
    ("spread", "p", "rivalry", "none_ahead"),
    [(0.01, 0.0033, PARTLY, PARTLY), (0.02, 0.0131, NO, YES)],  # times four tests: 0.013 and 0.052
)
def test_an_advantage_counts_where_it_survives_holms_correction_among_all_of_a_comparison(spread, p, rivalry, none_ahead):
    """Ahead on one network of two, with one strategy of two."""
    found = made(**{"2xAdam_repeat": [1.9, 2.0]})
    noise = xr.DataArray([-spread, 0.0, spread], dims="seed")
    found = changed(found, "loss", "2-Adam repeat", found.loss + noise.where(found.network == "a", 0))
    assert measures.adjusted(found, TUNED).sel(strategy="repeat", network="a") == pytest.approx(4 * p, rel=0.01)
    assert (verdict(found, "D-7b repeat"), verdict(found, "D-7d")) == (rivalry, none_ahead)
    second, adam = (found.loss.sel(optimizer=name, drop=True) for name in ("2-Adam repeat", "Adam"))
    behind = changed(found, "loss", "2-Adam repeat", 2 * adam - second)
    assert measures.adjusted(behind, TUNED).sel(strategy="repeat", network="a") < 0.06
    assert float(measures.in_favour(behind, TUNED).max()) == float(measures.in_favour(behind, TUNED).min()) == 1
    assert verdict(behind, "D-7b repeat") == NO


def test_none_ahead_names_where_a_second_stage_is():
    measured = claims(made(**{"2xAdam_repeat": [2.0, 1.9]}))["D-7d"].measured
    assert measured == "ahead in 1 of 4 cases: 2-Adam repeat (b)"
    assert claims(made())["D-7d"].measured == "ahead in 0 of 4 cases: -"


def test_a_diverged_run_is_no_graceful_growth():
    found = made()
    found.diverged_at.loc[{"optimizer": "3-Adam repeat", "comparison": TUNED}] = 3.0
    assert verdict(found, "D-7e") == NO


@pytest.mark.parametrize(("size", "expected"), [(0.61, YES), (0.59, NO)])
def test_steps_must_be_twice_as_large_as_adams(size, expected):
    found = made()
    larger = xr.where(found.k == 2, size, found.update_rms).transpose(*DIMS)
    assert verdict(found.assign(update_rms=larger), "D-7g") == expected


@pytest.mark.parametrize(("low", "expected"), [(0.2, YES), (0.215, YES), (0.23, NO)])
def test_a_basin_is_as_wide_as_adams_up_to_a_tenth_of_its_logarithm(low, expected):
    # The loss crosses the limit at 0.1 / low of the way to the next rate; Adam's at 0.5.
    found = made()
    for name in ("2-Adam repeat", "2-Adam meta"):
        found = changed(found, "search_loss", name, xr.DataArray([2 + low, 2.0, 2 + low], dims="rate"))
    assert verdict(found, "D-7i") == expected


def test_the_widths_of_the_basins_are_told_as_factors():
    assert claims(made())["D-7i"].measured == "factor between the ends of the basin: Adam 10 (10 to 10), 2-Adam 10 (10 to 10)"


@pytest.mark.parametrize(("adam", "second", "expected"), [(0, 0, YES), (1, 1, YES), (1, 2, NO), (0, 1, NO), (2, 1, YES)])
def test_spikes_are_compared_with_adams(adam, second, expected):
    found = changed(made(), "spikes", "Adam", adam)
    for name in ("2-Adam repeat", "2-Adam meta"):
        found = changed(found, "spikes", name, second)
    assert verdict(found, "D-7j") == expected


def test_spikes_are_counted_over_all_of_training_with_tuned_rates():
    spikes = made().spikes
    spikes.loc[{"optimizer": "Adam", "comparison": TUNED}] = 1.0
    spikes.loc[{"optimizer": "2-Adam meta", "comparison": EQUAL}] = 9.0
    claim = claims(made().assign(spikes=spikes))["D-7j"]
    assert (claim.verdict, claim.measured) == (YES, "spikes a run: Adam 2.00, 2-Adam 0.00")


def test_a_best_rate_at_the_end_of_the_range_is_told():
    assert verdict(made(), "D-7k") == YES
    found = changed(made(), "search_loss", "Lion", xr.DataArray([2.2, 2.1, 2.0], dims="rate"))
    claim = claims(found)["D-7k"]
    assert (claim.verdict, "at an end: Lion" in claim.measured) == (PARTLY, True)


@pytest.mark.parametrize(("largest", "expected"), [(1.0, YES), (2.03, YES), (2.05, PARTLY)])
def test_updates_are_held_against_their_bound_up_to_rounding(largest, expected):
    found = made()
    found.max_update.loc[{"optimizer": "2-Adam meta", "seed": 1, "evaluation": 100, "network": "b"}] = largest
    claim = claims(found)["D-7l"]
    assert claim.verdict == expected
    if expected == PARTLY:
        assert claim.measured == "largest |u| over its bound: 1.02 (2-Adam meta)"


def test_what_has_no_bound_and_what_diverged_breaks_none():
    found = changed(made(), "max_update", "Lion", 1e9)
    assert verdict(changed(found, "max_update", "3-Adam repeat", NAN), "D-7l") == YES


def test_two_seeds_decide_nothing():
    found = claims(made(**{"2xAdam_repeat": 1.0}).isel(seed=slice(2)))
    of = [found[id] for id in ("D-7a repeat", "D-7d", "D-7e", "D-7f", "D-7h")]
    assert {(claim.verdict, claim.measured) for claim in of} == {(NOT_RUN, "too few seeds: 2")}


@pytest.mark.parametrize("bad", [NAN, np.inf, 9.0, GUESS])
def test_a_run_that_diverged_or_lost_more_than_a_guess_guesses(bad):
    found = made()
    found.loss.loc[{"optimizer": "Lion", "seed": 1, "evaluation": 100}] = bad
    for seed, adam, loss in ((1, 2.0, GUESS), (0, 1.99, 1.99)):
        np.testing.assert_allclose(measures.ended(found).sel(optimizer="Lion", seed=seed), loss)
        np.testing.assert_allclose(measures.lead(found, TUNED, "Lion").sel(seed=seed), adam - loss, atol=1e-12)
    search = changed(made(), "search_loss", "Lion", xr.DataArray([2.0, bad, 2.2], dims="rate"))
    of = measures.search_score(search).sel(optimizer="Lion", network="a").squeeze()
    np.testing.assert_allclose(of, [-2.0, -GUESS, -2.2])


def test_every_network_has_its_own_guess():
    found = made(**{"Lion": 9.0}).assign(guess=("network", [3.0, 5.0]))
    of = measures.ended(found).sel(optimizer="Lion", seed=0, comparison=TUNED)
    np.testing.assert_array_equal(of.sel(network=["a", "b"]), [3.0, 5.0])


X = np.array([-3.0, -2.5, -2.0, -1.0])


@pytest.mark.parametrize(
    ("loss", "width"),
    [
        ([3.0, 2.0, 3.0, 4.0], 0.5 * 0.1 + 0.5 * 0.1),  # 0.1 of the way to each side
        ([2.0, 2.2, 3.0, 4.0], 0.5 * 0.5),  # the minimum at the lower end
        ([4.0, 3.0, 2.4, 2.0], 1.0 * 0.25),  # at the upper end
        ([2.05, 2.0, 2.09, 2.1], 2.0),  # good up to both ends
        ([2.05, 2.0, 2.04, 2.24], 1.0 + 1.0 * 0.3),  # up to one
        ([2.5, 2.0, 2.0, 2.4], 0.5 * 0.2 + 0.5 + 1.0 * 0.25),  # a plateau
        ([2.0, 2.2, 2.05, 2.2], 0.25),  # a second valley behind a ridge does not count
        ([2.2, 2.0, 2.1, 2.1], 0.25 + 1.5),  # a loss on the limit is good
        ([2.0, 2.0, 2.0, 2.0], 2.0),
    ],
)
def test_a_basin_ends_where_the_loss_crosses_its_limit(loss, width):
    for x, y in ((X, loss), (-X[::-1], loss[::-1])):
        assert measures.width_and_cut(x, np.array(y))[0] == pytest.approx(width, rel=1e-9)


def test_the_reach_is_counted_from_the_first_point():
    assert measures.reach(X, np.array([2.0, 2.0, 2.4, 2.0]), 2.1) == pytest.approx(0.5 + 0.125)
    assert measures.reach(X, np.full(4, 2.0), 2.1) == 2.0
    assert measures.reach(X[:1], np.array([2.0]), 2.1) == 0.0


def test_the_basin_does_not_depend_on_the_unit_of_the_rate_and_a_diverged_rate_ends_it():
    np.testing.assert_allclose(measures.basin(made()).width, 1)  # half a power of ten to each side, at all factors of rates
    found = changed(made(), "search_loss", "Lion", xr.DataArray([2.0, 2.05, NAN], dims="rate"))
    expected = 1 + (2.1 - 2.05) / (GUESS - 2.05)
    np.testing.assert_allclose(measures.basin(found).width.sel(optimizer="Lion"), expected)
    np.testing.assert_allclose(measures.basin(found).width.sel(optimizer="Adam"), 1)


def test_a_basin_that_the_search_cuts_off_is_told():
    found = changed(made(), "search_loss", "Lion", xr.DataArray([2.0, 2.05, 2.5], dims="rate"))
    cut = measures.basin(changed(found, "search_loss", "2-Adam meta", xr.DataArray([2.5, 2.05, 2.0], dims="rate"))).cut
    assert cut.optimizer[cut.all("network")].values.tolist() == ["Lion", "2-Adam meta"]
    assert cut.optimizer[cut.any("network")].values.tolist() == ["Lion", "2-Adam meta"]
    rows = figures.basin_table(found).rows
    assert {("Lion", *[f"> {10 ** (1 + 0.05 / 0.45):.1f}"] * 2), ("Adam", "10.0", "10.0")} <= set(rows)


COST = {"2-Adam meta": 1.25, "Adam": 1.0, "Lion": 0.9, "another": 2.0}


def test_at_equal_time_the_loss_is_that_at_fewer_steps():
    read = at_equal_time(made(**{"Lion": 1.9}), COST).sel(comparison=TUNED, network="b", seed=1)
    assert read.optimizer.values.tolist() == ["Adam", "Lion", "2-Adam meta"]
    expected = [2.0, 1.9, 2.0 + (100 - 80) / 50]  # Lion is faster and read at its end
    np.testing.assert_allclose(read, expected)


def test_before_the_first_evaluation_the_loss_comes_from_a_guess():
    read = at_equal_time(made(), {"2-Adam meta": 4.0}).sel(comparison=TUNED, network="b", seed=1)
    np.testing.assert_allclose(read, [(GUESS + 3.0) / 2])


def test_a_run_that_diverged_guesses_from_then_on_at_equal_time():
    found = made()
    found.loss.loc[{"optimizer": "2-Adam meta", "evaluation": 100, "seed": 1}] = NAN
    read = functools.partial(at_equal_time(found, COST).sel, comparison=TUNED, network="b", optimizer="2-Adam meta")
    np.testing.assert_allclose(read(seed=1), 3.0 + (GUESS - 3.0) * 30 / 50)
    np.testing.assert_allclose(read(seed=0), 2.39)
    end = at_equal_time(found, {"2-Adam meta": 1.0}).sel(comparison=TUNED, network="b", seed=1)
    np.testing.assert_allclose(end, [GUESS])


def test_the_tables_hold_what_the_record_holds():
    found = made(**{"Lion": {EQUAL: 2.5, TUNED: [1.9, 2.1]}})
    hold = {
        contest.rate_table(found): [("a", "Lion", "0.001", "1.900", "0.3"), ("b", "Lion", "0.001", "2.100", "0.3")],
        contest.advantage_table(found): [(EQUAL, "repeat", *["+0.000 (+0.000 to +0.000)"] * 2)],
        contest.stage_table(found, TUNED): [(TUNED, "a", "repeat", "2.000", "2.000", "2.000")],
        figures.time_table(made(), COST): [("a", "2-Adam meta", "1.25", "2.000 (1.975 to 2.025)", "2.400 (2.375 to 2.425)")],
    }
    for table, rows in hold.items():
        assert set(rows) <= set(table.rows)


def tables(record):
    own = [figures.basin_table(record), figures.time_table(record, dict.fromkeys(METHODS, 1.0))]
    return [*own, contest.advantage_table(record), contest.rate_table(record)]


def sentences(record):
    shared = "advantage", "rates", "rates_by_k", "sizes", "stages", "ranking"
    found = [getattr(contest, f"{name}_said")(record) for name in shared]
    own = [figures.answer(record, record), figures.basin_said(record), figures.time_said(record, dict.fromkeys(METHODS, 1.0))]
    return [*found, *own, *(said(record, methods=METHODS) for said in (contest.curves_said, figures.updates_said))]


def test_the_first_of_all_methods_is_the_one_that_loses_least():
    found = made(Lion={EQUAL: 2.5, TUNED: [1.9, 2.1]})
    assert figures.answer(found, found).endswith("the first is `Lion` in 1 of 2 networks and `Adam` in 1 of 2 networks.")
    assert "The first of 6 methods is `Lion` in 1 of 2 networks" in contest.ranking_said(found)


def test_a_lead_is_told_by_where_adams_own_best_rate_lies():
    found = made(**{"2xAdam_meta": {EQUAL: 1.9, TUNED: 2.0}})
    found.peak_rate.loc[{"optimizer": "Adam", "comparison": TUNED, "network": "a"}] = 1e-2
    said = contest.advantage_said(found)
    assert "Left of these at matched size: none of 2 leads, at tuned rates: none of 2 leads." in said
    assert "best rate lies above the shared one in 1 of 2 networks; found there: 1 of 2 leads." in said


def test_curves_are_compared_early_and_at_the_end():
    found = made(**{"2xAdam_meta": {TUNED: [1.9, 2.1]}})
    found.loss.loc[{"optimizer": "3-Adam meta", "comparison": TUNED, "evaluation": 50}] = 2.5
    told = "in 3 of 8 cases at step 50 and in 1 of 8 cases at the end"
    assert told in contest.curves_said(found, methods=METHODS)


def test_unstable_runs_are_told():
    found = made(Lion={EQUAL: 5.0, TUNED: 2.0})
    found.diverged_at.loc[{"optimizer": "2-Adam repeat", "comparison": EQUAL, "seed": 0, "network": "a"}] = 60.0
    found.max_update.loc[{"optimizer": "Adam", "comparison": EQUAL, "network": "b", "evaluation": 50}] = 2.5
    said = figures.updates_said(found, methods=METHODS)
    assert "1 of 144 runs diverged" in said
    assert said.endswith("at the loss of a guess or above: `Lion`.")
    assert "its largest entry 1.0 (`Adam`) to 2.5 (`Adam`)" in said
    assert "within its bound in 4 of 5 methods that have one, at 50% to 125% of it" in said


def test_basins_are_told_beside_adams():
    found = made(networks=("a", "a, q/k norm"))
    narrow = xr.DataArray([9.0, 2.0, 9.0], dims="rate")
    said = figures.basin_said(changed(found, "search_loss", "2-Adam meta", narrow))
    assert "narrower than Adam's, by more than a tenth of its logarithm, in 2 of 4 cases. From" in said
    assert "it widens in 2 of 4 cases. Normalised queries and keys widen it in none of 6 cases." in said


def test_tables_of_four_networks_name_each():
    names = [setting.name for setting in config.PROFILES["cpu"].settings]
    for table in [*tables(made(networks=names)), contest.stage_table(made(networks=names), *COMPARISONS)]:
        assert set(names) <= {cell for row in (table.head, *table.rows) for cell in row}


def crosses(figure):
    return [(x, y) for axes in figure.axes for line in axes.lines if line.get_marker() == "x" for x, y in line.get_xydata()]


def test_what_diverged_or_lost_more_than_a_guess_is_a_cross_at_the_top():
    assert crosses(contest.rates(made())) == []
    bad = changed(made(), "search_loss", "Lion", xr.DataArray([2.0, NAN, 9.0], dims="rate"))
    found = crosses(contest.rates(bad))
    assert {y for _, y in found} == {looks.TOP}
    assert len(found) == 2 * 2 * 2  # networks, above and below, rates
    assert {x for x, _ in found if x != 0.8 * looks.LARGEST} == {0.2 * 1e-2, 0.2 * 1e-1}


@pytest.mark.parametrize(("lion", "top"), [(2.1, (2.0 + GUESS) / 2), (3.7, 3.7 + measures.BASIN)])
def test_the_axis_of_losses_ends_halfway_to_a_guess_or_where_every_method_shows_its_best(lion, top):
    for axes in contest.rates(made(networks=("a",), Lion=lion)).axes:
        assert axes.get_ylim()[1] == pytest.approx(top)


def test_a_record_in_which_every_run_diverged_is_drawn_and_written():
    found = made()
    lost = {name: NAN * found[name] for name in ("loss", "search_loss", "search_update_rms", "update_rms", "max_update")}
    found = found.assign(lost)
    shared = [contest.advantage, contest.stages, contest.rates, contest.rates_by_k, contest.ranking, contest.sizes]
    own = [draw(found, methods=METHODS[:3]) for draw in (contest.curves, figures.updates)]
    for figure in (*(draw(found) for draw in shared), figures.basin(found), *own):
        figure.canvas.draw()
    assert all(table.rows for table in (*tables(found), contest.stage_table(found, TUNED)))
    assert not [words for words in sentences(found) if re.search(r"\b(nan|inf)\b", words)]


def test_a_run_that_diverged_ends_its_curve_with_a_cross():
    found = made()
    found.loss.loc[{"optimizer": "Lion", "evaluation": 100, "seed": 1, "comparison": TUNED, "network": "b"}] = NAN
    assert crosses(contest.curves(found, methods=METHODS[:2])) == [(100, looks.TOP)]


def test_the_setting_names_data_and_sizes():
    assert figures.setting(made()).splitlines() == [
        "profile custom; 100 steps of 8 windows of 32 tokens, 3 seeds",
        "search: 3 learning rates, 100 steps, 1 seed",
        "made up",
        "tokens to learn from: reviews 1,000",
        "parameters: a 1,000; b 1,000",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_panels_by_network_hide_what_is_left_over(count):
    figure, axes = looks.by_network(made(networks=list("abcd")[:count]), height=2.0, ylabel="left")
    assert [ax.get_title() for ax in axes] == list("abcd")[:count]
    assert sum(ax.get_visible() for ax in figure.axes) == count
    assert [ax.get_ylabel() for ax in axes] == ["left", ""] * (count // 2) + ["left"] * (count % 2)
