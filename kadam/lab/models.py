"""The networks of the experiments."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CharTransformer(nn.Module):
    """A small pre-norm transformer that predicts the next character.

    Input: token indices (batch, context), integers below ``vocab``. Output: logits (batch, context, vocab).
    No biases: a key bias has no effect on attention, so its gradient would be pure rounding noise, and Adam with
    eps = 0 would turn that noise into full-size updates. No gains either, which keeps batched training fast.
    ``normalised``: queries and keys are divided by their root mean square within a head, and the perceptron's hidden layer
    is standardised before its activation; this makes the weights ``query``, ``key`` and ``up`` scale invariant.
    Call :func:`initialise` before use.
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
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
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
        mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))

    def split_heads(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> (batch, heads, context, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every weight from N(0, 1/fan_in), and embeddings and positions from N(0, 0.02^2).

    numpy draws in float64, so that the same seed gives the same weights on every machine.
    """
    rng = np.random.default_rng(seed)
    matrices = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear)}
    for p in model.parameters():
        scale = p.shape[-1] ** -0.5 if id(p) in matrices else 0.02
        p.copy_(torch.from_numpy(scale * rng.standard_normal(p.shape)))


def next_token_loss(model: nn.Module, windows: Tensor) -> Tensor:
    """Mean cross-entropy (nats a character) of predicting windows[:, 1:] from windows[:, :-1]; (batch, context + 1)."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
