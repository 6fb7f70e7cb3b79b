"""One training run of an image classifier: its schedule, its steps, and what is watched on the way."""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.optimizer import Optimizer

from kadam.lab import devices
from kadam.lab.labelled import Batches, Labelled
from kadam.lab.models import Vgg
from kadam.lab.profiles import check_choice
from kadam.lab.states import Stateful

PRECISIONS = ("float64", "float32", "bfloat16")

# Images that are evaluated at once.
EVALUATED = 1000


@dataclass(frozen=True)
class Network:
    """A network and how it computes; two equal ones are built once a process, for what is compiled stays compiled."""

    channels: int
    classes: int
    width: int
    depth: int
    normalised: bool
    precision: str = "float32"  # bfloat16: under autocast, the weights stay float32
    compiler: str = ""  # a backend of torch.compile; none: as it is
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @functools.cache  # noqa: B019 - the few networks of a process, wanted again and again
    def build(self) -> tuple[Vgg, Callable[[Tensor], Tensor]]:
        """The network in channels-last memory, whose weights :meth:`Vgg.reset` draws, and the function that it computes."""
        shape = {"channels": self.channels, "classes": self.classes, "width": self.width, "depth": self.depth}
        model = Vgg(**shape, normalised=self.normalised).to(devices.chosen(self.device), self.dtype)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compiler:
            # Networks, precisions, training and evaluation share one function; the default of 8 would leave some uncompiled.
            from torch._dynamo import config as dynamo  # slow to import, and only needed here

            dynamo.recompile_limit = 64
        return model, torch.compile(model, backend=self.compiler, dynamic=False) if self.compiler else model

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The block computes in this network's precision."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False):
            yield


@dataclass(frozen=True)
class Schedule:
    """The learning rate rises from 0 over a share of the steps, then falls to 0, both linearly; lr is its peak."""

    steps: int
    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps in [0, 1), got {self.warmup!r}")

    def __call__(self, n: int) -> float:
        """The factor at step n = 0, 1, ...; neither the first nor the last step has a rate of 0."""
        done, rise = (n + 0.5) / self.steps, self.warmup
        return done / rise if done < rise else (1 - done) / (1 - rise)


class Training(Stateful):
    """A network that learns: :meth:`step` for n = 0, 1, ... Nothing in a step waits for the device.

    ``losses``: of every step, before it, (steps,). ``squares``: of every step, the mean over all weights of u^2, where a step
    moves a weight by -(its learning rate) u, decay included, (steps,).
    """

    STATE = ("model", "optimizer", "losses", "squares")

    def __init__(
        self,
        network: Network,
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        batches: Batches,
        schedule: Schedule,
        *,
        smoothing: float = 0.0,
    ) -> None:
        self.network, self.batches, self.schedule, self.smoothing = network, batches, schedule, smoothing
        self.model, self.forward = network.build()
        self.model.train()
        self.model.reset(batches.seeds.initialisation)
        self.model.zero_grad()  # it may be left from a run that was stopped
        parameters = list(self.model.parameters())
        self.params: list[Tensor] = list(parameters)
        self.optimizer = optimizer(parameters)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.before = [torch.empty_like(p) for p in self.params]
        self.losses, self.squares = (torch.full((schedule.steps,), math.nan, device=self.params[0].device) for _ in range(2))

    def step(self, n: int) -> None:
        """Step n: batch n, its gradient, and a move by the learning rate of that step."""
        loss = self.loss(*self.batches[n])
        loss.backward()
        self.losses[n] = loss.detach()
        self.squares[n] = self.move(n)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of a batch (nats an image), the labels smoothed."""
        with self.network.computing():
            logits = self.forward(images)
        return F.cross_entropy(logits.to(self.network.dtype), labels, label_smoothing=self.smoothing)

    @torch.no_grad()
    def move(self, n: int) -> Tensor:
        """Step the optimizer by the gradient that is there, and forget it; the mean of u^2, a scalar tensor."""
        torch._foreach_copy_(self.before, self.params)
        factor = self.schedule(n)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        torch._foreach_sub_(self.before, self.params)
        moved = torch.stack(torch._foreach_norm(self.before)).square().sum()
        return moved / (sum(p.numel() for p in self.params) * (self.rates[0] * factor) ** 2)

    def diverged_at(self, n: int) -> int | None:
        """The first of the n steps taken whose loss, or move, was not finite; waits for the device."""
        bad = ~torch.isfinite(self.losses[:n] + self.squares[:n])
        return int(bad.int().argmax()) if bool(bad.any()) else None

    @torch.inference_mode()
    def evaluate(self, data: Labelled) -> tuple[float, float]:
        """Mean cross-entropy (nats an image) and the share of right answers; batch normalisation by its running averages."""
        self.model.eval()
        loss, right = (torch.zeros((), device=data.labels.device, dtype=torch.float64) for _ in range(2))
        for images, labels in zip(data.images.split(EVALUATED), data.labels.split(EVALUATED), strict=True):
            with self.network.computing():
                logits = self.forward(images.permute(0, 3, 1, 2)).double()
            loss += F.cross_entropy(logits, labels, reduction="sum")
            right += (logits.argmax(1) == labels).sum()
        self.model.train()
        return float(loss) / len(data), float(right) / len(data)


def parameter_count(network: Network) -> int:
    """How many numbers a network learns."""
    model, _ = network.build()
    return sum(p.numel() for p in model.parameters())
