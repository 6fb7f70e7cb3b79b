"""What a published book has besides its pages: addresses only where one is known, citation files of one source, a way without
Jupyter Book."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import cited
import light
import published
import pytest
import reachable
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from fontTools.ttLib import TTFont
from jupyter_book.config import get_final_config
from same_book import differences, pages
from sphinx import addnodes

from kadam import book
from kadam.report.table import table

ROOT = Path(__file__).parents[1]
CONF = runpy.run_path(str(ROOT / "book" / "conf.py"))

CITED = cited.files()

# A book of two pages with the settings of ours.
SMALL = {
    "_config.yml": (ROOT / "_config.yml").read_text(),
    "book/conf.py": (ROOT / "book" / "conf.py").read_text(),
    "book/_toc.yml": "format: jb-book\nroot: intro\nchapters:\n- file: other/page\n",
    "book/intro.md": "# A book\n\nIt says that betas matter.\n\n![A mark.](images/mark.svg)\n",
    "book/other/page.md": "# A page\n\n:::{div} kadam-badge\ncommit 1\n:::\n\nIt says more of $\\beta_{2}$.\n",
    "book/references.bib": "",
    "book/_static/custom.css": "",
    "book/images/mark.svg": (ROOT / "book" / "images" / "mark.svg").read_text(),
    **{f"book/_ext/{path.name}": path.read_text() for path in (ROOT / "book" / "_ext").glob("*.py")},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """That book as Sphinx alone builds it strictly, for an address."""
    folder = tmp_path_factory.mktemp("book")
    for name, text in SMALL.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {"PATH": "", "KADAM_BASEURL": "https://someone.github.io/kadam"}
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "--keep-going", "book", "html"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def head(page):
    """By its name, what a page says of itself to programs."""
    found = BeautifulSoup(page.read_text(), "html.parser").head
    named = {tag.get("property", tag.get("name")): tag["content"] for tag in found.find_all("meta", content=True)}
    return named | {tag["rel"][0]: tag["href"] for tag in found.find_all("link", rel=True)}


def test_a_page_names_its_address_description_picture_and_mark(built):
    said = head(built / "other" / "page.html")
    address = "https://someone.github.io/kadam/"
    assert said["canonical"] == said["og:url"] == f"{address}other/page.html"
    assert said["og:image"] == f"{address}_images/map.png"
    assert said["description"] == said["og:description"] == "It says more of beta_2."
    assert said["og:site_name"].startswith("kadam: ")
    assert (built / "other" / said["icon"]).resolve() == built / "_static" / "mark.svg"


def test_a_formula_is_set_without_a_script_in_a_font_that_holds_its_signs(built):
    page = BeautifulSoup((built / "other" / "page.html").read_text(), "html.parser")
    assert [str(one) for one in page.article.find_all("math")] == ["<math><msub><mi>β</mi><mn>2</mn></msub></math>"]
    font = TTFont(built / "_static" / "formulas.woff")
    assert {"β", "𝛽", "2", "√"} == {*map(chr, font.getBestCmap())} & {*"βγ2√", "𝛽", "𝛾"}
    roots = font["MATH"].table.MathVariants.VertGlyphConstruction[0].MathGlyphVariantRecord
    assert len({font["hmtx"][root.VariantGlyph][0] for root in roots}) == 1 < len(roots)
    assert (built / "_static" / "formulas.woff").stat().st_size < 60_000


def test_pages_load_the_icons_and_the_styles_that_they_use(built):
    assert "fontawesome.js" not in "".join(path.read_text() for path in built.rglob("*.html"))
    style = (built / "_static" / "styles" / "pydata-sphinx-theme.css").read_text()
    drawn = re.search(r'\.fa-bars:before\{content:"(.)"\}', style)[1]
    (font,) = re.findall(r'url\(([^)]*solid[^)]*)\) format\("woff"\)', style)
    icons = TTFont(built / "_static" / "styles" / font).getBestCmap()
    assert ord(drawn) in icons
    assert len(icons) < 60
    assert "fa-anchor" not in style
    assert len(style) < 200_000


def test_a_style_is_left_out_only_where_nothing_can_have_its_classes():
    kept = [
        "a:hover{color:red}",
        ".one.two > p{margin:0}",
        "p:not(.gone){margin:0}",
        '[class*="gone"]{margin:0}',
        "@page{margin:0}",
    ]
    cut = {
        ".one,.gone{margin:0}": ".one{margin:0}",
        ".one.gone{margin:0}": "",
        "@media print{.gone{margin:0}}": "",
        "@media print{.two{margin:0}.gone{margin:0}}": "@media print{.two{margin:0}}",
    }
    assert light.lighter("".join([*kept, *cut]), {"one", "two"}) == "".join([*kept, *cut.values()])


def test_a_long_table_of_results_is_folded_and_its_columns_are_named():
    sizes = (reachable.LONG, reachable.LONG + 1)
    short, long = (table(("a", "b"), [(i, "<i>") for i in range(rows)])._repr_html_() for rows in sizes)
    tree = nodes.paragraph("", "", *(nodes.raw("", html, format="html") for html in (short, long, "<p>")))
    reachable.fold(None, tree, "page")
    texts = [one.astext() for one in tree.children]
    assert [texts[0], texts[2]] == [short, "<p>"]
    folded = BeautifulSoup(texts[1], "html.parser").details
    assert folded.summary.text == f"{sizes[1]} rows: a, b"
    assert str(folded.table) == long


def test_the_name_of_a_claim_is_not_broken():
    names = table(("row", "claim"), [("P1", "GT-1a"), ("P2", "a - b")])._repr_html_()
    tree = nodes.paragraph("", "", nodes.raw("", names, format="html"))
    reachable.fold(None, tree, "page")
    cells = BeautifulSoup(tree.children[0].astext(), "html.parser").find_all("td")
    assert [cell.text for cell in cells if "nowrap" in cell["style"]] == ["GT-1a"]


@pytest.mark.parametrize(("records", "folded"), [(reachable.MANY, False), (reachable.MANY + 1, True)])
def test_where_many_records_come_from_is_folded(records, folded):
    targets = [*(f"record-{n}.nc" for n in range(records)), "page.md"]
    line = nodes.paragraph("", "", *(addnodes.download_reference("", "", reftarget=name) for name in targets))
    badge = nodes.container("", line, classes=["kadam-badge"])
    reachable.fold(None, nodes.section("", badge), "page")
    assert badge.astext().startswith(f"<details><summary>{records} records: ") == folded
    assert (len(badge.children) == 3) == folded


def test_an_edited_extension_or_style_is_another_setting_by_which_sphinx_makes_all_pages_again(tmp_path):
    (tmp_path / "_ext").mkdir()
    (tmp_path / "_static").mkdir()
    (tmp_path / "_ext" / "anew.py").write_text(SMALL["book/_ext/anew.py"])
    settings = []
    for name, text in (("_ext/a.py", "1"), ("_ext/a.py", "1"), ("_ext/a.py", "2"), ("_static/a.css", "1")):
        (tmp_path / name).write_text(text)
        found = []
        app = SimpleNamespace(add_config_value=lambda *setting, found=found: found.append(setting))
        runpy.run_path(str(tmp_path / "_ext" / "anew.py"))["setup"](app)
        settings.append({rebuilds: value for _, value, rebuilds in found})
    assert settings[0] == settings[1]
    assert [settings[1]["env"] == settings[2]["env"], settings[1]["html"] == settings[2]["html"]] == [False, True]
    assert [settings[2]["env"] == settings[3]["env"], settings[2]["html"] == settings[3]["html"]] == [True, False]


def test_the_map_of_the_site_holds_the_pages_alone(built):
    listed = [one.text for one in ElementTree.parse(built / "sitemap.xml").findall(".//{*}loc")]
    assert sorted(listed) == [f"https://someone.github.io/kadam/{name}.html" for name in ("intro", "other/page")]


def test_the_page_for_what_is_not_there_finds_the_book_from_any_address(built):
    page = BeautifulSoup((built / "404.html").read_text(), "html.parser")
    assert page.article.h1.text == "Page not found"
    links = [tag["href"] for tag in page.find_all(href=True) if not tag["href"].startswith(("#", "http"))]
    assert len(links) > 5
    assert [link for link in links if not link.startswith("/kadam/")] == []


@pytest.mark.parametrize(
    ("environment", "setting", "found"),
    [
        ("", "", ""),
        ("", "https://a.org/book", "https://a.org/book/"),
        ("https://b.org/", "https://a.org/book", "https://b.org/"),
    ],
)
def test_the_address_is_the_environments_else_the_settings_else_none(environment, setting, found, monkeypatch):
    monkeypatch.setenv(published.BASE, environment)
    assert published.address({"html_baseurl": setting}) == found


def test_what_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv(published.BASE, "someone.github.io")
    with pytest.raises(ValueError, match=r"https:// and a host, got 'someone.github.io'"):
        published.address({"html_baseurl": ""})


def test_a_book_for_no_address_names_none():
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"] == ""
    tags = '<meta property="og:url" content="a.html" />\n<meta property="og:image" content="b.png" />\n'
    kept = '<meta property="og:title" content="A" />\n<meta name="description" content="B" />\n'

    for base, left in (("", kept), ("https://a.org/", tags + kept)):
        context = {"metatags": tags + kept}
        published.without_addresses(SimpleNamespace(config={"ogp_site_url": base}), "a", "page.html", context, None)
        assert context["metatags"] == left
    published.without_addresses(SimpleNamespace(config={"ogp_site_url": ""}), "genindex", "genindex.html", index := {}, None)
    assert index == {}


def test_another_address_makes_the_html_anew(monkeypatch, tmp_path):
    monkeypatch.setenv(published.BASE, "")
    without = book._made_of(tmp_path, {"profile": "smoke"}, [])
    monkeypatch.setenv(published.BASE, "https://a.org/")
    assert book._made_of(tmp_path, {"profile": "smoke"}, []) != without


def test_sphinx_alone_has_the_settings_that_jupyter_book_has():
    """But for what Jupyter Book says of LaTeX, of execution, which is off, and of tools that we leave out."""
    given = {"user_yaml": ROOT / "_config.yml", "sourcedir": ROOT / "book"}
    theirs, _ = get_final_config(**given, cli_config={"latex_individualpages": False, "external_toc_path": "_toc.yml"})
    left_out = {"jupyter_book", "sphinx_thebe", "sphinx_comments", "sphinx_jupyterbook_latex"}
    assert set(CONF["extensions"]) == set(theirs.pop("extensions")) - left_out
    for name, value in theirs.pop("html_theme_options").items():
        unset = value in ("", False) or name in ("launch_buttons", "analytics")
        assert CONF["html_theme_options"].get(name, value if unset else None) == value or name == "launch_buttons"
    others = {name for name in theirs if name not in CONF}
    assert all(name.startswith(("nb_execution", "latex", "use_", "comments")) for name in others)
    assert {name: CONF[name] for name in theirs if name in CONF} == {name: theirs[name] for name in theirs if name in CONF}
    assert len(set(theirs) - others) > 20


def test_sphinx_alone_refuses_a_setting_that_it_does_not_know():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    with pytest.raises(KeyError, match=r"html\.announcement"):
        CONF["settings"](settings | {"html": {"announcement": "new"}})


def test_two_books_are_compared_page_by_page(built, tmp_path):
    one = pages(built)
    assert {"intro.html", "other/page.html", "404.html"} <= set(one)
    assert any("commit 1 It says more of" in words for words in one["other/page.html"])
    assert "url=intro.html" in (built / "index.html").read_text()
    assert differences(one, one) == []
    assert differences(one, {**one, "intro.html": ["other words"]}) == ["intro.html"]
    assert differences(one, {name: words for name, words in one.items() if name != "404.html"}) == ["404.html"]


@pytest.mark.parametrize("name", CITED)
def test_a_citation_file_is_what_its_source_gives(name):
    assert (ROOT / name).read_text() == CITED[name]


def test_citation_files_have_what_their_formats_require():
    citation = yaml.safe_load(CITED["CITATION.cff"])
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert all({"type", "title", "authors"} <= set(one) for one in citation["references"])
    codemeta = json.loads(CITED["codemeta.json"])
    assert (codemeta["@context"], codemeta["@type"]) == ("https://w3id.org/codemeta/3.0", "SoftwareSourceCode")
    assert {"name", "description", "version", "license", "author", "programmingLanguage"} <= set(codemeta)
    zenodo = json.loads(CITED[".zenodo.json"])
    assert {"upload_type", "title", "creators", "description", "access_right", "license"} <= set(zenodo)
    assert all({"identifier", "relation"} == set(one) for one in zenodo["related_identifiers"])
    assert len({citation["version"], codemeta["version"], zenodo["version"]}) == 1
    titles = [[one["title"] for one in citation["references"]], [one["name"] for one in codemeta["referencePublication"]]]
    assert titles[0] == titles[1]
    assert len(titles[0]) == len(zenodo["related_identifiers"]) == 3


@pytest.mark.parametrize("name", CITED)
def test_no_citation_file_names_an_address_of_this_repository(name):
    text = CITED[name]
    assert not any(host in text for host in ("github.com", "gitlab.com", "codeRepository", "repository-code", "doi.org"))
