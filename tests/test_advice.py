"""Are these betas safe? The answer is the theory's, with its reason, for Adam and for k-Adam."""

import math
import re

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st

import kadam
from kadam import Decay, stages
from kadam.advice import advise
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
        ({"betas": (0.9, 1.0)}, r"beta2 must lie in \[0, 1\), got 1.0"),
        ({"betas": (0.9, 0.99), "k": 0}, "k must be a whole number >= 1, got 0"),
        ({"betas": (0.9, 0.99), "strategy": "none"}, "strategy must be one of repeat, .*; got 'none'"),
    ],
)
def test_bad_betas_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        advise(**arguments)
