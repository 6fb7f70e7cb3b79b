"""The recipes of the page on using KAdam: their code as it stands there, for the tests that run it with its library."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "book" / "using.md"
SECTION = re.search(r"^## In training tools\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.M | re.S)[1]

# By title, the code.
RECIPES = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```$", SECTION, flags=re.M | re.S))


def follow(title, **given):
    """Run the recipe of this title with the names that it takes for granted; returns all names that it leaves."""
    exec(RECIPES[title], given)
    return given
