"""Reference pages from docstrings as the code has them, and links to them wherever a page names a function as code."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``|:\w+:`.*?`)")
NAMED = re.compile(r"(?:kadam\.)?(?:theory\.)?(?P<name>[A-Za-z_]+\.\w+)(?:\(.*\))?")


def with_bars(line: str) -> str:
    """The line with its bars as they are, but for code, where they are so anyhow: |u| is a size here, no substitution."""
    parts = LITERAL.split(line)
    return "".join(part if LITERAL.fullmatch(part) else part.replace("|", r"\|") for part in parts)


def prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A module's own words stay in its source: the page has others."""
    lines[:] = [] if what == "module" else map(with_bars, lines)


def link(app: Sphinx, tree: nodes.document, page: str) -> None:
    """What stands as code and names a documented function, such as ``stability.coefficient(...)``, leads to it."""
    known = app.env.domaindata["py"]["objects"]
    for code in list(tree.findall(nodes.literal)):
        found = NAMED.fullmatch(code.astext())
        entry = found and known.get(f"kadam.theory.{found['name']}")
        if entry and entry.docname != page and not isinstance(code.parent, nodes.reference):
            address = app.builder.get_relative_uri(page, entry.docname)
            reference = nodes.reference("", "", refuri=f"{address}#{entry.node_id}", internal=True)
            code.replace_self(reference)
            reference += code


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.viewcode")
    app.connect("autodoc-process-docstring", prepare)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
