"""What a reader could not read in a figure: words over words, words cut off at its edge, a legend over what is drawn."""

import itertools

import numpy as np
from matplotlib.collections import Collection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels by which words may touch: the box of a word is larger than its ink
UPRIGHT = (0, 90, 180, 270)  # the box of a word at another angle says little


def faults(figure):
    """What collides in a figure, in words; the figure is laid out for it, as on a page."""
    figure.draw_without_rendering()
    words = [(text.get_text(), box) for text, box in _words(figure)]
    found = [f"{a!r} over {b!r}" for (a, box), (b, other) in itertools.combinations(words, 2) if _meet(box, other)]
    edge = figure.bbox.padded(SLACK)
    found += [f"{text!r} is cut off" for text, box in words if not (edge.contains(*box.min) and edge.contains(*box.max))]
    return found + [f"the legend over {what}" for axes in figure.axes for what in _under_legend(axes)]


def _words(figure):
    """All upright words that are seen, with their boxes in pixels."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    texts = [*figure.texts, *(text for legend in legends for text in legend.get_texts())]
    for axes in figure.axes:
        if axes.get_visible():
            texts += axes.texts
            if axes.axison:
                texts += [*(axes.title, axes._left_title, axes._right_title), *_named(axes.xaxis), *_named(axes.yaxis)]
    for text in texts:
        if text.get_visible() and text.get_text().strip() and text.get_rotation() in UPRIGHT:
            box = text.get_window_extent()
            if np.isfinite(box.extents).all() and box.width > 0:
                yield text, box


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
