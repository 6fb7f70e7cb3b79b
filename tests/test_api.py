"""The page of the library names all that is public, and docstrings come out on it as they were meant."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import docstrings
import pytest
from docutils import nodes

import kadam
from kadam import theory

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "api.md").read_text()
NAMED = set(re.findall(r":: (kadam[\w.]*)", PAGE))


def test_every_public_name_and_every_module_of_the_theory_is_on_the_page():
    public = {f"{object.__module__}.{object.__name__}" for object in (getattr(kadam, name) for name in kadam.__all__)}
    found = {f"{object.__module__}.{object.__name__}" for object in map(resolved, NAMED) if hasattr(object, "__name__")}
    assert public <= found
    modules = {f"kadam.theory.{module.name}" for module in pkgutil.iter_modules(theory.__path__)} - {"kadam.theory.arguments"}
    assert modules == {name for name in NAMED if name.startswith("kadam.theory.")}


def resolved(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last) if module != "kadam.theory" else SimpleNamespace()


@pytest.mark.parametrize(
    ("line", "set_as"),
    [
        ("The largest |u_n| there is.", r"The largest \|u_n\| there is."),
        ("``|u|`` is code, and |v| is not.", r"``|u|`` is code, and \|v\| is not."),
        ("See :func:`a|b`.", "See :func:`a|b`."),
        ("    indented |W|^2", r"    indented \|W\|^2"),
    ],
)
def test_a_size_is_no_substitution(line, set_as):
    assert docstrings.with_bars(line) == set_as


@pytest.mark.parametrize(
    ("code", "leads"),
    [
        ("stability.coefficient", True),
        ("stability.max_update_bound(n, beta=..., gamma=...)", True),
        ("kadam.theory.stability.coefficient", True),
        ("stability.nothing", False),
        ("coefficient", False),
    ],
)
def test_code_that_names_a_function_leads_to_it(code, leads):
    entry = SimpleNamespace(docname="api", node_id="here")
    objects = {f"kadam.theory.stability.{name}": entry for name in ("coefficient", "max_update_bound")}
    app = SimpleNamespace(
        env=SimpleNamespace(domaindata={"py": {"objects": objects}}),
        builder=SimpleNamespace(get_relative_uri=lambda page, to: f"../{to}.html"),
    )
    paragraph = nodes.paragraph("", "", nodes.literal(code, code))
    docstrings.link(app, paragraph, "notebooks/01")
    (inside,) = paragraph.children
    assert isinstance(inside, nodes.reference) == leads
    assert inside.astext() == code
    assert not leads or inside["refuri"] == "../api.html#here"
