"""Chapter growth: what its smoke record holds, how its claims are decided, and what it draws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from tiers import exhaustive

from kadam import chapters
from kadam.chapters.growth import claims, figures, run
from kadam.chapters.growth.config import LEAST, PROFILES, Config, fit_window
from kadam.decay import Decay
from kadam.lab.data.sources import configured_text
from kadam.lab.engine.sweep import one_thread
from kadam.lab.records import committed, profiles
from kadam.lab.train import probes, tasks
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.networks import next_token_loss
from kadam.theory import stability as theory

REAL = Path("tinyshakespeare.txt")


def test_growth_holds_the_points_settings_and_laws(smoke_records):
    record = smoke_records["growth"]
    assert record.max_update.dims == ("setting", "seed", "iteration", "point")
    assert record.sizes["point"] == PROFILES["smoke"].points
    assert np.isfinite(record.max_update.sel(setting=["fixed", "fresh"])).all()
    np.testing.assert_array_equal(record.coefficient, theory.coefficient(beta=record.beta, gamma=record.gamma))
    assert set(record.max_update.sel(setting="eps").dropna("point", how="all").point.values) == set(range(0, 12, 4))


def test_the_first_update_of_every_member_is_one_learning_rate(smoke_records):
    first = smoke_records["growth"].max_update.isel(iteration=0).sel(setting=["fixed", "fresh"])
    np.testing.assert_allclose(first, 1, rtol=1e-6)


def test_no_update_in_training_exceeds_the_exact_bound(smoke_records):
    record = smoke_records["growth"]
    bound = theory.max_update_bound(record.iteration.values[:, None], beta=record.beta.values, gamma=record.gamma.values)
    ratio = record.max_update.transpose("setting", "seed", "iteration", "point") / bound
    assert float(ratio.max()) <= 1 + 1e-6  # float32 storage
    assert float(ratio.max()) > 0.9


def test_processes_and_an_interruption_change_no_bit_of_growth(tmp_path, monkeypatch):
    config = Config(points=4, seeds=1, chunk=2, steps=10, width=8, layers=1, dtype="float64", text="embedded")
    undisturbed = run.run(config)
    original, calls = run.train_piece, []

    def stop_at_the_third(*args):
        calls.append(args[-2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(run, "train_piece", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run.run(config, checkpoint=tmp_path)
    resumed = run.run(config, checkpoint=tmp_path)
    assert len(calls) == len(set(calls)) + 1  # only the piece in flight was begun twice
    xr.testing.assert_identical(resumed.drop_attrs(deep=False), undisturbed.drop_attrs(deep=False))


def test_pairs_of_one_seed_are_one_ensemble_of_one_model_to_the_bit(smoke_records):
    config, record = PROFILES["smoke"], smoke_records["growth"]
    text, steps = configured_text(config), 20
    for setting, seed in (("fixed", config.seed), ("fresh", config.seed + 1)):
        decays = [(Decay(beta=float(b), gamma=float(g)),) for b, g in zip(record.beta, record.gamma, strict=True)]
        batches = tasks.text_batches(config, text, seed, fixed=setting == "fixed")
        ensemble, seen = Ensemble(tasks.character_model(config, text, seed), next_token_loss, decays, lr=config.eta), []
        with one_thread():
            for _ in range(steps):
                ensemble.step(next(batches))
                seen.append(probes.max_update(ensemble.updates)[0].numpy().astype(np.float32))
        found = record.max_update.sel(setting=setting, seed=seed).isel(iteration=slice(steps))
        np.testing.assert_array_equal(found.transpose("iteration", "point"), seen)


@exhaustive
def test_all_pairs_of_several_seeds_train_together_where_a_chunk_holds_them():
    apart = Config(points=4, seeds=3, chunk=4, steps=20, width=8, layers=1, dtype="float64", text="embedded")
    together = replace(apart, chunk=12)
    assert (run.seeds_together(apart), run.seeds_together(together)) == (1, 3)
    assert [len([p for p in run.pieces(one) if p[0] == "fresh"]) for one in (apart, together)] == [3, 1]
    for name in ("max_update", "loss", "max_parameter", "max_absent"):
        np.testing.assert_allclose(run.run(together)[name], run.run(apart)[name], rtol=1e-5)
    assert [piece[0] for piece in run.pieces(PROFILES["paper"])] == list(run.SETTINGS)


def test_no_profile_for_processors_trains_seeds_together():
    assert all(run.seeds_together(PROFILES[name]) == 1 for name in ("smoke", "laptop", "cpu"))


def test_a_shorter_run_of_a_profile_keeps_its_name_down_to_the_least():
    paper = PROFILES["paper"]
    assert (LEAST, paper.steps) == (500, 1500)
    for steps, name in ((LEAST, "paper"), (LEAST - 1, "custom"), (1499, "paper"), (1500, "paper"), (1501, "custom")):
        assert profiles.name_of(PROFILES, replace(paper, steps=steps), LEAST) == name
    assert profiles.name_of(PROFILES, replace(paper, steps=LEAST)) == "custom"
    assert profiles.name_of(PROFILES, replace(paper, steps=LEAST, seeds=3), LEAST) == "custom"
    assert profiles.name_of(PROFILES, replace(PROFILES["smoke"], steps=100), LEAST) == "custom"


@exhaustive
def test_a_record_of_fewer_steps_is_the_profiles_and_decides_the_same(monkeypatch, tmp_path):
    """As a slice of minutes of a GPU leaves it: slopes are read at iteration 500, whatever follows."""
    monkeypatch.setenv("KADAM_CACHE", str(tmp_path / "cache"))
    small = Config(points=4, seeds=1, eps_every=2, steps=LEAST + 60, width=8, layers=1, text="embedded")
    monkeypatch.setitem(PROFILES, "paper", small)
    shorter, longer = (chapters.obtain("growth", "paper", steps=steps) for steps in (LEAST, small.steps))
    assert (shorter.sizes["iteration"], longer.sizes["iteration"]) == (500, 560)
    for name in ("slope", "rate_corrected", "feedback"):
        np.testing.assert_array_equal(shorter[name], longer[name])
    assert shorter.attrs["one_e_fold"] == longer.attrs["one_e_fold"] == 1 / 200
    each = [[(one.id, one.cases) for one in chapters.claims("growth", record)] for record in (shorter, longer)]
    assert each[0] == each[1]
    assert str(figures.holder_shares(shorter)) == str(figures.holder_shares(longer))
    committed.commit(shorter, tmp_path / "results")
    monkeypatch.setenv("KADAM_CACHE", str(tmp_path / "elsewhere"))
    assert chapters.best("growth", "laptop", tmp_path / "results").attrs["sha256"] == shorter.attrs["sha256"]


def test_the_window_ends_at_iteration_500_and_that_of_a_shorter_run_with_it():
    assert [fit_window(steps) for steps in (300, 500, 1500)] == [range(180, 300), range(300, 500), range(300, 500)]


def test_the_arithmetic_counts_every_member():
    found, paper = run.plan(PROFILES["paper"]), PROFILES["paper"]
    assert (found.runs, found.steps) == (64 * (8 + 8 + 1), 64 * 17 * 1500)
    matrices = 2 * 12 * 64**2 + 65 * 64
    tokens, attention = paper.batch * paper.context, 4 * 2 * 32 * 64
    assert found.operations == 3 * tokens * (2 * matrices + attention) * found.steps
    assert found.weights == matrices + 65 * 64 + 32 * 64
    assert found.moved == found.steps * found.weights * 28
    assert found.least_s == max(found.operations / 60e12, found.moved / 4.3e12)
    assert run.plan(PROFILES["smoke"]).moved == 2 * 28 * run.plan(PROFILES["smoke"]).weights * run.plan(PROFILES["smoke"]).steps


def test_a_pilot_foretells_a_time_that_grows_with_the_steps(monkeypatch):
    config, lasted = Config(points=4, seeds=2, chunk=4, width=8, layers=1, text="embedded"), []
    monkeypatch.setattr(run.stopwatch, "seconds", lambda action, device: lasted.append(action) or 1.0 + 0.5 * len(lasted))
    assert run.pilot(config) == pytest.approx(5 * (2.0 - 10 * 0.025 + 500 * 0.025))  # ten steps in 2 s, thirty in 2.5
    monkeypatch.undo()
    assert 0 < run.pilot(replace(config, steps=40)) < 60


def test_the_slope_of_an_exponential_is_its_rate():
    n = np.arange(50.0)
    np.testing.assert_allclose(run.slope(np.stack([0.02 * n + 3, -0.1 * n], axis=1)), [0.02, -0.1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 0}, "points must be a whole number >= 1, got 0"),
        ({"seeds": 1.5}, "seeds must be a whole number >= 1, got 1.5"),
        ({"steps": 5}, "steps must be at least 10"),
        ({"eta": -1.0}, "eta must be finite and > 0, got -1.0"),
        ({"eta": float("nan")}, "eta must be finite and > 0, got nan"),
        ({"dtype": "float8"}, "dtype must be one of float32, float64; got 'float8'"),
        ({"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
    ],
)
def test_a_bad_growth_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Config(**change)


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        run.run(Config(device="cuda", text="embedded"))
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        tasks.Inputs.of(tasks.Sizes(device="cuda", text="embedded", images="embedded"))


def test_data_that_arrives_later_is_a_new_computation(monkeypatch):
    tiny = Config(points=2, seeds=1, steps=10, width=8, layers=1)
    monkeypatch.setitem(PROFILES, "laptop", tiny)
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "embedded"
    before = chapters.request("growth", "laptop").path
    monkeypatch.setattr("kadam.lab.data.sources.locate", lambda source: ("folder", REAL))
    monkeypatch.setattr("kadam.lab.data.sources.verify", lambda source, path: b"to be or not to be " * 50)
    assert chapters.request("growth", "laptop").path != before
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "folder"


def test_shares_of_the_maximum_add_up_to_one(smoke_records):
    shares = figures.holder_shares(smoke_records["growth"])
    np.testing.assert_allclose(sum(shares.values()), 1)


def test_the_error_of_a_law_is_said_where_it_was_measured(smoke_records):
    record = smoke_records["growth"].assign_attrs(one_e_fold=1e-3)
    for law in figures.LAWS:
        assert figures.error(record, law) == f"{float(claims.relative_errors(record, law).mean()):.1%}"
    assert figures.error(record.assign_attrs(one_e_fold=1.0), "discrete") == "not measured"


def test_the_table_of_slopes_has_a_row_a_point_outside(smoke_records):
    record = smoke_records["growth"]
    rows = figures.slope_table(record).rows
    assert len(rows) == int((record.rate_discrete > 0).sum())
    last = record.isel(point=-1)
    fixed = last.slope.sel(setting="fixed").mean("seed")
    assert rows[-1][:3] + rows[-1][6:7] == tuple(f"{float(x):.4f}" for x in (last.beta, last.gamma, last.coefficient, fixed))


# Criteria

YES, PARTLY, NO, ABSTAINS = "reproduced", "partly", "not reproduced", "not run at this profile"
RATE = np.array([0.0, 0.0, 0.02, 0.03, 0.04, 0.05])  # the exact one, at two points inside and four outside


def made(*, fixed=1.0, fresh=1.0, inside=0.0, one_e_fold=0.01):
    """A record of three seeds, with slopes in units of the exact rate, of which the paper's is 1.2 and the corrected 0.98."""
    slopes = [np.where(RATE > 0, multiple * RATE, inside) for multiple in (fixed, fresh)]
    slope = xr.DataArray(slopes, dims=("setting", "point"), coords={"setting": ["fixed", "fresh"]}).expand_dims(seed=[0, 1, 2])
    rates = {"discrete": RATE, "continuous": 1.2 * RATE, "corrected": 0.98 * RATE}
    variables = {"coefficient": ("point", [0.2, 0.1, -0.04, -0.06, -0.08, -0.1])}
    variables |= {f"rate_{law}": ("point", values) for law, values in rates.items()}
    attrs = {"one_e_fold": one_e_fold, "profile": "custom", "experiment": "growth", "config_hash": "0"}
    return xr.Dataset(variables | {"slope": slope, "max_update": slope.expand_dims(iteration=[0])}, attrs=attrs)


@pytest.mark.parametrize(
    ("record", "id", "verdict"),
    [
        (made(fixed=1.2 * 1.09), "GT-2a", YES),
        (made(fixed=1.2 * 1.11), "GT-2a", NO),
        (made(inside=0.009), "GT-2b", YES),
        (made(inside=0.011), "GT-2b", NO),
        (made(fixed=1.08), "D-2c", YES),
        (made(fixed=1.11), "D-2c", NO),
        (made(fixed=0.98 * 1.04), "D-2d", YES),
        (made(fixed=0.98 * 1.06), "D-2d", NO),
        (made(inside=0.019), "D-2e", YES),
        (made(inside=0.021), "D-2e", PARTLY),
        (made(inside=0.031), "D-2e", PARTLY),
        (made(inside=0.051), "D-2e", NO),
        (made(fresh=0.97), "D-2f", YES),
        (made(fresh=0.99), "D-2f", NO),
        (made(one_e_fold=0.06), "GT-2a", ABSTAINS),
        (made(one_e_fold=0.06), "GT-2b", YES),
    ],
)
def test_the_criteria_on_growth_are_applied_on_both_sides(record, id, verdict):
    assert {claim.id: claim.verdict for claim in chapters.claims("growth", record)}[id] == verdict
