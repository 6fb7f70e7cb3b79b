"""Questions on the experiments and figures, on related work, and on what is new."""

from kadam.chapters.review.asked import Asked

EXPERIMENTS = (
    Asked(
        ("1.d",),
        "Do the findings hold in longer training, of ten thousand steps?",
        "the box of chapter 8 is followed for so long, but the contests, the growth and the paths of the other chapters are a "
        "few hundred to a few thousand steps",
        "{numref}`fig-box-network`, [Reproducing](../reproducing.md)",
        "What helps late in a long training cannot show in a short one",
        word="open",
    ),
    Asked(
        ("1.e",),
        "Do they hold for larger networks, of 20 to 100 million weights, on more realistic text?",
        "film reviews are read besides Shakespeare, by networks of at most about a million weights; runs for a GPU are ready, "
        "and the ledger shows what has been done of them",
        "{numref}`fig-language-advantage`, [Reproducing](../reproducing.md)",
        "The theorems do not depend on size; what tuned methods gain may",
        word="open",
    ),
    Asked(
        ("3.11b", "3.15"),
        "Can the figures be read in order, with legends, and by colour-blind readers?",
        "lines and dots share one palette that was made for them, in which a colour means one thing; every figure has a "
        "caption, which says how to read it, and a text for those who do not see it",
        "{numref}`fig-trajectories-weights`, {numref}`fig-generalization-normal`",
        "The figures are ours; the paper's own were not at hand",
        word="yes",
    ),
    Asked(
        ("3.2",),
        "Are limits stated, and methods compared with others?",
        "each chapter says what would falsify it, one page lists what did not come out, and the theory pages what is known "
        "elsewhere",
        "[What did not reproduce](../not-reproduced.md), [Related work](../related.md)",
        "Limits that nobody has noticed are not among them",
        word="yes",
    ),
)

RELATED = (
    Asked(
        ("3.1",),
        "Is there other work on Adam in continuous time, with noise too?",
        "{cite:t}`malladi2022sdes` model the distribution over realisations of the noise by a stochastic equation; those here "
        "follow one realisation, on which the paper's distance from Adam over the half-step flow's is {D-3d}",
        "[Related work](../related.md), {numref}`fig-trajectories-noise`, {numref}`fig-race`",
        "No stochastic equation is run here",
        word="yes",
    ),
    Asked(
        ("3.3",),
        "Could the equation and the formula of the update be one contribution?",
        "moments and weights are one system, from which both are read",
        "Eq. {eq}`eq-paper-steps`, Eq. {eq}`eq-half-step-flow`",
        "A question of presentation, which the book follows",
        word="yes",
    ),
    Asked(
        ("4.1a",),
        "Was it known that the update is bounded, by the inequality of Cauchy and Schwarz?",
        "the condition and the bound inside of it stand in other works, in discrete time; to what we found the book adds that "
        "the bound is attained, the other side of the line and the gap to the paper's region",
        "[Related work](../related.md), {ref}`What is known elsewhere <what-is-known>`, {prf:ref}`thm-tight`",
        "We read abstracts and parts, seldom a full text, and claim no priority",
        word="yes",
    ),
    Asked(
        ("4.1b",),
        "Is there a tighter bound on the updates added up?",
        "the mean square of a weight's updates obeys one for its own gradients; in training, {XL-8s}",
        "{prf:ref}`thm-average`, {numref}`fig-box-averages`",
        "The bound that we test is our own derivation, since that of {cite:t}`xie2024implicit` was not at hand",
        by=("P14",),
    ),
    Asked(
        ("4.1c",),
        "Were continuous models of the moments known?",
        "several limits and corrected equations are; the half-step flow is set against two of them on the same paths, at "
        "small learning rates and at the edge of stability",
        "{ref}`Neighbours <flow-neighbours>`, {numref}`fig-race`, Q17",
        "Models whose equations we could not read are not in the race",
        word="yes",
    ),
    Asked(
        ("4.2",),
        "Is there a Lyapunov function here that gives each hyperparameter its part, as {cite:t}`chen2023lion` have for Lion?",
        "none is derived for Adam; what their analysis shares with this book is the box to which decay confines the weights",
        "{prf:ref}`thm-enforced-radius`, P10, [Related work](../related.md)",
        "So the book says where settled runs end and how large a step can be, and not that the loss falls",
        word="no",
    ),
)
