"""A one-line answer, with its reason, to "are my betas safe?"."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kadam.decay import Decay, stages
from kadam.theory import stability


@dataclass(frozen=True)
class Advice:
    """What the theory says of one pair. Rates are per step, updates in learning rates; JSON has null for infinity."""

    beta1: float  # of the last stage
    beta2: float
    k: int
    C: float | None
    stable_discrete: bool
    stable_continuous: bool
    growth_rate: float | None
    largest_update: float | None  # over all gradient sequences and iterations; None where there is no limit
    smallest_stable_beta2: float  # beta1^2: beta2 must lie above
    # Of usual gradients rather than of the worst, for one stage; None for more, whose inputs are another stage's updates.
    typical_update: float | None  # root mean square for white gradients, once the second moment stands still
    rms_update: float | None  # the most for random signs, whatever the sizes; None where there is no limit
    critical_silence: float | None  # share of steps with a gradient of zero above which independent gradients grow updates

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """The verdict and its reason. The pair is printed with every digit: a rounded one may lie across the boundary."""
        whose = "" if self.k == 1 else f"{self.k}-Adam's last stage has "
        head = f"{whose}betas = ({self.beta1!r}, {self.beta2!r}), that is (beta, gamma) = ({self.beta2!r}, {self.beta1!r}): "
        verdict = f"stable. {self._why_stable()}" if self.stable_discrete else f"UNSTABLE. {self._why_unstable()}"
        return f"{head}{verdict}{self._usually()}"

    def _why_stable(self) -> str:
        narrow = "" if self.stable_continuous else " It lies outside the paper's narrower region (C <= 0)."
        signs = self.beta1 == self.beta2 == 0
        why = (
            "there is no memory, so every step is a sign"
            if signs
            else "momentum forgets faster than the root of the second moment"
        )
        return (
            f"No gradient sequence can make a step longer than {self.largest_update:.3g} learning rates: {why} "
            f"(beta2 = {self.beta2!r} against beta1^2 = {self._boundary()}).{narrow}"
        )

    def _why_unstable(self) -> str:
        if self.growth_rate is None:
            speed = "without any limit"
        elif self.growth_rate == 0:
            speed = "like the square root of the number of steps"
        else:
            speed = f"by a factor e every {Decimal(f'{1 / self.growth_rate:.3g}'):,f} steps"
        forgets = "just as fast as" if self.growth_rate == 0 else "faster than"
        return (
            f"Where gradients shrink, updates can grow {speed}: "
            f"the root of the second moment forgets {forgets} the momentum. "
            f"Choose {'' if self.k == 1 else 'its '}beta2 above beta1^2 = {self._boundary()}."
        )

    def _usually(self) -> str:
        """What less than the worst gradients do, of one stage with a memory."""
        if self.typical_update is None or self.beta1 == self.beta2 == 0:
            return ""
        usual = f"about {self.typical_update:.3g} in root mean square"
        steady = f"for gradients of random sign and steady size a step is {usual}"
        if self.rms_update is not None:
            return (
                f" Usually less: for gradients of random sign {usual} while their size is steady, and at most "
                f"{self.rms_update:.3g} however it changes."
            )
        if not self.critical_silence:
            return f" Any weight is at risk; {steady}."
        return (
            " If a weight's gradients are independent and of one distribution, its updates grow in root mean square only if "
            f"they are zero in more than {_percent(self.critical_silence)} of the steps, as in rows of rare tokens (many next "
            f"to zero can do the same for a while); {steady}."
        )

    def _boundary(self) -> str:
        """beta1^2 to four digits of it and of its distance to 1, or more: never below it, and on its side of beta2."""
        exact = Decimal(repr(self.smallest_stable_beta2))
        last = min(exact.adjusted(), (1 - exact).adjusted()) - 3
        for place in range(last, last - 20, -1):
            shown = exact.quantize(Decimal((0, (1,), place)), ROUND_CEILING)
            if (float(shown) < self.beta2) == self.stable_discrete:
                break
        return f"{float(shown)!r}"


def advise(betas: Decay | Sequence[float], *, k: int = 1, strategy: str = "inverse_exp") -> Advice:
    """What the theory of the largest update says of Adam with PyTorch's pair ``betas``, or of k-Adam with it.

    k-Adam's update obeys the bound of its last stage, whatever the stages before (the book's theory page, "last stage"), so the
    advice is on that stage's pair. A :class:`kadam.Decay` will do for ``betas``. ``ValueError`` for what is no pair of numbers
    in [0, 1), for k < 1 and for an unknown strategy.
    """
    decay = stages(betas if isinstance(betas, Decay) else Decay.from_betas(betas), k, strategy)[-1]
    pair: Any = vars(decay)
    stable = bool(stability.is_stable(**pair))
    return Advice(
        beta1=decay.gamma,
        beta2=decay.beta,
        k=k,
        C=_finite(stability.coefficient(**pair)),
        stable_discrete=stable,
        stable_continuous=bool(stability.is_stable(**pair, time="continuous")),
        growth_rate=_finite(stability.growth_rate(**pair)),
        largest_update=_largest_update(decay) if stable else None,
        smallest_stable_beta2=float(stability.boundary(decay.gamma)),
        typical_update=float(stability.white_update(gamma=decay.gamma)) if k == 1 else None,
        rms_update=_rms_update(decay) if k == 1 else None,
        critical_silence=float(stability.critical_silence(**pair)) if k == 1 else None,
    )


def _largest_update(decay: Decay) -> float:
    """Of a stable pair: the limit of the discrete bound, which never falls."""
    beta, gamma = decay.beta, decay.gamma
    return (1 - gamma) / math.sqrt(1 - beta) * (math.sqrt(beta / (beta - gamma**2)) if gamma > 0 else 1.0)


def _rms_update(decay: Decay) -> float | None:
    """The supremum over n of the bound for random signs: one late gradient, or the first one, is the worst."""
    outside = stability.growth_rate(beta=decay.beta, gamma=decay.gamma) > 0
    return None if outside else max(1.0, (1 - decay.gamma) / math.sqrt(1 - decay.beta))


def _percent(share: float) -> str:
    """With two digits at least of it and of what is left to all."""
    least = min(share, 1 - share) or 1.0
    return f"{share:.{max(0, -math.floor(math.log10(least)) - 1)}%}"


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
