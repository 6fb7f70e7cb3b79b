"""A state is plain data from which a computation goes on to the bit, read without running any code."""

from collections import deque

import numpy as np
import pytest
import torch

from kadam import Decay, stages
from kadam.lab.engine import state as states
from kadam.lab.engine.state import Stateful
from kadam.lab.records.files import RecordError
from kadam.lab.train.ensemble import Ensemble


class Counter(Stateful):
    STATE = ("count", "seen")

    def __init__(self):
        self.count, self.seen = 0, deque(maxlen=2)


def there_and_back(state, present, path):
    states.save(state, path)
    return states.load_into(present, path)


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2**127 + 1, 0.1, float("inf"), "name", [1, [2.0]], (1, (2, "x")), {"a": {"b": 1}, 3: None}, [], {}, ()],
)
def test_plain_values_come_back(value, tmp_path):
    assert there_and_back(value, None, tmp_path / "x") == value


@pytest.mark.parametrize("value", [np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True)])
def test_numpys_scalars_come_back_as_numbers(value, tmp_path):
    back = there_and_back({"x": value}, None, tmp_path / "x")["x"]
    assert back == value
    assert type(back) in (float, int, bool)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_tensors_come_back_with_their_dtype(dtype, tmp_path):
    value = torch.tensor([[0, 1, 2], [1, 0, 3]]).to(dtype)
    back = there_and_back({"x": value}, {"x": None}, tmp_path / "x")["x"]
    assert back.dtype == dtype
    assert torch.equal(back, value)


def test_arrays_are_set_in_place_where_the_shape_is_the_same(tmp_path):
    present = {"same": np.zeros(3), "other": np.zeros(2)}
    same = present["same"]
    back = there_and_back({"same": np.arange(3.0), "other": np.arange(4)}, present, tmp_path / "x")
    assert back["same"] is same
    assert same.tolist() == [0, 1, 2]
    assert back["other"].tolist() == [0, 1, 2, 3]
    assert back["other"].dtype == np.int64


def test_a_generator_goes_on_where_it_was(tmp_path):
    one, other = np.random.default_rng(1), np.random.default_rng(2)
    one.standard_normal(7)
    states.save([one], tmp_path / "x")
    expected = one.standard_normal(5)
    there = states.load_into([other], tmp_path / "x")
    assert there[0] is other
    np.testing.assert_array_equal(other.standard_normal(5), expected)


def test_objects_containers_and_rings_are_set_in_place(tmp_path):
    counter, fresh = Counter(), Counter()
    counter.count = 5
    counter.seen.extend([torch.ones(2), torch.zeros(2), torch.full((2,), 7.0)])
    present = {"counters": [fresh], "list": [9]}
    kept = present["list"]
    there_and_back({"counters": [counter], "list": [1, 2]}, present, tmp_path / "x")
    assert present["counters"][0] is fresh
    assert kept == [1, 2]
    assert fresh.count == 5
    assert [x.tolist() for x in fresh.seen] == [[0, 0], [7, 7]]
    assert fresh.seen.maxlen == 2


def test_what_cannot_be_kept_is_refused_by_its_type(tmp_path):
    with pytest.raises(TypeError, match=r"a state holds tensors, numbers, .*, got function"):
        states.save({"f": test_what_cannot_be_kept_is_refused_by_its_type}, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_refused_with_the_command_that_starts_anew(tmp_path):
    path = tmp_path / "x.state"
    states.save({"a": 1}, path)
    content = path.read_bytes()
    for damaged in (content[:-1], content[:100], bytes([content[0] ^ 1]) + content[1:]):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match=rf"{path}: .*rm {path}, then the same command again"):
            states.load_into({}, path)


class Harm:
    def __reduce__(self):
        return (print, ("code was run",))


def test_no_code_is_run_that_a_file_brings(tmp_path, capsys):
    from kadam.lab.records import files

    torch.save(Harm(), tmp_path / "raw")
    files.write_sealed(tmp_path / "x", (tmp_path / "raw").read_bytes())
    with pytest.raises(RecordError, match=r"x: is no state \(UnpicklingError\)"):
        states.load_into({}, tmp_path / "x")
    assert capsys.readouterr().out == ""


def ensemble():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    decays = [stages(Decay(beta=beta, gamma=0.9), 2) for beta in (0.99, 0.999)]
    return Ensemble(model, lambda model, batch: model(batch).square().mean(), decays, lr=0.1, weight_decay=[0.0, 1.0])


def test_an_ensemble_goes_on_to_the_bit(tmp_path):
    batches = torch.randn(10, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one, other = ensemble(), ensemble()
    for n, batch in enumerate(batches):
        if n == 4:
            states.save(one, tmp_path / "x")
        one.step(batch)
    states.load_into(other, tmp_path / "x")
    for batch in batches[4:]:
        other.step(batch)
    for name in one.params:
        assert torch.equal(one.params[name], other.params[name])
        assert torch.equal(one.updates[name], other.updates[name])
        for ours, theirs in zip(one.corrected_moments(name), other.corrected_moments(name), strict=True):
            assert torch.equal(ours, theirs)
