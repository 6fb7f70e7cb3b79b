"""What the tests of the recipes share: the library, a tiny network with its batches, and how two networks are compared.

Nothing is downloaded: networks are made here or from a configuration, and the libraries are told so before they load.
"""

import os
from functools import cache
from importlib import import_module

import pytest
import torch
from torch.library import define

# What libraries say of themselves and of each other is theirs; what KAdam or a scheduler says fails a test, as everywhere.
ONLY_OURS = pytest.mark.filterwarnings("ignore", "error:::kadam", "error:Detected call of")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def library(name):
    """The module of this name; without it the test is skipped, but for ``make clients``, which has installed it."""
    declare_torchvisions_operators()
    return import_module(name) if os.environ.get("KADAM_CLIENTS") else pytest.importorskip(name)


@cache
def declare_torchvisions_operators():
    """Let torchvision be imported, which these libraries do, where it is built for CUDA and torch for CPUs.

    So it comes where PyPI has the one and another index the other. Its operators then do not load, which no recipe needs;
    but its import fails since it describes two of them to torch.
    """
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in ("nms", "qnms"):
            define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
        import_module("torchvision")


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))


def tokens(count):
    """Texts of eight tokens out of 16: (count, 8)."""
    return torch.randint(0, 16, (count, 8), generator=torch.Generator().manual_seed(1))


def batches(count):
    """Of two rows each; the first are the same whatever the count."""
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(2, 3, generator=rng) for _ in range(count)]


def weights(model):
    """A copy of the model's parameters by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same_weights(ours, theirs):
    """Bit for bit."""
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def assert_other_weights(ours, theirs):
    """Every parameter differs: a run that did nothing would pass for the same as another."""
    assert [name for name in ours if torch.equal(ours[name], theirs[name])] == []
