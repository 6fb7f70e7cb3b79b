"""Chapter box: what its smoke record holds, how its claims are decided, and what it draws."""

import pytest

from kadam.chapters.box.box import figures as box
from kadam.chapters.box.norms import figures as norms
from kadam.chapters.box.radius import figures as radius


def row_of(table, name):
    return next(line for line in table.splitlines() if line.split()[:1] == [name]).split()


TABLES = {
    "box": [box.limit_table, box.radius_table, box.contrast_table],
    "norms": [norms.table, norms.identity_line],
    "radius": [radius.table, radius.window_table, radius.average_table],
}


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_chapter_8_fit_the_page(smoke_records, name):
    assert max(len(line) for table in TABLES[name] for line in table(smoke_records[name]).splitlines()) <= 80


def test_the_tables_of_chapter_8_hold_what_the_records_hold(smoke_records):
    assert row_of(box.pair_table(), "default")[1:] == ["0.999", "0.9", "7.270", "990"]
    assert row_of(box.pair_table(), "unstable")[3:] == ["inf", "-"]
    record = smoke_records["box"]
    assert row_of(box.radius_table(record), "above")[1] == "1.099"
    ends = float(record["size"].sel(setting="above").isel(kept=-1).max())
    assert row_of(box.radius_table(record), "above")[3] == f"{ends:.4f}"
    network = smoke_records["radius"]
    excess = float(network.window_excess.sel(setting="short", weight_decay=3.0))
    assert row_of(radius.window_table(network), "short")[1:3] == ["3", f"{excess:.3g}"]
