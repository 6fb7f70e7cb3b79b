"""How fast text is learnt here: our loop beside a plain one, where a step's time goes, what larger k costs, the share of the
machine's arithmetic.

The twin of ``training``: it measures a machine, so it runs only when asked (``kadam bench tokens``), and times are compared
within paired rounds.
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
from kadam.chapters.speed.loops import Clock
from kadam.chapters.speed.names import LOOPS, STRATEGY
from kadam.chapters.speed.tokens.config import FUSED, PROFILES, Config, Setting
from kadam.decay import Decay
from kadam.lab.data.configured import configured_corpora
from kadam.lab.data.sources import describe, together
from kadam.lab.data.windows import Learnable, Windows, learnable
from kadam.lab.engine.sweep import one_thread
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices, stopwatch
from kadam.lab.train import optimizers as baselines
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.gpt import Gpt
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import Forward

RIVALS = ("Adam", "AdamW", "NAdam", "Lion")
LOOPED = "AdamW"  # the optimizer of both loops
WEIGHT_DECAY = 0.1


@recorded("tokens", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Tokens a second by setting, loop and round; seconds by part and by optimizer; the share of the arithmetic."""
    keep_freed_memory()
    bench = Bench(config)
    with one_thread():
        dataset = xr.merge([_loops(bench), _parts(bench), _costs(bench)], join="exact")
    dataset.attrs = {
        **{name: getattr(config, name) for name in ("side", "compiler")},
        **describe(bench.data),
        "device": loops.device_name(config.device),
    }
    return with_units(dataset, UNITS)


class Bench:
    """Texts on the device, and what learns them."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, devices.chosen(config.device)
        self.clock = Clock(config.rounds, config.repeats, config.limit, config.device)
        corpora = configured_corpora(config)
        self.data = together(*corpora.values())
        to = functools.partial(learnable, windows=1, context=1, device=self.device)
        self.texts: dict[str, Learnable] = {name: to(corpus) for name, corpus in corpora.items()}

    @property
    def names(self) -> list[str]:
        return [setting.name for setting in self.config.settings]

    def network(self, setting: Setting) -> TextNetwork:
        config, vocabulary = self.config, self.texts[setting.corpus].vocabulary
        how = (setting.precision, config.compiler, config.device)
        return TextNetwork(vocabulary, setting.context, setting.shape, False, *how)

    def training(self, setting: Setting, method: str, *, lr: float = 1e-3) -> LanguageModelling:
        config = self.config
        tokens = self.texts[setting.corpus].train
        batches = Windows(tokens, batch=setting.batch, context=setting.context, seed=config.seed)
        schedule, make = Schedule(config.limit), maker(method, lr)
        return LanguageModelling(self.network(setting), make, batches, schedule, initialisation=config.seed)


def maker(method: str, lr: float) -> Callable[[list[torch.nn.Parameter]], Optimizer]:
    """What makes the optimizer of this name."""
    if method == FUSED:
        return functools.partial(torch.optim.Adam, lr=lr, betas=Decay().betas, fused=True)
    return functools.partial(baselines.optimizer, method, lr=lr, decay=Decay(), weight_decay=WEIGHT_DECAY)


def plain_loop(
    tokens: torch.Tensor, model: Gpt, forward: Forward, *, batch: int, context: int, precision: str, lr: float = 1e-3
) -> Callable[[], torch.Tensor]:
    """A training step, which returns its loss, as one writes it by hand for text on the device, as nanoGPT does: nothing here
    is ours but the network.

    Like nanoGPT it takes AdamW's fused step on a GPU alone. It gathers all windows at once, which is faster than a stack.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY, fused=tokens.is_cuda)
    offsets = torch.arange(context + 1, device=tokens.device)

    def step() -> torch.Tensor:
        starts = torch.randint(len(tokens) - context, (batch, 1), device=tokens.device)
        window = tokens[starts + offsets].long()
        x, y = window[:, :-1], window[:, 1:]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
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
    size = {"batch": setting.batch, "context": setting.context}
    return model, plain_loop(bench.texts[setting.corpus].train, model, forward, precision=setting.precision, **size)


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


def optimizers(config: Config) -> list[str]:
    """Whose steps are timed."""
    staged = [baselines.kadam_name(k, STRATEGY) for k in config.ks if k > 1]
    return [*RIVALS, FUSED, *staged, baselines.kadam_name(2, "meta")]


def attention(setting: Setting, config: Config) -> str:
    """PyTorch's name of the kernel that it chooses for the attention of a setting."""
    heads = setting.shape.heads
    shape = setting.batch, heads, setting.context, setting.shape.width // heads
    device = devices.chosen(config.device)
    x = torch.empty(shape, dtype=dtype(setting), device=device, requires_grad=True)
    return str(SDPBackend(torch._fused_sdp_choice(x, x, x, is_causal=True)).name)


def _loops(bench: Bench) -> xr.Dataset:
    config, steps, arithmetic = bench.config, {}, []
    for setting in config.settings:
        ours, (model, plain) = bench.training(setting, LOOPED), hand_made(bench, setting)
        largest = product(config.side, dtype(setting), bench.device)
        steps[setting.name] = {"ours": bench.clock.step(ours.step), "plain": plain, "product": largest}
        arithmetic.append(operations(model, setting))
    seconds = bench.clock.seconds(steps)
    tokens = np.array([setting.batch * setting.context for setting in config.settings])
    rate, peak = tokens[:, None, None] / seconds[:, :2], 2 * config.side**3 / seconds[:, 2]
    values = {
        "rate": (("setting", "loop", "round"), rate),
        "peak": (("setting", "round"), peak),
        "operations": ("setting", arithmetic),
        "share": (("setting", "loop", "round"), rate * np.array(arithmetic)[:, None, None] / peak[:, None]),
    }
    kernels = [attention(setting, config) for setting in config.settings]
    return xr.Dataset(values, coords={"setting": bench.names, "loop": list(LOOPS), "attention": ("setting", kernels)})


def _parts(bench: Bench) -> xr.Dataset:
    return bench.clock.parts("setting", {setting.name: bench.training(setting, LOOPED) for setting in bench.config.settings})


def _costs(bench: Bench) -> xr.Dataset:
    """Setting by setting, so that little time lies between the steps that are compared."""
    names = optimizers(bench.config)
    found = [bench.clock.costs({name: bench.training(setting, name) for name in names}) for setting in bench.config.settings]
    k = [0 if name == FUSED else baselines.stages_of(name)[0] for name in names]
    return xr.concat(found, "setting").assign_coords(setting=bench.names, k=("optimizer", k))


UNITS = loops.UNITS | {
    "rate": "tokens a second",
    "operations": "floating-point operations a token, forward and backward",
    "peak": "floating-point operations a second in a product of two square matrices",
    "share": "operations of a loop over those of the product in the same time",
}
