"""Geometry, the experiment on two-layer linear networks: what it holds, how its claims are decided, what its tables show."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from judging import Verdicts

from kadam.chapters.local_geometry.geometry import claims, figures, run
from kadam.chapters.local_geometry.geometry.config import LAYERS, STARTS, Config
from kadam.chapters.local_geometry.methods import METHODS
from kadam.report.ledger import with_range
from kadam.report.sentences import span

SMALL = Config(dimensions=(30,), steps=300, resolution=80, seeds=3)


def test_the_record_holds_what_was_reached_and_predicted():
    record = run.run(SMALL).sel(dimension=30)
    assert not record.r_med.isnull().any()
    assert bool((record.reached <= record.level).all())
    assert bool((record.step.diff("level") >= 0).all())
    law = record.from_start_predicted.sel(start="d^-3", layer=claims.BOTH)
    sgd = claims.at_end(record).sel(optimizer="SGD", layer=claims.BOTH)
    np.testing.assert_allclose(sgd.transpose(*law.dims), law, rtol=0.1)


def test_starts_of_one_seed_are_multiples_of_each_other():
    small, large = (run.drawn(9, start, 4) for start in ("d^-3", "1/d"))
    np.testing.assert_allclose(large[0], 9 * small[0])
    np.testing.assert_allclose(large[2], small[2])
    assert np.linalg.norm(small[2]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": ()}, r"dimensions must hold one whole number >= 1 or more, got \(\)"),
        ({"dimensions": (5, 1)}, r"dimensions must be whole numbers >= 2, got \(5, 1\)"),
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


def by_hand(adam=1.1, sgd=(8.0, 12.0), other=1.2, pooled=(90.0, 20.0), off=1.0, seeds=3):
    """A record of two dimensions: R_med at the end of Adam, of SGD by dimension, and of the others; Adam's and SGD's pooled."""
    coords = {"dimension": [20, 200], "optimizer": list(METHODS), "start": list(STARTS)}
    coords |= {"seed": list(range(seeds)), "layer": list(LAYERS), "level": [0.5, 0.01]}
    values = xr.DataArray(np.full([len(x) for x in coords.values()], other), coords=coords, dims=list(coords))
    values.loc[{"optimizer": "Adam"}] = adam
    for d, one in zip(coords["dimension"], sgd, strict=True):
        values.loc[{"optimizer": "SGD", "dimension": d}] = one
    predicted = off * values.sel(optimizer="SGD", level=0.01, drop=True)
    for name, one in zip(("Adam", "SGD"), pooled, strict=True):
        values.loc[{"optimizer": name, "layer": "pooled"}] = one
    laws = {"small_start_predicted": predicted, "from_start_predicted": predicted}
    attrs = {"profile": "laptop", "experiment": "geometry", "config_hash": "12345678"}
    return xr.Dataset({"r_med": values, **laws}, attrs=attrs)


def verdicts(record):
    return Verdicts("geometry", record)


YES, NO, PARTLY = "reproduced", "not reproduced", "partly"


@pytest.mark.parametrize(
    ("changed", "id", "verdict"),
    [
        ({}, "JML-9a", YES),
        ({"adam": 1.5, "sgd": (5.0, 12.0)}, "JML-9a", YES),
        ({"adam": 1.51}, "JML-9a", NO),
        ({"sgd": (4.9, 12.0)}, "JML-9a", PARTLY),
        ({}, "JML-9b", YES),
        ({"sgd": (12.0, 8.0)}, "JML-9b", NO),
        ({"off": 1.1}, "D-9c", YES),
        ({"off": 1.2}, "D-9c", NO),
        ({"off": 1 / 1.2}, "D-9l", NO),
        ({}, "D-9d", YES),
        ({"other": 5.0}, "D-9d", NO),
        ({}, "D-9e", YES),
        ({"pooled": (19.0, 20.0)}, "D-9e", NO),
        ({"pooled": (19.0, 20.0)}, "D-9m", NO),
        ({"seeds": 2}, "JML-9a", "not run at this profile"),
    ],
)
def test_the_criteria_are_applied(changed, id, verdict):
    assert verdicts(by_hand(**changed))[id] == verdict


def test_where_some_of_the_relatives_are_near_it_is_partly_so():
    record = by_hand()
    record.r_med.loc[{"optimizer": "RMSprop"}] = 9.0
    assert verdicts(record)["D-9d"] == PARTLY


def test_a_level_that_is_not_reached_is_not_counted_as_small():
    record = run.run(replace(SMALL, dimensions=(12,), steps=5))
    assert record.r_med.sel(level=0.01).isnull().all()
    assert verdicts(record)["JML-9a"] == verdicts(record)["JML-9b"] == NO


def test_what_is_said_is_in_the_record(smoke_records):
    record = smoke_records["geometry"]
    errors = claims.law_errors(record, "from_start", "d^-2").sel(layer="layer 2")
    assert ("d^-2", "layer 2", with_range(errors, ".3f")) in {(*row[:2], row[3]) for row in figures.law_table(record).rows}
    ends = record.r_med.sel(level=0.01, start="d^-3", dimension=20, optimizer="SGD").median("seed").values
    assert f"{span(ends[:2], '.3g')} in 20, where" in figures.dimensions_said(record)
    assert f"pooled it is {ends[2]:.3g} and" in figures.losses_said(record)
    gap = np.log(record.r_med.sel(optimizer="SGD", drop=True) / record.r_med.sel(optimizer="Adam", drop=True))
    pooled = gap.sel(level=0.01, start="1/d", layer="pooled").median("seed")
    assert f"{span(np.exp(pooled))} times it with both pooled." in figures.starts_said(record)
