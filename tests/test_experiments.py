"""Every experiment at its smoke profile: what it records, what it claims, and what it refuses."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.continuous_time.orders import run as orders
from kadam.chapters.continuous_time.trajectories import run as trajectories
from kadam.chapters.growth import run as growth
from kadam.chapters.scale_invariance.invariance import run as invariance
from kadam.chapters.scale_invariance.meta import run as meta
from kadam.chapters.stability import run as stability
from kadam.lab.engine.progress import Progress
from kadam.lab.records import committed as results
from kadam.lab.records import record as records
from kadam.lab.train import tasks
from kadam.theory import stability as theory

REAL = Path("tinyshakespeare.txt")
RESULTS = Path(__file__).parents[1] / "results"
VERDICTS = json.loads((Path(__file__).parent / "verdicts.json").read_text())


@pytest.mark.parametrize("name", chapters.NAMES)
def test_every_variable_is_labelled_and_every_record_says_where_it_is_from(smoke_records, name):
    record = smoke_records[name]
    assert (record.attrs["experiment"], record.attrs["profile"]) == (name, "smoke")
    assert {"config", "config_hash", "seed", "versions", "device", "commit", "data", "data_sha256"} <= set(record.attrs)


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_at_the_smoke_profile(smoke_records, name):
    verdicts = {claim.id: claim.verdict for claim in getattr(experiments, name).claims(smoke_records[name])}
    assert verdicts == VERDICTS["smoke"][name]


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_in_the_committed_laptop_record(name):
    record = results.committed(RESULTS, name, "laptop")
    assert record is not None
    verdicts = {claim.id: claim.verdict for claim in getattr(experiments, name).claims(record)}
    assert verdicts == VERDICTS["laptop"][name]


def test_no_recorded_verdict_has_changed_in_a_larger_committed_record():
    larger = {name: chapters.larger(name, RESULTS) for name in chapters.NAMES}
    found = {record.attrs["profile"]: {} for record in larger.values() if record is not None}
    for name, record in larger.items():
        if record is not None:
            claims = getattr(experiments, name).claims(record)
            found[record.attrs["profile"]][name] = {claim.id: claim.verdict for claim in claims}
    assert found == {profile: VERDICTS[profile] for profile in chapters.LARGER if profile in VERDICTS}


def test_every_committed_record_is_small_and_verified():
    manifest = results.manifest(RESULTS)
    assert manifest
    for path in manifest:
        experiment, profile = path.removesuffix(".nc").rsplit("-", 1)[0].split("/")
        assert results.committed(RESULTS, experiment, profile).attrs["commit"] not in ("unknown", "")
        assert (RESULTS / path).stat().st_size < 1_000_000
    assert {p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("*.nc")} == set(manifest)


def test_growth_holds_the_points_settings_and_laws(smoke_records):
    record = smoke_records["growth"]
    assert record.max_update.dims == ("setting", "seed", "iteration", "point")
    assert record.sizes["point"] == growth.PROFILES["smoke"].points
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
    config = growth.Config(points=4, seeds=1, chunk=2, steps=10, width=8, layers=1, dtype="float64", text="embedded")
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
        growth.Config(**change)


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (trajectories, {"substeps": 3}, "substeps must be even, for minibatches change between two of them; got 3"),
        (trajectories, {"shown_steps": 51}, r"shown_steps must be one of path_steps \(25, 50, 100, 200\), got 51"),
        (trajectories, {"weights": 0}, "weights must be a whole number >= 1, got 0"),
        (trajectories, {"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
        (orders, {"rates": 1}, "rates and small_rates must be at least 2, got 1 and 5"),
        (orders, {"crowd": 0.5}, "crowd must be a whole number >= 1, got 0.5"),
    ],
)
def test_a_bad_configuration_of_chapter_3_is_named(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**change)


def test_pieces_of_chapter_3_that_are_done_are_not_done_again(tmp_path, monkeypatch, smoke_records):
    config, calls, original = trajectories.PROFILES["smoke"], [], trajectories.compute_piece

    def stop_at_the_fourth(config, text, piece, progress):
        calls.append(piece)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(config, text, piece, progress)

    monkeypatch.setattr(trajectories, "compute_piece", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        trajectories.run(config, checkpoint=tmp_path)
    resumed = trajectories.run(config, checkpoint=tmp_path)
    assert len(calls) == len(set(calls)) + 1
    xr.testing.assert_identical(resumed.drop_attrs(deep=False), smoke_records["trajectories"].drop_attrs(deep=False))


def test_trajectories_count_gradients_and_name_the_weights(smoke_records):
    record = smoke_records["trajectories"]
    substeps = trajectories.PROFILES["smoke"].substeps
    assert record.evaluations.values.tolist() == [1, 4 * substeps, 8 * substeps]  # without a jvp: two gradients for one
    assert record.attrs["cost_second"] > record.attrs["cost_paper"] > 1
    assert len(set(record.name.values.tolist())) == trajectories.PROFILES["smoke"].weights
    assert all("[" in name for name in record.name.values)


def test_a_path_that_leaves_the_finite_numbers_is_infinite_on_the_map():
    config = trajectories.Config(map_gammas=(0.0, 0.9), map_steps=20, text="embedded")
    errors = trajectories.compute_piece(config, trajectories.load_data(config), "map-0.0", Progress(print)).map_error
    assert np.isfinite(errors.sel(gamma=0.0)).all()
    assert (errors.sel(gamma=0.9) > 1).any()


def test_claims_of_chapter_3_that_fail_are_reported_so(smoke_records):
    record = smoke_records["trajectories"]
    swapped = record.assign_coords(flow=["second", "paper"])
    apart = record.assign(p_gap=record.p_gap + 1e-3, shown=record.shown + np.arange(3)[:, None, None])
    assert {c.id: c.verdict for c in trajectories.claims(swapped)}["D-3c"] == "not reproduced"
    verdicts = {c.id: c.verdict for c in trajectories.claims(apart)}
    assert (verdicts["GT-3a"], verdicts["GT-3b"]) == ("not reproduced", "not reproduced")


def laptop_orders(**errors):
    """The committed record of orders with some cases' errors replaced by given slopes."""
    record = results.committed(RESULTS, "orders", "laptop")
    order = record.order.copy()
    for flow, slope in errors.items():
        order.loc[{"flow": flow, "case": list(orders.JUDGED)}] = slope
    return record.assign(order=order)


@pytest.mark.parametrize(
    ("slopes", "id", "verdict"),
    [
        ({"paper": [1.0, 0.86, 1.14]}, "D-3e", "reproduced"),
        ({"paper": [1.0, 0.84, 1.14]}, "D-3e", "partly"),
        ({"paper": [1.2, 0.84, 1.14]}, "D-3e", "not reproduced"),
        ({"second": [2.0, 1.41, 1.8]}, "D-3f", "reproduced"),
        ({"second": [2.0, 1.39, 1.8]}, "D-3f", "not reproduced"),
        ({"second": [1.8, 1.9, 1.8]}, "D-3f", "not reproduced"),
    ],
)
def test_the_criteria_of_the_orders_are_applied(slopes, id, verdict):
    assert {claim.id: claim.verdict for claim in orders.claims(laptop_orders(**slopes))}[id] == verdict


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (invariance, {"burn_in": 480}, "burn_in and late must be below steps = 480, got 480 and 160"),
        (invariance, {"seeds": 0}, "seeds must be a whole number >= 1, got 0"),
        (invariance, {"steps": 60, "burn_in": 20, "late": 20}, "steps must be above every \\+ 50, got 60 and every = 20"),
        (meta, {"change": 400}, "change must lie between around and steps - around, got 400, 50, 400"),
        (meta, {"horizon": 201}, "horizon must be at most steps - change = 200, got 201"),
    ],
)
def test_a_bad_configuration_on_scale_invariance_is_named(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**change)


@pytest.mark.parametrize("module", [invariance, meta])
def test_a_network_without_normalisation_is_refused(monkeypatch, module):
    monkeypatch.setattr(tasks, "CharTransformer", functools.partial(plain_transformer, tasks.CharTransformer))
    with pytest.raises(ValueError, match=r"blocks.0.query.weight is not scale invariant"):
        module.run(module.PROFILES["smoke"])


def plain_transformer(original, *, normalised, **sizes):
    return original(**sizes)


def test_invariance_holds_exact_statements_in_every_setting(smoke_records):
    record = smoke_records["invariance"]
    assert float(record.momentum_gap.max()) < 1e-12
    np.testing.assert_allclose(record.parts.sum("part", skipna=False), 1, atol=1e-12)
    assert not any(record[name].isnull().any() for name in record.data_vars if not name.startswith("rotation_"))
    sizes = xr.DataArray([64, 64, 256, 4 * 2 * 9, 8 * 4 * 9], coords={"weight": invariance.WEIGHTS}, dims="weight")
    first = record.norm.isel(step=0)
    assert float(abs(first / (invariance.Config().start * sizes) - 1).max()) < 1e-12
    without = record.sel(gamma=0.0, weight_decay=0.0)  # no momentum: only v differs between the law and Adam
    np.testing.assert_allclose(without.norm_corrected, without.norm_paper, rtol=1e-12)
    np.testing.assert_allclose(record.past_cosine.sel(lag=0), 0, atol=1e-12)
    np.testing.assert_allclose(record.moved.sel(window=1, weight_decay=0.0), 1, rtol=1e-12)


def test_every_change_is_the_same_training_until_it_happens(smoke_records):
    record, config = smoke_records["meta"], meta.PROFILES["smoke"]
    before = record.norm.isel(step=slice(0, config.change // config.every + 1))
    alike = before.sel(change=[change for change in meta.CHANGES if change != "smaller batches"])
    assert float((alike.max("change") - alike.min("change")).max()) == 0
    after = record.norm.isel(step=-1).sel(change=alike.change)
    assert float((after.max("change") - after.min("change")).min()) > 0


def test_the_norm_law_is_closer_where_the_second_moment_is_one_number(smoke_records):
    error = smoke_records["meta"].law_error.mean(("change", "seed", "weight"))
    assert float(error.sel(moments="one a weight")) < float(error.sel(moments="one an entry")) / 2


def test_a_copy_under_a_rule_starts_in_adamws_direction(smoke_records):
    first = smoke_records["meta"].angle.isel(since=0)
    relative = first / first.sel(rule="AdamW")
    assert float(relative.sel(rule=["law's norm", "paper's norm", "constant norm"]).max()) < 1e-5  # arccos near 1
    assert float(relative.sel(rule=["2-Adam", "one v"]).min()) > 0.01


@pytest.mark.parametrize(
    ("variable", "value", "id", "verdict"),
    [
        ("growth_ratio", 1.05, "GT-5a", "reproduced"),
        ("growth_ratio", 1.15, "GT-5a", "not reproduced"),
        ("cosine", -0.16, "GT-5b", "not reproduced"),
        ("momentum_gap", 1e-8, "D-5f", "not reproduced"),
    ],
)
def test_the_criteria_of_invariance_are_applied(smoke_records, variable, value, id, verdict):
    record = smoke_records["invariance"]
    changed = record.assign({variable: xr.full_like(record[variable], value)})
    assert {claim.id: claim.verdict for claim in invariance.claims(changed)}[id] == verdict


def test_the_law_with_the_cross_term_is_judged_by_shares_of_the_cases(smoke_records):
    record = smoke_records["invariance"]
    exact = record.assign(
        growth_ratio=record.growth_ratio * 0 + record.factor,
        norm_corrected=record.norm,
        rotation=record.rotation * 0 + record.rotation_law,
    )
    verdicts = {claim.id: claim.verdict for claim in invariance.claims(exact)}
    assert [verdicts[id] for id in ("D-5c", "D-5d", "D-5e")] == ["reproduced"] * 3
    one_gamma_off = exact.assign(growth_ratio=exact.growth_ratio.where(exact.gamma < 0.99, 1e3))
    assert {c.id: c.verdict for c in invariance.claims(one_gamma_off)}["D-5c"] == "partly"


@pytest.mark.parametrize(
    ("variable", "value", "id", "verdict"),
    [
        ("past_cosine", -0.14, "GT-5b", "reproduced"),
        ("past_cosine", -0.16, "GT-5b", "not reproduced"),
        ("moved", 0.91, "GT-5h", "reproduced"),
        ("moved", 0.89, "GT-5h", "not reproduced"),
        ("parts", 0.049, "GT-5g", "reproduced"),
        ("parts", 0.051, "GT-5g", "not reproduced"),
    ],
)
def test_the_further_criteria_of_invariance_are_applied(smoke_records, variable, value, id, verdict):
    record = smoke_records["invariance"].copy()
    record["moved_largest"], record["cosine"] = xr.full_like(record.moved_largest, 1.0), xr.zeros_like(record.cosine)
    changed = record.assign({variable: xr.full_like(record[variable], value)})
    assert {claim.id: claim.verdict for claim in invariance.claims(changed)}[id] == verdict


def laptop_meta(errors, relative_angles, losses):
    """A record of meta by hand: errors of the three histories, angles over AdamW's own, losses of the three networks."""
    change, seed, weight = (
        {name: list(values)} for name, values in (("change", meta.CHANGES), ("seed", [0]), ("weight", ["w"]))
    )
    cases = {**change, **seed, **weight}

    def everywhere(name, labels, values):
        data = xr.DataArray(values, dims=name, coords={name: list(labels)})
        return data.expand_dims(cases).copy()

    angles = [1.0] + [relative_angles.get(rule, 1.0) for rule in meta.RULES[1:]]
    networks = xr.DataArray(
        [[[loss]] for loss in losses], dims=("network", "seed", "rate"), coords={"network": list(meta.NETWORKS)}
    )
    record = {
        "history_error": everywhere("history", meta.HISTORIES, errors),
        "angle_at_horizon": everywhere("rule", meta.RULES, angles),
        "network_loss": networks,
    }
    return xr.Dataset(record, attrs={"profile": "laptop", "experiment": "meta", "config_hash": "12345678"})


CALM = {"1% larger": 0.1}


@pytest.mark.parametrize(
    ("errors", "angles", "losses", "id", "verdict"),
    [
        ([0.24, 1, 1], CALM, [1, 2, 2], "GT-5i", "reproduced"),
        ([0.26, 1, 1], CALM, [1, 2, 2], "GT-5i", "not reproduced"),
        ([1, 0.24, 1], CALM, [1, 2, 2], "D-5j", "reproduced"),
        ([1, 0.26, 1], CALM, [1, 2, 2], "D-5j", "not reproduced"),
        ([1, 1, 0.09], CALM, [1, 2, 2], "D-5k", "reproduced"),
        ([1, 1, 0.11], CALM, [1, 2, 2], "D-5k", "not reproduced"),
        ([1, 1, 1], CALM | {"2-Adam, paper's rate": 0.24}, [1, 2, 2], "GT-5l", "reproduced"),
        ([1, 1, 1], CALM | {"2-Adam": 0.26}, [1, 2, 2], "D-5m", "not reproduced"),
        ([1, 1, 1], CALM | {"law's norm": 0.24}, [1, 2, 2], "D-5n", "reproduced"),
        ([1, 1, 1], CALM | {"one v": 0.26}, [1, 2, 2], "GT-5o", "not reproduced"),
        ([1, 1, 1], {"1% larger": 0.13, "one v": 0.1}, [1, 2, 2], "GT-5o", "not run at this profile"),
        ([1, 1, 1], CALM, [1, 2, 1.49], "GT-5p", "reproduced"),
        ([1, 1, 1], CALM, [1, 2, 1.51], "GT-5p", "not reproduced"),
        ([1, 1, 1], CALM, [1, 2, np.nan], "GT-5p", "not reproduced"),
    ],
)
def test_the_criteria_on_the_second_normalisation_are_applied(errors, angles, losses, id, verdict):
    claims = meta.claims(laptop_meta(errors, angles, losses))
    assert {claim.id: claim.verdict for claim in claims}[id] == verdict


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        growth.run(growth.Config(device="cuda", text="embedded"))
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA device"):
        tasks.Inputs.of(tasks.Sizes(device="cuda", text="embedded", images="embedded"))


@pytest.mark.parametrize("change", [{"grid": 0}, {"length": 10}, {"pairs": -1}])
def test_a_bad_stability_configuration_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        stability.Config(**change)


def test_a_record_is_computed_once_then_read(monkeypatch):
    first = chapters.obtain("stability", "smoke")
    monkeypatch.setattr(stability, "run", None)
    xr.testing.assert_identical(chapters.obtain("stability", "smoke"), first)


def test_data_that_arrives_later_is_a_new_computation(monkeypatch):
    tiny = growth.Config(points=2, seeds=1, steps=10, width=8, layers=1)
    monkeypatch.setitem(growth.PROFILES, "laptop", tiny)
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "embedded"
    before = chapters.request("growth", "laptop").path
    monkeypatch.setattr("kadam.lab.data.sources.locate", lambda source: ("folder", REAL))
    monkeypatch.setattr("kadam.lab.data.sources._verified", lambda path, sha256: b"to be or not to be " * 50)
    assert chapters.request("growth", "laptop").path != before
    assert chapters.obtain("growth", "laptop").attrs["data_origin"] == "folder"


def test_a_truncated_record_is_refused_and_fresh_mends_it():
    chapters.obtain("stability", "smoke")
    path = chapters.request("stability", "smoke").path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(records.RecordError, match=rf"{path}.*kadam run stability --profile smoke --fresh"):
        chapters.obtain("stability", "smoke")
    assert chapters.obtain("stability", "smoke", fresh=True).attrs["profile"] == "smoke"


@pytest.mark.parametrize(("name", "profile"), [("grwth", "smoke"), ("growth", "smok")])
def test_a_misspelled_name_lists_the_valid_ones(name, profile):
    with pytest.raises(ValueError, match=r"stability, growth|smoke, laptop, paper"):
        chapters.request(name, profile)


def test_the_ledger_uses_committed_records_where_there_is_no_local_one(tmp_path):
    assert {claim.verdict for claim in chapters.ledger("laptop", None)} == {"not run at this profile"}
    shutil.copytree(RESULTS, tmp_path / "results")
    claims = chapters.ledger("laptop", tmp_path / "results")
    assert {claim.id: claim.verdict for claim in claims} == {
        id: verdict
        for verdicts in (VERDICTS["laptop"] | VERDICTS["cpu"]).values()  # a larger record comes first
        for id, verdict in verdicts.items()
    }


def test_a_claim_that_fails_is_reported_as_not_reproduced(smoke_records):
    wrong = smoke_records["stability"].copy()
    wrong["attained"] = wrong.attained * 1.001
    wrong["last_stage_ratio"] = wrong.last_stage_ratio + 1
    verdicts = {claim.id: claim.verdict for claim in stability.claims(wrong)}
    assert (verdicts["D-1d"], verdicts["D-1f"], verdicts["D-1c"]) == ("not reproduced", "not reproduced", "reproduced")
