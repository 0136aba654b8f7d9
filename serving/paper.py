"""Tells ink from paper: a drawing's paper is one level, a photo's is lit unevenly, has grain, shadows and specks."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.decoding import MIN_CONTRAST, Picture, frame


def brighten_ink(picture: Picture) -> Picture:
    """Turns a picture round if its paper is brighter than its ink."""
    rest = picture - _paper(picture)
    # The third power: noise and light cancel out, and even a thin line stands far from the paper.
    return picture if (rest * rest * rest).sum() >= 0 else 255 - picture


def remove_paper(picture: Picture) -> Picture:
    """Leaves the ink, 0 elsewhere: a drawing only loses its paper's level, a photo is searched for ink."""
    paper = _paper(picture)
    if _is_even(picture):
        return np.asarray(np.maximum(picture - paper, 0))
    paper = paper + _shadows(picture - paper)
    # The same ink is weaker where there is less light, by as much as the paper is.
    ink = np.asarray((picture - paper) * 255 / np.maximum(255 - paper, 32), np.float32)
    return _drop_specks(_blur(ink))


def _is_even(picture: Picture) -> bool:
    """Tells a drawing from a photo by the frame: at least half of a drawing's is exactly one level."""
    levels = frame(picture)
    return bool(np.median(np.abs(levels - np.median(levels))) <= 1)


def _paper(picture: Picture) -> Picture:
    """Estimates the paper's brightness: one level, or a quadratic surface through all that is not ink."""
    if _is_even(picture):
        return np.full_like(picture, np.median(frame(picture)))
    y, x = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 32), indexing="ij")
    terms = np.stack([x**0, x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    levels = np.asarray(resize(picture, 32, 32), np.float64).ravel()
    weights = np.ones(levels.size)
    for _ in range(6):
        surface = terms @ np.linalg.solve((terms.T * weights) @ terms, (terms.T * weights) @ levels)
        rest = np.abs(levels - surface)
        weights = np.where(rest <= 3 * np.median(rest) + 1, 1.0, 1e-6)  # ink no longer counts
    return resize(surface.reshape(32, 32).astype(np.float32), *picture.shape)


def _shadows(ink: Picture) -> Picture:
    """Finds what is wider than a stroke: a third of the picture's shorter side."""
    height, width = ink.shape
    small = Image.fromarray(ink).reduce(max(1, round(min(height, width) / 48)))
    window = min(small.size) // 3 | 1
    wide = small.filter(ImageFilter.MinFilter(window)).filter(ImageFilter.MaxFilter(window))
    return resize(np.asarray(wide), height, width)


def _drop_specks(ink: Picture) -> Picture:
    """Leaves the large pieces of ink; nothing if they do not stand out from noise, or are too small for a digit."""
    ink = ink - np.median(ink)
    noise = 1.5 * np.median(np.abs(ink))
    threshold = _threshold(ink)
    pieces = _pieces(ink > threshold)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # outside
    extent = max(np.ptp(side) + 1 for side in np.nonzero(pieces == sizes.argmax()))
    if threshold < max(5 * noise, MIN_CONTRAST) or extent < min(ink.shape) / 20:
        return np.zeros_like(ink)
    kept = sizes[pieces] > sizes.max() / 10
    soft_edge = _blur(_blur(kept.astype(np.float32))) > 0
    return np.where(soft_edge, np.clip(ink * (255 / ink[kept].mean()), 0, 255), 0).astype(np.float32)


def _threshold(ink: Picture) -> float:
    """Finds the level half-way between the means of what is above and below it."""
    level = float(ink.max()) / 2
    for _ in range(10):
        above = ink > level
        if not above.any():
            break
        level = float(ink[above].mean() + ink[~above].mean()) / 2
    return level


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Numbers the connected pieces of a mask, each by one of its pixels; 0 is outside."""
    inside = np.pad(mask, 1)
    row = inside.shape[1]
    flat = inside.ravel()
    starts = [(np.flatnonzero(flat[:-step] & flat[step:]), step) for step in (1, row - 1, row, row + 1)]
    a = np.concatenate([start for start, _ in starts])
    b = np.concatenate([start + step for start, step in starts])
    root = np.arange(flat.size)
    while a.size:  # join neighbours, then point every pixel at its piece's root: few rounds, whatever the shape
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while not np.array_equal(root, further := root[root]):
            root = further
        apart = root[a] != root[b]
        a, b = a[apart], b[apart]
    return np.where(inside, root.reshape(inside.shape), 0)[1:-1, 1:-1]


def _blur(picture: Picture) -> Picture:
    wide = np.pad(picture, 1, mode="edge")
    rows = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)


def resize(picture: Picture, height: int, width: int) -> Picture:
    """Averages areas where a picture shrinks, and interpolates where it grows."""
    grows = height * width > picture.size
    method = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((width, height), method))
