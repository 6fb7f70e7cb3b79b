"""The catalogue: every experiment records, claims and refuses what it should, whichever it is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr
from recorded import criteria, read

from kadam import chapters
from kadam.chapters import rows
from kadam.lab.records import committed as results
from kadam.lab.records import record as records
from kadam.report.rows import first_word

RESULTS = Path(__file__).parents[1] / "results"
VERDICTS = json.loads((Path(__file__).parent / "verdicts.json").read_text())


@pytest.mark.parametrize("name", chapters.NAMES)
def test_every_variable_is_labelled_and_every_record_says_where_it_is_from(smoke_records, name):
    record = smoke_records[name]
    assert (record.attrs["experiment"], record.attrs["profile"]) == (name, "smoke")
    assert {"config", "config_hash", "seed", "versions", "device", "commit", "data", "data_sha256"} <= set(record.attrs)


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_at_the_smoke_profile(smoke_records, name):
    verdicts = {claim.id: claim.verdict for claim in chapters.claims(name, smoke_records[name], leave_out=False)}
    assert verdicts == VERDICTS["smoke"][name]


@pytest.mark.parametrize("name", chapters.NAMES)
def test_no_recorded_verdict_has_changed_in_the_committed_laptop_record(name):
    record = results.committed(RESULTS, name, "laptop")
    assert record is not None
    verdicts = {claim.id: claim.verdict for claim in chapters.claims(name, record, leave_out=False)}
    assert verdicts == VERDICTS["laptop"][name]


def test_no_recorded_verdict_has_changed_in_a_larger_committed_record():
    larger = {name: chapters.larger(name, RESULTS) for name in chapters.NAMES}
    found = {record.attrs["profile"]: {} for record in larger.values() if record is not None}
    for name, record in larger.items():
        if record is not None:
            found[record.attrs["profile"]][name] = {claim.id: claim.verdict for claim in chapters.kept(name, record)}
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
        assert (RESULTS / path).stat().st_size < 2_500_000  # the largest has every update of eight seeds
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
    with pytest.raises(ValueError, match=r"stability, quadratics, growth|smoke, laptop, cpu, paper"):
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
        "cifar": record("laptop", "embedded", "drawn images and an excerpt"),
        "language": record("laptop", "embedded", "an excerpt"),
        "orders": record("laptop", "none", "none"),
        "meta": record("laptop", "cache", "CIFAR-10"),
        "box": record("smoke", "embedded", "numbers"),
    }
    remark = "growth, cifar, language: used an excerpt and drawn images; for real data: kadam data fetch, then run again"
    assert chapters.remark_on_stand_ins(used) == remark
    assert chapters.remark_on_stand_ins({name: used[name] for name in ("orders", "meta", "box")}) == ""


# The rows of the ledger


def test_every_claim_stands_in_one_row_and_speeds_in_none():
    claims = [claim.id for name in chapters.NAMES for claim in chapters.claims(name, None)]
    standing = [id for row in rows.ROWS.values() for id in row.claims]
    assert set(standing) == set(claims)
    assert {id for id in standing if standing.count(id) > 1} == {"D-2d", "D-5n"}  # which paper rows quote besides


@pytest.mark.parametrize("row", rows.ROWS.values(), ids=lambda row: row.id)
def test_a_row_can_be_told_whatever_its_records_say(row):
    """Its sentences quote what it has, and begin as its kind's do; its figure and its theory are there."""
    claims = {claim.id: claim for name in chapters.NAMES for claim in chapters.claims(name, None)}
    for held, verdict in ((True, "reproduced"), (False, "not reproduced"), (None, "partly")):
        cases = {"a": True, "b": False} if held is None else {"a": held}
        one = row.answered({id: replace(claim, cases=cases, verdict=verdict) for id, claim in claims.items()})
        assert one.sentence or not row.claims
        if row.kind == "question":
            assert first_word(one) in {"reproduced": ["yes"], "not reproduced": ["no"], "partly": ["it depends", "no"]}[verdict]
    if row.figure:
        notebook = claims[row.claims[0]].notebook
        assert f"name: {row.figure}\n" in (RESULTS.parent / "notebooks" / f"{notebook}.md").read_text()
    assert not row.theory or (RESULTS.parent / "book" / row.theory).exists()
    assert set(row.by) <= set(row.claims)
    assert bool(row.claims) != bool(row.unjudged)


def test_the_first_answers_are_thirteen_rows_that_ask():
    assert len(rows.FIRST) == 13
    assert all(rows.ROWS[id].asked.endswith("?") for id in rows.FIRST)
    assert {id for id, row in rows.ROWS.items() if row.asked} == set(rows.FIRST)
    assert set(rows.FRONT) <= set(rows.FIRST)


def test_the_most_convincing_record_is_of_real_data_then_large_then_ones_own(tmp_path, monkeypatch):
    def record(profile, origin):
        return xr.Dataset(attrs={"profile": profile, "data_origin": origin})

    def best(own, committed):
        folder = tmp_path / "own"
        monkeypatch.setattr(chapters.store.Request, "read", lambda wanted, reader: own[wanted.profile])
        paths = {profile: tmp_path / profile if profile in own else folder / "none" for profile in ("paper", "cpu", "laptop")}
        monkeypatch.setattr(chapters.store.Request, "path", property(lambda wanted: paths[wanted.profile]))
        for profile in own:
            (tmp_path / profile).touch()
        monkeypatch.setattr(chapters.committed, "committed", lambda folder, name, profile, reader: committed.get(profile))
        return chapters.best("growth", "laptop", tmp_path)

    real, other, stand_in = record("laptop", "cache"), record("cpu", "folder"), record("cpu", "embedded")
    assert best({}, {}) is None
    assert best({"laptop": real}, {"cpu": other}) is other
    assert best({"cpu": stand_in}, {"laptop": real}) is real
    assert best({"cpu": stand_in}, {"cpu": other}) is other
    assert best({"laptop": real}, {"laptop": record("laptop", "folder")}) is real
    assert best({"cpu": stand_in}, {}) is stand_in


def test_where_an_experiment_lacks_the_paper_profile_its_page_has_the_laptops(monkeypatch):
    asked = []
    monkeypatch.setattr(chapters.store, "obtain", lambda wanted, *a, **k: asked.append((wanted.name, wanted.profile)))
    monkeypatch.setattr(chapters, "best", lambda *of: asked.append(of[:2]))
    chapters.shown("radius", "paper")
    chapters.shown("growth", "paper")
    assert asked == [("radius", "laptop"), ("radius", "laptop"), ("growth", "paper"), ("growth", "paper")]
    with pytest.raises(ValueError, match="profile must be one of smoke, laptop, paper; got 'cpu'"):
        chapters.obtain("stability", "cpu")


def test_no_paper_profile_takes_longer_than_five_minutes_of_the_chip_by_arithmetic():
    having = [name for name in chapters.NAMES if "paper" in chapters.find(name).profiles]
    assert set(chapters.NAMES) - set(having) == {"language", "radius"}
    least = {name: chapters.arithmetic(name, "paper")["least_s"] for name in having}
    on_gpu = [name for name in having if "device='cuda'" in repr(chapters.find(name).part("config").PROFILES["paper"])]
    assert [name for name, seconds in least.items() if seconds] == on_gpu
    assert len(on_gpu) > 10
    assert all(seconds is None or 0 < seconds < 60 for seconds in least.values())  # launches cost several times as much


def test_at_profile_smoke_a_page_draws_the_smoke_record(smoke_records):
    """So that CI goes the whole path."""
    assert chapters.shown("stability", "smoke").attrs["sha256"] == smoke_records["stability"].attrs["sha256"]


def test_a_page_draws_its_own_record_where_it_is_asked_to(smoke_records, monkeypatch):
    own = smoke_records["stability"]
    monkeypatch.setattr(chapters, "best", lambda *given: own.assign_attrs(profile="cpu"))
    assert chapters.shown("stability", "smoke").attrs["profile"] == "cpu"
    assert chapters.shown("stability", "smoke", "own").attrs["sha256"] == own.attrs["sha256"]
    with pytest.raises(ValueError, match="draw must be 'best' or 'own', got 'mine'"):
        chapters.shown("stability", "smoke", "mine")


def test_what_was_judged_once_is_read_again_until_record_or_code_changes(monkeypatch, smoke_records, tmp_path):
    monkeypatch.setenv("KADAM_CACHE", str(tmp_path))  # what is judged here, no other test may read
    record = smoke_records["stability"]
    known = records.read_attributes(Path(record.encoding["source"]), command="-")
    first, judged = chapters.kept("stability", known), []
    assert first == chapters.claims("stability", record)
    monkeypatch.setattr(chapters, "claims", lambda name, record: judged.append(name) or first)
    assert chapters.kept("stability", record) == first
    assert judged == []
    chapters.kept("stability", record.assign_attrs(sha256="another"))
    monkeypatch.setattr(chapters, "code_of", lambda *given: "edited")
    chapters.kept("stability", record)
    assert judged == ["stability"] * 2


def test_this_machine_is_set_beside_the_committed_record_of_its_profile(smoke_records):
    record = results.committed(RESULTS, "norms", "laptop")
    told = chapters.on_this_machine(record).rows
    assert [row[0] for row in told] == [claim.id for claim in chapters.claims("norms", None)]
    assert {row[1] for row in told} == {"laptop"}
    assert {(row[2] == row[3], row[4]) for row in told} == {(True, "yes")}
    worse = chapters.on_this_machine(record.assign(difference=record.difference + 1)).rows
    assert {row[0]: row[2:] for row in worse if row[4] != "yes"} == {"XL-8a": ("0 of 1", "1 of 1", "no")}
    assert {row[3:] for row in chapters.on_this_machine(smoke_records["norms"]).rows} == {("-", "-")}


def test_a_chapter_shows_each_claim_under_its_row():
    told = {row[1]: row for row in chapters.verdicts(results.committed(RESULTS, "norms", "laptop")).rows}
    assert {id: row[0] for id, row in told.items()} == {
        "XL-8a": "P11",
        "XL-8m": "P13",
        "D-8n": "P13",
        "XL-8o": "P13",
        "D-8p": "C8",
    }
    assert (told["XL-8a"][3], told["XL-8o"][3]) == ("1 of 1", "14 of 15")
