"""Gradients that drive k-Adam as close to its last stage's bound as one likes, whatever the earlier stages are.

Notation as in :mod:`kadam.theory.reference`: stage i has the pair (beta_i, gamma_i), the moments m, v and the output u.
A stage whose moments are m and v > 0 emits y at iteration n for exactly one input x, provided that |y| < L_n,

    L_n = sqrt(1-beta^(n+1)) / (1-gamma^(n+1)) * (1-gamma) / sqrt(1-beta),

so an earlier stage can be made to send the next one nearly anything, once what it could not choose is forgotten.
Source: derived in the book's theory page, where it proves that the bound is sharp.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kadam.decay import Decay
from kadam.theory.arguments import Array, check_count
from kadam.theory.stability import worst_case_gradients


@dataclass
class _Stage:
    """One stage of k-Adam for one coordinate, which can also be asked for the input that makes it emit a given output."""

    decay: Decay
    m: float = 0.0
    v: float = 0.0
    n: int = 0

    def take(self, x: float) -> float:
        """The output for this input."""
        beta, gamma = self.decay.beta, self.decay.gamma
        self.m = gamma * self.m + (1 - gamma) * x
        self.v = beta * self.v + (1 - beta) * x**2
        self.n += 1
        m_hat, v_hat = self.m / (1 - gamma**self.n), self.v / (1 - beta**self.n)
        return m_hat / math.sqrt(v_hat) if v_hat else 0.0

    def input_for(self, y: float) -> float:
        """The one input for which the next output is y; NaN where there is none.

        With z = gamma m + (1-gamma) x the output is y where (1-s) z^2 + 2 s p z = s p^2 + Y beta v and z has the sign of y,
        with p = gamma m, Y = (y/c_n)^2 and s = Y (1-beta)/(1-gamma)^2.
        """
        beta, gamma = self.decay.beta, self.decay.gamma
        p = gamma * self.m
        if y == 0:
            return -p / (1 - gamma)
        size = (y * (1 - gamma ** (self.n + 1))) ** 2 / (1 - beta ** (self.n + 1))
        s = size * (1 - beta) / (1 - gamma) ** 2
        if s >= 1 or self.v == 0:
            return math.nan
        root = math.sqrt(s * p**2 + (1 - s) * size * beta * self.v)
        towards = math.copysign(p, p * y)
        z = (s * p**2 + size * beta * self.v) / (s * towards + root) if towards > 0 < root else (root - s * towards) / (1 - s)
        return (math.copysign(z, y) - p) / (1 - gamma)


def largest_output(n: int, decay: Decay) -> float:
    """L_n, in units of the learning rate: whatever is smaller a stage can be made to emit at iteration n = 1, 2, ..."""
    beta, gamma = decay.beta, decay.gamma
    check_count("n", n)
    return math.sqrt((1 - beta ** (n + 1)) / (1 - beta)) * (1 - gamma) / (1 - gamma ** (n + 1))


def last_stage_gradients(stages: Sequence[Decay], *, silence: int | Sequence[int], window: int = 200) -> Array:
    """Gradients of one coordinate after which the update of k-Adam is close to its last stage's bound.

    The first gradient is 1. Then the stages are held at an output of zero one after the other, so that the next one forgets:
    for i = 1, ..., k-1 stage i emits zeros for ``silence`` steps (one number, or k-1 of them). At last stage k-1 emits the
    geometric worst case of the last pair, of length ``window``. Shape (1 + silences + window,), or (window,) for k = 1.
    The update after the last gradient tends to the limit of the last stage's bound as first the last silence and then the
    window grow; each earlier silence need only be long enough. ``ValueError`` where a stage cannot emit what it should:
    silence is too short, or so long that v underflows.
    """
    pauses = _check(stages, silence, window)
    *earlier, last = stages
    worst = worst_case_gradients(window - 1, beta=last.beta, gamma=last.gamma)
    if not earlier:
        return worst
    size = 0.5 * (1 - earlier[-1].gamma) * math.sqrt(1 - earlier[-1].beta)
    states = [_Stage(decay) for decay in earlier]
    _pass(states, 1.0)
    gradients = [1.0]
    for held, pause in enumerate(pauses, start=1):
        gradients += [_emit(states[:held], states[held:], 0.0, size) for _ in range(pause)]
    gradients += [_emit(states, [], float(y), size) for y in size * worst / worst.max()]
    return np.array(gradients)


def _pass(stages: Sequence[_Stage], x: float) -> float:
    for stage in stages:
        x = stage.take(x)
    return x


def _emit(held: Sequence[_Stage], behind: Sequence[_Stage], y: float, size: float) -> float:
    """The gradient for which the last of ``held`` emits y, to a millionth of ``size``; all stages take it."""
    x = y
    for stage in reversed(held):
        x = stage.input_for(x)
    emitted = _pass(held, x)
    if not abs(emitted - y) <= 1e-6 * size:
        raise ValueError("silence must be longer, or shorter where v underflows: a stage cannot emit what the next one needs")
    _pass(behind, emitted)
    return x


def _check(stages: Sequence[Decay], silence: Any, window: int) -> list[int]:
    """The silences, one for each stage but the last."""
    if not isinstance(stages, Sequence) or not all(isinstance(stage, Decay) for stage in stages):
        raise TypeError(f"stages must be a sequence of kadam.Decay, got {stages!r}")
    if len(stages) == 0:
        raise ValueError("stages must hold at least one Decay, got none")
    if min(stage.beta for stage in stages) == 0:
        raise ValueError(f"stages must have beta > 0, got {stages!r}")
    pauses = list(silence) if isinstance(silence, list | tuple) else [silence] * max(len(stages) - 1, 1)
    for pause in pauses:
        check_count("silence", pause)
    if len(pauses) != max(len(stages) - 1, 1):
        raise ValueError(f"silence must be one whole number or one for each stage but the last, got {silence!r}")
    check_count("window", window)
    return [int(pause) for pause in pauses[: len(stages) - 1]]
