"""Chapter 7: the parts of NAdam, and both sides of what is claimed of them."""

import numpy as np
import pytest
import xarray as xr

from kadam import chapters
from kadam.chapters.contest.lookahead import claims, config, figures, run
from kadam.chapters.contest.lookahead.claims import AHEAD, WARM, WEIGHTS

YES, PARTLY, NO, NOT_RUN = "reproduced", "partly", "not reproduced", "not run at this profile"


def repeated(record, **leads):
    """Seven seeds in which methods lead Adam's loss of 2 by so much in each of the two networks."""
    found = record.isel(seed=[0] * 7).assign_coords(seed=np.arange(7)).copy(deep=True)
    found["loss"] = xr.zeros_like(found.loss) + 2.0
    noise = xr.DataArray(np.linspace(-0.01, 0.01, 7), dims="seed")
    for method, lead in leads.items():
        values = xr.DataArray(np.broadcast_to(lead, 2), dims="network") + noise
        found["loss"] = xr.where(found.optimizer == method, found.loss - values, found.loss).transpose(*found.loss.dims)
    return found


def judged(record):
    return {claim.id: claim for claim in chapters.claims("lookahead", record, leave_out=False)}


@pytest.mark.parametrize(("part", "id"), [(AHEAD, "D-7y"), (WARM, "D-7z")])
@pytest.mark.parametrize(
    ("lead", "verdict"), [(0.09, YES), (0.2, YES), (0.04, NO), (-0.1, NO), (0.0505, NO), ([0.09, 0.0], PARTLY)]
)
def test_a_part_explains_the_lead_or_does_not(smoke_records, part, id, lead, verdict):
    assert judged(repeated(smoke_records["lookahead"], NAdam=0.1, **{part: lead}))[id].verdict == verdict


def test_where_nadam_does_not_lead_there_is_nothing_to_explain(smoke_records):
    found = judged(repeated(smoke_records["lookahead"], NAdam=[0.1, -0.1], **{WARM: 0.1}))["D-7z"]
    assert found.verdict == YES
    assert len(found.cases) == 2  # the two comparisons of one network
    assert judged(smoke_records["lookahead"])["D-7z"].verdict == NOT_RUN


def test_the_words_give_the_lead_and_the_share_of_each_part(smoke_records):
    record = repeated(smoke_records["lookahead"], NAdam=0.1, **{AHEAD: 0.02, WARM: 0.15, WEIGHTS: [0.08, 0.1]})
    told = figures.parts_said(record)
    assert "NAdam's lead over Adam is +0.100 nats" in told
    assert "of this have NAdam at constant momentum 20%, a momentum that warms up alike 150%" in told
    assert "their sum kept to one 80% to 100%" in told


def test_a_panel_shows_every_method_but_adam(smoke_records):
    figure = figures.parts(smoke_records["lookahead"])
    assert [len(axes.get_xticklabels()) for axes in figure.axes] == [4, 4]


def test_the_contest_is_of_adam_nadam_and_its_parts_at_the_optimum_and_at_matched_size():
    contest = run.contest(config.PROFILES["cpu"])
    assert contest.methods == ("Adam", claims.NADAM, AHEAD, WARM, WEIGHTS)
    assert contest.comparisons == ("tuned", "matched size")
    assert np.diff(np.log2(config.PROFILES["cpu"].rates)) == pytest.approx(1)
