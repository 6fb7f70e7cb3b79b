"""Sentences turn with their record: each that compares or counts reads differently on a record whose effect is reversed."""

import ast
import itertools
import re
from pathlib import Path

import jupytext
import pytest
import xarray as xr
from recorded import committed_record
from tiers import cases

from kadam import chapters

# The page of the reviewers' questions draws no record but the ledger: test_review.py turns that.
SOURCES = [path for path in sorted((Path(__file__).parents[2] / "notebooks").glob("*.md")) if path.stem != "10-review"]
# Without those that take the longest.
SHORT = [path for path in SOURCES if path.stem not in ("01-stability-region", "07-language", "13-watching")]


# What compares in a sentence, besides numbers.
COMPARES = re.compile(
    r"\b(\w+er than|closest|better|worse|best|worst|(?<!or )(more|less)|ahead|behind|exceeds?|follows?|agrees?)\b"
)
MOST_WORDS, MOST_NUMBERS = 100, 20
BROKEN = re.compile(r"\bnan\b|\binf\b|<xarray|array\(|np\.")
NUMBER = re.compile(r"[-+]?\d[\d.,e+-]*")
COUNT = re.compile(r"(\d+|none) of \d+")  # says by itself how much of a comparison holds


@pytest.fixture(autouse=True)
def known(smoke_records, monkeypatch):
    records = {name: smoke_records[name] for name in chapters.NAMES}
    monkeypatch.setattr(chapters, "obtain", lambda name, _: records[name])


def calls(path):
    """Each call of a sentence function in a notebook at profile smoke: its name, the function and what it is given."""
    code = (cell for cell in jupytext.read(path).cells if cell.cell_type == "code")
    cells = [cell for cell in code if "idea" not in cell.metadata.get("tags", [])]
    names, found = {"display": lambda *_: None}, []
    for cell in cells:
        for line in ast.parse(cell.source).body:
            if isinstance(line, ast.Import | ast.ImportFrom) or (isinstance(line, ast.Assign) and not is_figure(line)):
                exec(compile(ast.Module([line], []), path.name, "exec"), names)
                names["profile"] = "smoke"
            for call in (node for node in ast.walk(line) if isinstance(node, ast.Call)):
                of = evaluated(call.func, names)
                if getattr(of, "says", False):
                    given = [evaluated(part, names) for part in call.args]
                    found.append((ast.unparse(call.func), of, given, {k.arg: evaluated(k.value, names) for k in call.keywords}))
    return found


def is_figure(line):
    return ast.unparse(line.targets[0]) == "_"


def evaluated(node, names):
    try:
        return eval(compile(ast.Expression(node), "cell", "eval"), names)
    except NameError:
        return None


def sentences(text):
    """Without numbers, which any change of a record moves; one that counts is kept as it is."""
    each = re.split(r"(?<=[.:;]) |\n+", text)
    return {one if COUNT.search(one) else NUMBER.sub("#", one) for one in each}


def reversals(record):
    """The record with its values in reverse order along each dimension, and with any two alike variables exchanged."""
    for dim in record.dims:
        yield record.assign({name: turned(of, dim) for name, of in record.data_vars.items() if dim in of.dims})
    numbers = {name: of for name, of in record.data_vars.items() if of.dtype.kind == "f"}
    for first, second in itertools.combinations(numbers, 2):
        if record[first].dims == record[second].dims:
            yield record.assign({first: record[second], second: record[first]})
    for name, of in numbers.items():
        yield record.assign({name: of.max() + of.min() - of})


def turned(of, dim):
    return of.copy(data=of.isel({dim: slice(None, None, -1)}).values)


@pytest.mark.parametrize("path", cases(SOURCES, quick=SHORT), ids=lambda path: path.stem)
def test_every_sentence_is_whole_on_a_record_of_any_size(path, monkeypatch):
    """Also where too little was run for anything to be decided."""
    monkeypatch.setattr(chapters, "shown", lambda name, *_: chapters.obtain(name, "smoke"))
    for name, tell, given, options in calls(path):
        assert not BROKEN.search(told := tell(*given, **options)), f"{name}: {told}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sentences_are_few_enough_to_be_read_beside_a_figure(path, monkeypatch):
    monkeypatch.setattr(chapters, "shown", lambda name, *_: committed_record(name))
    for name, tell, given, options in calls(path):
        told = tell(*given, **options)
        assert len(told.split()) <= MOST_WORDS, f"{name}: {told}"
        assert len(NUMBER.findall(told)) <= MOST_NUMBERS, f"{name}: {told}"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of records that no run would make
@pytest.mark.parametrize("path", cases(SOURCES, quick=SHORT), ids=lambda path: path.stem)
def test_every_sentence_turns_when_its_record_is_reversed(path, monkeypatch):
    monkeypatch.setattr(chapters, "shown", lambda name, *_: committed_record(name))
    found = calls(path)
    assert found
    for name, tell, given, options in found:
        whole = tell(*given, **options)
        assert not BROKEN.search(whole), f"{name}: {whole}"
        stays = {one for one in sentences(whole) if COMPARES.search(one)}
        moved = False
        for i, record in ((i, one) for i, one in enumerate(given) if isinstance(one, xr.Dataset)):
            for other in reversals(record):
                told = tell(*given[:i], other, *given[i + 1 :], **options)
                stays, moved = stays & sentences(told), moved or NUMBER.findall(told) != NUMBER.findall(whole)
                if moved and not stays:
                    break
        assert moved, f"{name} has no number of its record"
        assert not stays, f"{name} says in any case: {stays}"
