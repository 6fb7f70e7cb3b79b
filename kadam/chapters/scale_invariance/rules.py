"""What a weight of one member of an ensemble does instead of AdamW's step: its norm dictated, or its direction moved otherwise.

A rule is asked after every step of the ensemble, for one weight of one member, and sees that step: the weight before and after,
the update, the gradient's second moment. It returns the weight that the member goes on with, and the update that led there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from kadam.lab.engine.state import Stateful
from kadam.lab.train.ensemble import Ensemble
from kadam.theory.invariance import NormLaw


@dataclass(frozen=True)
class Step:
    """One step of AdamW on one weight, each tensor of shape (size,)."""

    before: Tensor
    after: Tensor
    update: Tensor
    momentum: Tensor  # m^
    gradient: Tensor


Rule = Callable[[Step], tuple[Tensor, Tensor]]  # the weight after the step and the update that moved it


class Constant:
    """A squared norm that no update changes; like :class:`kadam.theory.invariance.NormLaw`, which makes |W|^2 of |u|^2."""

    def __init__(self, norm: float) -> None:
        self.norm = norm

    def advance(self, square: float) -> float:
        return self.norm


class Normed(Stateful):
    """AdamW's direction; the squared norm is what ``law`` makes of |u|^2, step after step."""

    STATE = ("numbers",)

    def __init__(self, law: NormLaw | Constant) -> None:
        self.law, self.numbers = law, vars(law)  # the law's own attributes, which a state sets in place

    def __call__(self, step: Step) -> tuple[Tensor, Tensor]:
        square = self.law.advance(float(step.update @ step.update))
        return step.after * (square**0.5 / step.after.norm()), step.update


class SecondAdam(Stateful):
    """The direction is moved by u over the root of u^2's own moving average, entry by entry: 2-Adam with gamma_2 = 0.

    ``beta`` is that average's, ``v`` where it starts, (size,); ``rate``: how far an update of root mean square 1 turns the
    weight (the tangent of the angle). The norm stays what it is.
    """

    STATE = ("v",)

    def __init__(self, *, beta: float, rate: float, v: Tensor) -> None:
        self.beta, self.rate, self.v = beta, rate, v

    def __call__(self, step: Step) -> tuple[Tensor, Tensor]:
        self.v = self.beta * self.v + (1 - self.beta) * step.update.square()
        norm = step.before.norm()
        moved = step.before - self.rate * norm * len(step.update) ** -0.5 * step.update / self.v.sqrt()
        return moved * (norm / moved.norm()), step.update


class OneSecondMoment(Stateful):
    """AdamW whose v is one number for the whole weight: the moving average of the gradient's mean square, from ``v`` on.

    ``v`` and the average are those of Adam after bias correction.
    """

    STATE = ("v",)

    def __init__(self, *, v: float, beta: float, eta: float, weight_decay: float) -> None:
        self.v, self.beta, self.eta, self.kept = v, beta, eta, 1 - eta * weight_decay

    def __call__(self, step: Step) -> tuple[Tensor, Tensor]:
        self.v = self.beta * self.v + (1 - self.beta) * float(step.gradient.square().mean())
        update = step.momentum / self.v**0.5
        return self.kept * step.before - self.eta * update, update


def obey(ensemble: Ensemble, path: str, before: Tensor, rules: Mapping[int, Rule]) -> None:
    """Let members' rules have their way with one weight after a step of the ensemble; the other members keep AdamW's.

    ``before``: the weight before the step, (members, size); ``rules`` by member.
    """
    rows, updates = ensemble.params[path].flatten(1), ensemble.updates[path]
    momentum, _ = ensemble.corrected_moments(path)
    for i, rule in rules.items():
        step = Step(before[i], rows[i].clone(), updates[i].clone(), momentum[i], ensemble.gradients[path][i])
        rows[i], updates[i] = rule(step)
