"""Make the built book work from disk, with no network and a clean browser console.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# The events at which sphinx_thebe writes its scripts into pages.
THEBE_EVENTS = ("env-before-read-docs", "doctree-resolved")

UNSAID = re.compile(r'<(script|style|svg)\b.*?</\1>|<a class="headerlink".*?</a>', flags=re.S)
END = re.compile(r"</(?:p|div|li|t[dh]|h\d|d[td]|pre|summary|figure)>|<br")  # of what does not stand in a line with the next
MARKUP = re.compile(r"<[^>]+>")

# Sphinx's search fetches the pages that it has found, for excerpts. From disk no browser lets it: there a file has their words.
EXCERPTS = """
if (location.protocol === "file:") {
  let words;
  const loaded = () => words ??= new Promise(done => {
    const script = document.createElement("script");
    script.src = "_static/words.js";
    script.onload = () => done(WORDS);
    document.head.append(script);
  });
  window.fetch = async url => {
    const all = await loaded(), path = decodeURI(new URL(url, location).pathname);
    const page = Object.keys(all).find(name => path.endsWith(`/${name}.html`));
    return {text: async () => `<p role="main">${all[page]}</p>`};
  };
}
"""


def configure(app: Sphinx, config: Config) -> None:
    """Keep Thebe out of the pages.

    Jupyter Book loads Thebe even where it is off. Each page then declares ``THEBE_JS_URL`` twice, which is an error.
    """
    for event in THEBE_EVENTS:
        for listener in list(app.events.listeners[event]):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def words(html: str) -> str:
    """What a page says, without its markup; as HTML, since the search reads it as such."""
    article = html.partition('<article class="bd-article"')[2].partition(">")[2].rpartition("</article>")[0]
    said = MARKUP.sub("", END.sub(r" \g<0>", UNSAID.sub("", article)))
    return escape(" ".join(unescape(said).split()), quote=False)


def write_words(app: Sphinx, error: Exception | None) -> None:
    """Write what all pages say beside the search page."""
    if error is None and app.builder.name == "html":
        pages = {name: Path(app.builder.get_outfilename(name)) for name in sorted(app.env.found_docs)}
        said = {name: words(path.read_text(encoding="utf-8")) for name, path in pages.items() if path.exists()}
        (Path(app.outdir) / "_static" / "words.js").write_text(f"const WORDS = {json.dumps(said)};\n", encoding="utf-8")


def give_excerpts(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give the search page its script."""
    if page == "search":
        app.add_js_file(None, body=EXCERPTS)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("html-page-context", give_excerpts)
    app.connect("build-finished", write_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
