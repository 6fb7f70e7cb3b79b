"""What the optimizer's tests share: parameters of every layout, seeded gradients, a loop that feeds them, a comparer."""

import socket

import pytest
import torch
from torch.nn import Parameter

DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(dtype=torch.float64, device="cpu"):
    """One parameter of every kind: 0-dim, vector, matrix, empty, channels last, transposed, every other row."""
    shapes = [(), (3,), (4, 5), (2, 0, 3), (2, 3, 2, 2), (5, 4), (6, 4)]
    scalar, vector, matrix, empty, image, wide, tall = (random(*shape).to(device, dtype) for shape in shapes)
    image = image.to(memory_format=torch.channels_last)
    return [Parameter(x) for x in (scalar, vector, matrix, empty, image, wide.t(), tall[::2])]


def dense_parameters(dtype=torch.float64, device="cpu"):
    """Those without gaps between their elements: a copy of a parameter with gaps has none, and takes another path."""
    return parameters(dtype, device)[:-1]


def gradients(params, steps, seed=1):
    """``steps`` lists of contiguous gradients, whose sizes span seven decades."""
    rng = torch.Generator().manual_seed(seed)

    def draw(p):
        exponent = 7 * torch.rand(p.shape, generator=rng, dtype=torch.float64) - 3.5
        return (torch.randn(p.shape, generator=rng, dtype=torch.float64) * 10**exponent).to(p)

    return [[draw(p) for p in params] for _ in range(steps)]


def owned(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def run(optimizer, steps):
    """Feed one list of gradients a step (``None``: this parameter has none) and return the optimizer."""
    for grads in steps:
        for p, g in zip(owned(optimizer), grads, strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()
    return optimizer


def assert_same_bits(ours, theirs):
    """Both optimizers hold the same weights and the same state, bit for bit."""
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        assert torch.equal(p, q)
        torch.testing.assert_close(ours.state[p], theirs.state[q], rtol=0, atol=0)


def loopback():
    """The name of the network interface that leads to this machine alone."""
    (name,) = {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}
    return name
