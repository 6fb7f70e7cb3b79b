"""The recipes of the pages on using KAdam and on watching training: their code, for the tests that run it with its library."""

import re
from pathlib import Path

BOOK = Path(__file__).parents[1] / "book"


def recipes_of(page, section="In training tools"):
    """By title, the code."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", (BOOK / f"{page}.md").read_text(), flags=re.M | re.S)[1]
    return dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```$", text, flags=re.M | re.S))


RECIPES = recipes_of("using")
WATCHING = {**recipes_of("monitor"), **recipes_of("monitor", "A spike, replayed")}


def follow(title, **given):
    """Run the recipe of this title with the names that it takes for granted; returns all names that it leaves."""
    exec(RECIPES[title], given)
    return given


def watch(title, **given):
    """The same of the page on watching training."""
    exec(WATCHING[title], given)
    return given
