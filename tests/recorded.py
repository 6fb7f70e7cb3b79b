"""What a change must show as a visible difference: every criterion, and how every figure draws what its legend names.

``python tests/recorded.py`` writes ``criteria.json``, ``looks.json``, ``verdicts.json``, ``tests.json``, the answers of the
README and the pictures of the front pages anew, from the committed records and the smoke profile.
"""

import json
import re
import textwrap
from inspect import Parameter, signature
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from kadam import chapters
from kadam.chapters.contest import figures as contest
from kadam.chapters.growth import figures as growth
from kadam.chapters.stability import figures as stability
from kadam.lab.records import committed
from kadam.report.ledger_page import answers
from kadam.report.sentences import plain

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results"
DRAWN_BY_ALL = {"cifar": contest, "language": contest}  # besides what an experiment draws by itself
METHODS = ["Adam", "Lion", "2-Adam meta"]  # for the figures that want some


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def criteria():
    """By experiment and claim, the criterion in words."""
    return {name: {claim.id: claim.criterion for claim in chapters.claims(name, None)} for name in chapters.CATALOGUE}


def figures(name):
    """The figures of an experiment: functions decorated as such, whose first argument, if any, is the record."""
    modules = [chapters.find(name).part("figures"), *([DRAWN_BY_ALL[name]] if name in DRAWN_BY_ALL else [])]
    return {f.__name__: f for module in modules for f in vars(module).values() if getattr(f, "draws", False)}


def drawn(draw, record):
    parameters = signature(draw).parameters
    wanted = {"methods": METHODS} if parameters.get("methods", Parameter).default is Parameter.empty else {}
    return draw(*([record] if "record" in parameters else []), **wanted)


def looks(figure):
    """By label, what each panel draws under it: the colour, and the mean of the heights."""
    found = {}
    for panel, axes in enumerate(figure.axes):
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            colour, heights = _look(artist)
            found.setdefault(label, []).append([panel, colour, float(f"{heights:.4g}")])
    return found


def _look(artist):
    if isinstance(artist, ErrorbarContainer):
        artist = artist.lines[0]
    elif hasattr(artist, "patches"):
        return to_hex(artist.patches[0].get_facecolor()), _mean([patch.get_height() for patch in artist.patches])
    if hasattr(artist, "get_ydata"):
        return to_hex(artist.get_color()), _mean(artist.get_ydata())
    colours = artist.get_facecolor()
    colour = to_hex(np.reshape(colours, (-1, 4))[0] if np.size(colours) else artist.get_edgecolor()[0])
    offsets = artist.get_offsets() if hasattr(artist, "get_offsets") else np.zeros((0, 2))
    paths = [path.vertices[:, 1] for path in artist.get_paths()] if hasattr(artist, "get_paths") else [[0.0]]
    return colour, _mean(np.concatenate(paths) if len(offsets) < 2 else offsets[:, 1])


def _mean(heights):
    numbers = np.asarray(np.ma.filled(np.ma.asarray(heights, float), np.nan))
    return np.mean(numbers[np.isfinite(numbers)]) if np.isfinite(numbers).any() else 0.0


def shown(name):
    """The figures of an experiment, by name, drawn from the committed record that its page shows."""
    record = committed_record(name)
    return {f: drawn(draw, record) for f, draw in figures(name).items()}


def looks_of(figures):
    """The looks of those figures that have a legend."""
    found = {f: looks(figure) for f, figure in figures.items()}
    return {f: labels for f, labels in found.items() if labels}


def write(name, content):
    text = json.dumps(content, indent=1, ensure_ascii=False)
    text = text if name == "criteria" else _on_one_line(text)
    (FOLDER / f"{name}.json").write_text(text + "\n")


def _on_one_line(text):
    """The innermost lists on a line each."""
    return re.sub(r"\[\n\s*(-?[\d.e+-]+),\n\s*(\"[^\"]*\"),\n\s*(-?[\d.e+-]+)\n\s*\]", r"[\1, \2, \3]", text)


def committed_record(name):
    """The record of an experiment that a clone has: the larger where there is one."""
    larger = chapters.larger(name, RESULTS)
    return committed.committed(RESULTS, name, "laptop") if larger is None else larger


def ledger():
    """The ledger's rows of the committed records, whatever lies on this machine."""
    found = [claim for name in chapters.NAMES for claim in chapters.kept(name, committed_record(name))]
    return chapters.rows.answered(found)


def verdicts():
    """By profile, experiment and claim: the verdict, at the smoke profile of what this machine computes."""
    found = {"smoke": {name: of(chapters.obtain(name, "smoke")) for name in chapters.NAMES}}
    for profile in (chapters.MEASURED_PROFILE, *chapters.LARGER):
        records = {name: committed.committed(RESULTS, name, profile) for name in chapters.NAMES}
        found[profile] = {name: of(record) for name, record in records.items() if record is not None}
    return {profile: each for profile, each in found.items() if each}


def of(record):
    return {claim.id: claim.verdict for claim in chapters.claims(record.attrs["experiment"], record, leave_out=False)}


def tests():
    """How many test functions each file holds; a test less is a visible difference."""
    files = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in sorted(FOLDER.rglob("test_*.py"))}
    return {name: len(re.findall(r"^def test_", text, flags=re.M)) for name, text in files.items()}


def readme():
    """The README with its thirteen answers, and what its picture says, as the committed records give them."""
    text, record = (FOLDER.parent / "README.md").read_text(), committed_record("growth")
    said = plain(growth.answer(record)).removeprefix("The answer. ")
    text = between(text, "picture", textwrap.fill(f"*{said}*", 120))
    return between(text, "answers", answers(ledger(), chapters.rows.FIRST))


def between(text, name, words):
    """A text with these words between the marks of this name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{words}\n\n{end}{rest.split(end)[1]}"


def pictures():
    """Those of the front pages, by name."""
    return {"growth": growth.slopes(committed_record("growth")), "map": stability.corner(committed_record("stability"))}


if __name__ == "__main__":
    plt.switch_backend("Agg")
    write("criteria", criteria())
    write("looks", {name: looks_of(shown(name)) for name in chapters.CATALOGUE})
    write("verdicts", verdicts())
    write("tests", tests())
    (FOLDER.parent / "README.md").write_text(readme())
    for name, figure in pictures().items():
        figure.savefig(FOLDER.parent / "book" / "images" / f"{name}.png")
