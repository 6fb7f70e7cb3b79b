"""The networks of the experiments."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CharTransformer(nn.Module):
    """A small pre-norm transformer: tokens (batch, context), below ``vocab`` -> logits (batch, context, vocab).

    No biases: a key bias has no effect on attention, so its gradient would be rounding noise, and Adam with eps = 0 would make
    full-size updates of it. No gains either, which keeps batched training fast. ``normalised``: queries and keys are divided by
    their root mean square within a head, and the hidden layer of the perceptron is standardised before its activation; this
    makes the weights ``query``, ``key`` and ``up`` scale invariant. Call :func:`initialise` before use.
    """

    def __init__(
        self, *, vocab: int, context: int, width: int = 32, layers: int = 2, heads: int = 2, normalised: bool = False
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width={width}, heads={heads}")
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(Block(width, heads, context, normalised=normalised) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Block(nn.Module):
    """Causal self-attention, then a two-layer perceptron, each on a normalised copy and added to its input."""

    mask: Tensor

    def __init__(self, width: int, heads: int, context: int, *, normalised: bool = False) -> None:
        super().__init__()
        self.heads = heads
        # eps = 0 in both: with an eps the weights before them would be scale invariant only nearly.
        self.unit = nn.RMSNorm(width // heads, eps=0.0, elementwise_affine=False) if normalised else nn.Identity()
        self.standard = nn.LayerNorm(4 * width, eps=0.0, elementwise_affine=False) if normalised else nn.Identity()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        future = torch.ones(context, context, dtype=torch.bool).triu(1)
        self.register_buffer("mask", torch.zeros(context, context).masked_fill(future, -torch.inf), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.standard(self.up(self.norm2(x)))))

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = (self.split_heads(project(x)) for project in (self.query, self.key, self.value))
        scores = self.unit(q) @ self.unit(k).transpose(-1, -2) / q.shape[-1] ** 0.5 + self.mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def split_heads(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> (batch, heads, context, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ConvNet(nn.Module):
    """A small convolutional network: images (batch, channels, height, width), at least 2**blocks a side -> (batch, classes).

    Block i, of ``width`` * 2**i channels, is a 3 x 3 convolution without bias, batch normalisation by the batch's statistics,
    ReLU, and the mean of 2 x 2 neighbours. The batch normalisation, without gains or an eps to speak of, makes convolutions
    scale invariant; without ``normalised`` there is none. Call :func:`initialise` before use.
    """

    def __init__(self, *, channels: int, classes: int, width: int = 8, blocks: int = 3, normalised: bool = True) -> None:
        super().__init__()
        widths = [channels, *(width * 2**i for i in range(blocks))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(_batch_norm(after) if normalised else nn.Identity() for after in widths[1:])
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.avg_pool2d(F.relu(norm(convolution(x))), 2)
        return self.head(x.mean((2, 3)))


class Vgg(nn.Module):
    """Convolutions as in VGG: images (batch, channels, height, width), at least 2**blocks a side -> logits (batch, classes).

    Block i, of ``width`` * 2**i channels, is ``depth`` times 3 x 3 convolution, batch normalisation (by running averages when
    evaluated) and ReLU, then the largest of 2 x 2 neighbours; last a linear layer on the image's mean. Without ``normalised`` a
    convolution has a bias instead. Call :meth:`reset` before use.
    """

    def __init__(
        self, *, channels: int, classes: int, width: int, depth: int, blocks: int = 3, normalised: bool = True
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        before = channels
        for after in (width * 2**i for i in range(blocks)):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not normalised))
                layers += [nn.BatchNorm2d(after), nn.ReLU()] if normalised else [nn.ReLU()]
                before = after
            self.blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.head = nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """In place: weights from N(0, gain/fan_in), gain 2 before a ReLU and 1 in the head; biases 0, norms as made."""
        rng = np.random.default_rng(seed)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                gain = 2 if isinstance(layer, nn.Conv2d) else 1
                draw(layer.weight, (gain / layer.weight[0].numel()) ** 0.5, rng)
                if layer.bias is not None:
                    layer.bias.zero_()


class Perceptron(nn.Module):
    """Linear layers without bias, with tanh between them: (batch, ...) of ``widths[0]`` numbers -> (batch, widths[-1])."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x.flatten(1))
        for layer in self.layers[1:]:
            x = layer(torch.tanh(x))
        return x


def _batch_norm(channels: int) -> nn.Module:
    # PyTorch asks for a positive eps; this one is below the last digit of any variance above 1e-14.
    return nn.BatchNorm2d(channels, eps=1e-30, affine=False, track_running_stats=False)


def draw(weight: Tensor, scale: float, rng: np.random.Generator) -> None:
    """Fill with normal numbers, which numpy draws in float64: the same seed gives the same weights on every machine."""
    weight.copy_(torch.from_numpy(scale * rng.standard_normal(weight.shape)))


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every weight of a layer from N(0, 1/fan_in), and embeddings and positions from N(0, 0.02^2)."""
    rng = np.random.default_rng(seed)
    layers = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    for p in model.parameters():
        draw(p, p[0].numel() ** -0.5 if id(p) in layers else 0.02, rng)


def next_token_loss(model: nn.Module, windows: Tensor) -> Tensor:
    """Mean cross-entropy (nats a character) of predicting windows[:, 1:] from windows[:, :-1]; (batch, context + 1)."""
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def classification_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross-entropy (nats an image) of a batch of images (batch, channels, height, width) and labels (batch,)."""
    images, labels = batch
    return F.cross_entropy(model(images), labels)
