"""The rows of the ledger that the papers do not have: questions of reviewers and of ours, and checks of our machinery."""

from kadam.chapters.statements import of_every_strategy as _each
from kadam.report.rows import Row

# Two strategies once more, on a finer grid and more seeds.
CLOSELY, MATCHED_CLOSELY = (tuple(f"{id} {strategy}" for strategy in ("inverse_exp", "meta")) for id in ("D-7m", "D-7n"))

QUESTIONS = (
    Row(
        "Q1",
        "question",
        "Is there an exact bound, and an exact region, for the discrete algorithm?",
        ("D-1c", "D-1d", "D-1e", "D-1f", "D-2c", "D-2d", "GT-1b"),
        by=("D-1c", "D-1d", "D-1e", "D-1f", "D-2c", "D-2d"),
        yes="yes: bounded exactly where beta2 > beta1^2; {D-1c}, and one sequence attains the bound ({D-1d})",
        some="it depends: {held} of {of} cases hold",
        no="no: none of {of} cases holds",
        figure="fig-bounds",
        theory="theory.md",
    ),
    Row(
        "Q2",
        "question",
        "Do updates grow outside the region with fresh minibatches, too?",
        ("D-2e", "D-2f"),
        by=("D-2e",),
        yes="yes: {D-2e}; the slope is {D-2f}",
        some="it depends: {D-2e}; the slope is {D-2f}",
        no="no: {D-2e}",
        figure="fig-growth-slopes",
    ),
    Row(
        "Q3",
        "question",
        "Is the half-step flow closer to Adam than the paper's equation?",
        ("D-3c", "D-3d", "D-3f", "D-3g", "D-3h"),
        yes="yes: on a transformer {D-3c}",
        some="it depends: {held} of {of} cases; {D-3c}",
        no="no: {D-3c}",
        asked="Is the half-step flow closer?",
        figure="fig-orders",
        theory="continuous-time.md",
    ),
    Row(
        "Q4",
        "question",
        "Is it C that decides how fast a pair generalises?",
        ("GT-4b", "D-4e", "D-4i", "D-4j", "D-4l fixed", "D-4l tuned"),
        by=("GT-4b",),
        yes="yes: {GT-4b}",
        some="it depends: {GT-4b}",
        no="no: pairs of one C differ nearly as much as any two ({GT-4b}; 1 would be all of the variance of speed). "
        "The memory of momentum, gamma, tells speed better at "
        "{D-4l fixed.held} of {D-4l fixed.of} targets at one learning rate, and at {D-4l tuned.held} of {D-4l tuned.of} tuned",
        asked="Is C the cause of the speed?",
        figure="fig-generalization-causes",
    ),
    Row(
        "Q5",
        "question",
        "Is training outside the region always bad?",
        ("D-4f paper's, fixed", "D-4f paper's, tuned", "D-4f exact, fixed", "D-4f exact, tuned", "D-4g fixed", "D-4g tuned"),
        by=("D-4f paper's, fixed", "D-4f paper's, tuned", "D-4f exact, fixed", "D-4f exact, tuned"),
        yes="yes: {D-4f exact, fixed}",
        some="no, not always: outside the exact boundary {D-4f exact, fixed}; between it and the paper's {D-4g fixed}",
        no="no: {D-4f exact, fixed}",
        asked="Is training outside always bad?",
        figure="fig-generalization-unstable",
    ),
    Row(
        "Q6",
        "question",
        "Are equal betas as good as the best pair of the normal curve?",
        ("D-4h",),
        yes="yes: {D-4h}",
        some="it depends: {D-4h}",
        no="no: {D-4h}",
        figure="fig-generalization-plane",
    ),
    Row(
        "Q7",
        "question",
        "Does the norm law hold once its cross term is kept?",
        ("D-5c", "D-5d", "D-5e", "D-5j", "D-5k", "D-5m", "D-5n", "GT-5h"),
        by=("D-5c", "D-5d"),
        yes="yes: {D-5d}",
        some="it depends: growth, {D-5c}; the norm at the end, {D-5d}",
        no="no: {D-5d}",
        figure="fig-invariance-norms",
        theory="invariance.md",
    ),
    Row(
        "Q8",
        "question",
        "Does k = 2 beat Adam when both are tuned?",
        (*_each("D-6b"), *_each("D-7b"), *CLOSELY, "D-6j", "D-7d", "D-7h"),
        by=(*_each("D-6b"), *_each("D-7b"), *CLOSELY),
        yes="yes: in all {of} cases",
        some="it depends on the strategy and the search: ahead in {held} of {of} cases. On text, with optima read between "
        "rates a factor of two apart, meta leads in {D-7m meta.held} of {D-7m meta.of} settings and inverse_exp in "
        "{D-7m inverse_exp.held} of {D-7m inverse_exp.of}; on coarser grids nothing does. Of the best baseline k = 2 is "
        "ahead in {D-6j.held} of {D-6j.of} networks and {D-7h.held} of {D-7h.of} settings",
        no="no advantage found: it is ahead in {held} of {of} cases on images and text, and of the best baseline in "
        "{D-6j.held} of {D-6j.of} networks and {D-7h.held} of {D-7h.of} settings",
        asked="Does k = 2 beat a tuned Adam?",
        figure="fig-cifar-rates",
    ),
    Row(
        "Q9",
        "question",
        "Is the advantage of k = 2 at one learning rate one of longer steps?",
        ("D-6h", "D-7f", "D-6i", "D-7g", *_each("D-6c"), *_each("D-7c"), *MATCHED_CLOSELY, *_each("D-7a")),
        by=("D-6h", "D-7f"),
        yes="yes: at equal length of steps all {of} advantages are gone. On images: {D-6h}; on text: {D-7f}",
        some="it depends: {held} of {of} advantages are gone at equal length of steps",
        no="no: none of {of} advantages is gone at equal length of steps",
        figure="fig-cifar-sizes",
    ),
    Row(
        "Q10",
        "question",
        "Does 2-Adam give a network without normalisation what normalisation gives?",
        ("GT-5p", "GT-6g"),
        yes="yes: {GT-5p}; {GT-6g}",
        some="it depends: {GT-5p}; {GT-6g}",
        no="no: {GT-5p}; {GT-6g}",
        figure="fig-invariance-networks",
    ),
    Row(
        "Q11",
        "question",
        "Is a second stage as tolerant of the learning rate, and as free of spikes, as Adam?",
        ("D-7i", "D-7j"),
        yes="yes: {D-7i}; {D-7j}",
        some="it depends: {D-7i}; {D-7j}",
        no="no: {D-7i}; {D-7j}",
        figure="fig-language-basin",
    ),
    Row(
        "Q12",
        "question",
        "Are a network's weights within the box under AdamW?",
        ("XL-8q", "XL-8r", "D-8g", "D-8h", "D-8i", "D-8t", "D-8u", "D-8w"),
        by=("XL-8r",),
        yes="yes: {XL-8r}",
        some="it depends on the betas: {XL-8r}",
        no="no: {XL-8r}",
        figure="fig-box-network",
        theory="box.md",
    ),
    Row(
        "Q13",
        "question",
        "Has k-Adam the same box?",
        ("D-8j", "D-8k", "D-8v"),
        yes="yes: {D-8j}; in a network, {D-8v}",
        some="it depends: where runs settle, {D-8j}; in a network, {D-8v}",
        no="no: {D-8j}; in a network, {D-8v}",
        figure="fig-box-sizes",
        theory="box.md",
    ),
    Row(
        "Q14",
        "question",
        "Do the initial weights decide whether R_med separates the methods?",
        ("D-9c", "D-9d", "D-9e", "D-9h", "D-9i", "D-9k", "D-9l", "D-9m", "D-9n"),
        by=("D-9c", "D-9l", "D-9i"),
        yes="yes: in linear networks they say how much ({D-9l}), in real ones {D-9i}",
        some="it depends: {D-9l}; {D-9i}",
        no="no: {D-9l}; {D-9i}",
        figure="fig-geometry-laws",
        theory="geometry.md",
    ),
    Row(
        "Q15",
        "question",
        "Do four stages gain more on text than a shorter memory of momentum?",
        ("D-7p", "D-7q"),
        by=("D-7p",),
        yes="yes: 4-Adam meta is ahead of Adam with gamma 0.9, 0.7 and 0.5 in all {of} cases",
        some="no, not as a rule: 4-Adam meta is ahead of Adam in {held} of {of} cases of a gamma and a network; a shorter "
        "memory alone is ahead of gamma 0.9 in {D-7q.held} of {D-7q.of}",
        no="no: 4-Adam meta is ahead in none of {of} cases of a gamma and a network; a shorter memory alone is "
        "ahead of gamma 0.9 in {D-7q.held} of {D-7q.of}",
        figure="fig-language-memory",
    ),
    Row(
        "Q16",
        "question",
        "Does the steady ratio of gradient and weight know of momentum?",
        ("D-5q", "D-5r", "D-5s"),
        by=("D-5q", "D-5r"),
        yes="yes, and yet both formulas hold: without momentum {D-5q}; with the cross term {D-5r}",
        some="yes: the formula without momentum holds in {D-5q.held} of {D-5q.of} cases, the law with the cross term in "
        "{D-5r.held} of {D-5r.of}",
        no="no formula holds: without momentum {D-5q}; with the cross term {D-5r}",
        figure="fig-invariance-steady",
        theory="invariance.md",
    ),
)

_CHECKS = {
    ("GT-3b",): "The exponent p of the paper's time drops out",
    ("D-3i",): "The integrator's own error is negligible",
    ("D-4k",): "The range of learning rates of chapter 4 holds the best one",
    ("D-5f",): "The inner product of weight and momentum follows its recursion",
    ("D-6k",): "Every method's best learning rate on images lies inside the range searched",
    ("D-7k", "D-7o", "D-7r"): "Every method's best learning rate on text lies inside the range searched",
    ("D-7l",): "In training on text no update exceeds the bound of its last stage",
    ("D-8p",): "Frank and Wolfe's theorem bounds the loss at every step",
    ("D-9j",): "The estimate of R_med from random signs may be trusted",
    ("XL-8e",): "With learning rates of finite sum AdamW stops short of the box",
}
_GPU = Row(
    "C11", "check", "The CUDA step passes its tests on a GPU", (), unjudged="waits for a GPU, on which make gpu decides it"
)
_JUDGED = (Row(f"C{n}", "check", words, ids) for n, (ids, words) in enumerate(_CHECKS.items(), start=1))
CHECKS = (*_JUDGED, _GPU)
