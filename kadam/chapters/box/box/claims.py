"""What is claimed of box, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.report.ledger import LOOK, NOT_JUDGED, Claims, Criterion, Finding, judged, limited

WITHIN = ("SignGD", "equal", "Adam")  # one stage, gamma <= beta
STAGED = ("2-Adam inverse_exp", "2-Adam meta", "unstable, then equal")  # two, the last with gamma <= beta
DIVERGENT = ("1/n", "1/sqrt(n)")

# In radii of the box, 1/lambda: a run has settled if in its last half no weight goes further than STILL, and is then judged
# to within NEAR. A weight above OUTSIDE is outside.
STILL, NEAR = 0.01, 0.02
OUTSIDE = 1 + STILL
ROUNDING = 1e-12
TOO_FEW = 0.25  # where a smaller share of the runs has settled nothing is said of them


def _ends(dataset: xr.Dataset, *settings: str) -> tuple[xr.Dataset, xr.DataArray, str]:
    """The last values of these settings under divergent sums, which of the runs have settled, and that in words."""
    runs = dataset.isel(kept=-1).sel(setting=list(settings), schedule=list(DIVERGENT))
    still = runs.settled <= STILL
    return runs, still, f"{int(still.sum())} of {still.size} runs have settled"


def _of_settled(dataset: xr.Dataset, *, settings: tuple[str, ...], value: str, most: float) -> Finding:
    """Whether a value stays within a limit in all settled runs."""
    runs, still, words = _ends(dataset, *settings)
    if float(still.mean()) < TOO_FEW:
        return words, NOT_JUDGED
    values = runs[value].where(still)
    measured = f"{words}; {value.replace('_', ' ')} at most {float(values.max()):.2g}"
    return measured, limited(runs[value], most=most, where=still)


def _control_fails(dataset: xr.Dataset, *, least: float) -> Finding:
    runs = dataset.isel(kept=-1).sel(schedule="summable", setting=[*WITHIN, *STAGED])
    cannot = runs.reach < 1
    settings, stopped = int(cannot.sum()), bool((runs.settled <= STILL).where(cannot, True).all())
    nearest = float(runs.distance.where(cannot).min())
    measured = f"{settings} settings that cannot reach the boundary: all have settled {stopped}, nearest {nearest:.2f}"
    return measured, judged(settings > 0 and stopped and nearest > least)


def _radius_holds(dataset: xr.Dataset) -> Finding:
    stable = dataset.drop_sel(setting="L2").where(np.isfinite(dataset.radius))
    share = float((stable.largest / stable.radius).max())
    equal = float(dataset.largest.sel(setting=["SignGD", "equal"]).max())
    measured = f"largest weight over the radius {share:.3f}; at gamma = beta {equal:.6f} of the box"
    return measured, limited(max(share, equal), most=1 + ROUNDING)


def _above_leaves_on_the_way(dataset: xr.Dataset, *, least: float, most: float) -> Finding:
    runs, still, words = _ends(dataset, "above")
    way, end = float(runs.largest.max()), float(runs.distance.where(still).max())
    measured = f"largest weight on the way {way:.3f}; {words}, distance at most {end:.1e}"
    return measured, judged(way > least and end <= most) if still.any() else NOT_JUDGED


def _unstable_leaves(dataset: xr.Dataset, *, least: float) -> Finding:
    runs, still, words = _ends(dataset, "unstable")
    way = float(runs.largest.min())
    measured = f"largest weight on the way at least {way:.2f}; {words}"
    return measured, judged(bool(way > least and not still.any()))


def _last_stage_decides(dataset: xr.Dataset) -> Finding:
    first, last = (float(_ends(dataset, name)[0].largest.max()) for name in ("unstable, then equal", "equal, then unstable"))
    measured = f"largest weight {first:.6f} with the unstable stage first, {last:.2f} with it last"
    return measured, judged(first <= 1 + ROUNDING and last > OUTSIDE)


def _regularised_ends_elsewhere(dataset: xr.Dataset, *, most: float, least: float) -> Finding:
    runs, still, words = _ends(dataset, "L2")
    ridge, box = float(runs.ridge_distance.where(still).max()), float(runs.distance.where(still).min())
    measured = f"{words}: {ridge:.1e} from its own minimum, {box:.2f} from the box's"
    return measured, judged(bool(still.all()) and ridge <= most and box > least)


XL = "[X&L] abstract, as we read it"
HERE = "derived here: The box"
SETTLED = f"of runs whose weights go no further than {STILL} of the box's radius in the last half"
LEAVES = "largest weight above {least} in some run; settled runs within {most} of the bounded minimum"
ELSEWHERE = "all runs settle, within {most} of that minimum and further than {least} from the bounded one"

TESTS: Claims = {
    ("XL-8b", XL): (
        "AdamW with gamma <= beta and rates of divergent sum, if it converges, ends at the minimum within the box",
        Criterion(f"{SETTLED} all are within {{most}} of scipy's bounded minimum", most=NEAR, when=LOOK),
        functools.partial(_of_settled, settings=WITHIN, value="distance"),
    ),
    ("XL-8c", XL): (
        "Weights that the box holds back end at +-1/lambda",
        Criterion(f"{SETTLED} all such weights are within {{most}} of the boundary", most=STILL, when=LOOK),
        functools.partial(_of_settled, settings=WITHIN, value="active_gap"),
    ),
    ("XL-8d", XL): (
        "The Frank-Wolfe gap vanishes",
        Criterion(f"{SETTLED} all have a gap of at most {{most}} of the first", most=1e-3),
        functools.partial(_of_settled, settings=WITHIN, value="relative_gap"),
    ),
    ("XL-8e", "control, chosen so that it must fail"): (
        "With learning rates of finite sum it may stop anywhere",
        Criterion(
            "rates that cannot reach the boundary: runs settle further than {least} from the bounded minimum", least=NEAR
        ),
        _control_fails,
    ),
    ("XL-8f", XL): (
        "With gamma <= beta the weights end within the box",
        Criterion(f"{SETTLED} none has a weight above {{most}} radii", most=OUTSIDE),
        functools.partial(_of_settled, settings=WITHIN, value="size"),
    ),
    ("D-8g", f"{HERE}, the radius that decay enforces"): (
        "No weight ever leaves the radius of the max-update bound, which is 1/lambda exactly where gamma = beta",
        "no run that starts at zero exceeds it, at any step, in any stable setting; nor the box at gamma = beta",
        _radius_holds,
    ),
    ("D-8h", "asked here: chapter 8"): (
        "With gamma a little above beta the box is left on the way, and the end is the same",
        Criterion(LEAVES, least=OUTSIDE, most=NEAR),
        _above_leaves_on_the_way,
    ),
    ("D-8i", "asked here: chapter 8"): (
        "Outside of the stable region every run leaves the box, and none settles",
        Criterion("largest weight above {least} in every run of divergent sum, none of which settles", least=OUTSIDE),
        _unstable_leaves,
    ),
    ("D-8j", f"{HERE}, k-Adam"): (
        "k-Adam has the same box, if the last stage has gamma <= beta",
        Criterion(f"{SETTLED} with two stages, all are within {{most}} of the bounded minimum", most=NEAR),
        functools.partial(_of_settled, settings=STAGED, value="distance"),
    ),
    ("D-8k", f"{HERE}, k-Adam"): (
        "Only the last stage decides whether k-Adam's weights may leave the box",
        "an unstable stage before one with gamma = beta: never outside; the other way round: outside in some run",
        _last_stage_decides,
    ),
    ("XL-8l", XL): (
        "Adam with L2 regularisation ends somewhere else: at the minimum of the regularised loss",
        Criterion(ELSEWHERE, most=NEAR, least=10 * NEAR),
        _regularised_ends_elsewhere,
    ),
}
