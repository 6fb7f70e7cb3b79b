"""What is measured of the engine and of moments in bfloat16, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, Fields, require

ROUNDINGS = ("float32", "bfloat16, nearest", "bfloat16, stochastic")


@dataclass(frozen=True)
class Config(Checked):
    """What is measured; the defaults are the laptop profile."""

    tasks: tuple[int, ...] = (100, 1_000, 10_000)  # in one sweep
    workers: int = 2  # processes, and workers of the Dask cluster
    dask: bool = True  # whether a cluster is started; without Dask there is none either
    rounds: int = 3
    # Tasks that all rounds together may have: a long sweep is measured less often, and not at all if it is longer.
    most: int = 10_000  # where nothing is kept
    most_kept: int = 1_000  # where each result is written: a hundredth of a second a task
    numbers: tuple[int, ...] = (128, 12_800, 131_072)  # float64 numbers in a record: 1 kB, 100 kB, 1 MB
    saves: int = 15  # of each size
    listed: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)  # other records that the manifest lists
    commits: int = 15  # with each manifest
    decays: tuple[float, ...] = (0.95, 0.99, 0.999)  # beta2 of the moments in bfloat16
    moments: int = 1_000  # moments that are averaged over
    moment_steps: int = 5_000
    seed: int = 0

    def check(self) -> None:
        require(max(self.decays) < 1, f"decays must hold one number in (0, 1) or more, got {self.decays!r}")


FEW: Fields = {"rounds": 2, "most": 32, "most_kept": 32, "saves": 2, "commits": 2, "moments": 10, "moment_steps": 100}

PROFILES = {
    # Dask's workers take longer to start than the first has.
    "smoke": Config(tasks=(4, 16), dask=False, numbers=(128,), listed=(1, 100), **FEW),
    "laptop": Config(),
    "paper": Config(most=30_000, most_kept=3_000),  # about four minutes
}
