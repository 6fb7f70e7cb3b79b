"""Diagonals of the Hessian of many members' losses at once: exact, or estimated from random signs.

The curvature is that of one named weight tensor at a time, the others held still; its diagonal is the Hessian's own. No
member's loss may depend on another's weights: then a product with the Hessian serves all members at once.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

# Directions whose products with the Hessian are computed together.
CHUNK = 64

# Losses of the members, (E,), from their weights: name -> (E, ...).
Losses = Callable[[dict[str, Tensor]], Tensor]
Weights = Mapping[str, Tensor]


def exact_diagonal(losses: Losses, weights: Weights, name: str) -> Tensor:
    """The diagonal of each member's Hessian over the named weight tensor, (E, size), from one product a weight."""
    size, products = weights[name][0].numel(), hessian_products(losses, weights, name)
    parts = []
    for which in torch.arange(size, device=weights[name].device).split(CHUNK):
        columns = products(one_hot(which, size).to(weights[name].dtype))  # (chunk, E, size)
        parts.append(columns[torch.arange(len(which)), :, which])
    return torch.cat(parts).T


def estimated_diagonal(losses: Losses, weights: Weights, name: str, *, probes: int, rng: np.random.Generator) -> Tensor:
    """The same estimated as the mean of z * (H z) over random signs z within the named tensor.

    Unbiased. The variance of an entry is the sum of its row's other squares over ``probes``, so it is exact for a diagonal
    Hessian. numpy draws, so that the same generator gives the same signs everywhere; members share them. Source: Bekas,
    Kokiopoulou & Saad (2007).
    """
    if probes < 1:
        raise ValueError(f"probes must be a whole number >= 1, got {probes!r}")
    products = hessian_products(losses, weights, name)
    total = torch.zeros_like(weights[name]).flatten(1)
    for begin in range(0, probes, CHUNK):
        drawn = rng.choice([-1.0, 1.0], (min(CHUNK, probes - begin), total.shape[1]))
        signs = torch.from_numpy(drawn).to(total)
        total += torch.einsum("ps,pes->es", signs, products(signs))
    return total / probes


def hessian_products(losses: Losses, weights: Weights, name: str) -> Callable[[Tensor], Tensor]:
    """Products of every member's Hessian over one weight tensor with directions, (n, size) -> (n, E, size).

    By differentiating the gradient again. A loss that is linear in the tensor has products of zero.
    """
    leaf = weights[name].detach().requires_grad_()
    total = losses({n: leaf if n == name else w.detach() for n, w in weights.items()}).sum()
    (gradient,) = torch.autograd.grad(total, leaf, create_graph=True)
    members, size = len(leaf), leaf[0].numel()

    def products(directions: Tensor) -> Tensor:
        if not gradient.requires_grad:
            return leaf.new_zeros(len(directions), members, size)
        along = directions[:, None].expand(-1, members, -1).reshape(len(directions), *leaf.shape)
        (found,) = torch.autograd.grad(gradient, leaf, along, retain_graph=True, is_grads_batched=True)
        return found.reshape(len(directions), members, size)

    return products
