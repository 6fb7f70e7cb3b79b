"""What a published book has besides its pages: addresses, a map of the site, pictures of links, a page for what is not there.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``. Nobody can know beforehand where a copy will be
published, so the address is ``$KADAM_BASEURL``, else ``html.baseurl``. Without either no page names one.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

BASE = "KADAM_BASEURL"
LEFT_OUT = ["404.html", "genindex.html", "search.html"]  # of the map: they hold nothing to find
OF_AN_ADDRESS = re.compile(r'<meta property="og:(?:url|image)[^>]*>\n?')  # a relative one is no address


def address(config: Config) -> str:
    """Where the book will be published, with a slash at its end; empty where nobody said. ``ValueError`` for what is none."""
    base = os.environ.get(BASE) or config["html_baseurl"] or ""
    if base and not (urlsplit(base).scheme in ("http", "https") and urlsplit(base).netloc):
        raise ValueError(f"the book's address must begin with https:// and a host, got {base!r} ({BASE} or html.baseurl)")
    return base and f"{base.rstrip('/')}/"


def configure(app: Sphinx, config: Config) -> None:
    """Tell the extensions the address; a map of the site there is only with one."""
    base = address(config)
    config["html_baseurl"] = config["ogp_site_url"] = base
    config["ogp_site_name"] = config["html_title"]
    config["notfound_urls_prefix"] = urlsplit(base).path or "/"
    config["html_theme_options"]["logo"] = {"text": config["html_title"]}  # beside the mark
    if base:
        app.setup_extension("sphinx_sitemap")
        config["sitemap_url_scheme"], config["sitemap_excludes"] = "{link}", LEFT_OUT


def make_plain(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Leave of a page whose html is written what it is described by: no badge, and letters in place of TeX's signs."""
    if doctree is not None:
        for badge in [one for one in doctree.findall(nodes.container) if "kadam-badge" in one["classes"]]:
            badge.parent.remove(badge)
        for formula in list(doctree.findall(nodes.math)):
            formula.parent.replace(formula, nodes.Text(re.sub(r"[\\{}]", "", formula.astext())))


def without_addresses(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Without a base there is a page's description, but no address of it and of its picture."""
    if not app.config["ogp_site_url"] and "metatags" in context:  # an index has none
        context["metatags"] = OF_AN_ADDRESS.sub("", context["metatags"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps with Sphinx."""
    app.setup_extension("sphinxext.opengraph")
    app.setup_extension("notfound.extension")
    app.connect("config-inited", configure, priority=400)
    app.connect("html-page-context", make_plain, priority=400)
    app.connect("html-page-context", without_addresses, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
