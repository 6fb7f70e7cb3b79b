"""The Explorer as it stands in a page: a script that needs nothing else, and the names that it is given.

What it computes and how it is used is tested in a browser, in ``tests/browser``.
"""

import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from kadam.advice import COMMON, advise
from kadam.decay import STRATEGIES
from kadam.report import explorer


class Elements(HTMLParser):
    """The attributes of the elements of a fragment, by tag."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def data(name):
    (found,) = [attributes for tag, attributes in Elements(explorer.fragment()).found if tag == "div"]
    return json.loads(found[f"data-{name}"])


def test_the_pairs_to_pick_are_those_that_people_use_and_the_swapped_default():
    presets = {(beta1, beta2): name for beta1, beta2, name in data("presets")}
    assert presets.items() > COMMON.items()
    ((swapped, name),) = presets.items() - COMMON.items()
    assert COMMON[swapped[::-1]] == "PyTorch's default"
    assert "swapped" in name
    assert len(advise(swapped).remarks()) == 1


def test_the_strategies_are_those_there_are_and_each_has_its_formula():
    assert tuple(data("strategies")) == STRATEGIES
    for strategy in STRATEGIES:
        assert re.search(rf'\b{strategy}: \(x|strategy === "{strategy}"', explorer.script())


@pytest.mark.parametrize("word", ["http", "import ", "import(", "fetch(", "XMLHttpRequest", "src=", "url(", "eval("])
def test_the_page_needs_no_network_and_no_other_file(word):
    assert word not in explorer.fragment()


def test_the_script_stands_whole_in_the_page_and_ends_only_there():
    html = explorer.fragment()
    assert html.count("<script>") == html.count("</script>") == 1
    assert explorer.script() in html
    assert [tag for tag, _ in Elements(html).found] == ["div", "p", "code", "script"]


def test_without_scripts_there_are_words():
    (words,) = re.findall(r"<p>(.*?)</p></div>", explorer.fragment())
    assert "kadam stability --betas" in unescape(words)


def test_the_script_stays_readable():
    lines = explorer.script().splitlines()
    assert len(lines) <= 450
    assert max(map(len, lines)) <= 128
