"""Chapter continuous_time: its problems, what its smoke records hold, how its claims are decided, and what it draws."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from kadam import chapters
from kadam.chapters.continuous_time import flows, problems
from kadam.chapters.continuous_time.orders import config as orders_config
from kadam.chapters.continuous_time.orders import figures as orders_figures
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
    ],
)
def test_a_bad_configuration_of_chapter_3_is_named(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**change)


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
    assert record.attrs["cost_second"] > record.attrs["cost_paper"] > 1
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
