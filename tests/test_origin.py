"""The repository wherever it lies: links lead to the remote it has, and an unpacked archive works as a clone does."""

import shutil
import subprocess
import sys
from pathlib import Path

import origin
import pytest
from tiers import exhaustive

ROOT = Path(__file__).parents[1]
FOLDER = 'it\'s a "copy" für € $HOME'

# What the book's settings say of links, as Sphinx has them once its extensions are through.
SETTINGS = """\
import sys
from pathlib import Path
from jupyter_book.config import get_final_config
from sphinx.application import Sphinx

root, output = Path.cwd(), sys.argv[1]
given = {"user_yaml": root / "_config.yml", "sourcedir": root / "book", "cli_config": {"latex_individualpages": False}}
config, _ = get_final_config(**given)
app = Sphinx(str(root / "book"), None, output, output, "html", confoverrides=config, status=None)
print(app.config.html_theme_options["use_repository_button"], app.config.html_theme_options["repository_url"])
"""

# A notebook from its source to its execution, at the smallest profile.
NOTEBOOK = """\
from kadam import book, chapters, notebooks

root = book.repository()
page = notebooks.Page(root / "notebooks" / "01-stability-region.md")
used = {name: chapters.obtain(name, "smoke") for name in page.experiments()}
print(root == root.cwd(), len(notebooks.execute(page, {"profile": "smoke"}, used, root).cells) > 10)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The files of the repository without git, in a folder with a difficult name."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-coz", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this copy is an archive itself")
    folder = tmp_path_factory.mktemp("archive") / FOLDER
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def run(folder, *arguments, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))
    result = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def clone_of(folder, remote):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)
    return folder


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/someone/kadam.git", "https://github.com/someone/kadam"),
        ("https://github.com/someone/kadam/", "https://github.com/someone/kadam"),
        ("https://name:token@gitlab.com/a/group/kadam", "https://gitlab.com/a/group/kadam"),
        ("git@github.com:someone/kadam.git", "https://github.com/someone/kadam"),
        ("ssh://git@bitbucket.org:22/someone/kadam.git", "https://bitbucket.org/someone/kadam"),
        ("/srv/git/kadam.git", None),
        ("../kadam", None),
        ("file:///srv/git/kadam", None),
        ("https://example.org/someone/kadam.git", None),
    ],
)
def test_a_link_leads_to_the_remote_and_holds_no_password(tmp_path, remote, page):
    assert origin.address(clone_of(tmp_path, remote)) == page


def test_without_git_or_a_remote_there_is_no_link(tmp_path, monkeypatch):
    clone_of(tmp_path, "https://github.com/someone/another.git")
    inside = tmp_path / FOLDER
    inside.mkdir()
    assert origin.address(inside) is None  # an archive unpacked in another project is not that project
    monkeypatch.setenv("PATH", "")
    assert origin.address(tmp_path) is None


def test_no_file_names_an_address_of_this_repository():
    """Nobody can say where a copy will be published; git knows where one came from."""
    texts = [*ROOT.glob("*.md"), *ROOT.glob("*.cff"), *ROOT.glob("*.yml"), *ROOT.glob("*.toml"), *ROOT.rglob("book/*.md")]
    assert len(texts) > 15
    hosted = [path.name for path in texts for host in origin.HOSTS if f"{host}/kadam" in path.read_text()]
    assert hosted == []
    assert [path.name for path in texts if "git clone" in path.read_text()] == []


@exhaustive
def test_the_book_of_an_archive_has_no_button_and_that_of_a_clone_leads_to_its_remote(unpacked, tmp_path, monkeypatch):
    assert run(unpacked, "-c", SETTINGS, str(tmp_path), monkeypatch=monkeypatch).split() == ["False"]
    try:
        clone_of(unpacked, "git@github.com:someone/kadam.git")
        shown = run(unpacked, "-c", SETTINGS, str(tmp_path), monkeypatch=monkeypatch).split()
    finally:
        shutil.rmtree(unpacked / ".git")
    assert shown == ["True", "https://github.com/someone/kadam"]


@exhaustive
def test_claims_are_told_in_an_archive(unpacked, monkeypatch):
    told = run(unpacked, "-m", "kadam", "claims", monkeypatch=monkeypatch)
    assert {"P1", "P21", "Q14", "C10"} <= set(told.split())
    assert "not run at this profile" not in told


@exhaustive
def test_a_notebook_is_executed_in_an_archive(unpacked, monkeypatch):
    assert run(unpacked, "-c", NOTEBOOK, monkeypatch=monkeypatch).split() == ["True", "True"]
