"""Adam in continuous time: the discrete map, the paper's differential equation, and a second-order-accurate flow.

Time s counts steps: the paper's time is t = s eta^p, and p drops out of every equation here. With F = u + lambda theta,
c(s) = sqrt(1 - beta^(s+1)) / (1 - gamma^(s+1)) and the moments m, v of the page of notation:

    Adam       theta_{n+1} = theta_n - eta F_n,   u_n = c(n) m_n / sqrt(v_n)

    order 1    theta' + theta''/2 = -eta F,       u = c(s) m / sqrt(v)
               m' = (1-gamma)/gamma (g - m),      v' = (1-beta)/beta (g^2 - v)
               m(0) = (1-gamma) g,  v(0) = (1-beta) g^2,  theta'(0) = -eta F(0)

    order 2    theta' = -eta_lambda F,            u = c(s - 1/2) M / sqrt(V),     eta_lambda = -ln(1 - eta lambda)/lambda
               M' = -ln(gamma) (g + k_gamma g' - M)
               V' = -ln(beta) ((g + k_beta g')^2 + (k_gamma - k_beta)^2 g'^2 - V)
               M(0) = (1 - sqrt gamma) (g - g'/4),      V(0) = (1 - sqrt beta) (g - g'/4)^2
               k_x = 1/(-ln x) - (1+x) / (2 (1-x)),     about ln(x)/12, and g' = H(theta) theta'

The last square of V' is of the order that is neglected anyway; with it V never falls below half of what M was made of,
so that |u| stays below :func:`update_bound` whatever the gradients.

The edges. A moment with decay 0 is its target at once: M = g - g'/2 at gamma = 0, V = (g - g'/2)^2 + (k_gamma + 1/2)^2 g'^2
at beta = 0. The equation of order 2 would then have theta' on both sides, through g', and need not have a solution. So there
g' = H(theta) w with the explicit velocity w = -eta_lambda F of the moments that are remembered, and g or g^2 for those that
are not. The order in eta stays 2, where every |g| keeps away from zero if beta = 0. At beta = gamma = 0 (SignSGD) Adam is
followed exactly as long as |g_i| > |g_i'|/2 in every coordinate, and may be lost at once elsewhere, sign change or not.

Source: order 1 is Gould & Tanaka's equation (arXiv 2411.05746); its start values are our reading. Order 2 is derived in
the book, on the page "Continuous time": M and V are the moments half a step earlier. The theory takes eps = 0, and
0/0 = 0. The names: ``order`` is the order of the distance to Adam in eta.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kadam.decay import Decay
from kadam.theory.arguments import Array, array_that, check_count, check_number, real_array
from kadam.theory.exponential import FASTEST, Target, integrate

Gradient = Callable[[Array], Array]
JVP = Callable[[Array, Array], Array]
Gradients = Gradient | Sequence[Gradient]
JVPs = JVP | Sequence[JVP] | None


class Diverged(FloatingPointError):
    """A trajectory left the finite numbers. ``step``: the step that did it; ``theta``: the last finite parameters."""

    def __init__(self, step: int, what: str, theta: Array) -> None:
        super().__init__(step, what, theta)  # all three, so that the exception travels between processes
        self.step, self.what, self.theta = step, what, theta

    def __str__(self) -> str:
        return f"step {self.step}: {self.what}; before it the largest |theta| was {np.max(np.abs(self.theta)):.3g}"


def adam(grad: Gradients, theta0: ArrayLike, *, decay: Decay, eta: float, steps: int, weight_decay: float = 0.0) -> Array:
    """The parameters of AdamW before every step and after the last: shape (steps + 1, d), float64.

    ``grad(theta)``: the gradient at theta, both of shape (d,); or a sequence of ``steps + 1`` such functions, the n-th
    that of iteration n's minibatch (the last is for the flows alone). ``eta``: learning rate, ``weight_decay``: lambda,
    decoupled. Raises ``ValueError`` or ``TypeError`` for bad arguments, and :class:`Diverged`, naming step and state,
    where a gradient or the state is not finite.
    """
    problem = Problem(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    with np.errstate(all="ignore"):
        return problem.path(_adam_steps(problem), ("theta", "m", "v"))


def adam_flow(
    grad: Gradients,
    theta0: ArrayLike,
    *,
    decay: Decay,
    eta: float,
    steps: int,
    weight_decay: float = 0.0,
    order: int = 2,
    jvp: JVPs = None,
    substeps: int = 8,
) -> Array:
    """The parameters of the flow at s = 0, 1, ..., steps, beside those of :func:`adam`: shape (steps + 1, d), float64.

    The everyday arguments are those of :func:`adam`. ``order=1`` is the paper's equation and ``order=2`` ours; what either
    does where a decay is 0 is said at the top of this module.
    ``jvp(theta, v)``: the product of the loss's Hessian at theta with v, used by order 2 alone; by default a difference
    of two gradients. ``substeps``: fourth-order steps of the integrator a step of Adam; each takes four gradients at
    order 1, and four gradients and four products at order 2. With a sequence of minibatches (and of ``jvp``) number n
    is in force from s = n - 1/2 to n + 1/2, so ``substeps`` must be even. Order 2 needs ``eta * weight_decay < 1``.
    """
    _check_order(order)
    problem = Problem(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay, jvp=jvp)
    return follow(paper_equation(problem) if order == 1 else second_order_flow(problem), problem, substeps=substeps)


def update_bound(s: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """An upper bound on |u(s)| of the flow of order 2 at times s >= 0, in units of eta_lambda, for gradients of any kind.

        c(s - 1/2) sqrt(e^(-Cs) (1 - sqrt gamma)^2 / (1 - sqrt beta) + 2 a^2/b (1 - e^(-Cs))/C),   C = 2a - b

    with a = -ln gamma and b = -ln beta; at C = 0 the last fraction is s. Infinite where one decay is 0, and 1 where both are.
    Arguments broadcast. ``ValueError`` for an s that is not finite or below 0, and for decays outside [0, 1).
    """
    s = array_that("s", s, lambda x: np.isfinite(x) & (x >= 0), "be finite numbers >= 0;")
    beta, gamma = (
        array_that(name, x, lambda x: (x >= 0) & (x < 1), "lie in [0, 1);") for name, x in (("beta", beta), ("gamma", gamma))
    )
    with np.errstate(all="ignore"):
        log_gamma, log_beta = np.log(gamma), np.log(beta)
        rate = log_beta - 2 * log_gamma
        fading, filled = np.exp(-s * rate), np.where(rate == 0, s, -np.expm1(-s * rate) / rate)
        start = np.expm1(log_gamma / 2) ** 2 / -np.expm1(log_beta / 2)
        correction = np.sqrt(-np.expm1((s + 0.5) * log_beta)) / -np.expm1((s + 0.5) * log_gamma)
        inside = correction * np.sqrt(fading * start + 2 * log_gamma**2 / -log_beta * filled)
    at_the_edge = np.where(beta == gamma, 1.0, np.inf)
    return np.where((beta > 0) & (gamma > 0), inside, at_the_edge)[()]


class Problem:
    """What is trained and how: functions, start, and the numbers of AdamW."""

    def __init__(
        self, grad: Gradients, theta0: ArrayLike, *, decay: Decay, eta: float, steps: int, weight_decay: float, jvp: JVPs = None
    ) -> None:
        """``ValueError`` or ``TypeError`` naming the argument, its value and what is allowed."""
        if not isinstance(decay, Decay):
            raise TypeError(f"decay must be a kadam.Decay, got {decay!r}")
        check_count("steps", steps)
        self.decay, self.steps = decay, steps
        self.eta, self.weight_decay = check_number("eta", eta, above=0.0), check_number("weight_decay", weight_decay)
        self.grads: Sequence[Gradient] = _one_a_step("grad", grad, steps)
        self.jvps: Sequence[JVP] | None = None if jvp is None else _one_a_step("jvp", jvp, steps)
        self.theta0 = _vector(theta0)

    @property
    def minibatches(self) -> bool:
        """Whether every step has a gradient of its own."""
        return len(self.grads) > 1

    def gradient(self, theta: Array, n: int) -> Array:
        """The gradient at theta of the minibatch of iteration n."""
        return self._like_theta("grad", self.grads[n if self.minibatches else 0](theta))

    def hessian_product(self, theta: Array, direction: Array, gradient: Array, n: int) -> Array:
        """H(theta) times a direction; without a ``jvp``, by a forward difference from the gradient at theta.

        Its relative error is about 1e-8 times the size of the third derivatives; the flow multiplies it by k_x.
        """
        if self.jvps is not None:
            return self._like_theta("jvp", self.jvps[n if len(self.jvps) > 1 else 0](theta, direction))
        length = np.max(np.abs(direction))
        if length == 0:
            return np.zeros_like(theta)
        reach = np.sqrt(np.finfo(np.float64).eps) * (1 + np.max(np.abs(theta))) / length
        return (self.gradient(theta + reach * direction, n) - gradient) / reach

    def correction(self, s: float) -> float:
        """c(s), Adam's bias correction."""
        return float(np.sqrt(1 - self.decay.beta ** (s + 1)) / (1 - self.decay.gamma ** (s + 1)))

    def force(self, s: float, theta: Array, m: Array, v: Array) -> Array:
        """F = u + lambda theta, with u = c(s) m / sqrt(v)."""
        return self.correction(s) * ratio(m, v) + self.weight_decay * theta

    def remembered(self, m: Array, v: Array, m_target: Array, v_target: Array) -> tuple[Array, Array]:
        """The moments; one with decay 0 has no memory and is its target at once."""
        return (m if self.decay.gamma > 0 else m_target), (v if self.decay.beta > 0 else v_target)

    def path(self, states: Iterable[Array], names: Sequence[str]) -> Array:
        """theta0 and the first row of every state, each checked; ``names``: of the rows."""
        path = np.empty((self.steps + 1, len(self.theta0)))
        path[0] = self.theta0
        for n, y in enumerate(states):
            if not np.all(np.isfinite(y)):
                row, coordinate = np.argwhere(~np.isfinite(y))[0]
                raise Diverged(n, f"{names[row]}[{coordinate}] became {y[row, coordinate]}", path[n])
            path[n + 1] = y[0]
        return path

    def _like_theta(self, name: str, result: Any) -> Array:
        vector = real_array(name, result)
        if vector.shape != self.theta0.shape:
            raise ValueError(f"{name} must return shape {self.theta0.shape}, the shape of theta0; got {vector.shape}")
        return vector


class Equation(NamedTuple):
    """A differential equation for Adam: the first row of its state is theta, the last one v."""

    rates: dict[str, float]  # at which each row, by its name, follows its target; 0: the target is its derivative
    start: Callable[[], Array]
    target: Target


def paper_equation(problem: Problem) -> Equation:
    """Gould & Tanaka's second-order differential equation as a first-order system in theta, theta', m, v."""
    theta0, beta, gamma, eta = problem.theta0, problem.decay.beta, problem.decay.gamma, problem.eta

    def start() -> Array:
        """Our reading: the moments as Adam has them after its first gradient, and the velocity of its first step."""
        g = problem.gradient(theta0, 0)
        m, v = (1 - gamma) * g, (1 - beta) * g**2
        return np.stack([theta0, -eta * problem.force(0.0, theta0, m, v), m, v])

    def target(s: float, y: Array, n: int) -> Array:
        theta, velocity, m, v = y
        g = problem.gradient(theta, n)
        m, v = problem.remembered(m, v, g, g**2)
        return np.stack([velocity, -eta * problem.force(s, theta, m, v), g, g**2])

    return Equation({"theta": 0.0, "velocity": 2.0, "m": _backward_rate(gamma), "v": _backward_rate(beta)}, start, target)


def second_order_flow(problem: Problem) -> Equation:
    """The flow whose distance to Adam is of second order in eta: the moments half a step earlier, at their exact rates."""
    theta0, beta, gamma, decayed = problem.theta0, problem.decay.beta, problem.decay.gamma, problem.eta * problem.weight_decay
    if decayed >= 1:
        raise ValueError(f"eta * weight_decay must be below 1 at order 2, got {problem.eta} * {problem.weight_decay}")
    eta = problem.eta * (-np.log1p(-decayed) / decayed if decayed else 1.0)
    leads, weights = (lead(gamma), lead(beta)), (1 - np.sqrt(gamma), 1 - np.sqrt(beta))

    def velocity(s: float, theta: Array, m: Array, v: Array) -> Array:
        return -eta * problem.force(s - 0.5, theta, m, v)

    def start() -> Array:
        g = problem.gradient(theta0, 0)
        first = velocity(0.0, theta0, weights[0] * g, weights[1] * g**2)
        earlier = g - problem.hessian_product(theta0, first, g, 0) / 4
        return np.stack([theta0, weights[0] * earlier, weights[1] * earlier**2])

    def target(s: float, y: Array, n: int) -> Array:
        theta, m, v = y
        g = problem.gradient(theta, n)
        slope = problem.hessian_product(theta, velocity(s, theta, *problem.remembered(m, v, g, g**2)), g, n)
        for_m, for_v = (g + k * slope for k in leads)
        m_target, v_target = for_m, for_v**2 + (for_m - for_v) ** 2
        m, v = problem.remembered(m, v, m_target, v_target)
        return np.stack([velocity(s, theta, m, v), m_target, v_target])

    return Equation({"theta": 0.0, "m": exact_rate(gamma), "v": exact_rate(beta)}, start, target)


def follow(equation: Equation, problem: Problem, *, substeps: int) -> Array:
    """theta at s = 0, 1, ..., steps: shape (steps + 1, d). Raises :class:`Diverged`, and ``ValueError`` for bad substeps."""
    check_count("substeps", substeps)
    if problem.minibatches and substeps % 2:
        raise ValueError(f"substeps must be even where every step has a gradient of its own, got {substeps}")
    counts: Any = {"steps": problem.steps, "substeps": substeps}
    with np.errstate(all="ignore"):
        states = integrate(equation.target, equation.start(), [*equation.rates.values()], **counts, mend=_keep_v_positive)
        return problem.path(states, [*equation.rates])


def _keep_v_positive(stage: Array, average: Array) -> Array:
    """The plain average in those coordinates whose v, the last row, a stage has made less than half of what it should be.

    Otherwise m/sqrt(v) at a v that happens to be near zero would throw a weight hundreds of learning rates away.
    """
    return np.where(stage[-1] < average[-1] / 2, average, stage)


def ratio(m: Array, v: Array) -> Array:
    """m / sqrt(v), with 0/0 = 0."""
    return np.where(m == 0, 0.0, m / np.sqrt(v))


def exact_rate(x: float) -> float:
    """-ln x, the rate at which a discrete average with decay x forgets; :data:`FASTEST` instead of infinity."""
    return min(-float(np.log(x)), FASTEST) if x > 0 else FASTEST


def lead(x: float) -> float:
    """k_x = 1/(-ln x) - (1+x)/(2(1-x)), between -1/2 at x = 0 and 0 at x = 1: how much earlier the flow reads g."""
    if 1 - x < 1e-4:  # the two terms have the same digits; what is left out is below 1e-14
        return float(np.log(x)) / 12
    return (1 / -float(np.log(x)) if x > 0 else 0.0) - (1 + x) / (2 * (1 - x))


def _backward_rate(x: float) -> float:
    """(1-x)/x, the paper's rate: m_n - m_{n-1} = (1-x)/x (g_n - m_n)."""
    return min((1 - x) / x, FASTEST) if x > 0 else FASTEST


def _adam_steps(problem: Problem) -> Iterator[Array]:
    theta, decay = problem.theta0, problem.decay
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for n in range(problem.steps):
        g = problem.gradient(theta, n)
        m = decay.gamma * m + (1 - decay.gamma) * g
        v = decay.beta * v + (1 - decay.beta) * g**2
        theta = theta - problem.eta * problem.force(n, theta, m, v)
        yield np.stack([theta, m, v])


def _check_order(order: Any) -> None:
    if isinstance(order, bool) or not isinstance(order, Integral) or order not in (1, 2):
        raise ValueError(f"order must be 1 (the paper's equation) or 2 (the second-order flow), got {order!r}")


def _vector(theta0: ArrayLike) -> Array:
    theta = real_array("theta0", theta0).copy()
    if theta.ndim != 1 or len(theta) == 0:
        raise ValueError(f"theta0 must be a vector of shape (d,) with d >= 1, got shape {theta.shape}")
    if not np.all(np.isfinite(theta)):
        raise ValueError(f"theta0 must be finite, got {theta[~np.isfinite(theta)][0]} in it")
    return theta


def _one_a_step(name: str, given: Any, steps: int) -> Sequence[Any]:
    """The functions as a sequence: one for all steps, or one for each and one more."""
    functions = [given] if callable(given) or not isinstance(given, Sequence) else list(given)
    if not all(callable(f) for f in functions):
        raise TypeError(f"{name} must be a function or a sequence of functions, got {given!r}")
    if not callable(given) and len(functions) != steps + 1:
        raise ValueError(f"{name} must hold steps + 1 = {steps + 1} functions, one an iteration, got {len(functions)}")
    return functions
