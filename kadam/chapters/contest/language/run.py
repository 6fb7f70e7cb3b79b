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
from kadam.chapters.contest.competition import CONTEST, Competition, Trials, check_entries, seconds_a_step
from kadam.chapters.contest.trials import COMPARISONS, Runs, Trial, marks
from kadam.decay import STRATEGIES, Decay, stages
from kadam.lab.data.sources import DataError, Together, describe, together
from kadam.lab.data.text import Corpus, load_corpora
from kadam.lab.data.windows import Learnable, Windows, learnable
from kadam.lab.engine.progress import Progress
from kadam.lab.records import record as records
from kadam.lab.records.profiles import CORPORA, PRECISIONS, Shape, check_choice, check_counts
from kadam.lab.train import devices
from kadam.lab.train import optimizers as baselines
from kadam.lab.train.ensemble import keep_freed_memory
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.schedule import Schedule
from kadam.lab.train.training import parameter_count
from kadam.report.ledger import Claim, Test, judge_all
from kadam.theory import stability

NOTEBOOK = "07-language"

EQUAL, TUNED, MATCHED = COMPARISONS

SMALL = Shape(width=64, layers=2, heads=2)
MILLION = Shape(width=192, layers=2, heads=3)
LARGE = Shape(width=512, layers=7, heads=8)


@dataclass(frozen=True)
class Setting:
    """A network on a text; it goes by its name in the record."""

    name: str
    corpus: str  # "shakespeare", by characters, or "reviews", by bytes
    shape: Shape = SMALL
    normalised: bool = False  # queries and keys
    precision: str = "float32"  # bfloat16 pays from a width of about 200 on

    def __post_init__(self) -> None:
        check_choice("corpus", self.corpus, CORPORA)
        check_choice("precision", self.precision, PRECISIONS)


CHARACTERS = Setting("characters", "shakespeare")
NORMALISED_CHARACTERS = Setting("characters, q/k norm", "shakespeare", normalised=True)
NORMALISED_REVIEWS = Setting("reviews, q/k norm", "reviews", normalised=True)
MILLION_REVIEWS = Setting("reviews, 1M weights", "reviews", MILLION, precision="bfloat16")


@dataclass(frozen=True)
class Config:
    """What is trained; the defaults are the laptop profile."""

    settings: tuple[Setting, ...] = (CHARACTERS, NORMALISED_REVIEWS)
    ks: tuple[int, ...] = (1, 2, 4)
    strategies: tuple[str, ...] = STRATEGIES
    baselines: tuple[str, ...] = ("Adam", "AdamW", "NAdam", "Lion")
    beta: float = 0.999
    gamma: float = 0.9
    weight_decay: float = 0.1  # of AdamW alone
    equal_rate: float = 1e-3  # the learning rate of the comparison at equal rates
    rates: tuple[float, ...] = (1e-3, 3e-3, 9e-3)  # Adam's in the search; other methods' are a factor times these
    tuning_seeds: int = 1
    tuning_steps: int = 80
    seeds: int = 2  # of the comparisons
    steps: int = 80
    batch: int = 8  # windows of text
    context: int = 32  # tokens a window
    warmup: float = 0.1  # share of the steps in which the learning rate rises; then it falls as a cosine
    end: float = 0.1  # to this share of its peak
    evaluations: int = 3  # on the way, at equal distances
    train: int = 2_000_000  # tokens to learn from, at most
    windows: int = 64  # to evaluate on, as many each for validation and test
    compiler: str = ""
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    device: str = "cpu"
    seed: int = 100  # criteria and sizes were chosen on seeds 0 to 2

    def __post_init__(self) -> None:
        check_counts(
            self, "tuning_seeds", "tuning_steps", "seeds", "steps", "batch", "context", "evaluations", "train", "windows"
        )
        check_choice("text", self.text, ("real", "embedded"))
        names = [setting.name for setting in self.settings]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"settings must have different names, and be one or more, got {names}")
        check_entries(self)
        least = min(self.steps, self.tuning_steps)
        if self.evaluations > least:
            raise ValueError(f"evaluations must be at most the steps of a run, {least}, got {self.evaluations}")
        if judges.ADAM not in self.baselines:
            raise ValueError(f"baselines must hold {judges.ADAM}, with which all is compared, got {self.baselines!r}")
        baselines.methods((), chosen=self.baselines)
        Schedule(self.steps, self.warmup, "cosine", self.end)

    @property
    def methods(self) -> list[str]:
        return baselines.methods(self.ks, self.strategies, chosen=self.baselines)


TINY = Shape(width=8, layers=1, heads=2)

PROFILES = {
    "smoke": Config(
        settings=(
            Setting("characters", "shakespeare", TINY, precision="float64"),
            Setting("reviews, q/k norm", "reviews", TINY, normalised=True, precision="float64"),
        ),
        ks=(1, 2, 3),
        strategies=("inverse_exp", "meta"),
        rates=(4e-3, 1.6e-2),
        tuning_steps=8,
        steps=8,
        batch=4,
        context=8,
        evaluations=2,
        windows=16,
        text="embedded",
    ),
    "laptop": Config(),
    # What two cores do in an hour.
    "cpu": Config(
        settings=(CHARACTERS, NORMALISED_CHARACTERS, NORMALISED_REVIEWS, MILLION_REVIEWS),
        ks=(1, 2, 3, 4),
        rates=(3e-4, 1e-3, 3e-3, 9e-3, 2.7e-2),
        tuning_steps=400,
        seeds=3,
        steps=400,
        evaluations=5,
        train=16_000_000,
        windows=192,
    ),
    # 22 million weights and 10,000 steps, for which only a few methods fit into 20 minutes of one GPU.
    "paper": Config(
        settings=(
            Setting("reviews", "reviews", LARGE, precision="bfloat16"),
            Setting("reviews, q/k norm", "reviews", LARGE, normalised=True, precision="bfloat16"),
        ),
        ks=(1, 2),
        strategies=("inverse_exp", "meta"),
        rates=(3e-4, 1e-3, 3e-3),
        tuning_steps=1000,
        seeds=1,
        steps=10_000,
        batch=16,
        context=256,
        warmup=0.02,
        evaluations=10,
        train=60_000_000,
        windows=256,
        compiler="inductor",
        device="cuda",
    ),
}


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


@records.recorded("language", PROFILES)
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
    return records.with_units(dataset.assign_coords(evaluation=marks(config.steps, config.evaluations)), UNITS)


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


QUESTION = "a question from the paper's public reviews"
HERE = "asked here"
AHEAD = "95% interval over seeds of the paired difference in test loss in its favour, in every setting; in some: partly"
ANY = "for every strategy and setting; three quarters: partly"

RIVALRIES = {
    EQUAL: ("D-7a", "at the same learning rate"),
    TUNED: ("D-7b", "with each at its best learning rate"),
    MATCHED: ("D-7c", "with updates as large as Adam's"),
}

TESTS = [
    *(
        Test(
            f"{number} {strategy}",
            QUESTION,
            f"On text, k = 2 with strategy {strategy} is better than Adam {how}",
            AHEAD,
            functools.partial(judges.second_stage, strategy=strategy, comparison=comparison),
        )
        for comparison, (number, how) in RIVALRIES.items()
        for strategy in STRATEGIES
    ),
    Test(
        "D-7d",
        "asked here: does what CIFAR-10 said of k hold?",
        "On text, too, no second stage is ahead of Adam once both are tuned",
        f"95% interval of the paired difference in test loss not above 0, {ANY}",
        judges.none_ahead,
    ),
    Test(
        "D-7e",
        QUESTION,
        "On text, with tuned learning rates, loss grows gracefully for k > 2",
        f"no rise of more than {judges.NATS.fall:g} nats from one k to the next, no run diverges; for three quarters: partly",
        functools.partial(judges.graceful, comparison=TUNED),
    ),
    Test(
        "D-7f",
        "asked here: is it the size of the steps?",
        "On text, the advantage of k = 2 at the same learning rate goes away at matched update size",
        f"mean over strategies: at most {judges.LEFT} of a positive advantage is left, in every setting; in some: partly",
        judges.only_size,
    ),
    Test(
        "D-7g",
        "asked here: is it the size of the steps?",
        "On text, at the same learning rate, k = 2 takes steps at least twice as large as Adam's",
        ANY,
        judges.larger_steps,
    ),
    Test(
        "D-7h",
        QUESTION,
        "On text, k = 2 is better than every baseline, each at its best learning rate",
        "strategy and rival chosen on validation text; 95% interval of the paired difference in its favour, in every setting",
        judges.best_of_all,
    ),
    Test(
        "D-7i",
        HERE,
        "On text, a second stage leaves the basin of good learning rates as wide as Adam's",
        f"logarithm of the range within {judges.BASIN} nats of the method's best, at least {judges.AS_WIDE} of Adam's, {ANY}",
        judges.as_wide,
    ),
    Test(
        "D-7j",
        HERE,
        "On text, with tuned learning rates, k = 2 has no more spikes in its training loss than Adam",
        f"mean number a run, {ANY}",
        judges.no_more_spikes,
    ),
    Test(
        "D-7k",
        "checked here",
        "Every method's best learning rate on text lies inside the range that was searched",
        "for every method and setting; three quarters: partly",
        judges.inside_the_grid,
    ),
    Test(
        "D-7l",
        "derived here: Theory, k-Adam's bound",
        "In training on text no update exceeds the bound of its last stage",
        f"largest |u| over the exact discrete bound, all runs with Adam and k-Adam, at most 1 (rounding: {judges.ROUNDING})",
        judges.bounded,
    ),
]


def claims(dataset: xr.Dataset | None, *, profile: str = "") -> list[Claim]:
    """The verdicts that a record of language gives."""
    return judge_all(TESTS, dataset, profile=profile, notebook=NOTEBOOK)
