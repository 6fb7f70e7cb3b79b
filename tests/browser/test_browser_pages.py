"""The pages of the smoke book in a real browser: nothing is thrown, fetched from elsewhere, heavy, wider than screen or paper.

And axe finds no breach of WCAG 2.2, levels A and AA, in the light on a wide screen and in the dark on a narrow one.
"""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsing import library, needed

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "smoke" / "_build" / "html"
PAGES = [path.stem for path in (ROOT / "book").glob("*.md")]
PAGES += [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.md")]
SCREENS = {"light, wide": ("light", 1200), "dark, narrow": ("dark", 320)}

ASKED = """axe.run({preload: false, resultTypes: ["violations"],
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})"""


@pytest.fixture(scope="session")
def axe():
    return needed(library("axe_playwright_python.base"), "axe-playwright-python, of the extra browser").AXE_SCRIPT


def address(name):
    """Of a page. `make browser` builds the book before; without it what lies there may be an older one."""
    path = HTML / f"{name}.html"
    return needed(os.environ.get("KADAM_BROWSER") and path.exists() and path.as_uri(), "make browser, which builds the book")


PAPER = 657  # pixels between the margins of a printed page

# What would be cut off at a width: all that is seen and reaches farther, but for the parts of a drawing.
CUT = """width => [...document.querySelectorAll(".bd-article *:not(svg *, .hidden, .hidden *)")]
    .filter(one => one.checkVisibility() && one.getBoundingClientRect().right > width + 1)
    .map(one => `${one.tagName} ${one.className}: ${one.textContent.slice(0, 60)}`)"""


def weight(urls):
    """The bytes of the files at these addresses; but for the first page's, figures are left out."""
    files = {Path(unquote(urlsplit(url).path)) for url in urls if url.startswith("file:")}
    first = HTML / "intro.html" in files
    return sum(path.stat().st_size for path in files if first or path.parent.name != "_images")


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", [*sorted(PAGES), "search", "genindex"])
def test_a_page_breaks_no_rule_of_accessibility_and_fits_its_screen(visit, axe, name, screen):
    scheme, width = SCREENS[screen]
    page = visit(address(name), width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert 300_000 < weight(visit.requested) < (800_000 if name == "intro" else 1_500_000)
    page.evaluate(axe)
    found = page.evaluate(ASKED)["violations"]
    assert [(one["id"], node["html"], node["failureSummary"]) for one in found for node in one["nodes"]] == []
    if screen == "light, wide":
        page.emulate_media(media="print")
        page.set_viewport_size({"width": PAPER, "height": 900})
        assert page.evaluate(CUT, PAPER) == []


def test_a_page_is_printed_as_the_book_is_with_its_headings_as_an_outline(tmp_path):
    rule = "printed: ; $(CHROMIUM) $(PRINT) --print-to-pdf=$(PDF) $(PAGE)"
    given = [f"PDF={tmp_path / 'page.pdf'}", f"PAGE={address('notation')}"]
    subprocess.run(["make", "--eval", rule, "printed", *given], cwd=ROOT, check=True, capture_output=True, timeout=200)
    printed = (tmp_path / "page.pdf").read_bytes()
    assert b"/Title (Notation)" in printed
    assert b"/Title (One translator)" in printed


def test_keys_move_a_figure_that_is_wider_than_a_phone_and_open_a_long_table(visit):
    page = visit(address("notebooks/06-cifar"), width=320)
    figure = page.get_by_role("group", name="Fig. 6.1, wider than the screen")
    figure.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    table = page.locator(".kadam-long").first
    table.locator("summary").focus()
    page.keyboard.press("Enter")
    assert table.locator("tbody tr").count() > 15
    assert table.evaluate("one => one.open")
    page.set_viewport_size({"width": 1200, "height": 900})
    page.wait_for_function("document.querySelectorAll('[role=group][aria-label$=screen]').length === 0")


def test_a_search_from_disk_finds_pages_and_quotes_them(visit):
    page = visit(f"{address('search')}?q=silence")
    page.wait_for_function("document.querySelectorAll('ul.search p.context').length > 5")
    found = page.locator("ul.search li", has_text="how large is Adam’s update usually").first
    assert "silence" in found.locator("p.context").inner_text()


@pytest.mark.parametrize("name", ["intro", "safe-betas", "notebooks/01-stability-region"])
def test_the_explorer_is_on_its_pages_and_takes_its_pair_from_the_address(visit, name):
    page = visit(f"{address(name)}?beta1=0.999&beta2=0.9")
    (explorer,) = page.locator(".kadam-explorer").all()
    assert "Did you mean (0.9, 0.999), PyTorch's default?" in explorer.text_content()
    for width in (320, 768, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
