"""Chapter local_geometry: what its smoke record holds, how its claims are decided, and what it draws."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from kadam.chapters.local_geometry.curvature import figures as curvature
from kadam.chapters.local_geometry.geometry import figures as geometry
from kadam.report.ledger import with_range


def row_of(table, name):
    return next(line for line in table.splitlines() if line.split()[:1] == [name]).split()


@pytest.mark.parametrize("module", [geometry, curvature], ids=lambda module: module.__name__)
def test_the_tables_of_chapter_9_fit_the_page(smoke_records, module):
    record = smoke_records[module.__name__.rpartition(".")[2]]
    tables = [table for name, table in vars(module).items() if name.endswith("_table")]
    assert len(tables) >= 4
    assert max(len(line) for table in tables for line in table(record).splitlines()) <= 90


def test_the_tables_on_two_layers_hold_what_the_record_holds(smoke_records):
    from kadam.chapters.local_geometry.geometry.run import law_errors

    record = smoke_records["geometry"]
    error = law_errors(record, "from_start", "d^-2").sel(layer="layer 2")
    line = next(x for x in geometry.law_table(record).splitlines() if x.split()[:3] == ["d^-2", "layer", "2"])
    assert line.endswith(with_range(error, ".3f"))
    ends = record.r_med.sel(level=0.01, start="d^-3", dimension=20, optimizer="SGD").median("seed")
    assert f"{float(ends[0]):.2f}, {float(ends[1]):.2f}" in geometry.dimension_table(record).splitlines()[-1]
    assert f"{float(ends[2]):.2f}" in row_of(geometry.loss_table(record), "SGD")
    gap = np.log(record.r_med.sel(optimizer="SGD", drop=True) / record.r_med.sel(optimizer="Adam", drop=True))
    pooled = gap.sel(level=0.01, start="1/d", layer="pooled").median("seed")
    assert with_range(pooled, "+.2f") in geometry.start_table(record).splitlines()[-1]


def test_the_tables_on_networks_hold_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.local_geometry.curvature import run as experiment

    record = smoke_records["curvature"]
    measured = {claim.id: claim.measured for claim in experiment.claims(record)}
    gaps = [float(gap) for network in curvature.NETWORKS for gap in curvature.gaps(record, network, 1.0).mean("seed")]
    assert ", ".join(f"{gap:+.2f}" for gap in gaps) in measured["JML-9f"]
    middle = float(np.median(np.abs(experiment.estimate_errors(record))))
    assert curvature.estimate_table(record).endswith(f"{middle:.3f}")
    assert f"{middle:.3f}" in measured["D-9j"]
    for network in curvature.NETWORKS:
        xr.testing.assert_identical(
            curvature.slow_gaps(record, network), experiment.slow_gaps(record, network).transpose("layer", "seed")
        )
    order = row_of(curvature.region_table(record).replace("layer ", "layer-"), "layer-1")
    assert order[2] in measured["D-9k"]


def test_a_loss_that_nobody_reached_is_drawn_as_none(smoke_records):
    record = smoke_records["curvature"]
    nowhere = record.assign(common=0 * record.common, slow_common=0 * record.slow_common)
    for draw in (curvature.differences, curvature.scales):
        assert isinstance(draw(nowhere), Figure)
    assert "no loss that all methods reach" in curvature.path_table(nowhere)
    assert curvature.scale_table(nowhere).splitlines()[1].split()[1:] == ["-", "-"]
    assert curvature.difference_table(nowhere).count("-") == 12


def test_a_network_may_have_more_layers_than_there_are_colours(smoke_records):
    record = smoke_records["curvature"]
    assert isinstance(curvature.scales(record.isel(layer=np.tile(np.arange(14), 3))), Figure)
