"""Networks that learn to classify images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kadam.lab.data.labelled import Batches, Labelled
from kadam.lab.train.networks import Vgg
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import Maker, Network, Training

# Images that are evaluated at once.
EVALUATED = 1000


@dataclass(frozen=True)
class ImageNetwork(Network):
    """A network for images and how it computes."""

    channels: int
    classes: int
    width: int
    depth: int
    normalised: bool

    def make(self) -> Vgg:
        shape = {"channels": self.channels, "classes": self.classes, "width": self.width, "depth": self.depth}
        return Vgg(**shape, normalised=self.normalised).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Classification(Training):
    """A network that learns what is on images."""

    def __init__(
        self, network: ImageNetwork, optimizer: Maker, batches: Batches, schedule: Schedule, *, smoothing: float = 0.0
    ) -> None:
        super().__init__(network, optimizer, batches, schedule, initialisation=batches.seeds.initialisation)
        self.smoothing = smoothing

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of images and labels (nats an image), the labels smoothed."""
        images, labels = batch
        with self.network.computing():
            logits = self.forward(images)
        return F.cross_entropy(logits.to(self.network.dtype), labels, label_smoothing=self.smoothing)

    @torch.inference_mode()
    def evaluate(self, data: Labelled) -> dict[str, float]:
        """Mean cross-entropy (nats an image) and the share of right answers; batch normalisation by its running averages."""
        self.model.eval()
        loss, right = (torch.zeros((), device=data.labels.device, dtype=torch.float64) for _ in range(2))
        for images, labels in zip(data.images.split(EVALUATED), data.labels.split(EVALUATED), strict=True):
            with self.network.computing():
                logits = self.forward(images.permute(0, 3, 1, 2)).double()
            loss += F.cross_entropy(logits, labels, reduction="sum")
            right += (logits.argmax(1) == labels).sum()
        self.model.train()
        return {"loss": float(loss) / len(data), "accuracy": float(right) / len(data)}
