"""Questions on the bound and the region: how sharp, under which noise, learning rate and weight decay."""

from kadam.chapters.review.asked import Asked

BOUND = (
    Asked(
        ("2.d",),
        "Is the bound on the update tight, and is there a lower bound?",
        "the exact bound of the algorithm is attained, so it is its own lower bound ({D-1d}); the paper's expression, taken "
        "as a bound on the algorithm, is {GT-1b}",
        "{prf:ref}`thm-discrete-bound`, {prf:ref}`thm-tight`, {prf:ref}`prop-early`, {numref}`fig-bounds`",
        "The gradients that attain it are those of an adversary; with noise updates are [much smaller](../typical.md)",
        by=("Q1",),
    ),
    Asked(
        ("3.4c", "3.12"),
        "Are RMSprop and SignSGD covered, and can momentum make a stable RMSprop unstable?",
        "at `beta2 = 0.999` RMSprop's update is at most {rmsprop bound} learning rates and SignSGD's {sign bound}; momentum "
        "raises RMSprop's worst case exactly outside of the paper's region, because it can outlive the second moment that "
        "divides it",
        "{prf:ref}`prop-rmsprop`, {prf:ref}`cor-silent-gradient`, {prf:ref}`rem-edge`, {numref}`fig-region`",
        "This is the worst case; of noise momentum makes the update smaller, {white} in root mean square at `beta1 = 0.9`",
        word="yes",
    ),
    Asked(
        ("3.14b",),
        "Was continuous time needed for the bound?",
        "the inequality of Cauchy and Schwarz on the discrete sums gives a sharp bound, which no run exceeds ({D-1c}); the "
        "paper's narrower region comes from the two rates of its model, not from continuity",
        "{prf:ref}`thm-discrete-bound`, {prf:ref}`thm-exact-rates`",
        "What continuous time gives besides is the path, which is the subject of chapter 3",
        by=("Q1",),
        against=True,
    ),
    Asked(
        ("3.4a", "3.16b"),
        "Does the region tell a practitioner how to choose the betas?",
        "it warns of pairs, such as swapped betas or a raised `beta1` without a raised `beta2`, but it does not rank those "
        "inside, where the pairs that people use lie",
        "{numref}`fig-region`, [Safe betas](../safe-betas.md), Q4",
        "A pair outside may be safe for every weight with a gradient in enough of the steps, at "
        "`betas=(0.99, 0.9)` in more than {activity}",
        word="it depends",
    ),
    Asked(
        ("3.4b",),
        "Is training outside of the region always bad, when loss spikes are so often survived?",
        "outside of the exact boundary {D-4f exact, fixed}; between it and the paper's {D-4g fixed}",
        "{numref}`fig-generalization-unstable`, {numref}`fig-watching-causes`, {prf:ref}`thm-capped`",
        "The runs are short and the networks small; a longer run gives silence more time",
        by=("Q5",),
    ),
)

NOISE = (
    Asked(
        ("3.14a",),
        "Does the bound need gradients without noise?",
        "nothing is assumed of the gradients, so noise is included ({D-1c}, random and adversarial ones)",
        "{prf:ref}`thm-discrete-bound`, {numref}`fig-runs`",
        "A bound for every sequence says nothing of the usual size of an update",
        by=("Q1",),
        against=True,
    ),
    Asked(
        ("3.5c",),
        "Can noise shrink the region?",
        "no noise takes an update above its pair's bound ({D-1h}), and independent gradients widen the region, to $\\beta > "
        "p_0\\gamma^2$ where a gradient vanishes with probability $p_0$",
        "{prf:ref}`prop-region-unmoved`, {prf:ref}`thm-independent`, {prf:ref}`thm-random-signs`, {numref}`fig-quadratics`",
        "Noise that depends on the past is covered by the worst case alone",
        by=("Q18",),
        against=True,
    ),
    Asked(
        ("3.19",),
        "Does the analysis carry over to stochastic gradients?",
        "of independent gradients only weights grow that are silent in more than $\\beta/\\gamma^2$ of the steps, and on "
        "fresh minibatches this sorts the rows of an embedding rightly in {D-2g}",
        "{prf:ref}`thm-independent`, {prf:ref}`thm-tail`, {numref}`fig-growth-silence`, {numref}`fig-growth-slopes`, Q2",
        "Independence is an idealisation: a learning rate must be small for weights not to move the gradients",
        by=("Q16",),
    ),
)

RATES = (
    Asked(
        ("3.5b",),
        "Does the region widen as the learning rate falls, as a map of many small runs on a quadratic showed?",
        "the pairs whose updates grow are the same at every learning rate ({D-1g.held} of {D-1g.of} cases agree); what widens "
        "is a map of the loss after so many steps, which shows the boundary in {D-1j.held} of {D-1j.of} maps",
        "{prf:ref}`thm-scaling`, {prf:ref}`cor-loss-map`, {numref}`fig-quadratics`, Q19",
        "Shown by runs on quadratics; that the bound has no learning rate in it holds on every loss",
        by=("Q18",),
        against=True,
    ),
    Asked(
        ("3.13",),
        "Is the bound independent of the learning rate and of the exponent p?",
        "at no learning rate is it exceeded ({D-1h}), and p only names the unit of time ({GT-3b})",
        "{prf:ref}`prop-region-unmoved`, {prf:ref}`prop-exponent`, {numref}`fig-quadratics`, C1",
        "The bound is on the update in units of the learning rate; the step itself is that times the learning rate",
        by=("Q18",),
    ),
    Asked(
        ("3.5a",),
        "Is a pair outside always bad even with its own best learning rate?",
        "with tuned rates {D-4f exact, tuned}; at one rate for all {D-4f exact, fixed}",
        "{numref}`fig-generalization-unstable`",
        "The rates that were tried are a factor of three apart",
        by=("Q5",),
    ),
    Asked(
        ("3.5d",),
        "Does weight decay change the region?",
        "decoupled decay moves the parameter and not the moments, and with it the same pairs grow ({D-1g.held} of {D-1g.of} "
        "cases agree)",
        "{prf:ref}`prop-region-unmoved`, {prf:ref}`thm-enforced-radius`, {numref}`fig-quadratics`",
        "Decay that is added to the gradient keeps it from falling silent, which hides growth",
        by=("Q18",),
        against=True,
    ),
)
