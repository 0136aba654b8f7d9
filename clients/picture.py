"""Makes one labelled picture of an answer: what the model saw, how sure it was, and all maps on the way there.

The maps of a layer form one mosaic on one colour scale, so that they can be compared. In all of them red is positive
and blue negative. Importing matplotlib takes long: whoever needs no picture must not import this module.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from clients.messages import Classification

__all__ = ["figure_of", "save"]

# All in inches. The mosaics are as wide as the input and the bars above them; colour bars stand to their right.
_PAGE_WIDTH, _LEFT, _CONTENT, _BAR_LEFT, _BAR = 10.0, 0.4, 8.6, 9.15, 0.12
_HEAD_TOP, _HEAD, _TITLE, _GAP, _STRIP = 0.85, 2.3, 0.28, 0.26, 0.4
_DOTS_PER_INCH = 120

_COLUMNS = 8  # of a mosaic, at most
_GUTTER = 1 / 16  # between two maps, of a map's side

_INK, _QUIET, _RED = "#222222", "#8a8a8a", "#b2182b"
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f"])
_POSITIVE = LinearSegmentedColormap.from_list("positive", ["#f7f7f7", "#d6604d", "#67001f"])


def save(result: Classification, path: Path, *, title: str) -> None:
    """Writes the picture of `figure_of` to a file, in the format that the path ends in: png, pdf, svg; else png.

    Raises:
        OSError: the file cannot be written.
        ValueError: matplotlib does not know that format.
    """
    content = io.BytesIO()  # given a path without an ending, matplotlib would write to another path
    figure_of(result, title=title).savefig(content, format=path.suffix.removeprefix(".") or "png")
    path.write_bytes(content.getvalue())


def figure_of(result: Classification, *, title: str) -> Figure:
    """Draws the first image of a result, with all feature maps that came with it.

    Args:
        result: the answer for an encoded image; the answer for an array does not hold the image.
        title: what the picture is of, for example a file's name.

    Raises:
        ValueError: the result holds no image.
    """
    if result.pixels is None:
        raise ValueError("the result is of an array and has no pixels; expected the result of an encoded image")
    layers = {name: maps[0] for name, maps in result.feature_maps.items()}  # [c, h, w] each
    page = _Page(_HEAD_TOP + _HEAD + sum(_TITLE + _height(maps) + _GAP for maps in layers.values()) + 2 * _GAP)
    page.figure.text(_LEFT / _PAGE_WIDTH, 1 - 0.3 / page.height, title, size=13, weight="bold", color=_INK, va="center")
    _draw_input(page.axes(_LEFT, _HEAD_TOP, _HEAD, _HEAD), result.pixels)
    _draw_probabilities(page.axes(_LEFT + 2.8, _HEAD_TOP, _CONTENT - 2.8, _HEAD), result.probabilities[0])
    top = _HEAD_TOP + _HEAD + 2 * _GAP
    for name, maps in layers.items():
        top += _TITLE
        _draw_layer(page.axes(_LEFT, top, _CONTENT, _height(maps)), name, maps)
        _draw_scale(page.axes(_BAR_LEFT, top, _BAR, _height(maps)), maps)
        top += _height(maps) + _GAP
    return page.figure


class _Page:
    """Places axes by inches from the top left corner, so that the pixels of every mosaic can be square."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure((_PAGE_WIDTH, height), dpi=_DOTS_PER_INCH, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        box = (left / _PAGE_WIDTH, bottom / self.height, width / _PAGE_WIDTH, height / self.height)
        axes = self.figure.add_axes(box)
        axes.tick_params(length=0, labelsize=8, colors=_QUIET)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def _draw_input(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    _entitle(axes, "input", "28 x 28, as the model saw it")


def _draw_probabilities(axes: Axes, probabilities: NDArray[np.float32]) -> None:
    best = int(probabilities.argmax())
    axes.bar(range(10), probabilities, color=[_RED if digit == best else "#bdbdbd" for digit in range(10)], width=0.7)
    axes.axhline(0, color=_QUIET, linewidth=0.8)
    for digit, probability in enumerate(probabilities):
        colour, weight = (_RED, "bold") if digit == best else (_QUIET, "normal")
        axes.text(digit, probability + 0.02, f"{probability:.1%}", size=8, ha="center", color=colour, weight=weight)
    axes.set(xlim=(-0.5, 9.5), ylim=(0, 1.1), yticks=[])
    axes.set_xticks(range(10))
    axes.tick_params(axis="x", labelsize=11, colors=_INK)
    _entitle(axes, "output", "probability of each digit")


def _draw_layer(axes: Axes, name: str, maps: NDArray[np.float32]) -> None:
    channels, height, width = maps.shape
    colours, norm = _colours(maps)
    _entitle(axes, name, f"{channels} maps of {height} x {width}")
    if height == width == 1:
        axes.imshow(maps.reshape(1, channels), cmap=colours, norm=norm, aspect="auto", extent=(0, channels, 0, 1))
        axes.set(yticks=[], xticks=np.arange(0, channels + 1, 20))
        axes.add_patch(Rectangle((0, 0), channels, 1, fill=False, edgecolor=_QUIET, linewidth=0.8, clip_on=False))
        return
    for channel, each in enumerate(maps):
        row, column = divmod(channel, _columns(maps))
        left, top = column * (1 + _GUTTER), row * (1 + _GUTTER)
        axes.imshow(each, cmap=colours, norm=norm, extent=(left, left + 1, top + 1, top))
        axes.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=_QUIET, linewidth=0.8, clip_on=False))
    rows = -(-channels // _columns(maps))
    axes.set(xlim=(0, _mosaic_side(_columns(maps))), ylim=(_mosaic_side(rows), 0), xticks=[], yticks=[])


def _draw_scale(axes: Axes, maps: NDArray[np.float32]) -> None:
    colours, norm = _colours(maps)
    bar = axes.figure.colorbar(
        ScalarMappable(norm, colours), cax=axes, ticks=MaxNLocator(4 if _height(maps) > 1 else 2)
    )
    bar.outline.set_visible(False)
    axes.tick_params(length=0, labelsize=8, colors=_QUIET)


def _colours(maps: NDArray[np.float32]) -> tuple[Colormap, Normalize]:
    largest = float(np.abs(maps).max()) or 1.0
    return (_SIGNED, Normalize(-largest, largest)) if maps.min() < 0 else (_POSITIVE, Normalize(0, largest))


def _columns(maps: NDArray[np.float32]) -> int:
    return min(len(maps), _COLUMNS)


def _mosaic_side(maps: int) -> float:
    return maps + (maps - 1) * _GUTTER


def _height(maps: NDArray[np.float32]) -> float:
    if maps.shape[1:] == (1, 1):
        return _STRIP
    rows = -(-len(maps) // _columns(maps))
    return _CONTENT * _mosaic_side(rows) / _mosaic_side(_columns(maps))


def _entitle(axes: Axes, name: str, meaning: str) -> None:
    axes.set_title(name, loc="left", size=10, weight="bold", color=_INK)
    axes.set_title(meaning, loc="right", size=9, color=_QUIET)
