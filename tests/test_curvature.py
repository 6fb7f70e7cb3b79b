"""Hessian diagonals exact and estimated, descents side by side, their levels, and the verdicts on networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch.autograd.functional import hessian
from torch.func import functional_call

from kadam import chapters
from kadam.chapters.local_geometry.curvature import claims as experiment_claims
from kadam.chapters.local_geometry.curvature import config as experiment_config
from kadam.chapters.local_geometry.curvature import run as experiment
from kadam.chapters.local_geometry.descents import Plan, Run
from kadam.chapters.local_geometry.hessian import estimated_diagonals, exact_diagonals
from kadam.chapters.local_geometry.landscapes import FAMILY, METHODS, NETWORKS, Descent, Levels, in_chunks, landscape
from kadam.decay import Decay, stages
from kadam.lab.records.profiles import SMOKE
from kadam.lab.train.ensemble import Ensemble
from kadam.lab.train.tasks import Inputs
from kadam.optim import KAdam


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE)


def problem(inputs, network):
    return landscape(inputs, network, examples=3, dtype=torch.float64)


def stacked(one, seeds):
    starts = [one.start(seed) for seed in seeds]
    return {path: torch.stack([start[path] for start in starts]) for path in starts[0]}


def quadratic(matrices):
    """Losses x'Ax/2 of members with matrices (E, n, n), as a function of name -> (E, n)."""
    return lambda weights: torch.einsum("ei,eij,ej->e", weights["x"], matrices, weights["x"]) / 2


class Objective(torch.nn.Module):
    """A network's loss on its batch, whose weights can be swapped."""

    def __init__(self, one):
        super().__init__()
        self.model, self.one = one.model, one

    def forward(self):
        return self.one.loss(self.model, self.one.batch)


def symmetric(members, size, seed=0):
    matrices = torch.from_numpy(np.random.default_rng(seed).standard_normal((members, size, size)))
    return (matrices + matrices.mT) / 2


@pytest.mark.parametrize("network", NETWORKS)
def test_the_exact_diagonal_is_that_of_torchs_hessian(inputs, network):
    one = problem(inputs, network)
    weights = stacked(one, (0, 5))
    path = list(one.weights.values())[-1]
    found = exact_diagonals(one.losses, weights, [path], chunk=7)[path]
    for member in range(2):
        others = {name: weight[member] for name, weight in weights.items()}

        def loss(flat, others=others):
            changed = {**others, path: flat.reshape(others[path].shape)}
            return functional_call(Objective(one), {f"model.{name}": w for name, w in changed.items()}, ())

        full = hessian(loss, others[path].flatten())
        torch.testing.assert_close(found[member], full.diagonal(), rtol=1e-9, atol=1e-12)


def test_a_chunk_changes_nothing_but_rounding(inputs):
    one = problem(inputs, "perceptron")
    weights, paths = stacked(one, (0, 1, 2)), list(one.weights.values())
    whole, parts = (exact_diagonals(one.losses, weights, paths, chunk=chunk) for chunk in (1000, 5))
    for path in paths:
        torch.testing.assert_close(parts[path], whole[path], rtol=1e-10, atol=1e-13)


def test_the_estimate_is_exact_for_a_diagonal_hessian():
    diagonal = torch.tensor([[1.0, -2.0, 5.0], [0.5, 0.0, 3.0]], dtype=torch.float64)
    weights = {"x": torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    rng = np.random.default_rng(0)
    found = estimated_diagonals(quadratic(torch.diag_embed(diagonal)), weights, ["x"], probes=1, rng=rng)
    torch.testing.assert_close(found["x"], diagonal)


def test_the_estimate_is_unbiased_and_its_error_shrinks_like_one_over_the_root_of_the_probes():
    matrices, weights = symmetric(1, 8), {"x": torch.ones(1, 8, dtype=torch.float64)}
    exact = exact_diagonals(quadratic(matrices), weights, ["x"])["x"]
    torch.testing.assert_close(exact, matrices.diagonal(dim1=1, dim2=2))
    off = (matrices.square().sum(2) - exact.square())[0].numpy()
    for probes in (4, 64):
        rngs = (np.random.default_rng([probes, i]) for i in range(300))
        found = [estimated_diagonals(quadratic(matrices), weights, ["x"], probes=probes, rng=rng)["x"] for rng in rngs]
        errors = torch.stack(found)[:, 0].numpy() - exact[0].numpy()
        np.testing.assert_allclose(errors.var(0), off / probes, rtol=0.3)
        assert np.abs(errors.mean(0) / np.sqrt(off / probes / 300)).max() < 4


def test_the_signs_are_those_of_the_generator():
    matrices, weights = symmetric(2, 5), {"x": torch.ones(2, 5, dtype=torch.float64)}
    found = [
        estimated_diagonals(quadratic(matrices), weights, ["x"], probes=10, rng=np.random.default_rng(seed), chunk=chunk)["x"]
        for seed, chunk in ((0, 64), (0, 64), (0, 10), (1, 64))
    ]
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    assert not torch.allclose(found[0], found[3])


def test_a_loss_that_is_linear_in_a_tensor_has_no_curvature():
    weights = {"x": torch.ones(2, 3, dtype=torch.float64)}
    assert not exact_diagonals(lambda w: w["x"].sum(1), weights, ["x"])["x"].any()


def test_no_probes_are_refused():
    with pytest.raises(ValueError, match="probes must be a whole number >= 1, got 0"):
        estimated_diagonals(quadratic(symmetric(1, 2)), {"x": torch.ones(1, 2)}, ["x"], probes=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("method", METHODS)
def test_a_member_is_what_the_optimizer_of_that_name_makes(inputs, method):
    one = problem(inputs, "perceptron")
    descent = Descent(one, method, [one.start(0), one.start(3)], decay=Decay(), lr=[1e-2, 3e-3])
    for _ in range(6):
        descent.step(one.batch)
    one.start(3)
    params = list(one.model.parameters())
    if method == "SGD":
        optimizer = torch.optim.SGD(params, lr=3e-3, momentum=0.9)
    else:
        betas = [decay.betas for decay in FAMILY[method](Decay())]
        optimizer = KAdam(params, lr=3e-3, betas=betas[0] if len(betas) == 1 else betas, eps=1e-30, k=len(betas))
    for _ in range(6):
        optimizer.zero_grad()
        one.loss(one.model, one.batch).backward()
        optimizer.step()
    for name, param in one.model.named_parameters():
        torch.testing.assert_close(descent.params[name][1], param.detach(), rtol=1e-7, atol=1e-9)


def test_the_family_is_adams_pair_by_its_strategies():
    decay = Decay(beta=0.99, gamma=0.8)
    assert FAMILY["4-Adam"](decay) == stages(decay, 4, "inverse_exp")
    assert FAMILY["RMSprop"](decay) == (Decay(beta=0.99, gamma=0.0),)
    assert FAMILY["SignGD"](decay) == (Decay(beta=0.0, gamma=0.0),)


def test_levels_keep_the_weights_of_the_first_step_at_or_below():
    levels = Levels((0.5, 0.1), {"w": torch.zeros(2, 3)})
    for n, losses in enumerate(([4.0, 8.0], [3.0, 0.4], [2.0, 0.4], [1.0, np.nan])):
        levels.note(n, np.array(losses), {"w": torch.full((2, 3), float(n))})
    np.testing.assert_array_equal(levels.step, [[2, np.nan], [1, 1]])
    np.testing.assert_array_equal(levels.reached, [[0.5, np.nan], [0.05, 0.05]])
    members, weights = levels.at(0)
    assert (members.tolist(), weights["w"][:, 0].tolist()) == ([0, 1], [2.0, 1.0])
    assert levels.at(1)[0].tolist() == [1]
    assert not levels.done


def test_members_in_chunks_are_all_members():
    weights = {"w": torch.arange(7.0)}
    assert [len(part["w"]) for part in in_chunks(weights, 3)] == [3, 3, 1]
    assert torch.equal(torch.cat([part["w"] for part in in_chunks(weights, 3)]), weights["w"])


def test_layers_no_larger_than_the_probes_are_exact(inputs):
    one = problem(inputs, "language")
    weights = stacked(one, (0,))
    sizes = [weights[path][0].numel() for path in one.weights.values()]
    mixed, exact = (one.diagonals(weights, probes=probes) for probes in (min(sizes), max(sizes)))
    for size, a, b in zip(sizes, mixed, exact, strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-14) == (size <= min(sizes))
    assert one.larger_than(max(sizes)) == []


def test_a_start_is_a_multiple_of_the_usual_one(inputs):
    one = problem(inputs, "images")
    usual, large = one.start(4), one.start(4, 3.0)
    assert all(torch.equal(3.0 * usual[name], large[name]) for name in usual)
    assert list(one.weights) == ["convolution 1", "convolution 2", "convolution 3", "head"]


def test_members_of_an_ensemble_can_be_followed(inputs):
    one = problem(inputs, "perceptron")
    one.start(0)
    ensemble = Ensemble(one.model, one.loss, [(Decay(),), (Decay(gamma=0.5),)], lr=0.05)
    levels = Levels((0.9,), ensemble.params)
    for n in range(30):
        levels.follow(ensemble, n, one.batch)
    assert levels.done
    assert ensemble.steps <= 30
    losses = one.losses(levels.at(0)[1]).numpy()
    np.testing.assert_allclose(losses / levels.first, levels.reached[:, 0], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"scales": (0.3, 3.0)}, r"scales must hold 1.0, the usual one, got \(0.3, 3.0\)"),
        ({"seed": 1}, "seed must be at least search_seeds = 2, got 1"),
    ],
)
def test_a_bad_configuration_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        experiment_config.Config(**change)


def test_an_unknown_network_or_method_is_named(inputs):
    with pytest.raises(ValueError, match="network must be one of perceptron, language, images; got 'mlp'"):
        landscape(inputs, "mlp", examples=2, dtype=torch.float64)
    one = problem(inputs, "perceptron")
    with pytest.raises(ValueError, match="method must be one of Adam, 2-Adam, 4-Adam, RMSprop, SignGD, SGD; got 'Lion'"):
        Descent(one, "Lion", [one.start(0)], decay=Decay(), lr=0.1)


def test_the_rate_is_the_one_of_the_lowest_final_loss(inputs):
    one = problem(inputs, "perceptron")
    plan = Plan([1e-3, 1e-2, 1e-1, 1.0], 10, (0.5,), (3, 4), 2, Decay())
    run = Run(plan, one, "Adam", scale=1.0, probes=8, checked=[], statistics=experiment.statistics)
    run.final = np.array([2.0, 0.5, np.nan, np.inf, 2.0, 0.7, 0.1, 0.1])
    assert run.rate == 1e-2
    assert (plan.searched, plan.length) == (10, 21)
    assert (replace(plan, grid=[1e-3]).searched, replace(plan, grid=[1e-3]).length) == (0, 11)


def test_a_layer_without_curvature_has_no_r_med():
    found = experiment.statistics([np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]), np.array([[8.0], [1.0]])])
    np.testing.assert_allclose(found, [[2, 1, 8 / 3], [np.nan, 1, np.inf]])


def test_the_record_holds_every_run_and_no_other(smoke_records):
    record = smoke_records["curvature"]
    config = experiment_config.PROFILES["smoke"]
    assert record.sizes["layer"] == 3 + 7 + 4
    present = record.reached.notnull().any(("seed", "level", "network"))
    assert present.sel(scale=1.0).all()
    assert present.sel(scale=2.0).values.tolist() == [name in experiment_config.PAIR for name in record.optimizer.values]
    assert record.curve_r_med.sizes["point"] == config.points
    checked = record.exact.notnull().any(("scale", "optimizer", "seed", "level"))
    assert set(record.layer.values[checked.values]) == set(record.checked.values)
    assert float(record.r_med.min()) >= 1


def test_every_method_starts_from_the_same_weights(inputs):
    config = replace(experiment_config.PROFILES["smoke"], levels=(1.0,), steps=1)
    runs = [experiment.compute_piece(config, inputs, f"run perceptron 1.0 {m}", Ticks()) for m in METHODS]
    for run in runs:
        xr.testing.assert_identical(run.r_med, runs[0].r_med)
        assert float(run.step.max()) == 0


class Ticks:
    def tick(self):
        pass

    def over(self, steps, state):
        return iter(range(steps))


def by_hand(gap=1.0, noise=0.1, slow=0.5, other=0.0, turned=True, common=1, slope=(1.0, 1.0, 1.0), error=0.05, seeds=3):
    """A record of three layers: log R_med of SGD is ``gap`` above Adam's, that of the others ``other``."""
    scales, levels, layers = [0.3, 1.0, 3.0], [0.6, 0.1], [f"{network}: layer" for network in NETWORKS]
    coords = {"layer": layers, "scale": scales, "optimizer": list(METHODS), "seed": list(range(seeds)), "level": levels}
    shape = [len(x) for x in coords.values()]
    logs = xr.DataArray(np.full(shape, 2.0 + other), coords=coords, dims=list(coords))
    logs.loc[{"optimizer": "Adam"}] = 2.0
    spread = xr.DataArray(noise * (np.arange(seeds) - (seeds - 1) / 2), dims="seed", coords={"seed": coords["seed"]})
    logs.loc[{"optimizer": "SGD"}] = 2.0 + gap + spread
    if turned:
        logs.loc[{"optimizer": "SGD", "scale": 0.3}] = 2.0 - gap
    C = np.linspace(0.2, -0.05, 6)
    curve = np.exp(np.multiply.outer(np.array(slope), C))[:, :, None, None] * np.ones((1, 1, len(levels), seeds))
    curve_dims = ("curve_layer", "point", "level", "seed")
    values = {
        "r_med": np.exp(logs),
        "exact": np.exp(logs - error),
        "common": (("network", "scale", "level"), np.full((3, 3, 2), common, dtype=np.int8)),
        "slow_r_med": np.exp(2.0 + slow * (logs.sel(scale=1.0, drop=True) - 2.0)),
        "slow_common": (("network", "level"), np.full((3, 2), common, dtype=np.int8)),
        "curve_r_med": (curve_dims, curve),
        "curve_step": (("point", "level", "seed"), np.ones((6, len(levels), seeds))),
        "coefficient": ("point", C),
        "owner": ("layer", list(NETWORKS)),
    }
    attrs = {"profile": "laptop", "experiment": "curvature", "config_hash": "12345678", "probes": 256}
    return xr.Dataset(values, {"network": list(NETWORKS)}, attrs)


YES, NO, PARTLY, NOT_RUN = "reproduced", "not reproduced", "partly", "not run at this profile"


@pytest.mark.parametrize(
    ("changed", "id", "verdict"),
    [
        ({}, "JML-9f", YES),
        ({"gap": -1.0}, "JML-9f", NO),
        ({"noise": 3.0}, "JML-9f", NO),
        ({"common": 0}, "JML-9f", NOT_RUN),
        ({"seeds": 2}, "JML-9f", NOT_RUN),
        ({}, "JML-9g", YES),
        ({"noise": 3.0}, "JML-9g", NO),
        ({}, "D-9h", YES),
        ({"other": 0.9}, "D-9h", NO),
        ({"common": 0}, "D-9h", NOT_RUN),
        ({}, "D-9i", YES),
        ({"turned": False}, "D-9i", NO),
        ({}, "D-9j", YES),
        ({"error": -0.2}, "D-9j", NO),
        ({}, "D-9k", YES),
        ({"slope": (-1.0, -2.0, -0.5)}, "D-9k", YES),
        ({"slope": (1.0, -1.0, 1.0)}, "D-9k", NO),
        ({}, "D-9n", YES),
        ({"slow": -1.5}, "D-9n", NO),
        ({"common": 0}, "D-9n", NOT_RUN),
    ],
)
def test_the_criteria_are_applied(changed, id, verdict):
    assert {claim.id: claim.verdict for claim in chapters.claims("curvature", by_hand(**changed))}[id] == verdict


def test_parts_of_the_cases_are_partly():
    record = by_hand()
    record.r_med.loc[{"layer": "images: layer", "scale": 0.3}] = record.r_med.sel(layer="images: layer", scale=3.0)
    assert {claim.id: claim.verdict for claim in chapters.claims("curvature", record)}["D-9i"] == PARTLY


def test_what_the_region_does_is_judged_at_a_loss_that_every_point_reaches():
    record = by_hand()
    record.curve_step.loc[{"level": 0.1, "point": 0}] = np.nan
    assert experiment_claims.along_curve(record) is not None
    record.curve_step[0] = np.nan
    assert experiment_claims.along_curve(record) is None
    assert {claim.id: claim.verdict for claim in chapters.claims("curvature", record)}["D-9k"] == NOT_RUN
