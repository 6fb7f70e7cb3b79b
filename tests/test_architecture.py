"""The import law, and that functions and modules stay small: checked on the syntax trees of the package."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from kadam import chapters

PACKAGE = Path(__file__).parents[1] / "kadam"
MODULES = sorted(PACKAGE.rglob("*.py"))
STANDARD = sys.stdlib_module_names

# The libraries of the laboratory, and the core that it builds on.
LAB = {
    "torch",
    "numpy",
    "scipy",
    "xarray",
    "h5py",
    "joblib",
    "filelock",
    "tqdm",
    "pooch",
    "platformdirs",
    "threadpoolctl",
    "PIL",
}
CORE = {"kadam.decay", "kadam.optim", "kadam.flat", "kadam.__version__"}
JUDGING = {
    "numpy",
    "xarray",
    "kadam.decay",
    "kadam.theory",
    "kadam.report.ledger",
    "kadam.report.once",
    "kadam.report.statistics",
}

# What each part may import, besides the standard library and itself.
LAW = {
    "decay": set(),
    "theory": {"numpy", "scipy", "kadam.decay"},
    "compiled": {"numba"},
    "optim": {"torch", "triton", "numba", "numpy", "kadam.decay", "kadam.compiled"},
    "advice": {"kadam.theory", "kadam.decay"},
    # matplotlib for a picture and numba for speed, both guarded
    "monitor": {"torch", "numpy", "matplotlib", "numba", "kadam.theory", "kadam.decay", "kadam.compiled"},
    "flat": {"torch", "numpy"},
    "lab": LAB | CORE,
    "report": {"matplotlib", "numpy", "scipy", "xarray", "pandas", "rocrate", "kadam.theory", "kadam.decay", "kadam.advice"},
}
# In a chapter, by the file's name; besides these its own chapter: from a config what its configs share, which its law binds,
# from claims what is free of torch.
CHAPTER_LAW = {
    "config": {"kadam.decay", "kadam.lab.records.profiles"},
    "claims": JUDGING,
    "figures": JUDGING | {"matplotlib", "kadam.report"},
    "run": LAB | CORE | {"kadam.lab", "kadam.theory", "kadam.monitor"},
}
SHARED_LAW = CHAPTER_LAW["run"] | CHAPTER_LAW["figures"]  # what the experiments of a chapter share: its users' laws bind it
ROWS = ("rows", "statements", "questions")  # of the ledger, beside the chapters
DRIVERS = {
    "kadam",
    "kadam.__main__",
    "kadam.cli",
    "kadam.book",
    "kadam.notebooks",
    "kadam.kernel",
    "kadam.pictures",
    "kadam.rendering",
    "kadam.gpu",
    "kadam.chapters",
}


def name_of(module: Path) -> str:
    return ".".join(("kadam", *module.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def allowed(module: str) -> set[str]:
    """What a module may import besides the standard library."""
    parts = module.split(".")
    if parts[1:2] == ["chapters"] and parts[2:] and parts[2] in ROWS:
        return {"kadam.decay", "kadam.report", *(f"kadam.chapters.{name}" for name in ROWS)}
    if parts[1] != "chapters":
        return LAW[parts[1]] | {f"kadam.{parts[1]}"}
    chapter = ".".join(parts[:3])
    own = ".".join(parts[:-1])
    if parts[-1] in ("config", "settings"):
        return CHAPTER_LAW["config"] | {f"{chapter}.settings"}
    files = {"claims": {f"{own}.config"}, "figures": {f"{own}.config", f"{own}.claims"}, "run": {f"{own}.config"}}
    if parts[-1] in files:
        shared = {
            name
            for m in MODULES
            if m.stem != "__init__" and (name := name_of(m)).startswith(f"{chapter}.") and name.count(".") == 3
        }
        return CHAPTER_LAW[parts[-1]] | files[parts[-1]] | {name for name in shared if name.split(".")[-1] not in CHAPTER_LAW}
    return SHARED_LAW | {chapter}


def breaches(module: str, source: str) -> list[str]:
    foreign = [name for name in imported(ast.parse(source)) if name.split(".")[0] not in STANDARD]
    return [name for name in foreign if not any(name == a or name.startswith(f"{a}.") for a in allowed(module))]


def lawful(module: Path) -> bool:
    return name_of(module) not in DRIVERS


@pytest.mark.parametrize("module", [m for m in MODULES if lawful(m)], ids=name_of)
def test_each_part_imports_only_what_the_law_allows(module):
    assert breaches(name_of(module), module.read_text()) == []


def test_in_the_laboratory_what_trains_knows_of_data_and_not_the_other_way_round():
    below = [m for m in MODULES if name_of(m).startswith(("kadam.lab.data.", "kadam.lab.records."))]
    assert len(below) > 10
    known = {name_of(m): imported(ast.parse(m.read_text())) for m in below}
    assert [name for name, of in known.items() if any(one.startswith("kadam.lab.train") for one in of)] == []


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("theory.module", "import torch"),
        ("optim.module", "from kadam.theory import stability"),
        ("lab.module", "from kadam.report import style"),
        ("lab.module", "from kadam.theory import stability"),
        ("lab.module", "from kadam import chapters"),
        ("report.module", "from kadam.lab.records import record"),
        ("decay", "import numpy"),
        ("advice", "import torch"),
        ("monitor.module", "from kadam.optim import KAdam"),
        ("chapters.rows", "from kadam.chapters.growth import claims"),
        ("chapters.review.asked", "from kadam.chapters.growth import claims"),
        ("chapters.review.figures", "import torch"),
        ("chapters.growth.config", "import numpy"),
        ("chapters.contest.settings", "import numpy"),
        ("chapters.contest.language.config", "from kadam.chapters.contest import trials"),
        ("chapters.growth.claims", "from kadam.lab.train import probes"),
        ("chapters.growth.claims", "from kadam.chapters.growth.run import slope"),
        ("chapters.growth.figures", "import torch"),
        ("chapters.growth.run", "from kadam.chapters.growth import figures"),
        ("chapters.growth.run", "from kadam.report import ledger"),
        ("chapters.box.norms.run", "from kadam.chapters.box.box.config import SETTINGS"),
        ("chapters.box.norms.figures", "from kadam.chapters.growth import claims"),
    ],
)
def test_the_law_catches_a_breach(module, statement):
    assert breaches(f"kadam.{module}", statement)


def test_an_experiment_has_four_files_and_the_catalogue_has_every_experiment():
    four = {"config", "run", "claims", "figures"}
    folders = {path.parent for path in (PACKAGE / "chapters").rglob("run.py")}
    assert {name_of(folder / "__init__.py").removeprefix("kadam.chapters.") for folder in folders} == {
        experiment.place for experiment in chapters.CATALOGUE.values()
    }
    assert all(four <= {path.stem for path in folder.glob("*.py")} for folder in folders)


def test_nothing_imports_the_drivers():
    for module in filter(lawful, MODULES):
        assert not imported(ast.parse(module.read_text())) & (DRIVERS - {"kadam", "kadam.__main__"})


def test_functions_and_modules_stay_small():
    lengths = [length for module in MODULES for length in function_lengths(ast.parse(module.read_text()))]
    assert len(lengths) > 100
    assert median(lengths) <= 6
    assert max(lengths) <= 50
    assert max(len(module.read_text().splitlines()) for module in MODULES) <= 400


def test_the_package_and_its_core_stay_small():
    lines = {name_of(module): len(module.read_text().splitlines()) for module in MODULES}
    rooms = {
        room: sum(n for name, n in lines.items() if name.startswith(f"kadam.{room}."))
        for room in ("lab", "report", "chapters", "monitor")
    }
    assert sum(lines.values()) <= 32_750
    assert rooms["lab"] <= 4_500
    assert rooms["monitor"] <= 1_440
    core = [
        n
        for name, n in lines.items()
        if name.split(".")[1:2] and name.split(".")[1] in ("decay", "advice", "flat", "compiled", "monitor", "theory", "optim")
    ]
    assert sum(core) <= 6_220


def function_lengths(tree: ast.AST) -> list[int]:
    """Lines of every function without its docstring."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            found.append(node.end_lineno - body[0].lineno + 1)
    return found


WITHOUT_TORCH = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
    if "torch" in sys.modules:
        sys.exit(f"{name} loads torch")
"""


def test_theory_report_the_catalogue_and_what_a_page_draws_are_imported_without_torch():
    rooms = [name_of(m) for m in MODULES if name_of(m).split(".")[1:2] in (["theory"], ["report"])]
    drawn = [one.module_name(part) for one in chapters.CATALOGUE.values() for part in ("config", "claims", "figures")]
    names = [*rooms, "kadam.advice", "kadam.chapters", "kadam.chapters.review.figures", "kadam.lab.data.configured", *drawn]
    loaded = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *names], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr


def test_the_package_loads_torch_and_the_optimizer_triton_only_when_they_are_needed():
    code = (
        "import sys, kadam; a = 'torch' in sys.modules; kadam.KAdam; print(a, 'triton' in sys.modules, 'scipy' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False False\n"
    )


UNSAFE = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
HARMLESS = {"pickle.UnpicklingError", "pickle.Pickler", "pickle.PicklingError"}  # what torch.load raises, and what only writes


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
    return [name for name in found if name not in HARMLESS]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
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
