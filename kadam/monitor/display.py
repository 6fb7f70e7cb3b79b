"""What a monitor found, for people: a table for a terminal, HTML for a notebook, a picture."""

import html as escape
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from kadam.monitor.diagnosis import Event
from kadam.monitor.packet import F
from kadam.monitor.ruler import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS, EVENTS = 20, 5  # how many are shown
NAME = 24  # characters of a name
WIDTH = 78  # characters of a line of an event: so many fit beside the contents of a page

# Heading, number, how it is written.
COLUMNS = (
    ("rms", "update_rms", "{:.3g}"),
    ("max", "update_max", "{:.3g}"),
    (">1", "above_one", "{:.1%}"),
    ("silent", "silent", "{:.1%}"),
    ("at risk", "rows_at_risk", "{:.1%}"),
    ("moves", "update_to_weight", "{:.1e}"),
    ("turn", "turn", "{:.1e}"),
    ("balance", "turn_equilibrium", "{:.1e}"),
)
EMPTY = "StabilityMonitor: nothing was measured yet"


def cells(measurement: Measurement) -> list[list[str]]:
    """Heading, the line of all layers, and the layers with the largest updates first."""
    layers, overall, size = measurement.layers(), measurement.overall(), measurement.packet[:, F["size"]]
    lines = [["layer", "size", *(heading for heading, _, _ in COLUMNS)]]
    lines.append(["all", _count(size.sum()), *(_cell(form, overall[name]) for _, name, form in COLUMNS)])
    for i in np.argsort(-np.nan_to_num(layers["update_rms"], nan=np.inf), kind="stable")[:LAYERS]:
        numbers = [_cell(form, float(layers[name][i])) for _, name, form in COLUMNS]
        lines.append([_short(measurement.names[i]), _count(size[i]), *numbers])
    return lines


def _cell(form: str, value: float) -> str:
    return "" if np.isnan(value) else form.format(value)


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _count(number: float) -> str:
    """At most five characters."""
    for unit, word in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{word}" if number < 999.5 * unit else f"{number / unit:.0f}{word}"
    return f"{number:.0f}"


def rulers(measurement: Measurement) -> str:
    """The line of what the numbers are to be read against."""
    overall = measurement.overall()
    known = (("noise", "noise"), ("random signs at most", "rms_bound"), ("any gradients at most", "bound"))
    parts = [f"{words} {overall[name]:.3g}" for words, name in known if not np.isnan(overall[name])]
    if overall["critical_silence"] < 1:
        parts.append(f"silence critical above {overall['critical_silence']:.2%}")
    return "; ".join(parts)


def table(measurement: Measurement | None, events: list[Event]) -> str:
    """At most 100 characters wide; events are broken into lines that are shorter."""
    if measurement is None:
        return EMPTY
    lines = cells(measurement)
    widths = [max(len(line[j]) for line in lines) for j in range(len(lines[0]))]
    body = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    head = f"step {measurement.step}; updates in learning rates"
    hidden = len(measurement.names) - LAYERS
    more = [f"and {hidden} layers with smaller updates"] if hidden > 0 else []
    return "\n".join([head, *filter(None, [rulers(measurement)]), *body, *more, *map(_broken, _told(events))])


def _broken(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _told(events: list[Event]) -> list[str]:
    if not events:
        return ["no events"]
    first = f"{len(events)} event{'s' if len(events) > 1 else ''}" + (f", the last {EVENTS}:" if len(events) > EVENTS else ":")
    return [first, *map(str, events[-EVENTS:])]


def html(measurement: Measurement | None, events: list[Event]) -> str:
    """A table and a list; names are escaped."""
    if measurement is None:
        return f"<p>{EMPTY}</p>"
    heading, *lines = [[escape.escape(text) for text in line] for line in cells(measurement)]
    rows = "".join(f"<tr><th>{line[0]}</th>{''.join(f'<td>{text}</td>' for text in line[1:])}</tr>" for line in lines)
    head = "".join(f"<th>{text}</th>" for text in heading)
    first, *told = _told(events)
    items = f"<ul>{''.join(f'<li>{escape.escape(text)}</li>' for text in told)}</ul>" if told else ""
    said = f"step {measurement.step}; updates in learning rates. {rulers(measurement)}"
    return f"<p>{said}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{first}</p>{items}"


def picture(history: list[tuple[float, float, float]], measurement: Measurement | None, events: list[Event]) -> "Figure":
    """Root mean square and maximum of all updates over steps, the rulers as lines, events as ticks below."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture needs matplotlib: pip install matplotlib, or the extra kadam[lab]") from error
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="update (learning rates)", yscale="log")
    if measurement is None:
        return figure
    steps, rms, largest = zip(*history, strict=True)
    axes.plot(steps, largest, label="largest")
    axes.plot(steps, rms, label="root mean square")
    overall = measurement.overall()
    for name, style in (("noise", ":"), ("rms_bound", "--"), ("bound", "-.")):
        if np.isfinite(overall[name]):
            axes.axhline(overall[name], color="0.5", linestyle=style, label=name.replace("_", " "))
    for kind, colour in (("momentum", "tab:orange"), ("second moment", "tab:purple")):
        marked = [event.step for event in events if event.kind == kind]
        if marked:
            axes.plot(
                marked, [0.02] * len(marked), "|", color=colour, transform=axes.get_xaxis_transform(), label=f"event: {kind}"
            )
    axes.legend(fontsize="small", ncols=2)
    return figure
