"""What the figures of chapter 6 have to themselves: the setting, and accuracy beside loss over training."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.figure import Figure

from kadam.chapters.contest.drawing import BOTTOM, TOP, band, looks, quantity
from kadam.chapters.contest.judges import EQUAL, TUNED, networks
from kadam.report import style


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    counts = zip(networks(record), record.parameters.values, strict=True)
    learnt = ", ".join(f"{name} {count:,.0f}" for name, count in counts)
    images = "{train_images:,} images to train, {validation_images:,} to validate, {test_images:,} to test"
    return (
        "profile {profile}; {data}, {pixels} x {pixels} pixels, {steps} steps, "
        f"{record.sizes['seed']} seeds\n{images}; parameters: {learnt}"
    ).format(**record.attrs)


@style.styled
def curves(record: xr.Dataset, *, methods: Iterable[str]) -> Figure:
    """Test accuracy above and test loss below over training, at tuned and at equal rates; bands are 95% intervals."""
    figure, all_axes = style.panels(2, 4, height=4.6, sharex=True, sharey="row")
    columns = [(network, comparison) for network in networks(record) for comparison in (EQUAL, TUNED)]
    known = looks(record)
    for (above, below), (network, comparison) in zip(all_axes.T, columns, strict=True):
        for method in methods:
            one = record.sel(network=network, comparison=comparison, optimizer=method)
            band(above, 100 * one.accuracy, known[method], method, BOTTOM)
            band(below, one.loss, known[method], method, TOP)
        above.set_title(f"{network},\n{comparison}")
        below.set_xlabel("step")
    all_axes[0, 0].set_ylabel(quantity(record).label)
    all_axes[1, 0].set_ylabel("test loss (nats)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure


def curve_table(record: xr.Dataset, *, methods: Iterable[str]) -> str:
    """Test accuracy and loss at the end, mean over seeds, at equal and tuned rates."""
    cases = [(network, comparison) for network in networks(record) for comparison in (EQUAL, TUNED)]
    heads = (["", *(network for network, _ in cases)], ["%, nats", *(comparison for _, comparison in cases)])
    lines = ["".join(f"{name:>18}" for name in head) for head in heads]
    for method in methods:
        cells = ""
        for network, comparison in cases:
            end = record.sel(network=network, comparison=comparison, optimizer=method).isel(evaluation=-1).mean("seed")
            cells += f"{100 * float(end.accuracy):>10.1f}{float(end.loss):>8.3f}"
        lines.append(f"{method:>18}{cells}")
    return "\n".join(lines)
