"""Every test is collected: no file and no function that looks like a test is passed over, and none is switched off."""

import ast
import json
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))
SOURCES = {path: path.read_text() for path in FILES}
HELPERS = [path for path in FILES if not path.name.startswith("test_") and path.name != "conftest.py"]


def functions(path):
    return [node for node in ast.parse(SOURCES[path]).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def called(function):
    """Tests, hooks, fixtures that every test takes, and what a decorator of the tests' own hands on."""
    decorators = list(map(ast.unparse, function.decorator_list))
    taken = any("fixture" in text and "autouse=True" in text for text in decorators)
    handed_on = any(not text.startswith(("pytest.", "functools.", "contextlib.")) for text in decorators)
    return function.name.startswith(("test_", "pytest_")) or taken or handed_on


def used(name, path):
    """Whether a name stands in this file, or in another where this one can be seen from, besides where it is defined."""
    elsewhere = FILES if path in HELPERS or path.name == "conftest.py" else [path]
    return sum(len(re.findall(rf"\b{name}\b", SOURCES[one])) for one in elsewhere) > 1


def passed_over(path):
    return [f.name for f in functions(path) if not called(f) and not used(f.name, path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_function_is_a_test_or_used_by_one(path):
    """A test under another name would be a function that nobody calls."""
    assert passed_over(path) == []
    assert [
        node.name for node in ast.parse(SOURCES[path]).body if isinstance(node, ast.ClassDef) and "test" in node.name.lower()
    ] == []


def test_a_test_under_another_name_is_found(monkeypatch):
    path = TESTS / "test_decay.py"
    name = functions(path)[-1].name
    monkeypatch.setitem(SOURCES, path, SOURCES[path].replace(f"def {name}(", f"def check_{name}("))
    assert passed_over(path) == [f"check_{name}"]


def test_a_file_holds_tests_or_is_used_by_one_that_does():
    together = "\n".join(text for path, text in SOURCES.items())
    assert [path.name for path in HELPERS if not re.search(rf"(?:import|from) {path.stem}\b|{path.name}", together)] == []
    assert [path.name for path in set(FILES) - set(HELPERS) if path.name != "conftest.py" and not functions(path)] == []
    assert len(FILES) - len(HELPERS) > 60


def test_no_test_is_gone():
    """New ones need no entry; one that goes, or a file, does: ``python tests/recorded.py``."""
    held = {path.relative_to(TESTS).as_posix(): text.count("\ndef test_") for path, text in SOURCES.items()}
    recorded = json.loads((TESTS / "tests.json").read_text())
    assert {name: count for name, count in recorded.items() if held.get(name, 0) < count} == {}
    assert sum(recorded.values()) > 1000


@pytest.mark.parametrize("word", ["mark.skip(", "mark.skip\n", "mark.xfail", "collect_ignore", "allow_module_level"])
def test_no_test_is_switched_off(word):
    assert [path.name for path, text in SOURCES.items() if word in text and path.name != Path(__file__).name] == []


def test_few_tests_are_left_to_the_exhaustive_run_and_of_what_has_cases_some_are_quick():
    together = "".join(SOURCES.values())
    assert 5 < together.count("\n@exhaustive\n") < 35
    assert re.findall(r"quick=(?:\(\)|\[\])", together.replace(SOURCES[Path(__file__)], "")) == []


def test_this_run_collected_what_its_files_hold(request):
    """All functions of every file that this run was asked for, unless it was asked for some of them by name."""
    option = request.config.option
    if option.keyword or option.markexpr or getattr(option, "lf", False) or any("::" in arg for arg in request.config.args):
        return
    collected = {}
    for item in request.session.items:
        collected.setdefault(item.path, set()).add(item.originalname)
    held = {path: {f.name for f in functions(path) if f.name.startswith("test_")} for path in collected if path in SOURCES}
    assert {path: names for path, names in collected.items() if path in held} == held
    if request.config.args in (["tests"], [str(TESTS)]):
        assert set(held) == {path for path in FILES if path.name != "conftest.py"} - set(HELPERS)
