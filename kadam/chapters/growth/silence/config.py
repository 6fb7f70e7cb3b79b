"""What is run of silent gradients and the weights that they put at risk, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    # PyTorch's betas, the last inside the region. Outside of it updates of silent rows double every 3, 12 and 16 steps.
    betas: tuple[tuple[float, float], ...] = ((0.9, 0.5), (0.95, 0.8), (0.99, 0.9), (0.9, 0.95))
    steps: int = 6000
    skip: int = 500  # steps that are not counted: bias corrections fade, and the network leaves its start
    eta: float = 1e-4  # so small that a large update of a rare row does not wreck the network
    seeds: int = 5
    batch: int = 2  # windows of text a step
    context: int = 16  # characters a window
    width: int = 16
    layers: int = 1
    heads: int = 1
    dtype: str = "float64"
    device: str = "cpu"
    text: str = "real"  # "real", or "embedded" for the excerpt that ships with the package
    seed: int = 200  # of the first repetition; criteria were set, and exponents mended, after looks at seeds 0, 1, 100 to 104

    def check(self) -> None:
        require(0 <= self.skip < self.steps, f"skip must be at least 0 and below steps, {self.steps}, got {self.skip}")


PROFILES = {
    "smoke": Config(seeds=2, steps=300, skip=100, width=8, text="embedded"),
    "laptop": Config(seeds=2, steps=800, skip=200),
    # The reference: three minutes of one core.
    CPU: Config(),
    # A network and batches four times as large.
    "paper": Config(steps=10_000, seeds=8, batch=4, context=32, width=32, layers=2, device="cuda"),
}

DATA = "text"
