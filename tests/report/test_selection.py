"""A part of a record is selected by its labels, and a label that it lacks is refused."""

import re

import numpy as np
import pytest
import xarray as xr

from kadam.report.selection import selected

RECORD = xr.Dataset({"x": (("seed", "weight", "n"), np.zeros((2, 2, 50)))}, {"seed": [0, 1], "weight": ["q", "k"]})


def test_the_part_with_the_labels_is_selected():
    xr.testing.assert_identical(selected(RECORD, seed=1, weight="k"), RECORD.sel(seed=1, weight="k"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"seed": 99}, "seed must be one of 0, 1; got 99"),
        ({"weight": "v"}, "weight must be one of q, k; got 'v'"),
        ({"seed": 0, "n": -1}, "n must be one of 0, 1, ..., 49; got -1"),
    ],
)
def test_a_label_that_a_record_lacks_is_refused_with_those_that_it_has(labels, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        selected(RECORD, **labels)
