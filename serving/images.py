"""Brings one PNG or JPEG of a handwritten digit, drawn or photographed, to the form of MNIST.

After decoding, each of `STEPS` takes and returns a picture, float32 [height, width]: a reader follows them in order,
and a viewer can show or leave out each one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serving.decoding import MIN_CONTRAST, ImageError, Picture, decode
from serving.paper import brighten_ink, remove_paper, resize

__all__ = ["STEPS", "ImageError", "read_digit"]

FAINTEST_INK = 0.12  # of the darkest: fainter is ringing of JPEG and of sharp resampling


def read_digit(encoded: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Reads one PNG or JPEG file of one handwritten digit, of any size, polarity and colour mode.

    Returns [28, 28] in MNIST form: 0 = background, 255 = ink, the digit's longer side 20 pixels, its centre of mass
    in the middle. Raises ImageError, and nothing else, if there is no such picture in the file, if it has more than
    `max_pixels` pixels, or if it is blank. Threads may call it at the same time.
    """
    picture = decode(encoded, max_pixels=max_pixels)
    for step in STEPS:
        picture = step(picture)
    return np.rint(picture).astype(np.uint8)


def crop_to_ink(picture: Picture) -> Picture:
    """Cuts out the tight box around the ink; raises ImageError if there is none."""
    peak = float(picture.max())
    if peak < MIN_CONTRAST:
        raise ImageError("encoded_image is blank; expected a digit that stands out from its background; draw one")
    rows, columns = picture.max(axis=1), picture.max(axis=0)
    extents = (np.ptp(np.flatnonzero(side > FAINTEST_INK * peak)) + 1 for side in (rows, columns))
    half_pixel = round(max(extents) / 40)  # of the 20 that the longer side will have
    top, left = (_edge(side, half_pixel, peak) for side in (rows, columns))
    bottom, right = (side.size - _edge(side[::-1], half_pixel, peak) for side in (rows, columns))
    return picture[top:bottom, left:right]


def _edge(profile: Picture, half_pixel: int, peak: float) -> int:
    """Finds where ink begins, with hard or soft edges: where it has 0.4 of what comes half a pixel later."""
    later = profile[np.minimum(np.arange(profile.size) + half_pixel, profile.size - 1)]
    return int(np.argmax((profile > FAINTEST_INK * peak) & (profile >= 0.4 * later)))


def fit_20_pixels(picture: Picture) -> Picture:
    """Brings the longer side to 20 pixels, the shorter in proportion."""
    height, width = (max(1, round(20 * side / max(picture.shape))) for side in picture.shape)
    return resize(picture, height, width)


def stretch_to_255(picture: Picture) -> Picture:
    """Brings the strongest ink to 255."""
    return picture * np.float32(255 / picture.max())


def centre_mass(picture: Picture) -> Picture:
    """Pastes into [28, 28], so that the centre of mass lies within half a pixel of row and column 14, as in MNIST."""
    placed = np.zeros((28, 28), np.float32)
    corner = []
    for axis, length in enumerate(picture.shape):
        mass = picture.sum(axis=1 - axis)
        centre = float(mass @ np.arange(length) / mass.sum())
        corner.append(min(max(int(14.5 - centre), 0), 28 - length))  # all of the digit stays inside
    top, left = corner
    placed[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return placed


STEPS: tuple[Callable[[Picture], Picture], ...] = (
    brighten_ink,
    remove_paper,
    crop_to_ink,
    fit_20_pixels,
    stretch_to_255,
    centre_mass,
)
