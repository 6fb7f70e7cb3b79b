"""One training run: how it computes, its schedule, its steps, and what is watched. What is learnt, subclasses say."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from kadam.lab.engine.state import Stateful
from kadam.lab.records.profiles import PRECISIONS, check_choice
from kadam.lab.train import devices
from kadam.lab.train.optimizers import counting_on_device
from kadam.lab.train.replay import Replay
from kadam.lab.train.schedule import Schedule

Forward = Callable[[Tensor], Tensor]
Maker = Callable[[list[nn.Parameter]], Optimizer]


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """A network and how it computes, its size in a subclass; equal ones build theirs once a process."""

    precision: str = "float32"  # bfloat16: under autocast, the weights stay float32
    compiler: str = ""  # a backend of torch.compile; empty: as it is
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, and of what is not whole numbers in the data."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @abstractmethod
    def make(self) -> nn.Module:
        """The network, with a method ``reset`` that draws its weights from a seed."""

    @functools.cache  # noqa: B019 - the few networks of a process, wanted again and again, and what is compiled stays so
    def build(self) -> tuple[Any, Forward]:
        """The network on its device, and the function that it computes."""
        model = self.make().to(devices.chosen(self.device), self.dtype)
        if not self.compiler:
            return model, model
        # Networks, precisions, training and evaluation share one function; the default of 8 would leave some uncompiled.
        from torch._dynamo import config as dynamo  # slow to import, and only needed here

        dynamo.recompile_limit = 64
        return model, torch.compile(model, backend=self.compiler, dynamic=False)

    def computing(self) -> AbstractContextManager[Any]:
        """The block computes in this precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False)


class Training(Stateful, ABC):
    """A network that learns: :meth:`step` for n = 0, 1, ... Nothing in a step waits for the device, and a GPU replays it.

    ``batches[n]``: batch n. ``losses``: of every step, before it, (steps,). ``squares``: of every step, the mean over all
    weights of u^2, where a step moves a weight by -(its learning rate) u, decay included, (steps,).
    """

    SEEN: ClassVar[tuple[str, ...]] = ("losses", "squares")  # of every step, in the order of what ``learn`` returns
    STATE: ClassVar[tuple[str, ...]] = ("model", "optimizer", *SEEN)
    losses: Tensor
    squares: Tensor

    def __init__(self, network: Network, optimizer: Maker, batches: Any, schedule: Schedule, *, initialisation: int) -> None:
        self.network, self.batches, self.schedule = network, batches, schedule
        self.model, self.forward = network.build()
        self.model.train()
        self.model.reset(initialisation)
        parameters = list(self.model.parameters())
        self.params: list[Tensor] = list(parameters)
        self.weights = sum(p.numel() for p in parameters)
        self.optimizer = optimizer(parameters)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.before = [torch.empty_like(p) for p in self.params]
        for name in self.SEEN:
            setattr(self, name, torch.full((schedule.steps,), math.nan, device=self.params[0].device))
        self.replay = self._replay()

    def _replay(self) -> Replay:
        device = self.params[0].device
        return Replay(device, counting_on_device(self.optimizer, device))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.replay = self._replay()  # whatever was captured goes on elsewhere in memory

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """What is made small: the mean over a batch, a scalar."""

    @abstractmethod
    def evaluate(self, data: Any) -> Any:
        """How good the network is on data that it does not learn from."""

    def step(self, n: int) -> None:
        """Step n: batch n, its gradient, and a move by the learning rate of that step."""
        self.pace(n)
        for name, value in zip(self.SEEN, self.replay(self.learn, self.batches[n]), strict=True):
            getattr(self, name)[n] = value

    def pace(self, n: int) -> None:
        """The learning rates from now on are those of step n."""
        factor = self.schedule(n)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def learn(self, batch: Any) -> tuple[Tensor, ...]:
        """Step by the gradient of a batch; its loss before, and what is watched of the move."""
        self.optimizer.zero_grad()  # of the step before, of a run that was stopped, or of a capture
        loss = self.loss(batch)
        loss.backward()
        return loss.detach(), *self.move()

    @torch.no_grad()
    def move(self) -> tuple[Tensor, ...]:
        """Step the optimizer by the gradient that is there; what is watched of the move."""
        torch._foreach_copy_(self.before, self.params)
        self.optimizer.step()
        return self.watch(self.optimizer.param_groups[0]["lr"])

    def watch(self, rate: Any) -> tuple[Tensor, ...]:
        """What is watched of a step, at this learning rate, in which ``params`` moved away from ``before``."""
        torch._foreach_sub_(self.before, self.params)
        return (self.mean_square(torch._foreach_norm(self.before), rate),)

    def mean_square(self, norms: Sequence[Tensor], rate: Any) -> Tensor:
        """The mean of u^2, given the norm of every tensor's move."""
        return torch.stack(list(norms)).square().sum() / (self.weights * rate**2)

    def watched(self, begin: int, end: int) -> dict[str, Any]:
        """What was seen from step ``begin`` up to ``end``; waits for the device."""
        return {"train_loss": float(self.losses[begin:end].mean()), "update_rms": float(self.squares[begin:end].mean().sqrt())}

    def diverged_at(self, n: int) -> int | None:
        """The first of the n steps taken whose loss, or move, was not finite; waits for the device."""
        bad = ~torch.isfinite(self.losses[:n] + self.squares[:n])
        return int(bad.int().argmax()) if bool(bad.any()) else None


def parameter_count(network: Network) -> int:
    """How many numbers a network learns."""
    model, _ = network.build()
    return sum(p.numel() for p in model.parameters())
