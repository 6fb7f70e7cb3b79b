"""A record carries its provenance, survives the disk unchanged, and is refused when anything about it is off."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from tiers import cases

from kadam import chapters
from kadam.lab.records import files, netcdf, store
from kadam.lab.records import record as records


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


either_way = pytest.mark.parametrize("reader", [records.read, records.read_attributes])


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


def test_a_record_that_is_read_again_is_as_the_file_says_whatever_was_done_to_the_first(path):
    first = records.read(path, command="again")
    first.number[:] = 9.0
    first.attrs["seed"] = first.number.attrs["units"] = "lost"
    second = records.read(path, command="again")
    xr.testing.assert_identical(second.drop_attrs(deep=False), count(Config()).drop_attrs(deep=False))
    assert second.number.attrs == {"units": "1"}
    assert second.attrs["seed"] == 7
    records.save(count(Config(seed=8)), path)
    assert records.read(path, command="again").attrs["seed"] == 8


def test_its_attributes_alone_are_those_of_the_whole(path):
    alone = records.read_attributes(path, command="again")
    assert not alone.variables
    assert alone.attrs == records.read(path, command="again").attrs


@either_way
def test_a_record_says_which_file_it_came_from(path, tmp_path, reader):
    twin = path.rename(tmp_path / "twin.nc")
    files.copy(twin, path)
    for each in (path, twin):
        assert reader(each, command="again").encoding["source"] == str(each)


def test_other_programs_read_a_record_as_netcdf(path):
    xr.testing.assert_equal(xr.load_dataset(path, engine="h5netcdf"), count(Config()))


def same_as_xarray_reads(content):
    ours, theirs = netcdf.dataset(content), xr.load_dataset(io.BytesIO(content), engine="h5netcdf", decode_times=False)
    xr.testing.assert_identical(ours, theirs)
    kinds, attributes = [], []
    for read in (ours, theirs):
        kinds.append({name: (one.dims, one.dtype) for name, one in read.variables.items()})
        attributes.append({name: (type(value), str(value)) for name, value in read.attrs.items()})
    assert kinds[0] == kinds[1]
    assert attributes[0] == attributes[1]
    xr.testing.assert_identical(xr.Dataset(attrs=netcdf.attributes(content)), xr.Dataset(attrs=ours.attrs))
    return ours


EVERY_KIND = {
    "whole": ("name", np.arange(3)),
    "single": (("name", "place"), np.array([[1, np.nan], [np.inf, -0.0], [3, 4]], np.float32)),
    "truth": ("name", [True, False, True], {"units": "1"}),
    "word": ("place", ["", "größer als γ"]),
    "number alone": ((), 0.5),
    "word alone": ((), "none"),
    "truth alone": ((), True),
    "nothing": ("empty", np.zeros(0)),
    "square": (("place", "place_"), np.eye(2, dtype=np.int8)),
}


def test_whatever_a_record_may_hold_is_read_as_xarray_reads_it():
    coordinates = {"name": ["a", "b", "c"], "of_name": ("name", [0.1, 0.2, 0.3]), "apart": ("place_", [1, 2]), "one": 7}
    held = xr.Dataset(
        EVERY_KIND, coordinates, {"seed": 7, "share": 0.5, "said": "ü", "several": [1, 2], "words": ["a"], "flag": np.int8(1)}
    )
    held["whole"].attrs["units"] = "days since the start"
    xr.testing.assert_identical(same_as_xarray_reads(bytes(held.to_netcdf(engine="h5netcdf"))), held)
    same_as_xarray_reads(bytes(xr.Dataset().to_netcdf(engine="h5netcdf")))


COMMITTED = sorted((Path(__file__).parents[2] / "results").glob("*/*.nc"))


@pytest.mark.parametrize("committed", cases(COMMITTED, quick=COMMITTED[::9]), ids=lambda path: path.parent.name + path.stem)
def test_a_committed_record_is_read_as_xarray_reads_it(committed):
    assert same_as_xarray_reads(files.read_sealed(committed, command="-")).variables


def test_saving_twice_gives_the_same_bytes(path, tmp_path):
    records.save(records.read(path, command="again"), tmp_path / "second.nc")
    assert (tmp_path / "second.nc").read_bytes() == path.read_bytes()


def test_the_sha256_names_the_result_not_where_and_when(path):
    read = records.read(path, command="again")
    assert records.result_sha256(read) == read.attrs["sha256"]
    elsewhere = read.assign_attrs(dict.fromkeys(records.CIRCUMSTANCES, "another"))
    assert records.result_sha256(elsewhere) == read.attrs["sha256"]
    for other in (read.assign(number=read.number + 1e-16), read.assign_attrs(seed=8), read.drop_vars("name")):
        assert records.result_sha256(other) != read.attrs["sha256"]


@either_way
@pytest.mark.parametrize("keep", [0, 10, 100, 0.5, 0.9, -1])
def test_a_truncated_record_is_refused_and_named(path, keep, reader):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(records.RecordError, match=r"ends without the checksum of a finished record.*again") as refusal:
        reader(path, command="again")
    assert str(path) in str(refusal.value)


@either_way
@pytest.mark.parametrize("apart", cases((7, 41), quick=(41,)))
def test_every_flipped_bit_is_refused(path, apart, reader):
    content = path.read_bytes()
    for position in range(0, len(content), apart):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :])
        with pytest.raises(records.RecordError, match=rf"{path}: .*again"):
            reader(path, command="again")


def test_a_record_that_another_program_wrote_is_refused(path):
    altered = xr.load_dataset(path, engine="h5netcdf").assign_attrs(seed=8)
    altered.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(records.RecordError, match="ends without the checksum"):
        records.read(path, command="again")


def resealed(path, **attrs):
    """The record with other attributes, written by one who knows of the seal."""
    altered = xr.load_dataset(path, engine="h5netcdf").assign_attrs(attrs)
    files.write_sealed(path, bytes(altered.to_netcdf(engine="h5netcdf")))


@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        ({"schema": 1}, "schema is 1, expected 2"),
        ({"seed": 8}, "sha256 is .*, expected"),
        ({"experiment": "growth"}, "sha256 is .*, expected"),
        ({"extra": "not ours"}, "sha256 is .*, expected"),
    ],
)
def test_another_schema_and_foreign_attributes_are_refused(path, attrs, reason):
    resealed(path, **attrs)
    with pytest.raises(records.RecordError, match=rf"{path}: {reason}.*again"):
        records.read(path, command="again")


@either_way
@pytest.mark.parametrize("name", ["experiment", "profile", "config_hash", "piece"])
def test_a_record_of_something_else_is_refused(path, name, reader):
    with pytest.raises(records.RecordError, match=rf"{path}: {name} is .*, expected another; make it anew with: again"):
        reader(path, command="again", expected={name: "another"})


@either_way
def test_a_missing_record_is_an_error_that_says_how_to_make_it(tmp_path, reader):
    with pytest.raises(records.RecordError, match=r"no such record; make it with: kadam run counting"):
        reader(tmp_path / "none.nc", command="kadam run counting")


def test_a_changed_configuration_code_or_data_changes_the_local_path(monkeypatch):
    def path(name="growth", config=Config(), data="a" * 64):
        return store.Request(name, "smoke", config, f"kadam.chapters.{name}.run", data).path

    first = path()
    assert path() == first
    others = [path(config=Config(size=4)), path(data="b" * 64), path(data=""), path("stability")]
    monkeypatch.setattr(store, "source_hash", lambda run: "00000000")
    assert len({first.name, path().name, *(other.name for other in others)}) == 6


def test_a_record_goes_where_the_code_that_was_asked_for_says_though_it_is_edited_meanwhile(monkeypatch):
    wanted = store.Request("growth", "smoke", Config(), "kadam.chapters.growth.run")
    before = wanted.path
    monkeypatch.setattr(store, "source_hash", lambda run: "edited00")
    assert wanted.path == before


@pytest.mark.parametrize("name", cases(chapters.NAMES, quick=("growth", "cifar", "orders", "watching")))
def test_any_reader_of_netcdf_opens_a_record(name, smoke_records, tmp_path):
    """Whatever its units are called: some readers take words for dates."""
    path = tmp_path / "record.nc"
    records.save(smoke_records[name], path)
    with xr.open_dataset(path) as found:
        assert set(found.variables) == set(smoke_records[name].variables)


def test_units_that_read_as_a_calendar_are_refused():
    with pytest.raises(ValueError, match="units must not hold the word 'since', got 'steps since the start' for x"):
        records.with_units(xr.Dataset({"x": 0.0}), {"x": "steps since the start"})
