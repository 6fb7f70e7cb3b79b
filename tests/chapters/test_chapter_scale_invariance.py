"""Chapter scale_invariance: what its smoke records hold, how its claims are decided, and what it draws."""

import functools
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from kadam import chapters
from kadam.chapters.scale_invariance.invariance import config as invariance_config
from kadam.chapters.scale_invariance.invariance import figures as invariance_figures
from kadam.chapters.scale_invariance.invariance import run as invariance
from kadam.chapters.scale_invariance.meta import config as meta_config
from kadam.chapters.scale_invariance.meta import figures as meta_figures
from kadam.chapters.scale_invariance.meta import run as meta
from kadam.chapters.scale_invariance.meta.run import Changing, scaled
from kadam.chapters.scale_invariance.steady import config as steady_config
from kadam.chapters.scale_invariance.steady import figures as steady_figures
from kadam.chapters.scale_invariance.steady import run as steady
from kadam.lab.records import committed
from kadam.lab.records.profiles import SMOKE
from kadam.lab.train import tasks
from kadam.report.ledger import with_range


@pytest.fixture(scope="module")
def inputs():
    return tasks.Inputs.of(SMOKE)


def verdicts(name, record):
    return {claim.id: claim.verdict for claim in chapters.claims(name, record)}


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (invariance_config, {"burn_in": 480}, "burn_in and late must be below steps = 480, got 480 and 160"),
        (invariance_config, {"seeds": 0}, "seeds must be a whole number >= 1, got 0"),
        (
            invariance_config,
            {"steps": 60, "burn_in": 20, "late": 20},
            "steps must be above every \\+ 50, got 60 and every = 20",
        ),
        (meta_config, {"change": 400}, "change must lie between around and steps - around, got 400, 50, 400"),
        (steady_config, {"late": 8000}, "late must be below steps = 8000, got 8000"),
        (meta_config, {"horizon": 201}, "horizon must be at most steps - change = 200, got 201"),
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


RESULTS = Path(__file__).parents[2] / "results"
WEIGHTS = [*tasks.LANGUAGE_WEIGHTS, *tasks.IMAGE_WEIGHTS]


def test_invariance_holds_exact_statements_in_every_setting(smoke_records):
    record = smoke_records["invariance"]
    assert float(record.momentum_gap.max()) < 1e-12
    np.testing.assert_allclose(record.parts.sum("part", skipna=False), 1, atol=1e-12)
    assert not any(record[name].isnull().any() for name in record.data_vars if not name.startswith("rotation_"))
    sizes = xr.DataArray([64, 64, 256, 4 * 2 * 9, 8 * 4 * 9], coords={"weight": WEIGHTS}, dims="weight")
    first = record.norm.isel(step=0)
    assert float(abs(first / (invariance_config.Config().start * sizes) - 1).max()) < 1e-12
    without = record.sel(gamma=0.0, weight_decay=0.0)  # no momentum: only v differs between the law and Adam
    np.testing.assert_allclose(without.norm_corrected, without.norm_paper, rtol=1e-12)
    np.testing.assert_allclose(record.past_cosine.sel(lag=0), 0, atol=1e-12)
    np.testing.assert_allclose(record.moved.sel(window=1, weight_decay=0.0), 1, rtol=1e-12)


def test_every_change_is_the_same_training_until_it_happens(smoke_records):
    record, config = smoke_records["meta"], meta_config.PROFILES["smoke"]
    before = record.norm.isel(step=slice(0, config.change // config.every + 1))
    alike = before.sel(change=[change for change in meta_config.CHANGES if change != "smaller batches"])
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


def test_the_law_with_the_cross_term_is_judged_by_shares_of_the_cases(smoke_records):
    record = smoke_records["invariance"]
    exact = record.assign(
        growth_ratio=record.growth_ratio * 0 + record.factor,
        norm_corrected=record.norm,
        rotation=record.rotation * 0 + record.rotation_law,
    )
    decided = verdicts("invariance", exact)
    assert [decided[id] for id in ("D-5c", "D-5d", "D-5e")] == ["reproduced"] * 3
    one_gamma_off = exact.assign(growth_ratio=exact.growth_ratio.where(exact.gamma < 0.99, 1e3))
    assert verdicts("invariance", one_gamma_off)["D-5c"] == "partly"


@pytest.mark.parametrize(
    ("variable", "value", "id", "verdict"),
    [
        ("growth_ratio", 1.05, "GT-5a", "reproduced"),
        ("growth_ratio", 1.15, "GT-5a", "not reproduced"),
        ("cosine", -0.16, "GT-5b", "not reproduced"),
        ("momentum_gap", 1e-8, "D-5f", "not reproduced"),
        ("past_cosine", -0.14, "GT-5b", "reproduced"),
        ("past_cosine", -0.16, "GT-5b", "not reproduced"),
        ("moved", 0.91, "GT-5h", "reproduced"),
        ("moved", 0.89, "GT-5h", "not reproduced"),
        ("parts", 0.049, "GT-5g", "reproduced"),
        ("parts", 0.051, "GT-5g", "not reproduced"),
    ],
)
def test_the_criteria_of_invariance_are_applied(smoke_records, variable, value, id, verdict):
    record = smoke_records["invariance"].copy()
    record["moved_largest"], record["cosine"] = xr.full_like(record.moved_largest, 1.0), xr.zeros_like(record.cosine)
    changed = record.assign({variable: xr.full_like(record[variable], value)})
    assert verdicts("invariance", changed)[id] == verdict


def laptop_meta(errors, relative_angles, losses):
    """A record of meta by hand: errors of the three histories, angles over AdamW's own, losses of the three networks."""
    change, seed, weight = (
        {name: list(values)} for name, values in (("change", meta_config.CHANGES), ("seed", [0, 1]), ("weight", ["w"]))
    )
    cases = {**change, **seed, **weight}

    def everywhere(name, labels, values):
        data = xr.DataArray(values, dims=name, coords={name: list(labels)})
        return data.expand_dims(cases).copy()

    angles = [1.0] + [relative_angles.get(rule, 1.0) for rule in meta.RULES[1:]]
    networks = xr.DataArray(
        [[[loss], [loss]] for loss in losses], dims=("network", "seed", "rate"), coords={"network": list(meta_config.NETWORKS)}
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
    assert verdicts("meta", laptop_meta(errors, angles, losses))[id] == verdict


def test_the_tables_on_the_norm_hold_what_the_record_holds(smoke_records):
    record = smoke_records["invariance"]
    usual = record.sel(gamma=0.9, weight_decay=0.0)
    assert f"grows {with_range(usual.growth_ratio, '.1f')} times" in invariance_figures.answer(record)
    turned = record.rotation.sel(gamma=0.5, weight_decay=record.weight_decay > 0)
    assert invariance_figures.rotation_table(record).rows[1][1] == f"{float(turned.mean()):.4f}"
    assert invariance_figures.orthogonality_table(record).rows[2][1] == with_range(usual.cosine, ".3f")
    assert ("20", with_range(usual.past_cosine.sel(lag=20), ".3f")) in invariance_figures.past_table(record).rows
    assert invariance_figures.moved_table(record).rows[1][1] == with_range(usual.moved.sel(window=10))
    fixed = usual.sel(setting="one fixed batch")
    momentum = float(fixed.parts.sel(part="momentum").mean())
    assert invariance_figures.causes_table(record).rows[2][3] == f"{momentum:.3f}"
    assert invariance_figures.departure_table(record).rows[2][2] == with_range(fixed.departure.sel(phase="late"))


def test_a_recursion_that_holds_to_rounding_is_measured_by_its_criterion(smoke_records):
    measured = {claim.id: claim.measured for claim in chapters.claims("invariance", smoke_records["invariance"])}
    assert measured["D-5f"] == "largest gap below 1e-09"


def test_the_tables_on_the_second_normalisation_hold_what_the_record_holds(smoke_records):
    record = smoke_records["meta"]
    divided = record.sel(change="loss / 10")
    row = meta_figures.history_table(record).rows[2]
    assert row[0] == "loss / 10"
    assert row[3] == f"{float(divided.history_error.sel(history='constant').mean()):.3f}"
    assert row[-2:] == (f"{float(divided.size_change.mean()):+.2f}", f"{float(divided.norm_change.mean()):+.2f}")
    ratio = (divided.angle_at_horizon / divided.angle_at_horizon.sel(rule="AdamW")).mean("seed")
    assert meta_figures.direction_table(record).rows[-1][2] == with_range(ratio.sel(rule="one v"))
    error = float(record.law_error.sel(moments="one a weight").mean())
    assert f"{error:.2f} with one per weight" in meta_figures.directions_said(record)
    plain = record.network_loss.sel(network="plain, Adam").mean("seed")
    assert f"; {float(plain.min()):.3f} for no norm, Adam" in meta_figures.networks_said(record)


def test_a_change_is_what_its_name_says(inputs):
    setting = {"at": 3, "small": 2, "large": 5}
    runs = {change: list(islice(Changing(inputs, change, 0, **setting), 6)) for change in meta_config.CHANGES}
    for change, steps in runs.items():
        first = 5 if change == "smaller batches" else 2
        later = {"larger batches": 5, "smaller batches": 2}.get(change, first)
        scale = {"loss x 10": 10, "loss / 10": 0.1}.get(change, 1)
        assert [len(windows) for _, windows in steps] == [first] * 3 + [later] * 3
        assert [float(s) for s, _ in steps] == pytest.approx([1] * 3 + [scale] * 3)
    quiet, relabelled = (torch.cat([windows for _, windows in runs[change]]) for change in ("none", "other letters"))
    assert torch.equal(quiet[:6], relabelled[:6])
    pairs = set(zip(quiet[6:].flatten().tolist(), relabelled[6:].flatten().tolist(), strict=True))
    assert len(pairs) == len({letter for letter, _ in pairs}) == len({letter for _, letter in pairs})
    assert any(before != after for before, after in pairs)


def test_an_unknown_change_is_refused(inputs):
    with pytest.raises(ValueError, match=r"change must be one of none, loss x 10, .*; got 'weather'"):
        Changing(inputs, "weather", 0, at=1, small=2, large=3)


def test_a_scaled_loss_is_the_loss_times_its_factor(inputs):
    task = inputs.language(0)
    batch = task.draw(np.random.default_rng(0), 3)
    with torch.no_grad():
        plain, tenfold = task.loss(task.model, batch), scaled(task.loss, task.model, (torch.tensor(10.0), batch))
    assert float(tenfold) == pytest.approx(10 * float(plain), rel=1e-14)


def test_steady_gradients_are_orthogonal_and_as_correlated_as_they_say():
    config, rng = steady_config.Config(entries=400), np.random.default_rng(0)
    raw, target = rng.standard_normal((3, 400)), rng.standard_normal(400) / 20
    w, before, products = rng.standard_normal((3, 5, 4, 400)), None, []
    for _ in range(200):
        g = steady.gradients(config, rng, raw, w, target)
        assert np.abs(np.sum(g * w, -1)).max() < 1e-11 * np.abs(g).max() * 400
        if before is not None:
            products.append(np.sum(g * before, -1)[0, 0] / np.sum(g * g, -1)[0, 0])
        before = g
    found = np.mean(products, axis=0)
    assert found == pytest.approx([-0.8, 0.0, 0.8, found[3]], abs=0.02)


def test_the_neurons_gradient_is_that_of_its_loss():
    """By torch, of half the mean squared error on the same examples."""
    config = steady_config.Config(entries=30, examples=7)
    w, target = np.random.default_rng(1).standard_normal((3, 5, 4, 30)), np.random.default_rng(2).standard_normal(30)
    g = steady.gradients(config, np.random.default_rng(3), np.zeros((3, 30)), w, target)[1, 2, 3]
    rng = np.random.default_rng(3)
    rng.standard_normal((3, 30))
    x = rng.standard_normal((7, 30))
    y = x @ target + config.noise * rng.standard_normal(7)
    weight = torch.tensor(w[1, 2, 3], requires_grad=True)
    error = torch.from_numpy(x) @ (weight / weight.norm()) - torch.from_numpy(y)
    (error.square().mean() / 2).backward()
    np.testing.assert_allclose(g, weight.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_the_law_predicts_the_committed_steady_ratio_and_the_formula_without_momentum_does_not():
    record = committed.committed(RESULTS, "steady", "cpu")
    mean = record.mean("seed")
    assert float(abs(mean.update_ratio / mean.update_law - 1).max()) < 0.02
    assert float(abs(mean.rotation / mean.rotation_law - 1).max()) < 0.02
    correlated = (mean.gradient_ratio / mean.without_momentum).sel(gamma=0.9, gradients="correlation 0.8")
    assert float(correlated.max()) < 0.5
    rows = {row[:2]: row[2] for row in steady_figures.ratio_table(record).rows}
    assert rows["SGD", "correlation 0"].split(", ") == ["1.02"] * 3
    assert rows["AdamW", "a neuron"].startswith("-, ")


@pytest.mark.parametrize(
    ("change", "decided"),
    [
        ({}, ["partly", "reproduced", "reproduced"]),
        ({"gradient_ratio": "without_momentum"}, ["reproduced", "partly", "reproduced"]),
        ({"cosine": "rotation"}, ["partly", "reproduced", "not reproduced"]),
    ],
)
def test_the_steady_ratio_is_judged_by_what_it_is_near(change, decided):
    record = committed.committed(RESULTS, "steady", "cpu")
    changed = record.assign({name: record[name] * 0 + record[other] for name, other in change.items()})
    assert [verdicts("steady", changed)[id] for id in ("D-5q", "D-5r", "D-5s")] == decided
