"""One kind of table: aligned text in a terminal and for comparison, HTML on a page."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from kadam.report.ledger import written

# What reads as a number: a digit, NaN, infinity, nothing or a dash; a sign, "<" or "~" may stand before it, a unit or a range
# behind it. "2-Adam", "1/n" and "1M weights, new" are names.
NUMBER = re.compile(r"[-+<>~ ]*(\d(?!\S*?[-/][A-Za-z]|.*, [A-Za-z])|(nan|inf)$)|-?$")


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers, already written out, under their headings."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """Columns as wide as what stands in them."""
        marks = ["<" if side == "left" else ">" for side in self._sides()]
        forms = [f"{mark}{max(map(len, column))}" for mark, *column in zip(marks, self.head, *self.rows, strict=True)]
        return "\n".join("  ".join(map(format, line, forms)).rstrip() for line in (self.head, *self.rows))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sides = self._sides()

        def line(tag: str, cells: Sequence[str]) -> str:
            pairs = zip(cells, sides, strict=True)
            return "".join(f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in pairs)

        body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in self.rows)
        head = f"<thead><tr>{line('th', self.head)}</tr></thead>"
        return f'<table class="dataframe kadam-table">\n{head}\n<tbody>\n{body}\n</tbody>\n</table>'

    def _sides(self) -> list[str]:
        """Where each column stands: words to the left, numbers to the right."""
        return ["right" if all(map(NUMBER.match, cells)) else "left" for _, *cells in zip(self.head, *self.rows, strict=True)]

    def markdown(self) -> str:
        """The same as a Markdown table."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, digits: str | Sequence[str] = ".3g") -> Table:
    """A table of rows of cells: words as they are, numbers that are not whole in the format ``digits``, or one a column."""
    formats = [digits] * len(head) if isinstance(digits, str) else list(digits)
    written = []
    for row in rows:
        if not len(row) == len(head) == len(formats):
            raise ValueError(f"a row must have {len(head)} cells, as the head has, and digits as many; got {row!r}, {digits!r}")
        written.append(tuple(map(_written, row, formats)))
    return Table(tuple(head), tuple(written))


def _written(cell: Any, form: str) -> str:
    """A word, or a number in its format; numbers of numpy and of xarray as well."""
    value = cell.item() if hasattr(cell, "item") else cell
    return written(value, form) if isinstance(value, float) else str(value)
