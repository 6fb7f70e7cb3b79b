"""Spikes: excesses are nothing where updates are usual, a cut takes them away, and claims turn with what is undone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Verdicts

from kadam.chapters.watching.series import coded
from kadam.chapters.watching.spikes import claims, figures, run
from kadam.chapters.watching.spikes.config import CONTROL, EXCESSES, PROFILES, SITUATIONS, UNCUT, Config
from kadam.lab.data.sources import configured_text
from kadam.lab.engine.progress import Progress
from kadam.lab.train.tasks import text_batches

SMOKE = PROFILES["smoke"]
YES, NO = "reproduced", "not reproduced"
EMBEDDING = "tokens.weight"


def test_a_bad_configuration_of_spikes_is_named():
    with pytest.raises(ValueError, match="settle must be below steps, 100, got 200"):
        Config(steps=100)


@pytest.fixture(scope="module")
def runs():
    """Some steps in, and the updates and the rows of silent characters at the last step."""
    text = configured_text(SMOKE)
    found, batches = run.Runs(SMOKE, text, 5), text_batches(SMOKE, text, 5, fixed=False)
    for _ in range(40):
        batch = next(batches)
        found.step(batch)
    absent = ~np.isin(np.arange(len(text.vocabulary)), batch[:, :-1])
    return found, torch.from_numpy(absent), batches


def test_silence_adds_only_in_rows_without_a_gradient_and_hardly_inside_the_region(runs):
    found, absent, _ = runs
    silence, burst = (x[:: len(run.CUTS)].unflatten(1, (-1, SMOKE.width)) for x in found._excess(EMBEDDING))
    assert not burst[:, absent].any()
    outside, edge = silence[:2], silence[2]
    assert float(edge[absent].abs().max()) < run.FAINT * float(outside[:, absent].abs().max())


def test_an_update_less_its_excess_is_no_larger_than_allowed(runs):
    found, _, _ = runs
    for name, update in found.ensemble.updates.items():
        silence, burst = found._excess(name)
        assert not ((silence != 0) & (burst != 0)).any()
        rest = (update - silence - burst).abs()
        assert (rest <= torch.maximum(found.last[name], torch.ones(())) + 1e-12).all()
        assert (rest <= update.abs() + 1e-12).all()


def test_runs_that_have_had_no_excess_are_the_same_and_later_ones_differ():
    text = configured_text(SMOKE)
    found, batches = run.Runs(SMOKE, text, 5), text_batches(SMOKE, text, 5, fixed=False)
    first = found.step(next(batches))
    assert first.max() == first.min()
    losses = [found.step(next(batches)) for _ in range(40)]
    assert losses[-1][0].max() > losses[-1][0].min()


def test_weights_without_excesses_are_those_of_the_runs_until_there_are_any(runs):
    text = configured_text(SMOKE)
    fresh, batches = run.Runs(SMOKE, text, 5), text_batches(SMOKE, text, 5, fixed=False)
    batch, rng = next(batches), np.random.default_rng(0)
    undone, loss = fresh.advance(batch, fresh.signs(rng))
    assert undone.shape == (len(SITUATIONS), len(run.UNDONE))
    np.testing.assert_allclose(undone, loss[:, :1].expand(-1, len(run.UNDONE)), rtol=1e-12)
    old, _, later = runs
    batch = next(later)
    undone, loss = old.advance(batch, old.signs(rng))
    assert abs(undone[0] - loss[0, 0]).min() > 0


def test_a_piece_of_spikes_that_is_stopped_goes_on_to_the_bit(tmp_path):
    config, text = replace(SMOKE, steps=30), configured_text(SMOKE)
    whole = run.train(config, text, (3,), Progress(lambda done: None))

    def stop(done):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(config, text, (3,), Progress(stop, tmp_path / "state", keep_every_s=0))
    again = run.train(config, text, (3,), Progress(lambda done: None, tmp_path / "state"))
    xr.testing.assert_identical(again, whole)


def test_the_constructed_jump_is_the_theorys_and_grows_outside_only(smoke_records):
    record = smoke_records["spikes"]
    np.testing.assert_allclose(record.returned, record.returned_predicted, rtol=1e-9)
    outside = record.returned.sel(situation=[name for name in SITUATIONS if name.startswith("outside")]).isel(silence=-1)
    assert (outside > 0.6).all()
    assert float(record.returned.sel(situation="edge").max()) < 0.5
    wrong = record.assign(returned=record.returned * 1.01)
    assert Verdicts("spikes", record)["D-13g constructed"] == YES
    assert Verdicts("spikes", wrong)["D-13g constructed"] == NO


def by_hand(record, *, undone=("silence",), without=("silence",), seeds=4):
    """Runs of steady loss with two spikes each, taken away by undoing and by cutting these excesses."""
    steps, spikes = 500, (250, 400)
    loss = np.ones((seeds, len(SITUATIONS), len(run.CUTS), steps)) * np.exp(0.01 * np.sin(np.arange(steps)))
    dims, coords = ("seed", "situation", "step"), {"seed": range(seeds), "situation": list(SITUATIONS)}
    other = loss.copy()
    loss[..., spikes] = 5.0
    for i, name in enumerate(run.UNDONE):
        other[:, :, i, spikes] = 1.5 if name in undone else 4.0
    for i, name in enumerate(run.CUTS):
        if name in without:
            loss[:, :, i, spikes] = 1.0
    values = {"loss": ((*dims[:2], "cut", "step"), coded(loss)), "undone": ((*dims[:2], "undoing", "step"), coded(other))}
    kept = record[["returned", "returned_predicted"]]
    return kept.merge(xr.Dataset(values, {**coords, "cut": list(run.CUTS), "undoing": list(run.UNDONE)})).assign_attrs(
        record.attrs, settle=200
    )


@pytest.mark.parametrize(
    ("changed", "verdicts"),
    [
        ({}, (YES, YES)),
        ({"undone": ("burst",)}, (NO, YES)),
        ({"undone": ("silence", CONTROL)}, (NO, YES)),
        ({"without": ("burst",)}, (YES, NO)),
    ],
)
def test_claims_on_causes_turn_with_what_takes_spikes_away(smoke_records, changed, verdicts):
    record = by_hand(smoke_records["spikes"], **changed)
    assert int(claims.counts(record).sel(cut=UNCUT).sum()) == 2 * 4 * len(SITUATIONS)
    found = Verdicts("spikes", record)
    assert (found["D-13g"], found["D-13h"]) == verdicts


def test_a_share_is_a_ratio_of_sums_with_the_interval_of_its_residuals():
    part, whole = (xr.DataArray([values], dims=("situation", "seed")) for values in ([1, 2, 0, 3], [2, 3, 1, 4]))
    mean, low, high = claims.share(part, whole)
    assert mean[0] == pytest.approx(0.6)
    assert low[0] < 0.6 < high[0]
    same = claims.share(whole, whole)
    assert (float(same.mean[0]), float(same.low[0]), float(same.high[0])) == (1, 1, 1)


def test_sentences_say_what_takes_spikes_away(smoke_records):
    records = [by_hand(smoke_records["spikes"], undone=(excess,)) for excess in EXCESSES]
    words = [str(figures.causes_said(record)) for record in records]
    assert "*edge* 100%" in words[0]
    assert "*edge* 0%" in words[1]
    assert figures.cause_table(records[0]).rows[2][:2] == ("edge", "8")
    assert "no spikes" in str(figures.causes_said(smoke_records["spikes"]))
