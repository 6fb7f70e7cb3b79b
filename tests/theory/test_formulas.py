"""The formulas that the pages display are those that the code computes: each is read from its page and evaluated."""

import math
import re

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2
from tex import BOOK, formula, rows, value

from kadam import Decay, stages
from kadam.theory import box, exact_rates, flow, geometry, invariance, reference, relatives, stability

N, J = 7, 3
PAIRS = {"inside": {"beta": 0.93, "gamma": 0.8}, "outside": {"beta": 0.75, "gamma": 0.9}}
INSIDE = PAIRS["inside"]


def letters(beta, gamma):
    """The symbols that the theory's pages use throughout, at iteration N."""
    C = stability.coefficient(beta=beta, gamma=gamma)
    correction = reference.kadam_updates([1.0] + N * [0.0], [Decay(beta=beta, gamma=gamma)])[-1]
    correction /= (1 - gamma) * gamma**N / math.sqrt((1 - beta) * beta**N)  # u_n over m_n/sqrt(v_n)
    size = {r"|C|": abs(C), "C": C, "a": (1 - gamma) / gamma, "b": (1 - beta) / beta, "r": gamma**2 / beta}
    return {r"\beta": beta, r"\gamma": gamma, "n": N, "j": J, r"\infty": math.inf, "c_n": correction, **size}


def close(page, left, symbols, expected, tolerance=1e-12):
    assert value(formula(page, left), symbols) == pytest.approx(expected, rel=tolerance), (page, left)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_theory_the_discrete_bound_and_its_other_forms(pair):
    s = letters(**pair)
    bound = stability.max_update_bound(N, **pair)
    close("theory", "{S_n}\\,, \\\\[1ex] S_n =", s, sum(s["r"] ** i for i in range(N + 1)))
    s["S_n"] = value(formula("theory", r"\sum_{j=0}^{n} r^{\,j} = \begin{cases}"), s)
    close("theory", "D_n :=", s, bound)
    close("theory", r":label: eq-symmetric D_n^2 =", s | {"A_n": lambda x: sum(x**i for i in range(N + 1))}, bound**2)
    close("theory", r"u_n = c_n \frac{m_n}{\sqrt{v_n}}, \qquad c_n =", s, s["c_n"])
    close("notation", r"u_n &= c_n\, \frac{m_n}{\sqrt{v_n}}, \qquad c_n =", s, s["c_n"])
    close("continuous-time", r"Let $F = u + \lambda\theta$ and let $c(s) =", s | {"s": N}, s["c_n"])


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_theory_the_worst_gradients_and_silence(pair):
    s = letters(**pair)
    close("theory", "the gradients ```{math} g_j =", s, stability.worst_case_gradients(N, **pair)[J])
    start = {"c_{n_0}": 0.0, "u_{n_0}": 1.0, "n_0": J}
    start["c_{n_0}"] = math.sqrt(1 - pair["beta"] ** (J + 1)) / (1 - pair["gamma"] ** (J + 1))
    silence = stability.silent_update([J, N], **pair)
    close("theory", r"Then for $n \ge n_0$ ```{math} u_n =", s | start, silence[1] / silence[0])


def test_theory_the_limit_and_the_rates():
    s, outside = letters(**INSIDE), letters(**PAIRS["outside"])
    close("theory", r"D_\infty := \lim_{n\to\infty} D_n =", s, stability.max_update_bound(10**6, **INSIDE))
    close("theory", r"D_\infty^2 =", s, stability.max_update_bound(10**6, **INSIDE) ** 2)
    close("theory", r"\lim K_n^2 =", s, stability.max_update_bound(10**6, **INSIDE, time="continuous") ** 2)
    close("theory", r"**Growth rates.** Let $\rho =", outside, stability.growth_rate(**PAIRS["outside"]))
    close("theory", r"\frac1n \ln D_n \to", outside, stability.growth_rate(**PAIRS["outside"]))
    edge = letters(beta=0.64, gamma=0.8)
    exact = stability.max_update_bound(10**9, beta=0.8**2, gamma=0.8) / math.sqrt(10**9)
    close("theory", r"$D_n/\sqrt n \to", edge, exact, tolerance=1e-6)


@pytest.mark.parametrize(("pair", "case"), [("inside", r"B_n = \begin{cases}"), ("outside", r"\sqrt{n} & C = 0, \\")])
def test_theory_the_continuous_bound(pair, case):
    s, pair = letters(**PAIRS[pair]), PAIRS[pair]
    close("theory", "a &=", s, (1 - pair["gamma"]) / pair["gamma"])
    close("theory", "b &=", s, (1 - pair["beta"]) / pair["beta"])
    first, second = r"Let ```{math} C =", r"C = 2a - b ="
    for left in (first, second, rf"{second} \frac{{2(1-\gamma)}}{{\gamma}} - \frac{{1-\beta}}{{\beta}} ="):
        close("theory", left, s, stability.coefficient(**pair))
    s["B_n"] = value(formula("theory", case), s)
    close("theory", "K_n :=", s, stability.max_update_bound(N, **pair, time="continuous"))


def test_theory_the_boundaries_their_gap_and_the_normal_curve():
    s, gamma = letters(**INSIDE), INSIDE["gamma"]
    discrete, continuous = (stability.boundary(gamma, time=time) for time in ("discrete", "continuous"))
    close("theory", r"The algorithm has the boundary $\beta =", s, discrete)
    close("theory", r"the model $\beta =", s, continuous)
    close("theory", ":label: eq-gap", s, continuous - discrete)
    close("theory", r":label: eq-gap \frac{\gamma}{2-\gamma} - \gamma^2 =", s, continuous - discrete)
    close("theory", r"(1 - 2\gamma + \gamma^2)}{2-\gamma} =", s, continuous - discrete)
    betas, gammas = stability.normal_curve(num=5)
    constant = [
        value(formula("theory", "at right angles are those on which $"), {r"\beta": b, r"\gamma": g})
        for b, g in zip(betas, gammas, strict=True)
    ]
    assert np.ptp(constant) < 1e-12
    assert f"the constant is ${constant[0]:.10g}$" in (BOOK / "theory.md").read_text()


def shown(number):
    """How a table writes a number: as it stands, without the dollars of TeX."""
    return number.strip("$")


def same(cell, number):
    """Whether a cell is the number, rounded to the digits that the cell has."""
    digits = len(shown(cell).partition(".")[2])
    return shown(cell) == f"{float(number):.{digits}f}"


def pair_of(cell):
    beta, gamma = (float(x) for x in re.findall(r"[\d.]+", cell))
    return {"beta": beta, "gamma": gamma}


def test_theory_the_tables_of_bounds_and_rates():
    limits = rows("theory", "PyTorch `betas`")
    for betas, pair, limit in limits:
        given = pair_of(pair)
        assert tuple(reversed(given.values())) == tuple(pair_of(betas).values())
        bound = box.radius(**given, weight_decay=1)
        assert same(limit, bound) if math.isfinite(bound) else limit.startswith("infinite: $0.9 < 0.9025$")
    rates = rows("theory", r"$(\beta, \gamma)$ | discrete rate $\rho$")
    for pair, *cells in rates:
        for cell, time in zip(cells, ("discrete", "continuous"), strict=True):
            assert same(cell, stability.growth_rate(**pair_of(pair), time=time))
    early = rows("theory", r"$(\beta, \gamma)$ | $K_n < D_n$ for")
    for pair, last, *cells in early:
        n = np.arange(10**5 + 1)
        discrete, continuous = (stability.max_update_bound(n, **pair_of(pair), time=t) for t in ("discrete", "continuous"))
        assert last == rf"$n \le {n[continuous < discrete * (1 - 1e-12)].max()}$"
        assert all(map(same, cells, (continuous[1], discrete[1])))
    assert (len(limits), len(rates), len(early)) == (6, 4, 5)


def test_theory_the_tables_of_stages_and_of_the_normal_curve():
    ((_, *bounds),) = rows("theory", "strategy | `repeat`")
    for strategy, cell in zip(("repeat", "inverse_exp", "scaled", "root", "meta"), bounds, strict=True):
        last = stages(Decay.from_betas((0.9, 0.999)), 2, strategy)[-1]
        assert same(cell, box.radius(beta=last.beta, gamma=last.gamma, weight_decay=1))
    pairs = {"stable": Decay(beta=0.999, gamma=0.9), "unstable": Decay(beta=0.9, gamma=0.99)}
    for order, reached, limit in rows("theory", "stage 1, stage 2"):
        used = [pairs[name] for name in order.split(", ")]
        assert same(reached, np.abs(reference.kadam_updates([1.0] + 200 * [0.0], used)).max())
        assert same(limit, stability.max_update_bound(200, beta=used[-1].beta, gamma=used[-1].gamma))
    for _, beta, gamma, C in rows("theory", r"where | $\beta$")[1:-1]:
        b, g = float(beta), float(gamma)
        assert 2 * b**3 + g**3 == pytest.approx(2.723005998, abs=1e-4)
        assert float(shown(C)) == pytest.approx(stability.coefficient(beta=b, gamma=g), abs=3e-5)


def test_continuous_time_the_table_of_rates():
    table = rows("continuous-time", r"$\gamma$ | exact, $-\ln\gamma$")
    for gamma, exact, paper in table:
        assert same(exact, flow.exact_rate(float(gamma)))
        assert same(paper, 1 / float(gamma) - 1)
    assert len(table) == 4


def test_notation_a_step_of_adam_and_the_strategies():
    gradients, decay = [0.3, -1.2, 0.7], Decay(**INSIDE)
    (m,), (v,) = reference.kadam_moments(gradients[:-1], [decay])
    (m_next,), (v_next,) = reference.kadam_moments(gradients, [decay])
    s = {r"\beta": decay.beta, r"\gamma": decay.gamma, "m_{n-1}": m, "v_{n-1}": v, "g_n": gradients[-1]}
    close("notation", "m_n &=", s, m_next)
    close("notation", r"(1-\gamma)\, g_n, \qquad v_n =", s, v_next)
    for strategy, left in (("inverse_exp", "| `inverse_exp` | $x_i ="), ("root", "| `root` | $x_i =")):
        third = stages(decay, 3, strategy)[-1]
        for x, x_i in ((decay.beta, third.beta), (decay.gamma, third.gamma)):
            close("notation", left, {"x": x, "k": 3}, x_i)
    scaled = stages(decay, 3, "scaled")[-1].gamma
    close("notation", r"| `scaled` | $\dfrac{x_i}{1-x_i} =", {"x": decay.gamma, "k": 3}, scaled / (1 - scaled))


THETA, M, V = 0.8, 0.5, 0.7


@pytest.fixture
def problem():
    """One weight of a loss whose gradient is 1.5 theta."""
    given = {"decay": Decay(**INSIDE), "eta": 0.1, "steps": 1, "weight_decay": 0.4}
    return flow.Problem(lambda x: 1.5 * x, [THETA], jvp=lambda x, d: 1.5 * d, **given)


def test_continuous_time_the_papers_equation(problem):
    """Rates of the moments, and the force behind the second derivative."""
    s = letters(**INSIDE) | {"g": 1.5 * THETA, "m": M, "v": V, r"\eta": problem.eta}
    equation = flow.paper_equation(problem)
    velocity = 0.03
    _, drive, m_target, v_target = equation.target(2.0, np.array([[THETA], [velocity], [M], [V]]), 0)[:, 0]
    close("continuous-time", r"-\eta F, \\ m' =", s, equation.rates["m"] * (m_target - M))
    close("continuous-time", r"(g - m), \qquad v' =", s, equation.rates["v"] * (v_target - V))
    force = value(formula("continuous-time", r"\theta' + \tfrac12\theta'' ="), {r"\eta": problem.eta, "F": 1.0})
    curvature = equation.rates["velocity"] * (drive - velocity)
    assert velocity + curvature / 2 == pytest.approx(force * float(problem.force(2.0, THETA, M, V)))


def test_continuous_time_the_half_step_flow(problem):
    equation = flow.second_order_flow(problem)
    s = letters(**INSIDE) | {r"\eta": problem.eta, r"\lambda": problem.weight_decay}
    for left in (r"k_\gamma =", r"k_\gamma = \frac1a - \frac12 \coth\frac a2 ="):
        close("continuous-time", left, s | {"a": -math.log(INSIDE["gamma"])}, flow.lead(INSIDE["gamma"]))
    rate = value(formula("continuous-time", r"with $\eta_\lambda ="), s)
    derivative, m_target, v_target = equation.target(2.0, np.array([[THETA], [M], [V]]), 0)[:, 0]
    assert derivative == pytest.approx(-rate * float(problem.force(1.5, THETA, M, V)))
    s |= {"M": M, "V": V, r"k_\gamma": flow.lead(INSIDE["gamma"]), r"k_\beta": flow.lead(INSIDE["beta"])}
    s |= {"g": 1.5 * THETA, "g'": 1.5 * derivative}
    close("continuous-time", r"\lambda\theta \Bigr), \\[0.5ex] M' =", s, equation.rates["m"] * (m_target - M))
    close("continuous-time", r"g' - M \bigr), \\[0.5ex] V' =", s, equation.rates["v"] * (v_target - V))
    s["g'"] = 1.5 * -rate * (1 + problem.weight_decay * THETA)  # the first update is the sign of the gradient
    _, m, v = equation.start()[:, 0]
    close("continuous-time", r"M(0) =", s, m)
    close("continuous-time", r"V(0) =", s, v)


ETA, LAMBDA, GAMMA = 0.02, 0.3, 0.7
NORM = {r"\eta": ETA, r"\lambda": LAMBDA, r"\gamma": GAMMA, "q": 1 - ETA * LAMBDA}


def test_invariance_the_norm_term_by_term():
    w, u = np.array([[0.6, -0.9]]), np.array([[0.4, 1.1]])
    s = NORM | {r"\|W_n\|": np.linalg.norm(w), r"\|u_n\|": np.linalg.norm(u), r"\langle W_n, u_n \rangle": np.sum(w * u)}
    expected = sum(invariance.norm_terms(w, u, eta=ETA, weight_decay=LAMBDA))[0]
    close("invariance", r":label: eq-norm-identity \|W_{n+1}\|^2 =", s, expected)


def test_invariance_the_cross_term_and_the_factor():
    squares, moments = [1.3, 0.4, 2.1, 0.8], [1.0, 0.7, 2.0, 0.6]
    cross = invariance.cross_term(squares, eta=ETA, gamma=GAMMA, weight_decay=LAMBDA, second_moments=moments)
    share = value(formula("invariance", "bias-corrected momentum and ```{math} r_n ="), NORM | {"n": 3})
    changed = value(formula("invariance", "write $d_n ="), {r"\hat v_{n-1}": moments[2], r"\hat v_n": moments[3]})
    before = {"r_n": share, "d_n": changed, "x_{n-1}": cross[2], r"\|u_{n-1}\|": math.sqrt(squares[2])}
    close("invariance", r"x_0 = 0, \qquad x_n =", NORM | before, cross[3])
    long = invariance.cross_term(np.full(300, 1.7), eta=ETA, gamma=GAMMA)
    close("invariance", r"x_n &\to", NORM | {r"\|u\|": math.sqrt(1.7)}, long[-1])
    grown = invariance.growth_factor(GAMMA) * ETA**2 * 1.7
    close("invariance", r"\|W_{n+1}\|^2 - \|W_n\|^2 &\to", NORM | {r"\|u\|": math.sqrt(1.7)}, grown)


def test_invariance_the_equilibrium():
    given = {"eta": ETA, "weight_decay": LAMBDA}
    s, rare = NORM | {r"\|u\|": math.sqrt(1.7)}, 1e-3
    close(
        "invariance",
        r":label: eq-equilibrium \begin{aligned} \|W\|^2 &=",
        s,
        invariance.equilibrium_norm(1.7, gamma=GAMMA, **given),
    )
    angle = invariance.rotation_per_step(gamma=GAMMA, **given)
    close("invariance", r":label: eq-rotation \cos\alpha =", s, math.cos(angle))
    close("invariance", r"it falls by $e$ every $", s, invariance.equilibrium_time(**given))
    strong = given | {"weight_decay": 0.9 / ETA}
    close(
        "invariance",
        r"(faster from one single starting norm), and every $",
        s,
        invariance.equilibrium_time(gamma=GAMMA, **strong),
    )
    cosine = invariance.equilibrium_cosine(gamma=GAMMA, **given)
    close("invariance", r":label: eq-cosine \cos(W, u) =", s, cosine)
    bound = invariance.largest_cross(1.7, gamma=GAMMA, **given)
    close("invariance", r"No smaller factor than $", s, bound / 1.7)
    small = s | {r"\lambda": LAMBDA * rare}
    given["weight_decay"] *= rare
    close("invariance", r"1-\gamma q} \\ &\approx", small, invariance.equilibrium_norm(1.7, gamma=GAMMA, **given), 1e-3)
    close("invariance", r"\alpha \approx", small, invariance.rotation_per_step(gamma=GAMMA, **given), 1e-3)
    close("invariance", r"$-1/(2\ln q) \approx", small, invariance.equilibrium_time(**given), 1e-3)
    close("invariance", r"1-\gamma^2 q^2}} \approx", small, invariance.equilibrium_cosine(gamma=GAMMA, **given), 1e-3)


def test_invariance_the_size_of_the_update_and_the_steady_ratio():
    given, rho = {"eta": ETA, "weight_decay": LAMBDA}, -0.4
    s = NORM | {r"\rho": rho}
    least = invariance.update_share(GAMMA, -1)
    close("invariance", r"averages over time in place of means. Then ```{math}", s, least)
    close(
        "invariance",
        r":label: eq-share \frac{\overline{\|u\|^2}}{\overline{\|s\|^2}} =",
        s,
        invariance.update_share(GAMMA, rho),
    )
    close(
        "invariance",
        r":label: eq-steady \frac{\overline{\|u\|^2}}{\overline{\|W\|^2}} =",
        s,
        invariance.steady_ratio(gamma=GAMMA, **given) ** 2,
    )
    rare = {"eta": ETA, "weight_decay": LAMBDA * 1e-4}
    small = s | {r"\lambda": rare["weight_decay"]}
    close("invariance", r"{1+\gamma q} \approx", small, invariance.steady_ratio(gamma=GAMMA, **rare) ** 2, 1e-3)
    ratio = invariance.steady_ratio(invariance.update_share(GAMMA, rho), gamma=GAMMA, **rare)
    close("invariance", r":label: eq-steady-factor \frac{\|s\|}{\|W\|} \approx", small, ratio, 1e-3)


def test_invariance_typed_numbers():
    for rho, factor in rows("invariance", r"correlation of gradients, $\gamma = 0.9$ | factor"):
        correlation = float(rho.strip("$"))
        without, with_momentum = (
            invariance.steady_ratio(share, eta=1.0, weight_decay=1e-9, gamma=g)
            for share, g in ((1.0, 0.0), (invariance.update_share(0.9, correlation), 0.9))
        )
        assert f"{with_momentum / without:.3g}" == factor
    text = " ".join((BOOK / "invariance.md").read_text().split())
    strong, stronger = ({"eta": 1.0, "weight_decay": decay, "gamma": gamma} for decay, gamma in ((0.08, 0.9), (0.02, 0.99)))
    times = [invariance.equilibrium_time(**one | change) for one in (strong, stronger) for change in ({}, {"gamma": 0.0})]
    said = "takes {:.3g} steps, not {:.2f}; at $\\gamma = 0.99$ and $\\eta\\lambda = 0.02$, {:.3g}, not {:.3g}.".format(*times)
    assert said in text
    cosine = invariance.equilibrium_cosine(eta=1.0, weight_decay=0.001, gamma=0.9)
    assert f"The cosine is ${cosine:.3g}$ at" in text
    least, uncorrelated = invariance.update_share(0.9, -1), invariance.update_share(0.9)
    assert f"the least share is {least:.3g}; uncorrelated gradients have {uncorrelated:.3g}." in text
    excess = invariance.steady_ratio(invariance.update_share(0.99), eta=1.0, weight_decay=0.01, gamma=0.99) / 0.02**0.5
    assert f"$\\eta\\lambda = 0.01$ the ratio is {excess:.3g} times as large." in text


def test_box_the_radius_the_gap_and_the_window():
    s, decay = letters(**INSIDE), {"weight_decay": 0.3}
    close("box", "R^2 &=", s, box.radius(**INSIDE, weight_decay=1) ** 2)
    close("box", "The limit of $D_n^2$ is $", s, box.radius(**INSIDE, weight_decay=1) ** 2)
    close("box", r"\tfrac12\sum_i |a_i| \le K, \qquad K =", s, box.average_excess(**INSIDE))
    theta, g = np.array([0.5, -1.5]), np.array([0.7, 0.2])
    inner = {r"\langle g, \theta\rangle": g @ theta, r"\|g\|_1": np.abs(g).sum(), r"\lambda": 0.3}
    close("box", r"G(\theta) =", inner, box.frank_wolfe_gap(theta, g, **decay))
    step = {r"\theta": 0.5, r"\alpha": 0.1, "s": -1 / 0.3}
    close("box", r"+ \lambda\theta) =", step, box.frank_wolfe_step([0.5], [0.7], step=0.1, **decay)[0])
    largest = value(formula("box", r"(1-\alpha)^{L-1-s}\,\gamma^s = \begin{cases}"), s | {r"\alpha": 0.05, "L": 6})
    assert largest == pytest.approx(sum(0.95 ** (5 - i) * 0.8**i for i in range(6)))
    shown = s | {r"\alpha": 0.05, "S": 3.0, "L": box.window_steps(gamma=0.8, step=0.05)}
    shown["F(L^*)"] = value(formula("box", r"(1-\alpha)^{L-1-s}\,\gamma^s = \begin{cases}"), shown)
    shown["W"] = box.window_excess(**INSIDE, step=0.05)
    close("box", r"1 + W \ln S, \qquad W =", shown, shown["W"])
    close("box", r"\limsup_{n\to\infty}\, (\lambda\theta_n)^2 \;\le\;", shown, 1 + shown["W"] * math.log(3))
    crossing = value(formula("box", "else the smallest one that is at least $"), shown)
    assert math.ceil(crossing) == shown["L"]


def test_box_the_table_of_windows_and_the_numbers_in_the_text():
    table = rows("box", r"$\beta$ | $\gamma$ | $\alpha = \eta\lambda$")
    assert len(table) == 6
    for row in table:
        beta, gamma, step, length, window, memory = map(float, row)
        decay = {"beta": beta, "gamma": gamma}
        assert f"{box.window_excess(**decay, step=step):.4g}" == f"{window:.4g}"
        assert f"{step * box.average_excess(**decay):.4g}" == f"{memory:.4g}"
        assert box.window_steps(gamma=gamma, step=step) == length
    text = (BOOK / "box.md").read_text()
    assert f"the limit is ${box.radius(beta=0.9, gamma=0.91, weight_decay=1) ** 2:.4f}$" in text
    fresh = 0.09**2 / 0.1 * np.cumsum((0.91**2 / 0.9) ** np.arange(3000))
    assert f"a period of 3,000 steps reaches ${fresh.mean():.4f}$" in text
    assert f"for PyTorch's defaults it is {box.radius(beta=0.999, gamma=0.9, weight_decay=1):.1f}" in text
    assert f"{box.average_excess(beta=0.999, gamma=0.9):.0f} for the defaults" in text


def test_geometry_the_statistic_and_where_descent_ends():
    sizes = {r"\max_i |H_{ii}|": 5.0, r"\operatorname{median}_i |H_{ii}|": 2.0}
    close("geometry", r"R_{\mathrm{med}} =", sizes, geometry.r_med([1.0, -2.0, 5.0]))
    c, b = np.array([0.3, -0.5]), np.array([0.2, 0.1])
    end = geometry.gradient_descent_end((c - b)[:, None], c + b, target=[1.4])
    norms = {r"\|c\|": np.linalg.norm(c), r"\|b\|": np.linalg.norm(b)}
    gain = brentq(lambda G: value(formula("geometry", ":label: eq-gain"), norms | {"G": G}) - 1.4, 0.1, 100)
    row = {"G": gain, "c_i": c[0], "b_i": b[0]}
    close("geometry", "gradient flow $w_i =", row, math.sqrt(end.layer1[0, 0]))
    close("geometry", "gradient flow $w_i = G c_i + b_i/G$ and $x_i =", row, math.sqrt(end.layer2[0]))


def test_geometry_the_largest_first_weight_of_each_layer():
    d = 1e60
    for text, entries in (("variance $d^{-3}$ has $\\delta \\approx", d**2), ("layer $W$ and $\\delta \\approx", d)):
        typical = math.sqrt(chi2.isf(-math.expm1(-math.log(2) / entries), 1))  # median of the largest of so many
        close("geometry", text, {"d": d}, d**-1.5 * typical, tolerance=0.01)


def test_geometry_the_typical_value_and_equal_steps():
    h = 50
    quantile = {"F^{-1}": lambda share: chi2.ppf(share, 1), "h": h}
    close("geometry", "to leading order in $h$, ```{math}", quantile, geometry.typical_r_med(h))
    tail = r"F^{-1}(1/2)} \;\sim\;"
    close("geometry", tail, {"h": 1e250}, geometry.typical_r_med(1e250), tolerance=0.02)
    close("geometry", tail, {"h": math.e}, 2 / chi2.ppf(0.5, 1), tolerance=1e-3)
    close("geometry", "squares is at most $", {"p": 2.0, r"\delta": 0.3}, geometry.equal_steps_bound(0.3, 2.0))


def test_a_changed_sign_exponent_or_letter_is_a_changed_number():
    """The reader itself: what it reads, and that it refuses what it does not know."""
    s = {"x": 3.0, r"\gamma": 0.5, "n": 2, "A": lambda x: 10 * x, r"\|u\|": 2.0}
    read = {
        r"\tfrac12 x^{2} - \frac{1-x}{2}\, \sqrt{x+1}": 6.5,
        r"\sum_{j=0}^{n} \gamma^{\,j}": 1.75,
        r"-\ln\gamma - \bigl(x - 1\bigr)^2/4": math.log(2) - 1,
        r"A(x)/2 + \|u\|^2": 19.0,
        r"2x(1-\gamma) \cdot x": 9.0,
    }
    for text, number in read.items():
        assert value(text, s) == pytest.approx(number)
    for text in (r"\gamm", r"y", r"x +", r"\frac{1}{x"):
        with pytest.raises((AssertionError, KeyError)):
            value(text, s)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_theory_the_hyperbolic_form_and_the_exact_rates(pair):
    a, b = -math.log(pair["gamma"]), -math.log(pair["beta"])
    s = letters(**pair) | {"a": a, "b": b, "N": N + 1}
    form = value(formula("theory", r"\Phi(N) ="), s)
    first = value(formula("theory", r"\Phi(N) ="), s | {"N": 1})
    assert form / first == pytest.approx(stability.max_update_bound(N, **pair) ** 2, rel=1e-9)
    bound = exact_rates.bound_at_exact_rates(N, **pair)
    close("theory", r":label: eq-exact-rates X_n^2 =", s | {r"\Phi": lambda x: form}, bound**2)
    close("theory", r"\frac{X_n}{D_n} =", s | {"h": lambda x: math.sinh(x) / x}, exact_rates.excess(**pair))


def test_relatives_the_bounds_and_responses():
    s = letters(**INSIDE)
    close("relatives", r":label: eq-nadam-limit N_\infty =", s, relatives.nadam_limit(**INSIDE))
    close("relatives", "u(s) =", s | {"s": 0.1, "e": math.e}, relatives.steady_update(0.1, **INSIDE))
    close("relatives", "B < B_{\\mathrm c} =", s | {"H": 5.0, r"\log_2": math.log2}, relatives.critical_batch(5.0, gamma=0.8))
