"""What the experiments on how fast networks train call their loops and their parts, and the strategy whose k they vary."""

LOOPS = ("ours", "plain")
PARTS = ("data", "forward", "backward", "optimizer")
STRATEGY = "inverse_exp"  # all strategies do the same work but meta, whose later stages have no momentum
