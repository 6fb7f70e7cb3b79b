"""What each of two processes does for ``test_distributed.py``, which starts them: ``distributed_worker.py RANK FOLDER``.

Every case compares an optimizer on distributed parameters with one on the same parameters whole. Cases open process
groups of their own: one that fails closes its connections, and both processes go on to the next.
"""

import copy
import faulthandler
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from problems import gradients, owned, random
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn import Parameter

from kadam import KAdam, StabilityMonitor
from kadam.monitor.packet import F
from kadam.optim.cpu import chain_only

PATIENCE = 110.0  # seconds after which a process says where it hangs, and ends
ANSWER = timedelta(seconds=20)  # within which the other process must answer

LR = 2**-7
PAIRS = ((0.9, 0.999), (0.5, 0.9))  # one a stage

FLAGS = {
    "default": {},
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "chained": {"fused": True},  # as without numba
    "for-loop, capturable": {"foreach": False, "capturable": True},
    "foreach, capturable": {"foreach": True, "capturable": True},
}

# The others round a shard as they round the whole. A chained step may not, where a shard does not fill a vector; and a
# fused step leaves to the for-loop what it cannot take by address.
ROUNDING = {"default": 1e-12, "fused": 1e-12, "chained": 1e-12}


@dataclass(frozen=True)
class Here:
    """This process, and a folder that both share."""

    rank: int
    folder: Path


CASES: dict[str, Callable[[Here], None]] = {}


def each(**values):
    """Make cases of a function, one for every combination of the values."""

    def enrol(function):
        for combination in product(*values.values()):
            name = f"{function.__name__}[{'-'.join(map(str, combination))}]"
            CASES[name] = partial(function, **dict(zip(values, combination, strict=True)))
        return function

    return enrol


every_path = each(k=(1, 3), path=FLAGS)  # three stages have a first, a middle and a last one


@contextmanager
def mesh_of(here, size):
    """A mesh of the first ``size`` processes, within a process group that lives as long."""
    meeting = f"file://{here.folder}/{size}"
    dist.init_process_group("gloo", init_method=meeting, rank=here.rank, world_size=size, timeout=ANSWER)
    try:
        yield init_device_mesh("cpu", (size,))
    finally:
        dist.destroy_process_group()


def chosen(path):
    return chain_only() if path == "chained" else nullcontext()


# Distributed values, steps with them, and what they amount to


def spread(value, mesh, placements):
    """A copy of the value, which both processes have: distributed, or plain where there are no placements."""
    if placements is None:
        return value.clone()
    if placements == [Partial()]:
        return DTensor.from_local(value * (2, -1)[mesh.get_local_rank()], mesh, placements)
    return distribute_tensor(value.clone(), mesh, placements)


def gathered(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def twins(places, path, **hyper):
    """Two optimizers over parameters of equal values: some (shape, mesh, placements), and the same whole."""
    values = [random(*shape, seed=i) for i, (shape, _, _) in enumerate(places)]
    ours = [Parameter(spread(value, *place)) for value, (_, *place) in zip(values, places, strict=True)]
    return [KAdam(params, lr=LR, weight_decay=0.1, **FLAGS[path], **hyper) for params in (ours, map(Parameter, values))]


def feed(optimizer, steps, placements=None):
    """Feed whole gradients, each distributed as its parameter or by the given placements; return the optimizer."""
    params = owned(optimizer)
    placements = placements or [getattr(p, "placements", None) for p in params]
    for grads in steps:
        for p, g, place in zip(params, grads, placements, strict=True):
            p.grad = spread(g, getattr(p, "device_mesh", None), place)
        optimizer.step()
    return optimizer


def assert_same(ours, theirs, path="for-loop"):
    """Weights and state of a distributed optimizer are those of another one."""
    tolerance = ROUNDING.get(path, 0.0)
    close = partial(torch.testing.assert_close, rtol=tolerance, atol=tolerance)
    for p, q in zip(owned(ours), owned(theirs), strict=True):
        close(gathered(p.detach()), q.detach())
        close({name: gathered(value) for name, value in ours.state[p].items()}, theirs.state[q])


# Sharded models


def network(mesh=None):
    """Two processes share its layers unevenly: 3 + 2 and 1 + 0 rows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    if mesh is not None:
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def backward(model, batch):
    model.zero_grad()
    model(batch).square().mean().backward()


@every_path
def a_sharded_model_trains_as_the_whole_one(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        model, twin = network(mesh), network()
        assert [p.to_local().numel() for p in model[2].parameters()] == [[5, 1], [0, 0]][here.rank]
        ours, theirs = (KAdam(m.parameters(), lr=LR, weight_decay=0.1, k=k, **FLAGS[path]) for m in (model, twin))
        for batch in random(5, 4, 3):
            backward(model, batch.chunk(2)[here.rank])
            backward(twin, batch)
            for p, q in zip(owned(ours), owned(theirs), strict=True):
                torch.testing.assert_close(gathered(p.grad), q.grad)
                q.grad = gathered(p.grad)  # to the bit
            ours.step()
            theirs.step()
        assert_same(ours, theirs, path)


# Distributed parameters by themselves

PLACES = [
    ((5, 3), [Shard(0)]),
    ((3, 5), [Shard(1)]),
    ((1, 4), [Shard(0)]),
    ((4, 1), [Shard(1)]),
    ((4,), [Replicate()]),
    ((), [Replicate()]),
]


@every_path
def moments_are_placed_as_their_parameter_whatever_that_is(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([(shape, mesh, place) for shape, place in PLACES], path, k=k)
        steps = gradients(owned(theirs), 5)
        assert_same(feed(ours, steps), feed(theirs, steps), path)
        for p in owned(ours):
            moments = [value for name, value in ours.state[p].items() if name.startswith("exp_avg")]
            assert len(moments) == 2 * k
            assert all(m.placements == p.placements and m.to_local().shape == p.to_local().shape for m in moments)


FOREIGN = [
    ([Shard(0)], [Shard(1)]),
    ([Shard(0)], [Replicate()]),
    ([Replicate()], [Shard(1)]),
    ([Shard(1)], [Partial()]),
    ([Replicate()], [Partial()]),
]


@every_path
def a_gradient_may_be_placed_otherwise_than_its_parameter(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([((5, 3), mesh, place) for place, _ in FOREIGN], path, k=k)
        steps = gradients(owned(theirs), 5)
        assert_same(feed(ours, steps, [place for _, place in FOREIGN]), feed(theirs, steps), path)


@every_path
def a_gradient_may_lie_where_its_parameter_has_an_empty_shard(here, k, path):
    """So does that of a loss which was gathered before ``backward``."""
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([((1, 4), mesh, [Shard(0)])], path, k=k)
        steps = gradients(owned(theirs), 5)
        assert_same(feed(ours, steps, [[Replicate()]]), feed(theirs, steps), path)


@every_path
def a_whole_gradient_of_a_distributed_parameter_is_refused(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([((5, 3), mesh, [Shard(0)])], path, k=k)
        with pytest.raises(RuntimeError, match="DTensor"):
            feed(ours, gradients(owned(theirs), 1), [None])


@every_path
def whole_and_distributed_parameters_share_a_group(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([((5, 3), mesh, [Shard(0)]), ((4,), None, None), ((3, 5), mesh, [Shard(1)])], path, k=k)
        steps = gradients(owned(theirs), 5)
        assert_same(feed(ours, steps), feed(theirs, steps), path)


@every_path
def parameters_on_different_meshes_share_a_group(here, k, path):
    with mesh_of(here, 2) as line, chosen(path):
        grid = init_device_mesh("cpu", (1, 2))
        ours, theirs = twins([((5, 3), line, [Shard(0)]), ((3, 5), grid, [Replicate(), Shard(1)])], path, k=k)
        steps = gradients(owned(theirs), 5)
        assert_same(feed(ours, steps), feed(theirs, steps), path)


@every_path
def autograd_sees_that_a_step_changed_the_weights(here, k, path):
    with mesh_of(here, 2) as mesh, chosen(path):
        ours, theirs = twins([(shape, mesh, place) for shape, place in PLACES], path, k=k)
        for grads in gradients(owned(theirs), 2):
            versions = [p._version for p in owned(ours)]
            feed(ours, [grads])
            assert all(p._version > version for p, version in zip(owned(ours), versions, strict=True))


# The monitor


@each(optimizer=("AdamW", "NAdam", "KAdam"))
def a_monitor_measures_the_whole_of_distributed_parameters(here, optimizer):
    with mesh_of(here, 2) as mesh:
        make = {"AdamW": torch.optim.AdamW, "NAdam": torch.optim.NAdam, "KAdam": partial(KAdam, k=2)}[optimizer]
        places = [*((shape, mesh, place) for shape, place in PLACES), ((4, 20), mesh, [Shard(0)]), ((5,), None, None)]
        values = [random(*shape, seed=i) for i, (shape, _, _) in enumerate(places)]
        ours = [Parameter(spread(value, *place)) for value, (_, *place) in zip(values, places, strict=True)]
        optimizers = [make(params, lr=LR, weight_decay=0.1, foreach=False) for params in (ours, [*map(Parameter, values)])]
        monitors = [StabilityMonitor(each, every=2) for each in optimizers]
        steps = gradients(owned(optimizers[1]), 6)
        feed(optimizers[1], steps)
        gathers, gather = [], dist.all_gather
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dist, "all_gather", lambda *given, **how: gathers.append(1) or gather(*given, **how))
            feed(optimizers[0], steps)
        assert len(gathers) == 3  # one a measurement
        whole, shared = (monitor.measurement.packet for monitor in reversed(monitors))
        torch.testing.assert_close(*(torch.from_numpy(x[:, : F["rows"]]) for x in (shared, whole)), rtol=1e-9, atol=1e-12)
        later = [F[name] for name in ("largest", "step", "age", "lr")]
        torch.testing.assert_close(*(torch.from_numpy(x[:, later]) for x in (shared, whole)), rtol=1e-9, atol=1e-12)
        tops = [F[name] for name in ("rows", "at_risk", "grown", "fallen", "top", "top_grown", "top_fallen", "top_since")]
        torch.testing.assert_close(shared[6, tops], whole[6, tops], rtol=1e-6, atol=1e-6)  # its rows are whole
        logs = [monitor.log() for monitor in monitors]
        assert set(logs[0]) == set(logs[1])


@each(size=(1, 2))
def a_sharded_model_is_watched(here, size):
    if here.rank >= size:
        return
    with mesh_of(here, size) as mesh:
        model, twin = network(mesh), network()
        optimizers = [torch.optim.AdamW(m.parameters(), lr=LR) for m in (model, twin)]
        named = zip(optimizers, (model, twin), strict=True)
        monitors = [StabilityMonitor(each, every=1, named_parameters=m) for each, m in named]
        for batch in random(3, 4, 3):
            backward(model, batch.chunk(size)[here.rank])
            for p, q in zip(*map(owned, optimizers), strict=True):
                q.grad = gathered(p.grad)  # to the bit
            for each in optimizers:
                each.step()
        ours, theirs = (monitor.log() for monitor in monitors)
        assert {name: pytest.approx(value, rel=1e-6, abs=1e-8) for name, value in theirs.items()} == ours


@each()
def the_row_of_the_largest_update_is_numbered_in_the_whole_parameter(here):
    """Gradients change their signs but in one row, which the second process has; a vector in two shares has no rows."""
    with mesh_of(here, 2) as mesh:
        rows = {((8, 20), 0): 6, ((5, 20), 0): 4, ((8, 64), 1): 6, ((4, 5, 6), 0): 3, ((40,), 0): -1, ((8, 20), 1): -1}
        values = [random(*shape, seed=1) for shape, _ in rows]
        params = [Parameter(spread(value, mesh, [Shard(where)])) for value, (_, where) in zip(values, rows, strict=True)]
        optimizer = torch.optim.AdamW(params, lr=LR, foreach=False)
        monitor = StabilityMonitor(optimizer, every=2)
        later = [-value for value in values]
        for grad, value, row in zip(later, values, rows.values(), strict=True):
            grad[row] = value[row]
        feed(optimizer, [values, later])
        assert monitor.measurement.packet[:, F["top_row"]].tolist() == list(rows.values())


@each(original=(False, True))
def flat_shares_are_refused(here, original):
    with mesh_of(here, 2) as mesh:
        model = FullyShardedDataParallel(network(), device_mesh=mesh, use_orig_params=original, device_id=torch.device("cpu"))
        with pytest.raises(ValueError, match=r"cannot be watched.*FullyShardedDataParallel.*fully_shard"):
            StabilityMonitor(torch.optim.AdamW(model.parameters()))


# Checkpoints

HYPER = {
    "one stage": {"k": 1},
    "derived stages": {"k": 3, "strategy": "root"},
    "explicit stages": {"k": 2, "betas": PAIRS},
    "a later stage": {"k": 2, "strategy": "repeat"},  # than the first, which was AdamW
}
STEPS = gradients(list(network().parameters()), 12)


def begun(stages, mesh=None):
    """A model that trains by KAdam: from the start, or after three steps by AdamW."""
    model = network(mesh)
    optimizer = KAdam(model.parameters(), lr=LR, weight_decay=0.1, foreach=False, **HYPER[stages])
    if stages == "a later stage":
        first = feed(torch.optim.AdamW(model.parameters(), lr=LR, foreach=False), STEPS[:3])
        set_optimizer_state_dict(model, optimizer, get_optimizer_state_dict(model, first))
    return model, feed(optimizer, STEPS[3:8])


def fresh(stages, mesh=None):
    """A model to load a checkpoint into: all but the number of stages comes with that."""
    model = network(mesh)
    return model, KAdam(model.parameters(), k=HYPER[stages]["k"])


def assert_continues(ours, stages):
    """A restored optimizer steps on as one that was never saved."""
    _, theirs = begun(stages)
    assert_same(ours, theirs)
    assert_same(feed(ours, STEPS[8:]), feed(theirs, STEPS[8:]))


def state_of(model, optimizer, options):
    parts = get_state_dict(model, optimizer, options=options)
    return dict(zip(("model_state_dict", "optim_state_dict"), parts, strict=True))


@each(sizes=((2, 1), (1, 2)), flat=(True, False), stages=HYPER)
def a_checkpoint_is_continued_by_another_number_of_processes(here, sizes, flat, stages):
    options, checkpoint = StateDictOptions(flatten_optimizer_state_dict=flat), here.folder / "checkpoint"
    save, load = sizes
    if here.rank < save:
        with mesh_of(here, save) as mesh:
            dcp.save(state_of(*begun(stages, mesh), options), checkpoint_id=checkpoint)
    if here.rank < load:
        with mesh_of(here, load) as mesh:
            model, optimizer = fresh(stages, mesh)
            state = state_of(model, optimizer, options)
            dcp.load(state, checkpoint_id=checkpoint)
            set_state_dict(model, optimizer, **state, options=options)
            assert_continues(optimizer, stages)


@each(stages=HYPER)
def a_full_state_dict_is_continued_sharded_and_whole(here, stages):
    with mesh_of(here, 2) as mesh:
        state = state_of(*begun(stages, mesh), StateDictOptions(full_state_dict=True, cpu_offload=True))
        assert bool(state["optim_state_dict"]) == (here.rank == 0)
        assert_continues(restored(stages, mesh, copy.deepcopy(state), broadcast_from_rank0=True), stages)
    if here.rank == 0:
        assert_continues(restored(stages, None, state), stages)


def restored(stages, mesh, state, **how):
    """From a full state dict; the groups must have as many explicit stages as it has."""
    model, options = network(mesh), StateDictOptions(full_state_dict=True, **how)
    optimizer = KAdam(model.parameters(), **HYPER[stages])
    set_model_state_dict(model, state["model_state_dict"], options=options)
    set_optimizer_state_dict(model, optimizer, state["optim_state_dict"], options=options)
    return optimizer


# Sharded state only


@every_path
def processes_that_share_out_the_state_step_as_one(here, k, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on import
        from torch.distributed.optim import ZeroRedundancyOptimizer
    with mesh_of(here, 2), chosen(path):
        hyper = {"lr": LR, "weight_decay": 0.1, "k": k, **FLAGS[path]}
        ours = feed(ZeroRedundancyOptimizer(network().parameters(), KAdam, **hyper), STEPS)
        theirs = feed(KAdam(network().parameters(), **hyper), STEPS)
        torch.testing.assert_close(owned(ours), owned(theirs), rtol=0, atol=0)
        assert 0 < len(ours.optim.state) < len(theirs.state)
        ours.consolidate_state_dict()
        if here.rank == 0:
            again = KAdam(network().parameters(), k=k)
            again.load_state_dict(ours.state_dict())
            torch.testing.assert_close(list(again.state.values()), list(theirs.state.values()), rtol=0, atol=0)


def outcome(case, here):
    """The traceback of a case that failed, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            case(here)
        except Exception:
            return traceback.format_exc()
    return ""


def main(rank, folder):
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    for name, case in CASES.items():
        here = Here(rank, folder / name)
        here.folder.mkdir(exist_ok=True)
        (here.folder / f"outcome-{rank}").write_text(outcome(case, here))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
