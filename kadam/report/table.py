"""One kind of table: aligned text in a terminal and for comparison, HTML on a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers, already written out, under their headings."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """Columns as wide as what stands in them: words to the left, numbers to the right."""
        columns = list(zip(self.head, *self.rows, strict=True))
        lines = zip(*(_aligned(column) for column in columns), strict=True)
        return "\n".join("  ".join(line).rstrip() for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        frame = pd.DataFrame(list(self.rows), columns=list(self.head))
        return str(frame.to_html(index=False, border=0, classes="kadam-table", justify="left"))

    def markdown(self) -> str:
        """The same as a Markdown table."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, digits: str | Sequence[str] = ".3g") -> Table:
    """A table of rows of cells: words as they are, numbers that are not whole in the format ``digits``.

    ``digits``: a format, such as ".2f", for all columns, or one a column. ``ValueError`` where a row has not as many cells as
    the head.
    """
    formats = [digits] * len(head) if isinstance(digits, str) else list(digits)
    written = []
    for row in rows:
        if not len(row) == len(head) == len(formats):
            raise ValueError(f"a row must have {len(head)} cells, as the head has, and digits as many; got {row!r}, {digits!r}")
        written.append(tuple(_written(cell, form) for cell, form in zip(row, formats, strict=True)))
    return Table(tuple(head), tuple(written))


def _written(cell: Any, form: str) -> str:
    """A word, or a number in its format; numbers of numpy and of xarray as well."""
    value = cell.item() if hasattr(cell, "item") else cell
    return format(value, form) if isinstance(value, float) else str(value)


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    words = not all(_is_number(cell) for cell in column[1:])
    return [cell.ljust(width) if words else cell.rjust(width) for cell in column]


def _is_number(cell: str) -> bool:
    """Whether a cell reads as a number, with a unit or a sign before it or not: begins or ends with a digit."""
    return cell[:1].isdigit() or cell.lstrip("+->~ ")[:1].isdigit() or cell in ("nan", "inf", "-", "")
