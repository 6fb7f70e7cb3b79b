"""Typeset formulas while the book is built: as MathML, which browsers set by themselves, without a script and at once.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger
from sphinx.util.math import get_node_equation_number

CONVERTER = LatexToMathML(fancy_error=False)
CLASSES = "math notranslate nohighlight"
ROW = re.compile(r"\\\\\[.*?\]")  # the room between two rows is the style sheet's
FIRST, LAST = re.compile(r"\S*"), re.compile(r"\S*$")  # of a text: what stands before its first space, and behind its last
LARGE_BASE = re.compile(r"(<m(?:sub|sup|subsup)>)(<mo[^>]* minsize=[^>]*>[^<]*</mo>)")  # Chromium enlarges it in a row only


def converted(tex: str, *, block: bool) -> str:
    """A formula as MathML. Raises ``LatexError`` for TeX that is wrong."""
    found = CONVERTER.convert_with_local_state(ROW.sub(r"\\\\", tex), displaystyle=block)
    return LARGE_BASE.sub(r"\1<mrow>\2</mrow>", found)


def typeset(node: nodes.Element, *, block: bool) -> str:
    """A page's formula; where its TeX is wrong, a warning and the TeX."""
    try:
        return converted(node.astext(), block=block)
    except LatexError as error:
        getLogger(__name__).warning("no formula: %s: %s", node.astext(), error, location=node)
        return escape(node.astext())


def keep_whole(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put each formula of a line, with what it touches, where no line breaks: browsers break before a full stop behind it."""
    for formula in list(tree.findall(nodes.math)):
        line, at = formula.parent, formula.parent.index(formula)
        before, after = (text_at(line, place) for place in (at - 1, at + 1))
        head, tail = LAST.findall(before)[0], FIRST.findall(after)[0]
        if head or tail:
            whole = nodes.inline("", "", nodes.Text(head), formula, nodes.Text(tail), classes=["kadam-whole"])
            parts = [nodes.Text(before[: len(before) - len(head)]), whole, nodes.Text(after[len(tail) :])]
            line[at - bool(before) : at + 1 + bool(after)] = parts


def text_at(line: nodes.Element, place: int) -> str:
    """The text at a place among what a line holds; empty where there is none."""
    one = line.children[place] if 0 <= place < len(line.children) else ""
    return one if isinstance(one, nodes.Text) else ""


def visit_inline(self: Any, node: nodes.math) -> None:
    """A formula in a line of text. ``self``: Sphinx's writer of html."""
    self.body.append(f"{self.starttag(node, 'span', '', CLASS=CLASSES)}{typeset(node, block=False)}</span>")
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """A formula by itself, with its number where it has one."""
    self.body.append(self.starttag(node, "div", CLASS=CLASSES))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(f"{typeset(node, block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer with Sphinx, which ``html_math_renderer`` chooses."""
    app.connect("doctree-resolved", keep_whole)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
