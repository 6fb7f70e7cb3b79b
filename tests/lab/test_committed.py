"""The repository's records are what the manifest says, and every way in which they are not is refused with a repair."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from kadam.lab.records import committed as results
from kadam.lab.records import record as records
from kadam.lab.records.files import RecordError


def record(value=1.0, **attrs):
    named = {"experiment": "counting", "profile": "smoke", "config_hash": "12345678", **attrs}
    return xr.Dataset({"number": ("n", np.full(3, value))}).assign_attrs(named)


@pytest.fixture
def folder(tmp_path):
    results.commit(record(), tmp_path)
    return tmp_path


def committed(folder):
    return results.committed(folder, "counting", "smoke")


def test_a_committed_record_comes_back(folder):
    xr.testing.assert_equal(committed(folder), record())
    assert list(results.manifest(folder)) == ["counting/smoke-12345678.nc"]
    assert results.committed(folder, "counting", "laptop") is None


def test_committing_again_replaces_the_earlier_record_of_the_profile_only(folder):
    results.commit(record(profile="laptop"), folder)
    results.commit(record(2.0, config_hash="87654321"), folder)
    assert list(results.manifest(folder)) == ["counting/laptop-12345678.nc", "counting/smoke-87654321.nc"]
    assert sorted(p.name for p in (folder / "counting").iterdir()) == ["laptop-12345678.nc", "smoke-87654321.nc"]
    assert float(committed(folder).number[0]) == 2.0


def test_a_commit_that_dies_before_the_manifest_is_written_loses_nothing(folder, monkeypatch):
    def die(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(results.files, "whole_file", die)
        with pytest.raises(KeyboardInterrupt):
            results.commit(record(2.0, config_hash="87654321"), folder)
    assert (folder / "counting" / "smoke-12345678.nc").exists()
    results.commit(record(2.0, config_hash="87654321"), folder)
    assert float(committed(folder).number[0]) == 2.0


def lie(folder, change):
    listed = results.manifest(folder)
    change(listed)
    (folder / "manifest.json").write_text(json.dumps(listed))


def replace_by_another(folder):
    """A sound record under the name of another, which the manifest lists as it is."""
    path = folder / "counting" / "smoke-12345678.nc"
    records.save(record(config_hash="87654321"), path)
    lie(folder, lambda listed: listed.update({"counting/smoke-12345678.nc": results._sha256(path)}))


DAMAGES = {
    "the manifest's checksum is another": (
        lambda folder: lie(folder, lambda listed: listed.update({"counting/smoke-12345678.nc": "0" * 64})),
        r"smoke-12345678.nc: file has sha256 \w+, the manifest says 0000.*git checkout -- .*smoke-12345678.nc",
    ),
    "the file is gone": (
        lambda folder: (folder / "counting" / "smoke-12345678.nc").unlink(),
        r"smoke-12345678.nc: listed in the manifest but missing.*git checkout -- .*smoke-12345678.nc",
    ),
    "the file is another record": (
        replace_by_another,
        r"smoke-12345678.nc: holds the record counting/smoke-87654321.nc.*git checkout -- .*smoke-12345678.nc",
    ),
    "the manifest leaves it out": (
        lambda folder: lie(folder, dict.clear),
        r"smoke-12345678.nc: the manifest does not list it; .*kadam run counting --profile smoke --commit",
    ),
    "the manifest is gone": (
        lambda folder: (folder / "manifest.json").unlink(),
        r"manifest.json: missing; .*git checkout -- .*manifest.json \(an archive: unpack it again\)",
    ),
    "all is gone": (shutil.rmtree, r": missing; bring it back with: git checkout -- .* \(an archive: unpack it again\)"),
    "the manifest is empty": (
        lambda folder: (folder / "manifest.json").write_text(""),
        r"manifest.json: cannot be read .*git checkout -- .*manifest.json",
    ),
    "the manifest lists two": (
        lambda folder: lie(folder, lambda listed: listed.update({"counting/smoke-87654321.nc": "0" * 64})),
        r"manifest.json: lists 2 records of counting at smoke; .*git checkout -- .*manifest.json",
    ),
    "the manifest is cut short": (
        lambda folder: (folder / "manifest.json").write_text('{"counting/smoke-12345678.nc": "'),
        r"manifest.json: cannot be read .*git checkout -- .*manifest.json",
    ),
    "the manifest is a list": (
        lambda folder: (folder / "manifest.json").write_text('["counting/smoke-12345678.nc"]'),
        r"manifest.json: must be an object of names and checksums.*git checkout -- .*manifest.json",
    ),
    "the manifest is no text": (
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
        r"manifest.json: cannot be read .*git checkout -- .*manifest.json",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_refused_with_the_file_the_reason_and_the_repair(folder, damage):
    harm, refusal = DAMAGES[damage]
    harm(folder)
    with pytest.raises(RecordError, match=refusal):
        committed(folder)


def test_a_record_is_not_put_beside_others_whose_manifest_is_gone(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(RecordError, match=r"manifest.json: missing; .*git checkout"):
        results.commit(record(profile="laptop"), folder)
    assert [path.name for path in folder.rglob("*.nc")] == ["smoke-12345678.nc"]


def test_the_repository_has_a_manifest_to_lose():
    assert results.manifest(Path(__file__).parents[2] / "results")
