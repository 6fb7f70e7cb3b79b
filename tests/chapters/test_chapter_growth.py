"""Chapter growth: what its smoke record holds, how its claims are decided, and what it draws."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.growth import config as growth_config
from kadam.chapters.growth import figures as growth
from kadam.chapters.growth import run as growth
from kadam.lab.train import tasks
from kadam.theory import stability as theory

REAL = Path("tinyshakespeare.txt")


def test_growth_holds_the_points_settings_and_laws(smoke_records):
    record = smoke_records["growth"]
    assert record.max_update.dims == ("setting", "seed", "iteration", "point")
    assert record.sizes["point"] == growth_config.PROFILES["smoke"].points
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
    config = growth_config.Config(points=4, seeds=1, chunk=2, steps=10, width=8, layers=1, dtype="float64", text="embedded")
    undisturbed = growth.run(config)
    original, calls = growth.train_piece, []

    def stop_at_the_third(*args):
        calls.append(args[-2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(growth, "train_piece", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        growth.run(config, checkpoint=tmp_path)
    resumed = growth.run(config, checkpoint=tmp_path)
    assert len(calls) == len(set(calls)) + 1  # only the piece in flight was begun twice
    xr.testing.assert_identical(resumed.drop_attrs(deep=False), undisturbed.drop_attrs(deep=False))


def test_the_slope_of_an_exponential_is_its_rate():
    n = np.arange(50.0)
    np.testing.assert_allclose(growth.slope(np.stack([0.02 * n + 3, -0.1 * n], axis=1)), [0.02, -0.1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 0}, "points must be a whole number >= 1, got 0"),
        ({"seeds": 1.5}, "seeds must be a whole number >= 1, got 1.5"),
        ({"steps": 5}, "steps must be at least 10"),
        ({"eta": -1.0}, "eta must be a finite number > 0, got -1.0"),
        ({"eta": float("nan")}, "eta must be a finite number > 0, got nan"),
        ({"dtype": "float8"}, "dtype must be one of float32, float64; got 'float8'"),
        ({"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
    ],
)
def test_a_bad_growth_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        growth_config.Config(**change)


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        growth.run(growth_config.Config(device="cuda", text="embedded"))
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        tasks.Inputs.of(tasks.Sizes(device="cuda", text="embedded", images="embedded"))


def test_data_that_arrives_later_is_a_new_computation(monkeypatch):
    tiny = growth_config.Config(points=2, seeds=1, steps=10, width=8, layers=1)
    monkeypatch.setitem(growth_config.PROFILES, "laptop", tiny)
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "embedded"
    before = chapters.request("growth", "laptop").path
    monkeypatch.setattr("kadam.lab.data.sources.locate", lambda source: ("folder", REAL))
    monkeypatch.setattr("kadam.lab.data.sources._verified", lambda path, sha256: b"to be or not to be " * 50)
    assert chapters.request("growth", "laptop").path != before
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "folder"


def test_shares_of_the_maximum_add_up_to_one(smoke_records):
    shares = growth.holder_shares(smoke_records["growth"])
    np.testing.assert_allclose(sum(shares.values()), 1)


def test_the_error_of_a_law_is_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.growth.run import relative_errors

    record = smoke_records["growth"].assign_attrs(one_e_fold=1e-3)
    for law in growth.LAWS:
        assert growth.error(record, law) == f"{float(relative_errors(record, law).mean()):.1%}"
    assert growth.error(record.assign_attrs(one_e_fold=1.0), "discrete") == "not measured"
