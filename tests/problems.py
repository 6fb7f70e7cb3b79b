"""What the optimizer's tests share: parameters of every layout, seeded gradients, a loop that feeds them, comparers."""

import numpy as np
import torch
from torch.nn import Parameter

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(dtype=torch.float64, device="cpu"):
    """One parameter of every kind: 0-dim, vector, matrix, empty, channels last, transposed, every other row."""
    kinds = [random(), random(3), random(4, 5), random(2, 0, 3), random(2, 3, 2, 2).to(memory_format=torch.channels_last)]
    dense = [x.to(device, dtype) for x in kinds]
    return [Parameter(x) for x in (*dense, random(5, 4).to(device, dtype).t(), random(6, 4).to(device, dtype)[::2])]


def twins(**options):
    """Two equal sets of parameters and the names and values of their gradients' own generator."""
    return parameters(**options), parameters(**options)


def gradients(params, steps, seed=1):
    """``steps`` lists of gradients, contiguous, whose sizes span seven decades."""
    rng = torch.Generator().manual_seed(seed)

    def draw(p):
        exponent = 7 * torch.rand(p.shape, generator=rng, dtype=torch.float64) - 3.5
        return (torch.randn(p.shape, generator=rng, dtype=torch.float64) * 10**exponent).to(p)

    return [[draw(p) for p in params] for _ in range(steps)]


def owned(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def run(optimizer, steps):
    """Feed one list of gradients a step (``None``: the parameter has none) and return the optimizer."""
    for grads in steps:
        for p, g in zip(owned(optimizer), grads, strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()
    return optimizer


def assert_same_bits(ours, theirs):
    """The optimizers' weights, and all state that ``theirs`` keeps, are equal bit for bit."""
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        assert torch.equal(p, q)
        assert set(ours.state[p]) == set(theirs.state[q])
        for name, value in theirs.state[q].items():
            assert torch.equal(ours.state[p][name], value), name


def array(x):
    return x.detach().cpu().double().numpy().astype(np.float64)
