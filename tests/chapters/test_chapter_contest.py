"""Chapter contest: what its smoke record holds, how its claims are decided, and what it draws."""

import numpy as np
import pytest

from kadam.chapters.contest import drawing as rivals
from kadam.chapters.contest.cifar import figures as cifar

SHOWN = ["Adam", "SGD", "2-Adam meta"]


def test_the_tables_of_chapter_6_hold_what_the_record_holds(smoke_records):
    record = smoke_records["cifar"]
    end = 100 * record.accuracy.isel(evaluation=-1).mean("seed")
    three = float(end.sel(comparison="tuned", network="no norm", optimizer="3-Adam meta"))
    assert rivals.stage_table(record, "tuned").splitlines()[-1].split()[-1] == f"{three:.1f}"
    gap = end.sel(optimizer="2-Adam meta") - end.sel(optimizer="Adam")
    line = rivals.advantage_table(record).splitlines()[-1]
    assert f"{float(gap.sel(comparison='matched size', network='batch norm')):+.1f}" in line
    sgd = float(end.sel(comparison="tuned", network="no norm", optimizer="SGD"))
    assert row_of(cifar.curve_table(record, methods=SHOWN), "SGD")[-2] == f"{sgd:.1f}"
    best = float(record.peak_rate.sel(comparison="tuned", network="batch norm", optimizer="Lion"))
    assert row_of(rivals.rate_table(record), "Lion")[1] == f"{best:.2g}"


def row_of(table, name):
    return next(line for line in table.splitlines() if line.split()[:1] == [name]).split()


def test_the_ranking_starts_with_the_best_and_has_every_baseline_once(smoke_records):
    record = smoke_records["cifar"]
    places = [line for line in rivals.ranking_table(record, shown=2).splitlines() if "batch norm" in line]
    best = 100 * record.accuracy.isel(evaluation=-1).mean("seed").sel(comparison="tuned", network="batch norm").max()
    assert float(places[0].split("(")[0].split()[-1]) == pytest.approx(float(best), abs=0.06)
    names = [line.split("(")[0].split()[3] for line in places]
    assert all(names.count(name) == 1 for name in ("Adam", "AdamW", "NAdam", "LaProp", "Lion", "SGD"))


def test_the_size_table_is_the_root_of_the_mean_square(smoke_records):
    record = smoke_records["cifar"]
    one = record.update_rms.sel(comparison="equal rate", network="batch norm", optimizer="Adam")
    size = float(((one**2).mean("evaluation") ** 0.5).mean())
    assert rivals.size_table(record).splitlines()[0] == f"Adam: {size:.2f}"


def test_the_tables_of_chapter_6_fit_the_page(smoke_records):
    record = smoke_records["cifar"]
    tables = [rivals.stage_table(record, "tuned"), cifar.curve_table(record, methods=SHOWN), rivals.rate_table(record)]
    tables += [rivals.advantage_table(record), rivals.ranking_table(record), rivals.size_table(record)]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 90


def test_a_diverged_run_is_drawn_as_a_cross(smoke_records):
    def crosses(record):
        axes = rivals.rates(record).axes
        return sum(len(line.get_xdata()) for ax in axes for line in ax.lines if line.get_marker() == "x")

    record = smoke_records["cifar"]
    failed = record.search_accuracy.copy()
    failed.loc[{"optimizer": "SGD", "network": "no norm"}] = np.nan
    assert crosses(record) == 0
    assert crosses(record.assign(search_accuracy=failed)) == 2 * record.sizes["rate"]


def test_the_setting_of_chapter_6_names_data_and_sizes(smoke_records):
    text = cifar.setting(smoke_records["cifar"])
    assert text.startswith("profile smoke; scikit-learn's digits, standing in for CIFAR-10")
    assert "128 images to train, 64 to validate, 64 to test; parameters: batch norm 496, no norm 482" in text
    assert max(map(len, text.splitlines())) <= 110
