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
JOINER = "\u2060"  # without it browsers break a line between a formula and the full stop behind it
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


def visit_inline(self: Any, node: nodes.math) -> None:
    """A formula in a line of text, with what it touches. ``self``: Sphinx's writer of html."""
    before, after = touched(node)
    formula = f"{self.starttag(node, 'span', '', CLASS=CLASSES)}{typeset(node, block=False)}</span>"
    self.body.append(f"{JOINER * before}{formula}{JOINER * after}")
    raise nodes.SkipNode


def touched(node: nodes.math) -> tuple[bool, bool]:
    """Whether text stands right before a formula, without a space, and right after it."""
    line = node.parent.children
    at = line.index(node)
    before, after = line[at - 1] if at else "", line[at + 1] if at + 1 < len(line) else ""
    return (
        isinstance(before, nodes.Text) and not before[-1:].isspace(),
        isinstance(after, nodes.Text) and not after[:1].isspace(),
    )


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
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
