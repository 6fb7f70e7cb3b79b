"""Chapter continuous_time: what its smoke record holds, how its claims are decided, and what it draws."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.continuous_time.orders import config as orders_config
from kadam.chapters.continuous_time.orders import figures as orders
from kadam.chapters.continuous_time.trajectories import config as trajectories_config
from kadam.chapters.continuous_time.trajectories import figures as trajectories
from kadam.chapters.continuous_time.trajectories import run as trajectories
from kadam.lab.engine.progress import Progress
from kadam.lab.records import committed as results

RESULTS = Path(__file__).parents[1] / "results"


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (trajectories, {"substeps": 3}, "substeps must be even, for minibatches change between two of them; got 3"),
        (trajectories, {"shown_steps": 51}, r"shown_steps must be one of path_steps \(25, 50, 100, 200\), got 51"),
        (trajectories, {"weights": 0}, "weights must be a whole number >= 1, got 0"),
        (trajectories, {"text": "latin"}, "text must be one of real, embedded; got 'latin'"),
        (orders, {"rates": 1}, "rates and small_rates must be at least 2, got 1 and 5"),
        (orders, {"crowd": 0.5}, "crowd must be a whole number >= 1, got 0.5"),
    ],
)
def test_a_bad_configuration_of_chapter_3_is_named(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**change)


def test_pieces_of_chapter_3_that_are_done_are_not_done_again(tmp_path, monkeypatch, smoke_records):
    config, calls, original = trajectories_config.PROFILES["smoke"], [], trajectories.compute_piece

    def stop_at_the_fourth(config, text, piece, progress):
        calls.append(piece)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(config, text, piece, progress)

    monkeypatch.setattr(trajectories, "compute_piece", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        trajectories.run(config, checkpoint=tmp_path)
    resumed = trajectories.run(config, checkpoint=tmp_path)
    assert len(calls) == len(set(calls)) + 1
    xr.testing.assert_identical(resumed.drop_attrs(deep=False), smoke_records["trajectories"].drop_attrs(deep=False))


def test_trajectories_count_gradients_and_name_the_weights(smoke_records):
    record = smoke_records["trajectories"]
    substeps = trajectories_config.PROFILES["smoke"].substeps
    assert record.evaluations.values.tolist() == [1, 4 * substeps, 8 * substeps]  # without a jvp: two gradients for one
    assert record.attrs["cost_second"] > record.attrs["cost_paper"] > 1
    assert len(set(record.name.values.tolist())) == trajectories_config.PROFILES["smoke"].weights
    assert all("[" in name for name in record.name.values)


def test_a_path_that_leaves_the_finite_numbers_is_infinite_on_the_map():
    config = trajectories_config.Config(map_gammas=(0.0, 0.9), map_steps=20, text="embedded")
    errors = trajectories.compute_piece(config, trajectories.load_data(config), "map-0.0", Progress(print)).map_error
    assert np.isfinite(errors.sel(gamma=0.0)).all()
    assert (errors.sel(gamma=0.9) > 1).any()


def test_claims_of_chapter_3_that_fail_are_reported_so(smoke_records):
    record = smoke_records["trajectories"]
    swapped = record.assign_coords(flow=["second", "paper"])
    apart = record.assign(p_gap=record.p_gap + 1e-3, shown=record.shown + np.arange(3)[:, None, None])
    assert {c.id: c.verdict for c in chapters.claims("trajectories", swapped)}["D-3c"] == "not reproduced"
    verdicts = {c.id: c.verdict for c in chapters.claims("trajectories", apart)}
    assert (verdicts["GT-3a"], verdicts["GT-3b"]) == ("not reproduced", "not reproduced")


def laptop_orders(**errors):
    """The committed record of orders with some cases' errors replaced by given slopes."""
    record = results.committed(RESULTS, "orders", "laptop")
    order = record.order.copy()
    for flow, slope in errors.items():
        order.loc[{"flow": flow, "case": list(orders_config.JUDGED)}] = slope
    return record.assign(order=order)


@pytest.mark.parametrize(
    ("slopes", "id", "verdict"),
    [
        ({"paper": [1.0, 0.86, 1.14]}, "D-3e", "reproduced"),
        ({"paper": [1.0, 0.84, 1.14]}, "D-3e", "partly"),
        ({"paper": [1.2, 0.84, 1.14]}, "D-3e", "not reproduced"),
        ({"second": [2.0, 1.41, 1.8]}, "D-3f", "reproduced"),
        ({"second": [2.0, 1.39, 1.8]}, "D-3f", "not reproduced"),
        ({"second": [1.8, 1.9, 1.8]}, "D-3f", "not reproduced"),
    ],
)
def test_the_criteria_of_the_orders_are_applied(slopes, id, verdict):
    assert {claim.id: claim.verdict for claim in chapters.claims("orders", laptop_orders(**slopes))}[id] == verdict


def test_the_tables_of_chapter_3_say_what_the_experiments_judge_by(smoke_records):
    from kadam.chapters.continuous_time.trajectories.run import path_errors, weight_errors

    record = smoke_records["trajectories"]
    weights = trajectories.weight_table(record).splitlines()
    assert f"{float(weight_errors(record).sel(flow='paper').median()):.1%}" in weights[1]
    assert f"{float(weight_errors(record).sel(flow='second').max()):.1%}" in weights[2]
    eta = float(record.path_eta.max())
    assert (
        f"{float(path_errors(record).sel(flow='second', path_eta=eta)):.3g}" in trajectories.error_table(record).splitlines()[1]
    )
    assert "the same path to 1e-8 of its length: True" in trajectories.noise_table(record)
    assert max(len(line) for line in orders.table(smoke_records["orders"]).splitlines()) <= 80


def test_the_map_tells_pairs_inside_from_pairs_outside(smoke_records):
    record = smoke_records["trajectories"]
    paper = trajectories.map_table(record).splitlines()[1].split()
    outside = record.map_error.sel(flow="paper").where(record.beta <= record.gamma**2)
    assert paper[-1] == f"{float(outside.median()):.2g}"
