"""PEFT: only the adapters train, only they have state, and merged they give the network that was trained."""

import pytest
import torch
from client import ONLY_OURS, assert_other_weights, assert_same_weights, library, tokens, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS
TOKENS = tokens(4)


@pytest.fixture(autouse=True)
def peft():
    return library("peft")


@pytest.fixture
def base(peft):
    """Llama in miniature."""
    transformers = library("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))


@pytest.fixture
def prepared(base):
    """The names of the recipe."""
    return follow("PEFT", model=base)


def train(model, optimizer, steps=3):
    for _ in range(steps):
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return weights(model)


def apart(named):
    """The weights of the adapters, and the others."""
    adapters = {name: w for name, w in named.items() if "lora" in name}
    return adapters, {name: w for name, w in named.items() if name not in adapters}


def test_only_the_adapters_train(prepared):
    before, after = weights(prepared["model"]), train(prepared["model"], prepared["optimizer"])
    assert_other_weights(apart(before)[0], apart(after)[0])
    assert_same_weights(apart(before)[1], apart(after)[1])


@pytest.mark.parametrize("everything", [False, True])
def test_only_the_adapters_have_state(prepared, everything):
    """Also where all parameters were given: what has no gradient gets none."""
    model = prepared["model"]
    optimizer = KAdam(model.parameters(), k=2) if everything else prepared["optimizer"]
    train(model, optimizer)
    adapters, others = apart(weights(model))
    owners = {name for name, p in model.named_parameters() if p in optimizer.state}
    assert owners == set(adapters)
    assert 0 < sum(w.numel() for w in adapters.values()) < sum(w.numel() for w in others.values())


def test_it_is_adamw_bit_for_bit(prepared):
    model = prepared["model"]
    start = weights(model)
    ours = train(model, prepared["optimizer"])
    model.load_state_dict(start, strict=False)
    adapters = [p for p in model.parameters() if p.requires_grad]
    assert_same_weights(ours, train(model, torch.optim.AdamW(adapters, lr=1e-3, weight_decay=0.0)))


def test_merged_they_are_the_plain_network_that_was_trained(prepared, base):
    model = prepared["model"]
    train(model, prepared["optimizer"])
    with torch.no_grad():
        expected = model(input_ids=TOKENS).logits
        untrained = model.get_base_model()
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=TOKENS).logits, expected)
    assert [name for name in weights(merged) if "lora" in name] == []
    assert type(merged) is type(base)
    assert untrained is not None
