"""The functions on Adam's relatives, the last stage and the exact rates at every kind of argument."""

import math

import numpy as np
from fuzzing import Refused, answer, anything, as_float, decays, fuzz, is_count, is_finite_number, is_rate, rates, refuses
from hypothesis import strategies as st

from kadam import Decay
from kadam.theory import exact_rates, relatives
from kadam.theory.last_stage import largest_output, last_stage_gradients
from kadam.theory.reference import kadam_updates
from kadam.theory.stability import max_update_bound

few = st.integers(0, 30)
lengths = anything.filter(lambda n: not as_float(n) > 300)


def is_iteration(n):
    return as_float(n) >= 0 and as_float(n) == math.floor(as_float(n))


@fuzz(n=few, beta=rates, gamma=rates, corrected=st.booleans())
def test_amsgrads_bound_is_at_most_adams_and_its_worst_case_has_its_length(n, beta, gamma, corrected):
    bound = relatives.amsgrad_bound(n, beta=beta, gamma=gamma, corrected=corrected)
    assert 0.99 <= bound <= max_update_bound(n, beta=beta, gamma=gamma) * (1 + 1e-6)
    worst = relatives.amsgrad_worst_case(n, beta=beta, gamma=gamma, corrected=corrected)
    assert worst.shape == (n + 1,)
    assert np.isfinite(worst).all()


@fuzz(n=few, beta=rates, gamma=rates)
def test_laprops_bound_lies_between_one_and_its_limit(n, beta, gamma):
    bound = relatives.laprop_bound(n, beta=beta, gamma=gamma)
    assert 1 - 1e-9 <= bound <= 1 / math.sqrt(1 - beta) * (1 + 1e-9)


@fuzz(n=few, beta=st.floats(0.01, 0.9999), gamma=rates, momentum_decay=anything)
def test_nadams_weights_are_answered_or_named(n, beta, gamma, momentum_decay):
    allowed = as_float(momentum_decay) >= 0
    try:
        weights = answer(lambda: relatives.nadam_weights(n, gamma=gamma, momentum_decay=momentum_decay), "momentum_decay")
    except Refused:
        assert not allowed
        return
    assert allowed
    assert (weights >= 0).all()
    assert weights[0] > 0
    assert relatives.weighted_bound(weights, beta=beta) > 0


@fuzz(n=lengths, gamma=anything)
def test_iterations_and_rates_are_answered_or_named(n, gamma):
    for call in (
        lambda: relatives.laprop_bound(n, beta=0.5, gamma=0.5),
        lambda: relatives.amsgrad_bound(n, beta=0.5, gamma=0.5),
        lambda: relatives.amsgrad_worst_case(n, beta=0.5, gamma=0.5),
        lambda: relatives.ademamix_weights(n),
        lambda: relatives.nadam_weights(n, gamma=0.5),
        lambda: relatives.scale_response(n, beta=0.5, gamma=0.9),
    ):
        assert refuses(call, "n must") != is_iteration(n)
    for call in (
        lambda: relatives.nadam_weights(2, gamma=gamma),
        lambda: relatives.ademamix_weights(2, gamma=gamma),
        lambda: relatives.amsgrad_worst_case(2, beta=0.5, gamma=gamma),
        lambda: relatives.scale_response(2, beta=0.5, gamma=gamma),
    ):
        assert refuses(call, "gamma") != is_rate(gamma)


@fuzz(alpha=anything, slow=anything)
def test_ademamixs_numbers_are_answered_or_named(alpha, slow):
    assert refuses(lambda: relatives.ademamix_weights(3, alpha=alpha), "alpha") != is_finite_number(alpha)
    assert refuses(lambda: relatives.ademamix_weights(3, slow=slow), "slow") != is_rate(slow)


@fuzz(weights=st.lists(st.floats(-1e300, 1e300), max_size=8), beta=anything)
def test_weights_are_answered_or_named(weights, beta):
    allowed = len(weights) > 0 and 0 < as_float(beta) < 1
    try:
        bound = answer(lambda: relatives.weighted_bound(weights, beta=beta), "weights", "beta")
    except Refused:
        assert not allowed
        return
    assert allowed
    assert bound >= 0
    assert refuses(lambda: relatives.weighted_worst_case(weights, beta=beta), "weights") == (not any(weights))


@fuzz(size=anything, p=anything)
def test_norms_are_answered_or_named(size, p):
    whole = 1 <= as_float(size) < math.inf and as_float(size) == math.floor(as_float(size))
    assert refuses(lambda: relatives.norm_bound(3, size=size, p=2, beta=0.9, gamma=0.5), "size") != whole
    assert refuses(lambda: relatives.norm_bound(3, size=3, p=p, beta=0.9, gamma=0.5), "p must") != (as_float(p) >= 1)


@fuzz(beta=rates, gamma=rates)
def test_limits_and_responses_have_no_gaps(beta, gamma):
    limit = relatives.nadam_limit(beta=beta, gamma=gamma)
    assert math.isinf(limit) == (gamma > 0 and gamma**2 >= beta) or limit > 1e100
    assert math.copysign(1, relatives.slope_response(beta=beta, gamma=gamma)) == math.copysign(1, beta - gamma)


@fuzz(slope=anything, beta=rates, gamma=rates)
def test_a_steady_update_is_answered_or_its_slope_named(slope, beta, gamma):
    try:
        u = answer(lambda: relatives.steady_update(slope, beta=beta, gamma=gamma), "slope")
    except Refused:
        return
    assert np.all(u >= 0)


@fuzz(batch=anything, half_life=anything, gamma=rates)
def test_batches_are_answered_or_named(batch, half_life, gamma):
    fine = is_finite_number(half_life, above=0)
    assert refuses(lambda: relatives.critical_batch(half_life, gamma=gamma), "half_life") != fine
    both = fine and is_finite_number(batch, above=0)
    assert refuses(lambda: relatives.half_life_decay(batch, half_life=half_life), "half_life", "batch") != both


@fuzz(n=st.integers(0, 10**6), beta=rates, gamma=rates)
def test_exact_rates_bound_the_algorithm(n, beta, gamma):
    if min(beta, gamma) == 0:
        assert refuses(lambda: exact_rates.excess(beta=beta, gamma=gamma), "beta", "gamma")
        return
    assert exact_rates.excess(beta=beta, gamma=gamma) >= 1 - 1e-9
    assert exact_rates.bound_at_exact_rates(n, beta=beta, gamma=gamma) >= max_update_bound(n, beta=beta, gamma=gamma) * (
        1 - 1e-9
    )


@fuzz(
    stages=st.lists(st.builds(Decay, beta=st.floats(0.3, 0.99), gamma=st.floats(0, 0.95)), min_size=1, max_size=3),
    silence=st.integers(1, 200),
    window=st.integers(1, 30),
)
def test_gradients_for_the_last_stage_stay_within_its_bound_or_are_refused(stages, silence, window):
    try:
        g = answer(lambda: last_stage_gradients(stages, silence=silence, window=window), "silence")
    except Refused:
        return
    bound = max_update_bound(np.arange(len(g)), beta=stages[-1].beta, gamma=stages[-1].gamma)
    assert (np.abs(kadam_updates(g, stages)) <= bound * (1 + 1e-6)).all()


@fuzz(n=anything, decay=decays, silence=anything, window=lengths)
def test_lengths_of_relatives_are_answered_or_named(n, decay, silence, window):
    one = [Decay()]
    if not as_float(n) > 10**6:
        assert refuses(lambda: largest_output(n, decay), "n must") != is_count(n, most=2**53)
    assert refuses(lambda: last_stage_gradients(one, silence=silence, window=3), "silence") != is_silence(silence)
    assert refuses(lambda: last_stage_gradients(one, silence=1, window=window), "window") != is_count(window, most=2**53)


def is_silence(x):
    """One count, or for one stage a list of one."""
    return is_count(x, most=2**53 - 1) or (isinstance(x, list | tuple) and len(x) == 1 and is_count(x[0]))
