"""Chapter contest: what its figures and tables make of the smoke record of the contest on CIFAR-10."""

import numpy as np
import pytest

from kadam.chapters.contest import figures as contest
from kadam.chapters.contest import looks
from kadam.chapters.contest.cifar import figures
from kadam.chapters.contest.comparisons import EQUAL, MATCHED, TUNED


@pytest.fixture
def record(smoke_records):
    return smoke_records["cifar"]


def row_of(table, *start):
    return next(row for row in table.rows if row[: len(start)] == start)


def test_the_tables_hold_what_the_record_holds(record):
    end = 100 * record.accuracy.isel(evaluation=-1).mean("seed")
    tuned = end.sel(comparison=TUNED, network="no norm")
    three = float(tuned.sel(optimizer="3-Adam meta"))
    assert row_of(contest.stage_table(record, TUNED), TUNED, "no norm", "meta")[-1] == f"{three:.1f}"
    gap = (end.sel(optimizer="2-Adam meta") - end.sel(optimizer="Adam")).sel(comparison=MATCHED, network="batch norm")
    assert row_of(contest.advantage_table(record), MATCHED, "meta")[2].startswith(f"{float(gap):+.1f} (")
    best = float(record.peak_rate.sel(comparison=TUNED, network="batch norm", optimizer="Lion"))
    assert row_of(contest.rate_table(record), "batch norm", "Lion")[2] == f"{best:.2g}"


def test_the_ranking_names_the_first_and_places_adam(record):
    accuracy = 0 * record.accuracy + 0.5
    accuracy.loc[{"optimizer": "Lion", "comparison": TUNED}] = [[[0.6], [0.61]]] * 2
    accuracy.loc[{"optimizer": "2-Adam meta", "comparison": TUNED, "network": "no norm"}] = [[0.7], [0.5]]
    said = contest.ranking_said(record.assign(accuracy=accuracy))
    assert "The first of 10 methods is `Lion` in both networks. Adam has place 2 to 3, the best with $k = 2$ place 2." in said
    assert said.endswith("1 of 9 others are ahead of Adam, in every network `Lion`.")


def test_sizes_are_told_as_the_root_of_the_mean_square(record):
    one = record.update_rms.sel(comparison=EQUAL, network="batch norm", optimizer="Adam")
    size = float(((one**2).mean("evaluation") ** 0.5).mean())
    assert f"the rms of u is {size:.2f} with $k = 1$" in contest.sizes_said(record)


def test_a_lead_is_an_interval_above_zero_and_with_one_seed_a_difference_above_zero(record):
    accuracy = 0 * record.accuracy + 0.5
    accuracy.loc[{"optimizer": "2-Adam meta", "comparison": EQUAL, "network": "no norm"}] = [[0.52], [0.53]]
    accuracy.loc[{"optimizer": "2-Adam inverse_exp", "comparison": EQUAL, "network": "no norm"}] = [[0.49], [0.53]]
    found = record.assign(accuracy=accuracy)
    either = "At the same learning rate $k = 2$ is ahead of Adam ({}) in {} of 4 cases"
    assert either.format("95% interval above zero", "none") in figures.answer(found)
    surely = found.assign(accuracy=accuracy.where(accuracy != np.float32(0.53), 0.5201))
    assert either.format("95% interval above zero", 1) in figures.answer(surely)
    alone = found.isel(seed=[1])
    assert either.format("difference of the one seed above zero", 2) in figures.answer(alone)
    told = "ahead of Adam in 2 of 4 cases, with differences of +0.0 (`inverse_exp`) to +3.0 (`inverse_exp`) points."
    assert told in contest.advantage_said(alone)


def test_a_second_stage_is_set_beside_normalisation(record):
    accuracy = 0 * record.accuracy + 0.5
    accuracy.loc[{"optimizer": "2-Adam meta", "comparison": TUNED, "network": "no norm"}] = 0.4
    accuracy.loc[{"optimizer": "Adam", "comparison": TUNED, "network": "batch norm"}] = 0.6
    told = "In `no norm` 2-Adam with `meta` reaches 40.0% and Adam 50.0%; in `batch norm` Adam reaches 60.0%."
    assert figures.normalisation_said(record.assign(accuracy=accuracy)) == told


def test_of_changes_beyond_two_stages_the_extremes_are_told(record):
    accuracy = 0 * record.accuracy + 0.5
    accuracy.loc[{"optimizer": "3-Adam meta", "comparison": EQUAL, "network": "no norm"}] = 0.4
    told = (
        "At the same rate stages beyond two, up to $k = 3$, change the test accuracy by -10.0 (`meta`) to +0.0 (`inverse_exp`)"
    )
    assert told in figures.answer(record.assign(accuracy=accuracy))


def test_a_diverged_run_is_drawn_as_a_cross(record):
    def crosses(record):
        axes = contest.rates(record).axes
        return sum(len(line.get_xdata()) for ax in axes for line in ax.lines if line.get_marker() == "x")

    failed = record.search_accuracy.copy()
    failed.loc[{"optimizer": "SGD", "network": "no norm"}] = np.nan
    assert crosses(record) == 0
    assert crosses(record.assign(search_accuracy=failed)) == 2 * record.sizes["rate"]


def test_the_setting_names_data_and_sizes(record):
    text = figures.setting(record)
    assert text.startswith("profile smoke; scikit-learn's digits, standing in for CIFAR-10")
    assert "128 images to train, 64 to validate, 64 to test; parameters: batch norm 496; no norm 482" in text


def test_a_new_baseline_and_a_new_strategy_are_drawn_though_no_look_is_listed_for_them(record):
    names = record.optimizer.str.replace("SGD", "Adamax").str.replace("meta", "halved")
    strategies = record.strategy.str.replace("meta", "halved").values
    renamed = record.assign_coords(optimizer=names, strategy=("optimizer", strategies))
    assert {"Adamax", "2-Adam halved"} <= set(looks.of_methods(renamed))
    legend = contest.rates(renamed).legends[0]
    assert "Adamax" in [text.get_text() for text in legend.get_texts()]
