"""Are these betas safe? The answer is the theory's, with its reason, for Adam and for k-Adam, in words, a report, and JSON."""

import json
import math
import re

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st

import kadam
from kadam import Decay, stages
from kadam.advice import BESIDE, COMMON, Advice, advise
from kadam.chapters.stability.run import PRACTICE
from kadam.decay import STRATEGIES
from kadam.theory import relatives
from kadam.theory import stability as theory


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ((0.9, 0.999), ["stable", "7.27 learning rates", "about 0.229 in root mean square", "at most 3.16 however"]),
        ((0.95, 0.95), ["stable", "1 learning rates"]),
        ((0.98, 0.95), ["UNSTABLE", "factor e every 184 steps", "beta1^2 = 0.9604", "zero in more than 98.9% of the steps"]),
        ((0.99, 0.9), ["UNSTABLE", "zero in more than 91.8% of the steps", "steady size a step is about 0.0709"]),
        ((0.99999, 0.9999), ["UNSTABLE", "zero in more than 99.9920% of the steps"]),
        ((0.99999, 0.9), ["UNSTABLE", "factor e every 19 steps", "beta1^2 = 0.99998001."]),
        ((0.9, 0.8099999999), ["betas = (0.9, 0.8099999999), ", "UNSTABLE", "factor e every 16,200,000,000 steps", "= 0.81."]),
        ((0.001, 1e-300), ["UNSTABLE", "factor e every 0.00295 steps"]),
        ((0.123456, 0.0152414), ["stable", "beta2 = 0.0152414 against beta1^2 = 0.01524139"]),
        ((0.9, 0.81), ["UNSTABLE", "square root of the number of steps", "just as fast as the momentum", "at most 1 however"]),
        ((0.9, 0.815), ["stable", "outside the paper's narrower region"]),
        ((0.5, 0.0), ["UNSTABLE", "without any limit", "Any weight is at risk"]),
        ((0.0, 0.0), ["stable", "1 learning rates"]),
    ],
)
def test_advice_gives_the_verdict_with_its_reason(betas, words):
    sentence = advise(Decay.from_betas(betas)).sentence()
    assert all(word in sentence for word in words)
    assert ("UNSTABLE" in sentence) == ("UNSTABLE" in words)


rates = st.floats(0, 1, exclude_max=True)


@st.composite
def pairs(draw):
    """Any pair, or one whose beta2 lies a few floats, or a little, beside the boundary beta1^2."""
    beta1 = draw(rates | rates.map(lambda x: 1 - x**8).filter(lambda x: x < 1))
    near = beta1**2 + draw(st.integers(-3, 3)) * max(math.ulp(beta1**2), draw(st.sampled_from((0.0, 1e-12, 1e-9, 1e-6))))
    return beta1, draw(rates) if draw(st.booleans()) else min(max(near, 0.0), math.nextafter(1, 0))


@fuzz(betas=pairs())
def test_what_is_printed_is_the_given_pair_on_its_side_of_the_boundary_and_the_advice_can_be_followed_to_the_letter(betas):
    sentence = advise(betas).sentence()
    beta1, beta2 = map(float, re.search(r"betas = \((.*?), (.*?)\)", sentence).groups())
    boundary = float(re.search(r"beta1\^2 = ([\d.e-]+?)[.)]+(?: |$)", sentence)[1])
    assert (beta1, beta2) == betas
    assert boundary == pytest.approx(beta1**2, rel=1.1e-3)
    assert 1 - boundary == pytest.approx(1 - beta1**2, rel=1.1e-3)
    assert beta1 == 0 or (beta2 > boundary) == (": stable" in sentence)
    assert advise((beta1, math.nextafter(boundary, 1))).stable_discrete


def test_advice_as_data_is_the_theorys():
    advice = advise(Decay(beta=0.95, gamma=0.9))
    pair = {"beta": 0.95, "gamma": 0.9}
    assert theory.coefficient(**pair) == advice.C
    assert advice.largest_update == pytest.approx(float(0.1 / 0.05**0.5 / (1 - 0.81 / 0.95) ** 0.5))
    assert advise(Decay(beta=0.0, gamma=0.5)).growth_rate is None


@fuzz(betas=pairs())
def test_what_usual_gradients_do_is_the_theorys(betas):
    advice, pair = advise(betas), vars(Decay.from_betas(betas))
    assert (advice.critical_silence, advice.typical_update) == (
        theory.critical_silence(**pair),
        theory.white_update(gamma=betas[0]),
    )
    bounds = theory.rms_bound([0, 10, 1e3, 1e9], **pair)
    assert (advice.rms_update is None) == (theory.growth_rate(**pair) > 0)
    assert advice.rms_update is None or max(bounds) <= advice.rms_update * (1 + 1e-9)
    assert advice.rms_update is None or 1 - betas[1] < 1e-9 or max(bounds) == pytest.approx(advice.rms_update, rel=1e-6)


@fuzz(betas=pairs())
def test_the_usual_size_of_a_step_is_never_named_without_the_gradients_that_make_it(betas):
    """Gradients of one sign make steps of 1, which are as independent and as dense as any; nearly silent ones larger steps."""
    sentence = advise(betas).sentence()
    usual = re.findall(r"about [\d.e-]+ in root mean square", sentence)
    assert bool(usual) == (betas != (0, 0))
    assert not usual or ("of random sign" in sentence and "size" in sentence)
    assert "independent" not in sentence or ("of one distribution" in sentence and "next to zero" in sentence)


def test_advice_on_several_stages_says_nothing_of_usual_gradients_whose_updates_are_the_last_stages():
    advice = advise((0.99, 0.9), k=2, strategy="repeat")
    assert advice.typical_update is advice.rms_update is advice.critical_silence is None
    assert "at risk" not in advice.sentence()


@fuzz(betas=pairs(), steps=st.integers(1, 10**6))
def test_the_worst_case_within_steps_is_that_of_their_last_and_below_that_for_ever(betas, steps):
    advice, bound = advise(betas, steps=steps), theory.max_update_bound(steps - 1, **vars(Decay.from_betas(betas)))
    assert advice.largest_update_within_steps == (bound if math.isfinite(bound) else None)
    if advice.largest_update is not None:
        assert advice.largest_update_within_steps <= advice.largest_update * (1 + 1e-6)
    assert advise(betas, steps=1).largest_update_within_steps == pytest.approx(1)


@fuzz(betas=pairs())
def test_memories_are_sums_of_weights_and_half_lives_halve_them(betas):
    advice = advise(betas)
    memories = (advice.momentum_memory, advice.second_moment_memory)
    half_lives = (advice.momentum_half_life, advice.second_moment_half_life)
    for rate, memory, half_life in zip(betas, memories, half_lives, strict=True):
        assert memory * (1 - rate) == pytest.approx(1)
        assert rate == 0 or rate**half_life == pytest.approx(0.5, rel=1e-9)
        assert half_life >= 0


@fuzz(betas=pairs(), batch=st.floats(1, 1e9))
def test_a_pair_is_stable_below_its_critical_batch_and_beta2_follows_the_batch_as_the_report_says(betas, batch):
    advice = advise(betas, batch_tokens=batch)
    beta1, beta2 = betas
    assert advice.batch_tokens == batch
    if advice.critical_batch is None or beta2 < 1e-30 or beta1 < 1e-15 or beta1 > 1 - 1e-6:
        return
    for factor in (0.5, 0.99, 1.01, 2.0):
        rescaled = beta2 ** (factor * advice.critical_batch)
        if 0 < rescaled < 1:
            assert advise((beta1, rescaled)).stable_discrete == (factor < 1)
    half_life = advice.second_moment_half_life * batch
    half, twice = map(float, re.search(r"half of it beta2 = (\S+), at twice (\S+) \(", advice.report()).groups())
    for shown, new in ((half, batch / 2), (twice, 2 * batch)):
        exact = relatives.half_life_decay(new, half_life=half_life)
        assert min(shown, 1 - shown) == pytest.approx(min(exact, 1 - exact), rel=1e-2)


# Pairs of which no stage's rate rounds to 1.
apart = pairs().filter(lambda betas: max(betas) < 1 - 1e-12)


def table_of(report):
    """The rows of a report's table by the pair, each the cells behind it."""
    found = re.findall(r"^\((\S+), (\S+)\)  +(.*)$", report, flags=re.M)
    return {(float(beta1), float(beta2)): re.split(r"  +", cells) for beta1, beta2, cells in found}


def approximately(x):
    return pytest.approx(x, rel=6e-3)


@fuzz(betas=apart, k=st.integers(1, 4), strategy=st.sampled_from(STRATEGIES))
def test_a_report_sets_common_pairs_beside_the_one_asked_for_each_with_what_advice_says_of_it(betas, k, strategy):
    advice = advise(betas, k=k, strategy=strategy)
    report = advice.report()
    assert report == str(advice)
    assert report.startswith(advice.sentence())
    assert ("inside its region C > 0" in report) == advice.stable_continuous
    table = table_of(report)
    assert {betas, (betas[0], betas[0]), *BESIDE, *([betas[::-1]] if betas[0] > betas[1] else [])} == set(table)
    assert table[betas][0] == "yours"
    for pair, (_, verdict, within, for_ever, usually, silence) in table.items():
        other = advise(pair, k=k, strategy=strategy)
        assert verdict == ("stable" if other.stable_discrete else "UNSTABLE")
        assert (for_ever == "no limit") == (other.largest_update is None)
        assert for_ever == "no limit" or float(for_ever.replace(",", "")) == approximately(other.largest_update)
        assert within in ("no limit", "> 1e308") or float(within.replace(",", "")) == approximately(
            other.largest_update_within_steps
        )
        assert (usually, silence) == ("-", "-") if k > 1 else float(usually) == approximately(other.typical_update)
        assert k > 1 or (silence == "never") == (other.critical_silence == 1)


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ((0.999, 0.9), "Did you mean (0.9, 0.999), PyTorch's default?"),
        ((0.95, 0.9), "Did you mean (0.9, 0.95), language models?"),
        ((0.997, 0.93), "Did you mean (0.93, 0.997)?"),
        ((0.99, 0.0), "Did you mean (0.0, 0.99), RMSprop?"),
        ((0.0, 0.0), "This is SignSGD"),
        ((0.0, 0.97), "This is RMSprop"),
        ((0.9, 0.999), None),
        ((0.9, 0.85), None),
        ((0.5, 0.0), None),
        ((0.99, 0.99), None),
    ],
)
def test_swapped_betas_and_pairs_with_a_name_are_recognised(betas, words):
    remarks = advise(betas).remarks()
    assert len(remarks) == (words is not None)
    assert words is None or words in remarks[0]
    assert all(remark in advise(betas).report() for remark in remarks)


@fuzz(betas=apart, k=st.integers(1, 4), strategy=st.sampled_from(STRATEGIES))
def test_the_pair_that_may_have_been_meant_is_stable_as_the_remark_says(betas, k, strategy):
    remarks = advise(betas, k=k, strategy=strategy).remarks()
    for beta1, beta2 in re.findall(r"Did you mean \((\S+), ([^\s)]+)\)", " ".join(remarks)):
        assert (float(beta1), float(beta2)) == betas[::-1]
        assert advise((float(beta1), float(beta2)), k=k, strategy=strategy).stable_discrete


def test_common_pairs_are_those_of_chapter_1_and_safe():
    assert {(gamma, beta) for beta, gamma in PRACTICE.values()} >= set(COMMON) >= set(BESIDE)
    assert all(advise(pair).stable_discrete for pair in COMMON)


@fuzz(betas=apart, k=st.integers(1, 4), strategy=st.sampled_from(STRATEGIES), batch=st.none() | st.floats(1e-300, 1e300))
def test_advice_as_json_is_strict_and_complete(betas, k, strategy, batch):
    advice = advise(betas, k=k, strategy=strategy, batch_tokens=batch)
    data = json.loads(json.dumps(advice.as_dict(), allow_nan=False))
    assert set(data) == {*Advice.__dataclass_fields__, "remarks", "neighbours"}
    assert tuple(data["betas"]) == betas
    for name, other in advice.neighbours().items():
        assert data["neighbours"][name] == json.loads(json.dumps({key: getattr(other, key) for key in other.__dict__}))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.98, 0.95), (0.0, 0.0)])
def test_advice_takes_pytorchs_pair_or_a_decay(betas):
    assert kadam.advise(betas) == advise(Decay.from_betas(betas))


def test_advice_on_k_adam_is_that_on_its_last_stage_and_says_so():
    last = stages(Decay.from_betas((0.98, 0.95)), 3, "meta")[-1]
    advice = advise((0.98, 0.95), k=3, strategy="meta")
    assert (advice.beta1, advice.beta2, advice.stable_discrete) == (*last.betas, True)
    assert advise(last).sentence().startswith(advice.sentence().removeprefix("3-Adam's last stage has "))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": "0.9"}, r"betas must be a pair \(beta1, beta2\), got '0.9'"),
        ({"betas": "09"}, r"beta1 must lie in \[0, 1\), got '0'"),
        ({"betas": 0.9}, r"betas must be a pair \(beta1, beta2\), got 0.9"),
        ({"betas": (0.9,)}, r"betas must be a pair \(beta1, beta2\), got \(0.9,\)"),
        ({"betas": (0.9, 0.99, 0.999)}, r"betas must be a pair \(beta1, beta2\), got \(0.9, 0.99, 0.999\)"),
        ({"betas": (0.9, 1.0)}, r"beta2 must lie in \[0, 1\), got 1.0"),
        ({"betas": (-1, 0.9)}, r"beta1 must lie in \[0, 1\), got -1"),
        ({"betas": (0.9, math.nan)}, r"beta2 must lie in \[0, 1\), got nan"),
        ({"betas": (True, 0.9)}, r"beta1 must lie in \[0, 1\), got True"),
        ({"betas": (0.9, False)}, r"betas must be a pair of numbers \(beta1, beta2\), got \(0.9, False\)"),
        ({"betas": ("0.9", 0.999)}, r"beta1 must lie in \[0, 1\), got '0.9'"),
        ({"betas": (0.9, 0.99), "steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"betas": (0.9, 0.99), "steps": True}, "steps must be a whole number >= 1, got True"),
        ({"betas": (0.9, 0.99), "batch_tokens": 0}, "batch_tokens must be a finite number > 0, got 0"),
        ({"betas": (0.9, 0.99), "batch_tokens": "many"}, "batch_tokens must be a finite number > 0, got 'many'"),
        ({"betas": (0.9, 0.99), "k": 0}, "k must be a whole number >= 1, got 0"),
        ({"betas": (0.9, 0.99), "strategy": "none"}, "strategy must be one of repeat, .*; got 'none'"),
    ],
)
def test_bad_betas_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        advise(**arguments)
