"""The pairs of decay rates that chapter 8 compares; in (beta, gamma), PyTorch's betas in the other order."""

from kadam.decay import Decay, stages

SIGNS = Decay(beta=0.0, gamma=0.0)  # SignGD
EQUAL = Decay(beta=0.95, gamma=0.95)
SHORT = Decay(beta=0.99, gamma=0.9)
ADAM = Decay(beta=0.999, gamma=0.9)
ABOVE = Decay(beta=0.93, gamma=0.95)  # gamma > beta
UNSTABLE = Decay(beta=0.95, gamma=0.99)  # gamma^2 > beta

NETWORK: dict[str, tuple[Decay, ...]] = {  # what trains the network, by its stages
    "equal": (EQUAL,),
    "short": (SHORT,),
    "Adam": (ADAM,),
    "above": (ABOVE,),
    "unstable": (UNSTABLE,),
    "2-Adam": stages(ADAM, 2, "inverse_exp"),
}

ENDS = {"equal": "equal decays", "2-Adam": "2-Adam", "Adam": "the default pair"}  # told beside each other
