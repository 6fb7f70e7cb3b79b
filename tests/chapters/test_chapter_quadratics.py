"""The runs on quadratics: Adam as the reference has it, silence without underflow, and how the claims are decided."""

from dataclasses import replace

import numpy as np
import pytest
from judging import Verdicts

from kadam import Decay, chapters
from kadam.chapters.stability import figures as region
from kadam.chapters.stability.quadratics import figures
from kadam.chapters.stability.quadratics.config import PROFILES, Config
from kadam.chapters.stability.quadratics.run import Runs, pairs, run, scaled
from kadam.theory import stability
from kadam.theory.reference import kadam_updates

SMALL = replace(PROFILES["smoke"], grid=6, horizons=(10, 40), silences=(5, 40))


@pytest.mark.parametrize(
    "change",
    [{"grid": 2}, {"horizons": (100,)}, {"silences": (20, 10)}, {"noises": (-1.0,)}, {"epsilons": ()}, {"rates": (0.0,)}],
)
def test_a_bad_configuration_of_quadratics_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Config(**change)


ROWS = [(1.0, 0.0, 0.0, 0.0), (0.01, 0.5, 0.1, 0.0), (0.1, 0.0, 0.1, 1e-3), (0.3, 2.0, 0.0, 1.0)]


def runs_of(rows, config=SMALL, start=2.0):
    eta, noise, weight_decay, eps = np.transpose(rows)
    return Runs(*pairs(config), eta=eta, start=start, noise=noise, weight_decay=weight_decay, eps=eps)


def test_a_run_is_the_references_adam():
    """One pair and setting at a time, in closed loop: parameters, updates and the largest of them."""
    runs, noise = runs_of(ROWS), np.random.default_rng(0).standard_normal(30)
    for n, xi in enumerate(noise):
        runs.step(n, xi)
    for row, (eta, sigma, weight_decay, eps) in enumerate(ROWS):
        for column, (beta, gamma) in enumerate(zip(*pairs(SMALL), strict=True)):
            theta, gradients = 2.0, []
            for xi in noise:
                gradients.append(theta + sigma * xi)
                u = kadam_updates(gradients, [Decay(beta=beta, gamma=gamma)], eps=eps)
                theta -= eta * (u[-1] + weight_decay * theta)
            assert runs.theta[row, column] == pytest.approx(theta, rel=1e-6)
            assert runs.largest[row, column] == pytest.approx(np.abs(u).max(), rel=1e-6)


def test_a_run_goes_on_from_its_state_to_the_bit():
    noise = np.random.default_rng(1).standard_normal(20)
    first, second = runs_of(ROWS), runs_of(ROWS)
    for n in range(20):
        first.step(n, noise[n])
        if n == 9:
            second.load_state_dict(first.state_dict())
    for n in range(10, 20):
        second.step(n, noise[n])
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in Runs.STATE)


def test_silence_grows_as_the_theory_says_where_moments_would_underflow():
    """After 2000 silent steps beta^2000 is no number of float64 any more; a growth of each size is found when it is due."""
    runs = runs_of([ROWS[0]])
    for n in range(400):
        runs.step(n, 0.0)
    beta, gamma = pairs(SMALL)
    power = 2000 * (np.log(gamma) - np.log(beta) / 2)
    for factor in (1.5, 10.0, 1e200):
        again = runs_of([ROWS[0]])
        again.load_state_dict(runs.state_dict())
        (found,) = again.grown((2000,), factor)
        assert np.array_equal(found[0], power >= np.log(factor))


def test_eps_keeps_growth_back_and_makes_none():
    plain, capped = (runs_of([(0.1, 0.0, 0.0, eps)]) for eps in (0.0, 0.3))
    for n in range(50):
        plain.step(n, 0.0)
        capped.step(n, 0.0)
    (without,), (with_eps,) = plain.grown((40,), 3.0), capped.grown((40,), 3.0)
    assert without.any()
    assert not (with_eps & ~without).any()
    assert with_eps.sum() < without.sum()


def test_a_run_at_rest_neither_grows_nor_complains():
    runs = runs_of([(0.001, 0.0, 0.0, 1e-3)])
    for n in range(9000):
        runs.step(n, 0.0)
    assert (runs.theta == 0).any()
    assert not runs.grown((10,), 2.0)[0][runs.theta == 0].any()


def test_scaled_runs_differ_as_soon_as_powers_are_no_powers_of_two(monkeypatch):
    assert not scaled(SMALL).scaled_differs.any()
    monkeypatch.setattr("kadam.chapters.stability.quadratics.run.POWERS", (0, -1.5))
    assert scaled(SMALL).scaled_differs.isel(power=1).all()


@pytest.fixture(scope="module")
def record():
    return run(SMALL)


def test_jobs_and_bands_change_no_bit(record, monkeypatch):
    monkeypatch.setattr("kadam.chapters.stability.quadratics.run.IN_BAND", 9)
    assert run(SMALL).drop_attrs().identical(record.drop_attrs())


def test_a_record_counts_its_runs_and_both_sides(record):
    assert record.attrs["runs"] == 36 * 96
    beta, gamma = pairs(SMALL)
    assert np.array_equal(record.inside.values.ravel(), stability.is_stable(beta=beta, gamma=gamma))
    assert (record.largest.sel(side="inside") <= stability.max_update_bound(40, beta=beta, gamma=gamma).max()).all()


@pytest.mark.parametrize(
    ("id", "change", "verdict"),
    [
        ("D-1g", {}, "reproduced"),
        ("D-1g", {"added": lambda r: r.added + (r.eps == 0)}, "partly"),
        ("D-1g", {"added": lambda r: r.added + (r.eps > 0)}, "partly"),
        ("D-1g", {"missing": lambda r: r.missing + (r.eps > 0)}, "reproduced"),
        ("D-1g", {"missing": lambda r: r.missing + (r.eps == 0)}, "partly"),
        ("D-1h", {"over_bound": lambda r: 1 + 5e-13 + 0 * r.over_bound}, "reproduced"),
        ("D-1h", {"over_bound": lambda r: 1 + 2e-12 + 0 * r.over_bound}, "not reproduced"),
        ("D-1i", {}, "reproduced"),
        ("D-1i", {"scaled_differs": lambda r: r.scaled_differs + 1}, "not reproduced"),
        ("D-1j", {"looks_share": lambda r: 0 * r.looks_share + 0.51 * (r.side == "inside")}, "reproduced"),
        ("D-1j", {"looks_share": lambda r: 0 * r.looks_share + 0.49 * (r.side == "inside")}, "not reproduced"),
        ("D-1k", {"distance": lambda r: 0 * r.distance + (r.side == "outside")}, "reproduced"),
        ("D-1k", {"distance": lambda r: 0 * r.distance + 1}, "not reproduced"),
    ],
)
def test_the_criteria_on_quadratics_are_applied_on_both_sides(record, id, change, verdict):
    changed = record.assign({name: make(record) for name, make in change.items()})
    assert Verdicts("quadratics", changed)[id] == verdict


def test_what_is_said_of_the_maps_turns_with_the_record(smoke_records):
    record = smoke_records["quadratics"]
    wrong = record.assign(grown_inside=record.grown_inside + 1, added=record.added + 1)
    assert "inside in none of 96 settings" in figures.maps_said(record)
    assert "in all 32 settings" in figures.maps_said(record)
    assert "inside in all 96 settings" in figures.maps_said(wrong)
    assert "in none of 32 settings" in figures.maps_said(wrong)
    shares = record.looks_share
    assert "100%, 100%" in figures.loss_said(record.assign(looks_share=0 * shares + 1))
    assert figures.loss_said(record.assign(looks_share=0 * shares)).endswith("outside is 0.00.")


def test_the_map_of_silence_names_pairs_outside_with_their_share(smoke_records):
    record = smoke_records["stability"]
    words = region.silences_said(record)
    assert f"default swapped ({100 * 0.9 / 0.999**2:.3g}%)" in words
    assert "2 of 9 named pairs" in words
    inside = record.assign(practice_stable_discrete=1 + 0 * record.practice_stable_discrete)
    assert "none of 9 named pairs" in region.silences_said(inside)


def test_larger_profiles_run_the_same_settings():
    """So that their claims have the same cases, but for the lengths."""
    settings = ("rates", "noises", "weight_decays", "epsilons", "thresholds", "start", "seed")
    assert chapters.find("quadratics").profiles == ("smoke", "laptop", "cpu", "paper")
    assert all(len({getattr(config, name) for config in PROFILES.values()}) == 1 for name in settings)
