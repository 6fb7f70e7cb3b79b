"""How the norm of a scale-invariant weight grows under momentum, AdamW's decay, and an update of known size.

A weight W is scale invariant if L(aW) = L(W) for every a > 0; then its gradient is orthogonal to it, <W, g> = 0. With
q = 1 - eta lambda, u the update and m^ Adam's bias-corrected momentum,

    exact, always         |W_{n+1}|^2 = q^2 |W_n|^2 - 2 eta q <W_n, u_n> + eta^2 |u_n|^2
    exact, always         <W_n, m^_n> = r_n (q <W_{n-1}, m^_{n-1}> - eta <u_{n-1}, m^_{n-1}>)
    if v^_n is one number <W_n, u_n>  = r_n d_n (q <W_{n-1}, u_{n-1}> - eta |u_{n-1}|^2),    <W_0, u_0> = 0

where r_n = gamma (1 - gamma^n) / (1 - gamma^(n+1)) tends to gamma, and d_n = sqrt(v^_{n-1} / v^_n) is 1 where v^ does not
change. The paper's law leaves <W_n, u_n> out. Nothing is assumed of the correlation of gradients in time.

Source: the integral law and its assumptions are Gould & Tanaka's (arXiv 2411.05746, Section 4.2, our reading); that
momentum speeds up the growth is Heo et al.'s (AdamP, arXiv 2006.08217), for SGD. The rest is derived in the book, on the
page "Scale invariance". Arguments that are not allowed raise ``ValueError``, results beyond float64 ``FloatingPointError``.
"""

import math
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kadam.decay import as_float, checked_rate
from kadam.theory.arguments import Array, array_that, check_number, finite_array

# The largest eta and weight_decay, and the largest number in a series: products of a few of them are finite.
LARGEST_RATE, LARGEST = 1e50, 1e150


class NormTerms(NamedTuple):
    """The three parts of |W_{n+1}|^2, each of shape (n,); their sum is exact."""

    kept: Array  # q^2 |W_n|^2
    cross: Array  # -2 eta q <W_n, u_n>, what assumption A1 leaves out
    step: Array  # eta^2 |u_n|^2


def norm_terms(weights: ArrayLike, updates: ArrayLike, *, eta: float, weight_decay: float = 0.0) -> NormTerms:
    """|W_{n+1}|^2 term by term, along a path. ``weights``: W_n, ``updates``: u_n, both of shape (n, N)."""
    eta, decayed = _rates(eta, weight_decay)
    w, u = (finite_array(name, x, largest=LARGEST) for name, x in (("weights", weights), ("updates", updates)))
    q = 1 - decayed
    if w.ndim != 2 or w.shape != u.shape:
        raise ValueError(f"weights and updates must both have shape (n, N), got {w.shape} and {u.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        terms = q**2 * np.sum(w**2, 1), -2 * eta * q * np.sum(w * u, 1), eta**2 * np.sum(u**2, 1)
    return NormTerms(*map(_in_range, terms))


def paper_norm(start: float, squares: ArrayLike, *, eta: float, weight_decay: float = 0.0) -> Array:
    """The paper's law: |W|^2 at n = 0, 1, ..., from |W_0|^2 and the squared updates |u_0|^2, |u_1|^2, ...; shape (n + 1,).

    |W(t)|^2 = e^(-2 lambda t) |W(0)|^2 + eta int_0^t e^(-2 lambda (t - tau)) |u(tau)|^2 dtau at t = n eta, with |u|^2
    constant over a step. It rests on A1, <W, u> = 0.
    """
    eta, decayed = _rates(eta, weight_decay)
    fill = -np.expm1(-2 * decayed) / (2 * decayed) if decayed else 1.0
    return _accumulate(start, eta**2 * fill * _squares(squares), np.exp(-2 * decayed))


def corrected_norm(
    start: float,
    squares: ArrayLike,
    *,
    eta: float,
    gamma: float,
    weight_decay: float = 0.0,
    second_moments: ArrayLike | None = None,
) -> Array:
    """The law with <W, u> kept, from the same numbers; shape (n + 1,). Exact where v^_n is one number for the whole weight.

    ``second_moments``: v^_0, v^_1, ..., as many as there are squares; without them v^ is taken not to change.
    """
    square = _squares(squares)
    cross = cross_term(square, eta=eta, gamma=gamma, weight_decay=weight_decay, second_moments=second_moments)
    eta, decayed = _rates(eta, weight_decay)
    q = 1 - decayed
    with np.errstate(over="ignore", invalid="ignore"):
        gains = eta**2 * square - 2 * eta * q * cross
    return _accumulate(start, gains, q**2)


def cross_term(
    squares: ArrayLike, *, eta: float, gamma: float, weight_decay: float = 0.0, second_moments: ArrayLike | None = None
) -> Array:
    """<W_n, u_n> from |u_0|^2, |u_1|^2, ..., under the assumptions of :func:`corrected_norm`; shape (n,)."""
    (eta, decayed), gamma, square = _rates(eta, weight_decay), checked_rate("gamma", gamma), _squares(squares)
    root = np.ones_like(square) if second_moments is None else np.sqrt(_moments(second_moments, len(square)))
    fresh = np.zeros_like(square)
    fresh[1:] = -eta * gamma * _filled(gamma, len(square))[:-1] * (square * root)[:-1]  # <u, m^> is sqrt(v^) |u|^2
    with np.errstate(over="ignore"):
        return _in_range(_momentum(fresh, gamma, 1 - decayed) / root)


def largest_cross(square: float, *, eta: float, gamma: float, weight_decay: float = 0.0) -> float:
    """eta gamma/(1 - gamma q) |u|^2: no |<W_n, u_n>| is above it where no |u|^2 so far was above ``square``.

    For v^ one number for the whole weight that never falls, and eta lambda at most 1; a constant |u|^2 comes as near as one
    likes. <W_n, u_n> itself is never positive.
    """
    (eta, decayed), gamma, square = _rates(eta, weight_decay), checked_rate("gamma", gamma), check_number("square", square)
    _check_decayed(eta, weight_decay, decayed)
    return float(_in_range(eta * gamma * square / (1 - gamma + gamma * decayed)))


def _momentum(fresh: Array, gamma: float, q: float) -> Array:
    """x_n = y_n / (1 - gamma^(n+1)) with y_n = gamma q y_{n-1} + fresh_n: before bias correction the rate never changes."""
    with np.errstate(over="ignore"):
        return _in_range(_accumulate(0.0, fresh, gamma * q)[1:] / _filled(gamma, len(fresh)))


def _filled(gamma: float, steps: int) -> Array:
    """1 - gamma^(n+1) for n = 0, 1, ..."""
    return 1 - gamma ** np.arange(1.0, steps + 1)


class NormLaw:
    """:func:`corrected_norm` one step at a time; gamma = 0 is the paper's law, with q^2 for e^(-2 eta lambda).

    Attributes: ``norm``, |W_n|^2; ``cross``, the last step's <W_n, u_n>.
    """

    def __init__(self, start: float, *, eta: float, gamma: float, weight_decay: float = 0.0) -> None:
        self.eta, decayed = _rates(eta, weight_decay)
        self.gamma, self.kept = checked_rate("gamma", gamma), 1 - decayed
        self.norm, self.cross, self.steps = check_number("start", start), 0.0, 0
        self._last = 0.0  # |u|^2 of the step before

    def advance(self, square: float) -> float:
        """|W_{n+1}|^2 from |u_n|^2."""
        square, n, gamma = check_number("square", square), self.steps, self.gamma
        carried = gamma * (1 - gamma**n) / (1 - gamma ** (n + 1))  # r_n
        self.cross = carried * (self.kept * self.cross - self.eta * self._last)
        self.norm = self.kept**2 * self.norm - 2 * self.eta * self.kept * self.cross + self.eta**2 * square
        self.steps, self._last = n + 1, square
        return float(_in_range(self.norm))


class NormParts(NamedTuple):
    """What has been added to |W|^2 since the start, by cause, at n = 0, 1, ..., each of shape (n + 1,).

    With q^(2n) |W_0|^2 they sum up to |W_n|^2 exactly. The first two are the law of :func:`corrected_norm`.
    """

    kept: Array  # eta^2 |u|^2, all that the paper's law has
    momentum: Array  # <W, u> as far as it follows from |u|^2
    unequal: Array  # <W, g/sqrt(v)>, zero if v is one number for the whole weight
    changing: Array  # what v's change makes of the momentum carried over


def norm_parts(
    cross: ArrayLike, squares: ArrayLike, gradient_cross: ArrayLike, *, eta: float, gamma: float, weight_decay: float = 0.0
) -> NormParts:
    """|W|^2 of a scale-invariant weight under Adam by cause, from <W_n, u_n>, |u_n|^2 and <W_n, g_n/sqrt(v^_n)>, each (n,)."""
    x, square, inner = (_squares(series) for series in (cross, squares, gradient_cross))
    if not len(x) == len(square) == len(inner):
        raise ValueError(f"the three series must have one length, got {len(x)}, {len(square)} and {len(inner)}")
    law = cross_term(square, eta=eta, gamma=gamma, weight_decay=weight_decay)
    (eta, decayed), gamma = _rates(eta, weight_decay), checked_rate("gamma", gamma)
    q = 1 - decayed
    unequal = _momentum((1 - gamma) * inner, gamma, q)
    with np.errstate(over="ignore", invalid="ignore"):
        gains = (eta**2 * square, *(-2 * eta * q * part for part in (law, unequal, x - law - unequal)))
    return NormParts(*(_accumulate(0.0, gain, q**2) for gain in gains))


def momentum_cross(products: ArrayLike, *, eta: float, gamma: float, weight_decay: float = 0.0) -> Array:
    """<W_n, m^_n> from <u_n, m^_n>, by the recursion of :func:`cross_term`, which here needs no assumption on v; shape (n,)."""
    return cross_term(products, eta=eta, gamma=gamma, weight_decay=weight_decay)


def growth_factor(gamma: float) -> float:
    """(1 + gamma)/(1 - gamma): how many times faster |W|^2 grows at constant |u|^2 and lambda = 0 than by the paper's law."""
    gamma = checked_rate("gamma", gamma)
    return (1 + gamma) / (1 - gamma)


def update_share(gamma: float, correlation: float = 0.0) -> float:
    """Mean |u|^2 over mean |s|^2 of stationary s = g/sqrt(v), v constant, whose correlation over j steps is correlation^j.

    (1 - gamma)(1 + gamma rho) / ((1 + gamma)(1 - gamma rho)): at rho = -1, 0, 1 it is ((1 - gamma)/(1 + gamma))^2, its root, 1.
    Whatever the correlation, the share lies between the first and the last.
    """
    gamma = checked_rate("gamma", gamma)
    rho = as_float(correlation)
    if not -1 <= rho <= 1:
        raise ValueError(f"correlation must lie between -1 and 1, got {correlation!r}")
    return (1 - gamma) * (1 + gamma * rho) / ((1 + gamma) * (1 - gamma * rho))


def equilibrium_norm(square: float, *, eta: float, weight_decay: float, gamma: float = 0.0) -> float:
    """|W|^2 where growth and decay balance at constant |u|^2 = ``square``; the paper's is that of gamma = 0.

    eta^2 |u|^2 (1 + gamma q) / ((1 - gamma q)(1 - q^2)), about eta |u|^2 / (2 lambda) * (1 + gamma)/(1 - gamma).
    """
    (eta, decayed), gamma, square = _decaying(eta, weight_decay), checked_rate("gamma", gamma), check_number("square", square)
    forgotten = 1 - gamma + gamma * decayed  # 1 - gamma q, and 1 - q^2 below, without cancellation
    return float(_in_range(_ratio((2 - forgotten) / forgotten / (2 - decayed), eta, square, over=float(weight_decay))))


def _ratio(*factors: float, over: float) -> float:
    """Their product divided by a number; infinite or 0 only where the result is, whatever the parts are."""
    (bottom, down), parts = math.frexp(over), [math.frexp(factor) for factor in factors]
    try:
        return math.ldexp(math.prod(mantissa for mantissa, _ in parts) / bottom, sum(up for _, up in parts) - down)
    except OverflowError:
        return math.inf


def equilibrium_cosine(*, eta: float, weight_decay: float, gamma: float) -> float:
    """The cosine of W and u at that equilibrium: -gamma sqrt((1 - q^2)/(1 - gamma^2 q^2)), between -gamma and 0."""
    (_, decayed), gamma = _decaying(eta, weight_decay), checked_rate("gamma", gamma)
    forgotten = 1 - gamma + gamma * decayed
    return -gamma * float(np.sqrt((2 - decayed) * decayed / (forgotten * (2 - forgotten))))


def steady_ratio(share: float = 1.0, *, eta: float, weight_decay: float, gamma: float = 0.0) -> float:
    """|s|/|W| at that equilibrium, in root mean squares, where mean |u|^2 is ``share`` times mean |s|^2; s = g/sqrt(v).

    sqrt((1 - q^2)(1 - gamma q)/((1 + gamma q) share))/eta. With ``share`` = 1 it is |u|/|W|; for gamma = 0 and small eta
    lambda it is sqrt(2 lambda/eta). :func:`update_share` gives the share of correlated gradients.
    """
    (eta, decayed), gamma, share = (
        _decaying(eta, weight_decay),
        checked_rate("gamma", gamma),
        check_number("share", share, above=0.0),
    )
    forgotten = 1 - gamma + gamma * decayed
    root = np.sqrt((2 - decayed) * decayed * forgotten / (2 - forgotten))
    with np.errstate(over="ignore"):
        return float(_in_range(root / eta / np.sqrt(share)))


def rotation_per_step(*, eta: float, weight_decay: float, gamma: float = 0.0) -> float:
    """The angle (radians) between W_n and W_{n+1} at equilibrium: its cosine is (q + gamma)/(1 + gamma q).

    About sqrt(2 eta lambda (1 - gamma)/(1 + gamma)).
    """
    (_, decayed), gamma = _decaying(eta, weight_decay), checked_rate("gamma", gamma)
    return 2 * float(np.arcsin(np.sqrt((1 - gamma) * decayed / (2 * (1 + gamma * (1 - decayed))))))


def equilibrium_time(*, eta: float, weight_decay: float, gamma: float = 0.0) -> float:
    """Steps in which the distance of |W|^2 from its equilibrium falls by e, in the long run: -1/ln max(q^2, gamma).

    The distance is made of q^(2n), gamma^n and (gamma q)^n, and of powers of gamma^n times these. For gamma < q^2 decay is
    the slowest and the time about 1/(2 eta lambda); else it is the momentum, whose bias correction fades with gamma^n. All
    that momentum adds has a factor q: at eta lambda = 1 there is no distance after one step, and the time is 0.
    """
    (_, decayed), gamma = _decaying(eta, weight_decay), checked_rate("gamma", gamma)
    if decayed == 1:
        return 0.0  # |W_{n+1}|^2 is eta^2 |u_n|^2, at once
    with np.errstate(divide="ignore"):
        slowest = max(2 * float(np.log1p(-decayed)), float(np.log(gamma)))
    return float(_in_range(-1 / slowest))


def effective_update(weight: ArrayLike, update: ArrayLike) -> Array:
    """What moves W/|W|: (u - <u, W> W/|W|^2)/|W|, by which the direction changes at rate -eta to first order; shape (N,)."""
    w, u = finite_array("weight", weight, largest=LARGEST), finite_array("update", update, largest=LARGEST)
    size = np.max(np.abs(w), initial=0.0)
    if w.shape != u.shape or size == 0:
        raise ValueError(f"weight and update must have one shape and weight must not be zero, got {w.shape} and {u.shape}")
    direction = w / size  # its square is finite and not zero, however large or small the weight
    norm = np.sqrt(np.sum(direction**2))
    with np.errstate(over="ignore"):
        return _in_range((u - np.sum(u * direction) / norm**2 * direction) / norm / size)


def _accumulate(start: float, gains: Array, share: float) -> Array:
    """x_{n+1} = share x_n + gain_n from x_0 = start."""
    return _in_range(np.array([*accumulate(gains.tolist(), lambda x, g: share * x + g, initial=check_number("start", start))]))


def _squares(squares: ArrayLike) -> Array:
    square = finite_array("squares and products", squares, largest=LARGEST)
    if square.ndim != 1:
        raise ValueError(f"squares and products must have shape (n,), one number a step, got {square.shape}")
    return square


def _moments(second_moments: ArrayLike, steps: int) -> Array:
    v = array_that(
        "second_moments",
        second_moments,
        lambda x: (x > 0) & (x <= LARGEST),
        f"be one number a step, above 0 and at most {LARGEST:g};",
    )
    if v.shape != (steps,):
        raise ValueError(f"second_moments must have the shape of squares, ({steps},), got {v.shape}")
    return v


def _rates(eta: float, weight_decay: float) -> tuple[float, float]:
    """eta and eta lambda, as floats."""
    eta, weight_decay = check_number("eta", eta, above=0.0), check_number("weight_decay", weight_decay)
    if max(eta, weight_decay) > LARGEST_RATE:
        raise ValueError(f"eta and weight_decay must be at most {LARGEST_RATE:g}, got {eta} and {weight_decay}")
    return eta, eta * weight_decay


def _decaying(eta: float, weight_decay: float) -> tuple[float, float]:
    check_number("weight_decay", weight_decay, above=0.0)
    eta, decayed = _rates(eta, weight_decay)
    if decayed < np.finfo(np.float64).tiny:
        raise ValueError(f"eta * weight_decay must not underflow, got {eta} * {weight_decay}")
    _check_decayed(eta, weight_decay, decayed)
    return eta, decayed


def _check_decayed(eta: float, weight_decay: float, decayed: float) -> None:
    if decayed > 1:
        raise ValueError(f"eta * weight_decay must be at most 1, got {eta} * {weight_decay}")


def _in_range(result: Any) -> Any:
    if not np.all(np.isfinite(result)):
        raise FloatingPointError("|W|^2, or a part of it, leaves float64: eta, weight_decay or the series are too large")
    return result
