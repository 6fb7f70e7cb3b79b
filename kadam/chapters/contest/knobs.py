"""A contest in which methods have more knobs than the learning rate: each tries as many settings, and its best is compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from kadam.chapters.contest.comparisons import TUNED, chosen, overall
from kadam.chapters.contest.contest import COMPARISON, SEARCH, Contest, Plan
from kadam.chapters.contest.trials import Trial
from kadam.lab.data.configured import configured
from kadam.theory.arguments import Array

Settings = Mapping[str, Array]  # "rate" and fields of the configuration -> the value in each of n settings, (n,)


@dataclass(frozen=True)
class Search(Contest):
    """The best of a method is the setting with the smallest validation loss; all runs of the search have one seed."""

    settings: Callable[[str], Settings] = field(kw_only=True)  # those that a method tries; of every method equally many

    def trials(self, method: str) -> list[Trial]:
        """A run of the search for every setting."""
        tried = dict(self.settings(method))
        rates, names = tried.pop("rate").tolist(), list(tried)
        others = zip(*(tried[name].tolist() for name in names), strict=True)
        seed = self.config.seed
        return [Trial(rate, seed, tuple(zip(names, of, strict=True))) for rate, of in zip(rates, others, strict=True)]

    @property
    def plan(self) -> Plan:
        config, tried = self.config, len(self.trials(self.methods[0]))
        first, second = len(self.pieces) * tried, len(self.pieces) * config.seeds
        return Plan(first, second, first * self.tuning_steps + second * config.steps)

    def hold(self, *, checkpoint: Path | None, jobs: int) -> xr.Dataset:
        """The record. Dimensions: network, optimizer; knob, trial; comparison (one, tuned), seed, evaluation."""
        data = configured(self.data, self.config)
        trials = {piece: self.trials(piece.method) for piece in self.pieces}
        search = self.trained(data.sha256, SEARCH, trials, checkpoint=checkpoint, jobs=jobs)
        ends = search[["loss", "train_loss", "diverged_at"]].isel(evaluation=-1)
        ends["update_rms"] = overall(search.update_rms)
        best = ends.loss.fillna(np.inf).argmin("trial")
        kept = {piece: trials[piece][int(best.sel(network=piece.network, optimizer=piece.method))] for piece in self.pieces}
        again = {piece: [of._replace(seed=seed) for seed in self.later_seeds] for piece, of in kept.items()}
        comparison = self.trained(data.sha256, COMPARISON, again, checkpoint=checkpoint, jobs=jobs)
        compared = comparison.rename(trial="seed").assign_coords(seed=self.later_seeds).expand_dims(comparison=[TUNED])
        dataset = xr.merge([ends.rename({name: f"search_{name}" for name in ends.data_vars}), compared, self._tried()])
        dataset["chosen"] = best
        dataset["peak_rate"] = chosen(dataset).sel(knob="rate", drop=True).expand_dims(comparison=[TUNED])
        return self.described(dataset, data, (search, comparison))

    def _tried(self) -> xr.Dataset:
        """What each method tried. Dimensions: knob, optimizer, trial."""
        each = [self.settings(method) for method in self.methods]
        values = [[of[name] for of in each] for name in each[0]]
        coords = {"knob": list(each[0]), "optimizer": list(self.methods)}
        return xr.Dataset({"tried": (("knob", "optimizer", "trial"), np.array(values))}, coords)


KNOB_UNITS = {
    "search_train_loss": "nats a token, mean from the evaluation before to the end",
    "tried": "the learning rate; of others a share",
    "chosen": "the trial with the smallest validation loss",
}
