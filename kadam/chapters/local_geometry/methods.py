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
