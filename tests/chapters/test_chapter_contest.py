"""Chapter contest: what its figures and tables make of the smoke record of the contest on CIFAR-10."""

import numpy as np
import pytest

from kadam.chapters.contest import figures as contest
from kadam.chapters.contest import looks
from kadam.chapters.contest.cifar import figures
from kadam.chapters.contest.comparisons import EQUAL, MATCHED, TUNED
from kadam.lab.records.profiles import BASELINES

SHOWN = ["Adam", "SGD", "2-Adam meta"]


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
    sgd = row_of(contest.curve_table(record, methods=SHOWN), "no norm", TUNED, "SGD")
    assert sgd[-2] == f"{float(tuned.sel(optimizer='SGD')):.1f}"
    best = float(record.peak_rate.sel(comparison=TUNED, network="batch norm", optimizer="Lion"))
    assert row_of(contest.rate_table(record), "batch norm", "Lion")[2] == f"{best:.2g}"


def test_the_ranking_starts_with_the_best_and_has_every_baseline_once(record):
    places = [row for row in contest.ranking_table(record, shown=2).rows if row[0] == "batch norm"]
    best = 100 * record.accuracy.isel(evaluation=-1).mean("seed").sel(comparison=TUNED, network="batch norm").max()
    assert places[0][1] == "1"
    assert float(places[0][3].split()[0]) == pytest.approx(float(best), abs=0.06)
    names = [row[2] for row in places]
    assert all(names.count(name) == 1 for name in BASELINES)


def test_the_size_table_is_the_root_of_the_mean_square(record):
    one = record.update_rms.sel(comparison=EQUAL, network="batch norm", optimizer="Adam")
    size = float(((one**2).mean("evaluation") ** 0.5).mean())
    table = contest.size_table(record)
    assert table.head[:2] == ("rms of u", "k = 1")
    assert {row[1] for row in table.rows} == {f"{size:.2f}"}


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
