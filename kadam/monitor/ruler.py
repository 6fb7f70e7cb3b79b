"""What is said of each layer: measured numbers, and beside them what theory says they should be."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kadam.monitor.packet import ADDED, F
from kadam.monitor.reading import Kind
from kadam.theory import invariance, stability

Array = NDArray[np.float64]

MEASURED = {
    "update_rms": "root mean square of u, in learning rates",
    "update_max": "largest |u|",
    "above_one": "share of weights with |u| > 1",
    "silent": "share of weights whose gradient is zero",
    "rows_at_risk": "share of rows silent in more steps than independent gradients allow",
    "update_to_weight": "lr |u| over |weight|",
    "turn": "angle between the weights before and after, in radians",
    "outside_box": "share of weights larger than 1 / weight_decay, where decay is decoupled",
}
RULERS = {
    "noise": "root mean square of u that white gradients give",
    "rms_bound": "the largest root mean square for random signs, at this step",
    "bound": "the largest |u| of any gradients, at this step",
    "critical_silence": "share of silent steps above which independent gradients grow updates",
    "turn_equilibrium": "the turn at which weight decay holds a scale-invariant weight",
}


@dataclass(frozen=True)
class Measurement:
    """What was measured after one step."""

    step: int  # the largest of any layer
    names: list[str]
    kinds: list[Kind]
    packet: Array  # (layers, fields)

    def layers(self) -> dict[str, Array]:
        """By name of the number an array of one for each layer; NaN where there is no such number."""
        return {**_measured(self.packet, self.kinds), **_rulers(self.packet, self.kinds)}

    def overall(self) -> dict[str, float]:
        """Of all weights together. A ruler is the mean square over weights, or for bounds the largest."""
        layers, size = self.layers(), self.packet[:, F["size"]]
        whole = self.packet[:, : len(ADDED)].sum(0)
        found = {name: _share(whole, field) for name, field in (("above_one", "above"), ("silent", "silent"))}
        found["update_rms"] = math.sqrt(_share(whole, "update"))
        found["update_max"] = float(self.packet[:, F["largest"]].max(initial=0.0))
        moved = math.sqrt(float((self.packet[:, F["lr"]] ** 2 * self.packet[:, F["update"]]).sum()))
        found["update_to_weight"] = moved / math.sqrt(whole[F["weight"]]) if whole[F["weight"]] > 0 else math.nan
        boxed = np.isfinite(layers["outside_box"])
        found["outside_box"] = _mean(layers["outside_box"], size * boxed)
        found["rows_at_risk"] = _mean(layers["rows_at_risk"], self.packet[:, F["rows"]])
        found["turn"], found["turn_equilibrium"] = (
            _mean(layers[name] ** 2, size) ** 0.5 for name in ("turn", "turn_equilibrium")
        )
        found["noise"] = _mean(layers["noise"] ** 2, size) ** 0.5
        found["rms_bound"], found["bound"] = (_largest(layers[name]) for name in ("rms_bound", "bound"))
        found["critical_silence"] = -_largest(-layers["critical_silence"])
        return {name: found[name] for name in (*MEASURED, *RULERS)}


def _share(whole: Array, field: str) -> float:
    return float(whole[F[field]] / whole[F["size"]]) if whole[F["size"]] > 0 else math.nan


def _mean(values: Array, weights: Array) -> float:
    """Weighted, over the numbers that there are."""
    there = np.isfinite(values) & (weights > 0)
    return float(np.average(values[there], weights=weights[there])) if there.any() else math.nan


def _largest(values: Array) -> float:
    return float(values[~np.isnan(values)].max()) if (~np.isnan(values)).any() else math.nan


def _measured(packet: Array, kinds: list[Kind]) -> dict[str, Array]:
    size, lr = packet[:, F["size"]], packet[:, F["lr"]]
    update, weight, along = (packet[:, F[name]] for name in ("update", "weight", "along"))
    boxed = np.array([kind.box < math.inf for kind in kinds])
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = np.sqrt(weight)
        across = np.sqrt(np.maximum(update - along**2 / weight, 0.0))
        return {
            "update_rms": np.sqrt(update / size),
            "update_max": packet[:, F["largest"]],
            "above_one": packet[:, F["above"]] / size,
            "silent": packet[:, F["silent"]] / size,
            "rows_at_risk": packet[:, F["at_risk"]] / packet[:, F["rows"]],
            "update_to_weight": np.where(weight > 0, lr * np.sqrt(update) / norm, np.nan),
            "turn": np.where(weight > 0, np.arctan2(lr * across, norm + lr * along / norm), np.nan),
            "outside_box": np.where(boxed, packet[:, F["outside"]] / size, np.nan),
        }


def _rulers(packet: Array, kinds: list[Kind]) -> dict[str, Array]:
    """Theory's numbers. They are Adam's: NAdam and Adamax have none, of more stages than one there is the last one's bound."""
    ages, rates = packet[:, F["age"]], packet[:, F["lr"]]
    found = [_ruler(kind, float(n), float(lr)) for kind, n, lr in zip(kinds, ages, rates, strict=True)]
    return dict(zip(RULERS, np.array(found, dtype=np.float64).reshape(-1, len(RULERS)).T, strict=True))


@lru_cache(maxsize=256)
def _ruler(kind: Kind, age: float, lr: float) -> tuple[float, ...]:
    beta, gamma, n = kind.decay.beta, kind.decay.gamma, age - 1
    if kind.form not in ("adam", "amsgrad") or n < 0:
        return (math.nan,) * len(RULERS)
    bound = float(stability.max_update_bound(n, beta=beta, gamma=gamma))
    if kind.stages > 1:
        return (math.nan, math.nan, bound, math.nan, math.nan)
    noise = float(stability.white_update(gamma=gamma)) if kind.form == "adam" else math.nan
    rms = float(stability.rms_bound(n, beta=beta, gamma=gamma))
    return (noise, rms, bound, critical(kind), _equilibrium(kind, lr))


@lru_cache(maxsize=256)
def critical(kind: Kind) -> float:
    """The share of silent steps above which a row is at risk; 1, which is never exceeded, where theory knows none."""
    if kind.form not in ("adam", "amsgrad") or kind.stages > 1:
        return 1.0
    return float(stability.critical_silence(beta=kind.decay.beta, gamma=kind.decay.gamma))


def _equilibrium(kind: Kind, lr: float) -> float:
    if not (lr > 0 and kind.box < math.inf and lr / kind.box < 1):
        return math.nan
    return invariance.rotation_per_step(eta=lr, weight_decay=1 / kind.box, gamma=kind.decay.gamma)
