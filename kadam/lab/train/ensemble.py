"""Many copies of one model trained side by side in one program, each with its own decay rates."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from kadam.decay import Decay
from kadam.lab.engine.state import Stateful
from kadam.lab.train import replay
from kadam.optim.update import StageAtStep, kadam_update

# Added to sqrt(v) where the theory takes eps = 0: it turns 0/0 (a parameter that no gradient has reached) into 0 and
# is far below the square root of float32's smallest normal number, 1e-19.
TINY = 1e-30

Loss = Callable[[nn.Module, Any], Tensor]


class Ensemble(Stateful):
    """E members that start from the same weights, see the same batches, and differ in their stages of k-Adam.

    ``model``: where there are several, as many members in a row belong to each: they start from its weights and see batches of
    their own, which :meth:`step` is given in the models' order. ``decays``: for every member its stages, all of one length k.
    ``loss(model, batch)`` returns a scalar; a batch is a tensor or tuples of them. The update is the optimizer's own.
    ``lr``: for all or one a member; its product with the attribute ``pace``, 1 unless it is set before a step, is taken.
    ``weight_decay``: decoupled, one number a member; none by default. A GPU counts the steps itself, so that they may be
    captured and replayed, all at one ``pace``.

    Attributes: ``params``, name -> (E, ...) tensors, moved in place by :meth:`step`; ``updates``, name -> (E, size)
    tensors, the last step's u^(k) by which they moved, in units of the learning rate; ``gradients``, name -> (E, size).
    """

    STATE = ("params", "updates", "gradients", "_moments", "steps")

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        loss: Loss,
        decays: Sequence[Sequence[Decay]],
        *,
        lr: float | Sequence[float],
        eps: float = 0.0,
        weight_decay: Sequence[float] | None = None,
    ) -> None:
        if len(decays) == 0 or len({len(stages) for stages in decays}) != 1:
            raise ValueError(f"decays must hold one member or more with equally many stages, got {decays!r}")
        for name, value in {"lr": lr, "weight_decay": weight_decay}.items():
            if isinstance(value, Sequence) and len(value) != len(decays):
                raise ValueError(f"{name} must hold one number a member, {len(decays)} of them, got {len(value)}")
        models = [model] if isinstance(model, nn.Module) else list(model)
        if not models or len(decays) % len(models):
            raise ValueError(f"models must be one or more with equally many of the {len(decays)} members, got {len(models)}")
        keep_freed_memory()
        self.eps, self.pace = max(eps, TINY), 1.0
        self._each = len(decays) // len(models)  # members of a model
        weights = zip(*(one.named_parameters() for one in models), strict=True)
        self.params = {of[0][0]: self._together(*(p.detach() for _, p in of)) for of in weights}
        self.updates: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        device = next(models[0].parameters()).device
        self.steps: Any = 0 if replay.graphs(device) is None else torch.zeros((), dtype=torch.float64, device=device)
        betas = torch.tensor([[stage.betas for stage in stages] for stages in decays], dtype=torch.float64, device=device)
        self._betas = [(stage[:, :1], stage[:, 1:]) for stage in betas.unbind(1)]  # of each stage, each (E, 1)
        self._moments = {
            n: [(torch.zeros_like(_rows(p)), torch.zeros_like(_rows(p))) for _ in self._betas] for n, p in self.params.items()
        }
        self._models = len(models)
        self._losses = member_losses(models[0], loss, own_batches=self._models > 1)
        self.lr = torch.tensor(lr, dtype=torch.float64, device=device) if isinstance(lr, Sequence) else lr
        self._decay = None if weight_decay is None else torch.tensor(weight_decay, dtype=torch.float64, device=device)

    def step(self, *batches: Any) -> Tensor:
        """One step of every member on the one batch, or on its model's; returns the losses before it, shape (E,)."""
        if len(batches) != self._models:
            raise ValueError(f"batches must be as many as models, {self._models}, got {len(batches)}")
        self.steps += 1
        gradients, losses = self._gradients(batches[0] if self._models == 1 else self._together(*batches))
        stages = [StageAtStep.at(beta1, beta2, self.steps).to(losses.dtype) for beta1, beta2 in self._betas]
        kept = None if self._decay is None else (1 - self.pace * self.lr * self._decay)[:, None]
        for name, param in self.params.items():
            self.gradients[name] = _rows(gradients[name])
            u = kadam_update(self.gradients[name], self._moments[name], stages, eps=self.eps)
            if kept is not None:
                _rows(param).mul_(kept.to(param.dtype))
            self._move_(_rows(param), u)
            self.updates[name] = u
        return losses

    def _together(self, *of_models: Any) -> Any:
        """What belongs to each model, a tensor or tuples of them, for each of its members, (E, ...)."""
        if isinstance(of_models[0], Tensor):
            return torch.stack(of_models).repeat_interleave(self._each, 0)
        return tuple(self._together(*parts) for parts in zip(*of_models, strict=True))

    def spread(self, members: int) -> None:
        """From now on so many members, all with the weights, moments and settings of the only one so far."""
        if members < 1 or len(next(iter(self.params.values()))) != 1:
            raise ValueError(f"one member can be spread, to one or more; got members = {members}")

        def copies(x: Tensor) -> Tensor:
            return x.repeat(members, *[1] * (x.dim() - 1))

        self.params = {n: copies(p) for n, p in self.params.items()}
        self.updates, self.gradients = ({n: copies(x) for n, x in xs.items()} for xs in (self.updates, self.gradients))
        self._moments = {n: [(copies(m), copies(v)) for m, v in pairs] for n, pairs in self._moments.items()}

    def corrected_moments(self, name: str) -> tuple[Tensor, Tensor]:
        """The last stage's m^ and v^ after the last step, bias-corrected, each (E, size)."""
        m, v = self._moments[name][-1]
        beta1, beta2 = self._betas[-1]
        return m / (1 - beta1**self.steps).to(m.dtype), v / (1 - beta2**self.steps).to(v.dtype)

    def _move_(self, rows: Tensor, u: Tensor) -> None:
        rate = self.pace * self.lr
        if isinstance(rate, Tensor):
            rows.sub_(u * rate[:, None].to(u.dtype))
        else:
            rows.sub_(u, alpha=rate)

    def _gradients(self, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Gradients by name, each (E, ...), and losses (E,). No member's loss depends on another's weights, so the
        gradient of their sum holds every member's own; that is faster than vmapping over the gradient."""
        leaves = {name: param.detach().requires_grad_() for name, param in self.params.items()}
        losses = self._losses(leaves, batch)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return dict(zip(leaves, gradients, strict=True)), losses.detach()


def member_losses(model: nn.Module, loss: Loss, *, own_batches: bool = False) -> Callable[[dict[str, Tensor], Any], Tensor]:
    """The losses of members, (E,), as a function of their weights, name -> (E, ...), and a batch: one for all, or (E, ...)."""
    objective = _Objective(model, loss)

    def member_loss(params: dict[str, Tensor], batch: Any) -> Tensor:
        return cast(Tensor, functional_call(objective, {f"model.{n}": p for n, p in params.items()}, (batch,)))

    return cast(Callable[[dict[str, Tensor], Any], Tensor], vmap(member_loss, in_dims=(0, 0 if own_batches else None)))


class _Objective(nn.Module):
    """The loss as a module, so that functional_call can swap the weights under any loss function."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1)


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to reuse large freed blocks instead of returning them to the system; whether it could.

    Without it every temporary of a batched step is mapped anew: on two cores the growth sweep took 2.5 times as long.
    """
    M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # from glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    largest = 2**31 - 1
    return sys.platform == "linux" and bool(mallopt(M_MMAP_THRESHOLD, 2**30) and mallopt(M_TRIM_THRESHOLD, largest))
