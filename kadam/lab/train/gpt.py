"""A transformer for text as GPT-2 made it common, as fast as PyTorch makes it."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kadam.lab.train.networks import draw

# Standard deviation of embeddings and positions; GPT-2's.
EMBEDDING_SCALE = 0.02


class Gpt(nn.Module):
    """A pre-norm transformer: tokens (batch, length <= context), below ``vocabulary`` -> logits (batch, length, vocabulary).

    Attention is PyTorch's fused one; there are no biases; the head is the embedding. ``normalised``: queries and keys are
    divided by their root mean square within a head. Call :meth:`reset` before use.
    """

    def __init__(self, *, vocabulary: int, context: int, width: int, layers: int, heads: int, normalised: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width={width}, heads={heads}")
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads, normalised=normalised) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """In place: a layer's weights from N(0, 1/fan_in), over twice the number of blocks where its output is added to the
        residual stream; embeddings from N(0, 0.02^2); gains 1."""
        rng = np.random.default_rng(seed)
        added = {id(getattr(block, name).weight) for block in self.blocks for name in ("out", "down")}
        for layer in self.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Embedding | nn.Linear):
                scale = EMBEDDING_SCALE if isinstance(layer, nn.Embedding) else layer.in_features**-0.5
                if id(layer.weight) in added:
                    scale /= (2 * len(self.blocks)) ** 0.5
                draw(layer.weight, scale, rng)


class GptBlock(nn.Module):
    """Causal self-attention, then a two-layer perceptron, each on a normalised copy and added to its input."""

    def __init__(self, width: int, heads: int, *, normalised: bool) -> None:
        super().__init__()
        self.heads, self.normalised = heads, normalised
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.project = nn.Linear(width, 3 * width, bias=False)  # to queries, keys and values
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.normalised:
            q, k = (F.rms_norm(y, y.shape[-1:]) for y in (q, k))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
