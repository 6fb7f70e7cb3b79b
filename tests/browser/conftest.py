"""A real browser for the tests in this folder: the chromium that is installed, driven by playwright.

Without ``make browser``, which installs the one and wants the other, these tests are skipped.
"""

import shutil

import pytest
from browsing import library, needed


@pytest.fixture(scope="session")
def chromium():
    """The browser, started once."""
    program = needed(shutil.which("chromium"), "chromium")
    driver = needed(library("playwright.sync_api"), "playwright, of the extra browser")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens an address of this machine: ``visit(address, width=1200)``; the rest are settings of playwright's context.

    ``visit.requested``: the addresses of all that was loaded.

    After the test no page may have thrown or logged an error, nor asked another machine for anything.
    """
    contexts, wrong = [], []

    def opened(address, *, width=1200, **settings):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("request", lambda request: opened.requested.append(request.url))
        page.goto(address)
        return page

    opened.requested = []
    yield opened
    for context in contexts:
        context.close()
    assert wrong + [url for url in opened.requested if not url.startswith(("file:", "data:"))] == []
