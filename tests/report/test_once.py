"""What judges want to know of a dataset is computed once while they judge, and never mixed up or kept too long."""

import xarray as xr

from kadam.report.ledger import judge_all, judged
from kadam.report.once import judging, once

WHOLE = xr.Dataset({"x": ("seed", [1.0, 2.0, 3.0, 5.0])})


def counted():
    calls = []

    @once
    def total(dataset, power=1, *, sign=1):
        calls.append((dataset.sizes["seed"], power, sign))
        return sign * float((dataset.x**power).sum())

    return total, calls


def test_while_judging_it_is_computed_once_for_each_dataset_and_arguments():
    total, calls = counted()
    other = WHOLE.isel(seed=slice(2))
    with judging():
        found = [(total(WHOLE), total(WHOLE, 2), total(WHOLE, 2, sign=-1), total(other)) for _ in range(3)]
    assert found == [(11, 39, -39, 3)] * 3
    assert calls == [(4, 1, 1), (4, 2, 1), (4, 2, -1), (2, 1, 1)]


def test_two_functions_of_one_dataset_are_two():
    (first, _), (second, calls) = counted(), counted()
    with judging():
        assert first(WHOLE) == second(WHOLE)
    assert len(calls) == 1


def test_a_dataset_that_nobody_holds_any_more_is_not_taken_for_another():
    total, _ = counted()
    with judging():
        assert [total(WHOLE.isel(seed=[i])) for i in (0, 1, 2, 3) for _ in range(50)] == [
            x for x in (1, 2, 3, 5) for _ in range(50)
        ]


def test_outside_of_it_nothing_is_kept():
    total, calls = counted()
    for _ in range(2):
        total(WHOLE)
    for _ in range(2):
        with judging():
            total(WHOLE)
    total(WHOLE)
    assert len(calls) == 5


def test_a_block_within_another_is_part_of_it():
    total, calls = counted()
    with judging():
        for _ in range(2):
            with judging():
                total(WHOLE)
        total(WHOLE)
    assert len(calls) == 1


def test_judges_of_one_record_share_it_and_those_of_its_parts_have_their_own():
    total, calls = counted()
    tests = {(f"X-{i}", "here"): ("x is large", "in sum", lambda d: (f"{total(d):g}", judged(total(d) > 8))) for i in range(2)}
    named = WHOLE.assign_attrs(experiment="counting", profile="smoke", config_hash="0")
    for claim in judge_all(tests, named, profile="", notebook=""):
        assert (claim.measured, claim.left_out[0], claim.left_out[-1]) == ("11", "reproduced", "not reproduced")
    assert [size for size, *_ in calls] == [4, 3, 3, 3, 3]
