"""What the experiment on the speed of training measures, and both sides of its criteria; no time is asserted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from kadam import chapters
from kadam.chapters.speed import loops
from kadam.chapters.speed.training import config as training_config
from kadam.chapters.speed.training import figures as report
from kadam.chapters.speed.training import run as training

TINY = training_config.PROFILES["smoke"]


@pytest.fixture(scope="module")
def record():
    return training.run(TINY)


@pytest.fixture(scope="module")
def bench():
    return training.Bench(TINY)


def test_everything_is_timed_in_every_round(record):
    assert dict(record.rate.sizes) == {"precision": 2, "loop": 2, "round": 2}
    assert dict(record.part_s.sizes) == {"precision": 2, "part": 4, "round": 2}
    assert record.optimizer.values.tolist() == [*training.baselines.BASELINES, "2-Adam inverse_exp"]
    assert bool((record.rate > 0).all() & (record.step_s > 0).all() & np.isfinite(record.part_s).all())
    assert dict(record.race_s.sizes) == {"racer": 2, "race": 1}
    assert all(np.isfinite(record[name]).all() for name in ("state_bytes", "race_s", "race_looking_s", "race_accuracy"))


def test_the_record_says_what_was_measured_where(record):
    assert {"data", "data_sha256", "device", "batch", "target"} <= set(record.attrs)
    assert record.attrs["device"].endswith("CPU, 1 thread")
    assert all("units" in variable.attrs for variable in record.data_vars.values())


def test_threads_are_put_back(record):
    before = torch.get_num_threads()
    training.run(replace(TINY, rounds=1, repeats=1))
    assert torch.get_num_threads() == before


def test_the_state_is_two_moments_a_stage(record):
    states = dict(zip(record.optimizer.values.tolist(), record.state_bytes.values.tolist(), strict=True))
    assert states == {"Adam": 2, "AdamW": 2, "NAdam": 2, "LaProp": 2, "Lion": 1, "SGD": 1, "2-Adam inverse_exp": 4}


@pytest.mark.parametrize("k", [2, 4, 8, 10])
def test_every_stage_adds_two_moments_to_the_state(bench, k):
    ours = bench.training(f"{k}-Adam {training.STRATEGY}", "float32")
    ours.step(0)
    assert loops.state_bytes(ours) == 2 * k


def test_our_loop_learns_from_batches_as_large_as_the_plain_loops(bench):
    seen = []
    training.plain_loop(bench.splits, *watched(bench, seen), batch=TINY.batch, precision="float32")()
    ours = bench.training("Adam", "float32", lr=1e-2)
    assert ours.batches[0][0].shape == seen[0].shape
    before = ours.evaluate(bench.splits.test)["loss"]
    step = loops.repeated(ours.step, TINY.limit)
    for _ in range(200):
        step()
    assert ours.evaluate(bench.splits.test)["loss"] < before - 0.1


def test_the_plain_loop_trains_a_network_like_ours_and_learns(bench):
    ours = bench.training("Adam", "float32", lr=1e-2)
    model, step = training.hand_made(bench, "float32")
    assert [p.shape for p in model.parameters()] == [p.shape for p in ours.params]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), started(bench), strict=True))
    images, labels = bench.splits.test.images.permute(0, 3, 1, 2), bench.splits.test.labels
    before = F.cross_entropy(model(images), labels).item()
    torch.manual_seed(0)
    for _ in range(200):
        step()
    assert F.cross_entropy(model(images), labels).item() < before - 0.1


def started(bench):
    model, _ = bench.network("float32").build()
    model.reset(0)
    return [p.clone() for p in model.parameters()]


def test_the_plain_loop_augments_what_it_sees(bench):
    seen = []
    training.plain_loop(bench.splits, *watched(bench, seen), batch=16, precision="float32")()
    assert seen[0].shape == (16, 1, 8, 8)
    plain = {image.numpy().tobytes() for image in bench.splits.train.images.permute(0, 3, 1, 2).contiguous()}
    assert not any(image.contiguous().numpy().tobytes() in plain for image in seen[0])


def watched(bench, seen):
    model, _ = training.hand_made(bench, "float32")
    return model, lambda x: seen.append(x.detach().clone()) or model(x)


def test_prefixes_end_with_the_whole_step_and_leave_no_gradient(bench):
    ours = bench.training("Adam", "float32")
    ends = loops.prefixes(ours)
    assert tuple(ends) == training.PARTS
    start = [p.detach().clone() for p in ours.params]
    for part in training.PARTS[:3]:
        ends[part](0)
    assert all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))
    assert all(p.grad is None for p in ours.params)
    ends["optimizer"](0)
    assert not all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))


def test_steps_repeat_from_the_start_after_the_limit():
    seen = []
    step = loops.repeated(seen.append, 3)
    for _ in range(7):
        step()
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_a_race_ends_at_the_first_look_that_finds_the_target(bench, monkeypatch):
    accuracies = iter([0.01, 0.5, 0.9])
    monkeypatch.setattr(training.Classification, "evaluate", lambda self, data: {"accuracy": next(accuracies)})
    steps, trained_s, looked_s, accuracy = training.race(bench, "Adam", 1e-3, 0)
    assert (steps, accuracy) == (4, 0.5)
    assert trained_s > 0
    assert looked_s >= 0


def test_a_race_that_is_not_won_has_no_steps(bench, monkeypatch):
    monkeypatch.setattr(training.Classification, "evaluate", lambda self, data: {"accuracy": 0.01})
    steps, _, _, accuracy = training.race(bench, "2-Adam meta", 1e-3, 0)
    assert np.isnan(steps)
    assert accuracy == 0.01


def verdicts(record):
    return {claim.id: claim.verdict for claim in chapters.claims("training", record)}


@pytest.mark.parametrize(
    ("factors", "verdict"), [((0.91, 0.91), "reproduced"), ((0.91, 0.89), "partly"), ((0.89, 0.89), "not reproduced")]
)
def test_the_loop_must_be_as_fast_as_a_plain_one_within_a_tenth(record, factors, verdict):
    rate = record.rate.copy()
    rate.loc[{"loop": "plain"}] = 100.0
    for precision, factor in zip(training_config.PRECISIONS, factors, strict=True):
        rate.loc[{"loop": "ours", "precision": precision}] = 100 * factor
    assert verdicts(record.assign(rate=rate))["D-6s"] == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.09, "reproduced"), (1.11, "not reproduced")])
def test_a_second_stage_must_be_cheap(record, factor, verdict):
    seconds = record.step_s.copy()
    seconds[:] = 1.0
    seconds.loc[{"optimizer": "2-Adam inverse_exp"}] = factor
    assert verdicts(record.assign(step_s=seconds))["D-6t"] == verdict


@pytest.mark.parametrize(
    ("seconds", "steps", "attrs", "verdict"),
    [
        ([2.5, 2.5], 100, {"target": 0.94, "device": "NVIDIA H200"}, "reproduced"),
        ([2.5, 2.7], 100, {"target": 0.94, "device": "NVIDIA H200"}, "partly"),
        ([2.7, 2.7], 100, {"target": 0.94, "device": "NVIDIA H200"}, "not reproduced"),
        ([2.5, 2.5], np.nan, {"target": 0.94, "device": "NVIDIA H200"}, "not reproduced"),
        ([2.5, 2.5], 100, {"target": 0.94, "device": "NVIDIA H200", "data_origin": "embedded"}, "not run at this profile"),
        ([2.5, 2.5], 100, {"target": 0.45, "device": "NVIDIA H200"}, "not run at this profile"),
        ([2.5, 2.5], 100, {"target": 0.94, "device": "2-core x86_64 CPU, 1 thread"}, "not run at this profile"),
    ],
)
def test_the_speed_run_is_judged_on_a_gpu_at_its_accuracy(record, seconds, steps, attrs, verdict):
    times = record.race_s.copy(data=np.broadcast_to(np.array(seconds)[:, None], record.race_s.shape))
    reached = record.race_steps.copy(data=np.full(record.race_steps.shape, steps))
    changed = record.assign(race_s=times, race_steps=reached).assign_attrs({"data_origin": "folder"} | attrs)
    assert verdicts(changed)["D-6u"] == verdict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds must be a whole number >= 1, got 0"),
        ({"device": "tpu"}, "device must be one of cpu, cuda; got 'tpu'"),
        ({"precision": "float64"}, "precision must be one of float32, bfloat16; got 'float64'"),
        ({"rates": (0.0, 1e-3)}, r"rates must be finite and > 0, got \(0.0, 0.001\)"),
        ({"target": 0.0}, r"target must be a share of the test images in \(0, 1\), got 0.0"),
        ({"target": 1.0}, r"target must be a share of the test images in \(0, 1\), got 1.0"),
        ({"ks": (0,)}, r"ks must hold one whole number >= 1 or more, got \(0,\)"),
        ({"images": "mnist"}, "images must be one of real, embedded; got 'mnist'"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_the_table_fits_and_says_what_the_record_holds(record):
    lines = report.table(record).splitlines()
    assert max(map(len, lines)) <= 90
    shares = [report.shares(record, precision) for precision in training_config.PRECISIONS]
    assert all(sum(one.values()) == pytest.approx(1) for one in shares)
    assert f"{report.medians(record)['ours_over_plain']['bfloat16']:.2f}" in lines[2]
    assert "2-Adam meta steps:" in lines[-1]


@pytest.mark.parametrize("draw", [report.split, report.cost])
def test_the_figures_are_drawn_and_label_stand_in_data(record, draw):
    figure = draw(record)
    assert isinstance(figure, Figure)
    assert "scikit-learn's digits" in figure.get_supxlabel()
