"""Questions on continuous time, and on what the region has to do with generalisation."""

from kadam.chapters.review.asked import Asked

CONTINUOUS = (
    Asked(
        ("1.a",),
        "May the higher derivatives of the moments be dropped?",
        "the error of the equation is then of the order of the learning rate; the measured orders are {D-3e}",
        "{prf:ref}`thm-order-one`, {prf:ref}`rem-after-start`, {numref}`fig-orders`",
        "For losses with four derivatives and first gradients that keep away from zero",
        by=("P3",),
    ),
    Asked(
        ("1.b",),
        "Does it matter that the gradient is taken at the end of a step, without a term in its slope?",
        "with the slope, and moments read half a step earlier, the equation is of second order ({D-3f}); on a transformer the "
        "paper's distance from Adam over its own is {D-3c}",
        "{prf:ref}`thm-order-two`, Eq. {eq}`eq-half-step-flow`, {numref}`fig-orders`",
        "Where first gradients crowd around zero the orders are these: {D-3h}",
        by=("Q3",),
    ),
    Asked(
        ("1.c", "3.8"),
        "Do continuous moments show anything that the discrete ones do not?",
        "for the bound and the region the discrete sums say more; for the path of training one equation stands for all small "
        "learning rates, and its accuracy is proven",
        "{prf:ref}`thm-discrete-boundary`, {prf:ref}`thm-order-two`, {numref}`fig-race`, Q17",
        "At the edge of stability every flow was as far from Adam as this: {D-3l}",
        word="it depends",
    ),
    Asked(
        ("3.9",),
        "Is the second-order equation equivalent to the three first-order ones of {cite:t}`barakat2021convergence`?",
        "it has four first-order variables, one more, and at fixed betas the two are apart by the order of the learning rate; "
        "they share the limit in which the memories last $1/\\eta$ steps",
        "{ref}`Neighbours <flow-neighbours>`, {numref}`fig-race`",
        "We compare with the limit's rates; of the paper of Barakat and Bianchi we read parts",
        word="no",
    ),
    Asked(
        ("3.10",),
        "Does the equation move when Adam's update is zero?",
        "it glides on by at most half of its last step, which dies out as $e^{-2s}$ after $s$ steps, and oscillates only for "
        "$2\\eta\\lambda > 1$; this is the half step by which a second-order equation lags behind",
        "[Continuous time](../continuous-time.md), [Scale invariance](../invariance.md)",
        "Adam itself stands still, but for its decay; the half-step flow has no such motion",
        word="yes",
    ),
    Asked(
        ("3.11a",),
        "Does the equation still follow Adam if all weights count, over longer times, and for several p?",
        "over all weights its error falls with the learning rate (orders {D-3e}), and solutions for several p agree ({GT-3b})",
        "{numref}`fig-trajectories-squares`, {numref}`fig-trajectories-noise`, {prf:ref}`prop-exponent`",
        "Over a fixed stretch of time; a long run at a large learning rate may part from it",
        by=("P3",),
    ),
    Asked(
        ("4.4",),
        "Is it consistent to drop second-order terms for the moments and to keep one for the weights?",
        "after the start both are right to second order, since the rates of the moments have the right mean age; at the start "
        "they are not, and this alone makes the equation one of first order",
        "{prf:ref}`rem-after-start`, {prf:ref}`thm-order-one`",
        "The start values of the paper's equation are our reading",
        word="it depends",
    ),
    Asked(
        ("1.j",),
        "Are the derivations rigorous?",
        "every statement of the book has its hypotheses, a proof, a function that carries it and a test that tries to refute "
        "it; the assumptions that could not be kept are replaced or marked",
        "[Theory](../theory.md), [What did not reproduce](../not-reproduced.md)",
        "This speaks of the derivations here; those of the paper were not at hand",
        word="yes",
    ),
)

SPEED = (
    Asked(
        ("3.16a",),
        "Does a pair deeper inside the region, of larger C, generalise better?",
        "along the paper's curve a larger C is faster at {GT-4a.held} of {GT-4a.of} targets; over all pairs C has its part in "
        "the variance of speed ({GT-4b}), and momentum alone tells speed better than C at {D-4l fixed.held} of {D-4l "
        "fixed.of}",
        "{numref}`fig-generalization-causes`, {numref}`fig-generalization-levels`, P4",
        "Short training of a small network at a constant learning rate, which favours a short memory; Q24 gives every pair a "
        "rate of its own",
        by=("Q4",),
    ),
)
