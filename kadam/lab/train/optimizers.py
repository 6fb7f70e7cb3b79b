"""The optimizers that are compared, by name: k-Adam's strategies, PyTorch's own, two that PyTorch lacks, parts of NAdam."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.optimizer import Optimizer

from kadam.decay import STRATEGIES, Decay, check_stage_count, check_strategy
from kadam.lab.records.profiles import BASELINES, MEMORIES, RIDGE, RIVALS, betas_of, check_rivals
from kadam.lab.train import replay
from kadam.optim import KAdam

# The learning rates that a method is tried at are Adam's times this factor. Lion's sign moves every weight by a whole learning
# rate, and its authors take a rate 3 to 10 times smaller. SGD's is what puts the usual 0.1 near the middle. k-Adam's stages
# bring an update whose rms is about a quarter under Adam back towards one.
RATE_FACTOR = {"Lion": 0.2, "SGD": 32.0, "k-Adam": 0.25}

# PyTorch's betas of Lion, its authors' default.
LION_BETAS = (0.9, 0.99)

# PyTorch's rate of NAdam's warm-up, its default, and one with which there is none: the momentum is beta1 from the first step.
WARM_UP, AT_ONCE = 4e-3, 1e9


def kadam_name(k: int, strategy: str) -> str:
    """How k-Adam with k >= 2 stages is called here: "2-Adam meta"."""
    check_stage_count(k)
    check_strategy(strategy)
    return f"{k}-Adam {strategy}"


def methods(ks: Sequence[int], strategies: Sequence[str] = STRATEGIES, *, chosen: Sequence[str] = BASELINES) -> list[str]:
    """The chosen baselines, then every strategy with every k above 1; k = 1 is Adam. ``ValueError`` for no baseline."""
    check_rivals(chosen)
    return [*chosen, *(kadam_name(k, strategy) for strategy in strategies for k in ks if k > 1)]


def stages_of(method: str) -> tuple[int, str]:
    """(k, strategy) of a method's name; (1, "Adam") for Adam, (0, name) for the other baselines."""
    if method in RIVALS or betas_of(method):
        return int(method == "Adam"), method
    found = re.fullmatch(r"(\d+)-Adam (\w+)", method)
    if not found:
        raise ValueError(
            f"method must be one of {'; '.join(RIVALS)}; or like 'Adam 0.5, 0.999' or '2-Adam meta'; got {method!r}"
        )
    kadam_name(int(found[1]), found[2])  # which checks both
    return int(found[1]), found[2]


def rates(method: str, adams: Sequence[float]) -> list[float]:
    """The learning rates that a method is tried at, given Adam's."""
    factor = RATE_FACTOR.get("k-Adam" if stages_of(method)[0] > 1 else method, 1.0)
    return [factor * rate for rate in adams]


def optimizer(method: str, params: Iterable[Parameter], *, lr: float, decay: Decay, weight_decay: float) -> Optimizer:
    """The optimizer of this name. ``weight_decay``: of AdamW and with L2; the others have none. ``decay``: of all but Lion, SGD
    and those that are named by their betas.
    """
    k, strategy = stages_of(method)
    common: dict[str, Any] = {"lr": lr, "betas": betas_of(method) or (MEMORIES.get(method, decay.gamma), decay.beta)}
    makers: dict[str, Callable[[], Optimizer]] = {
        "Adam": lambda: torch.optim.Adam(params, **common),
        "AdamW": lambda: torch.optim.AdamW(params, **common, weight_decay=weight_decay),
        RIDGE: lambda: torch.optim.Adam(params, **common, weight_decay=weight_decay),
        "NAdam": lambda: _resuming_exactly(torch.optim.NAdam(params, **common)),
        "NAdam, constant momentum": lambda: _resuming_exactly(torch.optim.NAdam(params, **common, momentum_decay=AT_ONCE)),
        "Adam, warm momentum": lambda: Blend(params, **common, decay=warm_momentum, share=lambda gamma, t: 1.0),
        "Adam, weights of NAdam": lambda: Blend(params, **common, decay=lambda gamma, t: gamma, share=nadams_share),
        "LaProp": lambda: LaProp(params, **common),
        "Lion": lambda: Lion(params, lr=lr, betas=LION_BETAS),
        "SGD": lambda: torch.optim.SGD(params, lr=lr, momentum=decay.gamma, nesterov=True),
    }
    if method in MEMORIES or betas_of(method):
        method = "Adam"
    return makers[method]() if method in makers else KAdam(params, **common, k=k, strategy=strategy)


def counting_on_device(optimizer: Optimizer, device: torch.device) -> str:
    """Where steps can be captured let it count them, and read its rates, on the device; why it cannot, empty where it can."""
    if replay.graphs(device) is None:
        return ""
    if not all("capturable" in group for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} counts its steps on the host"
    for group in optimizer.param_groups:
        group["capturable"] = True
        group["lr"] = torch.as_tensor(group["lr"], dtype=group["params"][0].dtype, device=device)
    return ""


def _resuming_exactly(nadam: torch.optim.NAdam) -> torch.optim.NAdam:
    """With its product of momenta in float32 as it was: loading a state casts it to the weights' dtype."""

    def cast_back(loaded: Optimizer) -> None:
        for state in loaded.state.values():
            state["mu_product"] = state["mu_product"].float()

    nadam.register_load_state_dict_post_hook(cast_back)
    return nadam


class ByGroup(Optimizer):
    """Moves what has gradients in a group at once: dense ones, on one device."""

    STATE: ClassVar[tuple[str, ...]]  # of each parameter, zeros at first

    def __init__(self, params: Iterable[Parameter], lr: float, betas: tuple[float, float], **more: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, **more})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                self.state[p] = self.state[p] or {name: torch.zeros_like(p) for name in self.STATE}
            if params:
                state = [[self.state[p][name] for p in params] for name in self.STATE]
                self.move(group, params, [p.grad for p in params], *state)

    def move(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], *state: list[Tensor]) -> None:
        """Move the parameters of a group by their gradients, and renew the state."""
        raise NotImplementedError


class Lion(ByGroup):
    """The sign of a look-ahead at the momentum. Source: Chen et al., arXiv 2302.06675.

    theta <- theta - lr sign(beta1 m + (1-beta1) g), then m <- beta2 m + (1-beta2) g.
    """

    STATE = ("exp_avg",)

    def move(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], *state: list[Tensor]) -> None:
        (momenta,), (beta1, beta2) = state, group["betas"]
        ahead = torch._foreach_lerp(momenta, grads, 1 - beta1)
        torch._foreach_sign_(ahead)
        torch._foreach_add_(params, ahead, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, grads, 1 - beta2)


class LaProp(ByGroup):
    """Momentum of the normalised gradient, where Adam normalises the momentum. Source: Ziyin et al., arXiv 2002.04839.

    v <- beta2 v + (1-beta2) g^2;  m <- beta1 m + (1-beta1) g / (sqrt(v^) + eps);  theta <- theta - lr m^; a hat is the bias
    correction, for parameters that have gradients from their group's first step on. The learning rate stands outside of the
    average, so that a schedule acts at once.
    """

    STATE = ("exp_avg", "exp_avg_sq")

    def __init__(self, params: Iterable[Parameter], lr: float, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(params, lr, betas, eps=eps, steps=0)

    def move(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], *state: list[Tensor]) -> None:
        (momenta, squares), (beta1, beta2) = state, group["betas"]
        group["steps"] += 1
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - beta2 ** group["steps"]) ** 0.5)
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_lerp_(momenta, torch._foreach_div(grads, roots), 1 - beta1)
        torch._foreach_add_(params, momenta, alpha=-group["lr"] / (1 - beta1 ** group["steps"]))


Course = Callable[[float, int], float]  # a number at step t = 1, 2, ..., given beta1


def warm_momentum(beta1: float, t: int) -> float:
    """The momentum mu_t of PyTorch's NAdam, from about beta1/2 up to beta1."""
    return beta1 * (1 - 0.5 * 0.96 ** (t * WARM_UP))


def nadams_share(beta1: float, t: int) -> float:
    """The share of the momentum in NAdam's numerator, the rest the newest gradient's: mu_(t+1) against 1 - mu_t."""
    momentum = warm_momentum(beta1, t + 1)
    return momentum / (1 - warm_momentum(beta1, t) + momentum)


class Blend(ByGroup):
    """Adam whose momentum has a decay d_t, and makes up a share s_t of the numerator beside the newest gradient.

    m <- d_t m + (1-d_t) g;  v <- beta2 v + (1-beta2) g^2;  theta <- theta - lr ((1-s_t) g + s_t m^) / (sqrt(v^) + eps), where
    m^ = m / (1 - d_1...d_t), so that the weights of all gradients have the sum of one, as Adam's have. ``decay`` and ``share``
    give d_t and s_t; with d_t = beta1 and s_t = 1 this is Adam, and with :func:`nadams_share` what NAdam comes to once its
    beginning is forgotten but for the size: NAdam's weights have the sum 1 - mu_t + mu_(t+1), which stays near one.
    """

    STATE = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
        *,
        decay: Course,
        share: Course,
    ) -> None:
        super().__init__(params, lr, betas, eps=eps, steps=0, product=1.0)
        self.decay, self.share = decay, share

    def move(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], *state: list[Tensor]) -> None:
        (momenta, squares), (beta1, beta2) = state, group["betas"]
        group["steps"] += 1
        decay, share = (course(beta1, group["steps"]) for course in (self.decay, self.share))
        group["product"] *= decay
        torch._foreach_lerp_(momenta, grads, 1 - decay)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - beta2 ** group["steps"]) ** 0.5)
        torch._foreach_add_(roots, group["eps"])
        numerators = torch._foreach_mul(momenta, share / (1 - group["product"]))
        torch._foreach_add_(numerators, grads, alpha=1 - share)
        torch._foreach_addcdiv_(params, numerators, roots, value=-group["lr"])
