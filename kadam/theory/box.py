"""AdamW's box: the weights within 1/weight_decay of zero, in which decoupled weight decay keeps them.

Notation, beside that of :mod:`kadam.theory.stability`:

    theta          weights, of shape (..., d); d coordinates of one point, axes in front for many points
    weight_decay   lambda, decoupled: theta <- theta - eta (u + lambda theta)
    the box        |theta_i| <= 1/lambda for every i

A point of the box is a KKT point of "make L small within it" where its gradient is 0 in every coordinate inside, and points
outwards in every coordinate on the boundary. For convex L these are the minima. Sources: that AdamW ends there, if it ends, is
Xie & Li's (arXiv 2404.04454); the closed radius and the average bound are derived in the book's page on the box.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, minimize

from kadam.theory.arguments import Array, array_that, finite_array, real_array
from kadam.theory.stability import is_stable

LEAST_GAP = 1e-9  # what rounding leaves of a gap where the solver starts at the minimum


def frank_wolfe_gap(theta: ArrayLike, grad: ArrayLike, *, weight_decay: ArrayLike) -> Any:
    """How far a point of the box is from a KKT point: G = <g, theta> + |g|_1/lambda, in the loss's units.

    ``theta`` and ``grad``: shape (..., d); ``weight_decay``: a number, or one a point. Within the box G >= 0, and G = 0 exactly
    at KKT points; for convex L no point of the box has a loss lower by more than G. Outside of it G may be negative.
    Source: Frank & Wolfe (1956); for AdamW Xie & Li.
    """
    point, g = _vectors(theta, grad)
    return ((g * point).sum(-1) + np.abs(g).sum(-1) / _positive(weight_decay))[()]


def frank_wolfe_step(theta: ArrayLike, grad: ArrayLike, *, step: float, weight_decay: float) -> Array:
    """One step of Frank & Wolfe on the box: towards the corner where the linearised loss is least, by the share ``step``.

    theta <- (1 - step) theta + step s, with s_i = -sign(g_i)/lambda. SignGD with decay takes this step: step = eta lambda.
    """
    point, g = _vectors(theta, grad)
    if not 0 <= float(step) <= 1:
        raise ValueError(f"step must lie in [0, 1], got {step!r}")
    corner = -np.sign(g) / _positive(weight_decay)
    return np.asarray((1 - step) * point + step * corner)


def radius(*, beta: ArrayLike, gamma: ArrayLike, weight_decay: ArrayLike) -> Any:
    """How far from zero AdamW's decay lets any weight get in the end, whatever the gradients: the largest update over lambda.

        sqrt(1 + (beta-gamma)^2 / ((1-beta) (beta-gamma^2))) / lambda     inside the stable region, else infinite

    The limit of :func:`kadam.theory.stability.max_update_bound` for large n, over lambda. |theta_n| is at most the larger of
    this and |theta_0|, for eta lambda <= 1. It is 1/lambda, the radius of the box, at beta = gamma, and larger elsewhere.
    """
    stable = np.asarray(is_stable(beta=beta, gamma=gamma))  # checks them
    b, g = real_array("beta", beta), real_array("gamma", gamma)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = np.where(b == g, 0.0, (b - g) ** 2 / ((1 - b) * (b - g * g)))
    return (np.where(stable, np.sqrt(1 + np.where(stable, excess, 0.0)), np.inf) / _positive(weight_decay))[()]


def average_bound(gradients: ArrayLike, *, beta: float, gamma: float) -> Any:
    """An upper bound on the mean of u_0^2, ..., u_n^2, for gamma <= beta; close to 1 over long times.

    ``gradients``: g_0, ..., g_n, shape (n+1, ...), the first not zero; the result has the shape behind. With v^ the
    bias-corrected second moment it is 1 + (1/(n+1)) sum_i a_i ln v^_i, at most 1 + average_excess/(n+1) * ln(largest v^ /
    smallest v^). Derived in the book; tight for a constant gradient. ``ValueError`` for gamma > beta: there gradients exist
    whose updates are larger than 1 on average, for ever.
    """
    g = finite_array("gradients", gradients)
    if g.ndim == 0 or len(g) == 0 or (g[0] == 0).any():
        raise ValueError("gradients must be one or more along the first axis, the first not zero")
    average_excess(beta=beta, gamma=gamma)  # checks them
    rate = (1 - gamma) * (beta - gamma) / (1 - beta)
    v, mass, logs, total = (np.zeros(g.shape[1:]) for _ in range(4))
    for n, square in enumerate(g**2):
        v = beta * v + (1 - beta) * square
        corrected = v / (1 - beta ** (n + 1))
        log = np.log(np.maximum(corrected, np.finfo(np.float64).tiny))
        total = total + 1 + rate / (1 - gamma ** (n + 1)) * (mass * log - logs)
        weight = 1 - beta ** (n + 1)
        mass, logs = gamma * mass + weight, gamma * logs + weight * log
    return (total / len(g))[()]


def average_excess(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """(beta-gamma)/((1-beta)(1-gamma)): for about so many steps the average update depends on how it began; gamma <= beta."""
    b, g = _below_the_diagonal(beta, gamma)
    return ((b - g) / ((1 - b) * (1 - g)))[()]


def window_excess(*, beta: ArrayLike, gamma: ArrayLike, step: ArrayLike) -> Any:
    """W, how far a constant rate lets weights be outside of the box; ``step`` = alpha = eta lambda in (0, 1], gamma <= beta.

        W = alpha (beta-gamma)/(1-beta) * max over L = 1, 2, ... of ((1-alpha)^L - gamma^L)/(1-alpha-gamma)

    where at alpha + gamma = 1 the quotient is L gamma^(L-1); :func:`window_steps` is the L of the maximum. In the long run
    (lambda theta)^2 is at most 1 + W ln(swing) where v^ stays within a factor ``swing``, and no smaller W will do for swings
    near 1. It is 0 at gamma = beta, and at most step * average_excess and (beta-gamma)/(1-beta). Derived in the book.
    """
    b, g = _below_the_diagonal(beta, gamma)
    alpha = _step(step, beta=b, gamma=g)
    b, g, alpha = np.broadcast_arrays(b, g, alpha)
    last = np.asarray(window_steps(gamma=g, step=alpha))
    # The neighbours as well: rounding may have moved the place of the maximum by one.
    largest = np.max([_window(length, alpha, g) for length in (np.maximum(last - 1, 1), last, last + 1)], axis=0)
    return (alpha * largest * ((b - g) / (1 - b)))[()]


def window_steps(*, gamma: ArrayLike, step: ArrayLike) -> Any:
    """How many updates before the end v^ grows in the worst case at a constant rate: the L of :func:`window_excess`.

    The smallest whole number >= 1 and >= ln((1-gamma)/alpha) / ln((1-alpha)/gamma), which at alpha + gamma = 1 is
    gamma/(1-gamma). A float; where two lengths are equally bad, either.
    """
    g = array_that("gamma", gamma, lambda x: (x >= 0) & (x < 1), "lie in [0, 1),")
    alpha = _step(step, gamma=g)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        apart, ratio = _log_ratio(alpha, g)
        near = np.abs(apart) < alpha / 2
        rise = np.where(near, np.log1p(np.where(near, apart / alpha, 0.0)), np.log(1 - g) - np.log(alpha))
        crossing = np.where(apart == 0, g / (1 - g), rise / ratio)
    return np.maximum(np.ceil(crossing), 1.0)[()]


def _log_ratio(alpha: Array, gamma: Array) -> tuple[Array, Array]:
    """1 - alpha - gamma and ln((1-alpha)/gamma), also where the two are nearly equal."""
    apart = (1 - gamma) - alpha
    near = np.abs(apart) < gamma / 2
    return apart, np.where(near, np.log1p(np.where(near, apart / gamma, 0.0)), np.log1p(-alpha) - np.log(gamma))


def _window(length: Array, alpha: Array, gamma: Array) -> Array:
    """The sum of (1-alpha)^(L-1-s) gamma^s over s = 0, ..., L-1."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        apart, ratio = _log_ratio(alpha, gamma)
        ratio = np.where(apart == 0, 0.0, np.abs(ratio))
        larger = np.maximum(np.log1p(-alpha), np.log(gamma))
        first = np.where(length > 1, np.exp((length - 1) * larger), 1.0)
        return first * np.where(ratio > 0, np.expm1(-length * ratio) / np.expm1(-ratio), length)


def constrained_minimum(
    loss: Callable[[Array], float], grad: Callable[[Array], Array], start: ArrayLike, *, weight_decay: float
) -> Array:
    """The minimum of a convex loss within the box, by scipy's L-BFGS-B; knows nothing of Adam. Shape (d,).

    ``RuntimeError`` unless the Frank-Wolfe gap has fallen to 1e-5 of what it is at the start.
    """
    limit = 1 / float(_positive(weight_decay))
    begin = np.clip(finite_array("start", start), -limit, limit)
    options = {"maxiter": 100_000, "maxfun": 1_000_000, "maxls": 50, "ftol": 0.0, "gtol": 1e-12, "maxcor": 30}
    found = minimize(loss, begin, jac=grad, method="L-BFGS-B", bounds=Bounds(-limit, limit), options=options)
    end = np.asarray(found.x, dtype=np.float64)
    gradients = [np.asarray(grad(point), dtype=np.float64) for point in (begin, end)]
    if not all(np.isfinite(g).all() for g in gradients):
        raise RuntimeError("no constrained minimum found: the gradient is not finite")
    first, last = (frank_wolfe_gap(x, g, weight_decay=weight_decay) for x, g in zip((begin, end), gradients, strict=True))
    if last > 1e-5 * first + LEAST_GAP:
        gaps = f"the gap is still {last:.2g}, at the start {first:.2g}"
        raise RuntimeError(f"no constrained minimum found: {found.message}; {gaps}")
    return end


def _vectors(theta: ArrayLike, grad: ArrayLike) -> tuple[Array, Array]:
    point, g = finite_array("theta", theta), finite_array("grad", grad)
    if point.ndim == 0 or point.shape != g.shape:
        raise ValueError(f"theta and grad must have the same shape (..., d), got {point.shape} and {g.shape}")
    return point, g


def _positive(weight_decay: ArrayLike) -> Array:
    decay = finite_array("weight_decay", weight_decay)
    return array_that("weight_decay", decay, lambda x: x > 0, "be > 0 for there to be a box,")


def _below_the_diagonal(beta: ArrayLike, gamma: ArrayLike) -> tuple[Array, Array]:
    is_stable(beta=beta, gamma=gamma)  # checks them
    b, g = real_array("beta", beta), real_array("gamma", gamma)
    above = np.broadcast_to(g > b, np.broadcast_shapes(b.shape, g.shape))
    if above.any():
        first = [np.broadcast_to(x, above.shape)[above][0].item() for x in (g, b)]
        raise ValueError("gamma must be at most beta for the average update to be bounded by 1, got {!r} > {!r}".format(*first))
    return b, g


def _step(step: ArrayLike, **decays: Array) -> Array:
    """alpha; ``ValueError`` unless it lies in (0, 1] and broadcasts with the decays."""
    alpha = array_that("step", step, lambda x: (x > 0) & (x <= 1), "lie in (0, 1],")
    try:
        np.broadcast_shapes(alpha.shape, *(x.shape for x in decays.values()))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in (*decays.values(), alpha))
        raise ValueError(f"{', '.join(decays)} and step must broadcast, got shapes {shapes}") from None
    return alpha
