"""How large can the updates of Adam's relatives get? And what do Adam's decays make of a gradient whose scale changes?

Notation as in :mod:`kadam.theory.stability`: beta is PyTorch's beta2, gamma its beta1, n = 0, 1, ... the iteration, eps = 0,
updates in units of the learning rate, D_n the discrete bound of Adam. v_hat is Adam's, bias correction included:

    v_hat_n = (1-beta)/(1-beta^(n+1)) sum_k beta^k g_(n-k)^2

    any numerator      sum_k w_k g_(n-k) / sqrt(v_hat_n)      :func:`weighted_bound`, attained by :func:`weighted_worst_case`
    NAdam, AdEMAMix    are of this form                       :func:`nadam_weights`, :func:`ademamix_weights`
    AMSGrad            m_hat_n / sqrt(largest v so far)       :func:`amsgrad_bound`, attained by :func:`amsgrad_worst_case`
    LaProp             average of g_j / sqrt(v_hat_j)         :func:`laprop_bound`

Source: derived in the book's page on relatives, which names the papers.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from kadam.decay import as_float
from kadam.theory.arguments import Array, array_that, check_number, decay_arrays, finite_array, real_array
from kadam.theory.stability import max_update_bound, worst_case_gradients


def weighted_bound(weights: ArrayLike, *, beta: float) -> float:
    """The largest \\|sum_k w_k g_(n-k)\\| / sqrt(v_hat_n) over all gradients g_0..g_n, exactly.

    sqrt((1-beta^(n+1))/(1-beta) * sum_k w_k^2 / beta^k). ``weights``: w_0..w_n, shape (n+1,), w_0 that of the newest gradient.
    ``beta`` in (0, 1). Infinite where it passes float64.
    """
    sizes, fading = _logarithms(weights, beta)
    beta, n = float(beta), len(sizes)
    with np.errstate(over="ignore"):
        numerator = np.exp(logsumexp(2 * sizes - fading) / 2)
    return float(numerator * np.sqrt(np.expm1(n * np.log(beta)) / (beta - 1)))


def weighted_worst_case(weights: ArrayLike, *, beta: float) -> Array:
    """Gradients g_0..g_n that attain :func:`weighted_bound`: g_(n-k) proportional to w_k / beta^k, the largest of size 1."""
    sizes, fading = _logarithms(weights, beta)
    if np.isneginf(sizes).all():
        raise ValueError("weights must not all be 0: then no gradients are worse than others")
    sizes = sizes - fading
    return (np.sign(real_array("weights", weights)) * np.exp(sizes - sizes.max()))[::-1]


def nadam_weights(n: int, *, gamma: float, momentum_decay: float = np.inf) -> Array:
    """NAdam's weights w_0..w_n at iteration n, shape (n+1,); the newest gradient counts twice.

    With t = n+1 and mu_t = gamma (1 - 0.96^(t momentum_decay)/2), which is gamma for an infinite ``momentum_decay``:

        w_k = mu_(t+1)/(1 - mu_1...mu_(t+1)) * (1-gamma) gamma^k,   and w_0 has (1-mu_t)/(1 - mu_1...mu_t) besides

    PyTorch's default has ``momentum_decay=0.004``. Source: Dozat (2016); the schedule as ``torch.optim.NAdam`` has it.
    """
    ages, gamma = np.arange(_iteration(n) + 1.0), _rate("gamma", gamma)
    decay = as_float(momentum_decay)
    if not decay >= 0:
        raise ValueError(f"momentum_decay must be a number >= 0, or infinite, got {momentum_decay!r}")
    mu = gamma * (1 - 0.5 * 0.96 ** (np.arange(1.0, len(ages) + 2) * decay))
    product = np.cumprod(mu)
    weights = mu[-1] / (1 - product[-1]) * (1 - gamma) * gamma**ages
    weights[0] += (1 - mu[-2]) / (1 - product[-2])
    return weights


def nadam_limit(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """What NAdam's bound tends to as n grows, constant momentum or PyTorch's schedule; +inf outside beta > gamma^2.

    (1-gamma)/sqrt(1-beta) * sqrt((1+gamma)^2 + gamma^2 r/(1-r)), r = gamma^2/beta.
    """
    beta, gamma = decay_arrays(beta, gamma)
    inside = gamma**2 < beta
    r = np.divide(gamma**2, beta, out=np.ones(inside.shape), where=inside)
    tail = np.where(inside, gamma**2 * r / np.where(inside, 1 - r, 1.0), np.where(gamma > 0, np.inf, 0.0))
    return ((1 - gamma) / np.sqrt(1 - beta) * np.sqrt((1 + gamma) ** 2 + tail))[()]


def ademamix_weights(n: int, *, gamma: float = 0.9, slow: float = 0.9999, alpha: float = 5.0) -> Array:
    """AdEMAMix's weights w_0..w_n at iteration n with its three numbers constant, shape (n+1,).

    (1-gamma) gamma^k/(1-gamma^(n+1)) + alpha (1-slow) slow^k: the slow average has no bias correction.
    Source: Pagliardini, Ablin & Grangier (arXiv 2409.03137), without the schedules of alpha and slow.
    """
    n, gamma, slow = _iteration(n), _rate("gamma", gamma), _rate("slow", slow)
    alpha = check_number("alpha", alpha)
    ages = np.arange(n + 1.0)
    return (1 - gamma) * gamma**ages / (1 - gamma ** (n + 1)) + alpha * (1 - slow) * slow**ages


def laprop_bound(n: int, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """LaProp's supremum over all gradients at iteration n: the gamma-average of d_j = sqrt((1-beta^(j+1))/(1-beta)), j <= n.

    It increases to 1/sqrt(1-beta), which does not depend on gamma. Source: the optimizer is Ziyin, Wang & Ueda's (2020).
    """
    n = _iteration(n)
    beta, gamma = np.broadcast_arrays(*decay_arrays(beta, gamma))
    average = np.ones(beta.shape)
    for j in range(1, n + 1):
        newest = np.sqrt((1 - beta ** (j + 1)) / (1 - beta))
        average = average + (1 - gamma) / (1 - gamma ** (j + 1)) * (newest - average)
    return average[()]


def amsgrad_bound(n: int, *, beta: ArrayLike, gamma: ArrayLike, corrected: bool = False) -> Any:
    """The largest update of AMSGrad at iteration n over all gradients, exactly; finite for every pair.

    ``corrected=False``, as in PyTorch: m_hat_n over the root of max_(j<=n) v_j / (1-beta^(n+1)), the largest v and *then* its
    bias correction. ``corrected=True``: the largest v_hat_j. Both are Adam's D_n for gamma <= beta. For gamma > beta the
    second is 1, and the first is a little more at early iterations and tends to 1.
    """
    n = _iteration(n)
    beta, gamma = np.broadcast_arrays(*decay_arrays(beta, gamma))
    same_as_adam = np.asarray(max_update_bound(n, beta=beta, gamma=np.minimum(gamma, beta)))
    if corrected:
        return np.where(gamma <= beta, same_as_adam, 1.0)[()]
    m, largest = _held(n, beta, np.maximum(gamma, beta))[1:]
    gamma_n, beta_n = (1 - np.maximum(gamma, beta) ** (n + 1)), 1 - beta ** (n + 1)
    return np.where(gamma <= beta, same_as_adam, m / gamma_n * np.sqrt(beta_n / largest))[()]


def amsgrad_worst_case(n: int, *, beta: float, gamma: float, corrected: bool = False) -> Array:
    """Gradients g_0..g_n that attain :func:`amsgrad_bound`: Adam's worst case, held where v would begin to fall.

    g_j = max((beta/gamma)^j, root of the largest v, or v_hat, before j); constant for gamma > beta if ``corrected``.
    """
    n, beta, gamma = _iteration(n), _rate("beta", beta), _rate("gamma", gamma)
    if gamma <= beta:
        return worst_case_gradients(n, beta=beta, gamma=gamma)
    return np.ones(n + 1) if corrected else _held(n, np.float64(beta), np.float64(gamma))[0]


def _held(n: int, beta: Any, gamma: Any) -> tuple[Array, Array, Array]:
    """For gamma >= beta: the worst gradients of PyTorch's AMSGrad, then m and the largest v after them."""
    ratio = np.divide(beta, gamma, out=np.ones_like(beta, dtype=np.float64), where=gamma > 0)
    gradients, m, v, largest = [], np.zeros_like(ratio), np.zeros_like(ratio), np.zeros_like(ratio)
    for j in range(n + 1):
        g = np.maximum(ratio**j, np.sqrt(largest))
        m, v = gamma * m + (1 - gamma) * g, beta * v + (1 - beta) * g**2
        largest = np.maximum(largest, v)
        gradients.append(g)
    return np.array(gradients), m, largest


def norm_bound(n: ArrayLike, *, size: int, p: float, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The largest l_p norm of Adam's updates of ``size`` coordinates at iteration n: size^(1/p) D_n, for p in [1, inf]."""
    if not as_float(size) >= 1 or as_float(size) != np.floor(as_float(size)) or np.isinf(as_float(size)):
        raise ValueError(f"size must be a whole number >= 1, got {size!r}")
    if not as_float(p) >= 1:
        raise ValueError(f"p must be a number >= 1, or infinite, got {p!r}")
    return float(size) ** (1 / as_float(p)) * max_update_bound(n, beta=beta, gamma=gamma)


def scale_response(n: int, *, beta: float, gamma: float) -> Array:
    """How ln u_n responds, to first order, to the logarithms of the gradient's scale at ages 0..n; shape (n+1,).

    For gradients e^(x_j) the derivative of ln u_n by x_(n-k) at x = 0:
    (1-gamma) gamma^k/(1-gamma^(n+1)) - (1-beta) beta^k/(1-beta^(n+1)). All are 0 exactly for beta = gamma.
    """
    n = _iteration(n)
    ages = np.arange(n + 1.0)
    averages = [(1 - x) * x**ages / (1 - x ** (n + 1)) for x in (_rate("gamma", gamma), _rate("beta", beta))]
    return averages[0] - averages[1]


def slope_response(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """The first-order response of u to a gradient that grows by a factor e^slope a step: 1/(1-beta) - 1/(1-gamma), in steps."""
    beta, gamma = decay_arrays(beta, gamma)
    return ((beta - gamma) / ((1 - beta) * (1 - gamma)))[()]


def steady_update(slope: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """What u_n tends to where the gradient has always grown, or shrunk, by a factor e^slope a step.

    (1-gamma)/(1 - gamma e^-slope) * sqrt((1 - beta e^(-2 slope))/(1-beta)); both averages must converge, so ``slope`` must
    exceed ln(gamma) and ln(beta)/2.
    """
    beta, gamma = decay_arrays(beta, gamma)
    slope = finite_array("slope", slope)
    with np.errstate(over="ignore", invalid="ignore"):
        m, v = (np.where(x > 0, 1 - x * np.exp(-k * slope), 1.0) for x, k in ((gamma, 1), (beta, 2)))
    if (m <= 0).any() or (v <= 0).any():
        raise ValueError(f"slope must exceed ln(gamma) and ln(beta)/2, got {slope!r}")
    return ((1 - gamma) / m * np.sqrt(v / (1 - beta)))[()]


def half_life_decay(batch: ArrayLike, *, half_life: ArrayLike) -> Any:
    """The decay 2^(-batch/half_life) whose average halves an old gradient's weight after ``half_life``, both in tokens.

    Source: the rule of Marek et al. (arXiv 2507.07101) for beta.
    """
    return (2.0 ** (-_positive("batch", batch) / _positive("half_life", half_life)))[()]


def critical_batch(half_life: ArrayLike, *, gamma: ArrayLike) -> Any:
    """The batch, in the unit of ``half_life``, from which on Adam's bound is infinite, gamma being the same at all batches.

    2 half_life log2(1/gamma): there beta = 2^(-batch/half_life) is gamma^2. Infinite for gamma = 0.
    """
    gamma = decay_arrays(0.0, gamma)[1]
    with np.errstate(divide="ignore", over="ignore"):
        return (-2 * _positive("half_life", half_life) * np.log2(gamma))[()]


def _logarithms(weights: ArrayLike, beta: float) -> tuple[Array, Array]:
    """ln(abs(w_k)), -inf for w_k = 0, and ln(beta^k)."""
    w = finite_array("weights", weights)
    if w.ndim != 1 or len(w) == 0:
        raise ValueError(f"weights must be w_0..w_n, of shape (n+1,), got shape {w.shape}")
    if not 0 < as_float(beta) < 1:
        raise ValueError(f"beta must lie in (0, 1), got {beta!r}")
    with np.errstate(divide="ignore"):
        return np.log(np.abs(w)), np.arange(float(len(w))) * np.log(float(beta))


def _rate(name: str, value: float) -> float:
    if not 0 <= as_float(value) < 1:
        raise ValueError(f"{name} must be one number in [0, 1), got {value!r}")
    return float(value)


def _iteration(n: int) -> int:
    number = as_float(n)
    if not 0 <= number < 2**53 or number != int(number):
        raise ValueError(f"n must be one whole number >= 0, below 2^53, got {n!r}")
    return int(number)


def _positive(name: str, value: ArrayLike) -> Array:
    return array_that(name, value, lambda x: (x > 0) & np.isfinite(x), "be a finite number > 0,")
