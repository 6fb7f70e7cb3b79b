"""However a record is damaged it is refused or unchanged; whatever can be kept as a state comes back."""

import io
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from fuzzing import fuzz
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kadam.lab.engine import state as states
from kadam.lab.records import record as records
from kadam.lab.records.files import RecordError


def saved(folder):
    numbers = np.random.default_rng(0).standard_normal(50)
    path = Path(folder) / "record.nc"
    records.save(xr.Dataset({"x": ("n", numbers)}, attrs={"experiment": "one"}), path)
    return path


def flipped(content, place, byte):
    return content[:place] + bytes([content[place] ^ byte]) + content[place + 1 :]


def cut_out(content, place, byte):
    return content[:place] + content[place + byte :]


def put_in(content, place, byte):
    return content[:place] + bytes([byte]) * byte + content[place:]


def zeroed(content, place, byte):
    return content[:place] + bytes(len(content[place : place + byte])) + content[place + byte :]


def ended(content, place, byte):
    return content[:place]


damages = st.sampled_from([flipped, cut_out, put_in, zeroed, ended])


@fuzz(damage=damages, where=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_a_damaged_record_is_refused_by_its_name_with_a_repair(damage, where, byte):
    with tempfile.TemporaryDirectory() as folder:
        path = saved(folder)
        content = path.read_bytes()
        damaged = damage(content, int(where * len(content)), byte)
        assume(damaged != content)  # zeros put where zeros were
        path.write_bytes(damaged)
        assert_refused(path)


def assert_refused(path):
    with pytest.raises(RecordError, match=rf"{re.escape(str(path))}.*the command"):
        records.read(path, command="the command")


@fuzz(content=st.binary(max_size=300))
def test_what_was_never_a_record_is_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.nc"
        path.write_bytes(content)
        assert_refused(path)


def array_of(dtype):
    return arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))


kept_arrays = st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.uint8]).flatmap(array_of)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), kept_arrays)
keys = st.text() | st.integers()
nests = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


def same(ours, theirs):
    """Equal in kind and to the bit, NaN included."""
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
    if isinstance(theirs, list | tuple):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, float) and math.isnan(theirs):
        return math.isnan(ours)
    return type(ours) is type(theirs) and ours == theirs


@fuzz(value=nests)
def test_a_state_of_any_shape_comes_back_to_the_bit(value):
    buffer = io.BytesIO()
    torch.save(states.plain(value), buffer)
    buffer.seek(0)
    assert same(states.restored(torch.load(buffer, weights_only=True), None), value)


@fuzz(seed=st.integers(0, 2**64), draws=st.integers(0, 20))
def test_a_generator_in_any_state_goes_on(seed, draws):
    one, other = np.random.default_rng(seed), np.random.default_rng(0)
    one.integers(0, 2**31, size=draws, dtype=np.uint32)
    states.restored(states.plain(one), other)
    assert one.standard_normal() == other.standard_normal()
