"""Whether two builds are the same book: ``python tests/same_book.py ONE/html OTHER/html`` compares pages and what they say."""

import sys
from pathlib import Path

from bs4 import BeautifulSoup

TIMED = "status.html"  # it holds the seconds of its own build


def pages(folder):
    """By its address, the words of every page, with its contents in the side bar."""
    found = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts
    }
    return {name: words(path.read_text(encoding="utf-8")) for name, path in found.items()}


def words(html):
    page = BeautifulSoup(html, "html.parser")
    parts = [page.find("nav", class_="bd-links"), page.find("article", class_="bd-article")]
    return [" ".join(part.get_text(" ").split()) for part in parts if part is not None]


def differences(one, other):
    """The pages that one of two books lacks, and those that say something else."""
    names = sorted({*one, *other} - {TIMED})
    return [name for name in names if one.get(name) != other.get(name)]


if __name__ == "__main__":
    first, second = (pages(Path(folder)) for folder in sys.argv[1:])
    different = differences(first, second)
    print(f"{len(first)} and {len(second)} pages; different: {', '.join(different) or 'none'}")
    sys.exit(1 if different or not first else 0)
