"""A contest of optimizers on text: small transformers learn tiny Shakespeare by characters, and film reviews by bytes."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from kadam.chapters.contest.contest import COMMON_UNITS, COMPARISON, Contest, check_same, optimizer
from kadam.chapters.contest.settings import Config, Once, Setting
from kadam.chapters.contest.trials import Piece, Trial
from kadam.lab.data.configured import configured_corpora
from kadam.lab.data.sources import together
from kadam.lab.data.windows import Learnable, Unrepeated, Windows, learnable
from kadam.lab.records.record import with_units
from kadam.lab.train import devices, optimizers
from kadam.lab.train.arithmetic import Arithmetic, size
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.norms import NORMS, NormalisedModelling, blocks
from kadam.lab.train.schedule import Schedule

DATA = "corpora"
VOCABULARY = {"shakespeare": 65, "reviews": 256}  # of the real texts
MEASURES = ("loss", "train_loss", "update_rms", "max_update", "spikes")


def contest_on_text(title: str, config: Config, kind: type[Contest] = Contest, **how: Any) -> Contest:
    """Who competes, and how; ``how``: further fields of the ``kind`` of contest, and ``methods`` where not all compete."""
    networks = tuple(setting.name for setting in config.settings)
    methods = how.pop("methods", None) or tuple(optimizers.methods(config.ks, config.strategies, chosen=config.baselines))
    how["blocks"] = {of.name: dict.fromkeys(NORMS, blocks(of.shape)) for of in config.settings if watched(config, of)}
    return kind(title, DATA, networks, methods, config.tuning_steps, MEASURES, load=Inputs.of, config=config, **how)


def watched(config: Config, setting: Setting) -> bool:
    """Whether norms are watched: those of scale-invariant weights, where no text is seen twice."""
    return setting.normalised and isinstance(config, Once)


def arithmetic(contest: Contest) -> Arithmetic:
    """What it computes."""
    config = contest.config
    batch = config.batch, config.context
    networks = {of.name: TextNetwork(VOCABULARY[of.corpus], config.context, of.shape, of.normalised) for of in config.settings}
    sizes = {name: size(network.make, batch, dtype=torch.int64) for name, network in networks.items()}
    precision = min(of.precision for of in config.settings)  # bfloat16 where any network has it
    return contest.arithmetic(sizes, evaluated=config.windows / config.batch, precision=precision)


def hold(contest: Contest, *, checkpoint: Path | None, jobs: int) -> xr.Dataset:
    """Its record, with what a guess loses and how long the texts are; see :meth:`Contest.hold` for the dimensions."""
    config, dataset = contest.config, contest.hold(checkpoint=checkpoint, jobs=jobs)
    texts = Inputs.of(config, dataset.attrs["data_sha256"]).texts
    dataset["guess"] = "network", [math.log(texts[setting.corpus].vocabulary) for setting in config.settings]
    dataset.attrs |= {name: getattr(config, name) for name in ("tuning_steps", "batch", "context")}
    dataset.attrs |= {f"{name}_tokens": len(text.train) for name, text in texts.items()}
    return with_units(dataset, NORMS if contest.blocks else {})


@dataclass(frozen=True, eq=False)
class Inputs:
    """Texts ready for training, and what learns them."""

    config: Config
    texts: dict[str, Learnable]

    @classmethod
    @functools.cache  # once a process, also where pieces are computed elsewhere
    def of(cls, config: Config, sha256: str) -> "Inputs":
        """``sha256``: of the texts that are meant; ``DataError`` where this process finds others."""
        found = configured_corpora(config)
        check_same("text", together(*found.values()), sha256)
        keep_freed_memory()
        to = functools.partial(learnable, windows=config.windows, context=config.context, device=devices.chosen(config.device))
        return cls(config, {name: to(corpus) for name, corpus in found.items()})

    def setting(self, name: str) -> Setting:
        return next(setting for setting in self.config.settings if setting.name == name)

    def text(self, network: str) -> Learnable:
        return self.texts[self.setting(network).corpus]

    def network(self, name: str) -> TextNetwork:
        config, setting = self.config, self.setting(name)
        how = {"precision": setting.precision, "compiler": config.compiler, "device": config.device}
        return TextNetwork(self.text(name).vocabulary, config.context, setting.shape, setting.normalised, **how)

    def training(self, piece: Piece, steps: int, trial: Trial) -> LanguageModelling:
        """A run from its start, its seed one for the weights and one for the batches."""
        config, make = trial.applied(self.config), optimizer(self.config, piece, trial)
        initialisation, order = np.random.SeedSequence(trial.seed).generate_state(2).tolist()
        begin = functools.partial(Unrepeated, steps=steps) if isinstance(config, Once) else Windows
        batches = begin(self.text(piece.network).train, batch=config.batch, context=config.context, seed=order)
        schedule = Schedule(steps, config.warmup, "cosine", config.end)
        kind = NormalisedModelling if watched(config, self.setting(piece.network)) else LanguageModelling
        return kind(self.network(piece.network), make, batches, schedule, initialisation=initialisation)

    def held_out(self, network: str, phase: str) -> Tensor:
        """Test text is for the comparison alone."""
        text = self.text(network)
        return text.test if phase == COMPARISON else text.validation


TEXT_UNITS = COMMON_UNITS | {
    "guess": "nats a token of a guess among all tokens",
    "search_loss": "nats a token of the validation text, at the end; NaN: diverged",
    "loss": "nats a token of the test text; NaN: diverged",
    "train_loss": "nats a token, mean from the evaluation before to this one",
    "max_update": "learning rates, the largest |u| from the evaluation before to this one",
    "spikes": "spikes of the training loss from the evaluation before to this one",
}
