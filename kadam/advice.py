"""The answer, with its reason, to "are my betas safe?": in a sentence, in a report beside common pairs, and as data."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kadam.decay import Decay, stages
from kadam.theory import relatives, stability
from kadam.theory.arguments import check_count, check_number

# Pairs (beta1, beta2) that people use. Chapter 1 of the book has them with their sources.
COMMON = {
    (0.9, 0.999): "PyTorch's default",  # of Adam, AdamW and NAdam; Kingma & Ba 2015
    (0.9, 0.95): "language models",  # Brown et al. 2020 and most large language models since
    (0.9, 0.98): "the first Transformer",  # Vaswani et al. 2017
    (0.95, 0.95): "equal betas",  # Orvieto & Gower 2025
    (0.0, 0.99): "RMSprop",  # torch.optim.RMSprop's alpha, without momentum
    (0.0, 0.0): "SignSGD",  # Bernstein et al. 2018
}
BESIDE = ((0.9, 0.999), (0.9, 0.95))  # those of them that a report sets beside every pair


@dataclass(frozen=True)
class Advice:
    """What the theory says of one pair. Rates are per step, updates in learning rates; None, in JSON null, for infinity.

    :meth:`sentence` is the verdict with its reason; :meth:`report`, which is also ``str``, puts common pairs beside it.
    """

    betas: tuple[float, float]  # as they were given
    k: int
    strategy: str
    beta1: float  # of the last stage, as is all that follows
    beta2: float
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
    steps: int
    largest_update_within_steps: float | None  # over all gradient sequences of so many steps; None beyond float64
    # Steps that an average remembers, 1/(1-beta), and after how many a gradient counts half.
    momentum_memory: float
    second_moment_memory: float
    momentum_half_life: float
    second_moment_half_life: float
    # For one stage, beta1 and the half-life of beta2 in tokens being kept: below how many times the batch of now updates stay
    # bounded. None where they do at every batch, and for more stages.
    critical_batch: float | None
    batch_tokens: float | None  # of now, where given

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: the fields, ``remarks``, and ``neighbours``, the fields of each by its name."""
        neighbours = {name: asdict(advice) for name, advice in self.neighbours().items()}
        return asdict(self) | {"remarks": list(self.remarks()), "neighbours": neighbours}

    def __str__(self) -> str:
        return self.report()

    def report(self) -> str:
        """The sentence and remarks, then numbers a line, then a table of this pair and its neighbours."""
        lines = {"memory": self._memory(), "worst case": self._worst_case(), "the paper": self._paper(), "batch": self._batch()}
        numbers = [f"{name:<12}{words}" for name, words in lines.items() if words]
        head = ("betas", "", "verdict", f"in {self.steps:,}", "for ever", "usually", "silence")
        table = _aligned([head, self._row("yours"), *(advice._row(name) for name, advice in self.neighbours().items())])
        legend = (
            "Of each pair, in learning rates: the largest update within so many steps and for ever, and the usual one, in root "
            "mean square. Silence: the share of steps with a gradient of zero above which a weight is at risk."
        )
        return "\n".join([self.sentence(), *self.remarks(), "", *numbers, "", *table, "", legend])

    def remarks(self) -> tuple[str, ...]:
        """What a pair like this one deserves to be told besides: the order of the two, and names it is known by."""
        beta1, beta2 = self.betas
        swapped = (beta2, beta1)
        if beta1 > beta2 and (swapped in COMMON or (beta2 > 0 and not self.stable_discrete)):
            meant = f"{swapped}, {COMMON[swapped]}" if swapped in COMMON else f"{swapped}"
            return (f"The order is PyTorch's, momentum first. Did you mean {meant}? That pair is stable.",)
        if self.k == 1 and beta1 == beta2 == 0:
            return ("This is SignSGD: a step is the gradient's sign times the learning rate.",)
        if self.k == 1 and beta1 == 0:
            return ("This is RMSprop with Adam's bias correction: no momentum. The longest step follows a long silence.",)
        return ()

    def neighbours(self) -> dict[str, "Advice"]:
        """Advice on other pairs by name, all else alike: common ones, the two swapped, and both equal to beta1."""
        beta1, beta2 = self.betas
        pairs = {pair: COMMON[pair] for pair in BESIDE}
        if beta1 > beta2:
            pairs.setdefault((beta2, beta1), "yours, swapped")
        pairs.setdefault((beta1, beta1), COMMON.get((beta1, beta1), "equal betas"))
        same: dict[str, Any] = {"k": self.k, "strategy": self.strategy, "steps": self.steps}
        return {name: advise(pair, **same) for pair, name in pairs.items() if pair != self.betas}

    def _row(self, name: str) -> tuple[str, ...]:
        verdict = "stable" if self.stable_discrete else "UNSTABLE"
        usually = "-" if self.typical_update is None else _number(self.typical_update)
        share = self.critical_silence
        silence = "-" if share is None else "never" if share == 1 else _percent(share)
        return (f"{self.betas}", name, verdict, self._within_steps(), self._for_ever(), usually, silence)

    def _memory(self) -> str:
        momentum = f"momentum {_number(self.momentum_memory)} steps, half-life {_number(self.momentum_half_life)}"
        second = f"second moment {_number(self.second_moment_memory)}, half-life {_number(self.second_moment_half_life)}"
        return f"{momentum}; {second}"

    def _worst_case(self) -> str:
        return f"{self._within_steps()} within {self.steps:,} steps, {self._for_ever()} for ever (in learning rates)"

    def _within_steps(self) -> str:
        if self.largest_update_within_steps is None:
            return "no limit" if self.growth_rate is None else "> 1e308"
        return _number(self.largest_update_within_steps)

    def _for_ever(self) -> str:
        return "no limit" if self.largest_update is None else _number(self.largest_update)

    def _paper(self) -> str:
        infinite = "infinity" if self.stable_continuous else "-infinity"
        side = "inside" if self.stable_continuous else "outside"
        return f"C = {infinite if self.C is None else f'{self.C:.3g}'}, {side} its region C > 0"

    def _batch(self) -> str:
        """What another batch size makes of this pair if beta2's half-life is kept in tokens (Marek et al. 2025)."""
        if self.k > 1 or self.beta2 == 0:
            return ""
        half, twice = (relatives.half_life_decay(x, half_life=self.second_moment_half_life) for x in (0.5, 2.0))
        tokens = self.batch_tokens
        kept = "" if tokens is None else f", {_number(self.second_moment_half_life * tokens)}"
        rule = f"at half of it beta2 = {_rate(half)}, at twice {_rate(twice)} (the same half-life in tokens{kept})"
        if self.critical_batch is None:
            return rule
        limit = "" if tokens is None else f", {_number(self.critical_batch * tokens)} tokens"
        return f"{rule}; with beta1 kept, stable below {_number(self.critical_batch)} times this batch{limit}"

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


def advise(
    betas: Decay | Sequence[float],
    *,
    k: int = 1,
    strategy: str = "inverse_exp",
    steps: int = 1000,
    batch_tokens: float | None = None,
) -> Advice:
    """What the theory of the largest update says of Adam with PyTorch's pair ``betas``, or of k-Adam with it.

    k-Adam's update obeys the bound of its last stage, whatever the stages before (the book's theory page, "last stage"), so the
    advice is on that stage's pair. A :class:`kadam.Decay` will do for ``betas``. ``steps``: within how many of the first steps
    to give the worst case besides that for ever. ``batch_tokens``: tokens, or samples, in a batch; numbers of the advice on
    other batch sizes are then in this unit too. ``ValueError`` for what is no pair of numbers in [0, 1), booleans included, for
    k or steps < 1, for an unknown strategy, and for batch_tokens <= 0.
    """
    given = betas if isinstance(betas, Decay) else _without_booleans(betas)
    check_count("steps", steps)
    tokens = None if batch_tokens is None else check_number("batch_tokens", batch_tokens, above=0.0)
    decay = stages(given, k, strategy)[-1]
    pair: Any = vars(decay)
    stable = bool(stability.is_stable(**pair))
    within = stability.max_update_bound(int(steps) - 1, **pair)
    halves = [math.log(2) / -math.log(x) if x > 0 else 0.0 for x in decay.betas]
    return Advice(
        betas=given.betas,
        k=int(k),
        strategy=strategy,
        beta1=decay.gamma,
        beta2=decay.beta,
        C=_finite(stability.coefficient(**pair)),
        stable_discrete=stable,
        stable_continuous=bool(stability.is_stable(**pair, time="continuous")),
        growth_rate=_finite(stability.growth_rate(**pair)),
        largest_update=_largest_update(decay) if stable else None,
        smallest_stable_beta2=float(stability.boundary(decay.gamma)),
        typical_update=float(stability.white_update(gamma=decay.gamma)) if k == 1 else None,
        rms_update=_rms_update(decay) if k == 1 else None,
        critical_silence=float(stability.critical_silence(**pair)) if k == 1 else None,
        steps=int(steps),
        largest_update_within_steps=_finite(within),
        momentum_memory=1 / (1 - decay.gamma),
        second_moment_memory=1 / (1 - decay.beta),
        momentum_half_life=halves[0],
        second_moment_half_life=halves[1],
        critical_batch=_critical_batch(decay) if k == 1 else None,
        batch_tokens=tokens,
    )


def _without_booleans(betas: Sequence[float]) -> Decay:
    """The pair as decays; Python counts ``False`` among the numbers, and here it is a slip."""
    decay = Decay.from_betas(betas)
    if any(isinstance(rate, bool) for rate in betas):
        raise ValueError(f"betas must be a pair of numbers (beta1, beta2), got {betas!r}")
    return decay


def _largest_update(decay: Decay) -> float:
    """Of a stable pair: the limit of the discrete bound, which never falls."""
    beta, gamma = decay.beta, decay.gamma
    boundary = float(stability.boundary(gamma))  # as numpy rounds it; Python's gamma**2 may round to beta itself
    return (1 - gamma) / math.sqrt(1 - beta) * (math.sqrt(beta / (beta - boundary)) if gamma > 0 else 1.0)


def _rms_update(decay: Decay) -> float | None:
    """The supremum over n of the bound for random signs: one late gradient, or the first one, is the worst."""
    outside = stability.is_outside(beta=decay.beta, gamma=decay.gamma)  # there the rate may round to zero
    return None if outside else max(1.0, (1 - decay.gamma) / math.sqrt(1 - decay.beta))


def _critical_batch(decay: Decay) -> float | None:
    """2 ln(beta1)/ln(beta2): the batch at which beta2 = 2^(-batch/half-life) falls to beta1^2, in batches of now."""
    if decay.gamma == 0 or decay.beta == 0:
        return None if decay.gamma == 0 else 0.0
    return _finite(relatives.critical_batch(math.log(2) / -math.log(decay.beta), gamma=decay.gamma))


def _number(x: float) -> str:
    """Three digits, thousands apart; as a power of ten where that would be long."""
    return f"{Decimal(f'{x:.3g}'):,f}" if x == 0 or 1e-4 <= x < 1e9 else f"{x:.3g}"


def _rate(x: float) -> str:
    """A decay rate with three digits of what it lacks to 1, or of itself where it is small."""
    return f"{x:.{2 - math.floor(math.log10(1 - x))}f}".rstrip("0") if 0.5 < x < 1 else f"{x:.3g}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines with columns that are as wide as what stands in them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _percent(share: float) -> str:
    """With two digits at least of it and of what is left to all."""
    if 0 < share < 1e-6:
        return f"{100 * share:.2g}%"
    least = min(share, 1 - share) or 1.0
    return f"{share:.{max(0, -math.floor(math.log10(least)) - 1)}%}"


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
