"""What the experiments on how fast networks train measure, and both sides of their criteria; no time is asserted."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from kadam import chapters, gpu
from kadam.chapters.speed import loops, measures
from kadam.chapters.speed.loops import PARTS, STRATEGY
from kadam.chapters.speed.tokens import config as tokens_config
from kadam.chapters.speed.tokens import figures as tokens_figures
from kadam.chapters.speed.tokens import run as tokens
from kadam.chapters.speed.training import config as training_config
from kadam.chapters.speed.training import figures as training_figures
from kadam.chapters.speed.training import run as training
from kadam.lab.data import sources
from kadam.lab.data.configured import configured
from kadam.lab.records.profiles import BASELINES

IMAGES, TEXTS = training_config.PROFILES["smoke"], tokens_config.PROFILES["smoke"]
SMALL, OTHER = TEXTS.settings


class Timed(NamedTuple):
    """One of the two experiments: how it is named, run and drawn, and what its smoke record is to hold."""

    name: str
    run: ModuleType
    figures: ModuleType
    tiny: training_config.Config | tokens_config.Config
    ours: Callable
    cases: tuple[str, ...]
    optimizers: dict[str, int]  # bytes of state a byte of weights
    as_fast: str  # the claim that its loop is as fast as a plain one
    attrs: set[str]


EXPERIMENTS = {
    "training": Timed(
        "training",
        training,
        training_figures,
        IMAGES,
        lambda bench: bench.training("Adam", "float32"),
        ("float32", "bfloat16"),
        {"Adam": 2, "AdamW": 2, "NAdam": 2, "LaProp": 2, "Lion": 1, "SGD": 1, "2-Adam inverse_exp": 4},
        "D-6s",
        {"data", "data_sha256", "device", "batch", "target"},
    ),
    "tokens": Timed(
        "tokens",
        tokens,
        tokens_figures,
        TEXTS,
        lambda bench: bench.training(SMALL, "Adam"),
        ("small", "reviews"),
        dict.fromkeys(("Adam", "AdamW", "NAdam"), 2)
        | {"Lion": 1, tokens_config.FUSED: 2, "2-Adam inverse_exp": 4, "2-Adam meta": 4},
        "D-7s",
        {"data", "data_sha256", "device", "side"},
    ),
}


@pytest.fixture(scope="module", params=EXPERIMENTS)
def timed(request):
    return EXPERIMENTS[request.param]


@pytest.fixture(scope="module")
def records():
    return {name: one.run.run(one.tiny) for name, one in EXPERIMENTS.items()}


@pytest.fixture(scope="module")
def benches():
    return {name: one.run.Bench(one.tiny) for name, one in EXPERIMENTS.items()}


@pytest.fixture
def record(timed, records):
    return records[timed.name]


@pytest.fixture
def images(benches):
    return benches["training"]


@pytest.fixture
def texts(benches):
    return benches["tokens"]


def verdicts(record):
    return {claim.id: claim.verdict for claim in chapters.claims(record.attrs["experiment"], record)}


def test_everything_is_timed_in_every_round(timed, record):
    case = record.rate.dims[0]
    assert tuple(record[case].values) == timed.cases
    assert dict(record.rate.sizes) == {case: 2, "loop": 2, "round": 2}
    assert dict(record.part_s.sizes) == {case: 2, "part": 4, "round": 2}
    assert record.optimizer.values.tolist() == list(timed.optimizers)
    assert bool((record.rate > 0).all() & (record.step_s > 0).all() & np.isfinite(record.part_s).all())
    assert np.isfinite(record.state_bytes).all()


def test_races_are_timed(records):
    record = records["training"]
    assert dict(record.race_s.sizes) == {"racer": 2, "race": 1}
    assert all(np.isfinite(record[name]).all() for name in ("race_s", "race_looking_s", "race_accuracy"))


def test_seconds_to_the_target_are_those_of_the_races_that_reach_it(images, monkeypatch):
    ends = iter([(4.0, 1.5, 0.1, 0.95), (np.nan, 2.5, 0.2, 0.5)])
    monkeypatch.setattr(training, "race", lambda bench, name, lr, seed: next(ends))
    found = training._races(images)
    assert found.race_s.values.tolist() == [[1.5], [2.5]]
    np.testing.assert_array_equal(found.reached_s, [[1.5], [np.nan]])
    assert found.race_steps.isnull().values.tolist() == [[False], [True]]


def test_the_races_of_a_gpu_fit_into_their_slice():
    paper = training_config.PROFILES["paper"]
    step_s, in_float32 = 2e-3, 4  # by arithmetic: at a third of the chip's bfloat16; float32 takes so many times as long
    ways = len(BASELINES) + len(paper.ks) - 1 + (len(loops.LOOPS) + len(PARTS)) * (1 + in_float32)
    steps = len(training_config.RACERS) * paper.seeds * paper.limit + (paper.rounds + 1) * paper.repeats * ways
    (meant,) = [one.seconds for one in gpu.SLICES if one.name == "training"]
    assert steps * step_s < meant
    assert sum(one.seconds for one in gpu.SLICES) <= 450 - gpu.RESERVE


def test_every_optimizer_is_timed_on_each_text(records):
    record = records["tokens"]
    assert dict(record.step_s.sizes) == {"setting": 2, "optimizer": 7, "round": 2}
    assert record.k.values.tolist() == [1, 0, 0, 0, 0, 2, 2]
    assert all(bool((record[name] > 0).all()) for name in ("peak", "share", "operations"))
    assert all(str(name).endswith(("ATTENTION", "MATH")) for name in record.attention.values)


def test_the_record_says_what_was_measured_where(timed, record):
    assert timed.attrs <= set(record.attrs)
    assert record.attrs["device"].endswith("CPU, 1 thread")
    assert all("units" in variable.attrs for variable in record.data_vars.values())


def test_threads_are_put_back(timed, record):
    before = torch.get_num_threads()
    timed.run.run(replace(timed.tiny, rounds=1, repeats=1))
    assert torch.get_num_threads() == before


def test_the_state_is_two_moments_a_stage(timed, record):
    states = record.state_bytes if record.state_bytes.dims == ("optimizer",) else record.state_bytes.sel(setting="small")
    assert states.to_series().to_dict() == timed.optimizers


@pytest.mark.parametrize("k", [2, 4, 8, 10])
def test_every_stage_adds_two_moments_to_the_state(images, k):
    ours = images.training(f"{k}-Adam {STRATEGY}", "float32")
    ours.step(0)
    assert loops.state_bytes(ours) == 2 * k


def test_prefixes_end_with_the_whole_step_and_add_no_gradient_to_it(timed, benches):
    whole = timed.ours(benches[timed.name])
    whole.step(0)
    end = [p.detach().clone() for p in whole.params]
    ours = timed.ours(benches[timed.name])
    ends = loops.prefixes(ours)
    assert tuple(ends) == PARTS
    start = [p.detach().clone() for p in ours.params]
    for part in PARTS[:3]:
        ends[part](0)
    assert all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))
    ends["optimizer"](0)
    assert all(torch.equal(p, q) for p, q in zip(ours.params, end, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(ours.params, start, strict=True))


def test_the_parts_add_up_to_a_step(texts):
    steps = texts.parts("setting", {"small": texts.training(SMALL, "Adam")}).part_s.sum("part")
    assert (steps > 0).all()


def test_steps_repeat_from_the_start_after_the_limit():
    seen = []
    step = loops.repeated(seen.append, 3)
    for _ in range(7):
        step()
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def watched(forward, seen):
    return lambda x: seen.append(x.detach().clone()) or forward(x)


def test_our_loop_learns_from_batches_as_large_as_the_plain_loops(images):
    seen = []
    model, _ = training.hand_made(images, "float32")
    training.plain_loop(images.splits, model, watched(model, seen), batch=IMAGES.batch, precision="float32")()
    ours = images.training("Adam", "float32", lr=1e-2)
    assert ours.batches[0][0].shape == seen[0].shape
    before = ours.evaluate(images.splits.test)["loss"]
    step = loops.repeated(ours.step, IMAGES.limit)
    for _ in range(200):
        step()
    assert ours.evaluate(images.splits.test)["loss"] < before - 0.1


def test_the_plain_loop_trains_a_network_like_ours_and_learns(images):
    ours = images.training("Adam", "float32", lr=1e-2)
    model, step = training.hand_made(images, "float32")
    assert [p.shape for p in model.parameters()] == [p.shape for p in ours.params]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), started(images), strict=True))
    pictures, labels = images.splits.test.images.permute(0, 3, 1, 2), images.splits.test.labels
    before = F.cross_entropy(model(pictures), labels).item()
    torch.manual_seed(0)
    for _ in range(200):
        step()
    assert F.cross_entropy(model(pictures), labels).item() < before - 0.1


def started(images):
    model, _ = images.network("float32").build()
    model.reset(0)
    return [p.clone() for p in model.parameters()]


def test_the_plain_loop_augments_what_it_sees(images):
    seen = []
    model, _ = training.hand_made(images, "float32")
    training.plain_loop(images.splits, model, watched(model, seen), batch=16, precision="float32")()
    assert seen[0].shape == (16, 1, 8, 8)
    plain = {image.numpy().tobytes() for image in images.splits.train.images.permute(0, 3, 1, 2).contiguous()}
    assert not any(image.contiguous().numpy().tobytes() in plain for image in seen[0])


@pytest.mark.parametrize("setting", TEXTS.settings, ids=lambda setting: setting.precision)
def test_given_the_same_batches_both_loops_see_the_same_losses(texts, setting, monkeypatch):
    ours, (model, plain) = texts.training(setting, tokens.LOOPED), tokens.hand_made(texts, setting)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), ours.params, strict=True))
    ours.schedule = lambda n: 1.0
    starts = iter(ours.batches._draw(0))
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: next(starts)[:, None])
    plain_losses = [float(plain()) for _ in range(TEXTS.limit)]
    for n in range(TEXTS.limit):
        ours.step(n)
    assert plain_losses == pytest.approx(ours.losses.tolist(), rel=1e-6)
    assert plain_losses[1] != plain_losses[0]
    assert all(torch.allclose(p, q, rtol=1e-5, atol=1e-7) for p, q in zip(model.parameters(), ours.params, strict=True))


def test_the_plain_loop_draws_windows_from_the_whole_text_and_not_beyond():
    text = torch.arange(12, dtype=torch.uint8)
    network = tokens.TextNetwork(12, 3, tokens_config.TINY, False)
    setting = tokens_config.Setting("counted", "shakespeare", tokens_config.TINY, batch=64, context=3)
    model, _ = network.build()
    model.reset(0)
    seen = []
    step = tokens.plain_loop(text, model, watched(model, seen), setting)
    for _ in range(4):
        step()
    begun = torch.cat(seen)
    assert bool((begun.diff(dim=1) == 1).all())
    assert sorted(set(begun[:, 0].tolist())) == list(range(9))  # 3 tokens and the one that is predicted


def test_both_loops_learn_from_as_many_tokens(texts):
    seen, (model, _) = [], tokens.hand_made(texts, SMALL)
    tokens.plain_loop(texts.texts["shakespeare"].train, model, watched(model, seen), SMALL)()
    assert texts.training(SMALL, "Adam").batches[0][:, :-1].shape == seen[0].shape == (SMALL.batch, SMALL.context)


def test_operations_are_those_of_the_matrix_products(texts):
    """Counted one by one: 2 operations a number of a matrix and token, thrice; the look-up and the positions have none."""
    context, shape = SMALL.context, tokens_config.TINY
    model, _ = texts.network(SMALL).build()
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "positions" not in name]
    gains = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    products = sum(2 * p.numel() for p in matrices) + shape.layers * 2 * 2 * context * shape.width
    assert tokens.operations(model, SMALL) == 3 * products + 6 * gains
    assert gains < 0.05 * sum(p.numel() for p in matrices)


def test_the_share_is_the_rate_of_operations_over_that_of_the_product(records):
    record = records["tokens"]
    expected = record.rate * record.operations / record.peak
    assert np.allclose(record.share, expected.transpose(*record.share.dims))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_computed_in_the_precision_of_the_network(dtype, monkeypatch):
    calls, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: calls.append((a.dtype, a.shape)) or mm(a, b, out=out))
    out = tokens.product(8, dtype, torch.device("cpu"))()
    assert calls == [(dtype, (8, 8))]
    assert out.dtype == dtype


def test_the_two_settings_use_their_own_text_and_precision(texts):
    assert texts.network(SMALL).vocabulary < texts.network(OTHER).vocabulary == 256
    assert (tokens.dtype(SMALL), tokens.dtype(OTHER)) == (torch.float32, torch.bfloat16)
    assert texts.data.sha256 == configured(tokens_config.DATA, TEXTS).sha256


def test_without_the_reviews_the_record_says_what_stands_in(monkeypatch):
    monkeypatch.setattr(sources, "locate", lambda source: None)
    with pytest.warns(sources.StandInWarning, match="no file, no download"):
        data = configured(tokens_config.DATA, replace(TEXTS, settings=(OTHER,), text="real"), fetch=False)
    assert data.origin == "embedded"


def test_a_race_ends_at_the_first_look_that_finds_the_target(images, monkeypatch):
    accuracies = iter([0.01, 0.5, 0.9])
    monkeypatch.setattr(training.Classification, "evaluate", lambda self, data: {"accuracy": next(accuracies)})
    steps, trained_s, looked_s, accuracy = training.race(images, "Adam", 1e-3, 0)
    assert (steps, accuracy) == (4, 0.5)
    assert trained_s > 0
    assert looked_s >= 0


def test_a_race_that_is_not_won_has_no_steps(images, monkeypatch):
    monkeypatch.setattr(training.Classification, "evaluate", lambda self, data: {"accuracy": 0.01})
    steps, _, _, accuracy = training.race(images, "2-Adam meta", 1e-3, 0)
    assert np.isnan(steps)
    assert accuracy == 0.01


def test_it_is_told_how_many_races_are_won(records):
    record = records["training"]
    steps = record.race_steps.copy(data=[[20.0, np.nan, 40.0][: record.sizes["race"]], [np.nan] * record.sizes["race"]])
    said = training_figures.split_said(record.assign(race_steps=steps))
    assert said.endswith(f"{int(steps.notnull().sum())} of {steps.size} runs get there.")


@pytest.mark.parametrize(
    ("factors", "verdict"), [((0.91, 0.91), "reproduced"), ((0.91, 0.89), "partly"), ((0.89, 0.89), "not reproduced")]
)
def test_the_loop_must_be_as_fast_as_a_plain_one_within_a_tenth(timed, record, factors, verdict):
    rate = record.rate.copy()
    rate.loc[{"loop": "plain"}] = 100.0
    for case, factor in zip(timed.cases, factors, strict=True):
        rate.loc[{"loop": "ours", rate.dims[0]: case}] = 100 * factor
    assert verdicts(record.assign(rate=rate))[timed.as_fast] == verdict


@pytest.mark.parametrize(
    ("name", "claim", "factors", "verdict"),
    [
        ("training", "D-6t", {"inverse_exp": 1.09}, "reproduced"),
        ("training", "D-6t", {"inverse_exp": 1.11}, "not reproduced"),
        ("tokens", "D-7t", {"inverse_exp": 1.09, "meta": 1.0}, "reproduced"),
        ("tokens", "D-7t", {"inverse_exp": 1.0, "meta": 1.11}, "not reproduced"),  # whatever the strategy
        ("tokens", "D-7t", {"inverse_exp": 1.11, "meta": 1.0}, "not reproduced"),
        ("tokens", "D-7t", {"inverse_exp": 1.1, "meta": 1.1}, "reproduced"),
    ],
)
def test_a_second_stage_must_be_cheap(records, name, claim, factors, verdict):
    seconds = records[name].step_s.copy(data=np.ones(records[name].step_s.shape))
    for strategy, factor in factors.items():
        seconds.loc[{"optimizer": f"2-Adam {strategy}"}] = factor
    assert verdicts(records[name].assign(step_s=seconds))[claim] == verdict


def test_a_second_stage_that_is_cheap_in_one_network_is_partly_so(records):
    seconds = records["tokens"].step_s.copy(data=np.ones(records["tokens"].step_s.shape))
    seconds.loc[{"optimizer": "2-Adam meta", "setting": "small"}] = 1.2
    assert verdicts(records["tokens"].assign(step_s=seconds))["D-7t"] == "partly"


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
def test_the_speed_run_is_judged_on_a_gpu_at_its_accuracy(records, seconds, steps, attrs, verdict):
    record = records["training"]
    times = record.race_s.copy(data=np.broadcast_to(np.array(seconds)[:, None], record.race_s.shape))
    reached = record.race_steps.copy(data=np.full(record.race_steps.shape, steps))
    changed = record.assign(race_s=times, race_steps=reached).assign_attrs({"data_origin": "folder"} | attrs)
    assert verdicts(changed)["D-6u"] == verdict


@pytest.mark.parametrize(
    ("shares", "device", "verdict"),
    [
        ((0.41, 0.41), "NVIDIA H200", "reproduced"),
        ((0.41, 0.39), "NVIDIA H200", "partly"),
        ((0.39, 0.39), "NVIDIA H200", "not reproduced"),
        ((0.41, 0.41), "2-core x86_64 CPU, 1 thread", "not run at this profile"),
    ],
)
def test_the_share_of_the_arithmetic_is_judged_on_a_gpu(records, shares, device, verdict):
    share = records["tokens"].share.copy()
    for setting, value in zip(TEXTS.settings, shares, strict=True):
        share.loc[{"loop": "ours", "setting": setting.name}] = value
    assert verdicts(records["tokens"].assign(share=share).assign_attrs(device=device))["D-7u"] == verdict


NAMES = "settings must have different names, and be one or more, got "


@pytest.mark.parametrize(
    ("good", "change", "message"),
    [
        (IMAGES, {"rounds": 0}, "rounds must be a whole number >= 1, got 0"),
        (IMAGES, {"device": "tpu"}, "device must be one of cpu, cuda; got 'tpu'"),
        (IMAGES, {"precision": "float64"}, "precision must be one of float32, bfloat16; got 'float64'"),
        (IMAGES, {"rates": (0.0, 1e-3)}, r"rates must be finite and > 0, got \(0.0, 0.001\)"),
        (IMAGES, {"target": 0.0}, r"target must be a share of the test images in \(0, 1\), got 0.0"),
        (IMAGES, {"target": 1.0}, r"target must be a share of the test images in \(0, 1\), got 1.0"),
        (IMAGES, {"ks": (0,)}, r"ks must hold one whole number >= 1 or more, got \(0,\)"),
        (IMAGES, {"images": "mnist"}, "images must be one of real, embedded; got 'mnist'"),
        (TEXTS, {"rounds": 0}, "rounds must be a whole number >= 1, got 0"),
        (TEXTS, {"side": 0}, "side must be a whole number >= 1, got 0"),
        (TEXTS, {"device": "tpu"}, "device must be one of cpu, cuda; got 'tpu'"),
        (TEXTS, {"text": "mnist"}, "text must be one of real, embedded; got 'mnist'"),
        (TEXTS, {"ks": (0,)}, "0"),
        (TEXTS, {"settings": ()}, rf"{NAMES}\[\]"),
        (TEXTS, {"settings": (SMALL, SMALL)}, rf"{NAMES}\['small', 'small'\]"),
        (SMALL, {"corpus": "novels"}, "corpus must be one of shakespeare, reviews; got 'novels'"),
        (SMALL, {"precision": "float64"}, "precision must be one of float32, bfloat16; got 'float64'"),
    ],
)
def test_a_bad_configuration_is_named(good, change, message):
    with pytest.raises(ValueError, match=message):
        replace(good, **change)


def test_the_tables_say_what_the_record_holds(timed, record):
    found = timed.figures.medians(record)
    assert all(sum(found["shares"][case].values()) == pytest.approx(1) for case in timed.cases)
    for case, row in zip(timed.cases, timed.figures.loop_table(record).rows, strict=True):
        assert (row[0], row[3]) == (case, f"{found['ours_over_plain'][case]:.2f}")
    assert [row[0] for row in timed.figures.optimizer_table(record).rows] == list(timed.optimizers)
    for table in (timed.figures.loop_table, timed.figures.optimizer_table):
        assert str(table(record)) in timed.figures.summary(record)


def test_the_table_of_races_says_where_the_target_was_not_reached(records):
    never = records["training"].assign(race_steps=records["training"].race_steps * np.nan)
    found = [row[:3] for row in training_figures.race_table(never).rows]
    assert found == [(racer, "0", "not reached") for racer in training_config.RACERS]


def test_the_figure_is_drawn_and_labels_stand_in_data(records):
    figure = training_figures.cost(records["training"])
    assert isinstance(figure, Figure)
    assert "scikit-learn's digits" in figure.get_supxlabel()


def test_the_cost_of_a_network_is_that_of_its_steps(records):
    record = records["tokens"]
    costs = tokens_figures.costs(record, "small")
    assert costs["Adam"] == 1
    assert costs == measures.step_over(record).sel(setting="small").to_series().to_dict()
