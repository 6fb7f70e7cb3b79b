"""Formulas as pages write them, evaluated: a small reader of TeX, so that a page's formula can be compared with the code's.

:func:`formula` takes the text behind a given left side up to the next relation; :func:`value` computes it, the symbols given
by name. What is read: sums, products without a sign, quotients, powers, roots, ``\\frac``, ``\\sum``, and functions.
"""

import itertools
import math
import re
from pathlib import Path

BOOK = Path(__file__).parents[1] / "book"

# What only moves or enlarges signs, and what ends a formula outside of all brackets.
SHAPE = re.compile(r"(?<!\\)\\(?:[,;:! ]|(?:[bB]igg?[lr]?|left|right)(?![a-zA-Z]))|\\\\\[[^\]]*\]")
ENDS = re.compile(r"[=&$<>`]|:=|\\\\|\n\s*\n|[.,;](?=\s|$)|\\(?:qquad|le|ge|approx|sim|to|begin|end)(?![a-zA-Z])")
TOKEN = re.compile(r"\\[a-zA-Z]+|\\\||\d+(?:\.\d+)?|\S")
OPENING = {"{": "}", "(": ")", "[": "]"}
DEEPER, HIGHER = re.compile(r"[{(\[]|\\langle"), re.compile(r"[})\]]|\\rangle")

FUNCTIONS = {name: getattr(math, name) for name in ("exp", "sinh", "cosh", "cos")}
FUNCTIONS |= {"ln": math.log, "coth": lambda x: 1 / math.tanh(x), "sqrt": math.sqrt}


def formula(page, left):
    """What a page writes behind ``left``, white space aside, up to the next relation or the end of the sentence."""
    text = SHAPE.sub(" ", (BOOK / f"{page}.md").read_text())
    pattern = r"\s*".join(map(re.escape, TOKEN.findall(SHAPE.sub(" ", left))))
    found = list(re.finditer(pattern, text))
    assert len(found) == 1, f"{page}.md has {len(found)} places {left!r}"
    rest, depth, at = text[found[0].end() :], 0, 0
    while at < len(rest):
        if depth == 0 and (end := ENDS.match(rest, at)):
            if rest[:at].strip():
                break
            at = end.end()  # alignment between the left side and the formula
            rest, at = rest[at:], 0
            continue
        depth += bool(DEEPER.match(rest, at)) - bool(HIGHER.match(rest, at))
        if depth < 0:
            break
        at += 1
    return rest[:at].strip()


def rows(page, head):
    """The rows below the one head on a page that begins with these cells, each a list of cells."""
    lines = (BOOK / f"{page}.md").read_text().splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith(f"| {head} |")]
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[at + 2 :])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def value(text, symbols):
    """The number that a formula is for these values of its symbols; a symbol may be several signs, and may be a function."""
    return Reader(text, symbols).whole()


class Reader:
    """One formula, read from left to right."""

    def __init__(self, text, symbols):
        self.symbols = {"e": math.e, **symbols}
        names = sorted(self.symbols, key=len, reverse=True)
        longest = [
            r"\s*".join(map(re.escape, TOKEN.findall(name))) + (r"(?![a-zA-Z])" if name[-1].isalpha() else "") for name in names
        ]
        several = [one for one, name in zip(longest, names, strict=True) if len(TOKEN.findall(name)) > 1]
        pattern = re.compile("|".join([*several, TOKEN.pattern]))
        self.names = {"".join(name.split()): name for name in names}
        self.tokens = [found[0] for found in pattern.finditer(SHAPE.sub(" ", text))]
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected):
        token = self.peek()
        assert token, f"the end where {expected} was expected"
        assert not expected or token in expected, f"{token} where {expected} was expected"
        self.at += 1
        return token

    def whole(self):
        result = self.sum()
        assert self.at == len(self.tokens), f"cannot read {' '.join(self.tokens[self.at :])}"
        return result

    def sum(self):
        sign = -1 if self.peek() == "-" else 1
        if self.peek() in ("-", "+"):
            self.take()
        total = sign * self.product()
        while self.peek() in ("-", "+"):
            total += (-1 if self.take() == "-" else 1) * self.product()
        return total

    def product(self):
        total = self.power()
        while self.peek() and self.peek() not in "+-)]}" and self.peek() != "|":
            divides = self.peek() == "/"
            if self.peek() in ("/", r"\cdot", r"\times"):
                self.take()
            factor = self.power()
            total = total / factor if divides else total * factor
        return total

    def power(self):
        base = self.base()
        if self.peek() == "^":
            self.take()
            return base ** self.argument()
        return base

    def base(self):
        token = self.take()
        name = self.names.get("".join(token.split()))
        if name is not None:
            given = self.symbols[name]
            return given(self.group()) if callable(given) else given
        if token in OPENING:
            result = self.sum()
            self.take(OPENING[token])
            return result
        if token[0].isdigit():
            return float(token)
        return self.command(token.removeprefix("\\"))

    def group(self):
        """The argument in brackets of a function that was given as a symbol."""
        self.take("(")
        result = self.sum()
        self.take(")")
        return result

    def argument(self):
        """What TeX takes as one argument: a group in braces, or one sign or digit."""
        token = self.peek()
        if token[0].isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.base()

    def command(self, name):
        if name in ("frac", "tfrac", "dfrac"):
            above = self.argument()
            return above / self.argument()
        if name == "sqrt":
            return math.sqrt(self.argument())
        if name in FUNCTIONS:
            exponent = 1
            if self.peek() == "^":
                self.take()
                exponent = self.argument()
            return FUNCTIONS[name](self.power()) ** exponent
        if name == "sum":
            return self.series()
        raise AssertionError(f"cannot read {name}")

    def series(self):
        """A sum with its bounds; the term behind it is read once for every value of the index."""
        self.take("_")
        self.take("{")
        index = self.take()
        self.take("=")
        first = round(self.sum())
        self.take("}")
        self.take("^")
        last = round(self.argument())
        start, total = self.at, 0.0
        for i in range(first, last + 1):
            self.at, self.symbols[index], self.names[index] = start, i, index
            total += self.product()
        return total
