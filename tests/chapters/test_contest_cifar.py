"""Chapter 6: what its experiment trains, keeps and refuses, and both sides of each of its criteria."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Judged, Verdicts

from kadam import chapters
from kadam.chapters.contest import figures as contest_figures
from kadam.chapters.contest import images
from kadam.chapters.contest.cifar import config, figures, run
from kadam.chapters.contest.comparisons import COMPARISONS, EQUAL, MATCHED, TUNED
from kadam.chapters.contest.contest import COMPARISON, SEARCH, Contest, stages
from kadam.chapters.contest.measures import ended
from kadam.chapters.contest.trials import Piece, Trial
from kadam.decay import STRATEGIES
from kadam.lab.data.images import configured_images
from kadam.lab.data.sources import DataError
from kadam.lab.engine.progress import Progress
from kadam.lab.records import committed, profiles
from kadam.lab.records.profiles import BASELINES
from kadam.lab.train.classification import EVALUATED

TINY = replace(config.PROFILES["smoke"], ks=(1, 2), strategies=("meta",), steps=4, seeds=1)
SHA256 = configured_images(TINY).sha256


@functools.cache
def record():
    return run.run(TINY)


def test_methods_are_adam_and_all_else_that_the_configuration_names():
    methods = run.contest(config.OnImages(ks=tuple(range(1, 11)))).methods
    assert len(methods) == len(set(methods)) == len(BASELINES) + 9 * len(STRATEGIES)
    assert {"Adam", "AdamW", "SGD", "NAdam", "LaProp", "Lion", "2-Adam meta", "10-Adam root"} <= set(methods)


def test_the_paper_profile_is_what_was_asked_for():
    paper = config.PROFILES["paper"]
    assert (paper.networks, paper.ks, paper.device) == (("batch norm",), (1, 2, 4), "cuda")
    assert run.contest(paper).methods == ("Adam", "NAdam", *(f"{k}-Adam {s}" for s in ("inverse_exp", "meta") for k in (2, 4)))
    np.testing.assert_allclose(np.diff(np.log2(paper.rates)), [1] * 3)
    assert paper.train + paper.validation == 50000
    assert paper.validation % EVALUATED == paper.test % EVALUATED == 0  # no graph for a rest
    plan = run.contest(paper).plan
    assert (plan.tuning, plan.comparing) == (6 * 4, 6 * 3 * 5)
    assert plan.steps * 1.1e-3 < 50  # seconds, at 1.1 ms a step
    assert 2 * (paper.train // paper.batch) == config.LEAST


def test_the_arithmetic_is_that_of_the_networks():
    paper = config.PROFILES["paper"]
    found, plan = run.plan(paper), run.contest(paper).plan
    assert (found.runs, found.steps, found.precision) == (114, plan.steps, "bfloat16")
    model = images.ImageNetwork(3, 10, 64, 1, True).make()
    assert found.weights == sum(p.numel() for p in model.parameters())
    forward = 2 * sum(of * side**2 for of, side in ((27 * 64, 32), (576 * 128, 16), (1152 * 256, 8), (2560, 1)))
    evaluated = 114 * 2 * 7500 / 512
    assert found.operations == pytest.approx(512 * forward * (3 * plan.steps + evaluated))
    a_method = 19 * 350 * found.weights
    assert found.moved == pytest.approx(a_method * (4 * 12 + 16 * 2 + 2 * 12 + 16 * (2 + 4) * 2))


def test_some_networks_and_baselines_alone_make_a_record_that_figures_and_claims_take():
    chosen = config.Chosen(**vars(replace(TINY, steps=2)), networks=("batch norm",), baselines=("Adam", "NAdam"))
    found = run.run(chosen)
    assert found.network.values.tolist() == ["batch norm"]
    assert found.optimizer.values.tolist() == ["Adam", "NAdam", "2-Adam meta"]
    claims = {claim.id: claim for claim in chapters.claims("cifar", found.isel(seed=[0] * 3).assign_coords(seed=[0, 1, 2]))}
    assert (claims["GT-6g"].verdict, claims["GT-6g"].cases) == ("not run at this profile", {})
    assert "no network without normalisation" in claims["GT-6g"].measured
    assert "no network" in figures.normalisation_said.__wrapped__(found)
    for draw in (contest_figures.advantage, contest_figures.stages, contest_figures.rates, contest_figures.rates_by_k):
        draw(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": ()}, "networks must hold one or more"),
        ({"networks": ("layer norm",)}, "networks must be one of batch norm, no norm; got 'layer norm'"),
        ({"baselines": ("NAdam",)}, "baselines must hold Adam"),
        ({"baselines": ("Adam", "Adan")}, "baselines must be one of .* got 'Adan'"),
    ],
)
def test_what_is_chosen_must_be_known(change, message):
    with pytest.raises(ValueError, match=message):
        replace(config.PROFILES["paper"], **change)


@pytest.mark.parametrize(("steps", "name"), [(174, "paper"), (173, "custom"), (351, "custom")])
def test_a_shorter_run_is_of_the_profile_down_to_two_passes(steps, name):
    assert profiles.name_of(config.PROFILES, replace(config.PROFILES["paper"], steps=steps), config.LEAST) == name


def test_a_pilot_foretells_a_time_from_a_step_with_each_number_of_stages(monkeypatch):
    asked = []
    monkeypatch.setattr(Contest, "_seconds_a_step", lambda self, method: asked.append(method) or float(method[0] == "2"))
    plan = run.contest(TINY).plan
    assert run.pilot(TINY) == pytest.approx(plan.steps / 7)  # one method of seven
    assert asked == ["Adam", "2-Adam meta"]
    monkeypatch.undo()
    assert 0 < run.pilot(TINY) < 60


def test_the_plan_counts_the_runs_that_are_made(monkeypatch):
    begun, original = [], images.Inputs.training

    def counted(self, *args):
        begun.append(args)
        return original(self, *args)

    monkeypatch.setattr(images.Inputs, "training", counted)
    run.run(TINY)
    plan = run.contest(TINY).plan
    assert (plan.tuning, plan.comparing) == (2 * 7 * 2, 2 * 7 * 3)
    assert len(begun) == plan.tuning + plan.comparing
    assert plan.steps == TINY.steps * len(begun)
    assert "28 runs to find learning rates, then 42 to compare" in run.announcement(TINY, 2)


def test_search_and_contest_share_no_seed():
    trials = record()
    assert not set(trials.tuning_seed.values) & set(trials.seed.values)


def test_the_search_never_looks_at_test_images(monkeypatch):
    inputs, looked, found = images.Inputs.of(TINY, SHA256), [], {"loss": 0.0, "accuracy": 0.0}
    monkeypatch.setattr(images.Classification, "evaluate", lambda self, data: looked.append(data) or found)
    piece = Piece("batch norm", "Adam")
    for phase in (SEARCH, COMPARISON):
        run.contest(TINY).train(SHA256, phase, {piece: [Trial(1e-3, 0)]}, piece, Progress(print))
    assert [data is inputs.splits.validation for data in looked] == [True, True, False, False]
    assert looked[-1] is inputs.splits.test


def test_another_seed_gives_another_record():
    assert not np.array_equal(run.run(replace(TINY, seed=5)).loss, record().loss)


def test_all_methods_of_a_seed_start_alike_and_see_the_same_images():
    inputs = images.Inputs.of(TINY, SHA256)
    starts, batches = [], []
    for method in ("Adam", "SGD", "2-Adam meta"):
        training = inputs.training(Piece("no norm", method), 4, Trial(1e-3, 7))
        starts.append([p.clone() for p in training.params])
        batches.append(training.batches[3])
    for start, (pictures, labels) in zip(starts[1:], batches[1:], strict=True):
        assert all(torch.equal(p, q) for p, q in zip(start, starts[0], strict=True))
        assert torch.equal(pictures, batches[0][0])
        assert torch.equal(labels, batches[0][1])
    seeds = inputs.training(Piece("no norm", "Adam"), 4, Trial(1e-3, 7)).batches.seeds
    assert len({*seeds}) == 3


def test_tuned_rates_are_those_that_validation_chose_and_matched_ones_match():
    found = record()
    mean = found.search_accuracy.mean("tuning_seed")
    best = found.tried.isel(rate=mean.argmax("rate")).transpose("network", "optimizer")
    tuned = found.peak_rate.sel(comparison=TUNED).transpose("network", "optimizer")
    np.testing.assert_array_equal(tuned, best)
    np.testing.assert_allclose(found.peak_rate.sel(comparison=EQUAL), TINY.equal_rate, rtol=1e-7)
    matched = found.peak_rate.sel(comparison=MATCHED)
    np.testing.assert_allclose(matched.sel(optimizer="Adam"), TINY.equal_rate, rtol=1e-6)
    assert float(matched.sel(optimizer="2-Adam meta").max()) < TINY.equal_rate


def test_images_that_differ_where_a_piece_is_computed_are_refused():
    with pytest.raises(DataError, match=f"images: sha256 is {SHA256} where this piece is computed, expected other"):
        run.contest(TINY).train("other", SEARCH, {}, Piece("batch norm", "Adam"), Progress(print))


def test_a_diverged_run_is_marked_and_kept_and_counts_as_guessing():
    wild = replace(TINY, rates=(1e14,), equal_rate=1e14, precision="float32", steps=6)
    found = run.run(wild)
    sgd = found.sel(optimizer="SGD", network="no norm", comparison=EQUAL)
    assert np.isfinite(sgd.diverged_at).all()
    assert np.isnan(sgd.accuracy.isel(evaluation=-1)).all()
    assert np.isfinite(found.search_diverged_at.sel(optimizer="SGD", network="no norm")).all()
    np.testing.assert_array_equal(ended(found).sel(optimizer="SGD", network="no norm", comparison=EQUAL), 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ("boost",)}, "strategy must be one of repeat, .*; got 'boost'"),
        ({"ks": (0,)}, r"ks must hold one whole number >= 1 or more, got \(0,\)"),
        ({"ks": (2, 2.5)}, r"ks must hold one whole number >= 1 or more, got \(2, 2.5\)"),
        ({"batch": 0}, "batch must be a whole number >= 1, got 0"),
        ({"rates": ()}, r"rates must be finite and > 0, got \(\)"),
        ({"rates": (1e-3, float("nan"))}, "rates must be finite and > 0"),
        ({"equal_rate": -1.0}, "equal_rate must be finite and > 0, got -1.0"),
        ({"evaluations": 13}, "evaluations must be at most steps, 12, got 13"),
        ({"images": "mnist"}, "images must be one of real, embedded; got 'mnist'"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(config.PROFILES["smoke"], **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 129}, "batch must be from 1 to the number of training images, 128, got 129"),
        ({"precision": "float8"}, "precision must be one of float64, float32, bfloat16; got 'float8'"),
        ({"warmup": 1.0}, r"warmup must be a share of the steps in \[0, 1\), got 1.0"),
        ({"shift": 8}, "shift must be from 0 to 7, below the images' side, got 8"),
        ({"device": "cuda:99"}, "device is 'cuda:99', but torch finds no CUDA device here"),
    ],
)
def test_what_does_not_fit_data_or_machine_is_refused_before_training(change, message):
    with pytest.raises(ValueError, match=message):
        run.run(replace(TINY, **change))


def made(**accuracies):
    """A record of 3 seeds whose accuracies are given by optimizer (per cent, in every comparison unless a dict)."""
    methods = ["Adam", "SGD", "2-Adam repeat", "3-Adam repeat", "2-Adam meta"]
    shape = (len(COMPARISONS), 2, len(methods), 3, 1)
    values = np.full(shape, 50.0)
    for name, given in accuracies.items():
        place = methods.index(name.replace("_", " ").replace("x", "-"))
        by_comparison = given if isinstance(given, dict) else dict.fromkeys(COMPARISONS, given)
        for comparison, networks in by_comparison.items():
            values[COMPARISONS.index(comparison), :, place, :, 0] = np.broadcast_to(networks, (3, 2)).T
    values += np.array([-0.1, 0.0, 0.1])[:, None]  # the seeds, alike for all
    dims = ("comparison", "network", "optimizer", "seed", "evaluation")
    found = xr.Dataset({"accuracy": (dims, values / 100), "update_rms": (dims, np.full(shape, 0.3))})
    found["diverged_at"] = (dims[:4], np.full(shape[:4], np.nan))
    found["peak_rate"] = (dims[:3], np.full(shape[:3], 1e-3))
    search = np.broadcast_to(values[1, ..., :1, 0, None], (2, len(methods), 1, 3)) * [0.9, 1.0, 0.9] / 100
    found["search_accuracy"] = (("network", "optimizer", "tuning_seed", "rate"), search)
    coords = {"comparison": list(COMPARISONS), "network": list(config.NETWORKS), "optimizer": methods}
    found = found.assign_coords(coords | stages(methods))
    return found.assign_attrs(classes=10, profile="custom", experiment="cifar", config_hash="0")


def verdicts(dataset):
    return Verdicts("cifar", dataset)


YES, PARTLY, NO = "reproduced", "partly", "not reproduced"


@pytest.mark.parametrize(
    ("accuracies", "id", "verdict"),
    [
        ({"2xAdam_repeat": 51}, "GT-6a repeat", YES),
        ({"2xAdam_repeat": [51, 50]}, "GT-6a repeat", PARTLY),
        ({"2xAdam_repeat": 49}, "GT-6a repeat", NO),
        ({"2xAdam_repeat": {TUNED: 51}}, "D-6b repeat", YES),
        ({"2xAdam_repeat": {TUNED: 51}}, "D-6c repeat", NO),
        ({"2xAdam_repeat": {MATCHED: 51}}, "D-6c repeat", YES),
        ({"2xAdam_repeat": 51, "2xAdam_meta": 51}, "GT-6d", YES),
        ({"2xAdam_repeat": 51, "2xAdam_meta": [51, 49]}, "GT-6d", PARTLY),
        ({"2xAdam_repeat": 51}, "GT-6d", NO),
        ({"3xAdam_repeat": 45.1, "2xAdam_repeat": 50}, "GT-6e", YES),
        ({"3xAdam_repeat": 44.9}, "GT-6e", NO),
        ({"3xAdam_repeat": {TUNED: 40}}, "D-6f", NO),
        ({"3xAdam_repeat": {EQUAL: 40}}, "D-6f", YES),
        ({"Adam": [60, 50], "2xAdam_meta": [50, 56]}, "GT-6g", YES),
        ({"Adam": [60, 50], "2xAdam_meta": [50, 54]}, "GT-6g", NO),
        ({"2xAdam_repeat": {EQUAL: 54, MATCHED: 51}}, "D-6h", YES),
        ({"2xAdam_repeat": {EQUAL: 54, MATCHED: 51.5}}, "D-6h", NO),
        ({"2xAdam_repeat": {EQUAL: 46, MATCHED: 50}}, "D-6h", "not run at this profile"),
        ({"2xAdam_repeat": 52, "SGD": 51}, "D-6j", YES),
        ({"2xAdam_repeat": 52, "SGD": [51, 53]}, "D-6j", PARTLY),
        ({"2xAdam_repeat": 52, "SGD": 53}, "D-6j", NO),
    ],
)
def test_the_criteria_are_applied_on_both_sides(accuracies, id, verdict):
    assert verdicts(made(**accuracies))[id] == verdict


def test_steps_must_be_twice_as_large_as_adams():
    found = made()
    for size, verdict in ((0.61, YES), (0.59, NO)):
        larger = xr.where(found.k >= 2, size, found.update_rms).transpose(*found.update_rms.dims)
        assert verdicts(found.assign(update_rms=larger))["D-6i"] == verdict


def test_a_best_rate_at_the_end_of_the_range_is_told():
    found = made()
    assert verdicts(found)["D-6k"] == YES
    rising = found.search_accuracy * xr.DataArray([1.0, 1.0, 2.0], dims="rate")
    at_end = xr.where(found.optimizer == "SGD", rising, found.search_accuracy)
    claim = Judged("cifar", found.assign(search_accuracy=at_end))["D-6k"]
    assert (claim.verdict, "at an end: SGD" in claim.measured) == (PARTLY, True)


def test_a_diverged_run_is_no_graceful_decline():
    found = made()
    found.diverged_at.loc[{"optimizer": "3-Adam repeat", "comparison": EQUAL}] = 3.0
    assert (verdicts(found)["GT-6e"], verdicts(found)["D-6f"]) == (NO, YES)
    assert any(name.startswith("repeat, ") for name in Judged("cifar", found)["GT-6e"].cases)


def test_two_seeds_decide_nothing():
    found = {c.id: c for c in chapters.claims("cifar", made(**{"2xAdam_repeat": 60}).isel(seed=slice(2)))}
    assert found["GT-6a repeat"].verdict == "not run at this profile"
    assert found["GT-6a repeat"].measured == "too few seeds: 2"


def test_at_the_laptop_profile_the_ledger_takes_a_larger_committed_record(tmp_path):
    committed.commit(made(**{"2xAdam_repeat": 51}).assign_attrs(profile="cpu"), tmp_path)
    for asked, profile, verdict in (("laptop", "cpu", YES), ("smoke", "smoke", "not run at this profile")):
        claim = next(c for c in chapters.ledger(asked, tmp_path) if c.id == "GT-6a repeat")
        assert (claim.profile, claim.verdict) == (profile, verdict)


def test_an_experiment_without_a_profile_is_not_run_at_it(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    assert {c.verdict for c in chapters.ledger("cpu", tmp_path)} == {"not run at this profile"}
    with pytest.raises(ValueError, match="profile must be one of smoke, laptop, paper; got 'cpu'"):
        chapters.request("stability", "cpu")
