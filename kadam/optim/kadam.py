"""The optimizer: what may be asked of it, its groups, its state, and which path takes a step."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from numbers import Real
from typing import Any, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from kadam.decay import Decay, check_stage_count, check_strategy, stages
from kadam.optim.update import StageAtStep, kadam_foreach_step_, kadam_step_

Pair = tuple[float, float]
Group = dict[str, Any]


class KAdam(Optimizer):
    r"""k-Adam: Adam's normalisation applied k times in a row, with decoupled weight decay.

    .. math::

        u^{(0)} = g, \qquad u^{(i)} = \mathrm{Adam}_{\beta_i, \gamma_i}(u^{(i-1)}), \qquad
        \theta \leftarrow (1 - \eta\lambda)\,\theta - \eta\, u^{(k)}

    ============  ====================  ==========================================================================
    symbol        argument              meaning
    ============  ====================  ==========================================================================
    eta           ``lr``                learning rate: the size of a step in every coordinate, in parameter units
    gamma, beta   ``betas``             Adam's pair (beta1, beta2) = (gamma, beta), spread over the stages by
                                        ``strategy``; or k pairs, one a stage (then ``strategy`` is ignored)
    eps           ``eps``               added outside the root, in every stage
    lambda        ``weight_decay``      decoupled, as in AdamW; in units of 1 / lr
    k             ``k``                 number of stages; 1 is AdamW, bit for bit. The state is 2k tensors
    ============  ====================  ==========================================================================

    ``strategy`` is one of ``repeat``, ``inverse_exp``, ``scaled``, ``root``, ``meta``: see :func:`kadam.stages`.
    ``maximize`` ascends. ``foreach``: whole lists of tensors at once (``None``: on CUDA only). ``fused``,
    ``capturable`` and ``differentiable`` are not available yet and raise ``NotImplementedError`` when asked for.

    All of these may differ between parameter groups. A group's ``betas`` is always one pair, which schedulers may cycle:
    stages are derived from it at every step. With k explicit pairs it is the first stage's.

    With k >= 2 the update keeps a size near one even close to a minimum, so a constant learning rate does not settle:
    let a schedule take it down.

    State of a parameter: ``step`` (a scalar tensor), ``exp_avg`` and ``exp_avg_sq`` of stage 1 under AdamW's names,
    so that an AdamW state dict loads, then ``exp_avg_2``, ``exp_avg_sq_2``, ... of the stages 2..k. Stages that a
    loaded state dict lacks start fresh, and ``first_step_2``, ... say from which step. An AdamW state dict brings moments
    made with Adam's own decays: go on from it with ``repeat`` or ``meta``, whose first stage has these decays.

    Raises ``ValueError`` naming the argument, its value and what is allowed; ``RuntimeError`` for sparse or complex
    gradients. Source: Gould & Tanaka, arXiv 2411.05746; the strategies' formulas are our reading.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = KAdam([weight], lr=0.1, k=2)
    >>> weight.grad = torch.tensor([0.3, -40.0])
    >>> optimizer.step()
    >>> weight.data                          # at the first step every stage returns the sign of the gradient
    tensor([ 0.9000, -1.9000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: Pair | Sequence[Pair] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        k: int = 2,
        strategy: str = "inverse_exp",
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "k": k,
            "strategy": strategy,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        _checked(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, checking its hyperparameters before anything changes."""
        if isinstance(param_group, dict):
            param_group = {**param_group, **_checked({**self.defaults, **param_group})}
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state; what its groups lack (those of AdamW have no stages) stays as it was in ours."""
        before = getattr(self, "param_groups", [])
        super().__setstate__(state)
        for i, group in enumerate(self.param_groups):
            ours = before[i] if i < len(before) else _checked(self.defaults)
            for name in (*self.defaults, "stage_betas"):
                group.setdefault(name, ours[name])
            for param in group["params"]:
                self._tensorise_step(self.state.get(param))

    @staticmethod
    def _tensorise_step(state: dict[str, Any] | None) -> None:
        if state and not torch.is_tensor(state["step"]):
            state["step"] = _step_counter(float(state["step"]))

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. ``closure``, if given, re-evaluates the model with gradients on and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with_gradient = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        for params in with_gradient:
            for p in params:
                _refuse_gradient(p)
        for group, params in zip(self.param_groups, with_gradient, strict=True):
            if params:
                self._step_group(group, params)
        return loss

    def _step_group(self, group: Group, params: list[Tensor]) -> None:
        decays = _stage_decays(group)
        for p in params:
            self._prepare_state(p, group["k"])
        hyper = {"lr": float(group["lr"]), "eps": group["eps"], "weight_decay": group["weight_decay"]}
        sign = -1 if group["maximize"] else 1
        if group["foreach"] or (group["foreach"] is None and all(p.is_cuda for p in params)):
            for same in _by_device_and_dtype(params):
                self._foreach_step(same, decays, sign, hyper)
        else:
            for p in params:
                self._single_step(p, decays, sign, hyper)

    def _single_step(self, param: Tensor, decays: tuple[Decay, ...], sign: int, hyper: dict[str, float]) -> None:
        state = self.state[param]
        grad = cast(Tensor, param.grad)
        moments = [_moments(state, i) for i in range(1, len(decays) + 1)]
        kadam_step_(param, grad if sign == 1 else -grad, moments, _at_step(state, decays), **hyper)

    def _foreach_step(self, params: list[Tensor], decays: tuple[Decay, ...], sign: int, hyper: dict[str, float]) -> None:
        states = [self.state[p] for p in params]
        grads = [cast(Tensor, p.grad) for p in params]
        if sign == -1:
            grads = list(torch._foreach_neg(grads))
        by_param = [_at_step(state, decays) for state in states]
        by_stage = [list(stage) for stage in zip(*by_param, strict=True)]
        moments = []
        for i in range(1, len(decays) + 1):
            m, v = zip(*(_moments(state, i) for state in states), strict=True)
            moments.append((list(m), list(v)))
        kadam_foreach_step_(params, grads, moments, by_stage, **hyper)

    def _prepare_state(self, param: Tensor, k: int) -> None:
        """Make what is missing of a parameter's state, and count the step."""
        state = self.state[param]
        if "step" not in state:
            state["step"] = _step_counter(0.0)
        for i in range(1, k + 1):
            names = _moment_names(i)
            if names[0] not in state:
                if state["step"] > 0:
                    state[f"first_step_{i}"] = state["step"].item()
                for name in names:
                    state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        state["step"] += 1


def _step_counter(value: float) -> Tensor:
    """As torch's optimizers count: on the CPU, in a dtype that counts far enough whatever the default dtype is."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device="cpu")


def _moment_names(i: int) -> tuple[str, str]:
    return ("exp_avg", "exp_avg_sq") if i == 1 else (f"exp_avg_{i}", f"exp_avg_sq_{i}")


def _moments(state: dict[str, Any], i: int) -> tuple[Tensor, Tensor]:
    m, v = _moment_names(i)
    return state[m], state[v]


def _at_step(state: dict[str, Any], decays: tuple[Decay, ...]) -> list[StageAtStep[float]]:
    step = state["step"].item()
    starts = (float(state.get(f"first_step_{i}", 0.0)) for i in range(1, len(decays) + 1))
    return [StageAtStep.at(*d.betas, step - start) for d, start in zip(decays, starts, strict=True)]


def _by_device_and_dtype(params: list[Tensor]) -> Iterable[list[Tensor]]:
    same: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for p in params:
        same[p.device, p.dtype].append(p)
    return same.values()


def _stage_decays(group: Group) -> tuple[Decay, ...]:
    pair = tuple(group["betas"])
    explicit = group["stage_betas"]
    if explicit is None:
        return _derived(pair, group["k"], group["strategy"])
    return tuple(Decay.from_betas(b) for b in (pair, *explicit[1:]))


@lru_cache(maxsize=1024)
def _derived(pair: Pair, k: int, strategy: str) -> tuple[Decay, ...]:
    return stages(Decay.from_betas(pair), k, strategy)


def _checked(group: Group) -> Group:
    """The group's hyperparameters, verified, with ``betas`` split into one pair and the explicit stages, if any."""
    _refuse_unavailable(group)
    for name in ("lr", "eps", "weight_decay"):
        _check_not_negative(name, group[name])
    check_stage_count(group["k"])
    check_strategy(group["strategy"])
    pair, explicit = _split_betas(group["betas"], group.get("stage_betas"))
    if explicit is not None and len(explicit) != group["k"]:
        raise ValueError(f"betas holds {len(explicit)} pairs but k={group['k']}; give one pair, or one for each stage")
    hyper = {name: value for name, value in group.items() if name != "params"}
    checked = {**hyper, "betas": pair, "stage_betas": explicit}
    _stage_decays(checked)  # fails here, before any step, where a derived stage rounds to 1
    return checked


def _split_betas(betas: Any, explicit: tuple[Pair, ...] | None) -> tuple[Pair, tuple[Pair, ...] | None]:
    if isinstance(betas, Sequence) and len(betas) > 0 and isinstance(betas[0], Sequence):
        pairs = tuple(Decay.from_betas(b).betas for b in betas)
        return pairs[0], pairs
    return Decay.from_betas(betas).betas, explicit


def _check_not_negative(name: str, value: Any) -> None:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} must be one number, got a tensor of shape {tuple(value.shape)}")
    if not isinstance(value, Real | Tensor) or not 0.0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be a finite number >= 0, got {value!r}")


def _refuse_unavailable(group: Group) -> None:
    for name in ("fused", "capturable", "differentiable"):
        if group[name]:
            raise NotImplementedError(f"{name}=True is not available yet; leave it out to use the for-loop or foreach path")


def _refuse_gradient(param: Tensor) -> None:
    grad = cast(Tensor, param.grad)
    if grad.layout != torch.strided:
        raise RuntimeError(f"KAdam needs dense gradients, got a {grad.layout} gradient of shape {tuple(grad.shape)}")
    if grad.is_complex() or param.is_complex():
        raise RuntimeError(f"KAdam needs real gradients, got {grad.dtype} of shape {tuple(grad.shape)}")
