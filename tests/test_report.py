"""Figures draw from records alone, label stand-in data, and leave matplotlib as they found it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from kadam.advice import advise
from kadam.chapters.box.box import figures as box
from kadam.chapters.box.norms import figures as norms
from kadam.chapters.box.radius import figures as radius
from kadam.chapters.contest import drawing as rivals
from kadam.chapters.contest.cifar import figures as cifar
from kadam.chapters.contest.language import figures as language
from kadam.chapters.continuous_time.orders import figures as orders
from kadam.chapters.continuous_time.trajectories import figures as trajectories
from kadam.chapters.generalization import figures as generalization
from kadam.chapters.growth import figures as growth
from kadam.chapters.local_geometry.curvature import figures as curvature
from kadam.chapters.local_geometry.geometry import figures as geometry
from kadam.chapters.scale_invariance.invariance import figures as invariance
from kadam.chapters.scale_invariance.meta import figures as meta
from kadam.chapters.stability import figures as stability
from kadam.decay import Decay
from kadam.report import style
from kadam.report.ledger import with_range
from kadam.theory import stability as theory

SHOWN = ["Adam", "SGD", "2-Adam meta"]
LEARNT = ["Adam", "Lion", "2-Adam meta"]


def cifar_curves(record):
    return cifar.curves(record, methods=SHOWN)


def language_curves(record):
    return language.curves(record, methods=LEARNT)


def language_updates(record):
    return language.updates(record, methods=LEARNT)


def box_radii(record):
    return box.radii()


RIVALS = [rivals.advantage, rivals.stages, rivals.rates, rivals.rates_by_k, rivals.ranking, rivals.sizes]

FIGURES = {
    "stability": [stability.region, stability.boundaries, stability.bounds, stability.runs],
    "growth": [growth.curves, growth.slopes, growth.errors, growth.places],
    "trajectories": [trajectories.weights, trajectories.squares, trajectories.betas, trajectories.noise],
    "orders": [orders.errors],
    "generalization": [
        generalization.normal_curve,
        generalization.speed,
        generalization.level_curves,
        generalization.causes,
        generalization.plane,
        generalization.unstable,
    ],
    "invariance": [
        invariance.growth,
        invariance.norms,
        invariance.causes,
        invariance.departure,
        invariance.orthogonality,
        invariance.rotation,
    ],
    "meta": [meta.histories, meta.directions, meta.networks],
    "cifar": [*RIVALS, cifar_curves],
    "language": [*RIVALS, language_curves, language.basin, language_updates],
    "box": [box.gaps, box_radii, box.sizes, box.contrast],
    "norms": [norms.identity, norms.losses],
    "radius": [radius.paths, radius.window, radius.averages],
    "geometry": [geometry.losses, geometry.dimensions, geometry.laws, geometry.starts],
    "curvature": [curvature.paths, curvature.differences, curvature.scales, curvature.estimates, curvature.region],
}
CASES = [(name, draw) for name, draws in FIGURES.items() for draw in draws]


@pytest.mark.parametrize(("name", "draw"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_every_figure_draws_something_at_the_width_of_the_text(smoke_records, name, draw):
    figure = draw(smoke_records[name])
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == style.WIDTH
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


WITHOUT_DATA = ("stability", "norms", "geometry")
WITH_DATA = [(name, draw) for name, draw in CASES if name not in WITHOUT_DATA and draw not in (trajectories.betas, box_radii)]


@pytest.mark.parametrize(("name", "draw"), WITH_DATA, ids=lambda x: getattr(x, "__name__", x))
def test_stand_in_data_is_labelled_on_the_figure_itself(smoke_records, name, draw):
    def texts(record):
        return [text.get_text() for text in draw(record).findobj(plt.Text)]

    record = smoke_records[name]
    stand_in = "scikit-learn's digits" if name in ("cifar", "box") else "embedded excerpt of tiny Shakespeare"
    assert any(f"stand-in data: {stand_in}" in text for text in texts(record))
    assert not any("stand-in" in text for text in texts(record.assign_attrs(data_origin="folder")))


def test_drawing_leaves_matplotlibs_settings_alone(smoke_records):
    before = dict(plt.rcParams)
    stability.boundaries(smoke_records["stability"])
    assert dict(plt.rcParams) == before


def test_drawing_keeps_what_a_notebooks_backend_sets_meanwhile():
    @style.styled
    def wake_up():
        plt.rcParams["interactive"] = True
        return plt.figure()

    before = plt.rcParams["interactive"]
    try:
        wake_up()
        assert plt.rcParams["interactive"]
    finally:
        plt.rcParams["interactive"] = before


def test_the_practice_table_says_which_pairs_are_unstable(smoke_records):
    lines = stability.practice_table(smoke_records["stability"]).splitlines()[1:]
    unstable = {line[:16].strip() for line in lines if "unstable" in line}
    assert len(lines) == 9
    assert unstable == {"momentum 0.98", "default swapped"}
    assert max(map(len, lines)) <= 80


def test_the_boundary_numbers_are_the_theorys(smoke_records):
    numbers = stability.boundary_numbers(smoke_records["stability"])
    assert numbers["widest gap in beta"] == pytest.approx(((1 + 5**0.5) / 2) ** -5, abs=1e-6)
    assert numbers["gap at gamma 0.9"] == pytest.approx(0.9 / 1.1 - 0.81)


def test_the_tables_of_chapter_3_say_what_the_experiments_judge_by(smoke_records):
    from kadam.chapters.continuous_time.trajectories.run import path_errors, weight_errors

    record = smoke_records["trajectories"]
    weights = trajectories.weight_table(record).splitlines()
    assert f"{float(weight_errors(record).sel(flow='paper').median()):.1%}" in weights[1]
    assert f"{float(weight_errors(record).sel(flow='second').max()):.1%}" in weights[2]
    eta = float(record.path_eta.max())
    assert (
        f"{float(path_errors(record).sel(flow='second', path_eta=eta)):.3g}" in trajectories.error_table(record).splitlines()[1]
    )
    assert "the same path to 1e-8 of its length: True" in trajectories.noise_table(record)
    assert max(len(line) for line in orders.table(smoke_records["orders"]).splitlines()) <= 80


def test_the_tables_on_the_norm_hold_what_the_record_holds(smoke_records):
    record = smoke_records["invariance"]
    usual = record.sel(gamma=0.9, weight_decay=0.0)
    assert with_range(usual.growth_ratio, ".1f") in invariance.growth_table(record).splitlines()[3]
    turned = record.rotation.sel(gamma=0.5, weight_decay=record.weight_decay > 0)
    assert f"{float(turned.mean()):.4f}" in invariance.rotation_table(record).splitlines()[2]
    assert "recursion to 1e-9: True" in invariance.orthogonality_table(record)
    assert len(invariance.norm_table(record).splitlines()) == 1 + record.sizes["weight_decay"]
    assert with_range(usual.past_cosine.sel(lag=20), ".3f") in invariance.past_table(record)
    fixed = usual.sel(setting="one fixed batch")
    momentum = float(fixed.parts.sel(part="momentum").mean())
    assert f"{momentum:.3f}" in invariance.causes_table(record).splitlines()[3]
    assert with_range(fixed.departure.sel(phase="late")) in invariance.departure_table(record).splitlines()[3]


def test_the_tables_on_the_second_normalisation_hold_what_the_record_holds(smoke_records):
    record = smoke_records["meta"]
    scaled = record.sel(change="loss / 10")
    line = meta.history_table(record).splitlines()[3]
    assert line.split()[:3] == ["loss", "/", "10"]
    assert f"{float(scaled.history_error.sel(history='constant').mean()):.3f}" in line
    assert f"{float(scaled.norm_change.mean()):+.2f}" in line
    ratio = (scaled.angle_at_horizon / scaled.angle_at_horizon.sel(rule="AdamW")).mean("seed")
    assert with_range(ratio.sel(rule="one v")) in meta.direction_table(record).splitlines()[-1]
    assert with_range(record.law_error.sel(moments="one a weight")) in meta.moment_table(record).splitlines()[2]
    plain = record.network_loss.sel(network="plain, Adam").mean("seed")
    assert f"{float(plain.min()):.3f}" in meta.network_table(record).splitlines()[2]


@pytest.mark.parametrize("module", [invariance, meta], ids=lambda module: module.__name__)
def test_the_tables_of_the_chapter_on_scale_invariance_fit_the_page(smoke_records, module):
    record = smoke_records[module.__name__.rpartition(".")[2]]
    tables = [table for name, table in vars(module).items() if name.endswith("_table")]
    assert len(tables) >= 3
    assert max(len(line) for table in tables for line in table(record).splitlines()) <= 90


def test_the_map_tells_pairs_inside_from_pairs_outside(smoke_records):
    record = smoke_records["trajectories"]
    paper = trajectories.map_table(record).splitlines()[1].split()
    outside = record.map_error.sel(flow="paper").where(record.beta <= record.gamma**2)
    assert paper[-1] == f"{float(outside.median()):.2g}"


def test_shares_of_the_maximum_add_up_to_one(smoke_records):
    shares = growth.holder_shares(smoke_records["growth"])
    np.testing.assert_allclose(sum(shares.values()), 1)


def test_the_error_of_a_law_is_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.growth.run import relative_errors

    record = smoke_records["growth"].assign_attrs(one_e_fold=1e-3)
    for law in growth.LAWS:
        assert growth.error(record, law) == f"{float(relative_errors(record, law).mean()):.1%}"
    assert growth.error(record.assign_attrs(one_e_fold=1.0), "discrete") == "not measured"


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


def test_the_tables_of_chapter_4_say_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.generalization import run as experiment

    record = smoke_records["generalization"]
    assert generalization.BAD == experiment.BAD
    xr.testing.assert_identical(generalization.at(record, "loss", "tuned"), experiment.at(record, "loss", "tuned"))
    measured = {claim.id: claim.measured for claim in experiment.claims(record)}
    line = next(x for x in generalization.speed_table(record).splitlines() if x.startswith("normal curve, 4 nats"))
    assert f"4 nats {line[24:48].strip()}" in measured["GT-4a"]
    bad = int(experiment.end_badly(record, "fixed").isel(point=np.flatnonzero(~record.stable)).sum())
    row = next(x for x in generalization.unstable_table(record).splitlines() if "exactly" in x and x.split()[0] == "0.003")
    assert f"{bad} of {3 * int((~record.stable).sum())}" in row
    assert f"{bad} of" in measured["D-4f exact, fixed"]


def test_the_tables_of_chapter_4_hold_what_the_record_holds(smoke_records):
    record = smoke_records["generalization"]
    _, sizes = generalization.setting(record).split("\n", 1)
    assert sizes.startswith("10 pairs x 3 learning rates (0.003, 0.01, 0.03) x 3 seeds\n60 steps; fixed rate 0.003")
    equal = record.isel(point=int(np.flatnonzero(record.equal)[0]))
    line = next(x for x in generalization.normal_table(record).splitlines() if x.endswith("equal"))
    assert f"{float(equal.loss.sel(rate=3e-3).isel(evaluation=-1).mean()):.3f}" in line
    iterations = generalization.at(record, "iterations", "tuned").sel(target=3.5).mean("seed")
    first = generalization.plane_table(record).splitlines()[1].split()
    assert (first[0], float(first[4])) == ("1", round(float(iterations.min())))
    assert "never" in generalization.level_table(record)
    tables = [table(record) for name, table in vars(generalization).items() if name.endswith("_table")]
    assert len(tables) == 6
    assert max(len(line) for table in tables for line in table.splitlines()) <= 90


def test_what_a_seed_does_to_all_pairs_alike_leaves_no_interval(smoke_records):
    record = smoke_records["generalization"]
    one = generalization.at(record, "iterations", "fixed").sel(target=4.0)
    shifted = one.isel(seed=[0, 0, 0]) + np.array([[0.0], [5.0], [-2.0]])
    assert float(generalization.paired(shifted).std("seed").max()) < 1e-12
    assert float(abs(generalization.paired(shifted).mean("seed") - shifted.mean("seed")).max()) < 1e-12


def test_diverged_runs_of_chapter_4_are_drawn_as_crosses(smoke_records):
    def crosses(draw, record):
        return sum(len(line.get_xdata()) for ax in draw(record).axes for line in ax.lines if line.get_marker() == "x")

    record = smoke_records["generalization"].copy(deep=True)
    before = crosses(generalization.unstable, record)
    record.loss[:, 0, -1, -1] = np.nan
    record.diverged_at[:, 0, -1] = 7.0
    assert crosses(generalization.unstable, record) == before + record.sizes["rate"]
    assert np.isfinite(generalization.at(record, "diverged_at", "fixed")).any()
    drawn = [line for ax in generalization.level_curves(record).axes for line in ax.lines if line.get_marker() == "x"]
    assert 7.0 in {float(x) for line in drawn for x in line.get_xdata()}


def test_the_tables_of_chapter_6_hold_what_the_record_holds(smoke_records):
    record = smoke_records["cifar"]
    end = 100 * record.accuracy.isel(evaluation=-1).mean("seed")
    three = float(end.sel(comparison="tuned", network="no norm", optimizer="3-Adam meta"))
    assert rivals.stage_table(record, "tuned").splitlines()[-1].split()[-1] == f"{three:.1f}"
    gap = end.sel(optimizer="2-Adam meta") - end.sel(optimizer="Adam")
    line = rivals.advantage_table(record).splitlines()[-1]
    assert f"{float(gap.sel(comparison='matched size', network='batch norm')):+.1f}" in line
    sgd = float(end.sel(comparison="tuned", network="no norm", optimizer="SGD"))
    assert row_of(cifar.curve_table(record, methods=SHOWN), "SGD")[-2] == f"{sgd:.1f}"
    best = float(record.peak_rate.sel(comparison="tuned", network="batch norm", optimizer="Lion"))
    assert row_of(rivals.rate_table(record), "Lion")[1] == f"{best:.2g}"


def row_of(table, name):
    return next(line for line in table.splitlines() if line.split()[:1] == [name]).split()


def test_the_ranking_starts_with_the_best_and_has_every_baseline_once(smoke_records):
    record = smoke_records["cifar"]
    places = [line for line in rivals.ranking_table(record, shown=2).splitlines() if "batch norm" in line]
    best = 100 * record.accuracy.isel(evaluation=-1).mean("seed").sel(comparison="tuned", network="batch norm").max()
    assert float(places[0].split("(")[0].split()[-1]) == pytest.approx(float(best), abs=0.06)
    names = [line.split("(")[0].split()[3] for line in places]
    assert all(names.count(name) == 1 for name in ("Adam", "AdamW", "NAdam", "LaProp", "Lion", "SGD"))


def test_the_size_table_is_the_root_of_the_mean_square(smoke_records):
    record = smoke_records["cifar"]
    one = record.update_rms.sel(comparison="equal rate", network="batch norm", optimizer="Adam")
    size = float(((one**2).mean("evaluation") ** 0.5).mean())
    assert rivals.size_table(record).splitlines()[0] == f"Adam: {size:.2f}"


def test_the_tables_of_chapter_6_fit_the_page(smoke_records):
    record = smoke_records["cifar"]
    tables = [rivals.stage_table(record, "tuned"), cifar.curve_table(record, methods=SHOWN), rivals.rate_table(record)]
    tables += [rivals.advantage_table(record), rivals.ranking_table(record), rivals.size_table(record)]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 90


def test_a_diverged_run_is_drawn_as_a_cross(smoke_records):
    def crosses(record):
        axes = rivals.rates(record).axes
        return sum(len(line.get_xdata()) for ax in axes for line in ax.lines if line.get_marker() == "x")

    record = smoke_records["cifar"]
    failed = record.search_accuracy.copy()
    failed.loc[{"optimizer": "SGD", "network": "no norm"}] = np.nan
    assert crosses(record) == 0
    assert crosses(record.assign(search_accuracy=failed)) == 2 * record.sizes["rate"]


def test_the_setting_of_chapter_6_names_data_and_sizes(smoke_records):
    text = cifar.setting(smoke_records["cifar"])
    assert text.startswith("profile smoke; scikit-learn's digits, standing in for CIFAR-10")
    assert "128 images to train, 64 to validate, 64 to test; parameters: batch norm 496, no norm 482" in text
    assert max(map(len, text.splitlines())) <= 110


TABLES = {
    "box": [box.limit_table, box.radius_table, box.contrast_table],
    "norms": [norms.table, norms.identity_line],
    "radius": [radius.table, radius.window_table, radius.average_table],
}


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_chapter_8_fit_the_page(smoke_records, name):
    assert max(len(line) for table in TABLES[name] for line in table(smoke_records[name]).splitlines()) <= 80


def test_the_tables_of_chapter_8_hold_what_the_records_hold(smoke_records):
    assert row_of(box.pair_table(), "default")[1:] == ["0.999", "0.9", "7.270", "990"]
    assert row_of(box.pair_table(), "unstable")[3:] == ["inf", "-"]
    record = smoke_records["box"]
    assert row_of(box.radius_table(record), "above")[1] == "1.099"
    ends = float(record["size"].sel(setting="above").isel(kept=-1).max())
    assert row_of(box.radius_table(record), "above")[3] == f"{ends:.4f}"
    network = smoke_records["radius"]
    excess = float(network.window_excess.sel(setting="short", weight_decay=3.0))
    assert row_of(radius.window_table(network), "short")[1:3] == ["3", f"{excess:.3g}"]


@pytest.mark.parametrize("module", [geometry, curvature], ids=lambda module: module.__name__)
def test_the_tables_of_chapter_9_fit_the_page(smoke_records, module):
    record = smoke_records[module.__name__.rpartition(".")[2]]
    tables = [table for name, table in vars(module).items() if name.endswith("_table")]
    assert len(tables) >= 4
    assert max(len(line) for table in tables for line in table(record).splitlines()) <= 90


def test_the_tables_on_two_layers_hold_what_the_record_holds(smoke_records):
    from kadam.chapters.local_geometry.geometry.run import law_errors

    record = smoke_records["geometry"]
    error = law_errors(record, "from_start", "d^-2").sel(layer="layer 2")
    line = next(x for x in geometry.law_table(record).splitlines() if x.split()[:3] == ["d^-2", "layer", "2"])
    assert line.endswith(with_range(error, ".3f"))
    ends = record.r_med.sel(level=0.01, start="d^-3", dimension=20, optimizer="SGD").median("seed")
    assert f"{float(ends[0]):.2f}, {float(ends[1]):.2f}" in geometry.dimension_table(record).splitlines()[-1]
    assert f"{float(ends[2]):.2f}" in row_of(geometry.loss_table(record), "SGD")
    gap = np.log(record.r_med.sel(optimizer="SGD", drop=True) / record.r_med.sel(optimizer="Adam", drop=True))
    pooled = gap.sel(level=0.01, start="1/d", layer="pooled").median("seed")
    assert with_range(pooled, "+.2f") in geometry.start_table(record).splitlines()[-1]


def test_the_tables_on_networks_hold_what_the_experiment_judges_by(smoke_records):
    from kadam.chapters.local_geometry.curvature import run as experiment

    record = smoke_records["curvature"]
    measured = {claim.id: claim.measured for claim in experiment.claims(record)}
    gaps = [float(gap) for network in curvature.NETWORKS for gap in curvature.gaps(record, network, 1.0).mean("seed")]
    assert ", ".join(f"{gap:+.2f}" for gap in gaps) in measured["JML-9f"]
    middle = float(np.median(np.abs(experiment.estimate_errors(record))))
    assert curvature.estimate_table(record).endswith(f"{middle:.3f}")
    assert f"{middle:.3f}" in measured["D-9j"]
    for network in curvature.NETWORKS:
        xr.testing.assert_identical(
            curvature.slow_gaps(record, network), experiment.slow_gaps(record, network).transpose("layer", "seed")
        )
    order = row_of(curvature.region_table(record).replace("layer ", "layer-"), "layer-1")
    assert order[2] in measured["D-9k"]


def test_a_loss_that_nobody_reached_is_drawn_as_none(smoke_records):
    record = smoke_records["curvature"]
    nowhere = record.assign(common=0 * record.common, slow_common=0 * record.slow_common)
    for draw in (curvature.differences, curvature.scales):
        assert isinstance(draw(nowhere), Figure)
    assert "no loss that all methods reach" in curvature.path_table(nowhere)
    assert curvature.scale_table(nowhere).splitlines()[1].split()[1:] == ["-", "-"]
    assert curvature.difference_table(nowhere).count("-") == 12


def test_a_network_may_have_more_layers_than_there_are_colours(smoke_records):
    record = smoke_records["curvature"]
    assert isinstance(curvature.scales(record.isel(layer=np.tile(np.arange(14), 3))), Figure)
