"""A record carries its provenance, survives the disk unchanged, and is refused when anything about it is off."""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from kadam.lab import records


@dataclass(frozen=True)
class Config:
    size: int = 3
    seed: int = 7


@records.recorded("counting", {"smoke": Config()})
def count(config, *, checkpoint=None, jobs=1):
    data = xr.Dataset({"number": ("n", np.arange(config.size) * 0.1)}, coords={"name": ["x", "y"]})
    data.number.attrs["units"] = "1"
    return data.assign_attrs(data="none")


@pytest.fixture
def path(tmp_path):
    records.save(count(Config()), tmp_path / "record.nc")
    return tmp_path / "record.nc"


def test_a_record_carries_its_provenance():
    attrs = count(Config()).attrs
    assert (attrs["experiment"], attrs["profile"], attrs["seed"], attrs["data"]) == ("counting", "smoke", 7, "none")
    assert json.loads(attrs["config"]) == {"size": 3, "seed": 7}
    assert set(json.loads(attrs["versions"])) == {"python", "kadam", "numpy", "scipy", "torch"}
    assert attrs["wall_time_s"] >= 0
    assert {"schema", "config_hash", "device", "commit", "date"} <= set(attrs)


def test_a_configuration_of_no_profile_is_called_custom():
    assert count(Config(size=4)).attrs["profile"] == "custom"


def test_a_record_comes_back_as_it_was_saved(path):
    saved = count(Config())
    read = records.read(path, command="again")
    xr.testing.assert_equal(read, saved)
    assert read.number.attrs == {"units": "1"}


def test_saving_twice_gives_the_same_bytes(path, tmp_path):
    record = records.unsealed(records.read(path, command="again"))
    records.save(record, tmp_path / "second.nc")
    assert (tmp_path / "second.nc").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.9, -1])
def test_a_truncated_record_is_refused_and_named(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(records.RecordError, match="again") as refusal:
        records.read(path, command="again")
    assert str(path) in str(refusal.value)


def test_an_altered_number_or_attribute_is_refused(path):
    for change in (
        lambda d: d.assign(number=d.number + 1e-12),
        lambda d: d.assign_attrs(seed=8),
        lambda d: d.drop_vars("name"),
    ):
        altered = change(xr.load_dataset(path, engine="h5netcdf"))
        altered.to_netcdf(path.with_name("altered.nc"), engine="h5netcdf")
        with pytest.raises(records.RecordError, match="contents have sha256"):
            records.read(path.with_name("altered.nc"), command="again")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # h5netcdf closing a damaged file
def test_a_flipped_bit_is_refused_or_changes_nothing(path):
    content, good = path.read_bytes(), records.read(path, command="again")
    refused = 0
    for position in range(0, len(content), 97):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            xr.testing.assert_identical(records.read(path, command="again"), good)  # a bit of padding, say
        except records.RecordError:
            refused += 1
    assert refused > 5


def test_another_schema_is_refused(path):
    old = records.unsealed(records.read(path, command="again")).assign_attrs(schema=0)
    records.save(old, path)
    with pytest.raises(records.RecordError, match=r"schema is 0, expected 1.*again"):
        records.read(path, command="again")


def test_a_missing_record_is_an_error_that_says_how_to_make_it(tmp_path):
    with pytest.raises(records.RecordError, match=r"no such record; make it with: kadam run counting"):
        records.read(tmp_path / "none.nc", command="kadam run counting")


def write_half(path):
    with records.whole_file(path) as aside:
        aside.write_bytes(b"half")
        raise OSError("disk full")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path):
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_half(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == [path.name]


def test_a_changed_configuration_source_or_data_changes_the_local_path(monkeypatch):
    first = records.local_path("growth", "smoke", Config(), "a" * 64)
    assert records.local_path("growth", "smoke", Config(), "a" * 64) == first
    assert records.local_path("growth", "smoke", Config(size=4), "a" * 64) != first
    assert records.local_path("growth", "smoke", Config(), "b" * 64) != first
    assert records.local_path("stability", "smoke", Config(), "a" * 64).stem != first.stem
    monkeypatch.setattr(records, "version", lambda name: "0")
    assert records.local_path("growth", "smoke", Config(), "a" * 64) != first


def test_a_changed_line_of_mathematics_changes_the_source_hash(tmp_path, monkeypatch):
    copy = tmp_path / "kadam"
    shutil.copytree(records.PACKAGE, copy)
    monkeypatch.setattr(records, "PACKAGE", copy)
    before = records.source_hash("growth")
    (copy / "report" / "style.py").write_text("# figures do not matter")
    assert records.source_hash("growth") == before
    (copy / "theory" / "stability.py").write_text("# mathematics does")
    assert records.source_hash("growth") != before


def test_a_committed_record_is_checked_against_the_manifest(path, tmp_path):
    folder = tmp_path / "results"
    committed = records.commit_record(records.read(path, command="again"), folder)
    (name, sha256), *rest = json.loads((folder / "manifest.json").read_text()).items()
    assert not rest
    assert records.read_committed(folder, name, sha256).attrs["experiment"] == "counting"
    with pytest.raises(records.RecordError, match="the manifest says 0000"):
        records.read_committed(folder, name, "0000")
    committed.unlink()
    with pytest.raises(records.RecordError, match="listed in the manifest but missing"):
        records.read_committed(folder, name, sha256)


def test_committing_again_replaces_the_earlier_record_of_the_profile(path, tmp_path):
    folder = tmp_path / "results"
    record = records.read(path, command="again")
    records.commit_record(record, folder)
    records.commit_record(record.assign_attrs(config_hash="12345678"), folder)
    assert list(json.loads((folder / "manifest.json").read_text())) == ["counting/smoke-12345678.nc"]
    assert [p.name for p in (folder / "counting").iterdir()] == ["smoke-12345678.nc"]
