"""k-Adam's update as functions of tensors: for one tensor, for lists of tensors (foreach), and under autograd.

Stage i turns its input u^(i-1) (the gradient for i = 1) into u^(i), in place on its moments m and v:

    m <- m + (1-beta1) (u - m)        v <- beta2 v + (1-beta2) u^2
    u <- m / correction1 / (sqrt(v) / correction2 + eps)

beta1 is the paper's gamma and beta2 its beta. The order of operations is that of ``torch.optim.AdamW``, so that one
stage is equal to it bit for bit. Nothing here writes to the gradient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

N = TypeVar("N", float, Tensor)
Tensors = list[Tensor]
Moments = tuple[Tensor, Tensor]  # (m, v) of one stage, each shaped as the parameter
Number = float | Tensor  # a tensor of one element where the value may not be read by the host


@dataclass(frozen=True)
class StageAtStep(Generic[N]):
    """What one stage needs to know at one step; tensors (broadcast against the parameter) where members differ."""

    weight1: N  # 1 - beta1: weight of the new input in m
    weight2: N  # 1 - beta2: weight of the new square in v
    beta2: N
    correction1: N  # 1 - beta1^step
    correction2: N  # sqrt(1 - beta2^step)

    @classmethod
    def at(cls, beta1: N, beta2: N, step: float) -> "StageAtStep[N]":
        """``step`` counts from 1. Give float64 tensors; :meth:`to` brings the result to the parameter's dtype."""
        return cls(1 - beta1, 1 - beta2, beta2, 1 - beta1**step, (1 - beta2**step) ** 0.5)

    @classmethod
    def at_tensor(cls, beta1: float, beta2: float, step: Tensor) -> "StageAtStep[Any]":
        """For a step that only its device knows (0-dim): the corrections are tensors there."""
        corrections: Any = (_one_minus_power(beta1, step), _one_minus_power(beta2, step).sqrt())
        return StageAtStep(1 - beta1, 1 - beta2, beta2, *corrections)

    def to(self, dtype: torch.dtype) -> "StageAtStep[N]":
        parts: Any = (x.to(dtype) if isinstance(x, Tensor) else x for x in vars(self).values())
        return StageAtStep(*parts)


Stages = Sequence[StageAtStep[Any]]  # k of one parameter


def widened(number: Number) -> Number:
    """A number on a device without dimensions and in float64, where the device has it; other numbers as they are."""
    if not isinstance(number, Tensor):
        return number
    number = number.reshape(())
    return number.double() if number.device.type != "mps" else number


def _one_minus_power(beta: float, step: Tensor) -> Tensor:
    """1 - beta^step without cancellation, in float64 where the device has it."""
    n: Any = widened(step)
    return torch.ones_like(n) if beta == 0 else -torch.expm1(n * math.log(beta))


def kadam_update(grad: Tensor, moments: Sequence[Moments], stages: Stages, *, eps: float) -> Tensor:
    """u^(k), shaped as ``grad``, after all the given stages; advances their moments in place."""
    u = grad
    for (m, v), stage in zip(moments, stages, strict=True):
        _average_(u, m, v, stage)
        u = (m / _denominator(v, stage, eps)).div_(stage.correction1)
    return u


def kadam_step_(
    param: Tensor, grad: Tensor, moments: Sequence[Moments], stages: Stages, *, lr: Number, eps: float, weight_decay: float
) -> None:
    """One step on one parameter, in place: param <- (1 - lr weight_decay) param - lr u^(k)."""
    if weight_decay != 0:
        param.mul_(1 - lr * weight_decay)
    u = kadam_update(grad, moments[:-1], stages[:-1], eps=eps)
    (m, v), last = moments[-1], stages[-1]
    _average_(u, m, v, last)
    factor = -lr / last.correction1
    if isinstance(factor, Tensor):  # addcdiv_ takes its factor as a number only
        param.add_(factor * (m / _denominator(v, last, eps)))
    else:
        param.addcdiv_(m, _denominator(v, last, eps), value=factor)


def _average_(u: Tensor, m: Tensor, v: Tensor, stage: StageAtStep[Any]) -> None:
    m.lerp_(u, stage.weight1)
    v.mul_(stage.beta2)
    if isinstance(stage.weight2, Tensor):  # addcmul_ takes its factor as a number only
        v.addcmul_(u * stage.weight2, u)
    else:
        v.addcmul_(u, u, value=stage.weight2)


def _denominator(v: Tensor, stage: StageAtStep[Any], eps: float) -> Tensor:
    return v.sqrt().div_(stage.correction2).add_(eps)


def kadam_foreach_step_(
    params: Tensors, grads: Tensors, moments: Tensors, stages: Sequence[Stages], *, lr: Number, eps: float, weight_decay: float
) -> None:
    """:func:`kadam_step_` on parameters of one device and dtype at once.

    ``moments``: flat, 2k a parameter (m, v, m_2, v_2, ...); ``stages``: k a parameter, which may differ in their step
    but not in their decays.
    """
    if weight_decay != 0:
        torch._foreach_mul_(params, 1 - lr * weight_decay)
    k, u = len(stages[0]), grads
    for i in range(k):
        m, v, stage = moments[2 * i :: 2 * k], moments[2 * i + 1 :: 2 * k], [each[i] for each in stages]
        torch._foreach_lerp_(m, u, stage[0].weight1)
        torch._foreach_mul_(v, stage[0].beta2)
        torch._foreach_addcmul_(v, u, u, stage[0].weight2)
        denominator = list(torch._foreach_sqrt(v))
        torch._foreach_div_(denominator, [s.correction2 for s in stage])
        torch._foreach_add_(denominator, eps)
        if i < k - 1:
            u = list(torch._foreach_div(m, denominator))
            torch._foreach_div_(u, [s.correction1 for s in stage])
    factors: list[Any] = [-lr / s.correction1 for s in stage]
    if isinstance(factors[0], Tensor):  # addcdiv takes its factors as numbers only
        torch._foreach_div_(denominator, factors)
        torch._foreach_addcdiv_(params, m, denominator)
    else:
        torch._foreach_addcdiv_(params, m, denominator, factors)


def kadam_differentiable_step_(
    param: Tensor, grad: Tensor, moments: Sequence[Moments], stages: Stages, *, lr: Number, eps: float, weight_decay: float
) -> list[Moments]:
    """:func:`kadam_step_` under autograd: ``param`` moves in place, the moments are returned and the old ones left alone."""
    u, advanced = grad, []
    for (m, v), stage in zip(moments, stages, strict=True):
        m = m.lerp(u, stage.weight1)
        v = stage.beta2 * v + stage.weight2 * u.square()
        advanced.append((m, v))
        root = torch.where(v > 0, v, 1.0).sqrt() * (v > 0)  # its derivative at 0 is 0, not infinite: there m is 0 too
        u = m / (root / stage.correction2 + eps) / stage.correction1
    param.mul_(1 - lr * weight_decay).sub_(lr * u)
    return advanced
