"""Discrete k-Adam exactly as the page of theory writes it: float64, one step at a time, nothing clever.

This is the oracle that the optimizer is tested against, so it shares no code with it.

Symbols: i is the stage (1..k), n the iteration (0, 1, ...), m and v the moments of a stage, u its output.

    u^(0)_n = g_n
    m^(i)_n = gamma_i m^(i)_{n-1} + (1-gamma_i) u^(i-1)_n
    v^(i)_n = beta_i  v^(i)_{n-1} + (1-beta_i)  (u^(i-1)_n)^2
    u^(i)_n = m_hat / (sqrt(v_hat) + eps),   m_hat = m/(1-gamma_i^(n+1)),   v_hat = v/(1-beta_i^(n+1))

Source: Gould & Tanaka (arXiv 2411.05746); k = 1 is Adam. The theory takes eps = 0, PyTorch adds it outside the root.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kadam.decay import Decay, as_float
from kadam.theory.arguments import Array, finite_array


def kadam_updates(gradients: ArrayLike, stages: Sequence[Decay], *, eps: float = 0.0) -> Array:
    """The updates u^(k)_n of k-Adam, k = len(stages); the parameters would move by -eta * u.

    ``gradients``: shape (n, ...), one row an iteration. Returns the same shape, float64.
    With eps = 0 a coordinate whose moments are still zero has update 0. Float64 has squares of what lies between 1e-150
    and 1e150: larger gradients raise ``ValueError``, and with eps = 0 smaller ones lose digits, in the end all of them.
    """
    return _iterate(gradients, stages, eps)[0]


def kadam_moments(gradients: ArrayLike, stages: Sequence[Decay], *, eps: float = 0.0) -> tuple[Array, Array]:
    """The moments (m, v) after the last gradient, each of shape (k, ...), not bias-corrected."""
    return _iterate(gradients, stages, eps)[1:]


def _iterate(gradients: ArrayLike, stages: Sequence[Decay], eps: float) -> tuple[Array, Array, Array]:
    """All updates, and the last moments."""
    updates = _gradients(gradients, stages, eps).copy()
    m, v = np.zeros((2, len(stages), *updates.shape[1:]))
    for n, u in enumerate(updates):
        for i, stage in enumerate(stages):
            m[i] = stage.gamma * m[i] + (1 - stage.gamma) * u
            v[i] = stage.beta * v[i] + (1 - stage.beta) * u**2
            m_hat = m[i] / (1 - stage.gamma ** (n + 1))
            v_hat = v[i] / (1 - stage.beta ** (n + 1))
            with np.errstate(divide="ignore", invalid="ignore"):
                u = np.where(m_hat == 0, 0.0, m_hat / (np.sqrt(v_hat) + eps))
        updates[n] = u
    return updates, m, v


def _gradients(gradients: ArrayLike, stages: Sequence[Decay], eps: float) -> Array:
    g = finite_array("gradients", gradients, largest=1e150)
    if g.ndim == 0:
        raise ValueError("gradients must have shape (n, ...), one row an iteration; got a single number")
    if not isinstance(stages, Sequence) or not all(isinstance(stage, Decay) for stage in stages):
        raise TypeError(f"stages must be a sequence of kadam.Decay, got {stages!r}")
    if len(stages) == 0:
        raise ValueError("stages must hold at least one Decay, got none")
    if not 0 <= as_float(eps) < np.inf:
        raise ValueError(f"eps must be >= 0, got {eps!r}")
    return g
