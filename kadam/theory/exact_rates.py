"""The continuous model at the algorithm's exact rates, a = -ln(gamma) and b = -ln(beta), in place of the paper's.

Time is counted from before the first gradient, so that iteration n ends at N = n+1. Cauchy-Schwarz bounds the model's update by

    X_n = sqrt(1-beta^N)/(1-gamma^N) * a/sqrt(b) * sqrt((1 - e^(-N C'))/C'),    C' = 2a - b = -ln(gamma^2/beta).

With Phi(N) = sinh(N b/2) sinh(N (a - b/2)) / sinh(N a/2)^2 the algorithm's bound is D_n^2 = Phi(n+1)/Phi(1), and X_n^2 is the
same with x in place of sinh(x) in Phi(1) alone. So X_n/D_n does not depend on n. Source: derived in the book's theory page.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kadam.theory.arguments import Array, array_that, decay_arrays
from kadam.theory.stability import max_update_bound


def excess(*, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """X_n/D_n at every n: 1 for beta = gamma, above 1 elsewhere. Both decays in (0, 1).

    sqrt(h(b/2) h(a - b/2)) / h(a/2) with h(x) = sinh(x)/x.
    """
    a, b = _rates(beta, gamma)
    return np.exp((_log_sinhc(b / 2) + _log_sinhc(a - b / 2)) / 2 - _log_sinhc(a / 2))[()]


def bound_at_exact_rates(n: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike) -> Any:
    """X_n, in units of the learning rate; it bounds the algorithm at every n = 0, 1, ... Both decays in (0, 1)."""
    _rates(beta, gamma)
    return excess(beta=beta, gamma=gamma) * max_update_bound(n, beta=beta, gamma=gamma)


def _rates(beta: ArrayLike, gamma: ArrayLike) -> tuple[Array, Array]:
    beta, gamma = decay_arrays(beta, gamma)
    for name, x in (("beta", beta), ("gamma", gamma)):
        array_that(name, x, lambda x: x > 0, "lie in (0, 1),")
    return -np.log(gamma), -np.log(beta)


def _log_sinhc(x: Array) -> Array:
    """ln(sinh(x)/x), 0 at x = 0."""
    size = np.abs(x)
    small, large = np.where(size < 20, size, 1.0), np.where(size < 20, 20.0, size)
    near = np.log(np.divide(np.sinh(small), small, out=np.ones_like(small), where=small > 0))
    return np.where(size < 20, near, large - np.log(2 * large))
