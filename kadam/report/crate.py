"""The book's verdicts for programs: an RO-Crate beside the pages, so that nobody has to read prose to harvest them.

Every row of the ledger and every claim in it is a ``ClaimReview`` that names the criterion, the outcome, the page with the
figure, and the record's file with its sha256. Every record is the result of a ``CreateAction`` that says with which command,
by the profile of process runs: https://w3id.org/ro/wfrun/process/0.5.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

from kadam.report.ledger import Claim
from kadam.report.ledger_page import Made, Makings
from kadam.report.rows import Answered, first_word, unique

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = "https://w3id.org/ro/terms/workflow-run/context"  # of the profile, sha256 among them
LICENCE = "https://spdx.org/licenses/MIT"
AUTHORS, SOFTWARE = "#authors", "#kadam"


def write(html: Path, rows: Sequence[Answered], makings: Makings, about: Mapping[str, str]) -> Path:
    """Describe a built book; returns the file. ``about``: its name, description, version and, where there is one, url.

    ``FileNotFoundError`` where a verdict's record is not among the files that the book offers.
    """
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(TERMS)
    _add_book(crate, about)
    for record, made in makings.items():
        _add_run(crate, html, record, made)
    pages = unique(page for one in rows for page in ("claims.html", *map(_page, one.claims)))
    for page in pages:
        crate.add_file(dest_path=page, properties={"name": f"The page {page}", "encodingFormat": "text/html"})
    for word in unique([*map(first_word, rows), *(claim.verdict for one in rows for claim in one.claims)]):
        crate.add_jsonld({"@id": _outcome(word), "@type": "Rating", "alternateName": word})
    for one in rows:
        _add_row(crate, one)
    crate.metadata.write(html)
    return html / "ro-crate-metadata.json"


def _add_book(crate: ROCrate, about: Mapping[str, str]) -> None:
    crate.name, crate.description = about["name"], about["description"]
    crate.root_dataset["conformsTo"], crate.root_dataset["license"] = {"@id": PROFILE}, {"@id": LICENCE}
    crate.root_dataset["author"] = crate.root_dataset["publisher"] = {"@id": AUTHORS}
    url = {"url": about["url"]} if about.get("url") else {}
    software = {"name": "kadam", "softwareVersion": about["version"], "license": {"@id": LICENCE}, **url}
    crate.add_jsonld({"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"})
    crate.add_jsonld({"@id": LICENCE, "@type": "CreativeWork", "name": "MIT License"})
    crate.add_jsonld({"@id": AUTHORS, "@type": "Organization", "name": "The kadam authors"})
    crate.add_jsonld({"@id": SOFTWARE, "@type": "SoftwareApplication", **software})


def _add_run(crate: ROCrate, html: Path, record: str, made: Made) -> None:
    """A record's file, and the run that it is the result of."""
    path, facts = _file(html, record), made.attributes
    ended = datetime.strptime(facts["date"], "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    kept = {"contentSize": str(path.stat().st_size), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    named = {"name": f"record {record}", "encodingFormat": "application/x-netcdf", "datePublished": ended.date().isoformat()}
    file = crate.add_file(dest_path=path.relative_to(html), properties={**named, **kept})
    run = {
        "@id": _run(record),
        "@type": "CreateAction",
        "name": f"run of {record}",
        "description": f"{made.command}, at commit {facts['commit']}, on {facts['device']}, data: {facts.get('data', 'none')}",
        "startTime": (ended - timedelta(seconds=float(facts["wall_time_s"]))).isoformat(timespec="seconds"),
        "endTime": ended.isoformat(timespec="seconds"),
        "agent": {"@id": AUTHORS},
        "instrument": {"@id": SOFTWARE},
        "result": {"@id": file.id},
    }
    crate.root_dataset.append_to("mentions", crate.add_jsonld(run))


def _file(html: Path, record: str) -> Path:
    """A record among the book's downloads, whose folders have names that only Sphinx knows."""
    name = record.rpartition("-")[0].replace("/", "-")
    found = sorted(html.glob(f"_downloads/*/{name}.nc"))
    if not found:
        raise FileNotFoundError(f"the book offers no file of the record {record}, on which verdicts rest")
    return found[0]


def _add_row(crate: ROCrate, one: Answered) -> None:
    held = [{"@id": _anchor(claim)} for claim in one.claims]
    row: dict[str, Any] = {
        "@id": f"claims.html#{one.row.id}",
        "@type": "ClaimReview",
        "name": f"{one.row.id} ({one.row.kind})",
        "claimReviewed": one.row.statement,
        "reviewBody": f"{one.outcome}. {one.sentence}. {one.held} of {one.of} cases{'; fragile' * one.fragile}",
        "reviewRating": {"@id": _outcome(first_word(one))},
        "author": {"@id": AUTHORS},
    }
    if held:
        row["hasPart"] = held if len(held) > 1 else held[0]  # as the specification wants it
    if held and one.row.figure:
        row["mainEntityOfPage"] = f"{_page(one.claims[0])}#{one.row.figure}"
    crate.root_dataset.append_to("mentions", crate.add_jsonld(row))
    for claim in one.claims:
        if crate.get(_anchor(claim)) is None:  # one may decide two rows
            crate.add_jsonld(_review(crate, claim))


def _review(crate: ROCrate, claim: Claim) -> dict[str, Any]:
    run = crate.get(_run(claim.record))
    based = {"isBasedOn": [{"@id": run["result"].id}, {"@id": run.id}]} if run else {}  # nothing was run for it yet
    return {
        "@id": _anchor(claim),
        "@type": "ClaimReview",
        "name": f"{claim.id} ({claim.source})",
        "claimReviewed": claim.statement,
        "reviewAspect": f"{claim.criterion} (set {claim.when})",
        "reviewBody": f"{claim.measured}. {claim.held} of {len(claim.cases)} cases{'; fragile' * claim.fragile}",
        "reviewRating": {"@id": _outcome(claim.verdict)},
        "author": {"@id": AUTHORS},
        "subjectOf": {"@id": _page(claim)},
        **based,
    }


def _page(claim: Claim) -> str:
    return f"notebooks/{claim.notebook}.html"


def _anchor(claim: Claim) -> str:
    return f"claims.html#{claim.id.replace(' ', '-')}"


def _run(record: str) -> str:
    return f"#run-{record.replace('/', '-')}"


def _outcome(word: str) -> str:
    return f"#outcome-{word.replace(' ', '-')}"
