"""k-Adam on text: what CIFAR-10 said of a second stage, asked again of transformers.

Small transformers learn tiny Shakespeare by characters and film reviews by bytes, some with normalised queries and keys, with
k-Adam under every strategy and k, and with four baselines. As in the chapter on CIFAR-10, every method is first tried at the
same number of learning rates, judged on text for validation alone; then, with other seeds and on test text, methods are
compared at one learning rate, each at its best, and with updates as large as Adam's.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from kadam.chapters.contest import judges
from kadam.chapters.contest.competition import CONTEST, Competition, Trials, seconds_a_step
from kadam.chapters.contest.language.config import PROFILES, Config, Setting
from kadam.chapters.contest.trials import Runs, Trial, marks
from kadam.decay import Decay, stages
from kadam.lab.data.sources import DataError, Together, describe, together
from kadam.lab.data.text import Corpus, load_corpora
from kadam.lab.data.windows import Learnable, Windows, learnable
from kadam.lab.engine.progress import Progress
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import devices
from kadam.lab.train import optimizers as baselines
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import parameter_count
from kadam.theory import stability


def load_data(config: Config, *, fetch: bool = True) -> Together:
    """The texts of a configuration under one name and hash; ``fetch``: may download them."""
    return together(*corpora_of(config, fetch=fetch).values())


def corpora_of(config: Config, *, fetch: bool = True) -> dict[str, Corpus]:
    """The texts of a configuration."""
    return load_corpora((s.corpus for s in config.settings), text=config.text, fetch=fetch, limit=config.train)


def announcement(config: Config, jobs: int) -> str:
    """The plan and an estimate from a few steps on this machine, mean over the settings."""
    inputs, every = Inputs.of(config, load_data(config).sha256), config.steps / config.evaluations
    seconds = []
    for setting in config.settings:
        training = inputs.training(setting.name, judges.ADAM, config.steps, Trial(config.equal_rate, config.seed))
        test = inputs.texts[setting.corpus].test
        seconds.append(seconds_a_step(training, test, every=every, device=config.device))
    return competition(config).plan.sentence(float(np.mean(seconds)), jobs)


def competition(config: Config) -> Competition:
    """Who competes, and how."""
    return Competition(
        title="language",
        networks=tuple(setting.name for setting in config.settings),
        methods=tuple(config.methods),
        rates=config.rates,
        equal_rate=config.equal_rate,
        tuning_seeds=config.tuning_seeds,
        seeds=config.seeds,
        seed=config.seed,
        tuning_steps=config.tuning_steps,
        steps=config.steps,
        judged=("loss",),
    )


@dataclass(frozen=True, eq=False)
class Inputs:
    """Texts ready for training, and what learns them."""

    config: Config
    texts: dict[str, Learnable]
    described: dict[str, str]  # by which a record names them

    @classmethod
    @functools.cache  # once a process, also where pieces are computed elsewhere
    def of(cls, config: Config, sha256: str) -> "Inputs":
        """``sha256``: of the texts that are meant; ``DataError`` where this process finds others."""
        found = corpora_of(config)
        data = together(*found.values())
        if data.sha256 != sha256:
            raise DataError(f"text: sha256 is {data.sha256} where this piece is computed, expected {sha256}")
        keep_freed_memory()
        to = functools.partial(learnable, windows=config.windows, context=config.context, device=devices.chosen(config.device))
        return cls(config, {name: to(corpus) for name, corpus in found.items()}, describe(data))

    def setting(self, name: str) -> Setting:
        return next(setting for setting in self.config.settings if setting.name == name)

    def network(self, name: str) -> TextNetwork:
        config, setting = self.config, self.setting(name)
        how = (setting.precision, config.compiler, config.device)
        vocabulary = self.texts[setting.corpus].vocabulary
        return TextNetwork(vocabulary, config.context, setting.shape, setting.normalised, *how)

    def training(self, name: str, method: str, steps: int, trial: Trial) -> LanguageModelling:
        """A method's run from the start, its seed one for the weights and one for the batches."""
        config = self.config
        initialisation, order = np.random.SeedSequence(trial.seed).generate_state(2).tolist()
        decay = Decay(beta=config.beta, gamma=config.gamma)
        make = functools.partial(baselines.optimizer, method, lr=trial.rate, decay=decay, weight_decay=config.weight_decay)
        tokens = self.texts[self.setting(name).corpus].train
        batches = Windows(tokens, batch=config.batch, context=config.context, seed=order)
        schedule = Schedule(steps, config.warmup, "cosine", config.end)
        return LanguageModelling(self.network(name), make, batches, schedule, initialisation=initialisation)


@recorded("language", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and contest. Dimensions: network, optimizer; rate, tuning_seed; comparison, seed, evaluation."""
    sha256 = load_data(config).sha256
    train = functools.partial(train_piece, config, sha256)
    dataset = competition(config).hold(train, lambda found: -found.loss.fillna(np.inf), checkpoint=checkpoint, jobs=jobs)
    inputs = Inputs.of(config, sha256)
    names = [setting.name for setting in config.settings]
    vocabularies = [inputs.network(name).vocabulary for name in names]
    dataset["parameters"] = "network", [parameter_count(inputs.network(name)) for name in names]
    dataset["guess"] = "network", [math.log(vocabulary) for vocabulary in vocabularies]
    dataset["bound"] = ("optimizer", "evaluation"), _bounds(config)
    dataset.attrs |= _facts(config, inputs)
    return with_units(dataset.assign_coords(evaluation=marks(config.steps, config.evaluations)), UNITS)


MEASURES = ("loss", "train_loss", "update_rms", "max_update", "spikes")


def train_piece(config: Config, sha256: str, phase: str, trials: Trials, piece: str, progress: Progress) -> xr.Dataset:
    """All runs of one network with one method, named "network, method"; test text is for the contest alone."""
    inputs, (name, method) = Inputs.of(config, sha256), piece.rsplit(", ", 1)
    text = inputs.texts[inputs.setting(name).corpus]
    data = text.test if phase == CONTEST else text.validation
    steps = competition(config).steps_of(phase)
    runs = Runs(
        trials[piece],
        functools.partial(inputs.training, name, method, steps),
        lambda training: training.evaluate(data),
        measures=MEASURES,
        steps=steps,
        evaluations=config.evaluations,
    )
    for n in progress.over(len(trials[piece]) * steps, {"runs": runs}):
        runs.step(n)
    return runs.dataset()


def _bounds(config: Config) -> np.ndarray:
    """What the theory says no |u| exceeds up to each evaluation, (optimizer, evaluation); NaN where it says nothing."""
    last = np.array(marks(config.steps, config.evaluations)) - 1
    return np.array([_bound(last_stage(config, method), last) for method in config.methods])


def last_stage(config: Config, method: str) -> Decay | None:
    """The pair whose bound holds for a method's updates: the last stage's. None for other baselines than Adam."""
    k, strategy = baselines.stages_of(method)
    if k == 0:
        return None
    decay = Decay(beta=config.beta, gamma=config.gamma)
    return decay if k == 1 else stages(decay, k, strategy)[-1]


def _bound(stage: Decay | None, last: np.ndarray) -> np.ndarray:
    """The largest bound of all steps up to each of some."""
    if stage is None:
        return np.full(len(last), np.nan)
    bound = stability.max_update_bound(np.arange(last[-1] + 1), beta=stage.beta, gamma=stage.gamma)
    return np.maximum.accumulate(bound)[last]


def _facts(config: Config, inputs: Inputs) -> dict[str, Any]:
    facts = {f"{name}_tokens": len(text.train) for name, text in inputs.texts.items()}
    names = ("steps", "tuning_steps", "batch", "context", "equal_rate")
    return {
        **{name: getattr(config, name) for name in names},
        **facts,
        **inputs.described,
        **devices.described(config.device),
    }


UNITS = {
    "parameters": "numbers that are learnt",
    "guess": "nats a token of a guess among all tokens",
    "bound": "learning rates; NaN: the theory has none",
    "search_loss": "nats a token of the validation text, at the end; NaN: diverged",
    "search_update_rms": "root mean square of u over all weights and steps",
    "search_diverged_at": "step; NaN: did not diverge",
    "tried": "peak learning rate in the search",
    "peak_rate": "peak learning rate in the contest",
    "loss": "nats a token of the test text; NaN: diverged",
    "train_loss": "nats a token, mean since the evaluation before",
    "update_rms": "root mean square of u over all weights, since the evaluation before",
    "max_update": "learning rates, the largest |u| since the evaluation before",
    "spikes": "spikes of the training loss since the evaluation before",
    "diverged_at": "step; NaN: did not diverge",
}
