"""What cannot be read in a figure: words that collide, are cut off or small; data beyond its axis; what only a hue tells."""

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels by which words may touch: the box of a word is larger than its ink
UPRIGHT = (0, 90, 180, 270)  # the box of a word at another angle says little
SMALL = 7  # points: on a phone, where a figure keeps its size, the least that can be read
APART = 10  # of CIE lightness, from 0 to 100: two greys that are told apart, by eyes that see no hue and in print


def faults(figure):
    """What is wrong in a figure, in words; it is drawn for it, as on a page."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = list(_texts(figure))
    words = [(text.get_text(), box) for text, box in _boxes(texts)]
    found = [f"{a!r} over {b!r}" for (a, box), (b, other) in itertools.combinations(words, 2) if _meet(box, other)]
    edge = figure.bbox.padded(SLACK)
    found += [f"{text!r} is cut off" for text, box in words if not _holds(edge, box)]
    found += [f"{text.get_text()!r} is cut off by its axes" for text in texts if _is_clipped(text)]
    found += [f"{text.get_text()!r} is small" for text in texts if text.get_fontsize() < SMALL]
    if len(np.unique(np.asarray(canvas.buffer_rgba()).view(np.uint32)[::4, ::4])) <= 20:
        found.append("hardly anything is drawn")
    for axes in filter(lambda axes: axes.get_visible(), figure.axes):
        found += [*_beyond(axes), *_alike(axes), *(f"the legend over {what}" for what in _under_legend(axes))]
    return found


def _beyond(axes):
    """What an axis whose limits are its own choice leaves out: one shared too late has those of the others."""
    for name, axis, free in (("x", axes.xaxis, axes.get_autoscalex_on()), ("y", axes.yaxis, axes.get_autoscaley_on())):
        low, high = sorted(axis.get_view_interval())
        least, most = getattr(axes.dataLim, f"interval{name}")
        if free and (most > high + 1e-9 * abs(high) or (axis.get_scale() != "log" and least < low - 1e-9 * abs(low))):
            yield f"{least:g} to {most:g} beyond the {name} axis from {low:g} to {high:g}"


def _alike(axes):
    """Names of what differs in nothing but a hue."""
    named = [(*_look(artist), label) for artist, label in zip(*axes.get_legend_handles_labels(), strict=True)]
    for (colour, form, a), (other, same, b) in itertools.combinations(named, 2):
        if form and form == same and colour != other and abs(_lightness(colour) - _lightness(other)) < APART:
            yield f"only a hue tells {a!r} from {b!r}"


def _look(artist):
    """The colour of a line, of dots or of a bar, and its form: line, marker and filling, or hatching."""
    line = artist.lines[0] if isinstance(artist, ErrorbarContainer) else artist
    if isinstance(line, Line2D):
        hollow = to_hex(line.get_markerfacecolor()) != to_hex(line.get_color())
        marked = line.get_marker() not in ("None", "", None)
        return to_hex(line.get_color()), (line.get_linestyle(), line.get_marker(), marked and hollow, line.get_linewidth())
    if isinstance(artist, BarContainer):
        return to_hex(artist.patches[0].get_facecolor()), ("bar", artist.patches[0].get_hatch())
    return None, None


def _lightness(colour):
    """CIE L* of an sRGB colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 116 * np.cbrt(np.dot(linear, (0.2126, 0.7152, 0.0722))) - 16


def _texts(figure):
    """All words that are seen."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    texts = [*figure.texts, *(text for legend in legends for text in legend.get_texts())]
    for axes in figure.axes:
        if axes.get_visible():
            texts += axes.texts
            if axes.axison:
                texts += [*(axes.title, axes._left_title, axes._right_title), *_named(axes.xaxis), *_named(axes.yaxis)]
    return (text for text in texts if text.get_visible() and text.get_text().strip())


def _boxes(texts):
    """Those that are upright, with their boxes in pixels."""
    for text in texts:
        if text.get_rotation() in UPRIGHT:
            box = text.get_window_extent()
            if np.isfinite(box.extents).all() and box.width > 0:
                yield text, box


def _is_clipped(text):
    """Whether a word reaches beyond the axes that clip it, as those on contours are."""
    if not text.get_clip_on() or text.get_clip_box() is None:
        return False
    return not _holds(text.get_clip_box().padded(SLACK), text.get_window_extent())


def _holds(edge, box):
    return edge.contains(*box.min) and edge.contains(*box.max)


def _named(axis):
    """The label of an axis, and those of its ticks that are within its ends."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()] if axis.get_visible() else []
    seen = [tick for tick in ticks if low <= tick.get_loc() <= high]
    return [axis.label, *(label for tick in seen for label in (tick.label1, tick.label2))]


def _meet(box, other):
    shared = Bbox.intersection(box, other)
    return shared is not None and min(shared.width, shared.height) > SLACK


def _under_legend(axes):
    """What is drawn under a legend without a frame."""
    legend = axes.get_legend()
    if legend is None or legend.get_frame_on():
        return
    box = legend.get_window_extent().padded(-2 * SLACK)
    for artist in axes.get_children():
        if artist.get_visible() and artist is not axes.patch and _reaches(artist, box):
            yield artist.get_label()


def _reaches(artist, box):
    if isinstance(artist, Line2D):
        path = artist.get_transform().transform_path(artist.get_path())
        lined = artist.get_linestyle() not in ("None", "", " ") and len(path) > 1 and path.intersects_bbox(box, filled=False)
        return lined or any(box.contains(*vertex) for vertex in path.vertices)
    if isinstance(artist, Collection):
        shift = artist.get_offset_transform().transform(artist.get_offsets())
        paths = [artist.get_transform().transform_path(path) for path in artist.get_paths()]
        near = len(shift) > 1 and any(box.contains(*place) for place in shift)
        return near or (len(shift) < 2 and any(path.intersects_bbox(box, filled=False) for path in paths if len(path)))
    if isinstance(artist, Patch):
        return artist.get_transform().transform_path(artist.get_path()).intersects_bbox(box, filled=artist.get_fill())
    return False
