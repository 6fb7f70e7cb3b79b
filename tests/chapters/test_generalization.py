"""Chapter 4: which pairs are trained, what is kept of them, how speed is measured, and both sides of each criterion."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Judged, Verdicts
from numpy.testing import assert_allclose, assert_array_equal

from kadam import chapters
from kadam.chapters.generalization import claims, run, validation
from kadam.chapters.generalization.config import ADAM, ADAM_C, PROFILES, Config
from kadam.decay import Decay
from kadam.lab.data.sources import configured_text, load_text
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.lab.train.tasks import Batches, character_model
from kadam.theory import stability

SMOKE = PROFILES["smoke"]
TINY = replace(SMOKE, normal=2, level=1, seeds=2, chunk=4, steps=9, evaluations=3)


# Which pairs


def test_the_first_level_is_adams():
    assert stability.coefficient(**vars(ADAM)) == ADAM_C


def test_the_laptop_trains_64_pairs_and_adams_is_one_of_them():
    pairs = run.settings(Config())
    assert pairs.sizes["point"] == 64
    assert int(((abs(pairs.beta - 0.999) < 1e-12) & (abs(pairs.gamma - 0.9) < 1e-12)).sum()) == 1


def test_pairs_lie_on_their_curves():
    pairs = run.settings(Config())
    C = stability.coefficient(beta=pairs.beta.values, gamma=pairs.gamma.values)
    assert_allclose(C, pairs.coefficient, rtol=1e-12, atol=1e-14)
    normal = pairs.isel(point=np.flatnonzero(pairs.curve == "normal"))
    assert_allclose(2 * normal.beta**3 + normal.gamma**3, 2 * 0.999**3 + 0.9**3, rtol=1e-14)
    assert (np.diff(normal.gamma) > 0).all()
    levels = pairs.isel(point=np.flatnonzero(pairs.curve != "normal"))
    assert {float(C) for C in levels.coefficient.values} == set(Config().levels)  # not rounded
    assert float(1 / (1 - levels.gamma).min()) == pytest.approx(100)
    assert float((1 / (1 - levels.beta)).max()) == pytest.approx(1000)


def test_one_pair_of_the_normal_curve_has_exactly_equal_betas():
    pairs = run.settings(Config())
    (equal,) = np.flatnonzero(pairs.equal)
    assert pairs.beta.values[equal] == pairs.gamma.values[equal]
    assert str(pairs.curve.values[equal]) == "normal"


def test_some_pairs_lie_between_the_two_boundaries():
    pairs = run.settings(Config())
    between = (pairs.coefficient < 0) & pairs.stable
    assert 0 < int(between.sum()) < int((pairs.coefficient < 0).sum())
    assert set(pairs.curve.values[between.values].tolist()) == {"C = -0.03"}


# What is held out


def test_training_never_sees_the_text_held_out():
    text = load_text(embedded=True)
    parts = validation.hold_out(text, held_out=0.1, windows=50, context=8)
    cut = len(parts.train)
    assert cut == round(0.9 * len(text.tokens))
    assert_array_equal(parts.train, text.tokens[:cut])
    assert_array_equal(parts.windows[0], text.tokens[cut : cut + 9])
    assert_array_equal(parts.windows[-1], text.tokens[-9:])
    short = validation.HeldOut(np.arange(12), np.zeros((1, 9), dtype=np.int64))
    drawn = short.draw(np.random.default_rng(0), 200).numpy()
    assert_array_equal(drawn - drawn[:, :1], np.broadcast_to(np.arange(9), (200, 9)))
    assert set(drawn[:, 0]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": 0.0}, r"held_out must be a share in \(0, 1\), so that both parts hold text, got 0.0"),
        ({"held_out": 1.0}, r"held_out must be a share in \(0, 1\), so that both parts hold text, got 1.0"),
        ({"held_out": float("nan")}, r"held_out must be a share in \(0, 1\).*got nan"),
        ({"held_out": 1e-9}, "context must be below 0, the characters of the shorter part of the text, got 8"),
        ({"context": 6554}, "context must be below 6554, the characters of the shorter part of the text, got 6554"),
        ({"windows": 6547}, "windows must be from 1 to 6546, the places for one in the part held out, got 6547"),
    ],
)
def test_a_text_that_is_too_short_is_refused_before_training(change, message):
    with pytest.raises(ValueError, match=message):
        run.run(replace(SMOKE, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": 0}, "normal must be a whole number >= 1, got 0"),
        ({"windows": 2.5}, "windows must be a whole number >= 1, got 2.5"),
        ({"rates": ()}, r"rates must be finite and > 0, got \(\)"),
        ({"rates": (3e-3, float("inf"))}, "rates must be finite and > 0, got"),
        ({"targets": (2.0, 2.0)}, r"targets must hold each number once, got \(2.0, 2.0\)"),
        ({"fixed_rate": 0.5}, r"fixed_rate must be one of rates \(0.003, 0.01, 0.03\), got 0.5"),
        ({"evaluations": 61}, "evaluations must be at most steps, 60, got 61"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **change)


def test_a_level_that_no_pair_has_is_refused():
    with pytest.raises(ValueError, match=r"C must be below 2 \(1-gamma\)/gamma = 2 at gamma = 0.5, got 2.5"):
        run.run(replace(SMOKE, levels=(2.5,)))


# How speed is measured


def falling(*losses):
    return xr.DataArray(list(losses), dims="evaluation", coords={"evaluation": 10 * np.arange(len(losses))})


@pytest.mark.parametrize(
    ("losses", "target", "expected"),
    [
        ((4.0, 3.0, 2.0), 3.5, 5.0),
        ((4.0, 3.0, 2.0), 2.25, 17.5),
        ((4.0, 3.0, 2.0), 3.0, 10.0),  # reached exactly
        ((4.0, 2.0, 4.0, 1.0), 3.0, 5.0),  # the first time counts
        ((4.0, 3.0), 5.0, 0.0),  # before the first step
        ((4.0, 3.0), 2.9, np.nan),
        ((4.0, np.inf, 3.0), 3.5, 20.0),  # nothing to interpolate from
        ((4.0, np.nan, np.nan), 3.5, np.nan),
    ],
)
def test_a_target_is_reached_between_two_evaluations(losses, target, expected):
    found = validation.iterations_to(falling(*losses), (target,))
    assert found.dims == ("target",)
    assert_allclose(found, [expected])


def test_targets_are_reached_point_by_point():
    loss = xr.concat([falling(4.0, 2.0), falling(4.0, 3.0)], "point")
    found = validation.iterations_to(loss, (3.5, 2.5)).transpose("point", "target")
    assert_allclose(found, [[2.5, 7.5], [5.0, np.nan]])


def test_a_rate_is_chosen_without_the_run_that_it_is_judged_by():
    score = xr.DataArray(np.ones((3, 4, 2)), dims=("rate", "seed", "point"), coords={"seed": [5, 6, 7, 8]})
    score[1] = 0.9
    score[2, 0, 0] = 0.0  # best for seed 5 by far, as seed 5 alone knows
    chosen = validation.best_elsewhere(score)
    assert chosen.dims == ("seed", "point")
    assert_array_equal(chosen.sel(point=0), [1, 2, 2, 2])
    assert_array_equal(chosen.sel(point=1), [1, 1, 1, 1])


def test_a_rate_that_diverged_for_another_seed_is_not_chosen_and_one_seed_judges_itself():
    score = xr.DataArray([[1.0, np.nan], [2.0, 2.0]], dims=("rate", "seed"), coords={"seed": [0, 1]})
    assert_array_equal(validation.best_elsewhere(score), [1, 0])
    assert_array_equal(validation.best_elsewhere(score.isel(seed=[0])), [0])


def test_a_summary_says_when_a_run_diverged_and_its_peak_before():
    steps = np.array([[1.0, 1.0], [2.0, np.nan], [3.0, np.nan], [4.0, np.nan]])
    seen = {"train_loss": steps, "max_update": 10 * steps, "square": steps**2, "loss": steps[:3]}
    found = validation.summary(seen, np.array([0, 2, 4]))
    assert_array_equal(found.diverged_at, [np.nan, 1])
    assert_array_equal(found.peak_update, [40, 10])
    assert_allclose(found.train_loss, [[np.nan, np.nan], [1.5, np.nan], [3.5, np.nan]])
    assert_allclose(found.max_update[:, 0], [np.nan, 20, 40])
    assert_allclose(found.update_rms[:, 0], [np.nan, np.sqrt(2.5), np.sqrt(12.5)])


# What a run is


def test_members_start_alike_and_end_apart():
    record = run.run(TINY)
    assert record.loss.dims == ("rate", "seed", "point", "evaluation")
    first = record.loss.isel(evaluation=0)
    assert float((first - first.isel(rate=0, point=0)).max()) == 0
    assert float(abs(first.isel(seed=0) - first.isel(seed=1)).min()) > 0
    ends = record.loss.isel(evaluation=-1, seed=0).values.ravel()
    assert len(set(ends.tolist())) == len(ends)


def test_a_member_is_the_run_of_its_pair_at_its_rate():
    config, text = TINY, configured_text(TINY)
    record, pairs, parts = run.run(config), run.settings(config), run.held_out(config, text)
    rate, point = 2, 1
    decay = Decay(beta=float(pairs.beta[point]), gamma=float(pairs.gamma[point]))
    model = character_model(config, text, config.seed + 1)
    ensemble = Ensemble(model, next_token_loss, [(decay,)], lr=config.rates[rate], eps=1e-8)
    batches = Batches(parts.draw, np.random.default_rng([config.seed + 1, 1]), config.batch)
    largest = []
    for _ in range(config.steps):
        ensemble.step(next(batches))
        largest.append(max(float(u.abs().max()) for u in ensemble.updates.values()))
    (loss,) = validation.losses(ensemble, model, torch.from_numpy(parts.windows))
    one = record.isel(rate=rate, seed=1, point=point)
    assert float(one.loss[-1]) == pytest.approx(float(loss), rel=1e-6)
    assert float(one.peak_update) == pytest.approx(max(largest), rel=1e-5)


def test_chunks_change_no_number():
    record, apart = run.run(TINY), run.run(replace(TINY, chunk=5))
    xr.testing.assert_allclose(apart.drop_attrs(deep=False), record.drop_attrs(deep=False), rtol=1e-5)


def test_the_choices_are_the_fixed_rate_and_the_best_of_the_other_seeds(smoke_records):
    record = smoke_records["generalization"]
    assert_array_equal(record.rate.values[record.chosen.sel(choice="fixed")], SMOKE.fixed_rate)
    end = record.loss.isel(evaluation=-1)
    expected = end.isel(seed=[1, 2]).mean("seed").argmin("rate")
    assert_array_equal(record.chosen.sel(choice="tuned").isel(seed=0), expected)
    again = claims.at(record, "loss", "tuned").isel(seed=0, evaluation=-1)
    assert_array_equal(again, end.isel(seed=0).isel(rate=expected))


def test_a_run_that_diverges_is_kept_and_said_when():
    record = run.run(replace(TINY, rates=(1e-3, 1e38), fixed_rate=1e-3, dtype="float32"))
    wild = record.sel(rate=1e38)
    assert np.isfinite(wild.diverged_at).all()
    assert wild.loss.isel(evaluation=-1).isnull().all()
    assert wild.iterations.isnull().all()
    assert record.sel(rate=1e-3).diverged_at.isnull().all()
    assert_array_equal(record.chosen.sel(choice="tuned"), 0)


# Criteria

YES, PARTLY, NO = "reproduced", "partly", "not reproduced"
PAIRS = run.settings(Config(normal=21, level=8))
INSIDE = PAIRS.coefficient.values > 0


def made(iterations=None, final=None, size=None, *, only="both", rates=(0.05, 0.0, 0.05)):
    """A record of three seeds in which every pair's iterations, final loss and size of update are given: an array a point.

    ``iterations`` may be a list, one a target. ``only``: the choice that has them; at the other all pairs are alike.
    """
    ones = np.ones(len(INSIDE))
    each = [iterations] * 2 if not isinstance(iterations, list) else iterations
    given = np.stack([ones if x is None else x for x in each], axis=-1)
    places = {"fixed": [0], "tuned": [1], "both": [0, 1]}[only]
    shape = (3, 3, len(ones))
    values, loss, rms = np.ones((*shape, 2)), np.full((*shape, 1), 3.0), np.ones((*shape, 1))
    values[places], loss[places, ..., 0] = given, 3.0 if final is None else final
    loss += np.array(rates)[:, None, None, None]
    rms[..., 0] = 1.0 if size is None else size
    dims = ("rate", "seed", "point")
    record = xr.Dataset(
        {
            "iterations": ((*dims, "target"), values),
            "loss": ((*dims, "evaluation"), loss),
            "update_rms": ((*dims, "evaluation"), rms),
            "diverged_at": (dims, np.full(shape, np.nan)),
            "chosen": (("choice", "seed", "point"), np.broadcast_to([[[0]], [[1]]], (2, 3, len(ones)))),
        },
        coords={"choice": ["fixed", "tuned"], "seed": [0, 1, 2], "rate": [1e-3, 1e-2, 1e-1], "target": [3.0, 2.0]},
    )
    return record.merge(PAIRS).assign_attrs(profile="custom", experiment="generalization", config_hash="0")


def verdicts(record):
    return Verdicts("generalization", record)


C, GAMMA = PAIRS.coefficient.values, PAIRS.gamma.values
ON_NORMAL = PAIRS.curve.values == "normal"
UNSTABLE = ~PAIRS.stable.values


@pytest.mark.parametrize(
    ("iterations", "id", "verdict"),
    [
        (-C, "GT-4a", YES),
        (C, "GT-4a", NO),
        ([-C, C], "GT-4a", PARTLY),
        (np.where(ON_NORMAL, -C, C), "GT-4a", YES),
        (np.where(ON_NORMAL, -C, 1 + C), "D-4e", NO),
        (-C, "D-4e", YES),
        (-C, "D-4d", YES),
        (C, "D-4d", NO),
        (-C, "D-4i", YES),
        (C, "D-4i", NO),
        (-C, "GT-4b", YES),
        (GAMMA, "GT-4b", NO),
        ([-C, GAMMA], "GT-4b", PARTLY),
        (-C, "GT-4c", YES),
        (C, "GT-4c", NO),
        ([INSIDE + 0.0, -C], "GT-4c", PARTLY),
        (GAMMA, "D-4l fixed", YES),
        (-C, "D-4l fixed", NO),
        (GAMMA, "D-4l tuned", YES),
        (-C, "D-4l tuned", NO),
    ],
)
def test_the_criteria_on_speed_are_applied_on_both_sides(iterations, id, verdict):
    assert verdicts(made(iterations))[id] == verdict


def test_each_choice_is_judged_by_its_own_runs():
    fixed, tuned = verdicts(made(-C, only="fixed")), verdicts(made(-C, only="tuned"))
    assert [fixed[id] for id in ("GT-4a", "D-4e", "D-4d", "D-4i")] == [YES] * 2 + ["not run at this profile"] * 2
    assert [tuned[id] for id in ("GT-4a", "D-4e", "D-4d", "D-4i")] == ["not run at this profile"] * 2 + [YES] * 2


def test_pairs_that_never_get_there_are_last():
    never = np.where(C < 0.1, np.nan, -C)
    assert verdicts(made(never))["GT-4a"] == YES
    assert verdicts(made(np.where(C > 0.1, np.nan, 1.0)))["GT-4a"] == NO
    nobody = Judged("generalization", made(np.full(len(C), np.nan)))["GT-4a"]
    assert (nobody.verdict, "no target orders them" in nobody.measured) == ("not run at this profile", True)


@pytest.mark.parametrize(("size", "verdict"), [(-GAMMA, YES), (C, NO)])
def test_the_size_of_the_update_is_compared_with_c(size, verdict):
    assert verdicts(made(GAMMA, size=2 + size))["D-4j"] == verdict


@pytest.mark.parametrize(
    ("worse", "found"),
    [
        (C < 0, {"D-4f paper's": YES, "D-4f exact": YES, "D-4g": NO}),
        (UNSTABLE, {"D-4f paper's": PARTLY, "D-4f exact": YES, "D-4g": YES}),
        (UNSTABLE & (C < -0.03), {"D-4f paper's": PARTLY, "D-4f exact": PARTLY, "D-4g": YES}),
        (C > 1, {"D-4f paper's": NO, "D-4f exact": NO, "D-4g": YES}),
    ],
)
def test_bad_ends_are_counted_outside_each_boundary(worse, found):
    for only, other in (("fixed", "tuned"), ("tuned", "fixed")):
        told = verdicts(made(final=3.0 + 0.11 * worse, only=only))
        for id, verdict in found.items():
            separator = " " if id == "D-4g" else ", "
            assert told[f"{id}{separator}{only}"] == verdict
            assert told[f"{id}{separator}{other}"] == (YES if id == "D-4g" else NO)


def test_a_tenth_of_a_nat_is_the_limit_and_a_diverged_run_is_beyond_it():
    assert verdicts(made(final=3.0 + 0.09 * UNSTABLE))["D-4f exact, fixed"] == NO
    record = made(final=np.where(UNSTABLE, np.nan, 3.0))
    record["diverged_at"] = xr.where(record.stable, np.nan, 7.0).broadcast_like(record.diverged_at)
    claim = Judged("generalization", record)["D-4f exact, tuned"]
    count = 3 * int(UNSTABLE.sum())
    assert (claim.verdict, claim.measured) == (YES, f"{count} of {count} runs end badly, of which {count} diverged")


@pytest.mark.parametrize(
    ("distance", "only", "verdict"),
    [
        (abs(GAMMA - PAIRS.beta.values), "both", YES),  # the best of all
        (-10 * abs(GAMMA - PAIRS.beta.values), "both", NO),
        (-10 * abs(GAMMA - PAIRS.beta.values), "fixed", PARTLY),
        (-0.2 * abs(GAMMA - PAIRS.beta.values), "both", YES),  # last, but close
    ],
)
def test_equal_betas_are_compared_with_the_best_of_the_normal_curve(distance, only, verdict):
    assert verdicts(made(final=3.0 + distance, only=only))["D-4h"] == verdict


@pytest.mark.parametrize(("rates", "verdict"), [((0.1, 0.0, 0.1), YES), ((0.0, 0.1, 0.2), NO), ((0.2, 0.1, 0.0), NO)])
def test_a_best_rate_at_the_end_of_the_range_is_told(rates, verdict):
    assert verdicts(made(rates=rates))["D-4k"] == verdict


def test_two_seeds_decide_nothing():
    found = chapters.claims("generalization", made(-C).isel(seed=slice(2)))
    assert {claim.verdict for claim in found} == {"not run at this profile"}
    assert {claim.measured for claim in found} == {"too few seeds: 2"}


def test_without_a_record_nothing_is_claimed():
    assert {claim.verdict for claim in chapters.claims("generalization", None)} == {"not run at this profile"}
