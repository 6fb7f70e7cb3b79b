"""Chapter continuous_time: its problems, what its smoke records hold, how its claims are decided, and what it draws."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from tiers import exhaustive

from kadam import Decay, chapters
from kadam.chapters.continuous_time import flows, problems
from kadam.chapters.continuous_time.orders import config as orders_config
from kadam.chapters.continuous_time.orders import figures as orders_figures
from kadam.chapters.continuous_time.race import claims as race_claims
from kadam.chapters.continuous_time.race import config as race_config
from kadam.chapters.continuous_time.race import figures as race_figures
from kadam.chapters.continuous_time.race import run as race
from kadam.chapters.continuous_time.trajectories import claims, config, figures, run
from kadam.lab.data.sources import configured_text
from kadam.lab.engine.progress import Progress
from kadam.lab.records import committed
from kadam.report.sentences import span

RESULTS = Path(__file__).parents[2] / "results"


def test_the_perceptrons_gradient_by_hand_is_torchs():
    problem = problems.perceptron(inputs=3, width=4, examples=6, seed=2)
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((6, 3)))
    y = torch.sin(x.sum(1) / 2)

    def loss(theta):
        hidden = torch.tanh(x @ theta[:12].view(4, 3).T + theta[12:16])
        return (hidden @ theta[16:] - y).square().mean()

    expected = torch.func.grad(loss)(torch.from_numpy(problem.start)).numpy()
    np.testing.assert_allclose(problem.grad(problem.start), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [problems.quadratic, problems.crowd])
def test_a_problem_with_a_known_minimum_has_no_gradient_there(make):
    problem, minimum = make()
    np.testing.assert_allclose(problem.grad(minimum), 0, atol=1e-13)
    np.testing.assert_allclose(problem.grad(minimum + 2e-3), 2 * problem.grad(minimum + 1e-3), atol=1e-12)
    assert np.abs(problem.grad(minimum + 1e-3)).max() > 1e-4


def test_the_quadratics_first_gradients_keep_away_from_zero_and_the_crowds_do_not():
    away, near = (np.abs(make()[0].grad(make()[0].start)) for make in (problems.quadratic, problems.crowd))
    assert away.min() >= 1 - 1e-9
    assert near.min() < 1e-4


def test_distances_of_paths_are_shares_of_the_way():
    reference = np.array([[0.0, 0.0, 5.0], [3.0, 4.0, 5.0]])
    path = reference + np.array([[0.0, 0.0, 0.0], [0.3, 0.4, 0.0]])
    assert flows.distance(path, reference) == pytest.approx(0.1)
    assert flows.median_distance(path, reference) == pytest.approx(0.1)  # the third weight never moves


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (config, {"substeps": 3}, "substeps must be even, for minibatches change between two of them; got 3"),
        (config, {"shown_steps": 51}, r"shown_steps must be one of path_steps \(25, 50, 100, 200\), got 51"),
        (config, {"weights": 0}, "weights must be a whole number >= 1, got 0"),
        (config, {"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
        (orders_config, {"rates": 1}, "rates and small_rates must be at least 2, got 1 and 5"),
        (orders_config, {"crowd": 0.5}, "crowd must be a whole number >= 1, got 0.5"),
        (race_config, {"beta": 1.0}, "beta and gamma must lie in .0, 1., got 1.0, 0.9"),
        (race_config, {"substeps": (2, 0)}, "substeps must hold one whole number >= 1 or more, got .2, 0."),
    ],
)
def test_a_bad_configuration_of_chapter_3_is_named(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**change)


@exhaustive
def test_pieces_of_chapter_3_that_are_done_are_not_done_again(tmp_path, monkeypatch, smoke_records):
    smoke, calls, original = config.PROFILES["smoke"], [], run.compute_piece

    def stop_at_the_fourth(config, text, piece, progress):
        calls.append(piece)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(config, text, piece, progress)

    monkeypatch.setattr(run, "compute_piece", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run.run(smoke, checkpoint=tmp_path)
    resumed = run.run(smoke, checkpoint=tmp_path)
    assert len(calls) == len(set(calls)) + 1
    xr.testing.assert_identical(resumed.drop_attrs(deep=False), smoke_records["trajectories"].drop_attrs(deep=False))


def test_trajectories_count_gradients_and_name_the_weights(smoke_records):
    record = smoke_records["trajectories"]
    substeps = config.PROFILES["smoke"].substeps
    assert record.evaluations.values.tolist() == [1, 4 * substeps, 8 * substeps]  # without a jvp: two gradients for one
    assert record.attrs["cost_second"] > 0 < record.attrs["cost_paper"]  # of time, which no test compares
    assert len(set(record.name.values.tolist())) == config.PROFILES["smoke"].weights
    assert all("[" in name for name in record.name.values)


def test_a_path_that_leaves_the_finite_numbers_is_infinite_on_the_map():
    small = config.Config(map_gammas=(0.0, 0.9), map_steps=20, text="embedded")
    errors = run.compute_piece(small, configured_text(small), run.Piece("map", 0.0), Progress(print)).map_error
    assert np.isfinite(errors.sel(gamma=0.0)).all()
    assert (errors.sel(gamma=0.9) > 1).any()


def verdicts(name, record):
    return {claim.id: claim.verdict for claim in chapters.claims(name, record)}


def test_claims_of_chapter_3_that_fail_are_reported_so(smoke_records):
    record = smoke_records["trajectories"]
    swapped = record.assign_coords(flow=["second", "paper"])
    apart = record.assign(p_gap=record.p_gap + 1e-3, shown=record.shown + np.arange(3)[:, None, None])
    assert verdicts("trajectories", swapped)["D-3c"] == "not reproduced"
    assert [verdicts("trajectories", apart)[id] for id in ("GT-3a", "GT-3b")] == ["not reproduced"] * 2


def laptop_orders(**errors):
    """The committed record of orders with some cases' errors replaced by given slopes."""
    record = committed.committed(RESULTS, "orders", "laptop")
    order = record.order.copy()
    for flow, slope in errors.items():
        order.loc[{"flow": flow, "case": list(orders_config.JUDGED)}] = slope
    return record.assign(order=order)


@pytest.mark.parametrize(
    ("slopes", "id", "verdict"),
    [
        ({"paper": [1.0, 0.86, 1.14]}, "D-3e", "reproduced"),
        ({"paper": [1.0, 0.84, 1.14]}, "D-3e", "partly"),
        ({"paper": [1.2, 0.84, 1.16]}, "D-3e", "not reproduced"),
        ({"second": [2.0, 1.41, 1.8]}, "D-3f", "reproduced"),
        ({"second": [2.0, 1.39, 1.8]}, "D-3f", "partly"),
        ({"second": [1.8, 1.9, 1.8]}, "D-3f", "partly"),
        ({"second": [1.8, 1.3, 1.3]}, "D-3f", "not reproduced"),
    ],
)
def test_the_criteria_of_the_orders_are_applied(slopes, id, verdict):
    assert verdicts("orders", laptop_orders(**slopes))[id] == verdict


def test_the_words_and_tables_of_chapter_3_hold_what_the_experiments_judge_by(smoke_records):
    record = smoke_records["trajectories"]
    gaps = claims.weight_errors(record)
    largest = f"{float(gaps.sel(flow='second').max()):.1%} for the half-step flow"
    assert largest in figures.weights_said(record)
    error = claims.path_errors(record).sel(eta=float(record.path_eta.max()), flow="second")
    assert figures.error_table(record).rows[0][2] == f"{float(error):.3g}"
    assert float(record.p_gap.max()) < 1e-8
    assert len(figures.noise_table(record).rows) == record.noise_error.isel(flow=0).size
    last = np.sqrt(record.long_mse / record.long_moved).isel(long_step=-1)
    assert f"a distance of {float(last.sel(flow='paper')):.2g} and " in figures.squares_said(record)


def test_the_time_that_every_path_covers_is_told(smoke_records):
    smoke = orders_config.PROFILES["smoke"]
    told = orders_figures.errors_said(smoke_records["orders"])
    assert told.startswith(f"Every path covers a time of {smoke.time:g}, those of the transformer {smoke.small_time:g}. ")


def test_the_table_of_the_orders_has_a_row_for_every_order(smoke_records):
    record = smoke_records["orders"]
    rows = orders_figures.order_table(record).rows
    assert len(rows) == int(record.order.notnull().sum()) + len(orders_figures.MEDIANS)
    crowd = record.sel(case="crowd", flow="second")
    assert rows[-1][:3] == ("crowd", "median", f"{float(crowd.median_order):.2f}")
    assert ("crowd", "second", f"{float(crowd.order):.2f}") in [row[:3] for row in rows]


def test_the_map_tells_pairs_inside_from_pairs_outside_and_counts_lost_paths(smoke_records):
    record = smoke_records["trajectories"]
    long = record.map_error.sel(flow="paper").where(record.beta >= figures.LONG_MEMORY)
    outside = span(long.where(record.beta <= record.gamma**2))
    assert f"outside of the exact region, {outside} for the paper's equation" in figures.betas_said(record)
    lost = record.assign(map_error=record.map_error.where(record.beta > 0.5, np.inf))
    assert "numbers, at all 3 pairs and " in figures.betas_said(lost)


# --- the race ------------------------------------------------------------------------------------------------------------


def test_the_race_counts_four_gradients_a_substep_and_twice_as_many_for_the_half_step_flow(smoke_records):
    record = smoke_records["race"]
    for flow, each in {"paper": 4, "second": 8, "classical": 4, "integral": 4}.items():
        assert (record.cost.sel(flow=flow) == each * record.substeps).all()


def test_a_racer_that_diverges_is_infinitely_far_away(monkeypatch):
    def lost(*given, **setting):
        raise race.Diverged(0, "theta[0] became nan", np.zeros(1))

    monkeypatch.setitem(race.RACERS, "integral", lost)
    error = race.measure(race_config.PROFILES["smoke"], race.Piece("quadratic", 0), Progress(print)).error
    assert np.isinf(error.sel(flow="integral")).all()
    assert np.isfinite(error.drop_sel(flow="integral")).all()


@pytest.mark.parametrize(("share", "grows"), [(0.999, False), (1.001, True)])
def test_the_threshold_of_stability_is_that_of_momentum_with_a_fixed_preconditioner(share, grows):
    """At a sharpness of one the map of weight and momentum has an eigenvalue of size 1."""
    eta, gamma = 0.1, 0.9
    curvature = share * 2 * (1 + gamma) / ((1 - gamma) * eta)
    fresh = (1 - gamma) * curvature
    eigenvalues = np.linalg.eigvals([[1 - eta * fresh, -eta * gamma], [fresh, gamma]])
    assert (np.abs(eigenvalues).max() > 1) is np.bool_(grows)


def test_sharpness_after_one_step_is_curvature_over_the_first_gradient():
    curvatures, start, decay = np.array([1.0, 5.0, 2.0]), np.array([3.0, -4.0, 0.5]), Decay(beta=0.99, gamma=0.8)
    problem = problems.Smooth(lambda theta: curvatures * theta, start)
    path = np.stack([start, start - 0.01 * np.sign(start)])
    expected = (1 / np.abs(start)).max() * 0.01 / (2 * 1.8)  # P = (1 - gamma) |g|, and H/|g| is 1/|theta|
    assert race.sharpness(problem, path, decay, 0.01) == pytest.approx(expected, rel=1e-6)


def raced(errors, sharpness=(0.0, 0.0, 0.0, 1.0)):
    """A record of one seed and two numbers of substeps; ``errors``: by flow, of both, in all cases."""
    cases, each = list(race_config.CASES), {"paper": 4, "second": 8, "classical": 4, "integral": 4}
    shape = (1, len(cases), len(each), 2)
    error = np.broadcast_to([errors[flow] for flow in each], shape)
    cost = np.broadcast_to([[c, 2 * c] for c in each.values()], shape)
    dims = ("seed", "case", "flow", "substeps")
    values = {"error": (dims, error), "cost": (dims, cost), "sharpness": (dims[:2], [sharpness])}
    return xr.Dataset(values, {"seed": [0], "case": cases, "flow": list(each), "substeps": [1, 2]})


def test_the_half_step_flow_is_compared_with_what_costs_no_more():
    errors = {"paper": [9.0, 6.0], "second": [2.0, 1.0], "classical": [8.0, 8.0], "integral": [7.0, 0.5]}
    leads = race_claims.lead_of_the_half_step(raced(errors))
    assert leads.gradients.values.tolist() == [8, 16]
    np.testing.assert_allclose(leads, np.broadcast_to([0.25, 0.5], (4, 2)))  # 0.5 is to be had for 8 gradients
    dear = raced(errors).copy(deep=True)
    dear["cost"] = dear.cost.where(dear.flow != "integral", dear.cost * 3)  # now only from 12 and 24
    np.testing.assert_allclose(race_claims.lead_of_the_half_step(dear), np.broadcast_to([3.0, 6.0], (4, 2)))


@pytest.mark.parametrize(
    ("own", "sharpness", "verdict"),
    [
        (0.01, (0.1, 0.1, 0.1, 1.0), ["reproduced"] * 2 + ["partly", "reproduced"]),
        (0.5, (0.1, 0.1, 0.1, 0.7), ["not reproduced", "reproduced", "partly", "partly"]),
        (2.0, (0.3, 0.1, 0.1, 0.7), ["not reproduced"] * 2 + ["reproduced", "not reproduced"]),
    ],
)
def test_the_criteria_of_the_race_are_applied(own, sharpness, verdict, smoke_records):
    record = raced({"paper": [1.5, 1.5], "second": [own, own], "classical": [1.6, 1.6], "integral": [1.7, 1.7]}, sharpness)
    record.attrs = smoke_records["race"].attrs
    assert list(verdicts("race", record).values()) == verdict


def test_the_races_table_has_every_error_and_its_names_do_not_meet(smoke_records):
    record = smoke_records["race"]
    table = race_figures.race_table(record).rows
    assert len(table) == record.sizes["flow"] * record.sizes["substeps"]
    figure = race_figures.race(record)
    figure.canvas.draw()
    for axes in figure.axes:
        names = sorted((text for text in axes.texts if "learning rate" not in text.get_text()), key=lambda t: t.xyann[1])
        boxes = [text.get_window_extent() for text in names]
        assert len(boxes) == record.sizes["flow"]
        assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))
        assert max(box.x1 for box in boxes) <= axes.get_window_extent().x1 + 1
