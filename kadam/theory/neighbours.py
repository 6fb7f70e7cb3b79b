"""Other texts of Adam in continuous time, to compare with: the paper's equation in its own time, and two of leading order.

All are slow or coarse on purpose. The first is the paper's equation as it is printed, given to a library's adaptive solver:
:mod:`kadam.theory.flow` is tested against it. The others are what is left of Adam at the leading order in eta; they differ in
their bias correction.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from kadam.decay import Decay, as_float
from kadam.theory.arguments import Array
from kadam.theory.flow import Diverged, Equation, Gradient, Gradients, Problem, follow, ratio


def paper_flow_in_time(
    grad: Gradient,
    theta0: ArrayLike,
    *,
    decay: Decay,
    eta: float,
    steps: int,
    p: float = 1.0,
    weight_decay: float = 0.0,
    rtol: float = 1e-9,
) -> Array:
    """The paper's equation in its own time, theta at t_n = n eta^p for n = 0, 1, ..., steps: shape (steps + 1, d).

    lambda theta + eta^(p-1) theta' + eta^(2p-1)/2 theta'' = -u(t), with the moments' kernels of rate
    (1-gamma)/(gamma eta^p) and (1-beta)/(beta eta^p) and u = sqrt(1-beta^(1+t/eta^p))/(1-gamma^(1+t/eta^p)) m/sqrt(v).
    Start values are our reading, as in :mod:`kadam.theory.flow`. ``rtol``: scipy's DOP853 keeps every component to this
    part of the largest, from 1e-13. Both decays must be positive, and eta^p and eta^(2p-1) within float64.
    Source: Gould & Tanaka (arXiv 2411.05746).
    """
    problem = Problem(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    if problem.minibatches:
        raise ValueError(f"grad must be one function here, got {len(problem.grads)}: minibatches jump, and the solver adapts")
    if not np.isfinite(as_float(p)):
        raise ValueError(f"p must be a finite number, got {p!r}")
    if not 1e-13 <= as_float(rtol) < 1:
        raise ValueError(f"rtol must lie in [1e-13, 1), got {rtol!r}")
    if min(decay.beta, decay.gamma) == 0:
        raise ValueError(f"decay must have beta > 0 and gamma > 0 here, got {decay}")
    p, rtol, eta, weight_decay = float(p), float(rtol), problem.eta, problem.weight_decay
    if max(abs(p), abs(2 * p - 1)) * abs(np.log10(eta)) > 150:
        raise ValueError(f"p must be such that eta^p and eta^(2p-1) lie between 1e-150 and 1e150, got p={p!r} at eta={eta!r}")
    d, unit = len(problem.theta0), eta**p

    def u(t: float, m: Array, v: Array) -> Array:
        n = 1 + t / unit
        return np.sqrt(1 - decay.beta**n) / (1 - decay.gamma**n) * ratio(m, v)

    def derivative(t: float, y: Array) -> Array:
        theta, velocity, m, v = y.reshape(4, d)
        g = problem.gradient(theta, 0)
        force = -u(t, m, v) - weight_decay * theta - eta ** (p - 1) * velocity
        slopes = (1 - decay.gamma) / decay.gamma * (g - m), (1 - decay.beta) / decay.beta * (g**2 - v)
        return np.concatenate([velocity, 2 * force / eta ** (2 * p - 1), slopes[0] / unit, slopes[1] / unit])

    with np.errstate(all="ignore"):
        g = problem.gradient(problem.theta0, 0)
        m, v = (1 - decay.gamma) * g, (1 - decay.beta) * g**2
        velocity = -(eta ** (1 - p)) * (u(0.0, m, v) + weight_decay * problem.theta0)
        start = np.concatenate([problem.theta0, velocity, m, v])
        if not np.all(np.isfinite(start)):
            raise Diverged(0, "the velocity or a moment at the start is not finite", problem.theta0)
        sizes = np.repeat([np.max(np.abs(part)) or 1.0 for part in start.reshape(4, d)], d)
        times = np.arange(steps + 1) * unit
        solved = solve_ivp(derivative, (0, times[-1]), start, "DOP853", times, rtol=rtol, atol=rtol * sizes)
    reached = np.reshape(solved.y, (4 * d, -1))[:d] if len(solved.y) else problem.theta0[:, None]
    if not solved.success or not np.all(np.isfinite(reached)):
        raise Diverged(reached.shape[1] - 1, f"scipy gave up: {solved.message}", reached[:, -1])
    return np.asarray(reached.T)


def classical_limit(
    grad: Gradients, theta0: ArrayLike, *, decay: Decay, eta: float, steps: int, weight_decay: float = 0.0, substeps: int = 8
) -> Array:
    """Three first-order equations: theta at s = 0, 1, ..., steps, shape (steps + 1, d).

    theta' = -eta (u + lambda theta), m' = (1-gamma)(g - m), v' = (1-beta)(g^2 - v), m(0) = v(0) = 0, with the bias
    correction that goes with these rates, u = sqrt(1 - e^(-(1-beta)s)) / (1 - e^(-(1-gamma)s)) m/sqrt(v).
    Source: the non-autonomous equation of Barakat & Bianchi (arXiv 1810.02263), in our notation and with eps = 0.
    """
    problem = Problem(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    slow, slower = 1 - decay.gamma, 1 - decay.beta

    def correction(s: float) -> float:
        return float(np.sqrt(-np.expm1(-slower * s)) / -np.expm1(-slow * s))

    return follow(_leading_order(problem, correction, first=1.0), problem, substeps=substeps)


def integral_model(
    grad: Gradients, theta0: ArrayLike, *, decay: Decay, eta: float, steps: int, weight_decay: float = 0.0, substeps: int = 8
) -> Array:
    """Heredia's integro-differential equation: theta at s = 0, 1, ..., steps, shape (steps + 1, d).

    theta' = -eta (u + lambda theta), m and v integrals over the past of g and g^2 with the kernels (1-gamma) e^(-(1-gamma) s)
    and (1-beta) e^(-(1-beta) s), and Adam's own correction, u = sqrt(1 - beta^s) / (1 - gamma^s) m/sqrt(v). An integral with
    such a kernel solves m' = (1-gamma)(g - m), m(0) = 0, and that is how it is computed here. ``decay`` needs beta > 0:
    without, u is infinite at the start.
    Source: Heredia (arXiv 2411.09734), as the public code that goes with it has it: github.com/carlosherediapimienta/
    numerical_simulations_nonlocal, solvers/adamsolver.py, with eps = 0. Weight decay as here and u(0) as a limit are ours.
    """
    problem = Problem(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    beta, gamma = decay.beta, decay.gamma
    if beta == 0:
        raise ValueError(f"decay must have beta > 0 here, got {decay}")
    first = np.sqrt(np.log(beta) / (beta - 1)) * ((gamma - 1) / np.log(gamma) if gamma > 0 else 0.0)

    def correction(s: float) -> float:
        return float(np.sqrt(1 - beta**s) / (1 - gamma**s))

    return follow(_leading_order(problem, correction, first=first), problem, substeps=substeps)


def _leading_order(problem: Problem, correction: Callable[[float], float], *, first: float) -> Equation:
    """First-order equations with rates 1-gamma and 1-beta from m = v = 0; ``first``: the limit of |u| at s = 0."""

    def start() -> Array:
        return np.stack([problem.theta0, *np.zeros((2, len(problem.theta0)))])

    def target(s: float, y: Array, n: int) -> Array:
        theta, m, v = y
        g = problem.gradient(theta, n)
        u = first * np.sign(g) if s == 0 else correction(s) * ratio(m, v)
        return np.stack([-problem.eta * (u + problem.weight_decay * theta), g, g**2])

    return Equation({"theta": 0.0, "m": 1 - problem.decay.gamma, "v": 1 - problem.decay.beta}, start, target)
