"""k-Adam on text: what CIFAR-10 said of a second stage, asked again of transformers.

Small transformers learn tiny Shakespeare by characters and film reviews by bytes, some with normalised queries and keys, with
k-Adam under every strategy and k, and with four baselines. The contest is that of CIFAR-10: a search, judged on text for
validation alone, then three comparisons with other seeds and on test text.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from kadam.chapters.contest.contest import Contest, foretold
from kadam.chapters.contest.language.config import PROFILES
from kadam.chapters.contest.settings import Config
from kadam.chapters.contest.texts import TEXT_UNITS, arithmetic, contest_on_text, hold
from kadam.chapters.contest.trials import marks
from kadam.decay import Decay, stages
from kadam.lab.records.record import recorded, with_units
from kadam.lab.train import optimizers
from kadam.theory import stability


def contest(config: Config) -> Contest:
    """Who competes, and how."""
    return contest_on_text("language", config)


announcement, plan, pilot = foretold(contest, arithmetic)


@recorded("language", PROFILES)
def run(config: Config, *, checkpoint: Path | None = None, jobs: int = 1) -> xr.Dataset:
    """Every method's search and comparisons; see :meth:`Contest.hold` for the dimensions."""
    dataset = hold(contest(config), checkpoint=checkpoint, jobs=jobs)
    dataset["bound"] = ("optimizer", "evaluation"), _bounds(config)
    return with_units(dataset, UNITS)


def _bounds(config: Config) -> np.ndarray:
    """What the theory says no |u| exceeds up to each evaluation, (optimizer, evaluation); NaN where it says nothing.

    It is the bound of a method's last stage. For other baselines than Adam there is none.
    """
    methods, last = contest(config).methods, np.array(marks(config.steps, config.evaluations)) - 1
    decay, bounds = Decay(beta=config.beta, gamma=config.gamma), np.full((len(methods), len(last)), np.nan)
    for i, (k, strategy) in enumerate(map(optimizers.stages_of, methods)):
        if k > 0:
            stage = decay if k == 1 else stages(decay, k, strategy)[-1]
            bound = stability.max_update_bound(np.arange(last[-1] + 1), beta=stage.beta, gamma=stage.gamma)
            bounds[i] = np.maximum.accumulate(bound)[last]
    return bounds


UNITS = TEXT_UNITS | {"bound": "learning rates; NaN: the theory has none"}
