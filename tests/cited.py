"""How the software is cited: ``python tests/cited.py`` writes CITATION.cff, codemeta.json and .zenodo.json.

Name, version, summary, licence, keywords and authors are those of pyproject.toml, title that of _config.yml, papers those of
book/references.bib. None of the files names an address of this repository: nobody can say where a copy will be published.
"""

import json
import re
import tomllib
from pathlib import Path

import yaml
from pybtex.database import parse_file

ROOT = Path(__file__).parents[1]
PAPERS = ("gould2024continuous", "xie2024implicit", "jiang2023geometry")
ABSTRACT = (
    "Theory, the k-Adam optimizer for PyTorch, and a book of verified figures for the continuous-time analysis of adaptive "
    "optimization and normalization, for AdamW's box and for local geometry."
)
MESSAGE = "Please cite this software, and the paper whose results it makes executable."


def files():
    """By name, the text of each file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = {name: project[name] for name in ("name", "version", "description", "license", "keywords")}
    about |= {"title": yaml.safe_load((ROOT / "_config.yml").read_text())["title"], "papers": [*map(paper, PAPERS)]}
    about["authors"] = [author["name"] for author in project["authors"]]
    about["requirements"] = [f"python{project['requires-python']}", *project["dependencies"]]
    plain = {"sort_keys": False, "allow_unicode": True, "width": 100}
    return {
        "CITATION.cff": "# Written by tests/cited.py.\n" + yaml.safe_dump(citation(about), **plain),
        "codemeta.json": json.dumps(codemeta(about), indent=2, ensure_ascii=False) + "\n",
        ".zenodo.json": json.dumps(zenodo(about), indent=2, ensure_ascii=False) + "\n",
    }


def paper(key):
    """Title, people, year and address of a work in the list of references."""
    entry = parse_file(str(ROOT / "book" / "references.bib")).entries[key]
    names = ((one.first_names + one.middle_names, one.last_names) for one in entry.persons["author"])
    people = [{"given": " ".join(given), "family": " ".join(family)} for given, family in names]
    title = re.sub(r"[{}]", "", entry.fields["title"])
    return {"title": title, "people": people, "year": int(entry.fields["year"]), "url": entry.fields["url"]}


def arxiv(url):
    return f"arXiv:{url.removeprefix('https://arxiv.org/abs/')}"


def citation(about):
    """For GitHub and reference managers: https://citation-file-format.github.io."""
    return {
        "cff-version": "1.2.0",
        "message": MESSAGE,
        "type": "software",
        "title": about["title"],
        "abstract": ABSTRACT,
        "version": about["version"],
        "license": about["license"],
        "authors": [{"name": name} for name in about["authors"]],
        "keywords": about["keywords"],
        "references": [
            {
                "type": "article",
                "title": one["title"],
                "authors": [{"family-names": who["family"], "given-names": who["given"]} for who in one["people"]],
                "year": one["year"],
                "url": one["url"],
                "identifiers": [{"type": "other", "value": arxiv(one["url"]), "description": "The paper on arXiv"}],
            }
            for one in about["papers"]
        ],
    }


def codemeta(about):
    """For software catalogues: https://codemeta.github.io."""
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": about["name"],
        "alternateName": about["title"],
        "description": about["description"],
        "version": about["version"],
        "license": f"https://spdx.org/licenses/{about['license']}",
        "programmingLanguage": "Python",
        "softwareRequirements": about["requirements"],
        "keywords": about["keywords"],
        "author": [{"@type": "Organization", "name": name} for name in about["authors"]],
        "referencePublication": [
            {
                "@type": "ScholarlyArticle",
                "@id": one["url"],
                "name": one["title"],
                "author": [
                    {"@type": "Person", "givenName": who["given"], "familyName": who["family"]} for who in one["people"]
                ],
                "datePublished": str(one["year"]),
            }
            for one in about["papers"]
        ],
    }


def zenodo(about):
    """For an archive of a release: https://developers.zenodo.org, section "Deposit metadata"."""
    related = [{"identifier": arxiv(one["url"]), "relation": "references"} for one in about["papers"]]
    return {
        "upload_type": "software",
        "title": about["title"],
        "description": ABSTRACT,
        "version": about["version"],
        "license": about["license"],
        "access_right": "open",
        "creators": [{"name": name} for name in about["authors"]],
        "keywords": about["keywords"],
        "related_identifiers": related,
    }


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).write_text(text)
