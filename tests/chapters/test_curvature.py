"""Curvature, the experiment on networks: what its record holds, how its claims are decided, and what it draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from judging import Verdicts
from matplotlib.figure import Figure

from kadam import chapters
from kadam.chapters.local_geometry.curvature import claims, figures, run
from kadam.chapters.local_geometry.curvature.config import PROFILES, Config
from kadam.chapters.local_geometry.landscapes import landscape
from kadam.chapters.local_geometry.methods import METHODS, NETWORKS, PAIR
from kadam.lab.train.tasks import Inputs

SMOKE = PROFILES["smoke"]


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE.sizes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"scales": (0.3, 3.0)}, r"scales must hold 1.0, the usual one, got \(0.3, 3.0\)"),
        ({"seed": 1}, "seed must be at least search_seeds = 2, got 1"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


class Ticks:
    """Progress that tells nobody."""

    def tick(self):
        pass

    def over(self, steps, state):
        return iter(range(steps))


def test_the_rate_is_the_one_of_the_lowest_final_loss(inputs):
    config = replace(SMOKE, steps=10, slow_steps=10, levels=(0.5,), search_seeds=2)
    problem = landscape(inputs, "perceptron", examples=3, dtype=torch.float64)
    best, slow = (run.MethodRun(config, problem, run.Piece(kind, "perceptron", "Adam")) for kind in ("run", "slow"))
    best.final = np.array([2.0, 0.5, np.nan, np.inf, 1.0, 2.0, 0.7, 0.1, 0.1, 1.0])
    assert best.rate == best.grid[1] == 9e-3
    assert (best.searched, best.length) == (10, 21)
    assert (slow.searched, slow.length, slow.rate) == (0, 11, best.grid[0])


def test_the_record_holds_every_run_and_no_other(smoke_records):
    record = smoke_records["curvature"]
    assert record.sizes["layer"] == 3 + 7 + 4
    present = record.reached.notnull().any(("seed", "level", "network"))
    assert present.sel(scale=1.0).all()
    assert present.sel(scale=2.0).values.tolist() == [name in PAIR for name in record.optimizer.values]
    assert record.curve_r_med.sizes["point"] == SMOKE.points
    checked = record.exact.notnull().any(("scale", "optimizer", "seed", "level"))
    assert set(record.layer.values[checked.values]) == set(record.checked.values)
    assert float(record.r_med.min()) >= 1


def test_every_method_starts_from_the_same_weights(inputs):
    config = replace(SMOKE, levels=(1.0,), steps=1)
    runs = [run.compute_piece(config, inputs, run.Piece("run", "perceptron", m), Ticks()) for m in METHODS]
    for one in runs:
        xr.testing.assert_identical(one.r_med, runs[0].r_med)
        assert float(one.step.max()) == 0


def by_hand(gap=1.0, noise=0.1, slow=0.5, other=0.0, turned=True, common=1, slope=(1.0, 1.0, 1.0), error=0.05, seeds=3):
    """A record of three layers: log R_med of SGD is ``gap`` above Adam's, that of the others ``other``."""
    scales, levels, layers = [0.3, 1.0, 3.0], [0.6, 0.1], [f"{network}: layer" for network in NETWORKS]
    coords = {"layer": layers, "scale": scales, "optimizer": list(METHODS), "seed": list(range(seeds)), "level": levels}
    shape = [len(x) for x in coords.values()]
    logs = xr.DataArray(np.full(shape, 2.0 + other), coords=coords, dims=list(coords))
    logs.loc[{"optimizer": "Adam"}] = 2.0
    spread = xr.DataArray(noise * (np.arange(seeds) - (seeds - 1) / 2), dims="seed", coords={"seed": coords["seed"]})
    logs.loc[{"optimizer": "SGD"}] = 2.0 + gap + spread
    if turned:
        logs.loc[{"optimizer": "SGD", "scale": 0.3}] = 2.0 - gap
    C = np.linspace(0.2, -0.05, 6)
    curve = np.exp(np.multiply.outer(np.array(slope), C))[:, :, None, None] * np.ones((1, 1, len(levels), seeds))
    curve_dims = ("curve_layer", "point", "level", "seed")
    values = {
        "r_med": np.exp(logs),
        "exact": np.exp(logs - error),
        "common": (("network", "scale", "level"), np.full((3, 3, 2), common, dtype=np.int8)),
        "slow_r_med": np.exp(2.0 + slow * (logs.sel(scale=1.0, drop=True) - 2.0)),
        "slow_common": (("network", "level"), np.full((3, 2), common, dtype=np.int8)),
        "curve_r_med": (curve_dims, curve),
        "curve_step": (("point", "level", "seed"), np.ones((6, len(levels), seeds))),
        "coefficient": ("point", C),
        "owner": ("layer", list(NETWORKS)),
    }
    attrs = {"profile": "laptop", "experiment": "curvature", "config_hash": "12345678", "probes": 256}
    return xr.Dataset(values, {"network": list(NETWORKS)}, attrs)


def verdicts(record):
    return Verdicts("curvature", record)


YES, NO, PARTLY, NOT_RUN = "reproduced", "not reproduced", "partly", "not run at this profile"


@pytest.mark.parametrize(
    ("changed", "id", "verdict"),
    [
        ({}, "JML-9f", YES),
        ({"gap": -1.0}, "JML-9f", NO),
        ({"noise": 3.0}, "JML-9f", NO),
        ({"common": 0}, "JML-9f", NOT_RUN),
        ({"seeds": 2}, "JML-9f", NOT_RUN),
        ({}, "JML-9g", YES),
        ({"noise": 3.0}, "JML-9g", NO),
        ({}, "D-9h", YES),
        ({"other": 0.9}, "D-9h", NO),
        ({"common": 0}, "D-9h", NOT_RUN),
        ({}, "D-9i", YES),
        ({"turned": False}, "D-9i", NO),
        ({}, "D-9j", YES),
        ({"error": 0.099}, "D-9j", YES),
        ({"error": 0.101}, "D-9j", NO),
        ({"error": -0.2}, "D-9j", NO),
        ({}, "D-9k", YES),
        ({"slope": (-1.0, -2.0, -0.5)}, "D-9k", YES),
        ({"slope": (1.0, -1.0, 1.0)}, "D-9k", NO),
        ({}, "D-9n", YES),
        ({"slow": -1.5}, "D-9n", NO),
        ({"common": 0}, "D-9n", NOT_RUN),
    ],
)
def test_the_criteria_are_applied(changed, id, verdict):
    assert verdicts(by_hand(**changed))[id] == verdict


def test_parts_of_the_cases_are_partly():
    record = by_hand()
    record.r_med.loc[{"layer": "images: layer", "scale": 0.3}] = record.r_med.sel(layer="images: layer", scale=3.0)
    assert verdicts(record)["D-9i"] == PARTLY


def test_the_size_of_the_initial_weights_is_judged_by_runs_that_share_a_seed():
    """Adam's R_med is the larger with two seeds of three, though its median is the smaller."""
    record = by_hand(turned=False)
    adam = np.array([4.0, 2.0, 0.0])
    for name, logs in {"Adam": adam, "SGD": adam + np.array([-1.0, -1.0, 5.0])}.items():
        record.r_med.loc[{"optimizer": name, "scale": 0.3}] = np.exp(logs)[:, None]
    assert figures.scales_said(record).count("in none of 3 layers at 0.3") == 1
    assert verdicts(record)["D-9i"] == YES


@pytest.mark.parametrize(("ranks", "verdict"), [((0, 2, 1, 3, 4, 5), YES), ((2, 1, 0, 3, 5, 4), NO)])  # correlations 0.94, 0.71
def test_order_along_the_curve_is_judged_by_its_rank_correlation(ranks, verdict):
    record = by_hand()
    assert verdicts(record.assign(curve_r_med=record.curve_r_med.isel(point=list(ranks))))["D-9k"] == verdict


def test_what_the_region_does_is_judged_at_a_loss_that_every_point_reaches():
    record = by_hand()
    record.curve_step.loc[{"level": 0.1, "point": 0}] = np.nan
    record.curve_r_med.loc[{"level": 0.1, "curve_layer": 0}] = 7.0
    assert verdicts(record)["D-9k"] == YES
    record.curve_step[0] = np.nan
    assert verdicts(record)["D-9k"] == NOT_RUN


def test_the_tables_hold_what_the_experiment_judges_by(smoke_records):
    record = smoke_records["curvature"]
    measured = {claim.id: claim.measured for claim in chapters.claims("curvature", record)}
    for network in NETWORKS:
        assert f"{network} {float(claims.gap(record, network).mean()):+.2f} (" in measured["JML-9f"]
    middle = float(np.nanmedian(np.abs(np.log(record.r_med / record.exact))))
    assert f"its median size is {middle:.2g}" in figures.estimates_said(record)
    assert f"{middle:.3f}" in measured["D-9j"]
    assert figures.region_table(record).rows[0][2] in measured["D-9k"]


def test_a_loss_that_nobody_reached_is_drawn_as_none(smoke_records):
    record = smoke_records["curvature"]
    nowhere = record.assign(common=0 * record.common, slow_common=0 * record.slow_common)
    for draw in (figures.differences, figures.scales):
        assert isinstance(draw(nowhere), Figure)
    assert {row[1] for row in figures.path_table(nowhere).rows} == {"no loss that all methods reach"}
    assert "No network" in figures.paths_said(nowhere)
    assert "is not known" in figures.answer(smoke_records["geometry"], nowhere)
    assert "in none of 0 layers" in figures.scales_said(nowhere)
    assert figures.differences_said(nowhere).count("none of 0 networks") == 3
    assert [cell for row in figures.difference_table(nowhere).rows for cell in row[1:]] == ["-"] * 12


def test_a_network_may_have_more_layers_than_there_are_colours(smoke_records):
    record = smoke_records["curvature"]
    assert isinstance(figures.scales(record.isel(layer=np.tile(np.arange(14), 3))), Figure)
