"""One kind of table: how cells are written and aligned, and that no cell breaks the page that it stands on."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from kadam.report.table import table


def test_words_stand_to_the_left_and_numbers_to_the_right():
    text = str(table(("name", "loss", "share", "note"), [("a", 0.5, "5%", "x"), ("longer", 12.25, "100%", "")], digits=".2f"))
    assert text.splitlines() == ["name     loss  share  note", "a        0.50     5%  x", "longer  12.25   100%"]


@pytest.mark.parametrize(
    "cell",
    [
        "7",
        "-1.5",
        "+3",
        "1e-05",
        "45%",
        "7 of 8",
        "3/8",
        "1.63 (0.9 to 2.7)",
        "2.5x",
        "5 MB/s",
        "< 3",
        "~10",
        "nan",
        "inf",
        "-inf",
        "-",
    ],
)
def test_what_reads_as_a_number_stands_to_the_right(cell):
    assert str(table(("wide heading", ""), [(cell, "x")])).splitlines()[1] == f"{cell:>12}  x"


@pytest.mark.parametrize(
    "cell", ["Adam", "2-Adam meta", "10-Adam", "1/n", "1/sqrt(n)", "below 1e-15", "infinite", "-x", "1M weights, new"]
)
def test_what_reads_as_a_name_stands_to_the_left(cell):
    assert str(table(("a wide heading", ""), [(cell, "x")])).splitlines()[1] == f"{cell:<14}  x"


def test_one_word_makes_a_column_of_words():
    assert str(table(("a column",), [(1,), ("never",)])).splitlines()[1:] == ["1", "never"]


def test_each_column_has_its_format_and_whole_numbers_and_words_have_none():
    made = table(
        ("", "a", "b", "n", "word"), [("row", 0.123456, 0.123456, 1234567, "0.123456")], digits=("", ".1e", ".1%", ".1f", ".1f")
    )
    assert made.rows == (("row", "1.2e-01", "12.3%", "1234567", "0.123456"),)
    assert table(("x",), [(0.123456,)]).rows == (("0.123",),)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (np.float64(0.5), "0.50"),
        (np.float32(0.5), "0.50"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (np.str_("word"), "word"),
        (np.array(0.5), "0.50"),
        (xr.DataArray(0.5), "0.50"),
        (xr.DataArray(3), "3"),
        (xr.DataArray("word"), "word"),
        (xr.DataArray([np.nan, 0.5]).max(), "0.50"),
        (float("nan"), "nan"),
        (None, "None"),
    ],
)
def test_numbers_of_numpy_and_xarray_are_written_as_pythons(cell, written):
    assert table(("x",), [(cell,)], digits=".2f").rows == ((written,),)


class Cells(HTMLParser):
    """Collects the text of every cell, and how it is aligned."""

    def __init__(self, html):
        super().__init__()
        self.cells = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag in ("th", "td"):
            self.cells.append([tag, dict(attrs).get("style", ""), ""])

    def handle_data(self, data):
        if self.cells:
            self.cells[-1][2] += data.strip()


def cells(made):
    return [text for _, _, text in Cells(made._repr_html_()).cells]


def test_a_page_shows_every_cell_as_it_is_whatever_it_holds():
    made = table(("a < b", "c & d"), [("<script>", "x &amp; y"), ('"quoted"', "w" * 300)])
    assert cells(made) == ["a < b", "c & d", "<script>", "x &amp; y", '"quoted"', "w" * 300]
    assert not re.search("<script>|x &amp; y", made._repr_html_())


def test_a_page_aligns_as_a_terminal_does():
    html = table(("name", "loss"), [("a", 0.5)])._repr_html_()
    assert [style for _, style, _ in Cells(html).cells] == ["text-align: left", "text-align: right"] * 2


def test_no_row_is_left_out_on_a_page():
    made = table(("n", "square"), [(i, i * i) for i in range(200)])
    assert len(cells(made)) == 2 * 201


def test_bars_do_not_break_a_markdown_table():
    lines = table(("|C|", "b"), [("x | y", "z")]).markdown().splitlines()
    assert lines == [r"| \|C\| | b |", "| --- | --- |", r"| x \| y | z |"]


@pytest.mark.parametrize("row", [("a",), ("a", 1, 2), ()])
def test_a_row_of_another_length_is_named(row):
    with pytest.raises(
        ValueError, match=re.escape(f"a row must have 2 cells, as the head has, and digits as many; got {row!r}")
    ):
        table(("x", "y"), [("good", 1), row])


def test_formats_of_another_number_are_named():
    with pytest.raises(ValueError, match=r"and digits as many; got \('a', 1\), \('.1f',\)"):
        table(("x", "y"), [("a", 1)], digits=(".1f",))


def test_a_table_without_rows_is_its_head():
    made = table(("x", "y"), [])
    assert str(made) == "x  y"
    assert cells(made) == ["x", "y"]
