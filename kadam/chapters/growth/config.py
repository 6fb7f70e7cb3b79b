"""What is run of growth outside the region, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require


@dataclass(frozen=True)
class Config(Checked):
    """What a growth run is made of; the defaults are profile cpu."""

    points: int = 64  # pairs (beta, gamma) along the normal curve through Adam's default, as in [G&T, Fig. 2]
    seeds: int = 8  # weights and batches, repeated
    # Points that train together, the unit of work that processes share and checkpoints keep: of one seed, or where this is a
    # multiple of ``points``, all of several seeds.
    chunk: int = 32
    eps_every: int = 4  # with PyTorch's eps only every so many points, and only the first seed
    steps: int = 500  # iterations, as in [G&T, Fig. 2]
    eta: float = 1e-3  # learning rate
    batch: int = 4  # windows of text a step
    context: int = 16  # characters a window
    width: int = 32
    layers: int = 2
    heads: int = 1  # one head keeps the sweep a tenth faster
    dtype: str = "float32"
    device: str = "cpu"
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 100  # of the first repetition; criteria were set after a look at seeds 0 to 2

    def check(self) -> None:
        require(self.steps >= 10, f"steps must be at least 10 for a slope to be fitted, got {self.steps}")


# Slopes are read at this iteration, as in [G&T, Fig. 2], however much longer a run is. So these are the fewest iterations with
# which the claims still mean something: the window before it holds one e-fold of the rates that the figure shows.
LEAST = 500

# The share of the iterations up to there, counted from their end, over which the slope of log max|u| is fitted. A rate counts
# as growth where it makes a factor e within that window (attribute ``one_e_fold``).
FIT_SHARE = 0.4


def fit_window(steps: int) -> range:
    """The iterations of a run of so many steps over which slopes are fitted."""
    end = min(steps, LEAST)
    return range(end - round(FIT_SHARE * end), end)


PROFILES = {
    "smoke": Config(points=12, seeds=2, eps_every=4, steps=120, width=8, layers=1, dtype="float64", text="embedded"),
    "laptop": Config(points=12, seeds=2, chunk=12, steps=300),
    # The reference: a quarter of an hour of one core.
    CPU: Config(),
    # A network four times as large, and all pairs with all seeds of a setting in one ensemble; where there is time, three
    # times the iterations show what becomes of the growth.
    "paper": Config(chunk=512, eps_every=1, steps=3 * LEAST, batch=16, context=32, width=64, device="cuda"),
}

DATA = "text"
