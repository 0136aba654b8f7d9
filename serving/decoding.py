"""Decodes one PNG or JPEG file, from anyone, into a grey picture of bounded size.

The header is read first, and what it says is checked before anything is decoded. A large picture is averaged down at
once, a JPEG while it is being decoded, so that memory and time stay bounded by the limit on pixels.
"""

import io
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

Picture = NDArray[np.float32]

WORKING_SIDE_PX = 280  # a larger picture is averaged down, by a whole factor
MIN_CONTRAST = 8  # grey levels between ink and paper; less is what compression makes of an empty page
MAX_ASPECT = 20  # the thinnest "1", cropped tightly, has less
MAX_SCANS = 64  # of a progressive JPEG: encoders write about 10, and each costs a pass over the whole picture
PNG, JPEG, SCAN_OF_JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xda"

# Pillow's own guard against large pictures is a warning; the limit here is stricter, and an error.
Image.MAX_IMAGE_PIXELS = None


class ImageError(ValueError):
    """The file is not one usable picture of a digit; the text says what came, what was expected and what to do."""


def decode(encoded: bytes, *, max_pixels: int) -> Picture:
    """Decodes a PNG or JPEG file of at most `max_pixels` into brightness [height, width] from 0 to 255.

    Raises ImageError, and nothing else. Threads may call it at the same time.
    """
    _check_kind(encoded)
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            _check_size(*image.size, max_pixels)
            if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
                raise ImageError("encoded_image is an animated PNG; expected a single picture; send one frame")
            grey = _to_grey(image)
            grey.info["exif"] = image.info.get("exif", b"")
            return np.asarray(_upright(grey), np.float32)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many types; its texts hold addresses and are not for callers
        raise ImageError(
            f"encoded_image ({len(encoded)} bytes) is damaged or truncated; "
            "expected a complete PNG or JPEG; save the picture again"
        ) from error


def _check_kind(encoded: bytes) -> None:
    if not encoded.startswith((PNG, JPEG)):
        came = f"begins with the bytes {encoded[:8].hex(' ')}" if encoded else "is empty"
        raise ImageError(
            f"encoded_image {came} ({len(encoded)} bytes); expected a PNG or JPEG file; convert it to one of these"
        )
    if encoded.startswith(JPEG) and (scans := encoded.count(SCAN_OF_JPEG)) > MAX_SCANS:
        raise ImageError(
            f"encoded_image is a JPEG of {scans} scans; expected at most {MAX_SCANS}; save it without progression"
        )


def _check_size(width: int, height: int, max_pixels: int) -> None:
    came = f"encoded_image is {width} x {height} pixels"
    if width * height > max_pixels:
        raise ImageError(f"{came}; expected at most {max_pixels} pixels in all; make it smaller")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{came}; expected sides that differ by a factor of at most {MAX_ASPECT}; crop it")
    if max(width, height) < 2:
        raise ImageError(f"{came}; expected a picture of a digit, best of 28 x 28 or more; send a larger one")


def _to_grey(image: Image.Image) -> Image.Image:
    factor = max(1, max(image.size) // WORKING_SIDE_PX)
    image.draft("L", (image.width // factor, image.height // factor))  # a JPEG is then decoded at part of its size
    factor = max(1, max(image.size) // WORKING_SIDE_PX)
    return _over_paper(image, factor) if image.has_transparency_data else _luminance(image, factor)


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # broken EXIF is no reason to refuse a good picture
        return ImageOps.exif_transpose(image)
    return image


def _luminance(image: Image.Image, factor: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits
        return image.convert("F").reduce(factor).point(lambda level: level * (1 / 257) + 0)
    return image.convert("L").reduce(factor)


def _over_paper(image: Image.Image, factor: int) -> Image.Image:
    """Lays a picture with transparency on its own paper if it has one, else on the colour opposite to its ink."""
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    alpha = image.getchannel("A")
    opaque = np.asarray(alpha.reduce(factor), np.float32) * np.float32(1 / 255)
    lit = np.asarray(ImageChops.multiply(image.convert("L"), alpha).reduce(factor), np.float32)
    area = max(float(opaque.sum()), 1)
    tone = float(lit.sum()) / area
    two_tones = float(np.abs(lit - tone * opaque).sum()) / area > MIN_CONTRAST
    has_paper = two_tones and np.median(frame(opaque)) > 0.5
    opposite = 255.0 if tone < 128 else 0.0
    behind = float(np.median(frame(lit))) if has_paper else opposite
    return Image.fromarray(lit + (1 - opaque) * behind)


def frame(picture: Picture) -> Picture:
    """Gives the outermost pixels of a picture, those of the corners twice."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
