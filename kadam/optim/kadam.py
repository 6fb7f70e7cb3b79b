"""The optimizer: its groups, its state, and a step."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, _use_grad_for_differentiable

from kadam.optim import loading
from kadam.optim import state as parameter_state
from kadam.optim.arguments import Group, Hyper, Pair, checked, stage_decays
from kadam.optim.batch import Ages, Batch, aligned, apart, of_a_kind, share_memory
from kadam.optim.repeat import GRAD, Repeat
from kadam.optim.steps import choose, counts_on_device, step_batch
from kadam.optim.update import Tensors

CPU = torch.device("cpu")


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
    eps           ``eps``               added outside the root, in every stage; with 0 a coordinate that never had a
                                        gradient becomes NaN, as in AdamW
    lambda        ``weight_decay``      decoupled, as in AdamW; in units of 1 / lr
    k             ``k``                 number of stages; 1 is AdamW, bit for bit unless fused. The state is 2k tensors
    ============  ====================  ==========================================================================

    ``strategy`` is one of ``repeat``, ``inverse_exp``, ``scaled``, ``root``, ``meta``: see :func:`kadam.stages`. ``maximize``
    ascends. ``fused``: one pass over memory for all stages, on CPU with numba (the extra ``fast``) or a chain of torch's fused
    AdamW, on CUDA with Triton; where there is none, foreach with a warning. ``foreach``: whole lists of tensors at once;
    ``False``: one tensor after another. By itself (both ``None``) a step is fused for k >= 2 and foreach for k = 1; we advise
    ``fused=True`` for k = 1 too, where rounding may differ from AdamW's. ``capturable`` counts steps on the device (CUDA
    graphs). ``differentiable`` lets gradients flow through steps. ``stochastic_rounding`` of bfloat16 parameters keeps updates
    that rounding to nearest loses. ``amsgrad`` must be False.

    All of these may differ between parameter groups. A group's ``betas`` is always one pair, which schedulers may cycle:
    stages are derived from it at every step. With k explicit pairs it is the first stage's. A group's ``k`` is kept as
    ``stages``, which may be assigned between steps; other programs count in ``k``, which is not read.

    With k >= 2 the update keeps a size near one even close to a minimum, so a constant learning rate does not settle: let a
    schedule take it down, from a quarter of Adam's ``lr``. Two stages gain little or nothing over a tuned Adam, and four no
    more than a smaller ``beta1`` or NAdam (chapters 6 and 7 of the book), so we recommend k = 1.

    State of a parameter: ``step`` (a scalar tensor), ``exp_avg`` and ``exp_avg_sq`` of stage 1 under AdamW's names, so that an
    AdamW state dict loads, then ``exp_avg_2``, ``exp_avg_sq_2``, ... of the stages 2..k, shaped as the parameter, in its dtype
    or float32 if that is a lower one; steps of such parameters are computed in float32. Stages that a loaded state dict lacks
    start fresh, and ``step_start_2``, ... say from which step. AdamW's moments are made with Adam's own decays: go on from them
    with ``repeat`` or ``meta``, whose first stage has these. Parameters that share memory step one after another.

    Moments and weights stay finite while gradients do, below the root of the largest number of the moments' dtype (1.8e19 in
    float32, 1.3e154 in float64), if eps > 0 and each stage has beta2 > beta1^2. A larger gradient's square is infinite, as in
    AdamW: stage 1 then says 0 for that coordinate forever, or NaN where m^ overflows too, at the largest number itself.

    Complex parameters are two reals each. Raises ``ValueError`` naming the argument, its value and what is allowed;
    ``RuntimeError`` for sparse gradients. Source: Gould & Tanaka, arXiv 2411.05746; the strategies' formulas are our reading.

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
        stochastic_rounding: bool = False,
        amsgrad: bool = False,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "k": k, "strategy": strategy}
        flags = {"foreach": foreach, "fused": fused, "capturable": capturable, "differentiable": differentiable}
        defaults = {**numbers, "maximize": maximize, **flags, "stochastic_rounding": stochastic_rounding}
        checked({**defaults, "amsgrad": amsgrad})
        if not isinstance(params, Iterable):
            raise TypeError(f"params must be an iterable of tensors or of groups, got {params!r}")
        self._repeats: dict[int, Repeat | None] = {}
        self._told_of_k = False
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, checking its hyperparameters before anything changes. Its ``k`` is kept as ``stages``."""
        if isinstance(param_group, dict):
            if "params" not in param_group:
                raise ValueError(f"a group must hold its params, got {param_group!r}")
            param_group = {"params": param_group["params"], **checked({**self.defaults, **param_group})}
        super().add_param_group(param_group)
        del self.param_groups[-1]["k"]  # torch put it there again, from the defaults

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state; what its groups lack (those of AdamW have no stages) stays as it was in ours."""
        self._repeats, self._told_of_k = {}, False
        before = getattr(self, "param_groups", [])
        super().__setstate__(state)
        self.defaults.setdefault("stochastic_rounding", False)
        for i, group in enumerate(self.param_groups):
            loading.renamed(group)
            own = before[i] if i < len(before) else checked(self.defaults)  # these where a copy is being made
            for name, value in own.items():
                if name not in ("params", "param_names"):
                    group.setdefault(name, value)
            for held in map(self.state.get, group["params"]):
                if held:
                    parameter_state.tensorise_step(held)
                    loading.restore_starts(held)

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, as in torch; see the table of keys at the head of :mod:`kadam.optim.state`."""
        return loading.written(super().state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of KAdam or of torch's Adam and AdamW; hyperparameters come with it, as in torch.

        A state dict without stages becomes stage 1, and the stages after it start fresh. If it has another number of
        stages than this optimizer, those in common are kept, this optimizer's ``k`` and ``strategy`` stay, and a
        ``UserWarning`` says so. float32 moments of low-precision parameters keep their precision. NAdam's and RAdam's
        moments are Adam's: they are taken, with a warning. Raises ``ValueError`` for what other optimizers left.
        """
        saved: dict[str, Any] = {}

        def take(optimizer: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            saved.update(loading.read(given, self.param_groups))
            return saved

        def restore(optimizer: Optimizer) -> None:
            loading.restore_precision(self.state, self.param_groups, saved)

        hooks = (  # the last to see the state dict and the first to see what torch made of it
            self.register_load_state_dict_pre_hook(take),
            self.register_load_state_dict_post_hook(restore, prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Tells torch's GradScaler to leave unscaling and skipping to us: ``grad_scale`` and ``found_inf``."""
        return all(group["fused"] is True for group in self.param_groups)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. ``closure``, if given, re-evaluates the model with gradients on and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        hypers = [self._hyper(group) for group in self.param_groups]  # nothing moves before all of them are found right
        if not torch.compiler.is_compiling():
            for i, group in enumerate(self.param_groups):
                _refuse_sparse(group["params"])
                if self._repeats.get(i) is None:
                    _refuse_lazy(group["params"])
                if "k" in group:
                    self._tell_of_k(group)
        for i, group in enumerate(self.param_groups):
            if torch.compiler.is_compiling() or not self._repeat(i, group, hypers[i]):
                self._step_group(i, group, hypers[i])
        return loss

    def _tell_of_k(self, group: Group) -> None:
        """Other programs, such as wrappers, count in a group's ``k``; one who assigns it to change the stages is told."""
        if group["k"] != group["stages"] and not self._told_of_k:
            self._told_of_k = True
            warnings.warn(
                f"a group's 'k' was set to {group['k']!r}, which KAdam does not read: its number of stages stays "
                f"{group['stages']}; assign the group's 'stages' to change it",
                stacklevel=2,
            )

    def _repeat(self, i: int, group: Group, hyper: Hyper) -> bool:
        """Step the way of the last step, if nothing has changed that matters to it."""
        last = self._repeats.get(i)
        return last is not None and choose(group, last.device) == "fused" and last.step(group, self.state, hyper)

    def _step_group(self, i: int, group: Group, hyper: Hyper) -> None:
        compiling = torch.compiler.is_compiling()
        if not compiling and self._repeats.get(i) is not None:  # else it was asked before any group moved
            _refuse_lazy(group["params"])
        everything = Batch([], [], [], [], [])
        lists = (everything.params, everything.grads, everything.moments, everything.steps, everything.starts)
        shared = self._init_group(group, *lists)
        alike = of_a_kind(everything)
        together = [part for batch in alike for part in apart(batch)] if shared else alike
        for batch in together:
            batch = aligned(batch)
            step_batch(batch, group, hyper)
            if group["differentiable"]:  # these are new moments, with a history
                for p, row in zip(batch.params, batch.rows(), strict=True):
                    self.state[p].update(zip(parameter_state.moment_names(group["stages"]), row, strict=True))
        if not compiling:
            again = len(together) == 1 and choose(group, together[0].params[0].device) == "fused"
            self._repeats[i] = Repeat.after(group, together[0], self.state) if again else None

    def _init_group(
        self, group: Group, params: Tensors, grads: Tensors, moments: Tensors, steps: Tensors, starts: list[Ages]
    ) -> bool:
        """Append to the lists what a step of this group needs, making what is missing of the state. Do some share memory?

        ``torch.compile`` knows this method of optimizers by its name and runs it outside of the graph.
        """
        k = group["stages"]
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            new = "step" not in state
            beside = counts_on_device(group, p)
            step, *row = parameter_state.prepared(state, p, k, p.device if beside else CPU)
            if beside and step.device != p.device:  # from a state dict, or from another path
                step = state["step"] = step.to(p.device)
            params.append(p)
            grads.append(p.grad)
            moments.extend(row)
            steps.append(step)
            starts.append(parameter_state.starts(state, k))
            if new and group["lr"] == 0:
                parameter_state.name_starts(state, k)
        return share_memory(params)

    def _hyper(self, group: Group) -> Hyper:
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        numbers = (group["lr"], group["eps"], group["weight_decay"], group["maximize"], group["stochastic_rounding"])
        return Hyper(stage_decays(group), *numbers, grad_scale=scale, found_inf=found_inf)


def _refuse_sparse(params: Tensors) -> None:
    strided = torch.strided
    for g in map(GRAD, params):
        if g is not None and g.layout is not strided:
            raise RuntimeError(f"KAdam needs dense gradients, got a {g.layout} gradient of shape {tuple(g.shape)}")


def _refuse_lazy(params: Tensors) -> None:
    params = [p for p in params if p.grad is not None]
    if any(map(Tensor.is_conj, params)) or any(map(Tensor.is_neg, params)):
        raise RuntimeError(
            "params must hold their own numbers, got one that is another tensor's conjugate or negative; clone it"
        )
