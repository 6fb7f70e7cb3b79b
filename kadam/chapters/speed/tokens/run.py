"""How fast text is learnt here: our loop beside a plain one, a step's parts, the cost of larger k, the share of the arithmetic.

The twin of ``training``: it runs only when asked (``kadam bench tokens``), and times are compared within paired rounds.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch.nn import functional as F
from torch.nn.attention import SDPBackend
from torch.optim.optimizer import Optimizer

from kadam.chapters.speed import loops
from kadam.chapters.speed.loops import LOOPS, STRATEGY
from kadam.chapters.speed.tokens.config import FUSED, PROFILES, Config, Setting
from kadam.decay import Decay
from kadam.lab.data.configured import configured_corpora
from kadam.lab.data.sources import together
from kadam.lab.data.windows import Learnable, Windows, learnable
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import optimizers as baselines
from kadam.lab.train import stopwatch
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import Forward

RIVALS = ("Adam", "AdamW", "NAdam", "Lion")
LOOPED = "AdamW"  # the optimizer of both loops
RATE, WEIGHT_DECAY = 1e-3, 0.1


@recorded("tokens", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Tokens a second by setting, loop and round; seconds by part and by optimizer; the share of the arithmetic."""
    return with_units(Bench(config).measured((_loops, _parts, _costs), "side", "compiler"), UNITS)


class Bench(loops.Bench):
    """Texts on the device, and what learns them."""

    def __init__(self, config: Config) -> None:
        corpora = configured_corpora(config)
        super().__init__(config, together(*corpora.values()))
        self.settings: dict[str, Setting] = {setting.name: setting for setting in config.settings}
        to = functools.partial(learnable, windows=1, context=1, device=self.device)
        self.texts: dict[str, Learnable] = {name: to(corpus) for name, corpus in corpora.items()}

    def network(self, setting: Setting) -> TextNetwork:
        config, vocabulary = self.config, self.texts[setting.corpus].vocabulary
        how = {"precision": setting.precision, "compiler": config.compiler, "device": config.device}
        return TextNetwork(vocabulary, setting.context, setting.shape, False, **how)

    def training(self, setting: Setting, method: str) -> LanguageModelling:
        make: Callable[[list[torch.nn.Parameter]], Optimizer] = functools.partial(
            baselines.optimizer, method, lr=RATE, decay=Decay(), weight_decay=WEIGHT_DECAY
        )
        if method == FUSED:
            make = functools.partial(torch.optim.Adam, lr=RATE, betas=Decay().betas, fused=True)
        seed, tokens = self.config.seed, self.texts[setting.corpus].train
        batches = Windows(tokens, batch=setting.batch, context=setting.context, seed=seed)
        return LanguageModelling(self.network(setting), make, batches, Schedule(self.config.limit), initialisation=seed)


def plain_loop(tokens: torch.Tensor, model: Gpt, forward: Forward, setting: Setting) -> Callable[[], torch.Tensor]:
    """A training step, which returns its loss, as one writes it by hand for text on the device: ours is only the network.

    Like nanoGPT it takes AdamW's fused step on a GPU alone. It gathers all windows at once, which is faster than a stack.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, fused=tokens.is_cuda)
    context, offsets = setting.context, torch.arange(setting.context + 1, device=tokens.device)

    def step() -> torch.Tensor:
        starts = torch.randint(len(tokens) - context, (setting.batch, 1), device=tokens.device)
        window = tokens[starts + offsets].long()
        x, y = window[:, :-1], window[:, 1:]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=setting.precision == "bfloat16"):
            loss = F.cross_entropy(forward(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def hand_made(bench: Bench, setting: Setting) -> tuple[Gpt, Callable[[], torch.Tensor]]:
    """A network of the same kind as ours, and the plain loop on it."""
    network = bench.network(setting)
    model, forward = network.build.__wrapped__(network)
    model.reset(bench.config.seed)
    return model, plain_loop(bench.texts[setting.corpus].train, model, forward, setting)


def product(side: int, dtype: torch.dtype, device: torch.device) -> stopwatch.Step:
    """One product of two square matrices, 2 side^3 operations: the most arithmetic that a machine does in a time."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def operations(model: Gpt, setting: Setting) -> int:
    """Floating-point operations a token, forward and backward: 6 N + 12 (layers) (width) (context).

    Every weight that is multiplied by takes part in a multiplication and an addition, once forward and twice backward; so does
    the embedding, since it is the head, and its look-up is free. The second term is attention's two products, all of them, also
    those that the mask makes superfluous. Source: Chowdhery et al., arXiv 2204.02311, appendix B, as in nanoGPT's estimate_mfu.
    """
    multiplied = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel()
    return 6 * multiplied + 12 * setting.shape.layers * setting.shape.width * setting.context


def dtype(setting: Setting) -> torch.dtype:
    """In which matrices are multiplied."""
    return torch.bfloat16 if setting.precision == "bfloat16" else torch.float32


def attention(setting: Setting, device: torch.device) -> str:
    """PyTorch's name of the kernel that it chooses for the attention of a setting."""
    heads = setting.shape.heads
    shape = setting.batch, heads, setting.context, setting.shape.width // heads
    x = torch.empty(shape, dtype=dtype(setting), device=device, requires_grad=True)
    return str(SDPBackend(torch._fused_sdp_choice(x, x, x, is_causal=True)).name)


def _loops(bench: Bench) -> xr.Dataset:
    side, steps, arithmetic = bench.config.side, {}, []
    for name, setting in bench.settings.items():
        ours, (model, plain) = bench.training(setting, LOOPED), hand_made(bench, setting)
        largest = product(side, dtype(setting), bench.device)
        steps[name] = {"ours": bench.step(ours.step), "plain": plain, "product": largest}
        arithmetic.append(operations(model, setting))
    seconds = bench.seconds(steps)
    tokens = np.array([setting.batch * setting.context for setting in bench.settings.values()])
    values = {
        "rate": (("setting", "loop", "round"), tokens[:, None, None] / seconds[:, :2]),
        "peak": (("setting", "round"), 2 * side**3 / seconds[:, 2]),
        "operations": ("setting", arithmetic),
    }
    kernels = [attention(setting, bench.device) for setting in bench.settings.values()]
    found = xr.Dataset(values, {"setting": list(steps), "loop": list(LOOPS), "attention": ("setting", kernels)})
    return found.assign(share=found.rate * found.operations / found.peak)


def _parts(bench: Bench) -> xr.Dataset:
    return bench.parts("setting", {name: bench.training(setting, LOOPED) for name, setting in bench.settings.items()})


def _costs(bench: Bench) -> xr.Dataset:
    """Setting by setting, so that little time lies between the steps that are compared."""
    staged = [baselines.kadam_name(k, STRATEGY) for k in bench.config.ks if k > 1]
    names = [*RIVALS, FUSED, *staged, baselines.kadam_name(2, "meta")]
    found = [bench.costs({name: bench.training(setting, name) for name in names}) for setting in bench.settings.values()]
    k = [0 if name == FUSED else baselines.stages_of(name)[0] for name in names]
    return xr.concat(found, "setting").assign_coords(setting=list(bench.settings), k=("optimizer", k))


UNITS = loops.UNITS | {
    "rate": "tokens a second",
    "operations": "floating-point operations a token, forward and backward",
    "peak": "floating-point operations a second in a product of two square matrices",
    "share": "operations of a loop over those of the product in the same time",
}
