"""The questions with their answers as a page shows them: all in one figure, and a group at a time in words."""

import re
from collections.abc import Mapping, Sequence

from kadam.chapters.review import models, region, stages, study
from kadam.chapters.review.asked import WORDS, Asked, Ledger, asked_in, deciding, ledger_of, sentence, told, word
from kadam.report import style
from kadam.report.rows import Answered
from kadam.report.sentences import Sentences, said
from kadam.report.table import Table, table

GROUPS: Mapping[str, Sequence[Asked]] = {
    "Bound and region": region.BOUND,
    "Noise": region.NOISE,
    "Learning rate and weight decay": region.RATES,
    "Continuous time": models.CONTINUOUS,
    "Speed and generalisation": models.SPEED,
    "Scale invariance": stages.INVARIANCE,
    "k-Adam": stages.STAGES,
    "Experiments and figures": study.EXPERIMENTS,
    "Related work": study.RELATED,
}
QUESTIONS = tuple(asked for group in GROUPS.values() for asked in group)
NUMBERS = {asked.question: n for n, asked in enumerate(QUESTIONS, start=1)}
SPACE = 0.17  # between two questions of one answer, in columns
COLOURS = dict(zip(WORDS, (style.EXACT, style.FOURTH, style.PAPER, style.GUIDE), strict=True))

NAMED = re.compile(r"\b([PQC]\d+|(GT|D|XL|JML)-\d\w*)\b")  # rows of the ledger, and claims


@said
def answer(rows: Sequence[Answered]) -> str:
    """The chapter's answer: how many questions were answered how, and on what that rests."""
    ledger = ledger_of(rows)
    words = [word(asked, ledger) for asked in QUESTIONS]
    counted = ", ".join(f"{words.count(one)} *{one}*" for one in WORDS)
    by_ledger = sum(bool(asked.by) for asked in QUESTIONS)
    return (
        f"**Answer.** {len(QUESTIONS)} questions: {counted}. Of {by_ledger} the ledger decides by its records, of "
        f"{len(QUESTIONS) - by_ledger} a theorem or the book itself."
    )


@style.styled
def answers(rows: Sequence[Answered]) -> style.Figure:
    """Each question by its number, in the row of its group and the column of its answer."""
    ledger = ledger_of(rows)
    figure, axes = style.panels(1, 1, height=0.36 * len(GROUPS) + 0.5)
    for height, group in enumerate(GROUPS.values()):
        for column, one in enumerate(WORDS):
            inside = [asked for asked in group if word(asked, ledger) == one]
            for place, asked in enumerate(inside):
                x = column + min(SPACE, 0.9 / len(inside)) * (place - (len(inside) - 1) / 2)
                _disc(axes, x, height, NUMBERS[asked.question], COLOURS[one], filled=bool(asked.by))
    axes.set_xticks(range(len(WORDS)), WORDS)
    axes.set_yticks(range(len(GROUPS)), list(GROUPS))
    axes.set(xlim=(-0.5, len(WORDS) - 0.5), ylim=(len(GROUPS) - 0.5, -0.5))
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for line in range(1, len(GROUPS)):
        axes.axhline(line - 0.5, color=style.BASE["grid.color"], lw=0.6)
    return figure


def _disc(axes: style.Axes, x: float, y: float, number: int, colour: str, *, filled: bool) -> None:
    """A number in a disc, white on a dark one."""
    axes.scatter([x], [y], s=190, color=colour if filled else "white", edgecolors=colour, lw=1.2)
    light = filled and colour != style.FOURTH
    axes.text(x, y, str(number), color="white" if light else style.MEASURED, ha="center", va="center_baseline", size=8)


@said
def answers_said(rows: Sequence[Answered]) -> str:
    """What the figure shows, in words."""
    ledger = ledger_of(rows)
    firm = [asked for asked in QUESTIONS if asked.by]
    fragile = [asked for asked in firm if any(ledger.rows[id].fragile for id in deciding(asked, ledger))]
    held = sum(word(asked, ledger) in ("yes", "no") for asked in firm)
    return (
        f"Of {len(firm)} questions that records decide, {held} have a plain yes or no. {len(fragile)} rest on a row that is "
        "fragile: leaving out one seed changes its outcome."
    )


def group(rows: Sequence[Answered], name: str) -> Sentences:
    """The questions of a group with their answers; ``ValueError`` for a name that is none."""
    if name not in GROUPS:
        raise ValueError(f"group must be one of {', '.join(GROUPS)}; got {name!r}")
    ledger = ledger_of(rows)
    return Sentences("\n\n".join(_entry(asked, ledger) for asked in GROUPS[name]))


def _entry(asked: Asked, ledger: Ledger) -> str:
    """A definition: the question and who asked it; the answer, its limits, and where to look."""
    begin, _, rest = sentence(asked, ledger).partition(":")
    evidence = ", ".join([asked.evidence, *asked.by])
    return (
        f"{NUMBERS[asked.question]}\\. {asked.question} *({asked_in(asked)})*\n"
        f": **{begin.capitalize()}**:{rest}\\\n"
        f"  *Limits:* {_linked(told(asked.limits, ledger))}.\\\n"
        f"  *See* {_linked(evidence)}."
    )


def _linked(text: str) -> str:
    """With a link to each row and claim of the ledger that is named."""
    return NAMED.sub(lambda found: f'<a href="../claims.html#{found[0]}">{found[0]}</a>', text)


def row_table(rows: Sequence[Answered]) -> Table:
    """The rows of the ledger that decide, and the questions that they decide."""
    ledger = ledger_of(rows)
    by_row: dict[str, list[str]] = {}
    for asked in QUESTIONS:
        for id in deciding(asked, ledger):
            by_row.setdefault(id, []).append(str(NUMBERS[asked.question]))
    found = [
        (id, one.row.statement, ", ".join(by_row[id]), f"{one.held} of {one.of}")
        for id, one in ledger.rows.items()
        if id in by_row
    ]
    return table(("row", "what is claimed or asked", "decides", "cases that hold"), found)
