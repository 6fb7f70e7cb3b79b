"""What is claimed of box, and how a record decides it."""

import functools

import numpy as np
import xarray as xr

from kadam.report.ledger import Finding, Test, passes, passes_for

WITHIN = ("SignGD", "equal", "Adam")  # one stage, gamma <= beta
STAGED = ("2-Adam inverse_exp", "2-Adam meta", "unstable, then equal")  # two, the last with gamma <= beta
DIVERGENT = ("1/n", "1/sqrt(n)")

# A run has settled if in its last half no weight goes further than STILL, and is then judged to within NEAR; in radii 1/lambda.
STILL, NEAR = 0.01, 0.02


def _settled(dataset: xr.Dataset, settings: tuple[str, ...]) -> tuple[xr.Dataset, xr.DataArray]:
    """The last values of these settings under divergent sums, and which of the runs have settled."""
    runs = dataset.isel(kept=-1).sel(setting=list(settings), schedule=list(DIVERGENT))
    return runs, runs.settled <= STILL


def _of_settled(dataset: xr.Dataset, *, settings: tuple[str, ...], value: str, limit: float) -> Finding:
    """Whether a value stays within a limit in all settled runs; nothing is said where fewer than a quarter have settled."""
    runs, settled = _settled(dataset, settings)
    count = int(settled.sum())
    kept = f"{count} of {settled.size} runs have settled"
    if count < settled.size / 4:
        return kept, "not run at this profile"
    values = runs[value].where(settled)
    words = f"{value.replace('_', ' ')} at most {float(values.max()):.2g}"
    return f"{kept}; {words}", passes_for(float((values <= limit).sum()) / count)


def _control_fails(dataset: xr.Dataset) -> Finding:
    runs = dataset.isel(kept=-1).sel(schedule="summable", setting=[*WITHIN, *STAGED])
    cannot = runs.reach < 1
    settings, stopped = int(cannot.sum()), bool((runs.settled <= STILL).where(cannot, True).all())
    nearest = float(runs.distance.where(cannot).min())
    measured = f"{settings} settings that cannot reach the boundary: all have settled {stopped}, nearest {nearest:.2f}"
    return measured, passes(settings > 0 and stopped and nearest > NEAR)


def _radius_holds(dataset: xr.Dataset) -> Finding:
    stable = dataset.drop_sel(setting="L2").where(np.isfinite(dataset.radius))
    share = float((stable.largest / stable.radius).max())
    equal = float(dataset.largest.sel(setting=["SignGD", "equal"]).max())
    measured = f"largest weight over the radius {share:.3f}; at gamma = beta {equal:.6f} of the box"
    return measured, passes(share <= 1 + 1e-12 and equal <= 1 + 1e-12)


def _above_leaves_on_the_way(dataset: xr.Dataset) -> Finding:
    runs, settled = _settled(dataset, ("above",))
    way, end = float(runs.largest.max()), float(runs.distance.where(settled).max())
    count = int(settled.sum())
    measured = f"largest weight on the way {way:.3f}; {count} of {settled.size} runs have settled, distance at most {end:.1e}"
    if not count:
        return measured, "not run at this profile"
    return measured, passes(way > 1 + STILL and end <= NEAR)


def _unstable_leaves(dataset: xr.Dataset) -> Finding:
    runs, settled = _settled(dataset, ("unstable",))
    way = float(runs.largest.min())
    measured = f"largest weight on the way at least {way:.2f} in every run; {int(settled.sum())} of {settled.size} have settled"
    return measured, passes(way > 1 + STILL and not bool(settled.any()))


def _last_stage_decides(dataset: xr.Dataset) -> Finding:
    runs, _ = _settled(dataset, ("unstable, then equal", "equal, then unstable"))
    first, last = (float(runs.largest.sel(setting=setting).max()) for setting in runs.setting.values)
    measured = f"largest weight {first:.6f} with the unstable stage first, {last:.2f} with it last"
    return measured, passes(first <= 1 + 1e-12 and last > 1 + STILL)


def _regularised_ends_elsewhere(dataset: xr.Dataset) -> Finding:
    runs, settled = _settled(dataset, ("L2",))
    ridge, box = float(runs.ridge_distance.where(settled).max()), float(runs.distance.where(settled).min())
    measured = (
        f"{int(settled.sum())} of {settled.size} runs have settled: {ridge:.1e} from its own minimum, {box:.2f} from the box's"
    )
    return measured, passes(bool(settled.all()) and ridge <= NEAR and box > 10 * NEAR)


XL = "[X&L] abstract, as we read it"
HERE = "derived here: The box"
SETTLED = f"of runs whose weights go no further than {STILL} of the box's radius in the last half"

TESTS = [
    Test(
        "XL-8b",
        XL,
        "AdamW with gamma <= beta and rates of divergent sum, if it converges, ends at the minimum within the box",
        f"{SETTLED} all are within {NEAR} of scipy's bounded minimum; three quarters: partly",
        functools.partial(_of_settled, settings=WITHIN, value="distance", limit=NEAR),
    ),
    Test(
        "XL-8c",
        XL,
        "Weights that the box holds back end at +-1/lambda",
        f"{SETTLED} all such weights are within {STILL} of the boundary",
        functools.partial(_of_settled, settings=WITHIN, value="active_gap", limit=STILL),
    ),
    Test(
        "XL-8d",
        XL,
        "The Frank-Wolfe gap vanishes",
        f"{SETTLED} all have a gap of at most 1e-3 of the first",
        functools.partial(_of_settled, settings=WITHIN, value="relative_gap", limit=1e-3),
    ),
    Test(
        "XL-8e",
        "control, chosen so that it must fail",
        "With learning rates of finite sum it may stop anywhere",
        f"where the rates cannot carry a weight to the boundary, runs settle further than {NEAR} from the bounded minimum",
        _control_fails,
    ),
    Test(
        "XL-8f",
        XL,
        "With gamma <= beta the weights end within the box",
        f"{SETTLED} none has a weight above {1 + STILL} radii",
        functools.partial(_of_settled, settings=WITHIN, value="size", limit=1 + STILL),
    ),
    Test(
        "D-8g",
        f"{HERE}, the radius that decay enforces",
        "No weight ever leaves the radius of the max-update bound, which is 1/lambda exactly where gamma = beta",
        "no run that starts at zero exceeds it, at any step, in any stable setting; nor the box at gamma = beta",
        _radius_holds,
    ),
    Test(
        "D-8h",
        "asked here: chapter 8",
        "With gamma a little above beta the box is left on the way, and the end is the same",
        f"largest weight above {1 + STILL} in some run; settled runs within {NEAR} of the bounded minimum",
        _above_leaves_on_the_way,
    ),
    Test(
        "D-8i",
        "asked here: chapter 8",
        "Outside of the stable region every run leaves the box, and none settles",
        f"largest weight above {1 + STILL} in every run of divergent sum, none of which settles",
        _unstable_leaves,
    ),
    Test(
        "D-8j",
        f"{HERE}, k-Adam",
        "k-Adam has the same box, if the last stage has gamma <= beta",
        f"{SETTLED} with two stages, all are within {NEAR} of the bounded minimum",
        functools.partial(_of_settled, settings=STAGED, value="distance", limit=NEAR),
    ),
    Test(
        "D-8k",
        f"{HERE}, k-Adam",
        "Only the last stage decides whether k-Adam's weights may leave the box",
        "an unstable stage before one with gamma = beta: never outside; the other way round: outside in some run",
        _last_stage_decides,
    ),
    Test(
        "XL-8l",
        XL,
        "Adam with L2 regularisation ends somewhere else: at the minimum of the regularised loss",
        f"all runs settle, within {NEAR} of that minimum and further than {10 * NEAR} from the bounded one",
        _regularised_ends_elsewhere,
    ),
]
