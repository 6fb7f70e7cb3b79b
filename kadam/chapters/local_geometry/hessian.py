"""Diagonals of the Hessian of many members' losses at once: exact, or estimated from random signs.

The curvature is that of one named weight tensor at a time, the others held still; its diagonal is the Hessian's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

# Directions whose products with the Hessian are computed together.
CHUNK = 64

# Losses of the members, (E,), from their weights: name -> (E, ...).
Losses = Callable[[dict[str, Tensor]], Tensor]
Weights = Mapping[str, Tensor]


def exact_diagonals(losses: Losses, weights: Weights, names: Sequence[str], *, chunk: int = CHUNK) -> dict[str, Tensor]:
    """The diagonal of each member's Hessian over each of the named weight tensors: name -> (E, size).

    One product with the Hessian a weight, ``chunk`` of them together. No member's loss may depend on another's weights: then a
    product serves all members at once.
    """
    return {name: _exact(losses, weights, name, chunk) for name in names}


def _exact(losses: Losses, weights: Weights, name: str, chunk: int) -> Tensor:
    size, products = weights[name][0].numel(), hessian_products(losses, weights, name)
    diagonal = weights[name].new_empty(len(weights[name]), size)
    for begin in range(0, size, chunk):
        which = torch.arange(begin, min(begin + chunk, size), device=diagonal.device)
        directions = torch.nn.functional.one_hot(which, size).to(diagonal.dtype)
        columns = products(directions)  # (chunk, E, size)
        diagonal[:, which] = columns[torch.arange(len(which), device=diagonal.device), :, which].T
    return diagonal


def estimated_diagonals(
    losses: Losses, weights: Weights, names: Sequence[str], *, probes: int, rng: np.random.Generator, chunk: int = CHUNK
) -> dict[str, Tensor]:
    """The same estimated as the mean of z * (H z) over random signs z within the named tensor: name -> (E, size).

    Unbiased. The variance of an entry is the sum of its row's other squares over ``probes``, so it is exact for a diagonal
    Hessian. numpy draws, so that the same generator gives the same signs everywhere; members share them. Source: Bekas,
    Kokiopoulou & Saad (2007).
    """
    if probes < 1:
        raise ValueError(f"probes must be a whole number >= 1, got {probes!r}")
    return {name: _estimated(losses, weights, name, _signs(rng, probes, weights[name], chunk)) / probes for name in names}


def _estimated(losses: Losses, weights: Weights, name: str, signs: Iterator[Tensor]) -> Tensor:
    products = hessian_products(losses, weights, name)
    total = torch.zeros_like(weights[name]).flatten(1)
    for some in signs:
        total += torch.einsum("ps,pes->es", some, products(some))
    return total


def _signs(rng: np.random.Generator, probes: int, like: Tensor, chunk: int) -> Iterator[Tensor]:
    """Random signs, (up to chunk, size) at a time, ``probes`` in all."""
    for begin in range(0, probes, chunk):
        drawn = rng.choice([-1.0, 1.0], (min(chunk, probes - begin), like[0].numel()))
        yield torch.from_numpy(drawn).to(like.device, like.dtype)


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
