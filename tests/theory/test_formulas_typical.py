"""The formulas and numbers that the page on typical updates displays are those that the code computes."""

import math
import re

import pytest
from test_formulas import INSIDE, PAIRS, N, close, letters
from tex import BOOK, formula, rows, value

from kadam.theory import stability

PAGE = "typical"
OUTSIDE = PAIRS["outside"]


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_random_signs_and_white_gradients(pair):
    s = letters(**pair) | {r"\max": max}
    text = formula(PAGE, r"\le\; R_n^2, \qquad R_n :=").replace(r"\max(1, r^n)", "M")
    assert value(text, s | {"M": max(1.0, s["r"] ** N)}) == pytest.approx(stability.rms_bound(N, **pair), rel=1e-12)
    close(PAGE, r"where $c_0 =", s, math.sqrt(1 - pair["beta"]) / (1 - pair["gamma"]))
    exact = stability.white_update(gamma=pair["gamma"]) ** 2 * (1 + pair["gamma"] ** (N + 1)) / (1 - pair["gamma"] ** (N + 1))
    close(PAGE, r":label: eq-white \mathbb E\, u_n^2 =", s, exact)


def test_silence():
    s = letters(**OUTSIDE) | {"p_0": 0.6, r"\delta": 0.6, "e": 0.2, r"\mathbb E g^2": 1.7, "k": N}
    close(PAGE, r":label: eq-tail \kappa =", s, stability.silence_tail(0.6, **OUTSIDE))
    bound = stability.independent_bound(N, 0.2 / math.sqrt(1.7), 0.6, **OUTSIDE) ** 2
    close(PAGE, r":label: eq-independent \mathbb E\, u_n^2 \;\le\;", s, bound)


def test_the_peak():
    G, eps = 3.0, 1e-6
    s = letters(**OUTSIDE) | {"G": G, r"\varepsilon": eps}
    s["t"], s["Y"] = (value(formula(PAGE, left), s) for left in (r":label: eq-letters t =", r"{\ln\beta}, \qquad Y ="))
    close(PAGE, ":label: eq-peak", s, stability.capped_peak(G, eps, **OUTSIDE))
    inside = letters(**INSIDE) | {"G": G, r"\varepsilon": eps}
    close(PAGE, "the largest is $f(0) =", inside, stability.capped_peak(G, eps, **INSIDE))
    close(PAGE, ":label: eq-after f(k) =", inside | {"k": 0}, stability.capped_peak(G, eps, **INSIDE))


def test_the_table_of_critical_silence():
    table = rows(PAGE, r"PyTorch `betas` | $(\beta, \gamma)$ | critical silence $\beta/\gamma^2$")
    for betas, pair, critical, active in table:
        gamma, beta = (float(x) for x in re.findall(r"[\d.]+", betas))
        assert pair == f"({beta:g}, {gamma:g})" or pair == f"$({beta:g}, {gamma:g})$"
        exact = float(stability.critical_silence(beta=beta, gamma=gamma))
        assert critical == f"{exact:.3f}"
        assert active == f"{100 * (1 - exact):.1f}%"
    assert len(table) == 5


def test_the_numbers_in_the_text():
    text = (BOOK / f"{PAGE}.md").read_text()
    default = {"beta": 0.999, "gamma": 0.9}
    assert f"$R_1 = {stability.rms_bound(1, **default):.4f}$" in text
    assert f"At the default betas it is {stability.rms_bound(10**6, **default):.3f}" in text
    assert f"a root mean square of {stability.white_update(gamma=0.9):.3f}" in text
    assert f"gives {stability.capped_peak(1, 1e-8, beta=0.9, gamma=0.99):,.2f} and" in text
    assert f"the latest {stability.required_silence(100, 0.5, beta=0.9):.0f} gradients" in text
