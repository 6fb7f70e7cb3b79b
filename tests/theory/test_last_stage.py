"""The last stage's bound is sharp: gradients are built that come as close to it as one likes, behind any earlier stages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from kadam.decay import Decay
from kadam.theory.last_stage import largest_output, last_stage_gradients
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import max_update_bound, worst_case_gradients

ADAM, QUICK = Decay(), Decay(beta=0.98, gamma=0.9)
UNSTABLE = Decay(beta=0.9, gamma=0.99)
SLOWLY_UNSTABLE = Decay(beta=0.9, gamma=0.95)


def D(n, decay):
    return max_update_bound(n, beta=decay.beta, gamma=decay.gamma)


def reached(stages, **lengths):
    """The update after the last gradient, by the reference, which shares no code with the construction."""
    updates = kadam_updates(last_stage_gradients(stages, **lengths), stages)
    assert (np.abs(updates) <= D(np.arange(len(updates)), stages[-1]) * (1 + 1e-9)).all()
    return updates[-1]


@pytest.mark.parametrize(
    ("stages", "silence", "short"),
    [
        ([ADAM, ADAM], 17_000, 2e-3),
        ([ADAM, ADAM, ADAM], [8_000, 11_000], 2e-3),
        ([UNSTABLE, QUICK], 2_000, 1e-12),
        ([SLOWLY_UNSTABLE, SLOWLY_UNSTABLE, QUICK], [300, 1_500], 1e-6),
        ([QUICK] * 4, 1_000, 1e-12),
        ([Decay(beta=0.9, gamma=0), QUICK, Decay(beta=0.9, gamma=0)], 300, 1e-6),
    ],
    ids=["adam-twice", "adam-three-times", "behind-unstable", "behind-two-unstable", "four-stages", "without-momentum"],
)
def test_the_bound_of_the_last_stage_is_approached(stages, silence, short):
    limit = D(10**7, stages[-1])
    assert limit * (1 - short) <= reached(stages, silence=silence, window=400) <= limit * (1 + 1e-12)


def test_the_numbers_of_the_page():
    assert reached([ADAM, ADAM], silence=18_000) == pytest.approx(7.2669, abs=5e-5)
    assert D(10**7, ADAM) == pytest.approx(7.2703, abs=5e-5)
    assert reached([UNSTABLE, QUICK], silence=2_000) == pytest.approx(1.697749375, abs=5e-10)
    assert D(10**7, QUICK) == pytest.approx(1.697749375, abs=5e-10)


@pytest.mark.parametrize("earlier", [[QUICK], [QUICK, QUICK]], ids=["k=2", "k=3"])
def test_behind_a_last_stage_outside_the_region_there_is_no_limit(earlier):
    sizes = [reached([*earlier, UNSTABLE], silence=1_000, window=window) for window in (100, 200, 300)]
    growth = np.log(UNSTABLE.gamma) - np.log(UNSTABLE.beta) / 2
    assert_allclose(np.diff(np.log(sizes)), 100 * growth, rtol=0.05)


def test_longer_silence_comes_closer():
    distances = [D(10**7, QUICK) - reached([QUICK, QUICK], silence=silence) for silence in (200, 400, 600, 800)]
    assert (np.diff(distances) < 0).all()
    assert distances[-1] > 0


def test_one_stage_needs_no_detour():
    assert_allclose(
        last_stage_gradients([ADAM], silence=1, window=8), worst_case_gradients(7, beta=0.999, gamma=0.9), rtol=1e-15
    )


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    decay=st.builds(Decay, beta=st.floats(0.05, 0.999), gamma=st.floats(0, 0.99)),
    shares=st.lists(st.floats(-0.95, 0.95), min_size=1, max_size=8),
)
def test_a_stage_emits_anything_below_its_largest_output_and_nothing_above(decay, shares):
    """The lemma of the proof, by root finding on the reference instead of the construction's closed form."""
    g = [1.0]
    for n, share in enumerate(shares, start=1):
        wanted, limit = share * largest_output(n, decay), largest_output(n, decay)
        g.append(brentq(lambda x, g=tuple(g), y=wanted: kadam_updates([*g, x], [decay])[-1] - y, -1e9, 1e9))
        assert kadam_updates(g, [decay])[-1] == pytest.approx(wanted, rel=1e-6, abs=1e-6 * limit)


def test_behind_signsgd_the_bound_is_not_reached():
    """The hypothesis on earlier betas is needed: signs and zeros, of which the best are ones after zeros, stop at 6.5685."""
    length = np.arange(1, 400)
    best = (1 - 0.9**length) / np.sqrt(1 - 0.999**length)
    assert best.max() == pytest.approx(6.5685, abs=5e-5)
    rng = np.random.default_rng(0)
    signs = np.concatenate([np.zeros((10_000, 500)), rng.choice([-1, 0, 1], (40, 500), p=[0.03, 0.07, 0.9])])
    updates = kadam_updates(np.concatenate([signs, np.ones((10, 500))]), [Decay(beta=0, gamma=0), ADAM])
    assert np.abs(updates[10_000:]).max() <= best.max()


@pytest.mark.parametrize(
    ("stages", "given", "message"),
    [
        ([], {"silence": 5}, "stages must hold at least one Decay"),
        ([Decay(beta=0, gamma=0), ADAM], {"silence": 5}, "stages must have beta > 0"),
        ([ADAM, ADAM], {"silence": 0}, "silence must be a whole number >= 1, got 0"),
        ([ADAM, ADAM], {"silence": [5, 5]}, "silence must be one whole number or one for each stage but the last"),
        ([ADAM, ADAM], {"silence": 5, "window": 0}, "window must be a whole number >= 1, got 0"),
        ([ADAM, ADAM, ADAM], {"silence": 5}, "silence must be longer"),
        ([UNSTABLE, ADAM], {"silence": 20_000}, "silence must be longer, or shorter where v underflows"),
    ],
)
def test_what_cannot_be_built_is_named(stages, given, message):
    with pytest.raises(ValueError, match=message):
        last_stage_gradients(stages, **given)


def test_stages_are_decays():
    with pytest.raises(TypeError, match=r"stages must be a sequence of kadam\.Decay"):
        last_stage_gradients([(0.9, 0.999)], silence=5)
