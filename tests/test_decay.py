"""The pair of decay rates: the flip between PyTorch's order and the paper's, and the strategies of k-Adam."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kadam.decay import STRATEGIES, Decay, check_stage_count, check_strategy, stages

seeded = settings(derandomize=True, max_examples=60, deadline=None)

unit = st.floats(0.0, 0.9999)
decays = st.builds(Decay, beta=unit, gamma=unit)
stage_counts = st.integers(1, 10)
OUTSIDE = (math.nan, 1.0, 1.5, -0.1, math.inf)
ADAM = Decay(beta=0.999, gamma=0.9)


def values(pairs, name):
    return [getattr(pair, name) for pair in pairs]


def test_pytorch_order_is_flipped_into_the_papers():
    decay = Decay.from_betas((0.9, 0.999))
    assert decay.gamma == 0.9
    assert decay.beta == 0.999
    assert decay.betas == (0.9, 0.999)


def test_default_is_adams_pair():
    assert Decay() == ADAM


@seeded
@given(decay=decays)
def test_betas_round_trip(decay):
    assert Decay.from_betas(decay.betas) == decay
    assert Decay.from_betas(list(decay.betas)) == decay


def test_a_decay_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Decay().gamma = 0.5


def test_a_decay_takes_no_positional_arguments():
    with pytest.raises(TypeError, match="positional"):
        Decay(0.9, 0.999)


def test_a_decay_cannot_be_unpacked():
    with pytest.raises(TypeError, match="iterable"):
        _, _ = Decay()


def test_equal_decays_are_one_key():
    assert len({Decay(), ADAM, Decay(beta=0.9, gamma=0.999)}) == 2


@pytest.mark.parametrize("name", ["beta", "gamma"])
@pytest.mark.parametrize("value", OUTSIDE)
def test_field_outside_the_unit_interval_is_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must lie in \[0, 1\), got {value}$"):
        Decay(**{name: value})


@pytest.mark.parametrize("value", [0.0, math.nextafter(1.0, 0.0)])
def test_edges_of_the_unit_interval_are_allowed(value):
    assert Decay(beta=value, gamma=value).betas == (value, value)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("value", OUTSIDE)
def test_from_betas_names_the_bad_entry_in_pytorchs_letters(position, value):
    betas = [0.5, 0.5]
    betas[position] = value
    with pytest.raises(ValueError, match=rf"^beta{position + 1} must lie in \[0, 1\), got {value} in betas="):
        Decay.from_betas(betas)


@pytest.mark.parametrize("betas", [(), (0.9,), (0.9, 0.999, 0.5), 0.9, None, ADAM])
def test_from_betas_wants_a_pair(betas):
    with pytest.raises(ValueError, match=r"^betas must be a pair \(beta1, beta2\), got ") as error:
        Decay.from_betas(betas)
    assert repr(betas) in str(error.value)


def test_strategies_are_listed_in_order():
    assert STRATEGIES == ("repeat", "inverse_exp", "scaled", "root", "meta")


@pytest.mark.parametrize("strategy", STRATEGIES)
@seeded
@given(decay=decays)
def test_one_stage_is_exactly_the_given_pair(strategy, decay):
    assert stages(decay, 1, strategy) == (decay,)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", range(1, 11))
def test_k_stages_are_k_pairs(strategy, k):
    result = stages(ADAM, k, strategy)
    assert isinstance(result, tuple)
    assert [type(pair) for pair in result] == [Decay] * k


@pytest.mark.parametrize("strategy", ["repeat", "inverse_exp", "scaled", "root"])
@seeded
@given(decay=decays, k=stage_counts)
def test_every_stage_has_the_same_pair(strategy, decay, k):
    assert len(set(stages(decay, k, strategy))) == 1


@seeded
@given(decay=decays, k=stage_counts)
def test_repeat_keeps_the_pair(decay, k):
    assert stages(decay, k, "repeat") == (decay,) * k


@pytest.mark.parametrize("name", ["beta", "gamma"])
@seeded
@given(decay=decays, k=stage_counts)
def test_inverse_exp_keeps_the_product_of_the_new_gradient_weights(name, decay, k):
    product = math.prod(1 - x for x in values(stages(decay, k, "inverse_exp"), name))
    assert product == pytest.approx(1 - getattr(decay, name), rel=1e-11)


@pytest.mark.parametrize("name", ["beta", "gamma"])
@seeded
@given(decay=decays, k=stage_counts)
def test_scaled_memories_add_up_to_adams(name, decay, k):
    memory = math.fsum(x / (1 - x) for x in values(stages(decay, k, "scaled"), name))
    x = getattr(decay, name)
    assert memory == pytest.approx(x / (1 - x), rel=1e-11)


@pytest.mark.parametrize("name", ["beta", "gamma"])
@seeded
@given(decay=decays, k=stage_counts)
def test_root_keeps_the_product_of_the_decays(name, decay, k):
    product = math.prod(values(stages(decay, k, "root"), name))
    assert product == pytest.approx(getattr(decay, name), rel=1e-11)


@seeded
@given(decay=decays, k=stage_counts)
def test_meta_is_adam_and_then_no_momentum(decay, k):
    first, *later = stages(decay, k, "meta")
    assert first == decay
    assert later == [Decay(beta=decay.beta, gamma=0.0)] * (k - 1)


def test_inverse_exp_is_the_default_strategy():
    assert stages(ADAM, 3) == stages(ADAM, 3, "inverse_exp") != stages(ADAM, 3, "root")


@pytest.mark.parametrize("k", [0, -1, 1.5, 2.0, math.nan, True, "2", None])
def test_stage_count_must_be_a_positive_whole_number(k):
    for check in (check_stage_count, lambda k: stages(ADAM, k)):
        with pytest.raises(ValueError, match=r"^k must be a whole number >= 1, got ") as error:
            check(k)
        assert str(error.value).endswith(repr(k))


@pytest.mark.parametrize("k", [1, 2])
def test_unknown_strategy_is_answered_with_all_valid_names(k):
    for check in (check_strategy, lambda name: stages(ADAM, k, name)):
        with pytest.raises(ValueError, match=r"got 'Root'$") as error:
            check("Root")
        assert "strategy must be one of repeat, inverse_exp, scaled, root, meta" in str(error.value)


def test_checks_pass_what_is_allowed():
    assert check_stage_count(1) is None
    assert [check_strategy(name) for name in STRATEGIES] == [None] * 5
