"""Experiment silence: its counts are those of the batches, exponents those of known tails; its claims turn with the truth."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from kadam.chapters.growth.silence import claims, figures, run
from kadam.chapters.growth.silence.config import PROFILES, Config
from kadam.lab.data.sources import configured_text
from kadam.lab.engine.progress import Progress
from kadam.lab.train.tasks import text_batches

SMOKE = PROFILES["smoke"]


def test_a_row_of_the_embedding_is_silent_where_its_character_is_absent_and_one_of_the_head_never(smoke_records):
    record, text = smoke_records["silence"], configured_text(SMOKE)
    for seed in record.seed.values.tolist():
        batches = text_batches(SMOKE, text, seed, fixed=False)
        present = [np.isin(np.arange(len(text.vocabulary)), next(batches)[:, :-1]) for _ in range(SMOKE.steps)]
        absent = 1 - np.mean(present[SMOKE.skip :], axis=0)
        for pair in record.pair.values:
            silent = record.silent.sel(seed=seed).isel(pair=pair)
            np.testing.assert_allclose(silent.sel(layer="embedding"), absent, rtol=0, atol=1e-12)
            assert not silent.sel(layer="head").any()


def test_a_larger_size_is_exceeded_no_more_often(smoke_records):
    exceeded = smoke_records["silence"].exceeded
    assert bool((exceeded.diff("level") <= 0).all())
    assert int(exceeded.max()) == SMOKE.steps - SMOKE.skip


def test_a_piece_that_is_stopped_goes_on_to_the_bit(tmp_path):
    config, text = replace(SMOKE, steps=12, skip=4), configured_text(SMOKE)
    whole = run.train_piece(config, text, run.Piece(3), Progress(lambda done: None))

    def stop(done):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train_piece(config, text, run.Piece(3), Progress(stop, tmp_path / "state", keep_every_s=0))
    again = run.train_piece(config, text, run.Piece(3), Progress(lambda done: None, tmp_path / "state"))
    xr.testing.assert_identical(again, whole)


def record_of(exponents, silent, *, steps=200_000, faint=0.0):
    """A record of rows whose updates have tails of these exponents, (pair, character), and so many silent steps."""
    rng, betas = np.random.default_rng(0), ((0.9, 0.5), (0.9, 0.95))
    exceeded = np.zeros((1, 2, 2, len(silent), len(run.LEVELS)), np.int32)
    for pair, layer, row in np.ndindex(2, 2, len(silent)):
        sizes = 0.3 * np.exp(np.minimum(rng.exponential(size=steps) / exponents[pair][row], 600))
        exceeded[0, pair, layer, row] = steps - np.searchsorted(np.sort(sizes), run.LEVELS, side="right")
    shares = np.tile(silent, (1, 2, 2, 1))
    dims = ("seed", "pair", "layer", "character")
    return xr.Dataset(
        {"exceeded": ((*dims, "level"), exceeded), "silent": (dims, shares), "faint": (dims, np.full(shares.shape, faint))},
        {
            "seed": [0],
            "layer": list(run.LAYERS),
            "level": run.LEVELS,
            "beta": ("pair", [b for _, b in betas]),
            "gamma": ("pair", [b for b, _ in betas]),
        },
        {"counted": steps},
    )


SILENT = [0.3, 0.5, 0.7, 0.9]
RIGHT = [2 * np.log(1 / p) / np.log(0.81 / 0.5) for p in SILENT]


def test_exponents_of_known_tails_are_found():
    for exponents in ([0.5, 1.0, 2.0, 3.0], [4.0, 1.5, 0.8, 0.6]):
        measured = claims.measured_exponents(record_of([exponents] * 2, SILENT))
        np.testing.assert_allclose(measured.isel(pair=0).sel(layer="head"), exponents, rtol=0.05)


def test_updates_beyond_the_last_level_are_cut_off_and_not_taken_for_a_steep_tail():
    exponents = [0.15, 0.2, 0.3, 0.02]
    measured = claims.measured_exponents(record_of([exponents] * 2, SILENT))
    np.testing.assert_allclose(measured.isel(pair=0).sel(layer="head")[:3], exponents[:3], rtol=0.05)
    assert float(measured.isel(pair=0).sel(layer="head")[3]) == 0  # nearly all lie beyond


def test_rows_that_were_hardly_ever_active_say_nothing():
    record = record_of([RIGHT, [9.0] * 4], SILENT, steps=2000)
    record.silent[..., -1] = 1 - (claims.LEAST_ACTIVE - 1) / 2000
    assert claims.measured_exponents(record).isnull().sum() == 4
    assert claims.predicted_exponents(record).isnull().sum() == 4


@pytest.mark.parametrize(
    ("exponents", "faint", "held"),
    [
        ([RIGHT, [9.0] * 4], 0.95, (True, True, None, True)),
        ([RIGHT, [9.0, 9.0, 9.0, 1.9]], 0.95, (True, True, None, False)),
        ([RIGHT[::-1], [9.0] * 4], 0.95, (False, False, None, True)),
        ([[1.5 * k for k in RIGHT], [9.0] * 4], 0.95, (False, False, None, True)),
        ([[9.0] * 4, [9.0] * 4], 0.1, (False, False, True, True)),
        ([[1.0] * 4, [9.0] * 4], 0.1, (False, False, False, True)),
    ],
)
def test_claims_turn_with_the_truth(exponents, faint, held):
    record = record_of(exponents, SILENT, faint=faint)
    for (_, criterion, judge), expected in zip(claims.TESTS.values(), held, strict=True):
        _, cases = judge(record, **criterion.limits)
        if expected is not None:
            assert list(cases.held.values()) == [expected], criterion
    assert "is critical" in figures.tails_said(record)


def test_a_run_must_count_some_steps():
    with pytest.raises(ValueError, match="skip must be at least 0 and below steps, 100, got 100"):
        Config(steps=100, skip=100)
