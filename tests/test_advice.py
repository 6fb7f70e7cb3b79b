"""Are these betas safe? The answer is the theory's, with its reason, for Adam and for k-Adam."""

import pytest

import kadam
from kadam import Decay, stages
from kadam.advice import advise
from kadam.theory import stability as theory


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ((0.9, 0.999), ["stable", "7.27 learning rates"]),
        ((0.95, 0.95), ["stable", "1 learning rates"]),
        ((0.98, 0.95), ["UNSTABLE", "factor e every 184 steps", "beta1^2 = 0.9604"]),
        ((0.9, 0.81), ["UNSTABLE", "square root of the number of steps"]),
        ((0.9, 0.815), ["stable", "outside the paper's narrower region"]),
        ((0.5, 0.0), ["UNSTABLE", "without any limit"]),
        ((0.0, 0.0), ["stable", "1 learning rates"]),
    ],
)
def test_advice_gives_the_verdict_with_its_reason(betas, words):
    sentence = advise(Decay.from_betas(betas)).sentence()
    assert all(word in sentence for word in words)
    assert ("UNSTABLE" in sentence) == ("UNSTABLE" in words)


def test_advice_as_data_is_the_theorys():
    advice = advise(Decay(beta=0.95, gamma=0.9))
    pair = {"beta": 0.95, "gamma": 0.9}
    assert theory.coefficient(**pair) == advice.C
    assert advice.largest_update == pytest.approx(float(0.1 / 0.05**0.5 / (1 - 0.81 / 0.95) ** 0.5))
    assert advise(Decay(beta=0.0, gamma=0.5)).growth_rate is None


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.98, 0.95), (0.0, 0.0)])
def test_advice_takes_pytorchs_pair_or_a_decay(betas):
    assert kadam.advise(betas) == advise(Decay.from_betas(betas))


def test_advice_on_k_adam_is_that_on_its_last_stage_and_says_so():
    last = stages(Decay.from_betas((0.98, 0.95)), 3, "meta")[-1]
    advice = advise((0.98, 0.95), k=3, strategy="meta")
    assert (advice.beta1, advice.beta2, advice.stable_discrete) == (*last.betas, True)
    assert advice.sentence() == f"3-Adam's last stage has {advise(last).sentence()}"


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
