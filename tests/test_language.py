"""Chapter 7: networks that learn text, and what their contest trains, keeps and refuses."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional as F

from kadam import Decay, stages
from kadam.chapters.contest import competition, judges
from kadam.chapters.contest.language import config as language_config
from kadam.chapters.contest.language import run as language
from kadam.chapters.contest.trials import Trial
from kadam.decay import STRATEGIES
from kadam.lab.data.sources import DataError
from kadam.lab.data.windows import Windows
from kadam.lab.engine import state as states
from kadam.lab.engine.progress import Progress
from kadam.lab.records.profiles import Shape
from kadam.lab.train import language_model as lab
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.optimizers import optimizer
from kadam.lab.train.probes import SPIKE_WINDOW, spikes
from kadam.lab.train.schedule import Schedule
from kadam.theory import stability

STEPS, LR, VOCABULARY, CONTEXT = 6, 2**-7, 9, 5
SHAPE = Shape(width=8, layers=1, heads=2)
SCHEDULE = Schedule(STEPS, 0.3, "cosine", 0.1)
TEXT = torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, 400).astype(np.uint8))

either = pytest.mark.parametrize("normalised", [True, False], ids=["q/k norm", "plain"])


def network(normalised=False, precision="float64", **kwargs):
    return TextNetwork(VOCABULARY, CONTEXT, SHAPE, normalised, precision, **kwargs)


def batches():
    return Windows(TEXT, batch=4, context=CONTEXT, seed=3)


def begun(wanted=None, method="Adam", lr=LR):
    make = functools.partial(optimizer, method, lr=lr, decay=Decay(beta=0.99, gamma=0.8), weight_decay=0.1)
    return LanguageModelling(wanted or network(), make, batches(), SCHEDULE, initialisation=1)


def taken(training, steps=STEPS, start=0):
    for n in range(start, steps):
        training.step(n)
    return training


def weights(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


@either
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_training_is_a_plain_loop_bit_for_bit(normalised, precision):
    ours = taken(begun(network(normalised, precision)))
    model = Gpt(vocabulary=VOCABULARY, context=CONTEXT, width=8, layers=1, heads=2, normalised=normalised)
    model = model.to(getattr(torch, precision))
    model.reset(1)
    adam, several = torch.optim.Adam(model.parameters(), lr=LR, betas=(0.8, 0.99)), batches()
    for n in range(STEPS):
        adam.param_groups[0]["lr"] = LR * SCHEDULE(n)
        adam.zero_grad()
        loss = F.cross_entropy(model(several[n][:, :-1]).flatten(0, 1), several[n][:, 1:].flatten())
        loss.backward()
        adam.step()
        assert_allclose(ours.losses[n], np.float32(loss.item()), rtol=0)
    assert torch.equal(weights(ours.model), weights(model))


def test_the_rate_falls_as_a_cosine_to_its_end():
    factors = np.array([Schedule(200, 0.25, "cosine", 0.1)(n) for n in range(200)])
    left = (200 - 50 - np.arange(150) - 0.5) / 150
    assert_allclose(factors[50:], 0.1 + 0.9 * (1 - np.cos(np.pi * left)) / 2, rtol=1e-12)
    assert_allclose(np.diff(factors[:50]), 1 / 50)
    assert 0.1 < factors[-1] < 0.101


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fall": "exponential"}, "fall must be one of linear, cosine; got 'exponential'"),
        ({"end": 1.5}, r"end must be a share of the peak in \[0, 1\], got 1.5"),
        ({"end": float("nan")}, "end must be a share of the peak"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Schedule(10, **change)


def test_what_is_watched_of_a_step_is_its_move_in_units_of_the_learning_rate():
    training, squares, largest = begun(method="2-Adam meta"), [], []
    for n in range(STEPS):
        before = weights(training.model)
        training.step(n)
        u = (before - weights(training.model)) / (LR * SCHEDULE(n))
        squares.append((u**2).mean())
        largest.append(u.abs().max())
    assert_allclose(training.squares, squares, rtol=1e-6)
    assert_allclose(training.largest, largest, rtol=1e-6)
    seen = training.watched(2, 5)
    assert seen["max_update"] == pytest.approx(max(largest[2:5]).item())
    assert seen["update_rms"] == pytest.approx(np.mean(squares[2:5]) ** 0.5)
    assert seen["train_loss"] == pytest.approx(training.losses[2:5].mean().item())
    assert seen["spikes"] == 0


def test_evaluation_in_parts_is_that_of_all_windows_at_once(monkeypatch):
    training, data = taken(begun()), batches()[7]
    whole = training.loss(data).item()
    monkeypatch.setattr(lab, "EVALUATED", 3 * (CONTEXT + 1))
    assert training.evaluate(data)["loss"] == pytest.approx(whole, rel=1e-12)
    assert len(data) % 3


def test_an_untrained_network_is_about_as_good_as_a_guess():
    assert begun().evaluate(batches()[0])["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.05)


def test_bfloat16_keeps_the_weights_in_float32():
    rough, fine = taken(begun(network(precision="bfloat16"))), taken(begun(network(precision="float32")))
    assert {p.dtype for p in rough.params} == {torch.float32}
    assert not torch.equal(rough.losses, fine.losses)
    assert_allclose(rough.losses, fine.losses, atol=0.05)


def test_a_compiled_network_computes_the_same():
    plain, compiled = taken(begun()), taken(begun(network(compiler="aot_eager")))
    assert compiled.forward is not compiled.model
    assert_allclose(compiled.losses, plain.losses, rtol=1e-6)


@pytest.mark.parametrize("method", ["Adam", "NAdam", "Lion", "2-Adam meta"])
def test_a_run_goes_on_from_its_state_to_the_bit(method, tmp_path):
    whole = taken(begun(method=method))
    end, seen = weights(whole.model), (whole.losses, whole.squares, whole.largest)
    states.save(taken(begun(method=method), 3), tmp_path / "state")
    again = taken(states.load_into(begun(method=method), tmp_path / "state"), start=3)
    assert torch.equal(weights(again.model), end)
    assert all(torch.equal(x, y) for x, y in zip((again.losses, again.squares, again.largest), seen, strict=True))


def wobbling(steps=60):
    return np.where(np.arange(steps) % 2, 2.1, 1.9)  # mean 2, standard deviation 0.1


@pytest.mark.parametrize(("height", "expected"), [(2.49, []), (2.51, [40])])
def test_a_spike_is_five_deviations_above_the_mean_of_what_came_before(height, expected):
    losses = wobbling()
    losses[40] = height
    assert np.flatnonzero(spikes(losses)).tolist() == expected


def test_a_spike_is_counted_once_and_early_or_infinite_losses_are_none():
    losses = wobbling()
    losses[30:33] = [3, 4, 5]
    losses[5], losses[-1] = 100, np.inf
    assert np.flatnonzero(spikes(losses)).tolist() == [30]
    assert not spikes(wobbling(SPIKE_WINDOW)).any()
    assert not spikes(np.full(30, np.nan)).any()
    assert np.array_equal(spikes(np.stack([losses, wobbling()], 1)), np.stack([spikes(losses), spikes(wobbling())], 1))


TINY = replace(language_config.PROFILES["smoke"], ks=(1, 2), strategies=("meta",), steps=4, tuning_steps=3, seeds=1)


@functools.cache
def sha256():
    return language.load_data(TINY).sha256


@functools.cache
def record():
    return language.run(TINY)


def test_methods_are_the_chosen_baselines_and_every_k_and_strategy():
    methods = language_config.PROFILES["cpu"].methods
    assert methods[:4] == ["Adam", "AdamW", "NAdam", "Lion"]
    assert len(methods) == len(set(methods)) == 4 + 3 * len(STRATEGIES)


def test_the_paper_profile_is_what_was_asked_for():
    paper = language_config.PROFILES["paper"]
    assert (paper.steps, paper.device, paper.compiler) == (10_000, "cuda", "inductor")
    assert [setting.normalised for setting in paper.settings] == [False, True]
    model = Gpt(vocabulary=256, context=paper.context, width=512, layers=7, heads=8)
    assert {setting.shape for setting in paper.settings} == {Shape(512, 7, 8)}
    assert 20e6 < sum(p.numel() for p in model.parameters()) < 100e6


def test_the_plan_counts_the_runs_that_are_made(monkeypatch):
    begun, original = [], language.Inputs.training

    def counted(self, name, method, steps, trial):
        begun.append(steps)
        return original(self, name, method, steps, trial)

    monkeypatch.setattr(language.Inputs, "training", counted)
    language.run(TINY)
    plan = language.competition(TINY).plan
    assert (plan.tuning, plan.comparing) == (2 * 5 * 2, 2 * 5 * 3)
    assert (begun.count(3), begun.count(4)) == (plan.tuning, plan.comparing)
    assert plan.steps == sum(begun)
    assert "20 runs to find learning rates, then 30 to compare" in language.announcement(TINY, 2)


def test_the_search_never_looks_at_test_text(monkeypatch):
    text, looked = language.Inputs.of(TINY, sha256()).texts["reviews"], []
    monkeypatch.setattr(language.LanguageModelling, "evaluate", lambda self, data: looked.append(data) or {"loss": 1.0})
    piece = "reviews, q/k norm, Adam"
    for phase in (competition.SEARCH, competition.CONTEST):
        language.train_piece(TINY, sha256(), phase, {piece: [Trial(1e-3, 0)]}, piece, Progress(print))
    assert [data is text.validation for data in looked] == [True, True, False, False]
    assert looked[-1] is text.test


def test_search_and_contest_share_no_seed():
    assert not set(record().tuning_seed.values) & set(record().seed.values)


def test_a_seed_gives_the_same_record_and_processes_change_no_bit():
    xr.testing.assert_identical(language.run(TINY, jobs=2).drop_attrs(deep=False), record().drop_attrs(deep=False))
    assert not np.array_equal(language.run(replace(TINY, seed=5)).loss, record().loss)


def test_all_methods_of_a_seed_start_alike_and_see_the_same_text():
    inputs = language.Inputs.of(TINY, sha256())
    runs = []
    for method in ("Adam", "Lion", "2-Adam meta"):
        training = inputs.training("characters", method, 4, Trial(1e-3, 7))
        runs.append((weights(training.model), training.batches[3]))
    for start, batch in runs[1:]:
        assert torch.equal(start, runs[0][0])
        assert torch.equal(batch, runs[0][1])
    other = inputs.training("characters", "Adam", 4, Trial(1e-3, 8))
    assert not torch.equal(weights(other.model), runs[0][0])
    assert not torch.equal(other.batches[3], runs[0][1])


def test_tuned_rates_are_those_that_validation_chose():
    found = record()
    best = found.tried.isel(rate=found.search_loss.mean("tuning_seed").argmin("rate")).transpose("network", "optimizer")
    assert_array_equal(found.peak_rate.sel(comparison=judges.TUNED).transpose("network", "optimizer"), best)
    assert_allclose(found.peak_rate.sel(comparison=judges.EQUAL), TINY.equal_rate, rtol=1e-6)


def test_the_record_holds_the_bound_of_each_methods_last_stage():
    found = record().bound
    assert found.sel(optimizer=["AdamW", "NAdam", "Lion"]).isnull().all()
    pair = stages(Decay(), 2, "meta")[-1]
    for method, decay in {"Adam": Decay(), "2-Adam meta": pair}.items():
        bounds = stability.max_update_bound(np.arange(4), beta=decay.beta, gamma=decay.gamma)
        assert_allclose(found.sel(optimizer=method), [bounds[:2].max(), bounds[:4].max()], rtol=1e-6)


def test_a_guess_is_one_among_all_tokens():
    vocabularies = [text.vocabulary for text in language.Inputs.of(TINY, sha256()).texts.values()]
    assert vocabularies == [59, 256]  # the excerpt's characters, and bytes
    assert_allclose(record().guess, np.log(vocabularies))


def test_text_that_differs_where_a_piece_is_computed_is_refused():
    with pytest.raises(DataError, match=f"text: sha256 is {sha256()} where this piece is computed, expected other"):
        language.train_piece(TINY, "other", competition.SEARCH, {}, "characters, Adam", Progress(print))


def test_a_diverged_run_is_marked_and_kept_and_counts_as_guessing():
    settings = tuple(replace(setting, precision="float32") for setting in TINY.settings)
    found = language.run(replace(TINY, settings=settings, rates=(1e14,), equal_rate=1e14))
    adam = found.sel(optimizer="Adam", comparison=judges.EQUAL)
    assert np.isfinite(adam.diverged_at).all()
    assert adam.loss.isel(evaluation=-1).isnull().all()
    assert np.isfinite(found.search_diverged_at.sel(optimizer="Adam")).all()
    assert_allclose(judges.nats(found).sel(optimizer="Adam", comparison=judges.EQUAL).isel(seed=0), found.guess)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ("boost",)}, "strategy must be one of repeat, .*; got 'boost'"),
        ({"ks": (0,)}, "k must be a whole number >= 1, got 0"),
        ({"batch": 0}, "batch must be a whole number >= 1, got 0"),
        ({"rates": (1e-3, float("nan"))}, "rates must be finite and > 0"),
        ({"equal_rate": -1.0}, "equal_rate must be finite and > 0, got -1.0"),
        ({"evaluations": 4}, "evaluations must be at most the steps of a run, 3, got 4"),
        ({"text": "braille"}, "text must be one of real, embedded; got 'braille'"),
        ({"settings": ()}, r"settings must have different names, and be one or more, got \[\]"),
        ({"settings": TINY.settings[:1] * 2}, "settings must have different names"),
        ({"baselines": ("AdamW",)}, "baselines must hold Adam, with which all is compared"),
        ({"baselines": ("Adam", "Muon")}, "baselines must be one of Adam, .*; got 'Muon'"),
        ({"warmup": 1.0}, "warmup must be a share of the steps"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "wikipedia"}, "corpus must be one of shakespeare, reviews; got 'wikipedia'"),
        ({"precision": "int8"}, "precision must be one of float64, float32, bfloat16; got 'int8'"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY.settings[0], **change)


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match="layers must be a whole number >= 1, got 0"):
        Shape(8, 0, 2)


def test_a_context_longer_than_the_text_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="context must be shorter than the text of 3,277 tokens, got 5,000"):
        language.run(replace(TINY, context=5000))


def test_where_text_is_missing_the_excerpt_stands_in_and_says_so():
    assert "standing in for IMDB film reviews" in record().attrs["data"]
    assert record().attrs["data_origin"] == "embedded"
