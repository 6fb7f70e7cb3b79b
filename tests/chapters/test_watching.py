"""Experiment watching: its rules find what stands in made-up series, its claims turn with the truth, and a run resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from kadam.chapters.watching import alarms, claims, figures, run
from kadam.chapters.watching.config import NETWORKS, PROFILES, SITUATIONS, Config
from kadam.lab.engine.progress import Progress
from kadam.lab.train.tasks import Inputs
from kadam.report.once import judging

SMOKE = PROFILES["smoke"]
STEPS, SETTLE = 600, 50


def noise(*shape, seed=0):
    return 2 + 0.1 * np.random.default_rng(seed).standard_normal((*shape, STEPS)).clip(-3, 3)


def found(flags):
    return np.flatnonzero(flags).tolist()


# The rules


def test_a_spike_begins_where_the_loss_is_up_for_the_first_time_in_a_while():
    loss = noise()
    assert not alarms.spikes(loss, window=SETTLE).any()
    loss[[200, 203, 290, 420]] = 4.0
    assert found(alarms.spikes(loss, window=SETTLE)) == [200, 420]  # 290 is within 100 steps of 203
    loss[420] = 2.5  # below six standard deviations
    assert found(alarms.spikes(loss, window=SETTLE)) == [200]


def test_what_is_usual_moves_with_the_loss_and_a_loss_that_is_no_number_is_up():
    loss = noise() + np.linspace(3, 0, STEPS)
    assert not alarms.spikes(loss, window=SETTLE).any()
    loss[400] = np.nan
    assert found(alarms.spikes(loss, window=SETTLE)) == [400]
    assert not alarms.spikes(loss, window=SETTLE, ignored=[400]).any()


def test_the_first_window_has_no_spike_and_every_run_its_own():
    loss = noise(2)
    loss[0, SETTLE - 1] = loss[1, SETTLE] = 9.0
    assert [found(one) for one in alarms.spikes(loss, window=SETTLE)] == [[], [SETTLE]]


def test_alarms_come_at_the_steps_at_which_a_series_rises():
    series = np.ones(STEPS)
    series[300:303] = 3.0
    series[303] = 1.6  # not yet down to the root of the factor
    series[304] = 3.0
    series[[10, 400]] = 3.0
    assert found(alarms.alarms(series, 2.0, memory=1000, settle=SETTLE)) == [300, 400]
    series[303] = 1.3
    assert found(alarms.alarms(series, 2.0, memory=1000, settle=SETTLE)) == [300, 304, 400]
    many = alarms.alarms(np.stack([series, 1 / series]), np.array([[2.0], [4.0]]), memory=1000, settle=SETTLE)
    assert many.sum(-1).tolist() == [[3, 0], [0, 0]]


def test_a_level_follows_a_series_that_grows_slowly():
    slow = np.exp(np.linspace(0, 3, STEPS))
    assert not alarms.alarms(slow, 2.0, memory=50, settle=SETTLE).any()
    assert alarms.alarms(slow, 2.0, memory=1e9, settle=SETTLE).any()


@pytest.mark.parametrize(("alarm", "lead"), [(100, 100), (160, 40), (199, 1), (200, None), (99, None), (250, None)])
def test_an_alarm_leads_a_spike_by_the_steps_between(alarm, lead):
    flags, begins = np.zeros((2, STEPS), bool)
    flags[alarm] = begins[200] = True
    measured = alarms.leads(flags, begins)
    assert np.isnan(np.delete(measured, 200)).all()
    assert measured[200] == lead if lead else np.isnan(measured[200])


@pytest.mark.parametrize(("alarm", "is_false"), [(99, True), (100, False), (200, False), (300, False), (301, True)])
def test_an_alarm_without_a_spike_near_is_false(alarm, is_false):
    flags, begins = np.zeros((2, STEPS), bool)
    flags[alarm] = begins[200] = True
    assert found(alarms.false(flags, begins)) == [alarm] * is_false


def test_alarms_close_together_count_once():
    flags = np.zeros(STEPS, bool)
    flags[[10, 20, 110, 111, 300]] = True
    assert found(alarms.counted(flags)) == [10, 111, 300]
    assert found(alarms.recent(flags[:12])) == [11]


# Its runs


def test_a_member_learns_as_it_would_alone():
    """With torch's Adam, its own batches and its own betas; the bad ones come at their steps and in their situation only."""
    config, inputs = replace(SMOKE, steps=50), Inputs.of(SMOKE.sizes)
    assert run.bad_steps(config)
    for network in NETWORKS:
        record = run.watch(config, inputs, network, Progress(lambda done: None))
        for name, situation in SITUATIONS.items():
            losses = alone(config, inputs, network, situation)
            coded = record.loss.sel(situation=name, seed=config.seed).values
            np.testing.assert_allclose(coded, run.FINENESS * np.log(losses), rtol=0, atol=0.51)
        healthy, bad = (record.loss.sel(situation=name, seed=config.seed) for name in ("inside", "bad batches"))
        first = min(run.bad_steps(config))
        assert (healthy != bad)[: first + 1].values.nonzero()[0].tolist() == [first]


def alone(config, inputs, network, situation):
    task = run.task(inputs, network, config.seed)
    optimizer = torch.optim.Adam(
        task.model.parameters(), lr=situation.rates[NETWORKS.index(network)], betas=situation.betas, foreach=False
    )
    rng = np.random.default_rng([config.seed, 1])
    losses = []
    for n in range(config.steps):
        batch = task.draw(rng, config.image_batch if network == "images" else config.text_batch)
        batch = run.spoilt(network, batch) if situation.bad and n in run.bad_steps(config) else batch
        optimizer.zero_grad()
        loss = task.loss(task.model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("network", NETWORKS)
def test_a_piece_that_is_stopped_goes_on_to_the_bit(tmp_path, network):
    config, inputs = replace(SMOKE, steps=40, settle=12), Inputs.of(SMOKE.sizes)
    whole = run.watch(config, inputs, network, Progress(lambda done: None))

    def stop(done):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.watch(config, inputs, network, Progress(stop, tmp_path / "state", keep_every_s=0))
    again = run.watch(config, inputs, network, Progress(lambda done: None, tmp_path / "state"))
    xr.testing.assert_identical(again, whole)


# Its claims


def record_of(*, spikes, monitor=(), gradient=(), loss=(), cause=0, bad_cause=0, healthy=()):
    """A record whose only spikes are on text outside, seed by seed at these steps, with alarms at these."""
    shape, steps = (len(NETWORKS), len(SITUATIONS), 5), 1000
    dims = ("network", "situation", "seed", "step")
    series = {"loss": 2 + 0.1 * np.random.default_rng(1).standard_normal((*shape, steps)).clip(-3, 3)}
    series["gradient"] = np.ones((*shape, steps))
    alarm = np.zeros((2, 2, *shape, steps), np.int8)
    outside, bad = (list(SITUATIONS).index(name) for name in ("outside, (0.95, 0.8)", "bad batches"))
    series["loss"][0, outside][:, list(spikes)] = 9.0
    series["loss"][0, outside][:, list(loss)] = 2.45
    series["gradient"][0, outside][:, list(gradient)] = 3.0
    alarm[:, cause, 0, outside][..., list(monitor)] = 1
    alarm[:, bad_cause, :, bad, :, 500] = 1
    alarm[:, 0, :, 0][..., list(healthy)] = 1
    coded = {name: np.rint(200 * np.log(values)) for name, values in series.items()}
    found = {name: (dims, values) for name, values in coded.items()} | {"alarm": (("every", "cause", *dims), alarm)}
    found |= {f"healthy_{name}": (("network", "healthy_seed", "step"), of[:, 0, :2]) for name, of in coded.items()}
    found["healthy_alarm"] = (("every", "cause", "network", "healthy_seed", "step"), alarm[:, :, :, 0, :2])
    coords = {"network": list(NETWORKS), "situation": list(SITUATIONS), "seed": range(5), "every": [1, 10]}
    coords |= {"cause": list(run.CAUSES), "bad_step": [500, 501, 502]}
    return xr.Dataset(found, coords, {"fineness": 200, "settle": 200, "memory": 1000})


@pytest.mark.parametrize(
    ("made", "held"),
    [
        ({"spikes": [400, 700], "monitor": [380, 650], "cause": 1}, (True, True, True, True, True, True)),
        ({"spikes": [400, 700], "monitor": [398, 699], "cause": 1}, (True, True, False, True, True, True)),
        ({"spikes": [400, 700], "monitor": [401, 710], "cause": 1}, (False, False, False, True, True, True)),
        ({"spikes": [400, 700], "monitor": [380], "gradient": [380, 690]}, (True, False, True, True, True, False)),
        ({"spikes": [400, 700], "monitor": [380, 650], "gradient": [380, 690]}, (True, False, True, True, True, False)),
        ({"spikes": [400], "monitor": range(200, 1000, 50)}, (False, None, True, True, True, False)),
        ({"spikes": [400], "monitor": [380], "cause": 1, "healthy": [300, 500, 700]}, (True, True, True, False, True, True)),
        ({"spikes": [400], "monitor": [380], "cause": 1, "bad_cause": 1}, (True, True, True, True, False, True)),
    ],
)
def test_claims_turn_with_the_truth(made, held):
    record = record_of(**made)
    with judging():
        for (_, criterion, judge), expected in zip(claims.TESTS.values(), held, strict=True):
            words, cases = judge(record, **criterion.limits)
            assert expected is None or set(cases.held.values()) == {expected}, (str(criterion), words)
    assert f"{len(made['spikes']) * 5} loss spikes" in figures.answer(record)


def test_few_spikes_judge_nothing():
    record = record_of(spikes=[400], monitor=[380]).isel(seed=slice(4))
    with judging():
        for (_, criterion, judge), decided in zip(claims.TESTS.values(), (False, False, False, True, True, False), strict=True):
            assert bool(judge(record, **criterion.limits)[1].held) == decided
    assert figures.leads_table(record).rows


def test_thresholds_are_matched_on_other_seeds_than_are_judged():
    """The judged gradients change nothing; of the healthy ones the smallest factor with no more alarms than the monitor."""
    quiet = record_of(spikes=[400], gradient=[380])
    assert (claims.thresholds(quiet).sel(alarm="gradient norm") == claims.FACTORS[0]).all()
    loud = record_of(spikes=[400])
    loud.healthy_gradient[..., 600] = round(200 * np.log(3.0))
    assert (abs(claims.thresholds(loud).sel(alarm="gradient norm") / 3.0 - 1) < 0.05).all()
    loud.healthy_alarm[..., 600] = 1
    assert (claims.thresholds(loud).sel(alarm="gradient norm") == claims.FACTORS[0]).all()


def test_figures_tell_a_record_with_and_without_spikes(smoke_records):
    for record in (smoke_records["watching"], record_of(spikes=[400, 700], monitor=[380])):
        for draw in (figures.story, figures.shares):
            assert draw(record).axes
        assert "announced" in figures.shares_said(record)


def test_a_lead_is_told_where_a_spike_was_announced():
    late, early = (record_of(spikes=[400, 700], monitor=[step]) for step in (401, 380))
    assert "a median of 20 steps before" in figures.answer(early)
    assert "; 20 steps before; " in figures.shares_said(early)
    assert "median of" not in figures.answer(late)
    assert "steps before;" not in figures.shares_said(late)
    assert {row[6] for row in figures.leads_table(late).rows} == {"none announced"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settle": 60}, "settle must be below steps, 60, got 60"),
        ({"healthy_seeds": 201}, "healthy_seeds must be at most seed, 200"),
    ],
)
def test_a_configuration_must_fit(change, words):
    with pytest.raises(ValueError, match=words):
        replace(Config() if "settle" not in change else SMOKE, **change)
