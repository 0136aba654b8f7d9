"""Draws the pictures of a training run, each as one matplotlib figure without a window or any global state.

All share one language: red is positive and blue negative, grey is the frame of a tile, bold says what is shown and
small print how. Places are inches from the top left corner, so that the pixels of every mosaic are square.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

Array = NDArray[Any]

_WIDTH, _LEFT, _CONTENT, _BAR_LEFT, _BAR = 9.0, 0.75, 7.35, 8.22, 0.12  # inches
_TOP, _BOTTOM, _GAP = 0.45, 0.55, 0.9
_DOTS_PER_INCH = 160

_INPUT_GAP = 0.1  # inches between a digit and its maps
_TILE_DOTS, _FRAME_DOTS = 40, 2  # a mosaic's tiles are enlarged to at least so many, so that a frame can be thin
_MISTAKES_PER_ROW = 6
_THRESHOLDS_SHOWN = 8  # noise may lie a hundred of them away
_HISTOGRAM_BINS = 60

_INK, _QUIET, _FRAME, _RED, _BLUE = "#222222", "#666666", "#9a9a9a", "#b2182b", "#2166ac"
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f"])
_POSITIVE = LinearSegmentedColormap.from_list("positive", ["#f7f7f7", "#d6604d", "#67001f"])


def png(figure: Figure) -> bytes:
    """Returns the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def filters(kernels: Array, layer: str, source: str) -> Figure:
    """Draws every kernel [outputs, inputs, h, w] of a convolution: a column per output, a row per input."""
    tiles = kernels.swapaxes(0, 1)  # [inputs, outputs, h, w]
    height = _CONTENT * len(tiles) / tiles.shape[1]
    figure = _figure(_TOP + height + _BOTTOM)
    axes = _axes(figure, _LEFT, _TOP, _CONTENT, height)
    _draw_tiles(axes, tiles, _colours(tiles))
    _number(axes.set_xticks, range(1, tiles.shape[1] + 1))
    _number(axes.set_yticks, range(1, len(tiles) + 1) if len(tiles) > 1 else [])
    axes.set(xlabel=f"map of {layer}", ylabel=source)
    _entitle(axes, f"{layer}, {kernels.shape[0]} filters", f"{kernels[0, 0].size} weights in each tile")
    _draw_scale(_axes(figure, _BAR_LEFT, _TOP, _BAR, height), tiles, "weight")
    return figure


def strongest_filters(kernels: Array, layer: str, source: str, shown: int = 24) -> Figure:
    """Draws the size of all kernels [outputs, inputs, h, w] and, weight by weight, those of the strongest outputs.

    A kernel's size is the root of its sum of squares; an output's strength is that of all of its kernels.
    """
    sizes = np.sqrt(np.square(kernels).sum((2, 3)))  # [outputs, inputs]
    strongest = np.sort(np.argsort(-np.square(sizes).sum(1))[:shown])
    tiles = kernels[strongest].swapaxes(0, 1)  # [inputs, shown, h, w]
    overview, height = 1.8, _CONTENT * len(tiles) / len(strongest)
    figure = _figure(_TOP + overview + _GAP + height + _BOTTOM)
    _draw_sizes(figure, overview, sizes, layer, source)
    top = _TOP + overview + _GAP
    axes = _axes(figure, _LEFT, top, _CONTENT, height)
    _draw_tiles(axes, tiles, _colours(tiles))
    _number(axes.set_xticks, strongest + 1)
    _number(axes.set_yticks, range(1, len(tiles) + 1))
    axes.set(xlabel=f"map of {layer}", ylabel=source)
    _entitle(axes, f"{layer}, the {len(strongest)} strongest filters", f"{kernels[0, 0].size} weights in each tile")
    _draw_scale(_axes(figure, _BAR_LEFT, top, _BAR, height), tiles, "weight")
    return figure


def feature_maps(images: Array, maps: Array, labels: Sequence[int], layer: str) -> Figure:
    """Draws the maps [k, c, h, w] of a layer for k images [k, 28, 28], a row each, on one colour scale."""
    count, channels, side, _ = maps.shape
    row = 0.55 if side == 1 else (_CONTENT - _INPUT_GAP) / (channels + 1)
    height, maps_left = row * count, row + _INPUT_GAP
    figure = _figure(_TOP + height + _BOTTOM)
    left = _axes(figure, _LEFT, _TOP, row, height)
    left.imshow(_mosaic(images[:, None] / 255), cmap="gray_r", extent=(0, 1, count, 0), aspect="auto")
    left.set(xticks=[], facecolor=_FRAME)
    _number(left.set_yticks, labels)
    left.set_ylabel("digit")
    axes = _axes(figure, _LEFT + maps_left, _TOP, _CONTENT - maps_left, height)
    tiles = maps.reshape(count, channels) if side == 1 else _mosaic(maps)
    colours, norm = _colours(maps)
    axes.imshow(tiles, cmap=colours, norm=norm, extent=(0, channels, count, 0), aspect="auto", interpolation="nearest")
    axes.set(yticks=[], facecolor=_FRAME, xlabel=f"map of {layer}")
    _number(axes.set_xticks, range(1, channels + 1), every=20 if channels > 20 else 1)
    size = "one value each" if side == 1 else f"{side} x {side} each"
    _entitle(axes, f"{layer}, {channels} maps", size)
    _draw_scale(_axes(figure, _BAR_LEFT, _TOP, _BAR, height), maps, "activation")
    return figure


def curves(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws loss and error per epoch from a run's rows, both on log axes; an epoch without an error has no point."""
    height, width = 3.2, 3.6
    figure = _figure(_TOP + height + _BOTTOM)
    numbers = [row["epoch"] for row in epochs]
    loss = _axes(figure, _LEFT, _TOP, width, height)
    loss.plot(numbers, [row["train_loss"] for row in epochs], "o-", color=_INK, markersize=4)
    loss.set(xlabel="epoch", ylabel="cross-entropy, nats", yscale="log")
    _entitle(loss, "loss", "training images, log axis")
    error = _axes(figure, _WIDTH - width - 0.2, _TOP, width, height)
    for key, name, colour in (("train", "training", _BLUE), ("validation", "validation", _RED)):
        shares = [_error_percent(row[f"{key}_accuracy"]) for row in epochs]
        if np.isfinite(shares).any():
            error.plot(numbers, shares, "o-", color=colour, markersize=4, label=name)
    error.set(xlabel="epoch", ylabel="images wrong, %", yscale="log")
    if error.lines:
        error.legend(frameon=False, fontsize=9)
    _entitle(error, "error", "log axis")
    for axes in (loss, error):
        axes.grid(color="#e4e4e4", which="both", linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(_only_ones_twos_fives))
        axes.tick_params(which="both", labelsize=8, colors=_QUIET, length=0)
    return figure


def confusion(counts: Array) -> Figure:
    """Draws how often each label (row) was read as each digit (column), int [10, 10]; colours are for errors only."""
    side = 6.0
    figure = _figure(_TOP + side + _BOTTOM)
    axes = _axes(figure, _LEFT, _TOP, side, side)
    errors = counts * (1 - np.eye(len(counts), dtype=int))
    norm = Normalize(0, max(1, errors.max()))
    shown = np.where(np.eye(len(counts)), np.nan, errors)
    axes.imshow(shown, cmap=_POSITIVE, norm=norm)
    axes.set_facecolor("#e4e4e4")
    for (label, read), count in np.ndenumerate(counts):
        if count:
            colour = _QUIET if label == read else "white" if norm(count) > 0.45 else _INK
            axes.text(read, label, f"{count:,}", size=10, ha="center", va="center_baseline", color=colour)
    for label, (wrong, total) in enumerate(zip(errors.sum(1), counts.sum(1), strict=True)):
        share = f"{wrong / total:.2%}" if total else "-"
        axes.text(
            len(counts) - 0.35, label, f"{wrong} of {total:,}: {share}", size=9, color=_QUIET, va="center_baseline"
        )
    axes.text(len(counts) - 0.35, -0.61, "wrong", size=10, weight="bold", color=_INK)
    axes.set(xticks=range(len(counts)), yticks=range(len(counts)), xlabel="read as", ylabel="label")
    axes.tick_params(labelsize=10, colors=_INK)
    _entitle(axes, "confusion", f"{errors.sum()} of {counts.sum():,} images wrong")
    return figure


def mistakes(images: Array, labels: Array, read: Array, probabilities: Array) -> Figure:
    """Draws wrongly read images [m, 28, 28], each with its label, what was read, and that answer's probability."""
    rows = max(1, -(-len(labels) // _MISTAKES_PER_ROW))
    caption, pitch = 0.5, (_WIDTH - 0.4) / _MISTAKES_PER_ROW
    figure = _figure(0.3 + rows * (pitch - 0.15 + caption))
    if not len(labels):
        figure.text(0.5, 0.5, "no image was read wrongly", ha="center", size=12, color=_INK)
    for number, (image, label, digit, probability) in enumerate(zip(images, labels, read, probabilities, strict=True)):
        row, column = divmod(number, _MISTAKES_PER_ROW)
        top = 0.1 + caption + row * (pitch - 0.15 + caption)
        axes = _axes(figure, 0.25 + column * pitch, top, pitch - 0.15, pitch - 0.15)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=_FRAME)
        axes.text(0, 1.17, f"read {digit}, {probability:.1%}", transform=axes.transAxes, size=10, color=_RED)
        axes.text(0, 1.04, f"label {label}", transform=axes.transAxes, size=10, color=_INK)
    return figure


def calibration(images: Array, confidence: Array, accuracy: Array) -> Figure:
    """Draws bins of answers, each [bins]: how often they were right against how sure they were, and their number.

    Bars are 95 % intervals of the share (Wilson); a bin without images has no point.
    """
    height, small = 4.2, 1.5
    figure = _figure(_TOP + height + _GAP + small + _BOTTOM)
    axes = _axes(figure, _LEFT, _TOP, _CONTENT + 0.5, height)
    axes.plot([0, 1], [0, 1], "--", color=_QUIET, linewidth=1)
    full = images > 0
    low, high = _wilson(accuracy[full], images[full])
    axes.vlines(confidence[full], low, high, color=_RED, linewidth=1.5, alpha=0.5)
    axes.plot(confidence[full], accuracy[full], "o", color=_RED, markersize=6, clip_on=False)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), ylabel="share of them right", xlabel="mean probability of the answer")
    along = np.degrees(np.arctan(height / (_CONTENT + 0.5)))
    axes.text(0.03, 0.05, "as right as sure", size=9, color=_QUIET, rotation=along, rotation_mode="anchor")
    _entitle(axes, "calibration", f"{len(images)} bins, bars are 95 % intervals")
    counts = _axes(figure, _LEFT, _TOP + height + _GAP, _CONTENT + 0.5, small)
    middles = (np.arange(len(images)) + 0.5) / len(images)
    counts.bar(middles, images, width=0.9 / len(images), color=_BLUE)
    for middle, count in zip(middles[full], images[full], strict=True):
        counts.text(middle, count * 1.2, f"{count:,}", size=8, ha="center", color=_QUIET)
    counts.set(xlim=(0, 1.01), yscale="log", ylim=(0.7, images.max() * 5))
    counts.set(xlabel="probability of the answer", ylabel="images")
    counts.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    counts.tick_params(which="minor", length=0)
    _entitle(counts, "images in each bin", "log axis")
    for each in (axes, counts):
        each.grid(color="#e4e4e4", linewidth=0.6)
        each.set_axisbelow(True)
    return figure


def unfamiliarity(sets: Mapping[str, Array], threshold: float) -> Figure:
    """Draws a histogram of each set's unfamiliarities [n]; up to the threshold they pass for digits."""
    row, gap = 0.95, 0.4
    figure = _figure(_TOP + len(sets) * (row + gap) - gap + _BOTTOM)
    edges = _edges(threshold, min(max(values.max() for values in sets.values()), _THRESHOLDS_SHOWN * threshold))
    for number, (name, values) in enumerate(sets.items()):
        axes = _axes(figure, _LEFT, _TOP + number * (row + gap), _CONTENT + 0.5, row)
        # An image at the threshold itself passes, so bins are open on the left.
        counts = np.bincount(np.searchsorted(edges[1:-1], values, side="left"), minlength=len(edges) - 1)
        percent = 100 * counts / len(values)
        colours = np.where(edges[1:] <= threshold * (1 + 1e-6), _BLUE, _RED)
        axes.bar(edges[:-1], percent, np.diff(edges), align="edge", color=colours)
        # Half of the digits are in the first bin, beside which the others would not show.
        highest = 1.15 * (percent[1:].max() or percent[0])
        if percent[0] > highest:
            axes.text(1.3 * edges[1], highest, f"{percent[0]:.0f} % in this bin", size=8, color=_BLUE, va="top")
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle="--")
        axes.set(xlim=(0, edges[-1]), ylim=(0, highest), ylabel="%")
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.spines["bottom"].set(visible=True, color=_FRAME)
        accepted = (values <= threshold).mean()
        _entitle(axes, name, f"{accepted:.2%} of {len(values):,} pass for digits")
        if number == 0:
            axes.text(threshold, 0.8 * highest, f"  threshold {threshold:.2f}", size=9, color=_INK)
        if number < len(sets) - 1:
            axes.set_xticklabels([])
    axes.set_xlabel(f"unfamiliarity; what is above {edges[-2]:.1f} is in the last bin")
    return figure


def _figure(height: float) -> Figure:
    return Figure((_WIDTH, height), dpi=_DOTS_PER_INCH, facecolor="white")


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    page = figure.get_figheight()
    axes = figure.add_axes((left / _WIDTH, (page - top - height) / page, width / _WIDTH, height / page))
    axes.tick_params(length=0, labelsize=8, colors=_QUIET)
    for each in (axes.xaxis.label, axes.yaxis.label):
        each.set(size=9, color=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _entitle(axes: Axes, name: str, meaning: str) -> None:
    axes.set_title(name, loc="left", size=10, weight="bold", color=_INK)
    axes.set_title(meaning, loc="right", size=9, color=_QUIET)


def _number(set_ticks: Callable[..., object], labels: Sequence[int] | range | Array, every: int = 1) -> None:
    """Labels the middles of tiles that are 1 wide; with `every` 20, the 20th, the 40th and so on."""
    chosen = [(place + 0.5, str(label)) for place, label in enumerate(labels) if (place + 1) % every == 0]
    set_ticks([place for place, _ in chosen], [label for _, label in chosen])


def _mosaic(tiles: Array) -> Array:
    """Joins tiles [rows, columns, h, w] to one array, each in a frame of NaN, which lets the background through."""
    zoom = -(-_TILE_DOTS // tiles.shape[-1])
    framed = np.pad(
        tiles.repeat(zoom, 2).repeat(zoom, 3),
        ((0, 0), (0, 0), (_FRAME_DOTS // 2,) * 2, (_FRAME_DOTS // 2,) * 2),
        constant_values=np.nan,
    )
    rows, columns, height, width = framed.shape
    joined: Array = framed.swapaxes(1, 2).reshape(rows * height, columns * width)
    return joined


def _draw_tiles(axes: Axes, tiles: Array, colours: tuple[Colormap, Normalize]) -> None:
    rows, columns = tiles.shape[:2]
    cmap, norm = colours
    axes.imshow(_mosaic(tiles), cmap=cmap, norm=norm, extent=(0, columns, rows, 0), interpolation="nearest")
    axes.set_facecolor(_FRAME)


def _draw_sizes(figure: Figure, height: float, sizes: Array, layer: str, source: str) -> None:
    outputs, inputs = sizes.shape
    axes = _axes(figure, _LEFT, _TOP, _CONTENT, height)
    axes.imshow(sizes.T, cmap=_POSITIVE, vmin=0, extent=(0, outputs, inputs, 0), aspect="auto", interpolation="nearest")
    _number(axes.set_xticks, range(1, outputs + 1), every=20)
    _number(axes.set_yticks, range(1, inputs + 1), every=4)
    axes.set(xlabel=f"map of {layer}", ylabel=source)
    _entitle(axes, f"{layer}, all {outputs * inputs:,} kernels", "root of the sum of squares of each")
    _draw_scale(_axes(figure, _BAR_LEFT, _TOP, _BAR, height), sizes, "size")


def _draw_scale(axes: Axes, values: Array, name: str) -> None:
    colours, norm = _colours(values)
    bar = axes.figure.colorbar(ScalarMappable(norm, colours), cax=axes, ticks=MaxNLocator(4))
    bar.outline.set_visible(False)
    axes.tick_params(length=0, labelsize=8, colors=_QUIET)
    axes.set_ylabel(name, size=8, color=_QUIET)


def _colours(values: Array) -> tuple[Colormap, Normalize]:
    """Returns the signed scale, symmetric about zero, where anything is negative; else the one from zero."""
    largest = float(np.abs(values).max()) or 1.0
    return (_SIGNED, Normalize(-largest, largest)) if values.min() < 0 else (_POSITIVE, Normalize(0, largest))


def _error_percent(accuracy: float | None) -> float:
    return np.nan if accuracy is None or accuracy == 1 else 100 * (1 - accuracy)


def _only_ones_twos_fives(value: float, _: int | None) -> str:
    """Labels the minor ticks of a log axis that stay legible beside each other."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _wilson(share: Array, images: Array) -> tuple[Array, Array]:
    """Returns the 95 % interval of a share that was seen on so many images."""
    z = 1.96
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / (1 + z**2 / images)
    return middle - half, middle + half


def _edges(threshold: float, largest: float) -> Array:
    """Returns the edges of bins of equal width from 0 past the largest value, one of them the threshold."""
    width = max(largest, threshold) / _HISTOGRAM_BINS or 1.0
    if threshold > 0:
        width = threshold / max(1, round(threshold / width))
    return width * np.arange(max(3, int(max(largest, threshold) / width) + 2))
