"""timm: once registered, ``kadam`` is a name for its factory, with weight decay filtered and layer decay in its schedulers."""

import pytest
import torch
from client import ONLY_OURS, assert_same_weights, library, weights
from recipes import follow

from kadam import KAdam

pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def timm(monkeypatch):
    """What a test registers, its registry forgets."""
    library("timm")
    from timm.optim._optim_factory import default_registry

    monkeypatch.setattr(default_registry, "_optimizers", dict(default_registry._optimizers))
    import timm

    return timm


def network(timm):
    torch.manual_seed(0)
    shape = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, **shape)


@pytest.fixture
def names(timm):
    return follow("timm", model=network(timm))


def by_parameter(names):
    """Of every parameter its group."""
    groups = {p: group for group in names["optimizer"].param_groups for p in group["params"]}
    return {name: groups[p] for name, p in names["model"].named_parameters()}


def step(model, optimizer):
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model(images).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_name_gives_kadam_with_the_registered_k(names):
    assert type(names["optimizer"]) is KAdam
    assert {group["stages"] for group in names["optimizer"].param_groups} == {1}
    assert names["optimizer"].defaults["lr"] == 1e-3


def test_a_name_that_nobody_registered_is_refused(timm):
    with pytest.raises(ValueError, match="kadam"):
        timm.optim.create_optimizer_v2(network(timm), opt="kadam")


def test_arguments_of_the_factory_win_over_those_registered(names):
    create = names["create_optimizer_v2"]
    optimizer = create(names["model"], opt="kadam", lr=1e-3, k=2, strategy="meta", betas=(0.8, 0.99), eps=1e-6)
    group = optimizer.param_groups[0]
    assert [group[key] for key in ("stages", "strategy", "betas", "eps")] == [2, "meta", (0.8, 0.99), 1e-6]


def test_biases_and_norms_do_not_decay(names):
    assert {g["weight_decay"] for n, g in by_parameter(names).items() if "bias" in n or "norm" in n} == {0.0}
    assert {g["weight_decay"] for n, g in by_parameter(names).items() if n.endswith("fc1.weight")} == {0.05}


def test_layers_have_their_rates_from_the_scheduler_and_only_from_it(names):
    optimizer, groups = names["optimizer"], by_parameter(names)
    scales = [groups[name]["lr_scale"] for name in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "head.weight")]
    assert scales[0] < scales[1] < scales[2] == 1.0
    names["scheduler"].step(5)
    top = groups["head.weight"]["lr"]
    assert 0 < top < 1e-3
    assert all(group["lr"] == pytest.approx(top * group["lr_scale"]) for group in optimizer.param_groups)
    plain = names["create_optimizer_v2"](names["model"], opt="kadam", lr=1e-3, layer_decay=0.75)
    torch.optim.lr_scheduler.CosineAnnealingLR(plain, T_max=10)
    assert {group["lr"] for group in plain.param_groups} == {1e-3}


def run(timm, opt, **arguments):
    names = follow("timm", model=network(timm))
    optimizer = names["create_optimizer_v2"](names["model"], opt=opt, lr=1e-3, weight_decay=0.05, layer_decay=0.75, **arguments)
    scheduler = names["CosineLRScheduler"](optimizer, t_initial=10, warmup_t=2, warmup_lr_init=1e-5)
    for epoch in range(1, 5):
        step(names["model"], optimizer)
        scheduler.step(epoch)
    return weights(names["model"])


def test_it_is_timms_adamw_bit_for_bit(timm):
    assert_same_weights(run(timm, "kadam"), run(timm, "adamw"))
