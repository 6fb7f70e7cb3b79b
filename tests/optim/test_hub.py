"""torch.hub takes the optimizer from a clone in which nothing was installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipes import RECIPES
from tiers import heavy

ROOT = Path(__file__).parents[2]

# The recipe, and where its class comes from; only what is beside this checkout may lie on the path.
SCRIPT = """\
import sys
import torch
sys.path = [entry for entry in sys.path if entry != {checkout!r}]
repository, model = {clone!r}, torch.nn.Linear(3, 1)
{recipe}
model(torch.ones(2, 3)).sum().backward()
optimizer.step()
print(sys.modules["kadam"].__file__, type(optimizer).__name__, optimizer.param_groups[0]["stages"])
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with the files of a checkout that torch.hub reads."""
    shutil.copyfile(ROOT / "hubconf.py", tmp_path / "hubconf.py")
    shutil.copytree(ROOT / "kadam", tmp_path / "kadam", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@heavy
def test_the_class_comes_from_the_clone(clone):
    script = SCRIPT.format(checkout=str(ROOT), clone=str(clone), recipe=RECIPES["torch.hub"])
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(sys.executable).parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(clone / "kadam" / "__init__.py"), "KAdam", "1"]


def test_a_clone_without_its_file_for_the_hub_is_refused(clone):
    (clone / "hubconf.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"hubconf\.py"):
        torch.hub.load(clone, "kadam", source="local")


def test_a_library_that_is_missing_is_named(clone):
    text = (clone / "hubconf.py").read_text()
    (clone / "hubconf.py").write_text(text.replace('"numpy"', '"a_library_that_nobody_has"'))
    with pytest.raises(RuntimeError, match="Missing dependencies: a_library_that_nobody_has"):
        torch.hub.load(clone, "kadam", source="local")
