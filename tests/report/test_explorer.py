"""The page with the sliders holds the theory's answer for every position, and stands on its own."""

import json
import re

import pytest

from kadam.advice import advise
from kadam.decay import Decay
from kadam.report import explorer
from kadam.theory import stability


def constant(html, name):
    return json.loads(re.search(rf"{name} = (.*?)[,;] ?(?:places|answers|\n)", html).group(1))


def test_every_position_of_the_sliders_has_the_theorys_answer():
    table = explorer.answers()
    for i, beta1 in enumerate(explorer.RATES):
        for j, beta2 in enumerate(explorer.RATES):
            stable, sentence = table[i][j]
            assert stable == stability.is_stable(beta=beta2, gamma=beta1)
            assert sentence == advise(Decay(beta=beta2, gamma=beta1)).sentence()


def test_the_page_holds_these_answers_and_no_placeholder():
    html = explorer.fragment()
    assert not re.search(r"@[A-Z0-9]+@", html)
    assert tuple(constant(html, "rates")) == explorer.RATES
    assert len(constant(html, "places")) == len(explorer.RATES)
    assert json.dumps(explorer.answers()) in html


def test_the_page_needs_no_network():
    assert "http" not in explorer.fragment()
    assert "src=" not in explorer.fragment()


def test_it_starts_at_pytorchs_default_and_the_betas_in_use_can_be_chosen():
    html = explorer.fragment()
    assert f'id="kadam-beta1" min="0" max="{len(explorer.RATES) - 1}" step="1" value="{explorer.RATES.index(0.9)}"' in html
    assert {0.0, 0.9, 0.95, 0.98, 0.99, 0.999} <= set(explorer.RATES)
    assert list(explorer.RATES) == sorted(set(explorer.RATES))


@pytest.mark.parametrize(("rate", "decades"), [(0.0, 0), (0.9, 1), (0.999, 3)])
def test_the_maps_axes_count_decades_of_memory(rate, decades):
    assert explorer.place(rate) == pytest.approx(decades / explorer.DECADES * explorer.SIDE)


def test_the_exact_boundary_on_the_map_is_gamma_squared():
    points = [tuple(map(float, point.split(","))) for point in explorer.boundary_path("discrete").split()]
    for x, y in points[1:-1:20]:
        gamma = 1 - 10 ** (-x / explorer.SIDE * explorer.DECADES)
        assert explorer.SIDE - y == pytest.approx(explorer.place(gamma**2), abs=0.2)
