"""The import law, and that functions and modules stay small: checked on the syntax trees of the package."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

PACKAGE = Path(__file__).parents[1] / "kadam"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import, besides the standard library and itself.
LAW = {
    "decay": set(),
    "theory": {"numpy", "scipy", "kadam.decay"},
    "optim": {"torch", "triton", "numba", "numpy", "kadam.decay"},
    "lab": {"torch", "numpy", "xarray", "joblib", "filelock", "tqdm", "pooch", "platformdirs", "sklearn", "threadpoolctl"}
    | {"kadam.optim", "kadam.decay"},
    "experiments": {"torch", "numpy", "xarray", "tqdm", "kadam.lab", "kadam.theory", "kadam.optim", "kadam.decay"}
    | {"kadam.report.ledger", "kadam.chapters.contest.judges"},
    "report": {"matplotlib", "numpy", "xarray", "kadam.theory", "kadam.decay"},
}
DRIVERS = {"__init__", "__main__", "cli", "book"}
STANDARD = sys.stdlib_module_names


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def breaches(module: Path, source: str) -> list[str]:
    part = part_of(module)
    allowed = LAW[part] | {f"kadam.{part}"}
    foreign = [name for name in imported(ast.parse(source)) if name.split(".")[0] not in STANDARD]
    return [name for name in foreign if not any(name == a or name.startswith(f"{a}.") for a in allowed)]


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) not in DRIVERS], ids=lambda m: m.stem)
def test_each_part_imports_only_what_the_law_allows(module):
    assert breaches(module, module.read_text()) == []


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("theory", "import torch"),
        ("optim", "from kadam.theory import stability"),
        ("lab", "from kadam.report import style"),
        ("lab", "from kadam import book"),
        ("report", "from kadam.lab import records"),
        ("decay", "import numpy"),
    ],
)
def test_the_law_catches_a_breach(part, statement):
    assert breaches(PACKAGE / part / "module.py", statement)


def test_no_experiment_imports_another():
    modules = [m for m in (PACKAGE / "experiments").glob("*.py") if m.stem != "__init__"]
    assert len(modules) >= 2
    for module in modules:
        assert not [name for name in imported(ast.parse(module.read_text())) if name.startswith("kadam.experiments")]


def test_nothing_imports_the_drivers():
    for module in MODULES:
        if part_of(module) not in DRIVERS:
            assert not imported(ast.parse(module.read_text())) & {"kadam.cli", "kadam.book"}


def test_functions_and_modules_stay_small():
    lengths = [length for module in MODULES for length in function_lengths(ast.parse(module.read_text()))]
    assert len(lengths) > 100
    assert median(lengths) <= 10
    assert max(lengths) <= 50
    assert max(len(module.read_text().splitlines()) for module in MODULES) <= 450


def function_lengths(tree: ast.AST) -> list[int]:
    """Lines of every function without its docstring."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            found.append(node.end_lineno - body[0].lineno + 1)
    return found


TORCH_FREE = [".".join(m.relative_to(PACKAGE).with_suffix("").parts) for m in MODULES if part_of(m) in ("theory", "report")]


def test_the_theory_runs_without_torch():
    modules = ", ".join(f"kadam.{name}" for name in TORCH_FREE)
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


UNSAFE = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}


def dangers(tree: ast.AST) -> list[str]:
    """Calls that could run what a file brings, and addresses without TLS."""
    found = [name for name in imported(tree) if name.split(".")[0] in UNSAFE]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and str(node.value).startswith("http://"):
            found.append(node.value)
        if isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in {"torch.load", "joblib.load", "np.load", "numpy.load", "torch.jit.load"}:
                safe = {"torch.load": {"weights_only": "True"}, "np.load": {"allow_pickle": "False"}}.get(name)
                found += [name] * (not safe or not safe.items() <= options.items())
            found += [name] * (name in {"eval", "exec", "__import__"})
    return [name for name in found if name != "pickle.UnpicklingError"]  # what torch.load raises


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.stem)
def test_no_file_that_is_read_can_run_code(module):
    assert dangers(ast.parse(module.read_text())) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "joblib.load(path)",
        "url = 'http://example.org'",
        "eval(text)",
    ],
)
def test_what_could_run_code_is_found(statement):
    assert dangers(ast.parse(statement))
