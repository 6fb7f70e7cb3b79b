"""The decay rates of Adam's two averages, and how k-Adam spreads them over its stages.

The paper writes the pair as (beta, gamma); PyTorch writes it as betas = (beta1, beta2) = (gamma, beta).
``Decay`` is the only place where one becomes the other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Decay:
    """One pair of decay rates, each in [0, 1).

    ==========  ============  ===========================================
    here        PyTorch       meaning
    ==========  ============  ===========================================
    ``beta``    ``betas[1]``  decay of the second moment, v
    ``gamma``   ``betas[0]``  decay of the momentum, m
    ==========  ============  ===========================================

    Keyword-only and not iterable, so that the two cannot be swapped in passing. Other real numbers become floats.
    Raises ``ValueError`` naming the field and its value if either lies outside [0, 1).
    """

    beta: float = 0.999
    gamma: float = 0.9

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, checked_rate(field.name, getattr(self, field.name)))

    @classmethod
    def from_betas(cls, betas: Sequence[float]) -> "Decay":
        """From PyTorch's pair (beta1, beta2): beta1 is gamma, beta2 is beta."""
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(f"betas must be a pair (beta1, beta2), got {betas!r}") from None
        where = f" in betas={(beta1, beta2)!r}"
        return cls(gamma=checked_rate("beta1", beta1, where), beta=checked_rate("beta2", beta2, where))

    @property
    def betas(self) -> tuple[float, float]:
        """PyTorch's pair (beta1, beta2), which is (gamma, beta)."""
        return (self.gamma, self.beta)


def as_float(value: Any) -> float:
    """The value as a float; NaN where it is not a real number, or too large for a float."""
    try:
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.nan


def checked_rate(name: str, value: Any, where: str = "") -> float:
    """The value as a float; ``ValueError`` unless it lies in [0, 1)."""
    rate = as_float(value)
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}{where}")
    return rate


_SAME_FOR_EVERY_STAGE: dict[str, Callable[[float, int], float]] = {
    "repeat": lambda x, k: x,
    "inverse_exp": lambda x, k: -math.expm1(math.log1p(-x) / k),
    "scaled": lambda x, k: x / (x + k * (1.0 - x)),
    "root": lambda x, k: x ** (1.0 / k),
}

STRATEGIES: tuple[str, ...] = (*_SAME_FOR_EVERY_STAGE, "meta")

MOST_STAGES = 10**6  # far beyond use, and still within memory


def stages(decay: Decay, k: int, strategy: str = "inverse_exp") -> tuple[Decay, ...]:
    """The k pairs of decay rates that a strategy derives from Adam's one pair.

    With x either beta or gamma of ``decay`` and x_i that of stage i = 1..k:

    ===============  ===========================================  ================================================
    strategy         stage i                                      what it keeps
    ===============  ===========================================  ================================================
    ``repeat``       x_i = x                                      the same average, k times
    ``inverse_exp``  x_i = 1 - (1-x)^(1/k)                        the product of the new-gradient weights 1-x_i
    ``scaled``       x_i/(1-x_i) = x/(1-x)/k                      the sum of the memories x_i/(1-x_i)
    ``root``         x_i = x^(1/k)                                the product of the decays
    ``meta``         stage 1: x; then gamma_i = 0, beta_i = beta  Adam, then normalisation by its own history
    ===============  ===========================================  ================================================

    With k = 1 each of them is Adam. Source: k-Adam and four strategies are Gould & Tanaka's (arXiv 2411.05746);
    these formulas are our own reading. Raises ``TypeError`` for a ``decay`` that is none, and ``ValueError`` for k < 1, an
    unknown strategy, or a stage whose rate rounds to 1.
    """
    if not isinstance(decay, Decay):
        raise TypeError(f"decay must be a kadam.Decay, got {decay!r}")
    check_stage_count(k)
    check_strategy(strategy)
    if k == 1:
        return (decay,)
    if strategy == "meta":
        return (decay, *[Decay(beta=decay.beta, gamma=0.0)] * (k - 1))
    formula = _SAME_FOR_EVERY_STAGE[strategy]
    return (Decay(beta=formula(decay.beta, k), gamma=formula(decay.gamma, k)),) * k


def check_stage_count(k: Any, name: str = "k") -> None:
    """``ValueError`` unless k is a whole number of at least one."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {k!r}")
    if int(k) > MOST_STAGES:
        raise ValueError(f"{name} must be at most {MOST_STAGES:,} stages, got {k!r}")


def check_strategy(strategy: Any) -> None:
    """``ValueError`` listing the strategies unless this is one of them."""
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}; got {strategy!r}")
