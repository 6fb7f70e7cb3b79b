"""Chapter 7: how the norms of what makes queries and keys grew, against two laws, and that they are the run's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Judged
from numpy.testing import assert_allclose
from torch.nn import functional as F

from kadam.chapters.contest import norms, settings, texts
from kadam.chapters.contest.comparisons import TUNED
from kadam.chapters.contest.memory import config as memory_config
from kadam.chapters.contest.memory import run as memory
from kadam.chapters.contest.optimum import config, run
from kadam.chapters.contest.trials import Piece, Trial
from kadam.lab.records import record as records
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.norms import NORMS
from kadam.lab.train.schedule import Schedule
from kadam.theory import invariance as theory

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"
PLAIN, NORMALISED = (setting.name for setting in settings.TINY_SETTINGS)
ADAM_WITH = {"Adam": 0.9, "Adam, beta1 = 0.5": 0.5, "Adam, beta1 = 0.7": 0.7}


def once(smoke, **more):
    return settings.Once(**vars(replace(smoke, steps=12, tuning_steps=4, evaluations=3, seeds=2, **more)))


CONFIG = once(config.PROFILES["smoke"], ks=(1,))


@pytest.fixture(scope="module")
def record():
    return run.run(CONFIG)


@pytest.fixture(scope="module")
def memories():
    return memory.run(once(memory_config.PROFILES["smoke"], ks=(1,), settings=settings.TINY_SETTINGS[1:]))


def grown(record, ratio):
    """The record with this growth of |W|^2 over the sum of eta^2 |u|^2, a number or an array."""
    growth = (record.block_moves * ratio).transpose(*record.block_moves.dims)
    return record.assign(block_growth=growth.astype(np.float32)).assign_attrs(record.attrs)


def test_what_is_recorded_is_what_a_plain_loop_sees(record):
    seed, rate = int(record.seed[1]), float(record.peak_rate.sel(comparison=TUNED, network=NORMALISED, optimizer="Adam"))
    inputs = texts.Inputs.of(CONFIG, record.attrs["data_sha256"])
    batches = inputs.training(Piece(NORMALISED, "Adam"), CONFIG.steps, Trial(rate, seed)).batches
    model = Gpt(vocabulary=256, context=CONFIG.context, normalised=True, **vars(settings.TINY)).double()
    model.reset(np.random.SeedSequence(seed).generate_state(2).tolist()[0])
    adam = torch.optim.Adam(model.parameters(), lr=rate, betas=(CONFIG.gamma, CONFIG.beta))
    weight, schedule, seen = model.blocks[0].project.weight, Schedule(CONFIG.steps, CONFIG.warmup, "cosine", CONFIG.end), []
    heads = [slice(first, first + 4) for first in (0, 4, 8, 12)]  # of queries, then of keys: width 8, two heads
    for n in range(CONFIG.steps):
        eta = adam.param_groups[0]["lr"] = rate * schedule(n)
        adam.zero_grad()
        F.cross_entropy(model(batches[n][:, :-1]).flatten(0, 1), batches[n][:, 1:].flatten()).backward()
        w = weight.detach().clone()
        adam.step()
        moments = zip(("exp_avg", "exp_avg_sq"), (CONFIG.gamma, CONFIG.beta), strict=True)
        m, v = (adam.state[weight][name] / (1 - decay ** (n + 1)) for name, decay in moments)
        u = m / (v.sqrt() + 1e-8)
        terms = [theory.norm_terms(w[rows].reshape(1, -1), u[rows].reshape(1, -1), eta=eta) for rows in heads]
        seen.append(np.squeeze(terms, -1).T)  # kept, cross and step, each of every block
    kept, cross, step = np.stack(seen, 1)
    end = [float(weight[rows].detach().square().sum()) for rows in heads]
    assert_allclose(end, kept[0] + (cross + step).sum(0), rtol=1e-12)  # the exact identity along the run
    of = record.sel(comparison=TUNED, network=NORMALISED, optimizer="Adam", seed=seed)
    assert_allclose(of.block_moves, step.reshape(3, 4, -1).sum(1), rtol=1e-6)
    assert_allclose(of.block_growth, (cross + step).reshape(3, 4, -1).sum(1), rtol=1e-6, atol=1e-7)
    assert_allclose(of.block_norm[-1], end, rtol=1e-6)
    assert_allclose(of.block_norm[0] - of.block_growth[0], kept[0], rtol=1e-6)


def test_they_are_of_networks_that_normalise_and_only_where_no_text_repeats(record, smoke_records):
    assert record.block.values.tolist() == [f"layer 0, {made}, head {head}" for made in ("queries", "keys") for head in (0, 1)]
    for name in NORMS:
        assert record[name].attrs["units"] == NORMS[name]
        assert record[name].sel(network=PLAIN).isnull().all()
        assert record[name].sel(network=NORMALISED).notnull().all()
    for name, of in (("optimum", run), ("memory", memory)):
        assert not {*NORMS, "block"} & {*smoke_records[name].variables}
        assert of.contest(config.PROFILES["cpu"]).blocks == {}
    (blocks,) = {tuple(names) for names in run.contest(config.PROFILES["paper"]).blocks[settings.LARGE_REVIEWS.name].values()}
    assert len(blocks) == 4 * 2 * 4


def test_a_record_with_them_is_read_as_it_was_written(record, tmp_path):
    records.save(record, tmp_path / "record.nc")
    xr.testing.assert_identical(records.read(tmp_path / "record.nc", command="none").drop_attrs(), record.drop_attrs())


@pytest.mark.parametrize(
    ("ratio", "papers", "ours"),
    [
        (theory.growth_factor(0.9), NO, YES),
        (1.0, YES, NO),
        (theory.growth_factor(0.9) * 1.14, NO, YES),
        (theory.growth_factor(0.9) * 1.16, NO, NO),
        (theory.growth_factor(0.9) * 0.84, NO, NO),
        (1.09, YES, NO),
        (xr.DataArray([19.0, 19.0, 19.0, 9.0], dims="block"), NO, PARTLY),
        (xr.DataArray([12.0, 26.0], dims="seed"), NO, YES),  # in the mean
        (xr.DataArray([1.2, 0.8], dims="seed"), NO, NO),  # every seed
        (xr.DataArray([19.0, np.nan], dims="seed"), NO, NO),  # one diverged
    ],
)
def test_the_claims_decide_both_ways(record, ratio, papers, ours):
    told = Judged("optimum", grown(record, ratio))
    assert (told["GT-5w"].verdict, told["D-5x"].verdict) == (papers, ours)
    assert len(told["D-5x"].cases) == 4
    assert len(told["GT-5w"].cases) == 8


def test_every_gamma_has_its_factor(memories):
    factors = xr.DataArray([theory.growth_factor(gamma) for gamma in ADAM_WITH.values()], {"optimizer": list(ADAM_WITH)})
    ratio = factors.reindex(optimizer=memories.optimizer)
    assert Judged("memory", grown(memories, ratio))["D-5y"].verdict == YES
    told = Judged("memory", grown(memories, theory.growth_factor(0.5)))["D-5y"]
    assert told.verdict == PARTLY
    assert {name for name, held in told.cases.items() if held} == {name for name in told.cases if "beta1 = 0.5" in name}
    assert len(told.cases) == 3 * 4


def test_the_factor_is_that_of_the_records_own_gamma(record):
    other = record.assign_attrs(config=record.attrs["config"].replace('"gamma": 0.9', '"gamma": 0.8'))
    assert Judged("optimum", grown(other, theory.growth_factor(0.8)))["D-5x"].verdict == YES


@pytest.mark.parametrize(("name", "id"), [("optimum", "GT-5w"), ("optimum", "D-5x"), ("memory", "D-5y")])
def test_records_without_norms_decide_nothing(smoke_records, name, id):
    told = Judged(name, smoke_records[name])[id]
    assert (told.verdict, told.cases, told.measured) == (NOT_RUN, {}, "norms are watched at profile paper alone")


@pytest.mark.parametrize("steps", [config.LEAST, config.PROFILES["paper"].steps])
@pytest.mark.parametrize("gamma", ADAM_WITH.values())
def test_over_the_gpus_schedule_the_law_comes_to_its_factor(steps, gamma):
    # An update at the rate eta_n is one at the rate 1 whose second moment is 1/eta_n^2 times as large.
    paper = config.PROFILES["paper"]
    schedule = Schedule(steps, paper.warmup, "cosine", paper.end)
    eta = np.array([schedule(n) for n in range(steps)])
    grown = theory.corrected_norm(0.0, eta**2, eta=1.0, gamma=gamma, second_moments=eta**-2.0)[-1]
    assert grown / (eta**2).sum() == pytest.approx(theory.growth_factor(gamma), rel=0.003)
    assert norms.NEAR_LAW > 10 * 0.003
