"""What the tests of the recipes share: the library, a tiny network with its batches, and how two networks are compared.

Nothing is downloaded: networks are made here or from a configuration, and the libraries are told so before they load.
"""

import os
from importlib import import_module

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def library(name):
    """The module of this name; without it the test is skipped, but for ``make clients``, which has installed it."""
    return import_module(name) if os.environ.get("KADAM_CLIENTS") else pytest.importorskip(name)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))


def language_model():
    """GPT-2 in miniature, with its dropout: a run depends on the state of the random numbers."""
    transformers = library("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def tokens(count):
    """(count, 8)."""
    return torch.randint(0, 16, (count, 8), generator=torch.Generator().manual_seed(1))


def batches(count, size=2):
    return list(torch.randn(count, size, 3, generator=torch.Generator().manual_seed(1)))


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
