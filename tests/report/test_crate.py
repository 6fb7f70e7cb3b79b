"""The crate and the page for journals say what the ledger says, and every reference in the crate leads somewhere."""

import hashlib
import json
from dataclasses import replace

import pytest
from test_rows import claim, row

from kadam.report import crate, journal
from kadam.report.ledger_page import Made

ATTRIBUTES = {
    "date": "2026-11-29 20:00 UTC",
    "wall_time_s": 90.0,
    "commit": "abc1234",
    "device": "a processor",
    "data": "a text and some images",
    "profile": "cpu",
    "versions": '{"torch": "2.13.0"}',
}
MAKINGS = {"growth/cpu-1": Made("kadam run growth --profile cpu --fresh", {}, ATTRIBUTES)}
ABOUT = {"name": "a book", "description": "of claims", "version": "1.0"}
FIRST, SECOND, THIRD = (
    row("reproduced", "partly", figure="fig-growth"),
    row(claim("C", "not reproduced", left_out=["reproduced"]), claim("D", "not run at this profile", record="-"), by=("C",)),
    row(claim("E", "reproduced"), unconfirmed="a definition"),
)
OPEN = row(unjudged="nobody ran it")
ROWS = [FIRST, *(replace(one, row=replace(one.row, id=id)) for one, id in ((SECOND, "P10"), (THIRD, "P11"), (OPEN, "P12")))]


@pytest.fixture
def book(tmp_path):
    """A built book of one record."""
    record = tmp_path / "_downloads" / "0123" / "growth-cpu.nc"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"a record")
    return tmp_path


@pytest.fixture
def graph(book):
    written = json.loads(crate.write(book, ROWS, MAKINGS, ABOUT).read_text())
    assert written["@context"] == ["https://w3id.org/ro/crate/1.1/context", crate.TERMS]
    entities = written["@graph"]
    assert len({one["@id"] for one in entities}) == len(entities)
    return {one["@id"]: one for one in entities}


def references(value):
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else references(list(value.values()))
    return [id for one in value for id in references(one)] if isinstance(value, list) else []


def test_every_reference_leads_to_an_entity_and_every_entity_has_a_type(graph):
    named = {id for one in graph.values() for id in references(list(one.values()))}
    assert named - set(graph) == {"https://w3id.org/ro/crate/1.1"}  # the specification itself
    assert len(named) > 10
    assert all(one.get("@type") for one in graph.values())


def test_the_book_has_what_a_root_must_have_and_names_its_profile(graph):
    root = graph["./"]
    assert {"name", "description", "datePublished", "license", "hasPart", "mentions"} <= set(root)
    assert root["conformsTo"] == {"@id": crate.PROFILE}
    assert graph[crate.PROFILE]["version"] == "0.5"
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    files = {id for id, one in graph.items() if one["@type"] == "File"}
    assert (
        files
        == {part["@id"] for part in root["hasPart"]}
        == {"_downloads/0123/growth-cpu.nc", "claims.html", "notebooks/02-growth.html"}
    )


def test_a_claim_leads_to_criterion_outcome_page_record_and_command(graph, book):
    one = graph["claims.html#C"]
    assert (one["reviewAspect"], one["claimReviewed"]) == ("at most 4 (set before any run)", "what C says")
    assert one["reviewBody"] == "C is 3 <b>. 0 of 1 cases; fragile"
    assert graph[one["reviewRating"]["@id"]]["alternateName"] == "not reproduced"
    assert one["subjectOf"] == {"@id": "notebooks/02-growth.html"}
    file, run = (graph[of["@id"]] for of in one["isBasedOn"])
    assert file["sha256"] == hashlib.sha256((book / file["@id"]).read_bytes()).hexdigest()
    assert (run["@type"], run["result"]) == ("CreateAction", {"@id": file["@id"]})
    assert "kadam run growth --profile cpu --fresh, at commit abc1234" in run["description"]
    assert (run["startTime"], run["endTime"]) == ("2026-11-29T19:58:30+00:00", "2026-11-29T20:00:00+00:00")
    assert graph[run["instrument"]["@id"]]["@type"] == "SoftwareApplication"
    assert "isBasedOn" not in graph["claims.html#D"]  # nothing was run for it


def test_a_row_holds_its_claims_and_leads_to_its_figure(graph):
    one = graph["claims.html#P9"]
    assert one["hasPart"] == [{"@id": "claims.html#A"}, {"@id": "claims.html#B"}]
    assert one["mainEntityOfPage"] == "notebooks/02-growth.html#fig-growth"
    assert graph[one["reviewRating"]["@id"]]["alternateName"] == "partly"
    assert "hasPart" not in graph["claims.html#P12"]


def test_an_address_is_named_only_where_there_is_one(graph, book):
    assert "url" not in graph["#kadam"]
    published = json.loads(crate.write(book, ROWS, MAKINGS, {**ABOUT, "url": "https://a.org/"}).read_text())["@graph"]
    assert next(one for one in published if one["@id"] == "#kadam")["url"] == "https://a.org/"


def test_a_verdict_whose_record_the_book_does_not_offer_is_refused(book):
    with pytest.raises(FileNotFoundError, match="no file of the record growth/laptop-2"):
        crate.write(book, ROWS, {"growth/laptop-2": MAKINGS["growth/cpu-1"]}, ABOUT)


def test_the_page_for_journals_counts_what_the_ledger_holds():
    said = journal.parts(ROWS, MAKINGS)
    assert said["scope"] == "4 statements of three papers in 5 cases: 1 partly, 1 not reproduced, 1 reproduced, 1 not judged."
    assert said["methods"].startswith("The verdicts rest on 1 records (1 at profile cpu), computed in 1.5 minutes on a process")
    long = {"growth/cpu-1": MAKINGS["growth/cpu-1"]._replace(attributes=ATTRIBUTES | {"wall_time_s": 9000.0})}
    assert "computed in 2.5 hours on a processor" in journal.parts(ROWS, long)["methods"]
    assert "data: a text and some images. 5 of 5 criteria were set before any run." in said["methods"]
    assert said["easy"].startswith("0 of 4 statements hold in every case")
    assert 'Of the 4 statements 1 rest on our reading of a definition (<a href="claims.html#P11">P11</a>)' in said["hard"]
    assert "1 change with one seed" in said["hard"]
