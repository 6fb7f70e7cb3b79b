"""Chapter stability: what its smoke record holds, how its claims are decided, and what it draws."""

import matplotlib.pyplot as plt
import pytest

from kadam import chapters
from kadam.chapters.stability import config as stability_config
from kadam.chapters.stability import figures as stability


@pytest.mark.parametrize("change", [{"grid": 0}, {"length": 10}, {"pairs": -1}])
def test_a_bad_stability_configuration_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        stability_config.Config(**change)


def test_a_claim_that_fails_is_reported_as_not_reproduced(smoke_records):
    wrong = smoke_records["stability"].copy()
    wrong["attained"] = wrong.attained * 1.001
    wrong["last_stage_ratio"] = wrong.last_stage_ratio + 1
    verdicts = {claim.id: claim.verdict for claim in chapters.claims("stability", wrong)}
    assert (verdicts["D-1d"], verdicts["D-1f"], verdicts["D-1c"]) == ("not reproduced", "not reproduced", "reproduced")


def test_drawing_leaves_matplotlibs_settings_alone(smoke_records):
    before = dict(plt.rcParams)
    stability.boundaries(smoke_records["stability"])
    assert dict(plt.rcParams) == before


def test_the_practice_table_says_which_pairs_are_unstable(smoke_records):
    lines = stability.practice_table(smoke_records["stability"]).splitlines()[1:]
    unstable = {line[:16].strip() for line in lines if "unstable" in line}
    assert len(lines) == 9
    assert unstable == {"momentum 0.98", "default swapped"}
    assert max(map(len, lines)) <= 80


def test_the_boundary_numbers_are_the_theorys(smoke_records):
    numbers = stability.boundary_numbers(smoke_records["stability"])
    assert numbers["widest gap in beta"] == pytest.approx(((1 + 5**0.5) / 2) ** -5, abs=1e-6)
    assert numbers["gap at gamma 0.9"] == pytest.approx(0.9 / 1.1 - 0.81)
