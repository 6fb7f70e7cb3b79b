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
so that |u| stays bounded whatever the gradients (for gamma > 0: a continuous average that forgets at once has no bound).

Source: order 1 is Gould & Tanaka's equation (arXiv 2411.05746); its start values are our reading. Order 2 is derived in
the book, on the page "Continuous time": M and V are the moments half a step earlier. The theory takes eps = 0, and
0/0 = 0. The names: ``order`` is the order of the distance to Adam in eta.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kadam.decay import Decay, as_float
from kadam.theory.arguments import real_array
from kadam.theory.exponential import FASTEST, integrate

Array = NDArray[np.float64]
Gradient = Callable[[Array], Array]
JVP = Callable[[Array, Array], Array]


class Diverged(FloatingPointError):
    """A trajectory left the finite numbers. ``step``: the step that did it; ``theta``: the last finite parameters."""

    def __init__(self, step: int, what: str, theta: Array) -> None:
        super().__init__(step, what, theta)  # all three, so that the exception travels between processes
        self.step, self.what, self.theta = step, what, theta

    def __str__(self) -> str:
        return f"step {self.step}: {self.what}; before it the largest |theta| was {np.max(np.abs(self.theta)):.3g}"


def adam(
    grad: Gradient | Sequence[Gradient],
    theta0: ArrayLike,
    *,
    decay: Decay,
    eta: float,
    steps: int,
    weight_decay: float = 0.0,
) -> Array:
    """The parameters of AdamW before every step and after the last: shape (steps + 1, d), float64.

    ``grad(theta)``: the gradient at theta, both of shape (d,); or a sequence of ``steps + 1`` such functions, the n-th
    that of iteration n's minibatch (the last is for the flows alone). ``eta``: learning rate, ``weight_decay``: lambda,
    decoupled. Raises ``ValueError`` or ``TypeError`` for bad arguments, and :class:`Diverged`, naming step and state,
    where a gradient or the state is not finite.
    """
    problem = Problem.checked(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay)
    with np.errstate(all="ignore"):
        return _collect(problem, _adam_steps(problem, steps), steps, ("theta", "m", "v"))


def adam_flow(
    grad: Gradient | Sequence[Gradient],
    theta0: ArrayLike,
    *,
    decay: Decay,
    eta: float,
    steps: int,
    weight_decay: float = 0.0,
    order: int = 2,
    jvp: JVP | Sequence[JVP] | None = None,
    substeps: int = 8,
) -> Array:
    """The parameters of the flow at s = 0, 1, ..., steps, beside those of :func:`adam`: shape (steps + 1, d), float64.

    The everyday arguments are those of :func:`adam`. ``order=1`` is the paper's equation and ``order=2`` ours.
    ``jvp(theta, v)``: the product of the loss's Hessian at theta with v, used by order 2 alone; by default a difference
    of two gradients. ``substeps``: fourth-order steps of the integrator a step of Adam; each takes four gradients at
    order 1, and four gradients and four products at order 2. With a sequence of minibatches (and of ``jvp``) number n
    is in force from s = n - 1/2 to n + 1/2, so ``substeps`` must be even. Order 2 needs ``eta * weight_decay < 1``.
    """
    _check_order(order)
    problem = Problem.checked(grad, theta0, decay=decay, eta=eta, steps=steps, weight_decay=weight_decay, jvp=jvp)
    return follow(EQUATIONS[order](problem), steps=steps, substeps=substeps)


@dataclass(frozen=True)
class Problem:
    """What is trained and how, checked: functions, start, and the four numbers of AdamW."""

    grads: Sequence[Gradient]
    jvps: Sequence[JVP] | None
    theta0: Array
    decay: Decay
    eta: float
    weight_decay: float

    @classmethod
    def checked(
        cls,
        grad: Gradient | Sequence[Gradient],
        theta0: ArrayLike,
        *,
        decay: Decay,
        eta: float,
        steps: int,
        weight_decay: float,
        jvp: JVP | Sequence[JVP] | None = None,
    ) -> "Problem":
        """``ValueError`` or ``TypeError`` naming the argument, its value and what is allowed."""
        if not isinstance(decay, Decay):
            raise TypeError(f"decay must be a kadam.Decay, got {decay!r}")
        check_count("steps", steps)
        numbers = check_number("eta", eta, above=0.0), check_number("weight_decay", weight_decay)
        grads = _one_a_step("grad", grad, steps)
        jvps = None if jvp is None else _one_a_step("jvp", jvp, steps)
        return cls(grads, jvps, _vector(theta0), decay, *numbers)

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

    def remembered(self, m: Array, v: Array, m_target: Array, v_target: Array) -> tuple[Array, Array]:
        """The moments; one with decay 0 has no memory and is its target at once."""
        return (m if self.decay.gamma > 0 else m_target), (v if self.decay.beta > 0 else v_target)

    def _like_theta(self, name: str, result: Any) -> Array:
        vector = real_array(name, result)
        if vector.shape != self.theta0.shape:
            raise ValueError(f"{name} must return shape {self.theta0.shape}, the shape of theta0; got {vector.shape}")
        return vector


class Equation(Protocol):
    """A differential equation for Adam: the first row of its state is theta, the last one v."""

    @property
    def problem(self) -> Problem: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows of the state."""

    @property
    def rates(self) -> tuple[float, ...]:
        """At which each row follows its target; 0: the target is its derivative."""

    def start(self) -> Array: ...

    def target(self, s: float, y: Array, n: int) -> Array: ...


class PaperEquation:
    """Gould & Tanaka's second-order differential equation as a first-order system in theta, theta', m, v."""

    names = ("theta", "velocity", "m", "v")

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rates = (0.0, 2.0, _backward_rate(problem.decay.gamma), _backward_rate(problem.decay.beta))

    def start(self) -> Array:
        """Our reading: the moments as Adam has them after its first gradient, and the velocity of its first step."""
        theta, decay = self.problem.theta0, self.problem.decay
        g = self.problem.gradient(theta, 0)
        m, v = (1 - decay.gamma) * g, (1 - decay.beta) * g**2
        return np.stack([theta, self._velocity(0.0, theta, m, v), m, v])

    def target(self, s: float, y: Array, n: int) -> Array:
        theta, velocity, m, v = y
        g = self.problem.gradient(theta, n)
        m, v = self.problem.remembered(m, v, g, g**2)
        return np.stack([velocity, self._velocity(s, theta, m, v), g, g**2])

    def _velocity(self, s: float, theta: Array, m: Array, v: Array) -> Array:
        u = self.problem.correction(s) * ratio(m, v)
        return -self.problem.eta * (u + self.problem.weight_decay * theta)


class SecondOrderFlow:
    """The flow whose distance to Adam is of second order in eta: the moments half a step earlier, at their exact rates."""

    names = ("theta", "m", "v")

    def __init__(self, problem: Problem) -> None:
        if problem.eta * problem.weight_decay >= 1:
            raise ValueError(f"eta * weight_decay must be below 1 at order 2, got {problem.eta} * {problem.weight_decay}")
        self.problem = problem
        self.rates = (0.0, exact_rate(problem.decay.gamma), exact_rate(problem.decay.beta))
        self._leads = lead(problem.decay.gamma), lead(problem.decay.beta)
        decayed = problem.eta * problem.weight_decay
        self._eta = problem.eta * (-np.log1p(-decayed) / decayed if decayed else 1.0)

    def start(self) -> Array:
        theta, decay = self.problem.theta0, self.problem.decay
        g = self.problem.gradient(theta, 0)
        first = self._velocity(0.0, theta, (1 - np.sqrt(decay.gamma)) * g, (1 - np.sqrt(decay.beta)) * g**2)
        earlier = g - self.problem.hessian_product(theta, first, g, 0) / 4
        return np.stack([theta, (1 - np.sqrt(decay.gamma)) * earlier, (1 - np.sqrt(decay.beta)) * earlier**2])

    def target(self, s: float, y: Array, n: int) -> Array:
        theta, m, v = y
        g = self.problem.gradient(theta, n)
        leading = self._velocity(s, theta, *self.problem.remembered(m, v, g, g**2))
        slope = self.problem.hessian_product(theta, leading, g, n)
        for_m, for_v = (g + k * slope for k in self._leads)
        m_target, v_target = for_m, for_v**2 + (for_m - for_v) ** 2
        velocity = self._velocity(s, theta, *self.problem.remembered(m, v, m_target, v_target))
        return np.stack([velocity, m_target, v_target])

    def _velocity(self, s: float, theta: Array, m: Array, v: Array) -> Array:
        u = self.problem.correction(s - 0.5) * ratio(m, v)
        return -self._eta * (u + self.problem.weight_decay * theta)


EQUATIONS: dict[int, Callable[[Problem], Equation]] = {1: PaperEquation, 2: SecondOrderFlow}


def follow(equation: Equation, *, steps: int, substeps: int) -> Array:
    """theta at s = 0, 1, ..., steps: shape (steps + 1, d). Raises :class:`Diverged`, and ``ValueError`` for bad substeps."""
    check_count("substeps", substeps)
    if equation.problem.minibatches and substeps % 2:
        raise ValueError(f"substeps must be even where every step has a gradient of its own, got {substeps}")
    with np.errstate(all="ignore"):
        states = integrate(
            equation.target, equation.start(), equation.rates, steps=steps, substeps=substeps, mend=_keep_v_positive
        )
        return _collect(equation.problem, states, steps, equation.names)


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


def _adam_steps(problem: Problem, steps: int) -> Iterator[Array]:
    theta, decay = problem.theta0, problem.decay
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for n in range(steps):
        g = problem.gradient(theta, n)
        m = decay.gamma * m + (1 - decay.gamma) * g
        v = decay.beta * v + (1 - decay.beta) * g**2
        u = problem.correction(n) * ratio(m, v)
        theta = theta - problem.eta * (u + problem.weight_decay * theta)
        yield np.stack([theta, m, v])


def _collect(problem: Problem, states: Iterator[Array], steps: int, names: tuple[str, ...]) -> Array:
    """theta0 and the first row of every state, each checked."""
    path = np.empty((steps + 1, len(problem.theta0)))
    path[0] = problem.theta0
    for n, y in enumerate(states):
        if not np.all(np.isfinite(y)):
            raise Diverged(n, _what_is_not_finite(y, names), path[n])
        path[n + 1] = y[0]
    return path


def _what_is_not_finite(y: Array, names: tuple[str, ...]) -> str:
    row, coordinate = np.argwhere(~np.isfinite(y))[0]
    return f"{names[row]}[{coordinate}] became {y[row, coordinate]}"


def _check_order(order: Any) -> None:
    if isinstance(order, bool) or not isinstance(order, Integral) or order not in (1, 2):
        raise ValueError(f"order must be 1 (the paper's equation) or 2 (the second-order flow), got {order!r}")


def check_count(name: str, value: Any) -> None:
    """``ValueError`` unless ``value`` is a whole number of at least one (and below 2^53, where floats stop counting)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) < 2**53:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def check_number(name: str, value: Any, *, above: float | None = None) -> float:
    """The value as a float; ``ValueError`` unless it is finite and > ``above``, or >= 0 where no ``above`` is given."""
    number = as_float(value)
    if not (number >= 0 if above is None else number > above) or np.isinf(number):
        raise ValueError(f"{name} must be a finite number {'>= 0' if above is None else f'> {above:g}'}, got {value!r}")
    return number


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
