"""What race runs, at which profile."""

from dataclasses import dataclass

from kadam.lab.records.profiles import CPU, Checked, require

# The cases: a problem and a learning rate. SMALL are those in which theory promises closeness, EDGE is where it promises none.
SMALL = ("quadratic", "network, default betas", "network")
EDGE = "network at the edge"
CASES = (*SMALL, EDGE)


@dataclass(frozen=True)
class Config(Checked):
    """What this experiment is made of; the defaults are profile cpu."""

    default_beta: float = 0.999
    beta: float = 0.99  # with a shorter memory the network reaches the edge of stability within the run
    gamma: float = 0.9
    substeps: tuple[int, ...] = (1, 2, 4, 8)  # of the integrator, a step
    small_eta: float = 1e-3
    small_steps: int = 200
    edge_eta: float = 0.016
    edge_steps: int = 600
    seeds: int = 5  # problems; their errors are averaged geometrically
    seed: int = 10  # the learning rate of the edge was chosen on seed 0, by the curvature along Adam's path

    def check(self) -> None:
        require(0 < self.beta < 1 and 0 < self.gamma < 1, f"beta and gamma must lie in (0, 1), got {self.beta}, {self.gamma}")


PROFILES = {
    "smoke": Config(substeps=(1, 2), small_steps=20, edge_steps=30, seeds=1),
    "laptop": Config(substeps=(1, 2, 4), seeds=1),
    CPU: Config(),  # the reference: three minutes of one core
    "paper": Config(seeds=20),
}
