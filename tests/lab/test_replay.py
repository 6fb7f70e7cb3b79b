"""Training steps that are replayed: on a GPU by CUDA graphs, on the CPU by a stand-in that knows as little as a graph does."""

import functools
import warnings
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
import xarray as xr
from problems import DEVICES, random
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kadam import Decay
from kadam.chapters.generalization import run as generalization
from kadam.chapters.growth import run as growth
from kadam.chapters.growth.silence import run as silence
from kadam.chapters.watching.spikes import run as spikes
from kadam.lab.data.labelled import Augmentation, Batches, Labelled, Seeds
from kadam.lab.data.sources import configured_text
from kadam.lab.data.windows import Windows
from kadam.lab.engine import state as states
from kadam.lab.engine.progress import Progress
from kadam.lab.engine.sweep import captured
from kadam.lab.records.profiles import Shape
from kadam.lab.train import replay
from kadam.lab.train.classification import Classification, ImageNetwork
from kadam.lab.train.language_model import LanguageModelling, TextNetwork
from kadam.lab.train.norms import NormalisedModelling
from kadam.lab.train.optimizers import optimizer
from kadam.lab.train.replay import WARM_UP, Replay
from kadam.lab.train.schedule import Schedule
from kadam.optim import steps
from kadam.theory import stability

STEPS, STOP = 20, 9
SCHEDULE = Schedule(STEPS, 0.3, "cosine", 0.1)


class Tape(TorchDispatchMode):
    """What a CUDA graph is to a GPU: operations, each with the numbers and the memory that it had, to be done again.

    Nothing that they compute while they are recorded stays, and to read a number on the host is an error.
    """

    def __init__(self):
        super().__init__()
        self.kept, self.own, self.before = [], set(), {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nlong advice")
        for storage in storages((args, kwargs)):
            if storage.data_ptr() not in self.own:
                self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = operation(*args, **(kwargs or {}))
        self.own |= {storage.data_ptr() for storage in storages(result)} - self.before.keys()
        self.kept.append((operation, args, kwargs or {}, result))
        return result

    def record(self, call):
        try:
            with self:
                return call()
        finally:
            for storage, content in self.before.values():
                storage.copy_(content)

    def play(self):
        with torch._C._AutoDispatchBelowAutograd():
            for operation, args, kwargs, result in self.kept:
                ways = [one.alias_info for one in operation._schema.returns]
                if ways and all(way is not None and not way.is_write for way in ways):
                    continue  # a view, which sees its memory change
                for old, new in zip(tree_leaves(result), tree_leaves(operation(*args, **kwargs)), strict=True):
                    if isinstance(old, torch.Tensor) and old is not new:
                        old.copy_(new)


def storages(nest):
    return [x.untyped_storage() for x in tree_leaves(nest) if isinstance(x, torch.Tensor)]


class Taping:
    """Captures by tapes, and counts what it is asked for."""

    def __init__(self):
        self.ordinaries, self.tapes = 0, []

    def ordinary(self, call):
        self.ordinaries += 1
        return call()

    def captured(self, call):
        self.tapes.append(Tape())
        return self.tapes[-1].play, self.tapes[-1].record(call)


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """Where steps are replayed; on the CPU, optimizers take the ways that they take on a GPU."""
    monkeypatch.setattr(replay, "_failures", [])
    if request.param == "cpu":
        monkeypatch.setattr(replay, "graphs", lambda device: Taping())
        monkeypatch.setattr(steps, "has_fused", lambda kind: False)
        for name in ("adam", "nadam"):
            module = import_module(f"torch.optim.{name}")
            monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda supports_xla=True: ["cpu"])
    return request.param


@pytest.fixture
def unreplayed(monkeypatch):
    """The same steps as ever, all of them ordinary calls."""

    def run(action):
        with monkeypatch.context() as patch:
            patch.setattr(replay, "WARM_UP", 10**9)
            return action()

    return run


def on_text(device, method, kind=LanguageModelling, **how):
    shape, precision = Shape(width=8, layers=1, heads=2), how.pop("precision", "float64")
    network = TextNetwork(9, 5, shape, True, device=device, precision=precision, **how)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 9, 400).astype(np.uint8)).to(device)
    batches = Windows(tokens, batch=4, context=5, seed=3)
    return kind(network, maker(method), batches, SCHEDULE, initialisation=1)


with_norms = functools.partial(on_text, kind=NormalisedModelling)


def on_images(device, method):
    network = ImageNetwork(2, 3, 4, 1, True, device=device, precision="float64")
    pictures = random(30, 8, 8, 2).to(device)
    data = Labelled(pictures, (10 * pictures.mean((1, 2, 3)).abs()).long() % 3, 3)
    batches = Batches(data, Augmentation(shift=1, cutout=2), 10, Seeds(1, 2, 3))
    return Classification(network, maker(method), batches, SCHEDULE, smoothing=0.1)


def maker(method):
    return functools.partial(optimizer, method, lr=2**-6, decay=Decay(beta=0.99, gamma=0.8), weight_decay=0.1)


def taken(training, begin=0, end=STEPS):
    for n in range(begin, end):
        training.step(n)
    return training


def left(training):
    """What a run leaves: weights and averages, the optimizer's moments, and what was seen of every step."""
    state = {k: v.clone() for k, v in training.model.state_dict().items()}
    moments = [x.clone() for of in training.optimizer.state.values() for x in of.values()]
    return state, moments, [getattr(training, name) for name in training.SEEN]


def assert_alike(ours, theirs, device):
    """To the bit; on a GPU, where sums may be taken in any order, to rounding."""
    torch.testing.assert_close(ours, theirs, **({"rtol": 0, "atol": 0} if device == "cpu" else {"rtol": 1e-6, "atol": 1e-9}))


cases = pytest.mark.parametrize(
    ("begun", "method"),
    [
        (on_text, "Adam"),
        (on_text, "2-Adam meta"),
        (with_norms, "Adam"),
        (on_images, "NAdam"),
        (on_images, "AdamW"),
        (on_images, "3-Adam inverse_exp"),
    ],
)


@cases
def test_replayed_steps_are_the_steps_that_they_replace(begun, method, device, unreplayed):
    theirs = unreplayed(lambda: left(taken(begun(device, method))))
    ours = taken(begun(device, method))
    assert ours.replay.described == {"captured": f"yes, after {WARM_UP} steps of each run"}
    if device == "cpu":
        assert (ours.replay._graphs.ordinaries, len(ours.replay._graphs.tapes)) == (WARM_UP, 1)
    assert_alike(left(ours), theirs, device)
    assert not ours.losses.isnan().any()


@cases
def test_a_replayed_run_goes_on_from_its_state(begun, method, device, tmp_path, unreplayed):
    theirs = unreplayed(lambda: left(taken(begun(device, method))))
    states.save(taken(begun(device, method), end=STOP), tmp_path / "state")
    again = begun(device, method)
    taken(again, end=WARM_UP + 2)  # what was captured before a state is loaded is not replayed after it
    assert_alike(left(taken(states.load_into(again, tmp_path / "state"), STOP)), theirs, device)


def test_what_counts_on_the_host_is_not_captured_and_the_run_says_so(device, unreplayed):
    theirs = unreplayed(lambda: left(taken(on_text(device, "Lion"))))
    ours = taken(on_text(device, "Lion"))
    assert ours.replay.described == {"captured": "no: Lion counts its steps on the host"}
    assert_alike(left(ours), theirs, device)


def test_a_capture_that_fails_is_told_once_and_calls_go_on_without(device, unreplayed):
    class Reading(LanguageModelling):
        def learn(self, batch):
            found = super().learn(batch)
            float(found[0])  # waits for the device
            return found

    def begun():
        training = on_text(device, "Adam")
        training.__class__ = Reading
        return training

    theirs, ours = unreplayed(lambda: left(taken(begun()))), begun()
    taken(ours, end=WARM_UP)
    with pytest.warns(UserWarning, match=r"a step is not captured in a CUDA graph, and slower so: \w+Error: .*captur"):
        taken(ours, WARM_UP)
    assert_alike(left(ours), theirs, device)
    later = taken(on_text(device, "Adam"))
    assert later.replay.described == ours.replay.described
    assert ours.replay.described["captured"].startswith("no: ")
    assert "\n" not in ours.replay.described["captured"]


def test_elsewhere_a_replay_is_a_call():
    given, one = (torch.ones(2), [torch.ones(1)]), Replay(torch.device("cpu"))
    assert [one(lambda *of: of, *given)[i] is given[i] for i in (0, 1)] == [True, True]
    assert one.described == captured([one.described]) == {}


def growing(setting, device):
    config = replace(growth.PROFILES["smoke"], points=4, steps=STEPS, device=device, chunk=8)
    piece = next(piece for piece in growth.pieces(config) if piece[0] == setting)
    return functools.partial(growth.train_piece, config, configured_text(config), *stability.normal_curve(num=4), piece)


def silent(device):
    config = replace(silence.PROFILES["smoke"], steps=STEPS, skip=2, device=device)
    return functools.partial(silence.train_piece, config, configured_text(config), silence.Piece(3))


def generalizing(device):
    config = replace(generalization.PROFILES["smoke"], steps=STEPS, evaluations=2, device=device)
    text, pairs = configured_text(config), generalization.settings(config)
    return functools.partial(generalization.train_piece, config, text, pairs, (3, 0))


def spiking(device):
    config = replace(spikes.PROFILES["smoke"], steps=STEPS, settle=5, device=device)
    return functools.partial(spikes.train, config, configured_text(config), (3,))


ENSEMBLES = {name: functools.partial(growing, name) for name in growth.SETTINGS}
ENSEMBLES |= {"silent": silent, "general": generalizing, "spiking": spiking}


@pytest.mark.parametrize("begun", ENSEMBLES.values(), ids=ENSEMBLES)
def test_ensembles_are_replayed_with_all_that_is_seen_of_them(begun, device, tmp_path, unreplayed):
    train = begun(device)
    theirs = unreplayed(lambda: train(Progress(lambda done: None)))
    ours = train(Progress(lambda done: None))
    assert captured([ours.attrs, ours.attrs])["captured"] == f"yes, after {WARM_UP} steps of each run"

    def stop(done):
        if done == STOP:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Progress(stop, tmp_path / "state", keep_every_s=0))
    again = train(Progress(lambda done: None, tmp_path / "state"))
    for one in (ours, again):
        (xr.testing.assert_equal if device == "cpu" else xr.testing.assert_allclose)(one, theirs)


if torch.cuda.is_available():

    @pytest.mark.gpu
    @pytest.mark.parametrize("begun", [on_text, with_norms, on_images])
    def test_steps_that_are_replayed_never_wait_for_the_device(begun):
        training = taken(begun("cuda", "Adam"), end=WARM_UP + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            taken(training, WARM_UP + 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.gpu
    def test_a_compiled_step_is_captured(unreplayed):
        how = {"precision": "float32", "compiler": "inductor"}
        theirs = unreplayed(lambda: left(taken(on_text("cuda", "2-Adam meta", **how)))[2][0])
        ours = taken(on_text("cuda", "2-Adam meta", **how))
        assert ours.replay.refusal == ""
        torch.testing.assert_close(ours.losses, theirs, rtol=1e-4, atol=0)
