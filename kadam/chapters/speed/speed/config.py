"""What is measured of the speed of a step, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import Checked, Fields, check_choice

# Ways to take a step: torch's AdamW and KAdam's paths. "chained" is the fused CPU path without numba.
TORCH = ("torch fused", "torch foreach")
PATHS = ("foreach", "chained", "fused")
REPLAYED = "fused, replayed"  # on a GPU alone: the fused step as a CUDA graph, for which the host does next to nothing
CEILING = "scaling in place"  # the same bytes moved, and nothing computed


@dataclass(frozen=True)
class Config(Checked):
    """What is measured; the defaults are the laptop profile."""

    sizes: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)  # numbers in one tensor
    ks: tuple[int, ...] = (1, 2, 4, 8)
    rounds: int = 15  # paired rounds; in each every way is timed once
    # Numbers updated in one timing: several steps, so that what the way before left behind in caches and threads weighs
    # little, and many of a small network.
    work: int = 60_000_000
    repeats: int = 1  # steps of a large tensor in one timing, at least
    slow: int = 20_000_000  # above this size no foreach: many times slower, several copies of everything; and none replayed
    deep: int = 20_000_000  # above this size no k > 4: two optimizers of that many moments do not fit
    memory: int = 10_000_000  # numbers in the tensor whose step's memory is measured
    threads: int = 2
    device: str = "cpu"
    seed: int = 0

    def check(self) -> None:
        check_choice("device", self.device, ("cpu", "cuda"))


# A pass of a GPU through memory takes a fraction of a millisecond: one alone would be timed with the launch. Its memory is
# steadier than a processor's, and its time dear: fewer rounds.
GPU: Fields = {"device": "cuda", "repeats": 10, "rounds": 9}
SIZES = (10_000_000, 100_000_000, 1_000_000_000)

PROFILES = {
    "smoke": Config(sizes=(20_000,), ks=(1, 2), rounds=3, work=20_000, memory=20_000),
    "laptop": Config(),
    "paper": Config(sizes=SIZES, slow=100_000_000, deep=2_000_000_000, memory=100_000_000, **GPU),
}
