"""The page on safe betas: its tables, formulas and numbers are what advice and theory say."""

import re

import pytest
from test_advice import table_of
from tex import BOOK, formula, rows, value

from kadam.advice import COMMON, advise
from kadam.decay import STRATEGIES
from kadam.theory import stability

PAGE = "safe-betas"
TEXT = (BOOK / f"{PAGE}.md").read_text()


def pair_of(cell):
    beta1, beta2 = map(float, re.fullmatch(r"\((\S+), (\S+)\)", cell).groups())
    return beta1, beta2


def test_the_table_of_the_rule_has_the_boundary_of_each_beta1_with_every_digit():
    table = rows(PAGE, "if `beta1` is")
    assert len(table) >= 6
    for beta1, least in table:
        assert float(least) == pytest.approx(stability.boundary(float(beta1)), rel=1e-14)
        assert not advise((float(beta1), float(least) - 1e-12)).stable_discrete
        assert advise((float(beta1), float(least) + 1e-12)).stable_discrete


def test_the_table_of_common_pairs_has_all_of_them_and_what_a_report_says_of_each():
    table = {pair_of(row[0]): row[1:] for row in rows(PAGE, "`betas` | known as")}
    assert {pair: table[pair][0] for pair in COMMON} == COMMON
    assert {cells[1] for cells in table.values()} == {"yes", "no"}
    for pair, (_, safe, *numbers) in table.items():
        _, verdict, _, *said = table_of(advise(pair).report())[pair]
        assert (safe == "yes") == (verdict == "stable")
        assert numbers == said
    swapped = [pair for pair, cells in table.items() if "swapped" in cells[0]]
    assert swapped == [(0.999, 0.9)]
    assert COMMON[swapped[0][::-1]] == "PyTorch's default"


def test_the_formulas_and_numbers_in_the_text():
    default, beta1, beta2 = advise((0.9, 0.999)), 0.9, 0.999
    letters = {r"\gamma": beta1, r"\beta": beta2}
    assert value(formula(PAGE, "a step is $"), letters) == pytest.approx(default.typical_update)
    assert value(formula(PAGE, "the larger of 1 and $"), letters) == pytest.approx(default.rms_update)
    assert value(formula(PAGE, "crosses it at $"), letters) == pytest.approx(default.critical_batch)
    assert f"at 0.9 that is {default.typical_update:.3f}" in TEXT
    assert f"At the default pair that is {default.rms_update:.2f}" in TEXT
    assert f"From (0.9, 0.95) that is {advise((0.9, 0.95)).critical_batch:.2f} times" in TEXT
    assert f"from the default pair {default.critical_batch:.0f} times" in TEXT
    assert round(default.second_moment_memory / default.momentum_memory) == 100
    assert "a hundred times as long as its momentum" in TEXT


def side(pair, strategy, k):
    return advise(pair, k=k, strategy=strategy).stable_discrete


def test_which_strategies_keep_a_pair_on_its_side_is_as_the_page_says():
    rates = (0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
    grid = [(beta1, beta2) for beta1 in rates for beta2 in rates]
    crossed = {s for s in STRATEGIES for pair in grid for k in (2, 4) if side(pair, s, k) != side(pair, s, 1)}
    assert crossed == {"inverse_exp", "scaled", "meta"}
    assert all(side(pair, "meta", 2) for pair in grid)
    assert "`repeat` and `root` leave a pair on its side of the boundary. `inverse_exp` and `scaled` may take it across" in TEXT
