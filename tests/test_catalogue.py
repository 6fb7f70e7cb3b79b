"""The catalogue: every experiment records, claims and refuses what it should, whichever it is."""

import json
import shutil
from pathlib import Path

import pytest
import xarray as xr
from recorded import criteria, read

from kadam import chapters
from kadam.lab.records import committed as results
from kadam.lab.records import record as records

RESULTS = Path(__file__).parents[1] / "results"
VERDICTS = json.loads((Path(__file__).parent / "verdicts.json").read_text())


@pytest.mark.parametrize("name", chapters.NAMES)
def test_every_variable_is_labelled_and_every_record_says_where_it_is_from(smoke_records, name):
    record = smoke_records[name]
    assert (record.attrs["experiment"], record.attrs["profile"]) == (name, "smoke")
    assert {"config", "config_hash", "seed", "versions", "device", "commit", "data", "data_sha256"} <= set(record.attrs)


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_at_the_smoke_profile(smoke_records, name):
    verdicts = {claim.id: claim.verdict for claim in chapters.claims(name, smoke_records[name])}
    assert verdicts == VERDICTS["smoke"][name]


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_in_the_committed_laptop_record(name):
    record = results.committed(RESULTS, name, "laptop")
    assert record is not None
    verdicts = {claim.id: claim.verdict for claim in chapters.claims(name, record)}
    assert verdicts == VERDICTS["laptop"][name]


def test_no_recorded_verdict_has_changed_in_a_larger_committed_record():
    larger = {name: chapters.larger(name, RESULTS) for name in chapters.NAMES}
    found = {record.attrs["profile"]: {} for record in larger.values() if record is not None}
    for name, record in larger.items():
        if record is not None:
            claims = chapters.claims(name, record)
            found[record.attrs["profile"]][name] = {claim.id: claim.verdict for claim in claims}
    assert found == {profile: VERDICTS[profile] for profile in chapters.LARGER if profile in VERDICTS}


def test_no_criterion_has_changed():
    """They are fixed before a run: a change is a visible difference in criteria.json."""
    assert criteria() == read("criteria")


def test_every_committed_record_is_small_and_verified():
    manifest = results.manifest(RESULTS)
    assert manifest
    for path in manifest:
        experiment, profile = path.removesuffix(".nc").rsplit("-", 1)[0].split("/")
        assert results.committed(RESULTS, experiment, profile).attrs["commit"] not in ("unknown", "")
        assert (RESULTS / path).stat().st_size < 1_000_000
    assert {p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("*.nc")} == set(manifest)


def test_a_record_is_computed_once_then_read(monkeypatch):
    first = chapters.obtain("stability", "smoke")
    monkeypatch.setattr("kadam.chapters.stability.run.run", None)
    xr.testing.assert_identical(chapters.obtain("stability", "smoke"), first)


def test_a_truncated_record_is_refused_and_fresh_mends_it():
    chapters.obtain("stability", "smoke")
    path = chapters.request("stability", "smoke").path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(records.RecordError, match=rf"{path}.*kadam run stability --profile smoke --fresh"):
        chapters.obtain("stability", "smoke")
    assert chapters.obtain("stability", "smoke", fresh=True).attrs["profile"] == "smoke"


@pytest.mark.parametrize(("name", "profile"), [("grwth", "smoke"), ("growth", "smok")])
def test_a_misspelled_name_lists_the_valid_ones(name, profile):
    with pytest.raises(ValueError, match=r"stability, growth|smoke, laptop, cpu, paper"):
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


def test_stand_ins_are_named_once_and_smoke_records_which_always_use_them_are_not():
    def record(profile, origin, data):
        return xr.Dataset(attrs={"profile": profile, "data_origin": origin, "data": data})

    used = {
        "growth": record("laptop", "embedded", "an excerpt"),
        "cifar": record("laptop", "embedded", "drawn images"),
        "language": record("laptop", "embedded", "an excerpt"),
        "orders": record("laptop", "none", "none"),
        "meta": record("laptop", "cache", "CIFAR-10"),
        "box": record("smoke", "embedded", "numbers"),
    }
    remark = "growth, cifar, language: used an excerpt and drawn images; for real data: kadam data fetch, then run again"
    assert chapters.remark_on_stand_ins(used) == remark
    assert chapters.remark_on_stand_ins({name: used[name] for name in ("orders", "meta", "box")}) == ""
