"""Questions on scale-invariant weights, and on k-Adam."""

from kadam.chapters.review.asked import Asked

INVARIANCE = (
    Asked(
        ("1.g", "3.6", "3.17"),
        "What is the message on normalisation: do weights before it train as under a second Adam?",
        "the step is divided by the norm, which remembers earlier updates, and directions follow this in {D-5n.held} of "
        "{D-5n.of} cases; a second Adam, entry by entry, in {GT-5l.held} of {GT-5l.of}",
        "{prf:ref}`thm-norm-law`, {numref}`fig-invariance-directions`",
        "The constants of the paper's second Adam are our reading",
        by=("P7",),
    ),
    Asked(
        ("1.h",),
        "Does it matter that the squared norm is a moving average of the squared update?",
        "the norm follows the history of the update in {GT-5i.held} of {GT-5i.of} cases (in log |W|^2: {GT-5i}), and it grows "
        "as fast as the paper says in {GT-5a.held} of {GT-5a.of}",
        "{prf:ref}`cor-equilibrium`, {numref}`fig-invariance-histories`, {numref}`fig-invariance-angles`",
        "The law with the cross term needs second moments that are nearly equal within the weight",
        by=("P6",),
    ),
    Asked(
        ("1.f",),
        "Can Eq. 7 of the submission be derived?",
        "we have not seen its text, so we do not know which equation this is; the law of the norm and the normal curve, which "
        "it may be, are derived here",
        "{prf:ref}`thm-norm-law`, {prf:ref}`prop-normal-curve`",
        "A reader with the submission can tell",
        word="open",
    ),
    Asked(
        ("1.i",),
        "May the second derivative be dropped in the equation of the norm?",
        "it is of one order in the learning rate higher than what is kept, and the identity in discrete time, "
        "which is exact, has no such term; the term that may not be dropped is the product of weight and update",
        "Eq. {eq}`eq-norm-flow`, Eq. {eq}`eq-norm-identity`, {prf:ref}`thm-norm-law`",
        "That the term in question is that of the squared norm is our reading",
        word="yes",
    ),
    Asked(
        ("2.a",),
        "Does assumption A1 hold in practice, that a weight is orthogonal to its gradients?",
        "before a normalisation layer it is exactly so to the newest gradient, and else as far as this: {GT-5b}",
        "Eq. {eq}`eq-orthogonal`, {numref}`fig-invariance-orthogonality`",
        "True of angles, which is not enough for the norm: see the next question",
        by=("GT-5b",),
    ),
    Asked(
        ("4.3a",),
        "Is the term that A1 drops negligible?",
        "it has a bound, but one of the order of the term that is kept: at `beta1 = 0.9` it is {dropped} times as large, if "
        "the update keeps its size; {GT-5a}",
        "{prf:ref}`cor-cross-bound`, {prf:ref}`cor-factor`, {numref}`fig-invariance-growth`",
        "The bound is for one second moment per weight, which never falls",
        by=("GT-5a",),
    ),
    Asked(
        ("2.b",),
        "May one second moment stand for all of a weight's, as assumption A2 says?",
        "for the norm in {GT-5g.held} of {GT-5g.of} cases, for the direction in {GT-5o.held} of {GT-5o.of}",
        "{prf:ref}`prop-parts`, {prf:ref}`prop-own-metric`, {numref}`fig-invariance-causes`",
        "Where updates nearly vanish, unequal second moments weigh more in the norm",
        by=("GT-5g", "GT-5o"),
    ),
    Asked(
        ("4.3b",),
        "Does anything distinguish Adam from gradient descent with momentum under A2?",
        "if the one second moment stands still nothing does, and the law of the norm is then one on gradient descent with "
        "momentum; if it changes, one learning rate for the whole weight is left",
        "{prf:ref}`thm-norm-law`, [Scale invariance](../invariance.md), {numref}`fig-invariance-steady`",
        "What is special in Adam, one second moment per entry, shows in the direction",
        word="it depends",
    ),
    Asked(
        ("4.3c",),
        "Does the speed of a weight equal the size of its update, when Adam belongs to the largest-entry norm?",
        "over one step it does in every norm, by definition; over many steps the way is as long as the updates only where "
        "they do not turn, in either norm",
        "{numref}`fig-invariance-orthogonality`, {numref}`fig-box-norms`, P13",
        "The law of the norm is Euclidean because orthogonality is; what l_inf decides is the box of chapter 8",
        word="it depends",
    ),
)

STAGES = (
    Asked(
        ("3.7",),
        "Has k-Adam an advantage over Adam once both are tuned?",
        "k = 2 is ahead in {Q8.held} of {Q8.of} cases; on text, with optima read between close rates, `meta` in {D-7m "
        "meta.held} of {D-7m meta.of} settings and `inverse_exp` in {D-7m inverse_exp.held} of {D-7m inverse_exp.of}; with all "
        "of Adam's knobs tuned at equal budget, k = 2 in {Q26.held} of {Q26.of} cases",
        "{numref}`fig-cifar-rates`, {numref}`fig-language-optima`, {numref}`fig-language-budget`, {prf:ref}`thm-last-stage`",
        "Short training of small networks; Q15 and Q27 set a shorter memory of momentum beside it",
        by=("Q8",),
    ),
    Asked(
        ("3.18a",),
        "Is k-Adam more than Adam with longer steps?",
        "at equal length of steps {Q9.held} of {Q9.of} of its advantages at one learning rate are gone",
        "{numref}`fig-cifar-sizes`, {numref}`fig-language-advantage`",
        "The length is matched on average over a run, not at every step",
        by=("Q9",),
        against=True,
    ),
    Asked(
        ("3.18b",),
        "Is the reason for k-Adam sound: does 2-Adam give a network without normalisation what normalisation gives?",
        "on a convolutional network on images, {GT-6g}; in chapter 5's, {GT-5p}",
        "{numref}`fig-invariance-networks`",
        "Two small networks; `meta`, whose second stage has no momentum, stands for the paper's 2-Adam",
        by=("Q10",),
    ),
    Asked(
        ("2.c", "3.18c"),
        "Does k-Adam win on more than one task, against strong rivals?",
        "of the best tuned baseline k = 2 is ahead in {D-6j.held} of {D-6j.of} networks on images and {D-7h.held} of "
        "{D-7h.of} settings on text",
        "{numref}`fig-cifar-ranking`, {numref}`fig-language-ranking`",
        "None of the tasks that are drawn here is of today's size",
        by=("D-6j", "D-7h"),
    ),
)
