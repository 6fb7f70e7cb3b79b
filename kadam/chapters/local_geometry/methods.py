"""The methods of chapter 9, the networks on which they run, and which of them are compared."""

from collections.abc import Callable

from kadam.decay import Decay, stages

# The Adam family by its stages, from Adam's pair.
FAMILY: dict[str, Callable[[Decay], tuple[Decay, ...]]] = {
    "Adam": lambda decay: (decay,),
    "2-Adam": lambda decay: stages(decay, 2, "inverse_exp"),
    "4-Adam": lambda decay: stages(decay, 4, "inverse_exp"),
    "RMSprop": lambda decay: (Decay(beta=decay.beta, gamma=0.0),),
    "SignGD": lambda decay: (Decay(beta=0.0, gamma=0.0),),
}
METHODS = (*FAMILY, "SGD")  # the last is gradient descent with momentum

PAIR = ("Adam", "SGD")  # whose difference is looked at
RELATIVES = METHODS[1:-1]  # where do they lie, with Adam or with SGD?

NETWORKS = ("perceptron", "language", "images")  # that learn real data

# The middle of each method's grid of learning rates, from runs on seeds 0 and 1, and the grid in multiples of it.
BASES = {"Adam": 3e-2, "2-Adam": 1e-2, "4-Adam": 1e-2, "RMSprop": 3e-2, "SignGD": 1e-2, "SGD": 0.3}
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)


def rates(method: str) -> list[float]:
    """The grid of a method's learning rates, the smallest first."""
    return [BASES[method] * factor for factor in FACTORS]
