"""What keyboards, phones and readers of screens need: long tables folded, wide outputs that keys reach, roles that are known.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

LONG = 15  # rows of a table, which fill a screen
MANY = 3  # records, the lines on which stand before the first sentence of a page
TABLE = '<table class="dataframe kadam-table">'
HEADING = re.compile(r"<th[^>]*>(.*?)</th>")
NAME = re.compile(r'(?<=<td style="text-align: left)(?=">[A-Z]+-\w+</td>)')  # of a claim

# The theme does this for code and for tables. Whatever fits its screen is no stop on a keyboard's way.
REACH = """
function reach() {
  for (const one of document.querySelectorAll(".cell_output, section > figure, dl.py table, div.math > math, span.math")) {
    if (one.scrollWidth <= one.clientWidth) {
      for (const name of ["tabindex", "role", "aria-label"]) one.removeAttribute(name);
      continue;
    }
    one.setAttribute("tabindex", "0");
    if (one.matches("div")) {
      const name = one.querySelector(".caption-number")?.textContent.trim() ?? "Output";
      one.setAttribute("role", "group");
      one.setAttribute("aria-label", `${name}, wider than the screen`);
    }
  }
}
addEventListener("load", reach);
addEventListener("resize", reach);
"""


def fold(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put long tables of results, and where many records come from, into something that a click or a key opens."""
    for table in list(tree.findall(nodes.raw)):
        html = NAME.sub("; white-space: nowrap", table.astext())
        rows = html.count("<tr>") - 1
        if html.startswith(TABLE) and rows > LONG:
            summary = f"{rows} rows: {', '.join(HEADING.findall(html))}"
            folded = f'<details class="kadam-long">\n<summary>{summary}</summary>\n{html}\n</details>'
            table.replace_self(nodes.raw("", folded, format="html"))
        elif html != table.astext():
            table.replace_self(nodes.raw("", html, format="html"))
    for badge in tree.findall(lambda one: isinstance(one, nodes.container) and "kadam-badge" in one["classes"]):
        records = sum(one["reftarget"].endswith(".nc") for one in badge.findall(addnodes.download_reference))
        if records > MANY:
            summary = f"{records} records: profile, device, date, commit, seconds, data, result, command"
            badge.insert(0, nodes.raw("", f"<details><summary>{summary}</summary>", format="html"))
            badge.append(nodes.raw("", "</details>", format="html"))


def without_deprecated_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A list of works is read as text: the role that docutils gives its entries was taken out of ARIA."""
    for role in (' role="doc-biblioentry"', ' role="list"'):
        context["body"] = context.get("body", "").replace(role, "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps with Sphinx."""
    app.add_js_file(None, body=REACH)
    app.connect("doctree-resolved", fold)
    app.connect("html-page-context", without_deprecated_roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
