"""Chapter 7: what its contest on text trains, keeps and refuses."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from kadam import Decay, stages
from kadam.chapters.contest import measures, texts
from kadam.chapters.contest.comparisons import EQUAL, TUNED
from kadam.chapters.contest.contest import COMPARISON, SEARCH
from kadam.chapters.contest.language import config, run
from kadam.chapters.contest.trials import Piece, Trial
from kadam.decay import STRATEGIES
from kadam.lab.data.configured import configured
from kadam.lab.data.sources import DataError
from kadam.lab.engine.progress import Progress
from kadam.theory import stability


def weights(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


TINY = replace(config.PROFILES["smoke"], ks=(1, 2), strategies=("meta",), steps=4, tuning_steps=3, seeds=1)


@functools.cache
def sha256():
    return configured("corpora", TINY).sha256


@functools.cache
def record():
    return run.run(TINY)


def test_methods_are_the_chosen_baselines_and_every_k_and_strategy():
    methods = run.contest(config.PROFILES["cpu"]).methods
    assert methods[:4] == ("Adam", "AdamW", "NAdam", "Lion")
    assert len(methods) == len(set(methods)) == 4 + 3 * len(STRATEGIES)


def test_on_a_gpu_the_search_for_the_optimum_stands_in():
    assert "paper" not in config.PROFILES
    assert run.plan(config.PROFILES["cpu"]).runs == sum(run.contest(config.PROFILES["cpu"]).plan[:2])


def test_the_plan_counts_the_runs_that_are_made(monkeypatch):
    begun, original = [], texts.Inputs.training

    def counted(self, piece, steps, trial):
        begun.append(steps)
        return original(self, piece, steps, trial)

    monkeypatch.setattr(texts.Inputs, "training", counted)
    run.run(TINY)
    plan = run.contest(TINY).plan
    assert (plan.tuning, plan.comparing) == (2 * 5 * 2, 2 * 5 * 3)
    assert (begun.count(3), begun.count(4)) == (plan.tuning, plan.comparing)
    assert plan.steps == sum(begun)
    assert "20 runs to find learning rates, then 30 to compare" in run.announcement(TINY, 2)


def test_the_search_never_looks_at_test_text(monkeypatch):
    text, looked = texts.Inputs.of(TINY, sha256()).texts["reviews"], []
    monkeypatch.setattr(texts.LanguageModelling, "evaluate", lambda self, data: looked.append(data) or {"loss": 1.0})
    piece = Piece("reviews, q/k norm", "Adam")
    for phase in (SEARCH, COMPARISON):
        run.contest(TINY).train(sha256(), phase, {piece: [Trial(1e-3, 0)]}, piece, Progress(print))
    assert [data is text.validation for data in looked] == [True, True, False, False]
    assert looked[-1] is text.test


def test_search_and_contest_share_no_seed():
    assert not set(record().tuning_seed.values) & set(record().seed.values)


def test_another_seed_gives_another_record():
    assert not np.array_equal(run.run(replace(TINY, seed=5)).loss, record().loss)


def test_all_methods_of_a_seed_start_alike_and_see_the_same_text():
    inputs = texts.Inputs.of(TINY, sha256())
    runs = []
    for method in ("Adam", "Lion", "2-Adam meta"):
        training = inputs.training(Piece("characters", method), 4, Trial(1e-3, 7))
        runs.append((weights(training.model), training.batches[3]))
    for start, batch in runs[1:]:
        assert torch.equal(start, runs[0][0])
        assert torch.equal(batch, runs[0][1])
    other = inputs.training(Piece("characters", "Adam"), 4, Trial(1e-3, 8))
    assert not torch.equal(weights(other.model), runs[0][0])
    assert not torch.equal(other.batches[3], runs[0][1])


def test_tuned_rates_are_those_that_validation_chose():
    found = record()
    best = found.tried.isel(rate=found.search_loss.mean("tuning_seed").argmin("rate")).transpose("network", "optimizer")
    assert_array_equal(found.peak_rate.sel(comparison=TUNED).transpose("network", "optimizer"), best)
    assert_allclose(found.peak_rate.sel(comparison=EQUAL), TINY.equal_rate, rtol=1e-6)


def test_the_record_holds_the_bound_of_each_methods_last_stage():
    found = record().bound
    assert found.sel(optimizer=["AdamW", "NAdam", "Lion"]).isnull().all()
    pair = stages(Decay(), 2, "meta")[-1]
    for method, decay in {"Adam": Decay(), "2-Adam meta": pair}.items():
        bounds = stability.max_update_bound(np.arange(4), beta=decay.beta, gamma=decay.gamma)
        assert_allclose(found.sel(optimizer=method), [bounds[:2].max(), bounds[:4].max()], rtol=1e-6)


def test_a_guess_is_one_among_all_tokens():
    vocabularies = [text.vocabulary for text in texts.Inputs.of(TINY, sha256()).texts.values()]
    assert vocabularies == [59, 256]  # the excerpt's characters, and bytes
    assert_allclose(record().guess, np.log(vocabularies))


def test_text_that_differs_where_a_piece_is_computed_is_refused():
    with pytest.raises(DataError, match=f"text: sha256 is {sha256()} where this piece is computed, expected other"):
        run.contest(TINY).train("other", SEARCH, {}, Piece("characters", "Adam"), Progress(print))


def test_a_diverged_run_is_marked_and_kept_and_counts_as_guessing():
    settings = tuple(replace(setting, precision="float32") for setting in TINY.settings)
    found = run.run(replace(TINY, settings=settings, rates=(1e14,), equal_rate=1e14))
    adam = found.sel(optimizer="Adam", comparison=EQUAL)
    assert np.isfinite(adam.diverged_at).all()
    assert adam.loss.isel(evaluation=-1).isnull().all()
    assert np.isfinite(found.search_diverged_at.sel(optimizer="Adam")).all()
    assert_allclose(measures.ended(found).sel(optimizer="Adam", comparison=EQUAL).isel(seed=0), found.guess)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ("boost",)}, "strategy must be one of repeat, .*; got 'boost'"),
        ({"ks": (0,)}, r"ks must hold one whole number >= 1 or more, got \(0,\)"),
        ({"batch": 0}, "batch must be a whole number >= 1, got 0"),
        ({"rates": (1e-3, float("nan"))}, "rates must be finite and > 0"),
        ({"equal_rate": -1.0}, "equal_rate must be finite and > 0, got -1.0"),
        ({"evaluations": 4}, "evaluations must be at most the steps of a run, 3, got 4"),
        ({"text": "braille"}, "text must be one of real, embedded; got 'braille'"),
        ({"settings": ()}, r"settings must have different names, and be one or more, got \[\]"),
        ({"settings": TINY.settings[:1] * 2}, "settings must have different names"),
        ({"baselines": ("AdamW",)}, "baselines must hold Adam, with which all is compared"),
        ({"baselines": ("Adam", "Muon")}, "baselines must be one of Adam, .*; got 'Muon'"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 5000}, "context must be shorter than the text of 3,277 tokens, got 5,000"),
        ({"warmup": 1.0}, r"warmup must be a share of the steps in \[0, 1\), got 1.0"),
        ({"end": 1.5}, r"end must be a share of the peak in \[0, 1\], got 1.5"),
        ({"device": "cuda:99"}, "device is 'cuda:99', but torch finds no CUDA device here"),
    ],
)
def test_what_does_not_fit_data_or_machine_is_refused_before_training(change, message):
    with pytest.raises(ValueError, match=message):
        run.run(replace(TINY, **change))


def test_where_text_is_missing_the_excerpt_stands_in_and_says_so():
    assert "standing in for IMDB film reviews" in record().attrs["data"]
    assert record().attrs["data_origin"] == "embedded"
