"""How large can Adam's update get? Bounds, the regions in which they stay bounded, and the boundary between.

Notation (the paper's; PyTorch's betas are the other way round):

    beta   decay of the second moment v      = PyTorch betas[1]
    gamma  decay of the momentum m           = PyTorch betas[0]
    n      iteration, 0, 1, 2, ...

    u_n = sqrt(1 - beta^(n+1)) / (1 - gamma^(n+1)) * m_n / sqrt(v_n)          (eps = 0)

Everything takes beta and gamma in [0, 1) by keyword, as numbers or arrays that broadcast, and works in float64.
Values on the edges of the square, all reached without warnings:

    gamma = 0 (RMSprop)             stable; C = +inf; the discrete bound is sqrt(1 - beta^(n+1)) / sqrt(1 - beta);
                                    the continuous expression is +inf for n >= 1 (a spike may be arbitrarily thin)
    beta = 0 < gamma (sign of       unstable; C = -inf, growth rate +inf; both bounds are +inf for n >= 1
      the momentum over |g|)        (m_n / |g_n| is unbounded as g_n -> 0)
    beta = gamma = 0 (SignSGD)      |u_n| = 1 always, so it counts as stable: C = +inf, growth 0, discrete bound 1
    beta or gamma below 1e-307      where C overflows, it and the continuous expression are infinite as at 0
    on the boundary itself          growth rate 0, but not stable: the bound grows like sqrt(n)

Sources: the continuous bound, C and the rate |C|/2 are Gould & Tanaka's (arXiv 2411.05746; the prefactor is our
reading); the discrete bound, its tightness and the normal curve's invariant are derived in the book's theory page, and what
is said of random signs, independent gradients, silence and eps in its page on the usual size.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from kadam.theory.arguments import Array, array_that, check_broadcast, check_count, decay_arrays, finite_array, unit_interval

Time = Literal["discrete", "continuous"]

# exp of anything above this squares to an overflow in float64 (ln(1.8e308) / 2 = 354.9).
_LARGEST_SAFE_EXPONENT = 300.0
_BELOW_ONE = np.nextafter(1.0, 0.0)


def coefficient(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The paper's C(beta, gamma) = 2 (1-gamma)/gamma - (1-beta)/beta; positive in the continuous stable region.

    Per step, dimensionless. +inf at gamma = 0, -inf at beta = 0 < gamma. Source: [G&T, Eq. 6].
    """
    beta, gamma = decay_arrays(beta, gamma)
    return _coefficient(beta, gamma)[()]


def growth_rate(*, beta: ArrayLike, gamma: ArrayLike, time: Time = "discrete") -> Any:
    """The rate per step at which log|u_n| may grow, 0 where the bound stays finite.

    ``discrete``: ln(gamma) - ln(beta)/2, exact. ``continuous``: |C|/2, the paper's.
    """
    _check_time(time)
    beta, gamma = decay_arrays(beta, gamma)
    rate = _log_ratio(beta, gamma) / 2 if time == "discrete" else -_coefficient(beta, gamma) / 2
    return np.where(is_outside(beta=beta, gamma=gamma, time=time), np.maximum(rate, 0.0), 0.0)[()]


def is_stable(*, beta: ArrayLike, gamma: ArrayLike, time: Time = "discrete") -> Any:
    """Whether the bound on |u_n| stays finite as n grows.

    ``discrete``: beta > gamma^2, the algorithm itself. ``continuous``: C > 0, that is beta > gamma/(2-gamma), the
    paper's region, which is the smaller one.
    """
    beta, gamma = decay_arrays(beta, gamma)
    return ((beta > boundary(gamma, time=time)) | (gamma == 0))[()]


def is_outside(*, beta: ArrayLike, gamma: ArrayLike, time: Time = "discrete") -> Any:
    """Whether the bound on |u_n| grows exponentially with n, or at beta = 0 is infinite at once; not so on the boundary."""
    beta, gamma = decay_arrays(beta, gamma)
    return ((beta < boundary(gamma, time=time)) | ((beta == 0) & (gamma > 0)))[()]  # the boundary may round to 0


def boundary(gamma: ArrayLike, *, time: Time = "discrete") -> Any:
    """The beta on the boundary at this gamma: gamma^2 (discrete) or gamma/(2-gamma) (continuous)."""
    _check_time(time)
    gamma = unit_interval("gamma", gamma)
    return (gamma**2 if time == "discrete" else gamma / (2 - gamma))[()]


def level_curve(gamma: ArrayLike, *, C: ArrayLike) -> Any:
    """The beta at this gamma for which C(beta, gamma) is the number given: 1 / (1 + 2 (1-gamma)/gamma - C).

    Source: [G&T, Eq. 6], solved for beta. ``ValueError`` at gamma = 0, where C is infinite whatever beta, and where no beta
    in (0, 1) has this C: it must be finite and below 2 (1-gamma)/gamma.
    """
    gamma, C = unit_interval("gamma", gamma), finite_array("C", C)
    check_broadcast(gamma=gamma, C=C)
    with _quietly():
        steepness = 2 * (1 - gamma) / gamma - C
    if np.isinf(steepness).any():
        raise ValueError("gamma must be above 0, and above 1e-307, where C is finite")
    beta = 1 / np.where(steepness > 0, 1 + steepness, 1.0)
    missing = beta == 1
    if missing.any():
        at, level = (np.broadcast_to(x, missing.shape)[missing].ravel()[0] for x in (gamma, C))
        raise ValueError(f"C must be below 2 (1-gamma)/gamma = {2 * (1 - at) / at:.6g} at gamma = {at:.6g}, got {level:.6g}")
    return beta[()]


def max_update_bound(n: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike, time: Time = "discrete") -> Any:
    """An upper bound on |u_n| at iteration n = 0, 1, ..., in units of the learning rate.

    ``discrete`` holds for every gradient sequence and is attained by :func:`worst_case_gradients`:

        sqrt(1-beta^(n+1))/(1-gamma^(n+1)) * (1-gamma)/sqrt(1-beta) * sqrt(S_n),   S_n = sum_{j<=n} (gamma^2/beta)^j

    ``continuous`` is the paper's expression (Eq. 6, prefactor our reading). It bounds the continuous-time model and
    is *not* a bound for the algorithm.
    """
    _check_time(time)
    bound = _discrete_bound if time == "discrete" else _continuous_bound
    return bound(_iterations(n), *decay_arrays(beta, gamma))[()]


def silent_update(n: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """|u_n| of a coordinate that had one gradient, at iteration 0, and none since; exact, for n = 0, 1, ...

        sqrt(1-beta^(n+1))/(1-gamma^(n+1)) * (1-gamma)/sqrt(1-beta) * (gamma/sqrt(beta))^n

    Its logarithm grows at the discrete rate, once n exceeds the memory 1/(1-gamma) and the bias correction has faded.
    """
    n = _iterations(n)
    beta, gamma = decay_arrays(beta, gamma)
    with _quietly():
        power = np.exp(np.where(n > 0, n * _log_ratio(beta, gamma) / 2, 0.0))
    return (_discrete_prefactor(n, beta, gamma) * power)[()]


def rms_bound(n: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The largest root mean square of u_n over random signs, whatever the sizes of the gradients; n = 0, 1, ...

        sqrt(1-beta^(n+1))/(1-gamma^(n+1)) * (1-gamma)/sqrt(1-beta) * max(1, gamma^2/beta)^(n/2)

    Signs: given all sizes |g_0|, ..., |g_n|, the signs of different gradients are uncorrelated, as fair coins are. Attained
    by one gradient and silence: the last one if beta >= gamma^2, the first one if not. Its supremum over n is
    max(1, (1-gamma)/sqrt(1-beta)) for beta >= gamma^2, boundary included. It need not increase with n.
    """
    n, (beta, gamma) = _iterations(n), decay_arrays(beta, gamma)
    return (_discrete_prefactor(n, beta, gamma) * _growth(n, _log_ratio(beta, gamma) / 2))[()]


def white_update(*, gamma: ArrayLike) -> Any:
    """sqrt((1-gamma)/(1+gamma)), the root mean square of u_n for white gradients under a constant v; 0.229 at gamma = 0.9.

    Exact once the bias correction has faded for random signs of one size, and the limit n -> infinity, beta -> 1 for any
    independent gradients of one symmetric distribution with a finite second moment.
    """
    gamma = unit_interval("gamma", gamma)
    return np.sqrt((1 - gamma) / (1 + gamma))[()]


def critical_silence(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The share of silent steps from which on independent gradients make large updates: min(1, beta/gamma^2).

    For beta > 0, and independent gradients of one distribution with a finite second moment that are exactly zero with
    probability p < 1: the mean of u_n^2 stays bounded as n grows if and only if p < critical_silence. 1 at gamma = 0, and 0
    at beta = 0 < gamma, where the theorem says nothing.
    """
    beta, gamma = decay_arrays(beta, gamma)
    with _quietly():
        share = np.minimum(beta / gamma / gamma, 1.0)
    return np.where(is_outside(beta=beta, gamma=gamma), share, 1.0)[()]


def independent_bound(n: ArrayLike, floor: ArrayLike, quiet: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """A bound on the root mean square of u_n for independent gradients of one distribution, n = 0, 1, ...

        sqrt(1-beta^(n+1))/(1-gamma^(n+1)) * (1-gamma)/sqrt(1-beta)
          * sqrt(2 (quiet + 1/(floor (1-gamma))^2) * sum_{k<=n} (quiet gamma^2/beta)^k)

    ``quiet``: the probability of a gradient below ``floor`` > 0 times the distribution's root mean square. Finite as n grows
    if quiet * gamma^2 < beta. Far from sharp: it shows how the size grows with n, not the size.
    """
    n, (beta, gamma) = _iterations(n), decay_arrays(beta, gamma)
    floor = array_that("floor", floor, lambda x: (x > 0) & np.isfinite(x), "be a finite number > 0,")
    quiet = _probability("quiet", quiet)
    check_broadcast(n=n, floor=floor, quiet=quiet, beta=beta, gamma=gamma)
    with _quietly():
        ratio = np.where(quiet > 0, np.log(quiet) + _log_ratio(beta, gamma), -np.inf)
        size = np.sqrt(2.0) * np.hypot(np.sqrt(quiet) * (1 - gamma), 1 / floor)
        return _times_root_of_sum(size * _bias_correction(n, beta, gamma) / np.sqrt(1 - beta), n, ratio)[()]


def silence_tail(silence: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The exponent k for which P(|u_n| > x) falls like x^(-k), independent gradients: 2 ln(1/silence) / ln(gamma^2/beta).

    ``silence``: the probability that a gradient is exactly zero, in [0, 1]. The theorem asks for beta > 0 and non-zero
    gradients whose sizes lie between two positive numbers. +inf, no such tail, where beta >= gamma^2 or silence = 0. The
    mean of u_n^2 stays bounded where k > 2.
    """
    silence = _probability("silence", silence)
    beta, gamma = decay_arrays(beta, gamma)
    check_broadcast(silence=silence, beta=beta, gamma=gamma)
    with _quietly():
        exponent = -2 * np.log(silence) / _log_ratio(beta, gamma)
    return np.where(is_outside(beta=beta, gamma=gamma) & (silence > 0), np.maximum(exponent, 0.0), np.inf)[()]


def capped_peak(gradient: ArrayLike, eps: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The largest |u| that one gradient and the silence after it reach with eps > 0 (outside the root, as in PyTorch).

    The gradient comes late, when the bias corrections have faded, after a silence as long. With t = 2 ln(gamma)/ln(beta) and
    Y = sqrt(1-beta) |gradient|/eps: for t < 1, outside the stable region, and Y > t/(1-t),

        (1-gamma)/sqrt(1-beta) * t^t (1-t)^(1-t) * Y^(1-t)

    and else the update at once, (1-gamma) |gradient| / (sqrt(1-beta) |gradient| + eps). The first is the peak between the
    steps: the largest of the steps themselves lies below it by a factor of at most exp(-ln(beta)^2/128). Infinite outside the
    stable region with eps = 0.
    """
    size, eps = np.abs(finite_array("gradient", gradient)), _at_least_zero("eps", eps)
    beta, gamma = decay_arrays(beta, gamma)
    check_broadcast(gradient=size, eps=eps, beta=beta, gamma=gamma)
    with _quietly():
        rest = np.where(beta > 0, _log_ratio(beta, gamma) / -np.log(beta), 1.0)  # 1 - t
        reach = np.log(size) + np.log1p(-beta) / 2 - np.log(eps)  # ln Y
        rising = is_outside(beta=beta, gamma=gamma) & (rest > 0) & (reach > np.log1p(-rest) - np.log(rest))
        rest = np.where(rising, np.clip(rest, 0.0, 1.0), 1.0)
        half = np.exp((rest * reach + xlogy(rest, rest) + xlogy(1 - rest, 1 - rest)) / 2)  # the whole may overflow
        rare, root = (1 - gamma) * half / np.sqrt(1 - beta) * half, np.sqrt(1 - beta)
        at_once = np.where(size < eps, size / (root * size + eps), 1 / (root + eps / size))
    return np.where(size > 0, np.where(rising, rare, (1 - gamma) * at_once), 0.0)[()]


def required_silence(update: ArrayLike, fraction: ArrayLike, *, beta: ArrayLike) -> Any:
    """For how many of the latest iterations |g| must lie below ``fraction`` of the largest |g| so far where |u_n| is this.

    The whole number of k >= 0 with beta^(-k/2) < fraction * update * sqrt(1-beta); 0 where the update is too small to tell.
    Holds for every gradient sequence, every gamma and every eps >= 0.
    """
    update, fraction = _at_least_zero("update", update), _at_least_zero("fraction", fraction)
    beta = unit_interval("beta", beta)
    check_broadcast(update=update, fraction=fraction, beta=beta)
    with _quietly():
        reach = np.log(update) + np.log(fraction) + np.log1p(-beta) / 2
        return np.where(reach > 0, np.ceil(np.where(beta > 0, -2 * reach / np.log(beta), 1.0)), 0.0)[()]


def worst_case_gradients(n: int, *, beta: ArrayLike, gamma: ArrayLike) -> Array:
    """Gradients g_0..g_n for which |u_n| equals the discrete bound: g_j = (gamma/beta)^(n-j).

    Shape (n+1, ...) with the broadcast shape of beta and gamma behind. The last entry is 1, or the largest one where squares
    would overflow (the update does not depend on the scale). In float64 the equality ends where beta^n itself underflows.
    At beta = 0 < gamma the limit is (1, 0, ..., 0), which makes the update infinite, as the bound says.
    """
    last = _iterations(n)
    if last.ndim or last >= 2**53:
        raise ValueError(f"n must be one whole number below 2^53 here, got {n!r}")
    beta, gamma = np.broadcast_arrays(*decay_arrays(beta, gamma))
    steps_left = (last[()] - np.arange(int(last) + 1.0)).reshape(-1, *[1] * beta.ndim)
    with _quietly():
        slope = np.log(gamma) - np.where(gamma > 0, np.log(beta), 0.0)
        exponent = np.where(steps_left > 0, steps_left * slope, 0.0)
        rescaled = np.where(np.isinf(slope), np.where(steps_left == n, 0.0, -np.inf), (steps_left - n) * slope)
        return np.exp(np.where(exponent[0] > _LARGEST_SAFE_EXPONENT, rescaled, exponent))


def normal_curve(*, beta: float = 0.999, gamma: float = 0.9, num: int = 64) -> tuple[Array, Array]:
    """Points (beta, gamma) on the curve through the given pair that crosses the level sets of C at right angles.

    On it 2 beta^3 + gamma^3 is constant. Two arrays of length ``num``, evenly spaced in gamma, from the smallest (most stable)
    to the largest, strictly inside the unit square. The pair itself need not be one of the points.
    """
    check_count("num", num)
    b, g = decay_arrays(beta, gamma)
    if b.ndim or g.ndim:
        raise ValueError(f"beta and gamma must be single numbers, got shapes {b.shape} and {g.shape}")
    constant = 2 * b**3 + g**3
    if constant < np.finfo(np.float64).tiny:
        raise ValueError("beta and gamma must not both be 0, nor their cubes: the curve through (0, 0) is that one point")
    lowest, highest = np.cbrt(np.clip([constant - 2, constant], 0, 1))
    gammas = np.minimum(lowest + (highest - lowest) * (np.arange(num) + 0.5) / num, _BELOW_ONE)
    return np.minimum(np.cbrt((constant - gammas**3) / 2), _BELOW_ONE), gammas


def _discrete_bound(n: Array, beta: Array, gamma: Array) -> Array:
    return _times_root_of_sum(_discrete_prefactor(n, beta, gamma), n, _log_ratio(beta, gamma))


def _times_root_of_sum(factor: Array, n: Array, log_ratio: Array) -> Array:
    """factor * sqrt(1 + x + ... + x^n) for the x whose logarithm is given."""
    size = np.abs(log_ratio)
    with _quietly():
        series = np.where(size > 0, np.expm1(-(n + 1) * size) / np.expm1(-size), n + 1)
        half = _growth(n, log_ratio / 4)  # the whole may overflow where a small factor makes it finite
        return factor * np.sqrt(series) * half * half


def _continuous_bound(n: Array, beta: Array, gamma: Array) -> Array:
    C = _coefficient(beta, gamma)
    size = np.abs(C)
    with _quietly():
        prefactor = _bias_correction(n, beta, gamma) * (1 - gamma) / gamma
        integral = np.where(size > 0, -np.expm1(-n * size) / size, n)
        bound = prefactor * np.sqrt(integral) * np.sqrt(beta / (1 - beta)) * _growth(n, -C / 2)
    return np.where(np.isinf(C), np.where(n > 0, np.inf, 0.0), bound)


def _discrete_prefactor(n: Array, beta: Array, gamma: Array) -> Array:
    return _bias_correction(n, beta, gamma) * (1 - gamma) / np.sqrt(1 - beta)


def _bias_correction(n: Array, beta: Array, gamma: Array) -> Array:
    return np.sqrt(_one_minus_power(beta, n + 1)) / _one_minus_power(gamma, n + 1)


def _one_minus_power(x: Array, n: Array) -> Array:
    """1 - x^n for n >= 1, without cancellation where x is close to 1."""
    with _quietly():
        return -np.expm1(n * np.log(x))


def _growth(n: Array, rate: Array) -> Array:
    """exp(n * rate) where the rate is positive, else 1; exp(0 * inf) = 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.exp(np.where((n > 0) & (rate > 0), n * rate, 0.0))


def _coefficient(beta: Array, gamma: Array) -> Array:
    with _quietly():
        forth, back = 2 * (1 - gamma) / gamma, (1 - beta) / beta
        both_infinite = np.isinf(forth) & np.isinf(back)
        C = np.where(both_infinite, (2 * (1 - gamma) * (beta / gamma) - (1 - beta)) / beta, forth - back)
    return np.where(gamma == 0, np.inf, np.where((beta == 0), -np.inf, C))


def _log_ratio(beta: Array, gamma: Array) -> Array:
    """ln(gamma^2 / beta); -inf at gamma = 0 (whatever beta), +inf at beta = 0 < gamma."""
    with _quietly():
        return np.where(gamma > 0, 2 * np.log(gamma) - np.where(gamma > 0, np.log(beta), 0.0), -np.inf)


def _quietly() -> np.errstate:
    return np.errstate(divide="ignore", invalid="ignore", over="ignore")


def _probability(name: str, value: ArrayLike) -> Array:
    return array_that(name, value, lambda x: (x >= 0) & (x <= 1), "lie in [0, 1],")


def _at_least_zero(name: str, value: ArrayLike) -> Array:
    return array_that(name, value, lambda x: (x >= 0) & np.isfinite(x), "be a finite number >= 0,")


def _iterations(n: ArrayLike) -> Array:
    return array_that("n", n, lambda x: (x >= 0) & (x == np.floor(x)) & np.isfinite(x), "be a whole number >= 0,")


def _check_time(time: Any) -> None:
    if not isinstance(time, str) or time not in get_args(Time):
        raise ValueError(f"time must be one of {', '.join(get_args(Time))}; got {time!r}")
