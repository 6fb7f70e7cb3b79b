"""Chapters 6 and 7: pairs of betas, each at its own rate, in short runs and long ones; both sides of what is claimed."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.contest import maps, settings
from kadam.chapters.contest.contest import LATER_SEEDS, betas
from kadam.chapters.contest.factorial import claims, config, figures, run
from kadam.chapters.contest.factorial_images import config as on_images
from kadam.chapters.contest.factorial_images import figures as image_figures
from kadam.chapters.contest.factorial_images import run as image_run
from kadam.chapters.contest.pairs import QUANTITIES, pairs
from kadam.chapters.contest.trials import interpolated
from kadam.lab.records.profiles import betas_of
from kadam.report.statistics import equal_groups

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
GAMMAS, BETAS = (0.0, 0.9, 0.95), (0.7, 0.95, 0.999)


@pytest.fixture(scope="module")
def made():
    """A record of nine pairs and NAdam, with three in long runs; losses 1 to 9 in the order of gamma, then of beta."""
    methods = settings.methods(GAMMAS, BETAS)
    gamma, beta = betas(methods)
    rng, seeds = np.random.default_rng(0), np.arange(5)

    def part(names, losses, prefix):
        dims = {"optimizer": list(names), "seed": seeds, "network": ["n"], "comparison": ["tuned"], "evaluation": [1]}
        loss = np.asarray(losses, float)[:, None] + 1e-3 * rng.standard_normal((len(names), len(seeds)))
        of = xr.DataArray(loss, {name: dims[name] for name in ("optimizer", "seed")}).expand_dims(
            network=["n"], comparison=["tuned"], evaluation=[1]
        )
        searched = xr.DataArray([3.0, 2.0, 3.0], {"rate": [1.0, 2.0, 4.0]})
        search = searched.expand_dims(optimizer=list(names), network=["n"], tuning_seed=[0])
        rate = xr.ones_like(of.isel(evaluation=0, seed=0, drop=True))
        found = xr.Dataset({"loss": of, "update_rms": 1 / of, "search_loss": search, "peak_rate": rate})
        own = [*found.data_vars, "optimizer", "rate", "evaluation"]
        return found.rename({name: prefix + name for name in own})

    long = ("Adam 0.95, 0.95", "Adam", "Adam 0, 0.7")
    found = xr.merge([part(methods, range(1, 11), ""), part(long, [8, 6, 1], claims.LONG)])
    found["guess"] = "network", [100.0]
    return found.assign_coords(gamma=("optimizer", gamma), beta=("optimizer", beta)).assign_attrs(
        experiment="factorial", profile="cpu", config_hash="0", data="-", steps=10, long_steps=50
    )


@pytest.fixture(scope="module")
def seen(made):
    """The same of images: no long runs, and accuracies that fall from 90% as beta grows, whatever the losses."""
    short = made[[name for name in made.data_vars if not name.startswith(claims.LONG)]].drop_vars(
        "long_optimizer", errors="ignore"
    )
    accuracy = (0.9 - 0.5 * made.beta.fillna(1) + 0 * made.loss).transpose(*made.loss.dims)
    search = (made.search_loss * 0.1).assign_attrs(made.search_loss.attrs)
    return short.assign(accuracy=accuracy, search_accuracy=search).assign_attrs(
        experiment="factorial_images", score="loss", classes=10
    )


def judged(record):
    return {claim.id: claim for claim in chapters.claims(record.attrs["experiment"], record, leave_out=False)}


def with_losses(record, losses):
    values = xr.DataArray([*losses, 10.0], {"optimizer": record.optimizer.values})
    loss = (xr.zeros_like(record.loss) + values).transpose(*record.loss.dims)
    return record.assign(loss=loss, update_rms=xr.ones_like(record.update_rms))


def test_methods_are_every_pair_by_its_betas_with_the_default_as_adam():
    names = config.PROFILES["cpu"].baselines
    assert len(names) == len(set(names)) == 37
    assert {"Adam", "NAdam", "Adam 0.95, 0.95"} <= set(names)
    gamma, beta = betas(names)
    assert {(g, b) for g, b in zip(gamma, beta, strict=True) if g == g} == {
        (g, b) for g in settings.GAMMAS for b in settings.BETAS
    }
    assert all(betas_of(name) == (g, b) for name, g, b in zip(names, gamma, beta, strict=True) if name not in ("Adam", "NAdam"))
    assert set(config.PROFILES["cpu"].long) <= set(names)


@pytest.mark.parametrize(
    ("long", "message"), [((), "long must hold Adam"), (("Adam", "Adam 0.1, 0.9"), "some of the baselines")]
)
def test_what_runs_long_must_be_among_the_pairs(long, message):
    with pytest.raises(ValueError, match=message):
        replace(config.PROFILES["smoke"], long=long)


def test_long_runs_have_the_seeds_of_the_short_ones_and_rates_of_their_own(smoke_records):
    record, smoke = smoke_records["factorial"], config.PROFILES["smoke"]
    long = claims.long_runs(record)
    assert long.optimizer.values.tolist() == list(smoke.long)
    assert long.seed.values.tolist() == record.seed.values.tolist()
    assert long.evaluation.values[-1] == smoke.long_steps
    assert long.rate.values.tolist() == list(smoke.long_rates)
    assert run.long(smoke).plan.steps == smoke.long_steps * len(smoke.long) * (len(smoke.long_rates) + smoke.seeds)


@pytest.mark.parametrize(
    ("losses", "cases"),
    [
        ([1, 1.1, 1.2, 2, 2.1, 2.2, 3, 3.1, 3.2], (True, True, True, True)),
        ([3, 3.1, 3.2, 1, 1.1, 1.2, 2, 2.1, 2.2], (True, True, True, True)),  # in whatever order
        ([1, 2, 3, 1.1, 2.1, 3.1, 1.2, 2.2, 3.2], (False, False, False, True)),  # by beta
    ],
)
def test_gamma_orders_the_losses_or_does_not(made, seen, losses, cases):
    for claim in (judged(with_losses(made, losses))["D-7v"], judged(with_losses(seen, losses))["D-6y"]):
        assert tuple(claim.cases.values()) == cases
        assert "by chance 25%" in claim.measured


def test_groups_by_c_are_as_large_as_those_by_gamma(made):
    of = pairs(made)
    groups = equal_groups(of.C.values, 3)
    assert np.bincount(groups).tolist() == [3, 3, 3]
    assert set(groups[of.gamma.values == 0]) == {2}  # where C is infinite


@pytest.mark.parametrize(("late", "verdict"), [([8, 6, 1], YES), ([1, 6, 8], NO), ([6, 8, 1], NO)])
def test_long_runs_rank_as_short_ones_or_do_not(made, late, verdict):
    values = xr.DataArray(np.array(late, float), {"long_optimizer": made.long_optimizer.values})
    loss = (xr.zeros_like(made.long_loss) + values).transpose(*made.long_loss.dims)
    assert judged(made.assign(long_loss=loss))["D-7w"].verdict == verdict


@pytest.mark.parametrize("name", ["search_loss", "long_search_loss"])
def test_every_optimum_must_lie_inside_in_short_and_in_long_runs(made, name):
    assert judged(made)["D-7x"].verdict == YES
    worse = made[name].where(made[name] > 2.5, 4.0)
    found = judged(made.assign({name: worse}))["D-7x"]
    assert found.verdict == PARTLY
    assert {case.partition(":")[0] for case, held in found.cases.items() if not held} == {"long" if "long" in name else "short"}


def test_on_too_few_seeds_nothing_is_decided(smoke_records):
    found = judged(smoke_records["factorial"])
    assert {found[id].verdict for id in ("D-7v", "D-7w")} == {NOT_RUN}


def test_the_map_shows_each_pairs_mean_loss_and_where_updates_may_grow(made):
    of = maps.grid(made)
    assert float(of.loss.sel(gamma=0.9, beta=0.999)) == pytest.approx(6, abs=1e-2)
    assert (of.stable.sel(gamma=0.9) > 0).values.tolist() == [False, True, True]
    axes = figures.factorial(made).axes
    assert len(axes[0].texts) == 9
    assert [text.get_text() for text in axes[2].texts] == ["0.95, 0.95", "0.9, 0.999", "0, 0.7"]


def test_the_words_name_the_best_pair_and_what_becomes_of_it(made):
    told = figures.factorial_said(made)
    assert "the lowest loss is $(\\gamma, \\beta) = (0, 0.7)$; the place is 6 for the defaults and 10 for NAdam" in told
    assert "is first, still first" in told
    assert [row[0] for row in figures.pair_table(made).rows] == ["0.95, 0.95", "0.9, 0.999", "0, 0.7"]
    assert [row[0] for row in figures.share_table(made).rows] == list(QUANTITIES)


def test_on_images_the_loss_decides_and_accuracy_stands_beside_it(seen, smoke_records):
    assert judged(seen)["D-6z"].verdict == YES  # the best accuracy of the search is at an end
    told = image_figures.factorial_said(seen)
    assert "the lowest loss is $(\\gamma, \\beta) = (0, 0.7)$" in told
    assert "ranked by accuracy instead, 100% for $\\beta$ and" in told
    assert image_figures.gamma_table(seen).rows[2][::2] == ("0.95", "40.1 to 55.0")
    record = smoke_records["factorial_images"]
    for score, decides in ((-record.search_loss, True), (record.search_accuracy, False)):
        rates = interpolated(record.tried, score.mean("tuning_seed")).astype("float32")
        assert bool((rates == record.peak_rate.squeeze()).all()) == decides
    assert record.guess.values == pytest.approx(np.log(10))


def test_pairs_on_images_are_those_of_text_in_the_network_of_the_contest_with_seeds_of_their_own():
    cpu, text = on_images.PROFILES["cpu"], config.PROFILES["cpu"]
    assert image_run.contest(cpu).methods == run.short(text).methods
    assert cpu.seeds == text.seeds
    used = range(cpu.seed, cpu.seed + LATER_SEEDS + cpu.seeds)
    assert not {*used} & {*range(text.seed, text.seed + LATER_SEEDS + text.seeds)}
