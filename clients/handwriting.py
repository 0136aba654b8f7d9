"""Draws digits as hands write them, for the demo and for tests that must not carry pictures of MNIST.

A digit is a few strokes of a pen through points in a unit square; a `Hand` says how one person would write
them. The same digit, hand and side give the same picture, byte for byte.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["GLYPHS", "Hand", "curves", "draw", "png"]

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue, each 0 to 255
Points: TypeAlias = NDArray[np.float64]  # [n, 2]

# The ways in which people write each digit, by name. A stroke is the points that a smooth curve passes through, in
# hundredths of the unit square, x to the right and y down; a point given twice is a corner.
GLYPHS: dict[int, dict[str, tuple[str, ...]]] = {
    0: {
        "round": ("52,5 25,20 17,55 35,92 65,92 83,55 74,17 50,5",),
        "narrow": ("60,7 36,18 28,55 40,92 60,92 73,55 64,12 44,10",),
    },
    1: {
        "plain": ("52,4 50,50 49,96",),
        "flag": ("33,24 55,5 55,5 53,50 52,96",),
        "base": ("34,22 53,5 53,5 52,95", "28,95 76,94"),
    },
    2: {
        "corner": ("20,26 42,6 70,14 70,40 46,68 18,93 18,93 83,91",),
        "looped": ("22,24 44,6 72,16 68,45 42,80 22,92 16,80 32,74 56,90 84,86",),
    },
    3: {
        "round": ("22,14 50,5 74,20 65,40 45,46 45,46 72,54 78,74 56,95 20,86",),
        "flat": ("22,8 74,7 74,7 45,46 45,46 72,54 78,74 56,95 20,86",),
    },
    4: {
        "open": ("24,8 18,54 18,54 83,50", "68,12 64,50 62,96"),
        "closed": ("64,5 14,64 14,64 86,62", "64,5 63,50 60,96"),
    },
    5: {
        "cap": ("32,8 28,46 28,46 52,39 76,55 72,82 46,95 20,87", "32,8 80,5"),
        "flowing": ("76,7 34,10 34,10 28,46 28,46 52,39 76,55 72,82 46,95 20,87",),
    },
    6: {
        "curved": ("70,6 42,26 23,64 36,93 64,92 76,72 58,55 26,74",),
        "upright": ("50,4 30,40 26,76 46,95 70,84 68,60 46,54 27,70",),
    },
    7: {
        "plain": ("18,10 80,8 80,8 58,48 42,96",),
        "bar": ("18,10 80,8 80,8 58,48 42,96", "36,50 76,48"),
    },
    8: {
        "crossed": ("72,16 48,4 28,20 42,43 68,60 72,84 48,96 26,82 36,58 64,40 74,20",),
        "stacked": ("50,5 29,16 32,38 50,46 70,36 71,14 50,5", "50,46 26,60 27,86 50,96 74,86 74,60 50,46"),
    },
    9: {
        "curved": ("72,20 48,5 26,24 36,47 60,44 72,20 72,55 58,88 26,92",),
        "straight": ("70,22 50,5 27,22 34,46 58,44 70,16 70,16 66,55 62,96",),
    },
}

_CURVE_STEPS = 16  # straight pieces between two points of a stroke: at 280 pixels no corner can be seen
_SUPERSAMPLING = 4

_PENS_ON_PAPER: tuple[tuple[Colour, Colour], ...] = (
    ((20, 20, 24), (255, 255, 255)),  # ballpoint on white
    ((28, 52, 140), (250, 246, 232)),  # blue ink on cream
    ((70, 70, 74), (214, 214, 208)),  # pencil on recycled paper
    ((255, 255, 255), (0, 0, 0)),  # a canvas on a screen
    ((238, 240, 228), (36, 62, 50)),  # chalk on a board
)


@dataclass(frozen=True)
class Hand:
    """Says how someone writes. Lengths are fractions of the picture's side, unless said otherwise.

    Attributes:
        variant: which way of writing a digit; counts through GLYPHS[digit], over and over.
        size: height of the digit.
        width: of the digit, as a factor of its usual width.
        slant: how far the top leans to the right, as a fraction of the height; negative to the left.
        pen: width of the pen.
        wobble: how far each point strays, as a standard deviation in fractions of the digit's height.
        centre: where the middle of the digit is, (x, y).
        ink, paper: their colours; light on dark is as good as dark on light.
        seed: decides where exactly the points stray.
    """

    variant: int = 0
    size: float = 0.7
    width: float = 0.8
    slant: float = 0.1
    pen: float = 0.08
    wobble: float = 0.01
    centre: tuple[float, float] = (0.5, 0.5)
    ink: Colour = (20, 20, 24)
    paper: Colour = (255, 255, 255)
    seed: int = 0

    @classmethod
    def of(cls, seed: int) -> Self:
        """Gives one of many plausible hands, the same for the same seed."""
        chance = np.random.default_rng(seed)
        ink, paper = _PENS_ON_PAPER[chance.integers(len(_PENS_ON_PAPER))]
        return cls(
            variant=int(chance.integers(6)),
            size=chance.uniform(0.45, 0.78),
            width=chance.uniform(0.7, 0.95),
            slant=chance.uniform(-0.08, 0.28),
            pen=chance.uniform(0.05, 0.095),
            wobble=chance.uniform(0.005, 0.02),
            centre=(chance.uniform(0.44, 0.56), chance.uniform(0.46, 0.54)),
            ink=ink,
            paper=paper,
            seed=seed,
        )


def draw(digit: int, hand: Hand, *, side_px: int = 280) -> Image.Image:
    """Draws one digit as an RGB picture of `side_px` x `side_px` pixels.

    Raises:
        KeyError: `digit` is not one of 0 to 9.
    """
    scale = side_px * _SUPERSAMPLING
    picture = Image.new("RGB", (scale, scale), hand.paper)
    canvas = ImageDraw.Draw(picture)
    for curve in curves(digit, hand):
        _ink(canvas, curve * scale, hand.pen * scale, hand.ink)
    return picture.resize((side_px, side_px), Image.Resampling.BOX)


def png(digit: int, hand: Hand, *, side_px: int = 280) -> bytes:
    """Draws one digit as the bytes of a PNG file; see `draw`."""
    file = io.BytesIO()
    draw(digit, hand, side_px=side_px).save(file, "PNG")
    return file.getvalue()


def curves(digit: int, hand: Hand) -> Iterator[Points]:
    """Gives each stroke of a digit as a dense line: points [n, 2], x and y, in fractions of the picture."""
    variants = list(GLYPHS[digit].values())
    chance = np.random.default_rng([hand.seed, digit])
    for stroke in variants[hand.variant % len(variants)]:
        curve = _smooth(_strayed(_points(stroke), hand.wobble, chance)) - 0.5
        curve[:, 0] = curve[:, 0] * hand.width - curve[:, 1] * hand.slant
        yield curve * hand.size + hand.centre


def _points(stroke: str) -> Points:
    return np.array([point.split(",") for point in stroke.split()], dtype=float) / 100


def _strayed(points: Points, wobble: float, chance: np.random.Generator) -> Points:
    """Moves the points a little; a corner, which is one point twice, stays one."""
    moves = chance.normal(0, wobble, points.shape)
    corners = np.flatnonzero(_repeated(points))
    moves[corners + 1] = moves[corners]
    return points + moves


def _repeated(points: Points) -> NDArray[np.bool_]:
    return np.asarray((points[1:] == points[:-1]).all(axis=1))


def _smooth(points: Points) -> Points:
    """Draws a Catmull-Rom curve through the points: at each it runs parallel to the line between its neighbours."""
    p = np.vstack([points[:1], points, points[-1:]])  # the ends have themselves as neighbours
    slopes = (p[2:] - p[:-2]) / 2
    corners = np.flatnonzero(_repeated(points))
    slopes[corners] = slopes[corners + 1] = 0  # there the pen comes to rest, and sets off anew
    t = np.linspace(0, 1, _CURVE_STEPS + 1)[:, None]
    return np.vstack([_piece(points[i : i + 2], slopes[i : i + 2], t) for i in range(len(points) - 1)])


def _piece(ends: Points, slopes: Points, t: Points) -> Points:
    """Gives the cubic that starts and ends at `ends` with the given slopes, at the times `t` from 0 to 1."""
    weights = np.hstack([2 * t**3 - 3 * t**2 + 1, 3 * t**2 - 2 * t**3, t**3 - 2 * t**2 + t, t**3 - t**2])
    return np.asarray(weights @ np.vstack([ends, slopes]))


def _ink(canvas: ImageDraw.ImageDraw, line: Points, pen_px: float, ink: Colour) -> None:
    """Draws a line with a round pen: round at its ends, and where it bends."""
    canvas.line([(x, y) for x, y in line], fill=ink, width=round(pen_px))
    for x, y in line:
        canvas.circle((x, y), pen_px / 2, fill=ink)
