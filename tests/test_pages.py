"""What README and pages show is so: commands, examples, tables, links, labels, alt texts, and formulas that can be typeset."""

import ast
import contextlib
import io
import itertools
import re
import shlex
import subprocess
import sys
import tokenize
import tomllib
import warnings
from pathlib import Path

import click
import jupytext
import nbformat
import pytest
import torch
import yaml
from docutils import nodes
from formulas import converted, keep_whole
from math_core import LatexError
from recipes import RECIPES, WATCHING
from tex import rows

import kadam
from kadam import KAdam, book, chapters, cli
from kadam.decay import STRATEGIES
from kadam.optim.steps import choose

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "book").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))
TEXTS = {path.stem: path.read_text() for path in (README, *PAGES, *NOTEBOOKS)}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<kind>[^\n`]*)\n(?P<body>.*?)^(?P=ticks)$", flags=re.M | re.S)
PYTHON = [(name, found["body"]) for name, text in TEXTS.items() for found in FENCE.finditer(text) if found["kind"] == "python"]
EXAMPLES = [(name, code) for name, code in PYTHON if code not in {*RECIPES.values(), *WATCHING.values()}]
PLAIN = [(name, found["body"]) for name, text in TEXTS.items() for found in FENCE.finditer(text) if found["kind"] == ""]


def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def given():
    """What an example may take for granted."""
    model = network()
    parts = {"decayed": [model[0].weight], "gains_and_biases": [model[0].bias], "head": list(model[2].parameters())}
    data = {"loss_function": lambda model, batch: model(batch).square().mean(), "batch": torch.eye(3).double()}
    return {"kadam": kadam, "KAdam": KAdam, "torch": torch, "model": model, **parts, **data}


def promised(code):
    """The expressions of an example that name their values in a comment behind them."""
    comments = {
        token.start[0]: token.string.removeprefix("# ")
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.parse(code).body:
        if isinstance(node, ast.Expr) and node.lineno in comments:
            with contextlib.suppress(ValueError, SyntaxError):
                yield ast.unparse(node.value), ast.literal_eval(comments[node.lineno])


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_in_python_runs_and_gives_what_it_says(name, code):
    names = given()
    exec(code, names)
    assert [(text, eval(text, names)) for text, _ in promised(code)] == list(promised(code))
    if isinstance(optimizer := names.get("optimizer"), KAdam):
        names["model"](torch.ones(2, 3)).sum().backward()
        optimizer.step()


def test_examples_and_promised_values_are_found():
    assert {"README", "using", "notation"} <= {name for name, _ in EXAMPLES}
    assert len(EXAMPLES) >= 6
    assert sum(len(list(promised(code))) for _, code in EXAMPLES) >= 1


def test_every_recipe_is_an_example_of_its_page_and_is_run_by_a_test():
    assert len(RECIPES) >= 7
    assert set(RECIPES.values()) <= {code for name, code in PYTHON if name == "using"}
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert [title for title in RECIPES if f'follow("{title}"' not in tests and f'RECIPES["{title}"]' not in tests] == []
    assert len(WATCHING) >= 7
    assert set(WATCHING.values()) <= {code for name, code in PYTHON if name == "monitor"}
    assert [title for title in WATCHING if f'watch("{title}"' not in tests] == []


def consoles():
    """Every command that stands with its output: page, arguments, output."""
    for name, body in PLAIN:
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, flags=re.M):
            yield name, command, output


@pytest.mark.parametrize(("name", "command", "output"), list(consoles()), ids=lambda x: x.split("\n")[0])
def test_a_command_prints_what_its_page_shows(name, command, output):
    program, *arguments = shlex.split(command)
    assert program == "kadam"
    done = subprocess.run([sys.executable, "-m", "kadam", *arguments], capture_output=True, text=True)
    assert done.returncode == (": UNSTABLE" in output), done.stderr  # as `kadam stability` says it
    assert output.split() == done.stdout.split()


def test_the_page_on_reproducing_names_the_profiles_that_there_are():
    (row,) = [line for line in TEXTS["reproducing"].splitlines() if line.startswith("| `cpu` |")]
    assert re.findall(r"`(\w+)`", row)[1:] == [name for name in chapters.NAMES if "cpu" in chapters.find(name).profiles]
    lacking = [f"`{name}`" for name in chapters.NAMES if "paper" not in chapters.find(name).profiles]
    assert f"{' and '.join(lacking)} have no profile `paper`" in TEXTS["reproducing"]
    known = {name: chapters.find(name).part("config").PROFILES.get("paper") for name in chapters.NAMES}
    *most, last = [f"`{name}`" for name, config in known.items() if config and "device='cuda'" not in repr(config)]
    assert f" {', '.join(most)} and {last} compute on the processor at every profile" in TEXTS["reproducing"]
    least = [name for name in chapters.NAMES if hasattr(chapters.find(name).part("config"), "LEAST")]
    assert f"of {', '.join(f'`{name}`' for name in least[:-1])} and `{least[-1]}`" in TEXTS["reproducing"]


def test_the_table_of_arithmetic_has_every_experiment_of_profile_paper():
    lines = book.arithmetic().splitlines()[2:]
    assert [line.split()[1] for line in lines] == [n for n in chapters.NAMES if "paper" in chapters.find(n).profiles]


def test_consoles_are_found():
    assert "README" in {name for name, *_ in consoles()}


def commands():
    """Every command of kadam, make and pip that a page names, in a line of a block or between backticks."""
    for name, text in TEXTS.items():
        blocks = [line for page, body in PLAIN if page == name for line in body.splitlines()]
        inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
        for line in itertools.chain(blocks, inline):
            words = line.removeprefix("$ ").partition("  #")[0]
            words = re.sub(r"^((timeout \d+|\w+=\S+) )+", "", words).strip()
            if words.split(" ")[0] in ("kadam", "make", "pip") and len(words.split()) > 1:
                yield name, words


COMMANDS = sorted(set(commands()))
TARGETS = set(re.findall(r"^([\w-]+)(?=.*?:)", (ROOT / "Makefile").read_text(), flags=re.M))


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_a_command_that_a_page_names_is_one(name, command):
    program, *arguments = shlex.split(command)
    if program == "make":
        assert set(arguments) <= TARGETS
    elif program == "pip":
        assert set(itertools.chain(*(extra.split(",") for extra in re.findall(r"\[(.*?)\]", command)))) <= set(EXTRAS)
    elif arguments[0] != "stability":  # which the core answers: its outputs are compared above
        _parse(cli.commands, arguments)


def _parse(command, arguments):
    """Click's own reading of a command line, with nothing run; ``click.UsageError`` where it refuses it."""
    name, *rest = arguments
    found = command.get_command(click.Context(command), name)
    assert found is not None, f"no command {name}"
    if isinstance(found, click.Group) and rest:
        _parse(found, rest)
    elif not isinstance(found, click.Group) and rest:
        context = found.make_context(name, list(rest))
        assert context.params.get("name", "all") in ("NAME", "all", *chapters.CATALOGUE)


def test_commands_are_found():
    assert {"kadam", "make", "pip"} == {command.split()[0] for _, command in COMMANDS}
    assert len(COMMANDS) >= 40
    for wrong in (["runn", "growth"], ["run", "growth", "--job", "x"], ["bench", "optimiser"], ["run", "grwth"]):
        with pytest.raises((AssertionError, click.UsageError)):
            _parse(cli.commands, wrong)


def state_bytes(k):
    model = network()
    optimizer = KAdam(model.parameters(), k=k)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    kept = sum(x.nbytes for state in optimizer.state.values() for x in state.values() if torch.is_tensor(x) and x.dim())
    return kept / sum(p.numel() for p in model.parameters())


def test_the_table_of_costs_is_computed():
    """A fused step reads weight, gradient and 2k moments, and writes weight and moments, in float32."""
    state, moved, time, *_ = (row[1:] for row in rows("using", "cost | AdamW, `k=1` | `k=2` | `k=4`"))
    numbers = {k: 1 + 1 + 2 * k + 1 + 2 * k for k in (1, 2, 4)}
    assert state == [*(f"{state_bytes(k):g}" for k in numbers), "$8k$"]
    assert moved == [*(f"{4 * n}" for n in numbers.values()), "$12 + 16k$"]
    assert time == [*(f"{n / numbers[1]:.3g}" for n in numbers.values()), "$(3+4k)/7$"]


FLAGS = {"`None`": [None], "`True`": [True], "`False`": [False], "any but `True`": [None, False]}
FLAGS["`None` or `False`"] = FLAGS["any but `True`"]


@pytest.mark.parametrize("row", rows("using", "`fused` | `foreach`"), ids=" ".join)
def test_the_table_of_paths_says_which_path_a_step_takes(row):
    fused, foreach, words = row
    for flags in itertools.product(FLAGS[fused], FLAGS[foreach], (1, 2)):
        given = dict(zip(("fused", "foreach", "k"), flags, strict=True))
        if words == "`ValueError`":
            with pytest.raises(ValueError, match="exclude"):
                KAdam(network().parameters(), **given)
            continue
        with warnings.catch_warnings():
            path = choose(KAdam(network().parameters(), **given).param_groups[0], torch.device("cpu"))
        automatic = {1: "foreach", 2: "fused"}[given["k"]]
        assert path == (automatic if words.startswith("automatic") else re.match(r"[\w-]+", words)[0])


def test_the_table_of_paths_has_every_pair_of_flags():
    table = [(f, e) for fused, foreach, _ in rows("using", "`fused` | `foreach`") for f in FLAGS[fused] for e in FLAGS[foreach]]
    assert sorted(table, key=str) == sorted(itertools.product([None, True, False], repeat=2), key=str)


def test_the_table_of_strategies_has_each_with_its_stages():
    table = {row[0].strip("`"): row[-1] for row in rows("notation", "strategy | stage $i$")}
    assert set(table) == set(STRATEGIES)
    for strategy, shown in table.items():
        stages = kadam.stages(kadam.Decay.from_betas((0.9, 0.999)), 2, strategy)
        pairs = [f"({d.beta:.4f}, {d.gamma:.4f})".replace("0.0000", "0") for d in stages]
        assert shown == (f"{pairs[0]} twice" if pairs[0] == pairs[1] else ", ".join(pairs))


@pytest.mark.parametrize("path", [README, ROOT / "CHANGELOG.md"], ids=lambda path: path.stem)
def test_files_and_pictures_that_are_linked_exist(path):
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if "://" not in t]
    assert [target for target in targets if not (ROOT / target.partition("#")[0]).is_file()] == []
    assert path != README or len(targets) >= 6


def test_addresses_are_secure_and_of_known_places():
    hosts = {host for text in TEXTS.values() for host in re.findall(r"(?<!`)(?<!=)https?://[^/\s)`\"]+", text)}
    assert hosts <= {"https://arxiv.org", "https://jiaxuanzou0714.github.io", "https://w3id.org"}


def test_no_two_pages_share_a_title():
    titles = [re.search(r"^# (.+)$", TEXTS[path.stem], flags=re.M)[1] for path in (*PAGES, *NOTEBOOKS)]
    assert sorted(titles) == sorted(set(titles))
    assert len(titles) > 20


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.stem)
def test_every_picture_has_words_for_those_who_cannot_see_it(path):
    text = path.read_text()
    alts = re.findall(r"!\[(.*?)\]\(", text) + re.findall(r'<img[^>]*?alt="(.*?)"', text)
    for found in FENCE.finditer(text):
        if found["kind"].startswith(("{figure}", "{image}")):
            alts += re.findall(r"^:?alt: (.*)$", found["body"], flags=re.M) or [""]
    assert len(re.findall(r"!\[|<img|\{figure\}|\{image\}", text)) == len(alts)
    assert [alt for alt in alts if len(alt) <= 60] == []


def prose(name, text):
    """What of a page or a notebook Sphinx reads as text, captions included; code left out."""
    if name not in {path.stem for path in NOTEBOOKS}:
        return FENCE.sub(lambda found: found[0] if found["kind"].startswith("{") else "", text)
    cells = jupytext.reads(text, fmt="md:myst").cells
    figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in cells]
    captions = [f":name: {figure['name']}\n{figure['caption']}" for figure in figures if figure]
    return "\n\n".join([cell.source for cell in cells if cell.cell_type == "markdown"] + captions)


PROSE = {name: prose(name, text) for name, text in TEXTS.items() if name != "README"}


def test_no_label_is_given_twice():
    label = re.compile(r"^ *(?::(?:label|name): |(?:name|label): |\((?=[\w-]+\)=$))([\w-]+)", flags=re.M)
    given = [(found, name) for name, text in PROSE.items() for found in label.findall(text)]
    assert len(given) > 80
    labels = [found for found, _ in given]
    assert [pair for pair in given if labels.count(pair[0]) > 1] == []


def test_no_page_says_a_thing_twice():
    for name, text in PROSE.items():
        starts = [line[:60] for line in text.splitlines() if len(line) > 60]
        assert sorted(starts) == sorted(set(starts)), name


def printed():
    """What notebooks print as Markdown or tables, and what the ledger says."""
    for path in (ROOT / "notebooks" / "smoke").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                yield data.get("text/markdown", "") + data.get("text/html", "")
    for name in chapters.CATALOGUE:
        for claim in chapters.claims(name, None):
            yield f"{claim.statement} {claim.criterion} {claim.source}"


def formulas_of(text):
    """A text's formulas, and whether each stands by itself."""
    text = re.sub(r"(?<!`)`[^`\n$]+`(?!`)", "", text)
    for block, inline, directive in re.findall(
        r"\$\$(.*?)\$\$|\$([^$\n]+)\$|\{math\}\n(?::[^\n]*\n)*(.*?)```", text, flags=re.S
    ):
        yield block or inline or directive, not inline


def is_typeset(tex, block):
    try:
        return "<math" in converted(tex, block=block)
    except LatexError:
        return False


def test_every_formula_of_pages_notebooks_and_ledger_can_be_typeset():
    texts = [*PROSE.items(), *(("printed", text) for text in printed())]
    found = {(name, *formula) for name, text in texts for formula in formulas_of(text)}
    assert len(found) > 1_000
    assert [formula for formula in found if not is_typeset(*formula[1:])] == []
    assert not is_typeset(r"\gama < 1", block=False)


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [("so ", ". So", ["", "x", "."]), ("and (", " and", ["(", "x", ""]), ("", "-th", ["", "x", "-th"]), ("so ", " is", None)],
)
def test_a_formula_stays_on_the_line_of_what_it_touches(before, after, whole):
    texts = [nodes.Text(before)] * bool(before), [nodes.Text(after)] * bool(after)
    line = nodes.paragraph("", "", *texts[0], nodes.math("", "x"), *texts[1])
    keep_whole(None, line, "page")
    assert line.astext() == f"{before}x{after}"
    assert [[part.astext() for part in one.children] for one in line.findall(nodes.inline)] == ([whole] if whole else [])


def test_the_settings_of_the_book_are_read_as_they_are_meant():
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    listed = [contents["root"], *(chapter["file"] for part in contents["parts"] for chapter in part["chapters"])]
    assert sorted(listed) == sorted([path.stem for path in PAGES] + [f"notebooks/{path.stem}" for path in NOTEBOOKS])
